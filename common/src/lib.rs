//! The shared part of the messenger's servers: shapes, rules, store, bus, presence, rate limits,
//! and the plumbing around them. The only crate with SQL and Redis commands.
//!
//! # Rooms, top to bottom
//!
//! A room imports rooms that stand below it in this list, and no other.
//!
//! - `fuzz`: the parsers of bytes from outside, for machines that try them
//! - `program`: the frame of every program
//! - `tools`: the sub-commands
//! - `admin`: the host's own work on the database, beside the program or without it
//! - `http`: extractors, layers, problems, the accept loop
//! - `telemetry`: the log
//! - `service`: the rules
//! - `backends`: connects store, bus, presence and limits
//! - `closed_accounts`: groups of closed accounts
//! - `pruning`: retention of the log, words of messages and spellings of addresses that lack them,
//!   words that wait
//! - `relay`: from commit to bus
//! - `auth`: tokens, passwords, revocations
//! - `presence`: the users who are online
//! - `rate_limit`: limits that hold across nodes
//! - `dispatch`: from bus to receivers
//! - `history`: which history of the chats this is
//! - `bus`: publications between nodes
//! - `store`: the data
//! - `redis`: connections and commands
//! - `traces`: sampled requests, followed across nodes
//! - `metrics`: the table of metrics
//! - `batcher`: many questions in one query
//! - `lifecycle`: tasks, drain, readiness
//! - `config`: the configuration
//! - `error`: the one error
//! - `wire`: commands and close codes of the WebSocket
//! - `event`: events and envelopes
//! - `label`: closed sets of words
//! - `model`: the shapes of the API
//! - `timestamp`: how times are written for clients
//! - `clock`, `random`, `backoff`: time, randomness and pauses as arguments
//! - `once`: one line of the log a cause
//! - `words`: the words of a text, as search compares them
//! - `address`: the one spelling of an e-mail address
//! - `id`: newtypes

#![cfg_attr(test, allow(clippy::disallowed_methods, reason = "a test starts and ends what it needs"))]

pub mod address;
pub mod admin;
pub mod auth;
pub mod backends;
pub mod backoff;
pub mod batcher;
pub mod bus;
pub mod clock;
pub mod closed_accounts;
pub mod config;
pub mod dispatch;
pub mod error;
pub mod event;
#[cfg(any(test, feature = "fuzz"))]
pub mod fuzz;
pub mod history;
pub mod http;
pub mod id;
pub mod label;
pub mod lifecycle;
pub mod metrics;
pub mod model;
pub mod once;
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
pub mod timestamp;
pub mod tools;
pub mod traces;
pub mod wire;
pub mod words;
