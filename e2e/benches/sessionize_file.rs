//! The file → CSV job as a whole process: CPU for each event, start-up included.
//!
//! `make bench` builds what this needs first: `localcluster generate` makes the events, `jobctl run sessionize` is what is
//! measured. Settings by environment: `BENCH_EVENTS` (default 2,000,000), `BENCH_SEED` (1), `BENCH_IPS` (20,000),
//! `BENCH_PARALLELISM` (1), `BENCH_RUNS` (5). The machine is rarely quiet: quote the median, compare ratios taken in one sitting.

use std::env;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context, Result, ensure};

fn main() -> Result<()> {
    // `cargo test --benches` runs this too; there it has nothing to say.
    if !env::args().any(|argument| argument == "--bench") {
        return Ok(());
    }
    let settings = Settings::from_env()?;
    let folder = binaries().join("bench-data");
    fs::create_dir_all(&folder)?;
    let events = settings.generate(&folder)?;
    let bytes = fs::metadata(&events)?.len();
    println!(
        "{} events, {:.0} bytes each, seed {}, {} ips; file → CSV, parallelism {}, {} runs after one warm-up",
        settings.events,
        bytes as f64 / settings.events as f64,
        settings.seed,
        settings.ips,
        settings.parallelism,
        settings.runs
    );
    let sessions = folder.join("sessions.csv");
    settings.run(&events, &sessions)?;
    let mut runs = (0..settings.runs).map(|_| settings.run(&events, &sessions)).collect::<Result<Vec<_>>>()?;
    let rows = fs::read_to_string(&sessions)?.lines().count() - 1;
    runs.sort_by(|a, b| a.cpu_seconds().total_cmp(&b.cpu_seconds()));
    println!(
        "{rows} sessions\n\n{:>8}  {:>8}  {:>8}  {:>8}  {:>12}  {:>20}",
        "", "user s", "system s", "wall s", "µs CPU/event", "events/CPU-second"
    );
    for (name, run) in [("least", &runs[0]), ("median", &runs[runs.len() / 2]), ("most", &runs[runs.len() - 1])] {
        let cpu = run.cpu_seconds();
        println!(
            "{name:>8}  {:>8.2}  {:>8.2}  {:>8.2}  {:>12.3}  {:>20.0}",
            run.user_seconds,
            run.system_seconds,
            run.wall_seconds,
            cpu * 1e6 / settings.events as f64,
            settings.events as f64 / cpu
        );
    }
    Ok(())
}

struct Settings {
    events: u64,
    seed: u64,
    ips: u64,
    parallelism: u64,
    runs: usize,
}

struct Run {
    user_seconds: f64,
    system_seconds: f64,
    wall_seconds: f64,
}

impl Run {
    fn cpu_seconds(&self) -> f64 {
        self.user_seconds + self.system_seconds
    }
}

impl Settings {
    fn from_env() -> Result<Self> {
        let number = |name: &str, default: u64| match env::var(name) {
            Ok(text) => text.parse().with_context(|| format!("`{name}` is `{text}`: a whole number is expected")),
            Err(_) => Ok(default),
        };
        let runs = usize::try_from(number("BENCH_RUNS", 5)?)?;
        ensure!(runs > 0, "`BENCH_RUNS` must be at least 1");
        Ok(Settings {
            events: number("BENCH_EVENTS", 2_000_000)?,
            seed: number("BENCH_SEED", 1)?,
            ips: number("BENCH_IPS", 20_000)?,
            parallelism: number("BENCH_PARALLELISM", 1)?,
            runs,
        })
    }

    /// The file of events, made once for each choice of settings.
    fn generate(&self, folder: &Path) -> Result<PathBuf> {
        let Settings { events, seed, ips, .. } = self;
        let path = folder.join(format!("events-{events}-{seed}-{ips}.jsonl"));
        if !path.exists() {
            let partial = path.with_extension("partial");
            let (events, seed, ips) = (events.to_string(), seed.to_string(), ips.to_string());
            let mut command = Command::new(binaries().join("localcluster"));
            command.args(["generate", "--events", &events, "--seed", &seed, "--ips", &ips, "--out"]).arg(&partial);
            let status = command.status().context("`localcluster` is not built: run `make bench`")?;
            ensure!(status.success(), "generating events failed: {status}");
            fs::rename(&partial, &path)?;
        }
        Ok(path)
    }

    /// Runs the job once and reads what the operating system accounted to it.
    #[allow(clippy::disallowed_methods, reason = "a benchmark reads the real clock")]
    fn run(&self, events: &Path, sessions: &Path) -> Result<Run> {
        let before = children_cpu_seconds()?;
        let started = std::time::Instant::now();
        let status = Command::new(binaries().join("jobctl"))
            .args(["run", "sessionize", "--gap", "5m", "--parallelism", &self.parallelism.to_string()])
            .args(["--source", &format!("file:{}", events.display()), "--sink", &format!("csv:{}", sessions.display())])
            .stderr(Stdio::null())
            .status()
            .context("`jobctl` is not built: run `make bench`")?;
        let wall_seconds = started.elapsed().as_secs_f64();
        ensure!(status.success(), "`jobctl run sessionize` failed: {status}");
        let after = children_cpu_seconds()?;
        Ok(Run { user_seconds: after.0 - before.0, system_seconds: after.1 - before.1, wall_seconds })
    }
}

/// The folder of the built programs, from this one's own place in it: `target/release/deps/…`.
fn binaries() -> PathBuf {
    let own = env::current_exe().expect("a running program has a path");
    own.ancestors().nth(2).expect("cargo puts it two folders deep").to_owned()
}

/// User and system CPU seconds of this process's finished children, as Linux counts them in clock ticks of 10 ms
/// (`proc(5)`, `/proc/pid/stat`, fields 16 and 17; `USER_HZ` is 100 on every architecture that Rust runs on).
fn children_cpu_seconds() -> Result<(f64, f64)> {
    const TICKS_PER_SECOND: f64 = 100.0;
    let stat = fs::read_to_string("/proc/self/stat")?;
    let after_name = stat.rsplit_once(')').context("`/proc/self/stat` has another form")?.1;
    let mut ticks = after_name.split_whitespace().skip(13).map(str::parse::<f64>);
    let mut next = || ticks.next().context("`/proc/self/stat` is too short")?.context("not a number");
    Ok((next()? / TICKS_PER_SECOND, next()? / TICKS_PER_SECOND))
}
