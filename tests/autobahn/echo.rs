//! `messenger` as it is, but that its gateway answers each text with itself: the feature `echo`.

use messenger_common::config::Program;
use messenger_common::program::{self, App};
use messenger_gateway::Gateway;
use std::process::ExitCode;

fn main() -> ExitCode {
    program::main(Program::Messenger, |config, public, admin, lifecycle| {
        program::run(config, public, admin, lifecycle, |started| {
            let gateway = Gateway::app(started)?;
            let api = messenger_api::router(started.context.clone(), started.config, started.lifecycle);
            Ok(App { router: api.merge(gateway.router), ..gateway })
        })
    })
}
