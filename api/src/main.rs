//! `messenger-api`: a stateless REST instance.

use messenger_common::config::Program;
use messenger_common::program::{self, Assembled};
use std::process::ExitCode;

#[global_allocator]
static ALLOCATOR: tikv_jemallocator::Jemalloc = tikv_jemallocator::Jemalloc;

fn main() -> ExitCode {
    program::main(Program::Api, |config, _, ctx, _| {
        Ok(Assembled { router: messenger_api::router(ctx, config), sink: None, drain: Box::pin(async {}) })
    })
}
