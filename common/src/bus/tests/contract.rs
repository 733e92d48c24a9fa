//! The obligations of [`Bus`](crate::bus::Bus), over all back ends.

use super::*;
use crate::id::UserId;
use messenger_testing::over_each;
use std::time::Duration;

over_each! {
    #[tokio::test]
    memory: super::BackEnd::Memory(super::MemoryHub::new()),
    redis: super::BackEnd::redis().await,
    cluster: super::BackEnd::cluster().await;
    what_is_published_is_heard_by_those_who_subscribed
    the_order_of_a_topic_is_kept
    bytes_of_any_kind_and_length_arrive
    a_topic_is_told_once_however_often_it_is_subscribed
    after_unsubscribing_nothing_more_is_heard
    a_topic_taken_out_and_put_back_at_once_is_told_and_heard
    thousands_of_topics_are_subscribed_at_once
    events_are_taken_once
    a_full_queue_is_told_and_never_hides_what_was_dropped
    publishing_nothing_is_no_error
}

async fn what_is_published_is_heard_by_those_who_subscribed(back_end: BackEnd) {
    let (mut one, mut two) = (back_end.node().await, back_end.node().await);
    let (shared, own) = (chat(1), Topic::User(UserId(7)));
    one.subscribe(std::slice::from_ref(&shared)).await;
    two.subscribe(&[shared.clone(), own.clone(), Topic::Nodes]).await;
    one.bus
        .publish(&[publication(&shared, "a"), publication(&own, "b"), publication(&chat(2), "nobody's")])
        .await
        .unwrap();
    two.publish(&shared, "end").await;
    two.publish(&Topic::Nodes, "real end").await;
    assert_eq!(one.messages_until("end").await, [(shared.clone(), "a".to_owned())]);
    let heard: BTreeSet<_> = two.messages_until("real end").await.into_iter().collect();
    let expected = [(shared.clone(), "a"), (own, "b"), (shared, "end")].map(|(topic, text)| (topic, text.to_owned()));
    // Between topics no order is owed, nor between those of different servers; so "end" may come on
    // either side.
    assert!(heard.is_subset(&BTreeSet::from(expected)), "{heard:?}");
}

async fn the_order_of_a_topic_is_kept(back_end: BackEnd) {
    let (sender, mut receiver) = (back_end.node().await, back_end.node().await);
    let topics: Vec<_> = (1..=5).map(chat).collect();
    receiver.subscribe(&topics).await;
    for call in 0..20 {
        let batch: Vec<_> = (0..50).map(|n| publication(&topics[n % 5], &format!("{:05}", call * 50 + n))).collect();
        sender.bus.publish(&batch).await.unwrap();
    }
    let mut heard = Vec::new();
    while heard.len() < 1000 {
        if let BusEvent::Message { topic, payload } = receiver.next().await {
            heard.push((topic, payload));
        }
    }
    for topic in &topics {
        let texts: Vec<_> = heard.iter().filter(|(of, _)| of == topic).map(|(_, text)| text.clone()).collect();
        assert_eq!(texts.len(), 200);
        assert!(texts.is_sorted(), "{topic}");
    }
    assert_eq!(receiver.metrics.received.get(), 1000);
    assert_eq!(sender.metrics.published_ok.get(), 1000);
}

async fn bytes_of_any_kind_and_length_arrive(back_end: BackEnd) {
    let mut node = back_end.node().await;
    node.subscribe(&[chat(1)]).await;
    let payloads = [Vec::new(), vec![0, 13, 10, 255], vec![b'x'; 300_000]].map(Bytes::from);
    let publications = payloads.clone().map(|payload| Publication { topic: chat(1), payload });
    node.bus.publish(&publications).await.unwrap();
    for payload in payloads {
        assert_eq!(node.next().await, BusEvent::Message { topic: chat(1), payload });
    }
}

async fn a_topic_is_told_once_however_often_it_is_subscribed(back_end: BackEnd) {
    let mut node = back_end.node().await;
    node.bus.subscribe(&[chat(1), chat(1)]);
    node.bus.subscribe(&[chat(1)]);
    assert_eq!(node.next().await, BusEvent::Subscribed(chat(1)));
    node.bus.subscribe(&[chat(1)]);
    node.publish(&chat(1), "next").await;
    assert!(matches!(node.next().await, BusEvent::Message { .. }));
}

