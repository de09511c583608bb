//! Whose work a thread of a taskmanager does, by its name, and what CPU time that took.

use std::collections::BTreeMap;
use std::fs;

/// Who works.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Stage {
    /// librdkafka's threads: records from the broker, taken apart.
    Client,
    /// A source: a record's fields and time, and the batches that they go on in.
    Source,
    /// A window: sessions, and their rows.
    Window,
    /// The sink: rows as `COPY` has them.
    Sink,
    /// Connections: the exchange's, Postgres', the jobmanager's; the jobmanager itself.
    Rest,
}

impl Stage {
    pub(crate) const ALL: [Stage; 5] = [Stage::Client, Stage::Source, Stage::Window, Stage::Sink, Stage::Rest];

    pub(crate) fn name(self) -> &'static str {
        match self {
            Stage::Client => "Kafka client",
            Stage::Source => "source",
            Stage::Window => "windows",
            Stage::Sink => "sink",
            Stage::Rest => "connections and the rest",
        }
    }

    /// By the name of a thread, of which the system keeps 15 bytes.
    fn of_thread(name: &str) -> Stage {
        match name {
            _ if name.starts_with("rdk:") => Stage::Client,
            _ if name.starts_with("source[") => Stage::Source,
            _ if name.starts_with("window[") => Stage::Window,
            _ if name.starts_with("sink[") => Stage::Sink,
            _ => Stage::Rest,
        }
    }
}

/// Seconds of CPU for each of [`Stage::ALL`].
pub(crate) type Seconds = [f64; Stage::ALL.len()];

/// Threads that were seen, with what they had taken when they were last seen: of one that has ended nobody else knows.
#[derive(Debug, Default)]
pub(crate) struct Threads(BTreeMap<(u32, u32), (Stage, u64)>);

impl Threads {
    /// Looks at every thread of these processes.
    pub(crate) fn look(&mut self, pids: &[u32]) {
        for &pid in pids {
            for task in fs::read_dir(format!("/proc/{pid}/task")).into_iter().flatten().flatten() {
                let Some(tid) = task.file_name().to_str().and_then(|name| name.parse().ok()) else { continue };
                let read = |name: &str| fs::read_to_string(task.path().join(name)).ok();
                // One that ends meanwhile is as it was.
                if let (Some(name), Some(ran)) = (read("comm"), read("schedstat"))
                    && let Some(ns) = ran.split(' ').next().and_then(|ns| ns.parse().ok())
                {
                    self.0.insert((pid, tid), (Stage::of_thread(name.trim_end()), ns));
                }
            }
        }
    }

    /// What was taken in between, when `before` was looked at first. What nobody is seen to have taken of `cpu_s`, all that the system charged,
    /// is the rest's.
    pub(crate) fn since(&self, before: &Threads, cpu_s: f64) -> Seconds {
        let mut seconds = Seconds::default();
        for (thread, (stage, ns)) in &self.0 {
            let earlier = before.0.get(thread).map_or(0, |(_, ns)| *ns);
            seconds[*stage as usize] += ns.saturating_sub(earlier) as f64 / 1e9;
        }
        let of_others: f64 = seconds[..Stage::Rest as usize].iter().sum();
        seconds[Stage::Rest as usize] = (cpu_s - of_others).max(0.0);
        seconds
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn threads_belong_to_the_stage_that_names_them() {
        let of = |name| Stage::of_thread(name);
        assert_eq!(
            [of("rdk:broker0"), of("source[3]"), of("window[12]")],
            [Stage::Client, Stage::Source, Stage::Window]
        );
        assert_eq!([of("sink[0]-pub"), of("tokio-rt-worker"), of("")], [Stage::Sink, Stage::Rest, Stage::Rest]);
    }

    #[test]
    fn what_was_taken_before_does_not_count_and_what_nobody_shows_is_the_rest() {
        let threads =
            |all: &[(u32, Stage, u64)]| Threads(all.iter().map(|&(tid, stage, ns)| ((1, tid), (stage, ns))).collect());
        let before = threads(&[(7, Stage::Source, 1_000_000_000), (8, Stage::Rest, 500)]);
        let after = threads(&[(7, Stage::Source, 3_000_000_000), (9, Stage::Sink, 500_000_000), (8, Stage::Rest, 600)]);
        assert_eq!(after.since(&before, 3.0), [0.0, 2.0, 0.0, 0.5, 0.5]);
        assert_eq!(after.since(&before, 1.0)[Stage::Rest as usize], 0.0);
    }

    #[test]
    fn this_process_has_threads() {
        let mut threads = Threads::default();
        threads.look(&[std::process::id(), u32::MAX]);
        assert!(!threads.0.is_empty());
    }
}
