//! The program `taskmanager`; everything is in the library, of which an image makes one program with others.

use std::process::ExitCode;

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    taskmanager::process::main()
}
