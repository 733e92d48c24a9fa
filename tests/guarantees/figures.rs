//! An operator's view of a fault: `/readyz` and the metrics of all nodes.

use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::programs::metrics::total;
use crate::support::{Answer, Node, eventually};

/// A dead link or database shows on the admin port within this (the contract's section 1).
pub const SHOWS_WITHIN: Duration = Duration::from_secs(10);

/// How often gateways have read the log to fill what subscriptions missed.
pub async fn gap_fills(gateways: &[Arc<Node>]) -> f64 {
    total(gateways, "messenger_gap_fills_total", &[]).await
}

/// How often the nodes have made their links to Redis anew.
pub async fn reconnects(nodes: &[Arc<Node>]) -> f64 {
    total(nodes, "messenger_backplane_reconnects_total", &[]).await
}

/// Waits until `/readyz` of all nodes answers `status`.
pub async fn all_answer(nodes: &[Arc<Node>], status: u16) {
    for node in nodes {
        let url = format!("{}/readyz", node.admin_url());
        let what = format!("{} answers {status} on /readyz", node.name());
        eventually(&what, SHOWS_WITHIN, async || {
            let answer = Answer::of(reqwest::Client::new().get(&url)).await;
            (answer.status == status).then_some(())
        })
        .await;
    }
}

/// The time from `gone` on for which the node was ready, by `/readyz`. It has to turn in time.
pub async fn ready_for(node: &Node, gone: Instant) -> Duration {
    let url = format!("{}/readyz", node.admin_url());
    loop {
        let asked = gone.elapsed();
        let answer = Answer::of(reqwest::Client::new().get(&url)).await;
        if answer.status == 503 {
            return gone.elapsed();
        }
        assert_eq!(answer.status, 200, "{}", node.name());
        assert!(asked < SHOWS_WITHIN, "{} is ready after {asked:?}", node.name());
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

/// Waits until all nodes say of their links to Redis that they are up, or that one is down, by the
/// metric.
pub async fn links_show(nodes: &[Arc<Node>], up: bool) {
    each_tells(nodes, "messenger_backplane_up", if up { "1" } else { "0" }, |told| (told > 0.5) == up).await;
}

/// The same by the metric and by `/readyz`.
pub async fn backplane_shows(nodes: &[Arc<Node>], up: bool) {
    links_show(nodes, up).await;
    all_answer(nodes, if up { 200 } else { 503 }).await;
}

/// Waits until every api counts at least so many committed events that nobody has published.
pub async fn outbox_rises(apis: &[Arc<Node>], entries: u32) {
    each_tells(apis, "messenger_outbox_pending", &format!("at least {entries}"), |told| told >= f64::from(entries))
        .await;
}

/// Waits until no api counts any; not under load, of which some are always on their way.
pub async fn outbox_empties(apis: &[Arc<Node>]) {
    each_tells(apis, "messenger_outbox_pending", "0", |told| told < 0.5).await;
}

async fn each_tells(nodes: &[Arc<Node>], metric: &str, wanted: &str, is: impl Fn(f64) -> bool) {
    for node in nodes {
        let what = format!("{}: {metric} is {wanted}", node.name());
        let one = std::slice::from_ref(node);
        eventually(&what, SHOWS_WITHIN, async || is(total(one, metric, &[]).await).then_some(())).await;
    }
}
