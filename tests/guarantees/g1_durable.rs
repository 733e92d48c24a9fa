//! G1: what was acknowledged is committed, whatever dies a moment later.

use std::sync::Arc;
use std::time::Duration;

use super::figures::{all_answer, gap_fills};
use super::load::{Load, READERS};
use super::tally::ms;
use crate::support::{Deployment, Postgres, limited};

#[tokio::test]
async fn an_api_is_killed() {
    limited(async {
        let d = Deployment::cluster(2, 2).start().await;
        let mut load = Load::start(&d).await;
        load.fault_begins();
        d.api(0).kill_9();
        load.fault_is_over();
        load.go_on(100).await;
        d.api(0).restart().await;
        let tally = load.finish("kill -9 of an api").await;
        tally.check();
        assert!(tally.unanswered > 0, "it was in use");
        assert_eq!(tally.connections, READERS, "no socket is an api's");
    })
    .await;
}

#[tokio::test]
async fn a_gateway_is_killed() {
    limited(async {
        let d = Deployment::cluster(2, 2).start().await;
        let survivor = [Arc::clone(d.gateway(1))];
        let mut load = Load::start(&d).await;
        let before = gap_fills(&survivor).await;
        load.fault_begins();
        d.gateway(0).kill_9();
        load.fault_is_over();
        load.go_on(100).await;
        d.gateway(0).restart().await;
        let tally = load.finish("kill -9 of a gateway").await;
        tally.check();
        assert_eq!(tally.connections, READERS + READERS / 2, "its half of the subscribers went to the other");
        assert_eq!(tally.refused.len() + tally.unanswered, 0, "no writer noticed");
        println!("  its log was read {} times for those who came back", gap_fills(&survivor).await - before);
    })
    .await;
}

/// As at a power cut; not one of our programs is started again.
#[tokio::test]
async fn postgres_crashes_and_comes_back() {
    limited(async {
        let postgres = Postgres::private().await;
        let d = Deployment::cluster(2, 2).postgres(&postgres).start().await;
        let mut load = Load::start(&d).await;
        load.fault_begins();
        postgres.crash().await;
        all_answer(&d.nodes(), 503).await;
        postgres.start().await;
        load.fault_is_over();
        all_answer(&d.nodes(), 200).await;
        let tally = load.finish("Postgres crashed and started again").await;
        tally.check();
        assert_eq!(tally.codes().into_iter().collect::<Vec<_>>(), [(503, "unavailable")]);
        let slowest = tally.refused.iter().map(|refused| refused.took).max().unwrap_or_default();
        assert!(slowest < Duration::from_secs(2), "a refusal took {slowest:?}");
        assert_eq!(tally.unanswered, 0, "every request is answered");
        assert_eq!(tally.connections, READERS, "the sockets stay open");
        println!("  refused {} times, the slowest within {}", tally.refused.len(), ms(slowest));
    })
    .await;
}
