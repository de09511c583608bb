//! What the system charged to a process: user and system time together, of all its threads, in ticks of 10 ms.

use std::fs;
use std::time::Duration;

/// Of the process `pid` so far, of those threads too that have ended; of one that has ended, as long as nobody has waited for it.
#[must_use]
pub fn cpu_time_of(pid: u32) -> Option<Duration> {
    duration(ticks(&fs::read_to_string(format!("/proc/{pid}/stat")).ok()?, 14)?)
}

/// Of all children of this process that have ended and were waited for.
#[must_use]
pub fn cpu_time_of_children() -> Option<Duration> {
    duration(ticks(&fs::read_to_string("/proc/self/stat").ok()?, 16)?)
}

fn duration(ticks: u64) -> Option<Duration> {
    #[expect(clippy::cast_precision_loss, reason = "ticks of a process are far below 2^52")]
    let seconds = ticks as f64 / rustix::param::clock_ticks_per_second() as f64;
    Duration::try_from_secs_f64(seconds).ok()
}

/// Field `first` of `/proc/PID/stat`, from 1, and the one behind it, together. The second may hold spaces and parentheses: they are counted from
/// the last one.
fn ticks(stat: &str, first: usize) -> Option<u64> {
    let mut fields = stat.rsplit_once(')')?.1.split_whitespace().skip(first - 3);
    Some(fields.next()?.parse::<u64>().ok()? + fields.next()?.parse::<u64>().ok()?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_the_14th_to_17th_field() {
        let stat = "42 (a b) S 1 42 42 0 -1 4194304 1 2 3 4 700 80 5 6 20 0 1 0 987654 1000 200";
        assert_eq!((ticks(stat, 14), ticks(stat, 16)), (Some(780), Some(11)));
        assert_eq!(ticks("42", 14), None);
        assert!(cpu_time_of(std::process::id()).is_some() && cpu_time_of_children().is_some());
    }
}
