//! What a process takes of the machine, from `/proc`.

use std::fs;
use std::ops::AddAssign;
use std::time::Duration;

use anyhow::{Context, Result};

/// A process's share of memory and of processors.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Usage {
    /// Memory in RAM, in bytes, with all of what it shares with others.
    pub resident_bytes: u64,
    /// The same, with its share only of what is shared.
    pub proportional_bytes: u64,
    /// CPU time since it was started, of all its threads that still run.
    pub cpu: Duration,
    /// How often a thread of it that still runs fell asleep: as often it was woken.
    pub sleeps: u64,
    /// Its threads.
    pub threads: u64,
}

impl Usage {
    /// That of a process now.
    ///
    /// # Errors
    /// If it has ended, or the system does not tell.
    pub fn of(pid: u32) -> Result<Usage> {
        let read = |path: String| fs::read_to_string(&path).with_context(|| format!("cannot read `{path}`"));
        let memory = read(format!("/proc/{pid}/smaps_rollup"))?;
        let kib = |name| number(&memory, name).with_context(|| format!("`smaps_rollup` has no `{name}`"));
        let mut usage =
            Usage { resident_bytes: kib("Rss:")? << 10, proportional_bytes: kib("Pss:")? << 10, ..Usage::default() };
        for task in fs::read_dir(format!("/proc/{pid}/task"))? {
            let task = task?.path();
            // One that ended since it was listed is not asked.
            let Ok(scheduled) = fs::read_to_string(task.join("schedstat")) else { continue };
            let ran_ns = scheduled.split_whitespace().next().and_then(|ns| ns.parse().ok());
            usage.cpu += Duration::from_nanos(ran_ns.context("`schedstat` begins with no number")?);
            let status = fs::read_to_string(task.join("status")).unwrap_or_default();
            usage.sleeps += number(&status, "voluntary_ctxt_switches:").unwrap_or(0);
            usage.threads += 1;
        }
        Ok(usage)
    }
}

impl AddAssign for Usage {
    fn add_assign(&mut self, other: Usage) {
        self.resident_bytes += other.resident_bytes;
        self.proportional_bytes += other.proportional_bytes;
        self.cpu += other.cpu;
        self.sleeps += other.sleeps;
        self.threads += other.threads;
    }
}

/// The number behind a name at the beginning of a line.
fn number(text: &str, name: &str) -> Option<u64> {
    let rest = text.lines().find_map(|line| line.strip_prefix(name))?;
    rest.split_whitespace().next()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn number_is_that_of_the_whole_name() {
        let text = "Rss:      7 kB\nPss_Anon: 9 kB\nPss:   5 kB\nnonvoluntary_ctxt_switches:\t8\nvoluntary_ctxt_switches:\t3\n";
        assert_eq!(
            ["Rss:", "Pss:", "voluntary_ctxt_switches:"].map(|name| number(text, name)),
            [Some(7), Some(5), Some(3)]
        );
        assert_eq!(number(text, "Swap:"), None);
    }

    #[test]
    fn this_process_takes_something() {
        let usage = Usage::of(std::process::id()).expect("it runs");
        assert!(usage.resident_bytes >= usage.proportional_bytes && usage.proportional_bytes > 100_000);
        assert!(usage.threads >= 1 && usage.cpu > Duration::ZERO);
        assert!(Usage::of(u32::MAX).is_err());
    }
}