async fn after_unsubscribing_nothing_more_is_heard(back_end: BackEnd) {
    let mut node = back_end.node().await;
    node.subscribe(&[chat(1), chat(2)]).await;
    node.bus.unsubscribe(&[chat(1), chat(3)]);
    // The bus tells the server in the order of the calls, so a later topic's word says that the
    // earlier change was made; but of a cluster each server has its own. So it is published until
    // it is heard no more, each time with an end.
    let mut calls = 0;
    loop {
        calls += 1;
        node.publish(&chat(1), "late").await;
        node.publish(&chat(2), "end").await;
        if node.messages_until("end").await.is_empty() {
            break;
        }
        assert!(calls < 1000, "still heard");
    }
    node.subscribe(&[chat(1)]).await;
    node.publish(&chat(1), "heard again").await;
    node.messages_until("heard again").await;
}

async fn a_topic_taken_out_and_put_back_at_once_is_told_and_heard(back_end: BackEnd) {
    let mut node = back_end.node().await;
    node.subscribe(&[chat(1)]).await;
    for round in 0..50 {
        node.bus.unsubscribe(&[chat(1)]);
        node.bus.subscribe(&[chat(1)]);
        if round % 7 == 0 {
            tokio::task::yield_now().await;
        }
    }
    // Told at least once after the last change, and heard from then on.
    node.told_subscribed(&[chat(1)]).await;
    let mut tries = 0;
    loop {
        tries += 1;
        assert!(tries < 200, "not heard");
        node.publish(&chat(1), "heard?").await;
        let heard = async {
            loop {
                if matches!(node.next().await, BusEvent::Message { .. }) {
                    return;
                }
            }
        };
        if tokio::time::timeout(Duration::from_millis(100), heard).await.is_ok() {
            break;
        }
    }
}

async fn thousands_of_topics_are_subscribed_at_once(back_end: BackEnd) {
    let mut node = back_end.node().await;
    let topics: Vec<_> = (0..3000).map(chat).collect();
    node.subscribe(&topics).await;
    let publications: Vec<_> = topics.iter().map(|topic| publication(topic, "x")).collect();
    node.bus.publish(&publications).await.unwrap();
    let mut heard = BTreeSet::new();
    while heard.len() < topics.len() {
        if let BusEvent::Message { topic, .. } = node.next().await {
            heard.insert(topic);
        }
    }
    node.bus.unsubscribe(&topics);
    node.subscribe(&[chat(9999)]).await;
}

async fn events_are_taken_once(back_end: BackEnd) {
    let node = back_end.node().await;
    assert!(node.bus.take_events().is_none());
}

async fn a_full_queue_is_told_and_never_hides_what_was_dropped(back_end: BackEnd) {
    let sender = back_end.node().await;
    let mut slow = back_end.node_with_queue(16).await;
    let topics: Vec<_> = (1..=3).map(chat).collect();
    slow.subscribe(&topics).await;
    let batch: Vec<_> = (0..60).map(|n| publication(&topics[n % 3], &n.to_string())).collect();
    // In process the publisher waits a while for the slow one instead.
    let memory = matches!(back_end, BackEnd::Memory(_));
    let sending = async { sender.bus.publish(&batch).await.unwrap() };
    let reading = async {
        if !memory {
            // Nothing is read until all was sent.
            until("all was received", || async { slow.metrics.received.get() == 60 }).await;
        }
        let (mut heard, mut told) = (0, BTreeSet::new());
        while heard < 60 && told.len() < 3 {
            match slow.next().await {
                BusEvent::Message { .. } => heard += 1,
                BusEvent::Subscribed(topic) => drop(told.insert(topic)),
            }
        }
        (heard, told.len())
    };
    let ((), (heard, told)) = tokio::join!(sending, reading);
    if memory {
        assert_eq!((heard, told), (60, 0));
    } else {
        assert!((16..60).contains(&heard), "{heard}");
        assert_eq!(told, 3, "every topic of which something was dropped is told");
    }
}

async fn publishing_nothing_is_no_error(back_end: BackEnd) {
    back_end.node().await.bus.publish(&[]).await.unwrap();
}
