//! Servers under which a program serves, but worse than it could: the log names the cause once.

use crate::support::{Deployment, Node, blocking, limited, process};

fn lines(node: &Node, words: &str) -> usize {
    node.log().since(0).iter().filter(|line| line.contains(words)).count()
}

#[tokio::test]
async fn a_clock_or_a_pool_that_does_not_fit_is_named_at_the_start() {
    limited(async {
        let builder = Deployment::cluster(1, 1)
            .env("DB_POOL_SIZE", 5000)
            .node_env("api-0", "LD_PRELOAD", blocking(process::faketime).await)
            .node_env("api-0", "FAKETIME", "-90s")
            .node_env("api-0", "FAKETIME_DONT_FAKE_MONOTONIC", 1)
            .node_env("api-0", "DONT_FAKE_MONOTONIC", 1);
        let cluster = builder.start().await;
        cluster.user().await;
        assert_eq!(lines(cluster.api(0), "the database's clock is 90."), 1, "{}", cluster.api(0).tail(20));
        assert_eq!(lines(cluster.gateway(0), "the database's clock"), 0, "its clock is right");
        for node in cluster.nodes() {
            assert_eq!(lines(&node, "DB_POOL_SIZE is 5000"), 1, "{}", node.tail(20));
        }
    })
    .await;
}
