//! The built programs of this workspace.

use std::path::PathBuf;
use std::process::{Command, Output};

use anyhow::{Context, Result, ensure};

/// A program of this workspace, in the folder that this test or program was built into.
///
/// # Errors
/// If it is not built.
pub fn path(name: &str) -> Result<PathBuf> {
    let own = std::env::current_exe()?;
    let beside = own.parent().context("a program lies in a folder")?;
    // Cargo puts tests into `deps`, one folder below the programs.
    let folder = if beside.ends_with("deps") { beside.parent().unwrap_or(beside) } else { beside };
    let program = folder.join(name);
    ensure!(program.exists(), "`{}` is not built: run `make build`", program.display());
    Ok(program)
}

/// What a program that ended said.
#[derive(Debug)]
pub struct Said {
    /// Its exit code; `None` if a signal ended it.
    pub code: Option<i32>,
    /// Its standard output.
    pub out: String,
    /// Its standard error.
    pub err: String,
}

impl From<Output> for Said {
    fn from(output: Output) -> Self {
        Said {
            code: output.status.code(),
            out: String::from_utf8_lossy(&output.stdout).into_owned(),
            err: String::from_utf8_lossy(&output.stderr).into_owned(),
        }
    }
}

impl Said {
    /// Its standard output, if it ended well.
    ///
    /// # Errors
    /// If it did not, with what it said.
    pub fn ok(self) -> Result<String> {
        ensure!(self.code == Some(0), "exit code {:?}\nstdout: {}\nstderr: {}", self.code, self.out, self.err);
        Ok(self.out)
    }
}

/// Runs a program to its end. Variables that the product reads are taken out of its environment first, so that a test
/// means the same on every machine.
///
/// # Errors
/// If it is not built or cannot be started.
pub fn run(name: &str, args: &[&str], env: &[(&str, &str)]) -> Result<Said> {
    Ok(command(name, args, env)?.output()?.into())
}

/// A program as [`run`] runs it, for whoever does not want to wait.
///
/// # Errors
/// If it is not built.
pub fn command(name: &str, args: &[&str], env: &[(&str, &str)]) -> Result<Command> {
    let mut command = Command::new(path(name)?);
    for (variable, _) in std::env::vars().filter(|(name, _)| is_ours(name)) {
        command.env_remove(variable);
    }
    command.args(args).envs(env.iter().copied());
    Ok(command)
}

fn is_ours(variable: &str) -> bool {
    ["AWS_", "GAPWISE_", "KAFKA_", "OTEL_", "POSTGRES_"].iter().any(|prefix| variable.starts_with(prefix))
}
