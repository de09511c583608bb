//! The registry of job types. A further job is one crate and one line here; neither manager names a job.

use stream_runtime::jobs::Jobs;

/// Every job type there is.
pub fn registry() -> Jobs {
    Jobs::new()
        .with(job_sessionize::Sessionize)
        .with(job_process_events::ProcessEvents)
        .with(job_aggregate::Aggregate)
        .with(job_nexmark::UserSessions)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn jobs_are_found_by_the_name_under_which_they_are_submitted() {
        assert_eq!(registry().names(), ["sessionize", "process_events", "aggregate", "nexmark-q11"]);
        assert!(registry().find("sessionize").is_some());
        assert!(registry().find("sessionise").is_none());
    }
}
