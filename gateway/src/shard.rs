//! One thread's connections, feeds and users: state and the verbs that change it. Nothing here
//! waits, and nothing is locked.
//!
//! A publication crosses to the thread once; each event is written to its subscribers' sockets
//! from here, without waking a task a connection. [`crate::worker`] drives it, [`crate::repair`]
//! and [`crate::subscription`] read for it.

mod beside;
mod deliver;
mod delivered;
mod notices;
mod status;
mod traces;

use crate::conn::{Backlog, Batch, Conn, State, Subscriber};
use crate::feed::{Event, Feed, Sub};
use crate::hub::{Hub, forget_absent};
use crate::paced::Paced;
use crate::protocol::CloseCode;
use bytes::Bytes;
use futures_util::FutureExt;
use messenger_common::event::EventKind;
use messenger_common::id::{ChatId, UserId};
use messenger_common::lifecycle::ExitReason;
use messenger_common::metrics::Held;
use messenger_common::service::SecurityEvent;
use notices::LocalUser;
use std::cell::{Cell, RefCell};
use std::collections::HashMap;
use std::future::Future;
use std::panic::AssertUnwindSafe;
use std::rc::Rc;
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::sync::oneshot;

/// Bytes that a client sends after the close frame are read and dropped for this long.
pub(crate) const LINGER: Duration = Duration::from_secs(2);
/// A feed that nobody subscribes to is kept for so many ticks (2 s): clients come back.
const IDLE_TICKS: u8 = 4;
/// A feed's newest events are dropped when none came for so many ticks (20 s).
const RING_TICKS: u32 = 40;
/// Read at once from any connection.
const SCRATCH_BYTES: usize = 64 * 1024;

/// A chat that somebody here subscribes to, or did a moment ago.
struct Chat {
    feed: Feed<Subscriber>,
    /// Subscriptions that wait for the bus to deliver the channel.
    waiting: Vec<oneshot::Sender<()>>,
    /// Ticks since which nobody subscribes.
    idle_ticks: u8,
}

/// See the module.
pub(crate) struct Shard {
    pub(crate) id: usize,
    pub(crate) hub: Arc<Hub>,
    pub(crate) scratch: RefCell<Box<[u8]>>,
    /// Milliseconds since the node began, as of the last event.
    pub(crate) clock: Rc<Cell<u64>>,
    pub(crate) batch: Rc<Batch>,
    pub(crate) backlog: Rc<Backlog>,
    pub(crate) conns: RefCell<slab::Slab<Rc<Conn>>>,
    pub(crate) users: RefCell<HashMap<UserId, LocalUser>>,
    pub(crate) draining: Cell<bool>,
    chats: RefCell<HashMap<ChatId, Chat>>,
    ticks: Cell<u32>,
    statuses: RefCell<status::Statuses>,
    /// Typing and read marks that wait.
    beside: RefCell<Paced<(EventKind, ChatId, UserId), Bytes>>,
    status_stamp: Cell<u64>,
    /// The traces of events on their way to the sockets here.
    traces: RefCell<traces::Expected>,
    /// How often the store had lost its connections, or had another history.
    store_losses: Cell<u64>,
    /// How often it had another history.
    epochs: Cell<u64>,
    /// The losses at which a history was last found to have gone back.
    forgot_at: Cell<Option<u64>>,
}

impl Shard {
    pub(crate) fn new(id: usize, hub: Arc<Hub>) -> Self {
        Self {
            id,
            store_losses: Cell::new(hub.ctx.store.losses() + hub.ctx.history.changes()),
            epochs: Cell::new(hub.ctx.history.changes()),
            forgot_at: Cell::default(),
            backlog: Rc::new(Backlog::of_shard(&hub.ctx.limits, hub.shard_count())),
            hub,
            scratch: RefCell::new(vec![0; SCRATCH_BYTES].into()),
            clock: Rc::default(),
            batch: Rc::default(),
            conns: RefCell::default(),
            users: RefCell::default(),
            draining: Cell::new(false),
            chats: RefCell::default(),
            ticks: Cell::new(0),
            statuses: RefCell::default(),
            beside: RefCell::default(),
            status_stamp: Cell::new(0),
            traces: RefCell::default(),
        }
    }

