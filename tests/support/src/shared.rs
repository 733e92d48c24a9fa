//! The two deployments that all plain tests share, started by the first test that asks.

use std::ops::Deref;
use std::sync::Arc;

use tokio::sync::OnceCell;

use super::deployment::{Builder, Deployment};

/// The one deployment of its form; a start that failed fails every test at once instead of being tried again.
type Cell = OnceCell<Result<Arc<Deployment>, String>>;

/// A test's use of a shared deployment: when the test fails, what the nodes wrote meanwhile is printed.
pub struct Shared {
    deployment: Arc<Deployment>,
    marks: Vec<usize>,
}

/// `messenger` over SQLite.
pub async fn embedded() -> Shared {
    static CELL: Cell = Cell::const_new();
    shared(&CELL, Deployment::embedded()).await
}

/// Two apis and two gateways over Postgres and Redis.
pub async fn cluster() -> Shared {
    static CELL: Cell = Cell::const_new();
    shared(&CELL, Deployment::cluster(2, 2)).await
}

async fn shared(cell: &Cell, builder: Builder) -> Shared {
    let start = || async {
        let mut deployment = builder.try_start().await?;
        deployment.shared = true;
        Ok(Arc::new(deployment))
    };
    match cell.get_or_init(start).await {
        Ok(deployment) => Shared {
            marks: deployment.nodes().iter().map(|node| node.log().mark()).collect(),
            deployment: Arc::clone(deployment),
        },
        Err(error) => panic!("the shared deployment did not start: {error}"),
    }
}

impl Deref for Shared {
    type Target = Deployment;

    fn deref(&self) -> &Deployment {
        &self.deployment
    }
}

impl Drop for Shared {
    fn drop(&mut self) {
        if std::thread::panicking() {
            for (node, mark) in self.deployment.nodes().iter().zip(&self.marks) {
                eprintln!("{}", node.tail_since(*mark, 40));
            }
        }
    }
}
