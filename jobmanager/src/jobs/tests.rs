use stream_core::job::{Event, Settings};
use stream_core::secret::Secret;

use super::*;
use crate::options::Options;
use crate::testing::pipeline;

const SETTINGS: fn() -> Settings = || Options::default().job();

fn record(id: u128, name: &str) -> JobRecord {
    let mut pipeline = pipeline(1);
    pipeline.sink.secrets.insert("password".to_owned(), Secret::new("hunter2"));
    JobRecord::new(JobId(id), name.to_owned(), Timestamp(0), pipeline, Job::new(SETTINGS(), 0))
}

fn end(jobs: &mut Jobs, id: u128) {
    jobs.get_mut(JobId(id)).expect("known").job.on(Timestamp(0), Event::CancelRequested);
    jobs.retire(JobId(id), Timestamp(1));
}

#[test]
fn job_is_found_by_id_name_or_the_beginning_of_its_id() {
    let mut jobs = Jobs::default();
    jobs.insert(record(0xab << 120, "one"));
    jobs.insert(record(0xac << 120, "two"));
    let id = "ab000000000000000000000000000000";
    for text in [id, "one", "ab"] {
        assert_eq!(jobs.find(text), Ok(JobId(0xab << 120)), "{text}");
    }
    for text in ["three", "", "b", "AB0"] {
        assert_eq!(jobs.find(text), Err(FindJobError::Unknown(text.to_owned())));
    }
    let error = jobs.find("a").expect_err("two begin so").to_string();
    assert!(error.starts_with("`a` could be any of several jobs: give one of the ids ab0"), "{error}");
}

#[test]
fn of_several_jobs_of_a_name_the_live_one_is_meant() {
    let mut jobs = Jobs::default();
    for id in 1..=3 {
        jobs.insert(record(id, "daily"));
    }
    assert!(matches!(jobs.find("daily"), Err(FindJobError::Ambiguous { .. })));
    end(&mut jobs, 1);
    end(&mut jobs, 3);
    assert_eq!(jobs.find("daily"), Ok(JobId(2)));
    end(&mut jobs, 2);
    assert!(matches!(jobs.find("daily"), Err(FindJobError::Ambiguous { .. })));
}

#[test]
fn ended_jobs_forget_their_secrets_at_once_and_are_forgotten_in_the_end() {
    let mut jobs = Jobs::default();
    for id in 0..=ENDED_JOBS_KEPT as u128 {
        jobs.insert(record(id, "daily"));
        end(&mut jobs, id);
        assert!(jobs.get(JobId(id)).expect("just ended").pipeline.sink.secrets.is_empty());
    }
    assert!(jobs.get(JobId(0)).is_none() && jobs.get(JobId(1)).is_some());
    assert_eq!(jobs.in_order().len(), ENDED_JOBS_KEPT);
}

#[test]
fn watcher_sees_the_end_even_if_the_job_is_forgotten() {
    let mut jobs = Jobs::default();
    jobs.insert(record(1, "daily"));
    let mut watcher = jobs.watch(JobId(1)).expect("known");
    assert!(watcher.borrow_and_update().is_live());
    end(&mut jobs, 1);
    jobs.publish(JobId(1));
    drop(jobs);
    assert!(watcher.has_changed().is_err() || !watcher.borrow().is_live());
    assert!(!watcher.borrow_and_update().is_live());
}
