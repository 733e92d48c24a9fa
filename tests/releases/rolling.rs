//! Each node is renewed in turn while users write and read; then each goes back.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use crate::before;
use crate::load::Load;
use crate::support::{Deployment, Node, blocking};

/// No write waits longer for a migration, nor for anything else of a release (G10).
const LONGEST_WRITE: Duration = Duration::from_secs(2);
const EXIT_WITHIN: Duration = Duration::from_secs(30);
const IN_ALL: Duration = Duration::from_mins(4);

/// Ends a node in order and starts it again from those executables.
async fn renew(node: &Arc<Node>, programs: Option<PathBuf>) {
    node.sigterm();
    assert_eq!(node.wait_exit(EXIT_WITHIN).await.code(), Some(0), "{}", node.name());
    node.set_programs(programs);
    node.start_again().await;
    let ready = Arc::clone(node);
    blocking(move || ready.wait_ready()).await.unwrap();
}

#[tokio::test]
async fn a_rolling_release_and_its_roll_back_lose_nothing() {
    let old = before().await;
    let all = async {
        let d = Deployment::cluster(2, 2).programs(old.clone()).env("DRAIN_SECONDS", 1).start().await;
        let mut load = Load::start(&d).await;
        load.fault_begins();
        // The first api of this release brings the schema up, under the load.
        let in_turn = [d.api(0), d.gateway(0), d.api(1), d.gateway(1)];
        for node in in_turn {
            renew(node, None).await;
            load.go_on(50).await;
        }
        for node in in_turn {
            renew(node, Some(old.clone())).await;
            load.go_on(50).await;
        }
        load.fault_is_over();
        let tally = load.finish("a rolling release and its roll-back").await;
        tally.check();
        assert!(tally.codes().is_empty(), "{:?}", tally.codes());
        assert!(tally.slowest_send() < LONGEST_WRITE, "{tally}");
    };
    assert!(tokio::time::timeout(IN_ALL, all).await.is_ok(), "not done within {IN_ALL:?}");
}
