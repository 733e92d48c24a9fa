//! The publisher and the relay over a real store and a bus that can be made to fail.

mod large;
mod traced;

use super::{Publisher, Relay};
use crate::bus::memory::{MemoryBus, MemoryHub};
use crate::bus::testing::TestTasks;
use crate::bus::{Bus, BusEvent, BusMetrics, Publication, Topic};
use crate::error::{Error, Result};
use crate::event::{Envelope, EventBody, EventKind, Revocation, RevocationReason};
use crate::id::{ChatId, Seq, UserId};
use crate::model::{Chat, Message};
use crate::store::sqlite::SqliteStore;
use crate::store::{Committed, NewGroup, NewMessage, NewUser, NoticeBody, Store, UserNotice};
use crate::traces::Traces;
use crate::words::Words;
use async_trait::async_trait;
use messenger_testing::{until, within};
use parking_lot::Mutex;
use prometheus::{IntCounter, IntGauge};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};
use tempfile::TempDir;
use tokio::sync::{mpsc, watch};

/// A bus that takes nothing while it is down, whether it says so or not.
struct FaultyBus {
    inner: Arc<MemoryBus>,
    /// Never takes what goes to this user.
    poison: Mutex<Option<UserId>>,
    takes: watch::Sender<bool>,
    says_up: watch::Sender<bool>,
    calls: Mutex<Vec<usize>>,
    refused: AtomicUsize,
}

impl FaultyBus {
    fn set(&self, works: bool) {
        self.takes.send_replace(works);
        self.says_up.send_replace(works);
    }
}

#[async_trait]
impl Bus for FaultyBus {
    async fn publish(&self, publications: &[Publication]) -> Result<()> {
        let poison = self.poison.lock().map(Topic::User);
        if !*self.takes.borrow() || publications.iter().any(|one| Some(&one.topic) == poison.as_ref()) {
            self.refused.fetch_add(1, Ordering::Relaxed);
            return Err(Error::unavailable("the bus is away"));
        }
        self.calls.lock().push(publications.len());
        self.inner.publish(publications).await
    }
    fn subscribe(&self, topics: &[Topic]) {
        self.inner.subscribe(topics);
    }
    fn unsubscribe(&self, topics: &[Topic]) {
        self.inner.unsubscribe(topics);
    }
    fn take_events(&self) -> Option<mpsc::Receiver<BusEvent>> {
        self.inner.take_events()
    }
    fn up(&self) -> watch::Receiver<bool> {
        self.says_up.subscribe()
    }
}

struct World {
    store: Arc<dyn Store>,
    bus: Arc<FaultyBus>,
    events: mpsc::Receiver<BusEvent>,
    publisher: Publisher,
    dropped: IntCounter,
    pending: IntGauge,
    user: UserId,
    other: UserId,
    chat: ChatId,
    tasks: TestTasks,
    _dir: TempDir,
}

impl World {
    /// A group of one user, heard on the bus.
    async fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let store = SqliteStore::open(dir.path().join("messenger.db")).await.unwrap();
        store.migrate().await.unwrap();
        let store: Arc<dyn Store> = Arc::new(store);
        let tasks = TestTasks::new();
        let inner = MemoryHub::new().join(&tasks.tasks, BusMetrics::unregistered());
        let bus = Arc::new(FaultyBus {
            inner,
            poison: Mutex::default(),
            takes: watch::Sender::new(true),
            says_up: watch::Sender::new(true),
            calls: Mutex::default(),
            refused: AtomicUsize::new(0),
        });
        let mut ids = Vec::new();
        for name in ["ann", "bob"] {
            let (username, email) = (name.to_owned(), format!("{name}@example.com"));
            let user = NewUser { username, email, password_hash: "x".into() };
            ids.push(store.create_user(user).await.unwrap().id);
        }
        let (user, other) = (ids[0], ids[1]);
        let group =
            NewGroup { owner: user, name: "room".into(), description: None, is_public: true, member_ids: vec![] };
        let (chat, committed) = store.create_group(group).await.unwrap();
        store.outbox_remove(&committed.outbox.into_iter().collect::<Vec<_>>()).await.unwrap();
        let counter = |name| IntCounter::new(name, name).unwrap();
        let dropped = counter("dropped");
        let publisher = Publisher::start(bus.clone(), store.clone(), &tasks.tasks, dropped.clone(), Traces::default());
        let mut events = bus.take_events().unwrap();
        let topics = [Topic::Chat(chat.id), Topic::User(user), Topic::User(other)];
        bus.subscribe(&topics);
        for topic in topics {
            assert_eq!(events.recv().await, Some(BusEvent::Subscribed(topic)));
        }
        let pending = IntGauge::new("pending", "pending").unwrap();
        Self { store, bus, events, publisher, dropped, pending, user, other, chat: chat.id, tasks, _dir: dir }
    }

    fn start_relay(&self) {
        let (bus, store): (Arc<dyn Bus>, _) = (self.bus.clone(), self.store.clone());
        Relay::start(bus, store, &self.tasks.tasks, self.pending.clone());
    }

    async fn send(&self, text: &str) -> Committed {
        let message = NewMessage {
            chat_id: self.chat,
            author_id: self.user,
            author_username: "ann".into(),
            text: text.into(),
            client_message_id: None,
            reply_to_id: None,
            mentions: Vec::new(),
            words: Words::of(text),
        };
        let batch = self.store.send(vec![message]).await.unwrap();
        assert!(batch.results.iter().all(Result::is_ok));
        batch.committed
    }

    async fn envelope(&mut self) -> Envelope {
        match within("a publication", self.events.recv()).await {
            Some(BusEvent::Message { payload, .. }) => Envelope::decode(payload).unwrap(),
            other => panic!("{other:?}"),
        }
    }

    async fn seq(&mut self) -> Seq {
        match self.envelope().await {
            Envelope::Log { seq, .. } => seq,
            other => panic!("{other:?}"),
        }
    }

    async fn until_outbox_is_empty(&self) {
        until("the outbox is empty", || async { self.store.outbox_pending().await.unwrap() == 0 }).await;
    }
}

