//! A pooler before Postgres, as installations of many nodes have it.

use crate::support::{Deployment, PgBouncer, limited, postgres};

/// Programs start and start again at once, serve, and leave nothing on the pooler's connections.
#[tokio::test]
async fn programs_run_behind_a_pooler_in_transaction_mode() {
    limited(async {
        let server = postgres::shared().await;
        let pooler = PgBouncer::before(server.port(), 4, &[]).await;
        let direct = server.new_database().await;
        let d = Deployment::cluster(2, 2).env("DATABASE_URL", pooler.url(&direct)).start().await;
        let (ann, bob) = (d.user().await, d.user().await);
        let chat_id = ann.group_id(&[&bob]).await;
        let mut ws = bob.connect_to(1).await;
        ws.subscribe(chat_id).await;
        for n in 0..50 {
            let message = ann.say(chat_id, &format!("message {n}")).await;
            assert_eq!(ws.expect("new_message").await["message"], message);
        }
        assert_eq!(bob.history(chat_id).await["items"].as_array().unwrap().len(), 50);
        for api in d.apis() {
            api.restart().await;
        }
        ann.say(chat_id, "after both apis were renewed").await;
        ws.expect("new_message").await;
    })
    .await;
}
