//! Connections to Redis, from `REDIS_URL`, and commands over a pool.
//!
//! Imports `error` only. The bus, presence and the rate limits stand on it and do not know each
//! other.

pub mod connect;
pub mod facts;
pub mod namespace;
pub mod pool;
pub mod server;

pub use namespace::Namespace;

use secrecy::SecretString;

/// Where a deployment's Redis is, and which part of it is its own.
#[derive(Clone, Debug)]
pub struct Place {
    /// The nodes of `REDIS_URL`.
    pub urls: Vec<SecretString>,
    /// Whether they are a cluster's.
    pub cluster: bool,
    /// The deployment's own part.
    pub namespace: Namespace,
}
