//! What the messenger's servers share: shapes, rules, store, bus, presence, rate limits, and the plumbing around them.
//!
//! The only crate with SQL and Redis commands. Imports point down: `service → store, bus, presence, rate_limit → event, model, error, id, clock`.

#![cfg_attr(test, allow(clippy::disallowed_methods, reason = "a test starts and ends what it needs"))]

pub mod auth;
pub mod backends;
pub mod backoff;
pub mod bus;
pub mod clock;
pub mod config;
pub mod dispatch;
pub mod error;
pub mod event;
pub mod http;
pub mod id;
pub mod label;
pub mod lifecycle;
pub mod metrics;
pub mod model;
#[cfg(test)]
#[path = "../../tests/support/ports.rs"]
mod ports;
pub mod presence;
pub mod program;
pub mod pruning;
pub mod random;
pub mod rate_limit;
pub mod redis;
pub mod relay;
pub mod service;
pub mod store;
pub mod telemetry;
pub mod wire;
