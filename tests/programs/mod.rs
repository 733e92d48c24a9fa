//! The programs as an operator meets them: configuration, start, restart, the admin port.

mod configuration;
mod file;
pub mod metrics;
mod start;
