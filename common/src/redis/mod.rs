//! Redis as everything here speaks to it: from `REDIS_URL` to connections, and commands over a pool.
//!
//! Imports `error` only. The bus, presence and the rate limits stand on it and do not know each other.

pub mod connect;
pub mod pool;
