use clap::Parser;

use super::*;
use crate::model::{Line, Machines, remote_share};
use crate::wire::Limited;

/// An event takes 600 ns, a session 1,000, what goes over a socket `over_ns`; nothing but the first is known to the model.
fn series(args: &Args, over_ns: f64) -> Series {
    let mut series = Series::new();
    let events = args.events.get() as f64;
    for layout in Layout::ALL {
        for (kind, share) in [(Kind::Web, 0.2), (Kind::HighCardinality, 0.9)] {
            // 500 events a batch at parallelism 4, 31.25 at 16.
            let wall_s = events / 1.6e6;
            let batch = events_per_batch(events / wall_s / f64::from(layout.parallelism), layout.parallelism.into());
            let each_ns = 600.0 + 1000.0 * share + 2000.0 / batch + over_ns * remote_share(layout.taskmanagers.into());
            let cpu_s = 0.5 + each_ns * events / 1e9;
            let stages = [0.2 * (cpu_s - 0.5); 5];
            let sessions = (share * events) as u64;
            let run = Run { cpu_s, wall_s, stages, sessions, batch_bytes: 60 * args.events.get() };
            series.insert((kind, layout), Runs(vec![run; 3]));
        }
        series.insert((Kind::Nothing, layout), Runs(vec![Run { cpu_s: 0.5, ..Run::default() }]));
    }
    series
}

pub(crate) fn report(args: &Args, over_ns: f64, wire: Result<Bytes>) -> Report<'_> {
    let exchange = Exchange { event_ns: 10.0, byte_ns: 0.5, batch_ns: 0.0, sender_share: 0.4 };
    let (machine, commit) = ("1 × test".to_owned(), "abc".to_owned());
    Report::new(args, Limits::default(), exchange, series(args, over_ns), wire, machine, commit).expect("all is there")
}

pub(crate) fn bytes() -> Bytes {
    Bytes {
        received: Line { event: 450.0, session: 2.0 },
        sent: Line { event: 5.0, session: 60.0 },
        exchange: vec![(2, 70.0), (4, 80.0)],
        limited: Limited::Measured { predicted: 210_000.0, measured: 200_000.0 },
    }
}

#[test]
fn a_prediction_that_is_right_is_no_complaint_and_one_that_is_not_is_one() {
    let args = Args::parse_from(["bench-scaling", "--most", "10"]);
    assert_eq!(report(&args, 40.0, Ok(bytes())).complaints(), Vec::<String>::new());
    let complaints = report(&args, 240.0, Ok(bytes())).complaints();
    assert_eq!(
        complaints,
        [
            "web, parallelism 4, taskmanagers: 2: the prediction is off by -10.8 %, and not within 10 %",
            "web, parallelism 4, taskmanagers: 4: the prediction is off by -15.2 %, and not within 10 %",
            "web, parallelism 16, taskmanagers: 4: the prediction is off by -14.4 %, and not within 10 %"
        ]
    );
}

#[test]
fn the_report_says_what_was_predicted_and_how_to_measure_it_again() {
    let args = Args::parse_from(["bench-scaling", "--seed", "7"]);
    let text = report(&args, 40.0, Ok(bytes())).to_text();
    let rows: Vec<Vec<&str>> = text.lines().map(|line| line.split_whitespace().collect()).collect();
    let has_row = |row: &str| rows.contains(&row.split(' ').collect());
    assert!(has_row("web 4 4 500 75 % 834 834 (834–834) +0.0 %"), "{text}");
    assert!(has_row("all 600 1000 2000"), "{text}");
    assert!(text.contains("predict 210,000 events a second; it was 200,000 (+5.0 %)"), "{text}");
    assert!(text.contains("--machines 1,2,4,10,16 --cores 8 --seed 7'"), "{text}");
}

#[test]
fn ten_machines_need_what_their_events_bring() {
    let args = Args::parse_from(["bench-scaling"]);
    let machines = Machines { count: 10, cores: 8 };
    // 100,000 events a second each, of which 90 % go on; 0.2 sessions each.
    assert_eq!(report(&args, 40.0, Ok(bytes())).gbit_per_s(machines, 1e6), ["0.42", "0.07"]);
}

#[test]
fn without_networks_there_is_a_row_that_says_why() {
    let args = Args::parse_from(["bench-scaling"]);
    let report = report(&args, 40.0, Err(anyhow::anyhow!("only root makes network namespaces")));
    assert!(report.to_text().contains("Not measured: only root makes network namespaces."));
    assert_eq!(report.to_json()["wire"]["skipped"], "only root makes network namespaces");
}
