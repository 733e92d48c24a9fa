//! G3 with Sentinels: `REDIS_URL` names them, and the primary is whom they name.

use std::time::{Duration, Instant};

use crate::support::sentinel::Sentinels;
use crate::support::{Deployment, Redis, SOON, eventually, json, limited};

/// From the death of the primary: half a second until Sentinels notice, their vote, the promotion,
/// a new link.
const MOVED_WITHIN: Duration = Duration::from_secs(10);

#[tokio::test]
async fn a_primary_that_dies_is_followed_by_the_one_that_sentinels_promote() {
    limited(async {
        let (first, second) = (Redis::private().await, Redis::private().await);
        second.command(&["REPLICAOF", "127.0.0.1", &first.port().to_string()]).await;
        let sentinels = Sentinels::of(&first, "main").await;
        eventually("Sentinels know each other and the replica", SOON * 3, async || {
            let known = sentinels.know("main").await;
            known.iter().all(|of| *of == ("2".to_owned(), "1".to_owned())).then_some(())
        })
        .await;
        let d = Deployment::cluster(1, 2).redis(&first).env("REDIS_URL", sentinels.url("main")).start().await;
        let (ann, bob) = (d.user().await, d.user().await);
        let chat_id = ann.group_id(&[&bob]).await;
        let (mut typist, mut reader) = (ann.connect_to(0).await, bob.connect_to(1).await);
        typist.subscribe(chat_id).await;
        reader.subscribe(chat_id).await;
        ann.say(chat_id, "before").await;
        reader.expect("new_message").await;

        first.kill().await;
        let died = Instant::now();
        let sent = ann.say(chat_id, "while there is none").await;
        reader.expect_where("the message", SOON, |frame| frame["seq"] == sent["seq"]).await;
        eventually("the replica is promoted", SOON * 3, async || {
            second.text(&["INFO", "replication"]).await.contains("role:master").then_some(())
        })
        .await;
        // Typing is carried by nothing but the new primary.
        loop {
            typist.send(json!({"type": "typing", "chat_id": chat_id})).await;
            let frame = reader.next_within(Duration::from_millis(2100)).await;
            if frame.is_some_and(|frame| frame["type"] == "typing") {
                break;
            }
            assert!(died.elapsed() < MOVED_WITHIN, "typing does not cross");
        }
        println!("G3 Redis' primary killed under Sentinel: typing crosses again after {:.1?}", died.elapsed());
        // So are presence and the limits.
        let (cem, mut watch) = (d.user().await, typist);
        ann.rest.post(&format!("/chats/{chat_id}/members"), json!({"user_ids": [cem.id]})).await.ok(200);
        let _here = cem.connect_to(1).await;
        watch
            .expect_where("cem is online", SOON, |frame| frame["type"] == "user_status" && frame["user_id"] == cem.id)
            .await;
    })
    .await;
}
