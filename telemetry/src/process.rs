//! What every process tells of itself, by the conventions of OpenTelemetry (<https://opentelemetry.io/docs/specs/semconv/system/process-metrics/>).

use std::time::Duration;

use crate::family::{Family, Read, Reading, number};
use crate::metric::{Kind, Metric, Unit};

/// This process at one moment, as `/proc` has it; nothing where there is none.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(crate) struct Process {
    /// CPU time: in user code, in the kernel.
    cpu: Option<[Duration; 2]>,
    resident_bytes: Option<u64>,
    threads: Option<u64>,
    open_files: Option<u64>,
}

/// Of this process.
pub(crate) const PROCESS: Family<Process> = Family {
    title: "Processes",
    about: "Of each process, by itself; it is told from others by `service.name` and `service.instance.id` (in Prometheus `job` and `instance`).",
    attributes: &[],
    values: |_| Vec::new(),
    metrics: &[
        Reading {
            metric: Metric {
                name: "process.cpu.time",
                kind: Kind::Counter,
                unit: Unit::Seconds,
                meaning: "CPU time, in user code and in the kernel (system).",
                flink: "Status.JVM.CPU.Time",
            },
            read: Read::Each("cpu.mode", |process| {
                let modes = |[user, system]: [Duration; 2]| {
                    vec![("user", user.as_secs_f64()), ("system", system.as_secs_f64())]
                };
                process.cpu.map(modes).unwrap_or_default()
            }),
        },
        Reading {
            metric: Metric {
                name: "process.memory.usage",
                kind: Kind::Gauge,
                unit: Unit::Bytes,
                meaning: "Resident memory.",
                flink: "Status.JVM.Memory.Heap.Used",
            },
            read: Read::One(|process| process.resident_bytes.map(number)),
        },
        Reading {
            metric: Metric {
                name: "process.thread.count",
                kind: Kind::Gauge,
                unit: Unit::Things("{thread}"),
                meaning: "Threads.",
                flink: "Status.JVM.Threads.Count",
            },
            read: Read::One(|process| process.threads.map(number)),
        },
        Reading {
            metric: Metric {
                name: "process.open_file_descriptor.count",
                kind: Kind::Gauge,
                unit: Unit::Things("{file_descriptor}"),
                meaning: "Open files and connections.",
                flink: "",
            },
            read: Read::One(|process| process.open_files.map(number)),
        },
    ],
};

impl Process {
    /// As it is now.
    pub(crate) fn now() -> Self {
        let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
        let stat = std::fs::read_to_string("/proc/self/stat").unwrap_or_default();
        let files = std::fs::read_dir("/proc/self/fd").ok().map(|files| files.count() as u64);
        Process {
            cpu: cpu_in(&stat, rustix::param::clock_ticks_per_second()),
            resident_bytes: line_of(&status, "VmRSS:").and_then(|kib| kib.checked_mul(1024)),
            threads: line_of(&status, "Threads:"),
            // The folder that is read is one of them.
            open_files: files.map(|files| files.saturating_sub(1)),
        }
    }
}

/// The number in a line of `/proc/self/status`.
fn line_of(status: &str, name: &str) -> Option<u64> {
    let line = status.lines().find_map(|line| line.strip_prefix(name))?;
    line.trim().trim_end_matches("kB").trim().parse().ok()
}

/// `utime` and `stime`, the 14th and 15th fields of `/proc/self/stat` (proc_pid_stat(5)); the second field, the program's name, may
/// contain anything but ends with the last parenthesis.
fn cpu_in(stat: &str, ticks_per_second: u64) -> Option<[Duration; 2]> {
    let (_, fields) = stat.rsplit_once(')')?;
    let mut fields = fields.split_whitespace().skip(11).map(str::parse::<u64>);
    let mut time = || {
        let ticks = fields.next()?.ok()?;
        Some(Duration::from_millis(ticks.checked_mul(1000)? / ticks_per_second.max(1)))
    };
    Some([time()?, time()?])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_what_the_kernel_writes() {
        let stat = "4711 (a b) c) S 1 4711 4711 0 -1 4194560 1 0 0 0 250 50 0 0 20 0 9 0 1 2 3";
        assert_eq!(cpu_in(stat, 100), Some([Duration::from_millis(2500), Duration::from_millis(500)]));
        assert_eq!(cpu_in("", 100), None);
        let status = "Name:\tcat\nVmRSS:\t    1204 kB\nThreads:\t7\n";
        assert_eq!((line_of(status, "VmRSS:"), line_of(status, "Threads:")), (Some(1204), Some(7)));
        assert_eq!(line_of(status, "VmSwap:"), None);
    }

    #[cfg(target_os = "linux")]
    #[test]
    fn this_process_has_memory_threads_and_files() {
        let now = Process::now();
        assert!(now.resident_bytes > Some(100_000) && now.threads >= Some(1) && now.open_files >= Some(3), "{now:?}");
        assert!(now.cpu.is_some());
    }
}
