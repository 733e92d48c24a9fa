//! One thread with its own connections, its own feeds and its own event loop: nothing in it is locked, and a message crosses to it once.
//!
//! It takes word from the hub, makes each chat's sequence whole ([`crate::feed`]) and writes each event to its subscribers' sockets from
//! here, without waking a task a connection. What cannot be delivered at once is the business of [`crate::subscription`].

mod deliver;
mod notices;
mod status;
#[path = "worker/upkeep.rs"]
mod tick;

pub(crate) use deliver::{answered_read, no_read_answered};

use crate::conn::{Conn, Counted, NewConn};
use crate::feed::{Feed, Phase, Sub};
use crate::hub::{Accepted, Delivery, Hub, ToShard};
use crate::protocol::{CloseCode, Reply};
use crate::session::Session;
use futures_util::FutureExt;
use messenger_common::id::{ChatId, UserId};
use messenger_common::lifecycle::ExitReason;
use notices::LocalUser;
use std::cell::{Cell, RefCell};
use std::collections::HashMap;
use std::future::Future;
use std::panic::AssertUnwindSafe;
use std::rc::Rc;
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::net::TcpStream;
use tokio::sync::{mpsc, oneshot};

/// Messages that wait for a shard at most; the hub waits when there are more.
pub(crate) const INBOX: usize = 1024;
/// Taken from the inbox at once; what they bring for one socket leaves in one `writev`.
const AT_ONCE: usize = 64;
/// How often connections and feeds are looked after.
pub(crate) const TICK: Duration = Duration::from_millis(500);
/// What a client still sends after the close frame is read and dropped for this long.
pub(crate) const LINGER: Duration = Duration::from_secs(2);
/// `welcome` waits this long for the user's channel and presence; after that it comes without them.
const OPEN_WITHIN: Duration = Duration::from_secs(1);
/// Read at once from any connection.
const SCRATCH_BYTES: usize = 64 * 1024;

/// See the module.
pub(crate) struct Shard {
    pub(crate) id: usize,
    pub(crate) hub: Arc<Hub>,
    pub(crate) scratch: RefCell<Box<[u8]>>,
    /// Milliseconds since the shard began, as of the last event.
    pub(crate) clock: Rc<Cell<u64>>,
    pub(crate) chats: RefCell<HashMap<ChatId, Feed>>,
    pub(crate) conns: RefCell<slab::Slab<Rc<Conn>>>,
    pub(crate) users: RefCell<HashMap<UserId, LocalUser>>,
    dirty: RefCell<Vec<Rc<Conn>>>,
    batching: Cell<bool>,
    ticks: Cell<u32>,
    statuses: RefCell<status::Statuses>,
    status_stamp: Cell<u64>,
    started: Instant,
    draining: Cell<bool>,
    next_id: Cell<u64>,
}

impl Shard {
    /// Starts the thread. Its end, by panic too, ends the lifecycle task that stands for it, and with it the process.
    pub(crate) fn start(id: usize, hub: Arc<Hub>, inbox: mpsc::Receiver<ToShard>) -> std::io::Result<()> {
        let (ended, end) = oneshot::channel::<()>();
        let lifecycle = hub.lifecycle.clone();
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        std::thread::Builder::new().name(format!("shard-{id}")).spawn(move || {
            let shard = Rc::new(Self::new(id, hub));
            let local = tokio::task::LocalSet::new();
            local.block_on(&runtime, Rc::clone(&shard).run(inbox));
            // Connections that are left go with the local set. Nobody waits once the process stops.
            ended.send(()).unwrap_or(());
        })?;
        let own = lifecycle.clone();
        lifecycle.spawn("gateway shard", async move {
            // The sender is dropped when the thread panics.
            if end.await.is_err() {
                tracing::error!(shard = id, "a shard's thread has panicked: the process stops");
                own.stop(ExitReason::TaskDied("gateway shard"));
            }
        });
        Ok(())
    }

    fn new(id: usize, hub: Arc<Hub>) -> Self {
        Self {
            id,
            hub,
            scratch: RefCell::new(vec![0; SCRATCH_BYTES].into()),
            clock: Rc::default(),
            chats: RefCell::default(),
            conns: RefCell::default(),
            users: RefCell::default(),
            dirty: RefCell::default(),
            batching: Cell::new(false),
            ticks: Cell::new(0),
            statuses: RefCell::default(),
            status_stamp: Cell::new(0),
            started: Instant::now(),
            draining: Cell::new(false),
            next_id: Cell::new(0),
        }
    }

