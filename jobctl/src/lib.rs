//! The command line: submit, list, describe and cancel jobs of a cluster, or run one here without any.
//!
//! The way through it is ripgrep's, in two steps: `args` is what the user typed, word for word; `request` makes of it, and
//! of the environment, what the program needs, and is where a wrong value is told. Then `commands` act: over `client` on a
//! cluster, or `commands::run` on one that lives in this process only. `view` is what they show, as JSON or by `render` as
//! text, `top` on a whole `screen`, and `diagnosis` says what a job's figures mean. `flink_sql` is a job in Flink's own words. Every failure is a `failure::Failure`: one line, what to do next, and an exit code of [`exit::Exit`].
//!
//! Deliberately absent: checks that need the source, the sink or the cluster. The jobmanager makes them, for every client.
//!
//! Tested by tables beside the code, and by running the program (`tests/`).

mod args;
mod client;
mod commands;
mod diagnosis;
mod environment;
pub mod exit;
mod failure;
mod flink_sql;
mod render;
mod request;
mod screen;
mod terminal;
mod top;
mod view;

use std::process::ExitCode;

use clap::Parser as _;

use crate::args::Args;
use crate::commands::Context;
use crate::environment::Environment;
use crate::exit::Exit;
use crate::failure::Failure;

/// Runs the program on the process's arguments and environment.
pub fn main() -> ExitCode {
    let args = match Args::try_parse() {
        Ok(args) => args,
        // Help and version come this way too, and go to standard output with exit code 0.
        Err(message) => {
            let exit = if message.use_stderr() { Exit::Usage } else { Exit::Done };
            // Nobody is left to tell if the terminal is gone.
            let _ = message.print();
            return exit.into();
        }
    };
    match run(args) {
        Ok(exit) => exit.into(),
        Err(failure) => {
            eprint!("{}", failure.show(terminal::Colors::of_stderr()));
            failure.exit.into()
        }
    }
}

fn run(args: Args) -> Result<Exit, Failure> {
    stream_runtime::logging::init(Some("warn"), None, None);
    // The first to be asked for TLS would choose one, and panic if two were compiled in; a second choice is refused, and harmless.
    let _ = rustls::crypto::ring::default_provider().install_default();
    let environment = Environment::of_process();
    let context = Context::new(&args, environment)?;
    commands::run(args.command, &context)
}
