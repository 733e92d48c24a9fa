//! The REST server's process.

use messenger_common::config::Program;
use messenger_common::program;
use std::process::ExitCode;

/// Gives memory back that a burst took, and fragments less over weeks than the system's.
#[global_allocator]
static ALLOCATOR: tikv_jemallocator::Jemalloc = tikv_jemallocator::Jemalloc;

fn main() -> ExitCode {
    program::main(Program::Api, messenger_api::run)
}
