//! `jobctl run nexmark-q11` as a user runs it: the rows are those of the naive answer.
#![allow(clippy::unwrap_used, missing_docs, reason = "a test")]

mod program;

use nexmark::Plan;
use nexmark::q11::sessions;
use program::jobctl;

#[test]
fn generated_bids_become_the_sessions_of_their_bidders_at_any_parallelism() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("sessions.csv");
    let sink = format!("csv:{}", file.display());
    // Sparse enough that most bidders come back.
    let plan = "events=200000,rate=100,splits=3,seed=5";
    let mut expected: Vec<String> = sessions(&Plan::parse(plan).unwrap())
        .iter()
        .map(|session| format!("{},{},{},{}", session.bidder, session.bids, session.start, session.end))
        .collect();
    expected.sort();
    for parallelism in ["1", "2"] {
        let source = format!("nexmark:{plan}");
        let line = ["run", "nexmark-q11", "--source", &source, "--sink", &sink, "--parallelism", parallelism];
        let ended = jobctl(&line);
        assert_eq!(ended.code, 0, "{}", ended.stderr);
        assert!(ended.stderr.contains("184000 events") && ended.stderr.contains("0 late, 0 bad"), "{}", ended.stderr);
        let text = std::fs::read_to_string(&file).unwrap();
        let mut lines = text.lines().map(str::to_owned);
        assert_eq!(lines.next().as_deref(), Some("bidder,bid_count,starttime,endtime"));
        let mut found: Vec<String> = lines.collect();
        found.sort();
        assert!(found == expected, "parallelism {parallelism}: {} rows, {} expected", found.len(), expected.len());
        std::fs::remove_file(&file).unwrap();
    }
}

#[test]
fn what_is_no_plan_is_told_what_to_write() {
    let ended = jobctl(&["run", "nexmark-q11", "--source", "nexmark:rate=3", "--sink", "stdout:"]);
    assert_eq!(ended.code, 2, "{}", ended.stderr);
    assert!(ended.stderr.contains("write `nexmark:events=10000000`"), "{}", ended.stderr);
    let ended = jobctl(&["run", "nexmark-q11"]);
    assert_eq!((ended.code, ended.stderr.as_str()), (2, "error: no source: pass `--source nexmark:events=10000000`\n"));
}