    /// Starts work of the shard's own on its thread. A panic in it would leave a feed waiting for
    /// ever: it ends the process.
    pub(crate) fn spawn(&self, name: &'static str, work: impl Future<Output = ()> + 'static) {
        let lifecycle = self.hub.lifecycle.clone();
        tokio::task::spawn_local(async move {
            if AssertUnwindSafe(work).catch_unwind().await.is_err() {
                tracing::error!(task.name = name, "a shard's task panicked: the process stops");
                lifecycle.stop(ExitReason::TaskDied(name));
            }
        });
    }

    pub(crate) fn look_at_the_clock(&self) {
        self.clock.set(u64::try_from(self.hub.started.elapsed().as_millis()).unwrap_or(u64::MAX));
    }

    /// Whether the store lost its connections, or has another history, since the last call.
    pub(crate) fn has_lost_the_store(&self) -> bool {
        let losses = self.losses();
        self.store_losses.replace(losses) != losses
    }

    /// Whether the history has another epoch since the last call.
    pub(crate) fn has_another_history(&self) -> bool {
        let epochs = self.hub.ctx.history.changes();
        self.epochs.replace(epochs) != epochs
    }

    /// Counts a tick and returns its number.
    pub(crate) fn next_tick(&self) -> u32 {
        self.ticks.set(self.ticks.get().wrapping_add(1));
        self.ticks.get()
    }

    /// Registers a connection of a user that was counted with the hub.
    pub(crate) fn add(&self, conn: &Rc<Conn>, user: UserId) {
        self.users.borrow_mut().entry(user).or_default().conns.push(Rc::clone(conn));
    }

    /// Begins to close a connection, and stops all delivery to it.
    pub(crate) fn close(&self, conn: &Rc<Conn>, code: CloseCode) {
        self.close_with(conn, code, None);
    }

    /// The same, with another reason than the code's own.
    pub(crate) fn close_with(&self, conn: &Rc<Conn>, code: CloseCode, reason: Option<&str>) {
        if let (CloseCode::TooManyCommands, State::Open, Some(by)) = (code, conn.state.get(), conn.auth()) {
            self.hub.ctx.audit.note(SecurityEvent::Flooded, Some(by.user_id), Some(by.session_id));
        }
        conn.close(code, reason, Instant::now() + LINGER);
        self.unsubscribe_all(conn);
    }

    /// A connection is over: nothing of it stays.
    pub(crate) fn remove(&self, conn: &Rc<Conn>) {
        self.unsubscribe_all(conn);
        let key = conn.key.replace(usize::MAX);
        if key == usize::MAX {
            return;
        }
        self.conns.borrow_mut().remove(key);
        self.hub.ctx.metrics.ws_disconnects(conn.close_code.get()).inc();
        let Some(user) = conn.user_id() else { return };
        let mut users = self.users.borrow_mut();
        let Some(local) = users.get_mut(&user) else { return };
        let Some(at) = local.conns.iter().position(|other| Rc::ptr_eq(other, conn)) else { return };
        local.conns.swap_remove(at);
        if local.conns.is_empty() {
            users.remove(&user);
        }
        drop(users);
        self.hub.user_disconnected(user, &conn.seat, self.draining.get() || conn.seat.is_released());
    }

    /// Works with a chat's feed, where there is one.
    pub(crate) fn with_feed<T>(&self, chat: ChatId, work: impl FnOnce(&mut Feed<Subscriber>) -> T) -> Option<T> {
        self.chats.borrow_mut().get_mut(&chat).map(|chat| work(&mut chat.feed))
    }

    /// Works with a connection's subscription to a chat: its feed, and its key there.
    pub(crate) fn with_sub<T>(
        &self,
        conn: &Conn,
        chat: ChatId,
        work: impl FnOnce(&mut Feed<Subscriber>, usize) -> T,
    ) -> Option<T> {
        let key = conn.sub(chat)?;
        self.with_feed(chat, |feed| work(feed, key))
    }

