//! `localcluster`: what `make up`, `down`, `status`, `logs`, `clean`, `load`, `traffic`, `demo` and `analysis` call.
//!
//! Only the command line is here: reading it, and showing what the library did. Exit codes: 0 done, 1 failed, 2 usage.

mod args;
mod ask;
mod demo;
mod produce;
mod run;
mod show;

use std::process::ExitCode;

use clap::Parser;

fn main() -> ExitCode {
    match run::run(args::Args::parse()) {
        Ok(code) => code,
        Err(error) => {
            // The whole chain, once: each error describes its own level only.
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}