    async fn run(self: Rc<Self>, mut inbox: mpsc::Receiver<ToShard>) {
        let stopping = self.hub.lifecycle.stopping();
        let mut ticks = tokio::time::interval(TICK);
        ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Skip);
        let mut batch = Vec::with_capacity(AT_ONCE);
        loop {
            tokio::select! {
                biased;
                () = stopping.cancelled() => return,
                _ = ticks.tick() => {
                    self.look_at_the_clock();
                    self.tick();
                }
                count = inbox.recv_many(&mut batch, AT_ONCE) => {
                    if count == 0 {
                        return;
                    }
                    self.look_at_the_clock();
                    self.take(&mut batch);
                }
            }
        }
    }

    /// Starts work of the shard's own on its thread. A panic in it would leave a feed waiting for ever: it ends the process.
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
        self.clock.set(u64::try_from(self.started.elapsed().as_millis()).unwrap_or(u64::MAX));
    }

    fn take(self: &Rc<Self>, batch: &mut Vec<ToShard>) {
        let several =
            batch.len() > 1 || batch.iter().any(|told| matches!(told, ToShard::Deliver(all) if all.len() > 1));
        self.batching.set(several);
        for told in batch.drain(..) {
            match told {
                ToShard::Accept(accepted) => self.accept(*accepted),
                ToShard::Deliver(all) => all.into_iter().for_each(|delivery| self.deliver(delivery)),
                ToShard::Revoke(revocation) => self.revoke(revocation),
                ToShard::Recheck => self.recheck(),
                ToShard::Drain(over) => self.drain(over),
            }
        }
        self.flush_dirty();
    }

    /// Writes what a batch has queued, one `writev` a connection.
    pub(crate) fn flush_dirty(&self) {
        self.batching.set(false);
        let mut dirty = self.dirty.borrow_mut();
        for conn in dirty.drain(..) {
            conn.dirty.set(false);
            conn.flush_or_wake();
        }
    }

    /// Does several deliveries as a batch.
    pub(crate) fn in_one_batch(&self, deliver: impl FnOnce()) {
        let outer = self.batching.replace(true);
        deliver();
        if !outer {
            self.flush_dirty();
        }
    }

    fn accept(self: &Rc<Self>, accepted: Accepted) {
        let stream = match TcpStream::from_std(accepted.stream) {
            Ok(stream) => stream,
            Err(error) => {
                tracing::warn!(%error, "a connection could not be taken over");
                return;
            }
        };
        let (auth, refused) = match accepted.auth {
            Ok(auth) => (auth, None),
            Err(code) => (crate::handshake::nobody(), Some(code)),
        };
        self.next_id.set(self.next_id.get() + 1);
        let conn = Conn::new(NewConn {
            id: self.next_id.get() * self.hub.shard_count() as u64 + self.id as u64,
            auth,
            stream,
            clock: Rc::clone(&self.clock),
            most_queued: self.hub.limits.max_send_queue_bytes,
            counted: Counted::new(&self.hub.metrics),
        });
        conn.key.set(self.conns.borrow_mut().insert(Rc::clone(&conn)));
        let mut opening = None;
        if let Some(code) = refused {
            self.close(&conn, code);
        } else if self.draining.get() {
            self.release(&conn);
        } else {
            opening = self.register(&conn);
        }
        tokio::task::spawn_local(Session::new(Rc::clone(self), conn, opening, accepted.read_ahead.to_vec()));
    }

    /// Counts a connection of its user and queues its `welcome`; what is returned lets it go when all is up.
    fn register(self: &Rc<Self>, conn: &Rc<Conn>) -> Option<crate::session::Job> {
        let Some(came) = self.hub.user_came(conn.user_id, self.id) else {
            self.close(conn, CloseCode::TooManyConnections);
            return None;
        };
        self.users.borrow_mut().entry(conn.user_id).or_default().conns.push(Rc::clone(conn));
        let welcome = Reply::Welcome {
            user_id: conn.user_id,
            connection_id: &format!("{}-{}", self.hub.node, conn.id),
            expires_at: conn.auth.borrow().expires_at,
            heartbeat_seconds: self.hub.limits.heartbeat.as_secs(),
        };
        conn.answer(welcome.to_frame(None));
        let (shard, conn) = (Rc::clone(self), Rc::clone(conn));
        let bus_up = *self.hub.bus.up().borrow();
        Some(Box::pin(async move {
            if bus_up {
                let all = async {
                    if let Some(heard) = came.heard {
                        drop(heard.await);
                    }
                    if let Some(online) = came.online {
                        drop(online.await);
                    }
                };
                // Late is better than never: the channel's confirmation does not depend on this wait.
                drop(tokio::time::timeout(OPEN_WITHIN, all).await);
            }
            if conn.state.get() == crate::conn::State::Opening {
                conn.state.set(crate::conn::State::Open);
                // The token may have been revoked while it opened, before this connection could be told.
                if let Some(reason) = shard.hub.ctx.revocations.is_revoked(&conn.auth.borrow()) {
                    shard.close(&conn, CloseCode::from(reason));
                }
                conn.flush_or_wake();
            }
        }))
    }

    /// Begins to close a connection, and stops all delivery to it.
    pub(crate) fn close(&self, conn: &Rc<Conn>, code: CloseCode) {
        self.close_with(conn, code, None);
    }

    /// The same, with another reason than the code's own.
    pub(crate) fn close_with(&self, conn: &Rc<Conn>, code: CloseCode, reason: Option<&str>) {
        conn.close(code, reason, Instant::now() + LINGER);
        self.forget_subs(conn);
    }

    /// A connection is over: nothing of it stays.
    pub(crate) fn remove(&self, conn: &Rc<Conn>) {
        self.forget_subs(conn);
        let key = conn.key.replace(usize::MAX);
        if key == usize::MAX {
            return;
        }
        self.conns.borrow_mut().remove(key);
        self.hub.metrics.ws_disconnects(conn.close_code.get()).inc();
        let mut users = self.users.borrow_mut();
        let Some(local) = users.get_mut(&conn.user_id) else { return };
        let Some(at) = local.conns.iter().position(|other| Rc::ptr_eq(other, conn)) else { return };
        local.conns.swap_remove(at);
        if local.conns.is_empty() {
            users.remove(&conn.user_id);
        }
        drop(users);
        self.hub.user_went(conn.user_id, self.id, self.draining.get());
    }

    /// Registers a subscription that knows neither its rights nor its place yet. Says its place in the feed and, where the chat's channel
    /// is not heard yet, what to wait for.
    pub(crate) fn open_sub(&self, chat: ChatId, conn: &Rc<Conn>) -> (usize, Option<oneshot::Receiver<()>>) {
        let mut chats = self.chats.borrow_mut();
        let feed = chats.entry(chat).or_insert_with(|| Feed::new(self.hub.want_chat(chat, self.id)));
        feed.idle_ticks = 0;
        let sub = Sub::pending(conn);
        let at = feed.subs.insert(sub);
        conn.subs.borrow_mut().push((chat, at));
        self.hub.metrics.ws_subscriptions.inc();
        let wait = (!feed.confirmed).then(|| {
            let (confirmed, wait) = oneshot::channel();
            feed.waiting.push(confirmed);
            wait
        });
        (at, wait)
    }

    /// Ends a subscription; says where it stood.
    pub(crate) fn close_sub(&self, chat: ChatId, conn: &Rc<Conn>) -> Option<Sub> {
        let at = conn.sub(chat)?;
        conn.subs.borrow_mut().retain(|(of, _)| *of != chat);
        let sub = self.chats.borrow_mut().get_mut(&chat)?.subs.try_remove(at)?;
        self.hub.metrics.ws_subscriptions.dec();
        if sub.phase != Phase::Pending {
            conn.left_off(chat, &sub);
        }
        Some(sub)
    }

    /// Whether the connection takes part in what is not sequenced.
    pub(crate) fn listens(&self, conn: &Conn, chat: ChatId) -> bool {
        let chats = self.chats.borrow();
        let sub = conn.sub(chat).and_then(|at| chats.get(&chat)?.subs.get(at));
        sub.is_some_and(Sub::listens)
    }

    fn forget_subs(&self, conn: &Rc<Conn>) {
        let mut chats = self.chats.borrow_mut();
        for (chat, at) in conn.subs.take() {
            if chats.get_mut(&chat).and_then(|feed| feed.subs.try_remove(at)).is_some() {
                self.hub.metrics.ws_subscriptions.dec();
            }
        }
    }
}
