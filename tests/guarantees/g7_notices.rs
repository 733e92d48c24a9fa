//! G7 for notices: one who is behind gets each of them once, beside what is replayed.

use std::collections::BTreeMap;
use std::time::Duration;

use super::g7_slow_readers::{FILLING, Link, QUEUE, Reader, flow};
use super::watch::assert_consecutive;
use crate::support::{Deployment, SOON, User, Value, limited};

const NOTICES: usize = 40;
/// Of each turn in which a slow reader reads a frame.
const TURN: Duration = Duration::from_millis(5);

fn text(n: usize) -> String {
    format!("notice {n}")
}

/// Reads until the chat's event of this number, and the notices that others sent, are there; then
/// what comes up to the text `last`. The numbers of the chat, and how often each other frame came.
async fn read(reader: &mut Reader, chat_id: i64, last: &str, pause: Duration) -> (Vec<i64>, Vec<String>) {
    let (mut seqs, mut notices) = (Vec::new(), Vec::new());
    let all = async {
        loop {
            let frame: Value = serde_json::from_str(&reader.next().await.expect("open")).unwrap();
            assert_ne!(frame["type"], "resync", "{frame}");
            let text = frame["message"]["text"].as_str().unwrap_or_default().to_owned();
            match frame["type"].as_str().unwrap() {
                "new_message" if frame["chat_id"] == chat_id => seqs.extend(frame["seq"].as_i64()),
                "new_message" if text == last => break,
                kind @ ("new_message" | "mentioned") => notices.push(format!("{kind} {text}")),
                kind @ ("chat_added" | "chat_removed") => notices.push(kind.to_owned()),
                _ => {}
            }
            tokio::time::sleep(pause).await;
        }
    };
    let read = tokio::time::timeout(SOON * 2, all).await;
    assert!(read.is_ok(), "only {:?} of the chat and {} notices: {notices:?}", seqs.last(), notices.len());
    (seqs, notices)
}

/// Sends a user, who is not subscribed to any of it, notices of all kinds; the texts of messages in
/// their order, and what else is to come.
async fn notify(friend: &User, user: &User) -> (i64, Vec<String>) {
    let quiet = friend.group_id(&[user]).await;
    let private = friend.private_chat_id(user).await;
    let mut wanted = vec!["chat_added".to_owned(), "chat_added".to_owned()];
    for n in 0..NOTICES {
        friend.say(private, &text(n)).await;
        wanted.push(format!("new_message {}", text(n)));
    }
    let mention = format!("@{} see", user.username);
    friend.say(quiet, &mention).await;
    wanted.push(format!("mentioned {mention}"));
    friend.rest.delete(&format!("/chats/{quiet}/members/{}", user.id)).await.ok(204);
    wanted.push("chat_removed".to_owned());
    (private, wanted)
}

fn counted(of: &[String]) -> BTreeMap<&str, usize> {
    let mut counts = BTreeMap::new();
    for one in of {
        *counts.entry(one.as_str()).or_default() += 1;
    }
    counts
}

fn assert_each_once(got: &[String], wanted: &[String]) {
    assert_eq!(counted(got), counted(wanted));
    let messages = |of: &[String]| of.iter().filter(|one| one.starts_with("new_message")).cloned().collect::<Vec<_>>();
    assert_eq!(messages(got), messages(wanted), "in their order");
}

#[tokio::test]
async fn behind_a_full_queue_each_notice_comes_once() {
    limited(async {
        let d = Deployment::cluster(1, 1).env("MAX_SEND_QUEUE_BYTES", QUEUE).start().await;
        let (author, reading, friend) = (d.user().await, d.user().await, d.user().await);
        let chat_id = author.group_id(&[&reading]).await;
        let mut reader = Reader::open(&d, &reading, chat_id, Link::Narrow).await;
        let (_, _, flowed) = flow(&author, chat_id, Vec::new(), FILLING).await;
        let (private, wanted) = notify(&friend, &reading).await;
        friend.say(private, "the last").await;
        let (mut seqs, notices) = read(&mut reader, chat_id, "the last", Duration::ZERO).await;
        assert_each_once(&notices, &wanted);
        assert!(*seqs.last().unwrap() < flowed.head(), "no replay holds them up: {:?}", seqs.last());
        seqs.extend(reader.read_up_to(flowed.head()).await);
        assert_consecutive(&seqs, "a reader that stalled");
    })
    .await;
}

#[tokio::test]
async fn in_a_long_replay_each_notice_comes_once() {
    limited(async {
        let d = Deployment::cluster(1, 1).env("MAX_SEND_QUEUE_BYTES", QUEUE).start().await;
        let (author, reading, friend) = (d.user().await, d.user().await, d.user().await);
        let chat_id = author.group_id(&[&reading]).await;
        flow(&author, chat_id, Vec::new(), FILLING).await;
        let mut reader = Reader::open_after(&d, &reading, chat_id, Link::Narrow, Some(0)).await;
        let notifying = async {
            let (private, wanted) = notify(&friend, &reading).await;
            // More of the replay follows than a queue and a link hold.
            friend.say(private, "the last").await;
            wanted
        };
        let ((seqs, notices), wanted) = tokio::join!(read(&mut reader, chat_id, "the last", TURN), notifying);
        assert_each_once(&notices, &wanted);
        assert_consecutive(&seqs, "a replay");
    })
    .await;
}

#[tokio::test]
async fn more_notices_than_may_wait_end_the_connection() {
    limited(async {
        let d = Deployment::cluster(1, 1).env("MAX_SEND_QUEUE_BYTES", QUEUE).start().await;
        let (author, reading, friend) = (d.user().await, d.user().await, d.user().await);
        let chat_id = author.group_id(&[&reading]).await;
        let mut reader = Reader::open(&d, &reading, chat_id, Link::Narrow).await;
        flow(&author, chat_id, Vec::new(), FILLING).await;
        let private = friend.private_chat_id(&reading).await;
        // As many as may wait, and as many as the queue and the link may take by now.
        for _ in 0..3 * QUEUE / 4000 {
            friend.say(private, &"x".repeat(4000)).await;
        }
        let closed = async {
            loop {
                if let Err(code) = reader.next().await {
                    return code;
                }
            }
        };
        assert_eq!(tokio::time::timeout(SOON, closed).await.expect("a close"), 4410);
    })
    .await;
}
