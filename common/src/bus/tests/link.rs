//! A link to one server, and all that can happen to it. The numbers of traps are those of redis-rs
//! that the project found before.

use super::*;
use std::time::{Duration, Instant};
use tokio::io::AsyncWriteExt;
use tokio::net::TcpListener;

fn server(back_end: &BackEnd) -> &Arc<Redis> {
    match back_end {
        BackEnd::Redis(server) => server,
        _ => panic!("a single server"),
    }
}

async fn pair() -> (BackEnd, Node, Node) {
    let back_end = BackEnd::redis().await;
    let (one, two) = (back_end.node().await, back_end.node().await);
    (back_end, one, two)
}

/// That the topic is heard, by way of another node.
async fn heard(sender: &Node, receiver: &mut Node, topic: &Topic, text: &str) {
    sender.publish_when_up(topic, text).await;
    receiver.messages_until(text).await;
}

#[tokio::test]
async fn one_connection_hears_and_one_tells() {
    let back_end = BackEnd::redis().await;
    let mut node = back_end.node().await;
    node.subscribe(&(0..100).map(chat).collect::<Vec<_>>()).await;
    let clients = server(&back_end).text(&["CLIENT", "LIST"]).await;
    let hearing = clients.lines().filter(|line| !line.contains(" sub=0 ")).count();
    // Ours two, and the one that asks.
    assert_eq!((hearing, clients.lines().count()), (1, 3), "{clients}");
}

/// Trap 1: a bare connection is dead after its first loss, and nobody but a push tells.
#[tokio::test]
async fn trap_1_a_killed_connection_is_made_anew_and_every_topic_told_again() {
    let (back_end, mut one, two) = pair().await;
    let topics: Vec<_> = (0..700).map(chat).collect();
    one.subscribe(&topics).await;
    for round in 1..=3 {
        let killed = Instant::now();
        server(&back_end).command(&["CLIENT", "KILL", "TYPE", "pubsub"]).await;
        one.told_subscribed(&topics).await;
        assert!(killed.elapsed() < Duration::from_secs(2), "{:?}", killed.elapsed());
        heard(&two, &mut one, &topics[699], &format!("round {round}")).await;
        until("it is counted", || async { one.metrics.reconnects.get() == round }).await;
    }
    // The telling connection's loss is noticed as well.
    server(&back_end).command(&["CLIENT", "KILL", "TYPE", "normal"]).await;
    one.told_subscribed(&topics).await;
    one.wait_up(true).await;
    heard(&two, &mut one, &topics[0], "at last").await;
}

/// Trap 2: the crate's manager gives up after six tries and stays deaf until somebody sends a
/// command.
#[tokio::test]
async fn trap_2_it_never_gives_up_connecting() {
    let (back_end, mut one, two) = pair().await;
    one.subscribe(&[chat(1)]).await;
    let port = server(&back_end).port();
    server(&back_end).kill().await;
    {
        // Somebody who hangs up at once, until both nodes have tried often.
        let refusing = TcpListener::bind(("127.0.0.1", port)).await.unwrap();
        for _ in 0..40 {
            drop(within("another try", refusing.accept()).await.unwrap());
        }
    }
    assert!(!*one.bus.up().borrow());
    server(&back_end).start().await;
    one.told_subscribed(&[chat(1)]).await;
    heard(&two, &mut one, &chat(1), "back").await;
}

/// Trap 3: while the crate reconnects every command waits, whatever its time-out.
#[tokio::test]
async fn trap_3_publishing_never_waits_for_a_link_that_is_down() {
    let (back_end, one, _two) = pair().await;
    server(&back_end).kill().await;
    one.wait_up(false).await;
    let begun = Instant::now();
    for _ in 0..100 {
        assert!(one.bus.publish(&[publication(&chat(1), "lost")]).await.is_err());
    }
    assert!(begun.elapsed() < Duration::from_millis(100), "{:?}", begun.elapsed());
    assert!(one.metrics.published_error.get() >= 100);
    until("the gauge falls", || async { one.metrics.up.get() == 0 }).await;
}

/// Trap 4: only confirmed subscriptions are remembered: one made during an outage is lost, an
/// unsubscription undone.
#[tokio::test]
async fn trap_4_what_was_subscribed_and_unsubscribed_during_an_outage_counts() {
    let (back_end, mut one, two) = pair().await;
    one.subscribe(&[chat(1), chat(2), chat(3)]).await;
    server(&back_end).kill().await;
    one.wait_up(false).await;
    one.bus.subscribe(&[chat(4), chat(5)]);
    one.bus.unsubscribe(&[chat(1), chat(5)]);
    one.bus.unsubscribe(&[chat(2)]);
    one.bus.subscribe(&[chat(2)]);
    server(&back_end).start().await;
    one.told_subscribed(&[chat(2), chat(3), chat(4)]).await;
    two.wait_up(true).await;
    for id in [1, 2, 3, 4, 5] {
        two.publish_when_up(&chat(id), &id.to_string()).await;
    }
    two.publish(&chat(4), "end").await;
    let texts: Vec<_> = one.messages_until("end").await.into_iter().map(|(_, text)| text).collect();
    assert_eq!(texts, ["2", "3", "4"]);
    let count = server(&back_end).command(&["PUBSUB", "NUMSUB", "m:test:c:1", "m:test:c:5"]).await;
    let count: Vec<(String, i64)> = redis::from_redis_value(count).unwrap();
    assert!(count.iter().all(|(_, subscribers)| *subscribers == 0), "{count:?}");
}

