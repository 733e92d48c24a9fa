//! Changes that are too large for one call of the bus.

use super::*;

/// As of one request that names as many users as it may, in a chat whose last message is as long
/// as it may be.
fn large(first: Committed, newcomers: i64) -> Committed {
    let Some(EventBody::NewMessage { message }) = first.events.first().map(|event| event.body.clone()) else {
        panic!("a message")
    };
    let chat_id = message.chat_id;
    let chat = Arc::new(Chat {
        id: chat_id,
        name: "room".into(),
        description: None,
        is_group: true,
        is_public: true,
        created_at: message.created_at,
        seq: message.seq,
        role: None,
        member_count: 1,
        last_message: Some(Message { text: "x".repeat(16_384), ..message }),
        unread_count: None,
        mention_count: None,
        settings: None,
        peer: None,
    });
    let notices = (1..=newcomers)
        .map(|user| UserNotice {
            user_id: UserId(user),
            chat_id,
            seq: Seq(1),
            body: NoticeBody::ChatAdded(chat.clone()),
        })
        .collect();
    Committed { notices, ..first }
}

#[tokio::test]
async fn a_large_change_is_told_in_pieces_and_leaves_the_outbox_whole() {
    let world = World::new().await;
    let committed = large(world.send("x").await, 1_000);
    world.publisher.publish(committed);
    world.until_outbox_is_empty().await;
    let calls = world.bus.calls.lock().clone();
    assert_eq!(calls.iter().sum::<usize>(), 1_001);
    assert!(calls.iter().all(|&count| count <= 65), "a mebibyte each: {calls:?}");
}

#[tokio::test]
async fn a_large_change_of_which_a_piece_is_refused_stays_in_the_outbox() {
    let world = World::new().await;
    let committed = large(world.send("x").await, 300);
    let after = world.send("y").await;
    *world.bus.poison.lock() = Some(UserId(150));
    world.publisher.publish(committed.clone());
    world.publisher.publish(after);
    until("the other left", || async { world.store.outbox_pending().await.unwrap() == 1 }).await;
    let left = world.store.outbox_claim(Duration::ZERO, 10).await.unwrap();
    assert_eq!(left.iter().map(|one| one.outbox).collect::<Vec<_>>(), [committed.outbox]);
}

#[tokio::test]
async fn what_waits_is_bounded_in_bytes_too() {
    let world = World::new().await;
    let mut committed = world.send("x").await;
    let EventBody::NewMessage { message } = &mut committed.events[0].body else { panic!("a message") };
    message.text = "x".repeat((1 << 20) - 512);
    // Nothing runs between these, so nothing is taken off the queue.
    for _ in 0..64 {
        world.publisher.publish(committed.clone());
    }
    assert_eq!(world.dropped.get(), 0);
    world.publisher.publish(committed.clone());
    assert_eq!(world.dropped.get(), 1);
    until("there is room again", || async {
        world.publisher.publish(committed.clone());
        let dropped = world.dropped.get();
        world.publisher.publish(committed.clone());
        world.dropped.get() == dropped
    })
    .await;
}