#[tokio::test]
async fn what_is_committed_is_told_in_order_and_leaves_the_outbox() {
    let mut world = World::new().await;
    let mut seqs = Vec::new();
    for n in 0..50 {
        let committed = world.send(&n.to_string()).await;
        seqs.extend(committed.events.iter().map(|event| event.seq));
        world.publisher.publish(committed);
    }
    for seq in seqs {
        assert_eq!(world.seq().await, seq);
    }
    world.until_outbox_is_empty().await;
    assert_eq!(world.dropped.get(), 0);
}

/// A stand-in would displace the event itself on a gateway that can read it.
#[tokio::test]
async fn of_an_event_that_cannot_be_read_only_its_number_is_published() {
    let mut world = World::new().await;
    let mut committed = world.send("x").await;
    let after = world.send("y").await;
    committed.events[0].body = EventBody::Unknown { kind: 14 };
    let (chat_id, seq) = (world.chat, committed.events[0].seq);
    world.publisher.publish(committed);
    world.publisher.publish(after.clone());
    assert_eq!(world.envelope().await, Envelope::LogGrew { chat_id, seq });
    assert_eq!(world.seq().await, after.events[0].seq);
    world.until_outbox_is_empty().await;
}

#[tokio::test]
async fn what_waits_is_told_in_one_call() {
    let mut world = World::new().await;
    world.publisher.publish(Committed::default());
    let committed = world.send("x").await;
    // Nothing runs between these: all are waiting when the publisher comes.
    for _ in 0..100 {
        world.publisher.publish(committed.clone());
    }
    for _ in 0..100 {
        world.envelope().await;
    }
    assert_eq!(*world.bus.calls.lock(), [100]);
}

#[tokio::test]
async fn what_a_publisher_did_not_live_to_tell_the_relay_tells() {
    let mut world = World::new().await;
    world.start_relay();
    let committed = world.send("orphan").await;
    let died = Instant::now();
    assert_eq!(world.seq().await, committed.events[0].seq);
    assert!(died.elapsed() < Duration::from_secs(2), "{:?}", died.elapsed());
    world.until_outbox_is_empty().await;
}

#[tokio::test]
async fn what_was_refused_is_told_when_the_bus_is_back() {
    let mut world = World::new().await;
    world.start_relay();
    world.bus.set(false);
    let mut seqs = Vec::new();
    for n in 0..20 {
        let committed = world.send(&n.to_string()).await;
        seqs.push(committed.events[0].seq);
        world.publisher.publish(committed);
    }
    // Old enough for the relay, had the bus been up: it must not even try.
    let begun = Instant::now();
    until("they are old", || async { begun.elapsed() > Duration::from_millis(1200) }).await;
    assert_eq!(world.store.outbox_pending().await.unwrap(), 20);
    assert!(world.bus.refused.load(Ordering::Relaxed) <= 20, "by the publisher alone");
    world.bus.set(true);
    let back = Instant::now();
    for seq in seqs {
        assert_eq!(world.seq().await, seq);
    }
    let took = back.elapsed();
    // Not before the gateways had time to subscribe anew, and yet in time.
    assert!((Duration::from_millis(650)..Duration::from_millis(1500)).contains(&took), "{took:?}");
    world.until_outbox_is_empty().await;
    until("the gauge is set", || async { world.pending.get() == 0 }).await;
}