/// Trap 5: a frozen server gives no error and no disconnection, ever.
#[tokio::test]
async fn trap_5_a_frozen_server_is_noticed_and_its_return_too() {
    let (back_end, mut one, two) = pair().await;
    one.subscribe(&[chat(1)]).await;
    server(&back_end).freeze();
    let frozen = Instant::now();
    // The first publication is given a second, those after it fail at once though the link still
    // counts as up.
    assert!(one.bus.publish(&[publication(&chat(1), "lost?")]).await.is_err());
    assert!(frozen.elapsed() < Duration::from_millis(1300), "{:?}", frozen.elapsed());
    let begun = Instant::now();
    assert!(one.bus.publish(&[publication(&chat(1), "lost")]).await.is_err());
    assert!(begun.elapsed() < Duration::from_millis(50), "{:?}", begun.elapsed());
    one.wait_up(false).await;
    two.wait_up(false).await;
    assert!(frozen.elapsed() < Duration::from_secs(6), "{:?}", frozen.elapsed());
    server(&back_end).thaw();
    let thawed = Instant::now();
    one.told_subscribed(&[chat(1)]).await;
    two.wait_up(true).await;
    assert!(thawed.elapsed() < Duration::from_secs(2), "{:?}", thawed.elapsed());
    heard(&two, &mut one, &chat(1), "warm again").await;
}

#[tokio::test]
async fn a_short_stall_costs_no_reconnection() {
    let (back_end, mut one, two) = pair().await;
    one.subscribe(&[chat(1)]).await;
    server(&back_end).freeze();
    assert!(two.bus.publish(&[publication(&chat(1), "late")]).await.is_err());
    server(&back_end).thaw();
    // Nobody withdrew it: it is told late, and after the next probe the sender publishes again.
    one.messages_until("late").await;
    heard(&two, &mut one, &chat(1), "next").await;
    assert_eq!((one.metrics.reconnects.get(), two.metrics.reconnects.get()), (0, 0));
}

#[tokio::test]
async fn a_server_that_comes_back_empty_is_told_everything_again() {
    let (back_end, mut one, two) = pair().await;
    let topics: Vec<_> = (0..1200).map(chat).collect();
    one.subscribe(&topics).await;
    server(&back_end).kill().await;
    one.wait_up(false).await;
    server(&back_end).start().await;
    let back = Instant::now();
    one.told_subscribed(&topics).await;
    assert!(back.elapsed() < Duration::from_secs(2), "{:?}", back.elapsed());
    heard(&two, &mut one, &topics[1199], "back").await;
}

#[tokio::test]
async fn a_server_that_is_not_there_at_the_start_is_waited_for() {
    let server = Redis::private().await;
    server.kill().await;
    let tasks = TestTasks::new();
    let node = NodeId::from_random(number());
    let metrics = BusMetrics::unregistered();
    let bus = RedisBus::connect(&place(vec![server.url().into()], false), &node, &tasks.tasks, metrics.clone(), number)
        .unwrap();
    let mut events = bus.take_events().unwrap();
    bus.subscribe(&[Topic::Node(node.clone())]);
    assert!(bus.publish(&[publication(&chat(1), "lost")]).await.is_err());
    server.start().await;
    // A node's own topic is the channel of its probes, and can be subscribed like any other.
    let told = within("it is told", events.recv()).await;
    assert_eq!(told, Some(BusEvent::Subscribed(Topic::Node(node.clone()))));
    within("it is up", bus.up().wait_for(|up| *up)).await.unwrap();
    bus.publish(&[publication(&Topic::Node(node.clone()), "own")]).await.unwrap();
    let heard = async { while !matches!(events.recv().await, Some(BusEvent::Message { .. })) {} };
    within("it is heard", heard).await;
    bus.unsubscribe(&[Topic::Node(node)]);
    assert_eq!(metrics.reconnects.get(), 0);
}

#[tokio::test]
async fn a_server_that_speaks_no_tls_is_an_outage_and_no_panic() {
    let stranger = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
    let tasks = TestTasks::new();
    let url = format!("rediss://127.0.0.1:{}", stranger.local_addr().unwrap().port()).into();
    let node = NodeId::from_random(number());
    let bus =
        RedisBus::connect(&place(vec![url], false), &node, &tasks.tasks, BusMetrics::unregistered(), number).unwrap();
    // A try that panicked would be the last one.
    for _ in 0..6 {
        let (mut connection, _) = within("another try", stranger.accept()).await.unwrap();
        drop(connection.write_all(b"-ERR this is no TLS\r\n").await);
    }
    assert!(!*bus.up().borrow());
    assert!(bus.publish(&[publication(&chat(1), "x")]).await.is_err());
}
