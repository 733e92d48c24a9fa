//! Connections to Redis, from `REDIS_URL`, and commands over a pool.
//!
//! Imports `error` only. The bus, presence and the rate limits stand on it and do not know each
//! other.

pub mod connect;
pub mod pool;
