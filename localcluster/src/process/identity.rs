//! A running process, named so that it cannot be confused with a later one of the same pid.

use std::fs;
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process};
use serde::{Deserialize, Serialize};

use super::StopSignal;
use super::cpu_time::cpu_time_of;
use crate::deadline::Deadline;

/// What is left after the deadline of a polite stop is killed, and that takes no longer than this.
const KILL_LIMIT: Duration = Duration::from_secs(5);

/// A process: its pid and the moment it was started, in clock ticks since boot.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Identity {
    /// The process id.
    pub pid: u32,
    /// Field 22 of `/proc/PID/stat`; with the pid it names one process for as long as the machine is up.
    pub start_ticks: u64,
}

impl Identity {
    /// The process that has this pid now, if there is one that still runs.
    #[must_use]
    pub fn of(pid: u32) -> Option<Identity> {
        let stat = parse_stat(&fs::read_to_string(format!("/proc/{pid}/stat")).ok()?)?;
        (!stat.has_ended).then_some(Identity { pid, start_ticks: stat.start_ticks })
    }

    /// Whether this very process still runs. A zombie does not.
    #[must_use]
    pub fn is_alive(&self) -> bool {
        Identity::of(self.pid).as_ref() == Some(self)
    }

    /// Whether it stands still since a SIGSTOP.
    #[must_use]
    pub fn is_stopped(&self) -> bool {
        let stat = fs::read_to_string(format!("/proc/{}/stat", self.pid)).ok();
        let stat = stat.as_deref().and_then(parse_stat);
        stat.is_some_and(|stat| stat.is_stopped && stat.start_ticks == self.start_ticks)
    }

    /// Memory of the process that is in RAM, in bytes; `None` once it has ended.
    #[must_use]
    pub fn resident_bytes(&self) -> Option<u64> {
        self.memory("VmRSS:")
    }

    /// The most memory of the process that was ever in RAM, in bytes; `None` once it has ended.
    #[must_use]
    pub fn peak_resident_bytes(&self) -> Option<u64> {
        self.memory("VmHWM:")
    }

    /// As [`cpu_time_of`]; `None` once it has ended.
    #[must_use]
    pub fn cpu_time(&self) -> Option<Duration> {
        let time = cpu_time_of(self.pid)?;
        self.is_alive().then_some(time)
    }

    /// How long ago the process was started; `None` once it has ended.
    #[must_use]
    pub fn running_for(&self) -> Option<Duration> {
        if !self.is_alive() {
            return None;
        }
        let uptime = fs::read_to_string("/proc/uptime").ok()?;
        let up_s: f64 = uptime.split_whitespace().next()?.parse().ok()?;
        #[expect(clippy::cast_precision_loss, reason = "ticks since boot are far below 2^52")]
        let started_s = self.start_ticks as f64 / rustix::param::clock_ticks_per_second() as f64;
        Some(Duration::from_secs_f64((up_s - started_s).max(0.0)))
    }

    /// Asks the process to stop, waits up to `limit`, then kills it. True if it stopped when asked.
    ///
    /// A process that has already ended counts as stopped when asked; a stranger with its pid is left alone.
    #[must_use]
    pub fn stop(&self, signal: StopSignal, limit: Duration) -> bool {
        self.send(match signal {
            StopSignal::Terminate => Signal::TERM,
            StopSignal::Interrupt => Signal::INT,
        });
        if Deadline::after(limit).wait_until(|| !self.is_alive()) {
            return true;
        }
        self.kill();
        false
    }

    /// Kills the process and waits until it is gone.
    pub fn kill(&self) {
        self.send(Signal::KILL);
        Deadline::after(KILL_LIMIT).wait_until(|| !self.is_alive());
    }

    fn memory(&self, line: &str) -> Option<u64> {
        if !self.is_alive() {
            return None;
        }
        parse_memory(&fs::read_to_string(format!("/proc/{}/status", self.pid)).ok()?, line)
    }

    fn send(&self, signal: Signal) {
        if !self.is_alive() {
            return;
        }
        if let Some(pid) = i32::try_from(self.pid).ok().and_then(Pid::from_raw) {
            // It may end between the look and the signal: then there is nothing left to stop.
            let _ = kill_process(pid, signal);
        }
    }
}

struct Stat {
    has_ended: bool,
    is_stopped: bool,
    start_ticks: u64,
}

/// `/proc/PID/stat` is `pid (name) state …`, and the name may hold spaces and parentheses: count from the last one.
fn parse_stat(stat: &str) -> Option<Stat> {
    let (_, after_name) = stat.rsplit_once(')')?;
    let mut fields = after_name.split_whitespace();
    let state = fields.next()?;
    let start_ticks = fields.nth(18)?.parse().ok()?;
    let has_ended = matches!(state, "Z" | "X" | "x");
    Some(Stat { has_ended, is_stopped: state == "T", start_ticks })
}

/// A line of `/proc/PID/status` that is in kB.
fn parse_memory(status: &str, line: &str) -> Option<u64> {
    let line = status.lines().find_map(|found| found.strip_prefix(line))?;
    let kib: u64 = line.trim().strip_suffix("kB")?.trim().parse().ok()?;
    Some(kib * 1024)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use std::io::Read;

    #[test]
    fn a_name_with_parentheses_does_not_shift_the_fields() {
        let stat = "42 (odd) name)) S 1 42 42 0 -1 4194304 1 2 3 4 5 6 7 8 20 0 1 0 987654 1000 200";
        let stat = parse_stat(stat).unwrap();
        assert_eq!(stat.start_ticks, 987_654);
        assert!(!stat.has_ended && !stat.is_stopped);
        assert!(parse_stat("42 (x) T 1 42 42 0 -1 0 1 2 3 4 5 6 7 8 20 0 1 0 7 1 2").unwrap().is_stopped);
    }

    #[test]
    fn this_process_is_alive_and_a_recycled_pid_is_not_it() {
        let me = Identity::of(std::process::id()).unwrap();
        assert!(me.is_alive());
        let resident = me.resident_bytes().unwrap();
        assert!(resident > 100_000 && me.peak_resident_bytes().unwrap() >= resident);
        assert!(me.running_for().is_some());
        let earlier = Identity { start_ticks: me.start_ticks.wrapping_sub(1), ..me };
        assert!(!earlier.is_alive());
        assert!(earlier.stop(StopSignal::Terminate, Duration::ZERO), "a stranger must not be signalled");
    }

    #[test]
    fn a_zombie_has_ended() {
        let mut child = std::process::Command::new("true").spawn().unwrap();
        let pid = child.id();
        assert!(Deadline::after(Duration::from_secs(10)).wait_until(|| Identity::of(pid).is_none()));
        child.wait().unwrap();
    }

    #[test]
    fn a_process_that_ignores_the_signal_is_killed() {
        let mut sh = std::process::Command::new("sh");
        sh.args(["-c", "trap '' TERM; echo trapped; while :; do sleep 1; done"]).stdout(std::process::Stdio::piped());
        let mut child = sh.spawn().unwrap();
        child.stdout.take().unwrap().read_exact(&mut [0; 7]).unwrap();
        let it = Identity::of(child.id()).unwrap();
        assert!(!it.stop(StopSignal::Terminate, Duration::from_millis(100)));
        assert!(!it.is_alive());
        child.wait().unwrap();
    }
}
