//! The integration tests of the messenger: every suite drives the real programs as processes of
//! their own, over real sockets, against a real Postgres and a real Redis. `support`, the crate
//! `messenger-testing`, starts all that they need.
#![allow(
    clippy::unwrap_used,
    clippy::disallowed_methods,
    clippy::large_futures,
    clippy::cast_precision_loss,
    clippy::many_single_char_names,
    clippy::similar_names,
    clippy::needless_pass_by_value,
    unreachable_pub,
    reason = "a test that unwraps nothing has failed, reads better than it runs, and nothing here is public to anyone"
)]

#[macro_use]
extern crate messenger_testing as support;

mod browser;
mod clients;
mod deploy;
mod documents;
mod guarantees;
mod house;
mod model;
mod programs;
mod rest;
mod ws;
