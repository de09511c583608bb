//! Every phase of a checkpoint and of a recovery, and every role: a process that dies just there loses and repeats nothing.
//!
//! A process is armed with a fail point (`stream_runtime::fail_point`) and dies of it in the midst of a job under load; the test
//! sees that it did, starts it again as a supervisor would, and has the job's table compared with what Postgres computes from the
//! topic by itself, while an auditor asks at every instant whether table and ledger agree. `KILL_POINTS=word cargo test …` plays
//! only the cases whose name has the word. The points of outlets are played in `outlets`.

mod cases;
mod stage;
mod zombies;

use std::collections::VecDeque;
use std::sync::{Mutex, PoisonError};

use anyhow::{Result, ensure};
use localcluster::deadline::Deadline;

use cases::{Case, cases};
use stage::Stage;

/// Stages that are played on at the same time: a case mostly waits.
const STAGES: usize = 3;

#[test]
fn a_process_that_dies_at_any_point_loses_and_repeats_nothing() -> Result<()> {
    let wanted = std::env::var("KILL_POINTS").unwrap_or_default();
    let cases: VecDeque<Case> = cases().into_iter().filter(|case| case.name().contains(&wanted)).collect();
    ensure!(!cases.is_empty(), "no case has `{wanted}` in its name");
    let (count, cases, failures) = (cases.len(), Mutex::new(cases), Mutex::new(Vec::new()));
    std::thread::scope(|scope| {
        for _ in 0..STAGES.min(count) {
            scope.spawn(|| play(&cases, &failures));
        }
    });
    let failures = failures.into_inner().unwrap();
    ensure!(failures.is_empty(), "{} of {count} cases failed:\n{}", failures.len(), failures.join("\n"));
    Ok(())
}

/// Plays cases until none is left. A stage on which one failed is left as it is, for whoever looks into it.
fn play(cases: &Mutex<VecDeque<Case>>, failures: &Mutex<Vec<String>>) {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
    runtime.block_on(async {
        let mut stage = None;
        loop {
            let next = cases.lock().unwrap_or_else(PoisonError::into_inner).pop_front();
            let Some(case) = next else { return };
            let clock = Deadline::after(std::time::Duration::MAX);
            let outcome = match stage.take().map_or_else(Stage::build, Ok) {
                Ok(mut ready) => {
                    let played = ready.play(&case).await;
                    match played {
                        Ok(()) => stage = Some(ready),
                        Err(_) => ready.leave(),
                    }
                    played
                }
                Err(error) => Err(error),
            };
            let seconds = clock.elapsed().as_secs_f64();
            match outcome {
                Ok(()) => eprintln!("{seconds:5.1} s  {case}"),
                Err(error) => {
                    eprintln!("{seconds:5.1} s  {case}: FAILED: {error:#}");
                    failures.lock().unwrap_or_else(PoisonError::into_inner).push(format!("{case}: {error:#}"));
                }
            }
        }
    });
}
