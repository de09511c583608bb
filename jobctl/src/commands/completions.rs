//! Scripts that complete the command line in a shell.

use clap::CommandFactory as _;
use clap_complete::shells;

use crate::args::{Args, Shell};
use crate::exit::Exit;
use crate::failure::Failure;
use crate::terminal;

pub(super) fn print(shell: Shell) -> Result<Exit, Failure> {
    let mut script = Vec::new();
    let mut command = Args::command();
    match shell {
        Shell::Bash => clap_complete::generate(shells::Bash, &mut command, "jobctl", &mut script),
        Shell::Zsh => clap_complete::generate(shells::Zsh, &mut command, "jobctl", &mut script),
        Shell::Fish => clap_complete::generate(shells::Fish, &mut command, "jobctl", &mut script),
    }
    terminal::print(&String::from_utf8_lossy(&script)).map_err(|error| Failure::output(&error))?;
    Ok(Exit::Done)
}
