//! G6 for a reader that is behind: it does not read the log with the texts of now.

use std::time::Duration;

use super::g7_slow_readers::{FILLING, Link, QUEUE, Reader, flow};
use super::watch::{Seen, Watch, assert_consecutive};
use crate::support::{Deployment, SOON, Value, json, limited};

/// So long nothing comes to one who is to get nothing more.
const QUIET: Duration = Duration::from_secs(2);
const EDITED: &str = "not for the removed";
const EDITS: usize = 20;

#[tokio::test]
async fn the_removed_who_are_behind_read_no_text_of_afterwards() {
    limited(async {
        let d = Deployment::cluster(1, 1).env("MAX_SEND_QUEUE_BYTES", QUEUE).start().await;
        let (author, removed) = (d.user().await, d.user().await);
        let chat_id = author.group_id(&[&removed]).await;
        let mut reader = Reader::open(&d, &removed, chat_id, Link::Narrow).await;
        let (_, _, flowed) = flow(&author, chat_id, Vec::new(), FILLING).await;

        let witness = Watch::subscribed(author.connect().await, chat_id).await;
        let history = author.history(chat_id).await;
        author.rest.delete(&format!("/chats/{chat_id}/members/{}", removed.id)).await.ok(204);
        for message in &history["items"].as_array().unwrap()[..EDITS] {
            let path = format!("/messages/edit/{}", message["id"]);
            author.rest.put(&path, json!({"text": EDITED})).await.ok(200);
        }
        let edits = |seen: &[Seen]| seen.iter().filter(|seen| seen.is("message_edited")).count();
        witness.until("the edits", SOON, |seen| (edits(seen) == EDITS).then_some(())).await;

        let (mut seqs, mut told) = (Vec::new(), false);
        while let Ok(frame) = tokio::time::timeout(QUIET, reader.next()).await {
            let frame: Value = serde_json::from_str(&frame.expect("open")).unwrap();
            assert_ne!(frame["message"]["text"], EDITED, "{frame}");
            told |= frame["type"] == "chat_removed";
            if frame["chat_id"] == chat_id {
                seqs.extend(frame["seq"].as_i64());
            }
        }
        assert!(told, "the removal is told");
        assert_consecutive(&seqs, "what it had room for before");
        assert!(*seqs.last().unwrap() < flowed.head(), "it was behind: {:?}", seqs.last());
    })
    .await;
}
