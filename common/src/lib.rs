//! What the messenger's servers share: shapes, rules, store, bus, presence, rate limits, and the plumbing around them.
//!
//! The only crate with SQL and Redis commands. Imports point down: `service → store, bus, presence, rate_limit → event, model, error, id, clock`.

pub mod auth;
pub mod bus;
pub mod clock;
pub mod config;
pub mod error;
pub mod event;
pub mod http;
pub mod id;
pub mod lifecycle;
pub mod metrics;
pub mod model;
pub mod presence;
pub mod random;
pub mod rate_limit;
pub mod service;
pub mod store;

#[path = "stand_in/config.rs"]
pub mod config;
#[path = "stand_in/lifecycle.rs"]
pub mod lifecycle;
#[path = "stand_in/metrics.rs"]
pub mod metrics;
#[path = "stand_in/problem.rs"]
mod problem;
#[path = "stand_in/relay.rs"]
pub mod relay;
