//! What processes took: the clock's time, CPU time, memory.
//!
//! CPU time is what the system charged, user and system together, of all threads, in ticks of 10 ms; it is read when the process has
//! ended and nobody has waited for it yet. A process' memory is gone by then, so its peak, which the system keeps, is looked at
//! all the while: what grows within the last look may be missed.

use std::fs;
use std::fs::File;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use anyhow::{Context, Result, bail};
use e2e::interrupted::Interrupted;
use localcluster::deadline::{Deadline, pause};
use localcluster::process::{Identity, cpu_time_of};
use localcluster::program::last_lines;
use rustix::process::{Pid, WaitId, WaitIdOptions, waitid};

/// Short beside a run, and too seldom to cost it anything.
const LOOK_EVERY: Duration = Duration::from_millis(5);

/// What some processes took together.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(crate) struct Usage {
    pub(crate) wall_s: f64,
    pub(crate) cpu_s: f64,
    pub(crate) peak_bytes: u64,
    /// Until `has_row` said yes.
    pub(crate) first_row_s: Option<f64>,
}

/// Runs these commands at once, until the last has ended. Their words go to the file `log`; `has_row` is asked again and again whether
/// there is a first row.
///
/// # Errors
/// If one cannot be started or fails, with the end of its words; the others are killed then.
pub(crate) fn measure(
    commands: &mut [Command],
    log: &Path,
    interrupted: &Interrupted,
    has_row: &mut dyn FnMut() -> bool,
) -> Result<Usage> {
    let said = File::create(log).with_context(|| format!("cannot write `{}`", log.display()))?;
    let clock = Deadline::after(Duration::MAX);
    let mut children = Vec::new();
    for command in commands.iter_mut() {
        let name = command.get_program().to_string_lossy().into_owned();
        command.stdin(Stdio::null()).stdout(said.try_clone()?).stderr(said.try_clone()?);
        let child = command.spawn().with_context(|| format!("cannot start `{name}`"))?;
        children.push(Running { child, peak_bytes: 0, cpu_s: None });
    }
    let mut usage = Usage::default();
    while children.iter().any(|running| running.cpu_s.is_none()) {
        interrupted.check()?;
        for running in &mut children {
            running.look()?;
        }
        usage.wall_s = clock.elapsed().as_secs_f64();
        if usage.first_row_s.is_none() && has_row() {
            usage.first_row_s = Some(clock.elapsed().as_secs_f64());
        }
        pause(LOOK_EVERY);
    }
    for mut running in children {
        let status = running.child.wait()?;
        if !status.success() {
            let words = fs::read(log).unwrap_or_default();
            bail!("{status}: {}", last_lines(&String::from_utf8_lossy(&words), 8));
        }
        usage.cpu_s += running.cpu_s.unwrap_or_default();
        usage.peak_bytes += running.peak_bytes;
    }
    Ok(usage)
}

struct Running {
    child: Child,
    peak_bytes: u64,
    /// Once it has ended.
    cpu_s: Option<f64>,
}

impl Running {
    fn look(&mut self) -> Result<()> {
        if self.cpu_s.is_some() {
            return Ok(());
        }
        let pid = self.child.id();
        let peak_bytes = Identity::of(pid).and_then(|identity| identity.peak_resident_bytes());
        self.peak_bytes = self.peak_bytes.max(peak_bytes.unwrap_or(0));
        let of_child = i32::try_from(pid).ok().and_then(Pid::from_raw).context("a process id")?;
        // Its figures are there as long as nobody has waited for it.
        let options = WaitIdOptions::EXITED | WaitIdOptions::NOHANG | WaitIdOptions::NOWAIT;
        if waitid(WaitId::Pid(of_child), options).context("cannot look after a process")?.is_some() {
            self.cpu_s = Some(cpu_s(pid)?);
        }
        Ok(())
    }
}

impl Drop for Running {
    /// What still runs when a run is given up.
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// CPU time of a process, in seconds.
///
/// # Errors
/// If it is not there.
pub(crate) fn cpu_s(pid: u32) -> Result<f64> {
    Ok(cpu_time_of(pid).with_context(|| format!("`/proc/{pid}/stat` tells no CPU time"))?.as_secs_f64())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn measured(script: &str) -> Result<Usage> {
        let dir = tempfile::tempdir().unwrap();
        let runtime = tokio::runtime::Runtime::new().unwrap();
        let _guard = runtime.enter();
        let mut commands = [Command::new("sh"), Command::new("sh")];
        for command in &mut commands {
            command.args(["-c", script]);
        }
        measure(&mut commands, &dir.path().join("log"), &Interrupted::listen(), &mut || true)
    }

    #[test]
    fn processes_that_have_ended_are_charged_together() {
        let usage = measured("i=0; while [ $i -lt 200000 ]; do i=$((i+1)); done").unwrap();
        assert!(usage.cpu_s > 0.02 && usage.wall_s > 0.0, "{usage:?}");
        assert!(usage.peak_bytes > 500_000 && usage.first_row_s.is_some(), "{usage:?}");
    }

    #[test]
    fn a_process_that_fails_is_an_error_with_its_last_words() {
        let error = measured("echo bad news; exit 3").unwrap_err();
        assert!(error.to_string().contains("exit status: 3") && error.to_string().contains("bad news"), "{error}");
    }
}