/// A bus that stalls is not known to be down for seconds: what a relay claimed meanwhile nobody
/// else may claim, so it must try on.
#[tokio::test]
async fn what_the_relay_holds_it_tells_as_soon_as_it_can() {
    let mut world = World::new().await;
    world.bus.takes.send_replace(false);
    world.start_relay();
    let committed = world.send("held").await;
    until("the relay holds it", || async { world.bus.refused.load(Ordering::Relaxed) >= 3 }).await;
    world.bus.says_up.send_replace(false);
    tokio::task::yield_now().await;
    world.bus.set(true);
    let back = Instant::now();
    assert_eq!(world.seq().await, committed.events[0].seq);
    assert!(back.elapsed() < Duration::from_secs(1), "{:?}", back.elapsed());
}

#[tokio::test]
async fn a_full_queue_leaves_the_rest_to_the_relay_and_drops_what_is_not_stored_first() {
    let world = World::new().await;
    let committed = world.send("x").await;
    let typing = Envelope::Probe(1);
    // Nothing runs between these, so nothing is taken off the queue.
    for _ in 0..6_144 {
        world.publisher.publish(committed.clone());
    }
    world.publisher.publish_now(&typing);
    assert_eq!(world.dropped.get(), 0);
    world.publisher.publish_now(&typing);
    assert_eq!(world.dropped.get(), 1);
    for _ in 0..3_000 {
        world.publisher.publish(committed.clone());
    }
    assert_eq!(world.dropped.get(), 1 + 6_144 + 1 + 3_000 - 8_192);
}

#[tokio::test]
async fn ended_access_is_told_past_a_full_queue_and_tried_until_the_bus_takes_it() {
    let mut world = World::new().await;
    world.bus.subscribe(&[Topic::Nodes]);
    assert_eq!(world.events.recv().await, Some(BusEvent::Subscribed(Topic::Nodes)));
    let committed = world.send("x").await;
    for _ in 0..9_000 {
        world.publisher.publish(committed.clone());
    }
    let dropped = world.dropped.get();
    world.bus.takes.send_replace(false);
    let revocation = Revocation { user_id: world.user, session_id: None, reason: RevocationReason::SessionEnded };
    world.publisher.publish_ended(revocation);
    assert_eq!(world.dropped.get(), dropped);
    // The publisher's few calls, and then those of the word's own.
    until("it was tried", || async { world.bus.refused.load(Ordering::Relaxed) >= 20 }).await;
    world.bus.takes.send_replace(true);
    assert_eq!(world.envelope().await, Envelope::Revoked(revocation));
}

/// An event that the bus never takes holds up nothing that comes after it.
#[tokio::test]
async fn the_relay_passes_over_what_cannot_be_told() {
    let mut world = World::new().await;
    let (_, poisoned) = world.store.join(world.chat, world.other, 10).await.unwrap();
    *world.bus.poison.lock() = Some(world.other);
    let later = world.send("later").await;
    world.start_relay();
    assert_eq!(world.seq().await, later.events[0].seq);
    until("one is left", || async { world.store.outbox_pending().await.unwrap() == 1 }).await;
    *world.bus.poison.lock() = None;
    assert_eq!(world.seq().await, poisoned.events[0].seq);
    world.until_outbox_is_empty().await;
}

#[tokio::test]
async fn a_private_message_is_told_to_both_with_the_events_own_bytes() {
    let mut world = World::new().await;
    let (chat, _, made) = world.store.private_chat(world.user, world.other).await.unwrap();
    world.publisher.publish(made);
    for _ in 0..2 {
        let Envelope::Notice { kind, chat_id, json, .. } = world.envelope().await else { panic!("a notice") };
        assert_eq!((kind, chat_id), (EventKind::ChatAdded, chat.id));
        let json: serde_json::Value = serde_json::from_slice(&json).unwrap();
        assert_eq!((&json["type"], &json["chat"]["id"]), (&"chat_added".into(), &chat.id.0.into()));
    }
    world.bus.subscribe(&[Topic::Chat(chat.id)]);
    assert_eq!(world.events.recv().await, Some(BusEvent::Subscribed(Topic::Chat(chat.id))));
    world.chat = chat.id;
    let committed = world.send("psst").await;
    world.publisher.publish(committed);
    let Envelope::Log { json: frame, seq: of_event, .. } = world.envelope().await else { panic!("an event") };
    let mut told = Vec::new();
    for _ in 0..2 {
        let Envelope::Notice { user_id, seq, kind, json, .. } = world.envelope().await else { panic!("a notice") };
        assert_eq!((seq, kind, &json), (of_event, EventKind::NewMessage, &frame));
        told.push(user_id);
    }
    told.sort();
    assert_eq!(told, [world.user, world.other]);
}
