//! The servers, as the integration tests start them.
#![allow(dead_code, unused_imports, reason = "the harness offers more than a measurement needs")]

#[path = "../../support/node.rs"]
pub mod node;
#[path = "../../support/ports.rs"]
pub mod ports;
#[path = "../../support/postgres.rs"]
pub mod postgres;
#[path = "../../support/process.rs"]
pub mod process;
#[path = "../../support/programs.rs"]
pub mod programs;
#[path = "../../support/redis.rs"]
pub mod redis;
#[path = "../../support/wait.rs"]
pub mod wait;

pub use node::Node;
pub use postgres::Postgres;
pub use programs::Program;
pub use redis::Redis;
pub use wait::{blocking, eventually, eventually_blocking};
