//! A rolling restart that nobody notices (G8): sockets are released at an even pace, each with its
//! own moment to come back, and `offline` is never published of a user who comes back by then.

use crate::hub::Hub;
use crate::inbox::ToShard;
use std::time::Duration;

/// Clients have this long to answer the close frame.
const GOODBYE: Duration = Duration::from_secs(2);

/// Releases all connections over `over` and returns when they are gone, or have had their time.
pub(crate) async fn drain(hub: &Hub, over: Duration) {
    let releasing = over.mul_f64(0.8);
    hub.send_all(|| ToShard::Drain(releasing)).await;
    let deadline = tokio::time::Instant::now() + over + GOODBYE;
    let mut looks = tokio::time::interval(Duration::from_millis(50));
    // In this order: a connection is counted before its arrival is over.
    let is_left = || hub.has_arrivals() || hub.ctx.metrics.ws_connections.get() > 0;
    while is_left() && tokio::time::Instant::now() < deadline {
        looks.tick().await;
    }
    hub.presence.settled(Duration::from_secs(1)).await;
}