    /// Registers a subscription that knows neither its rights nor its place yet. Returns what to
    /// wait for where the bus does not deliver the chat's channel yet.
    pub(crate) fn subscribe(&self, conn: &Rc<Conn>, user: UserId, chat: ChatId) -> Option<oneshot::Receiver<()>> {
        let mut chats = self.chats.borrow_mut();
        let Chat { feed, waiting, idle_ticks } = chats.entry(chat).or_insert_with(|| {
            let feed = Feed::new(chat, self.hub.want_chat(chat, self.id));
            Chat { feed, waiting: Vec::new(), idle_ticks: 0 }
        });
        *idle_ticks = 0;
        let counted = Held::new(&self.hub.ctx.metrics.ws_subscriptions);
        let key = feed.subscribe(Subscriber::new(conn, user, chat, counted));
        conn.subs.borrow_mut().push((chat, key));
        (!feed.is_channel_up()).then(|| {
            let (confirmed, wait) = oneshot::channel();
            forget_absent(waiting);
            waiting.push(confirmed);
            wait
        })
    }

    /// Ends a subscription. Says whether there was one.
    pub(crate) fn unsubscribe(&self, conn: &Conn, chat: ChatId) -> bool {
        self.with_sub(conn, chat, Feed::end).unwrap_or(false)
    }

    fn unsubscribe_all(&self, conn: &Conn) {
        let mut chats = self.chats.borrow_mut();
        for (chat, key) in conn.subs.take() {
            if let Some(chat) = chats.get_mut(&chat) {
                chat.feed.end(key);
            }
        }
    }

    /// Whether the connection takes part in what is not sequenced.
    pub(crate) fn listens(&self, conn: &Conn, chat: ChatId) -> bool {
        self.with_sub(conn, chat, |feed, key| feed.sub(key).is_some_and(Sub::listens)).unwrap_or(false)
    }

    /// Lets go of feeds that nobody wants any more, and moves on those that were held up too long.
    /// Returns the chats of the others whose head is due to be checked.
    pub(crate) fn age_feeds(&self, is_due: impl Fn(ChatId) -> bool) -> Vec<ChatId> {
        let (mut due, mut late) = (Vec::new(), Vec::new());
        self.chats.borrow_mut().retain(|id, Chat { feed, idle_ticks, .. }| {
            if feed.age(self.ticks.get(), RING_TICKS) {
                late.push(*id);
            }
            if feed.is_empty() {
                *idle_ticks = idle_ticks.saturating_add(1);
                let unwanted = *idle_ticks > IDLE_TICKS && !feed.is_filling();
                if unwanted {
                    self.hub.drop_chat(*id, self.id);
                }
                return !unwanted;
            }
            if feed.head().is_some() && is_due(*id) {
                due.push(*id);
            }
            true
        });
        for chat in late {
            self.go_on(chat);
        }
        due
    }

    /// The feeds that know something, also those that nobody wants just now.
    pub(crate) fn known_chats(&self) -> Vec<ChatId> {
        self.chats.borrow().iter().filter(|(_, chat)| chat.feed.head().is_some()).map(|(id, _)| *id).collect()
    }

    /// How often the store lost its connections, or had another history.
    pub(crate) fn losses(&self) -> u64 {
        self.hub.ctx.store.losses() + self.hub.ctx.history.changes()
    }

    /// Counts an event that readers took.
    pub(crate) fn count(&self, event: &Event, readers: u64) {
        let metrics = &self.hub.ctx.metrics;
        metrics.ws_deliveries(event.kind).inc_by(readers);
        let now = messenger_common::event::micros(self.hub.ctx.clock.now());
        #[expect(clippy::cast_precision_loss, reason = "a latency in microseconds fits")]
        metrics.delivery_latency.observe((now - event.committed_at_micros).max(0) as f64 / 1e6);
    }
}
