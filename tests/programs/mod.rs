//! The programs as an operator meets them: configuration, start, restart, the admin port.

mod configuration;
pub mod metrics;
mod start;
