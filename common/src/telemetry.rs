//! The log: to stderr, readable with `DEBUG`, else one JSON object a line with dotted fields. No
//! token, no body, no e-mail.

use crate::config::Config;
use std::io::{self, IsTerminal};
use std::panic::PanicHookInfo;
use tracing_subscriber::EnvFilter;
use tracing_subscriber::fmt;
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::SubscriberInitExt;

/// Starts the log and writes the configuration's warnings to it. Once a process.
pub fn init(config: &Config) {
    // `Config` has validated the directives.
    let filter = EnvFilter::try_new(&config.log).unwrap_or_else(|_| EnvFilter::new("info"));
    let registry = tracing_subscriber::registry().with(filter);
    let started = if config.debug {
        let colours = io::stderr().is_terminal();
        registry.with(fmt::layer().with_writer(io::stderr).with_ansi(colours).with_target(false)).try_init()
    } else {
        registry.with(fmt::layer().json().flatten_event(true).with_writer(io::stderr)).try_init()
    };
    if started.is_err() {
        // In a test another log runs already, and serves.
        return;
    }
    std::panic::set_hook(Box::new(panicked));
    for warning in &config.warnings {
        tracing::warn!("{warning}");
    }
}

/// A panic is a line of the log like any other.
fn panicked(info: &PanicHookInfo<'_>) {
    let payload = info.payload();
    let message = payload
        .downcast_ref::<&str>()
        .copied()
        .or_else(|| payload.downcast_ref::<String>().map(String::as_str))
        .unwrap_or("no message");
    let place = info.location().map(ToString::to_string).unwrap_or_default();
    tracing::error!(panic.message = message, panic.place = place, "panic");
}
