//! The harness that all suites share: servers as real processes, clients as real sockets, and a proxy that
//! breaks the links between them.
//!
//! A plain test takes a deployment that all tests share and makes fresh users in it:
//!
//! ```ignore
//! both_forms!(a_message_arrives);
//!
//! async fn a_message_arrives(d: &Deployment) {
//!     let (ann, bob) = (d.user().await, d.user().await);
//!     …
//! }
//! ```
//!
//! A test that stops, kills or configures something starts a deployment of its own with
//! [`Deployment::embedded`] or [`Deployment::cluster`].
#![allow(
    dead_code,
    unused_imports,
    reason = "a harness offers its parts to every suite; which of them uses what changes"
)]

pub mod deployment;
pub mod node;
pub mod ports;
pub mod postgres;
pub mod process;
pub mod programs;
pub mod proxy;
pub mod redis;
pub mod rest;
pub mod shared;
mod tests;
pub mod user;
pub mod wait;
pub mod ws;

use std::time::Duration;

pub use self::redis::Redis;
pub use self::rest::{Answer, Rest};
pub use self::ws::{Way, Ws};
pub use deployment::Deployment;
pub use node::Node;
pub use postgres::Postgres;
pub use programs::Program;
pub use proxy::Proxy;
pub use serde_json::{Value, json};
pub use user::User;
pub use wait::{blocking, eventually, eventually_blocking};

/// How long a test waits for what should come at once, on a machine that is busy with other tests.
pub const SOON: Duration = Duration::from_secs(15);

/// How long one test may take in all, private deployments included.
pub const TEST_LIMIT: Duration = Duration::from_mins(3);

/// Runs each named `async fn(&Deployment)` twice, as `embedded::name` and as `cluster::name`.
///
/// A function that is not named here is dead code, of which the compiler warns: no test is forgotten.
macro_rules! both_forms {
    ($($name:ident),+ $(,)?) => {
        mod embedded {
            $(
                #[tokio::test]
                async fn $name() {
                    let deployment = $crate::support::shared::embedded().await;
                    $crate::support::limited(super::$name(&deployment)).await;
                }
            )+
        }
        mod cluster {
            $(
                #[tokio::test]
                async fn $name() {
                    let deployment = $crate::support::shared::cluster().await;
                    $crate::support::limited(super::$name(&deployment)).await;
                }
            )+
        }
    };
}

/// Runs each named `async fn(Builder)` twice, on a private embedded deployment's builder and on that of a
/// private cluster of two apis and two gateways: for tests that set variables or break things.
macro_rules! both_forms_alone {
    ($($name:ident),+ $(,)?) => {
        mod embedded_alone {
            $(
                #[tokio::test]
                async fn $name() {
                    let builder = $crate::support::Deployment::embedded();
                    $crate::support::limited(super::$name(builder)).await;
                }
            )+
        }
        mod cluster_alone {
            $(
                #[tokio::test]
                async fn $name() {
                    let builder = $crate::support::Deployment::cluster(2, 2);
                    $crate::support::limited(super::$name(builder)).await;
                }
            )+
        }
    };
}

/// Awaits `test` and panics when it takes longer than [`TEST_LIMIT`].
pub async fn limited<T>(test: impl Future<Output = T>) -> T {
    let Ok(value) = tokio::time::timeout(TEST_LIMIT, test).await else {
        panic!("the test took longer than {TEST_LIMIT:?}");
    };
    value
}
