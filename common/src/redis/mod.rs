//! Connections to Redis, from `REDIS_URL`, and commands over a pool.
//!
//! Imports `config` and `error` only. The bus, presence and the rate limits stand on it and do not
//! know each other.

mod address;
pub mod connect;
pub mod facts;
mod hello;
pub mod namespace;
pub mod pool;
pub mod script;
pub mod server;

pub use namespace::Namespace;

pub(crate) use address::{Server, at};

use crate::config::RedisConfig;

/// Where a deployment's Redis is, and which part of it is its own.
#[derive(Clone, Debug)]
pub struct Place {
    /// `REDIS_URL`, read.
    pub config: RedisConfig,
    /// The deployment's own part.
    pub namespace: Namespace,
}
