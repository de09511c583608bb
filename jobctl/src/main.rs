//! The program `jobctl`; everything is in the library, where tests can reach it.
//!
//! It holds a whole cluster anyway, for `jobctl run`. Called by the name of one of the cluster's programs it is that one, so that an
//! image needs one file for all.

use std::env;
use std::path::Path;
use std::process::ExitCode;

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    let called = env::args_os().next().unwrap_or_default();
    match Path::new(&called).file_name().and_then(|name| name.to_str()) {
        Some("jobmanager") => jobmanager::process::main(),
        Some("taskmanager") => taskmanager::process::main(),
        Some(_) | None => jobctl::main(),
    }
}
