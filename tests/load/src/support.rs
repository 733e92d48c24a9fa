//! The servers, as the integration tests start them.
#![allow(dead_code, unused_imports, reason = "the harness offers more than a measurement needs")]

#[path = "../../support/src/node.rs"]
pub mod node;
#[path = "../../support/src/ports.rs"]
pub mod ports;
#[path = "../../support/src/postgres.rs"]
pub mod postgres;
#[path = "../../support/src/process.rs"]
pub mod process;
#[path = "../../support/src/programs.rs"]
pub mod programs;
#[path = "../../support/src/redis.rs"]
pub mod redis;
#[path = "../../support/src/wait.rs"]
pub mod wait;

pub use node::Node;
pub use postgres::Postgres;
pub use programs::Program;
pub use redis::Redis;
pub use wait::{blocking, eventually, eventually_blocking};
