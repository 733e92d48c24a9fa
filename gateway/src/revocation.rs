//! Access that ended elsewhere ends here (G6): revocations that the process learns of are passed
//! to the shards that hold the user.

use crate::hub::Hub;
use crate::inbox::ToShard;
use std::sync::Arc;
use tokio::sync::broadcast::error::RecvError;

/// Passes revocations on until the process stops.
pub(crate) async fn run(hub: Arc<Hub>) {
    let stopping = hub.lifecycle.stopping();
    let mut changes = hub.ctx.revocations.changes();
    loop {
        let change = tokio::select! {
            () = stopping.cancelled() => return,
            change = changes.recv() => change,
        };
        match change {
            Ok(revocation) => hub.revoke(revocation).await,
            Err(RecvError::Lagged(missed)) => {
                tracing::warn!(missed, "revocations came faster than they were passed on; checking all");
                hub.send_all(|| ToShard::Recheck).await;
            }
            Err(RecvError::Closed) => return,
        }
    }
}
