//! G10: nodes of the release before and of this one side by side over one database and one Redis,
//! a rolling release under load, and its roll-back. `cargo test --test releases` runs them.
#![allow(
    clippy::unwrap_used,
    clippy::disallowed_methods,
    clippy::large_futures,
    unreachable_pub,
    reason = "a test that unwraps nothing has failed, reads better than it runs, and nothing here is public to anyone"
)]

extern crate messenger_testing as support;

#[allow(dead_code, reason = "other tests ask it for more")]
#[path = "../guarantees/load.rs"]
mod load;
mod newer_events;
#[path = "../guarantees/reader.rs"]
mod reader;
mod release;
mod rolling;
mod side_by_side;
#[allow(dead_code, reason = "other tests ask it for more")]
#[path = "../guarantees/tally.rs"]
mod tally;
#[allow(dead_code, reason = "other tests ask it for more")]
#[path = "../guarantees/writer.rs"]
mod writer;

use std::path::PathBuf;
use std::sync::OnceLock;

/// The executables of the release before.
async fn before() -> PathBuf {
    static BUILT: OnceLock<Result<PathBuf, String>> = OnceLock::new();
    let built = support::blocking(|| BUILT.get_or_init(release::before).clone()).await;
    built.unwrap_or_else(|error| panic!("{error}"))
}

/// Awaits a test within its limit, which the building of the release before is no part of.
async fn once_built(test: impl Future<Output = ()>) {
    before().await;
    support::limited(test).await;
}
