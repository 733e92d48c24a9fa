//! The things that tests start: servers as real processes, clients as real sockets, and a proxy
//! that breaks the links between them. It knows no crate of the messenger, so that each of them
//! can test with it.
//!
//! The feature `deployment` adds whole messengers and clients of them. A plain test takes a
//! deployment that all tests share and makes fresh users in it:
//!
//! ```text
//! both_forms!(a_message_arrives);
//!
//! async fn a_message_arrives(d: &Deployment) {
//!     let (ann, bob) = (d.user().await, d.user().await);
//!     …
//! }
//! ```
//!
//! A test that stops, kills or configures something starts a deployment of its own with
//! `Deployment::embedded` or `Deployment::cluster`.
#![allow(
    clippy::unwrap_used,
    clippy::disallowed_methods,
    clippy::needless_pass_by_value,
    missing_docs,
    reason = "a test that unwraps nothing has failed, and most of the harness does what its name says"
)]

mod cluster;
#[cfg(feature = "deployment")]
pub mod deployment;
#[cfg(feature = "deployment")]
pub mod documents;
mod forms;
pub mod monitor;
pub mod mutate;
pub mod node;
pub mod npm;
pub mod pgbouncer;
pub mod ports;
pub mod postgres;
pub mod process;
pub mod programs;
pub mod proxy;
pub mod redis;
#[cfg(feature = "deployment")]
pub mod rest;
pub mod sentinel;
#[cfg(feature = "deployment")]
pub mod shared;
#[cfg(feature = "deployment")]
pub mod site;
#[cfg(feature = "deployment")]
mod statements;
#[cfg(test)]
mod tests;
pub mod tls;
#[cfg(feature = "deployment")]
pub mod user;
pub mod wait;
#[cfg(feature = "deployment")]
pub mod ws;

pub use self::redis::Redis;
pub use cluster::RedisCluster;
pub use monitor::Monitor;
pub use node::Node;
pub use pgbouncer::PgBouncer;
pub use postgres::Postgres;
pub use programs::Program;
pub use proxy::Proxy;
pub use wait::{SOON, TEST_LIMIT, blocking, eventually, eventually_blocking, limited, limited_alone, until, within};

#[cfg(feature = "deployment")]
pub use self::{
    deployment::Deployment,
    rest::{Answer, Rest},
    site::Site,
    user::User,
    ws::{Way, Ws},
};
#[cfg(feature = "deployment")]
pub use serde_json::{Value, json};
