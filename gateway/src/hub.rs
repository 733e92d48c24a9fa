//! The state that the node's shards share: which of them wants which chat and user, and the way
//! from the bus to the shards.
//!
//! The hub delivers nothing itself and keeps no chat's state. It frames an event once and sends it
//! to each shard that wants it, in the bus's order. It subscribes to a chat when the first shard
//! wants it, and unsubscribes when the last no longer does.

mod hearing;
mod history;
mod missed;
mod tail;
mod users;

use self::hearing::Hearing;
use self::missed::MissedUsers;
use self::tail::Mark;
use self::users::{LocalUser, Unheard};
use crate::feed::Event;
use crate::frame;
use crate::inbox::{Delivery, NoticeFrame, StatusFrame, ToShard, TracedArrival};
use crate::presence::PresenceKeeper;
use crate::reads::Reads;
use async_trait::async_trait;
use messenger_common::bus::{Bus, Topic};
use messenger_common::dispatch::{EventSink, SinkEvent};
use messenger_common::error::Error;
use messenger_common::event::{Envelope, Notice, StatusChange};
use messenger_common::id::{ChatId, NodeId, Seq, UserId};
use messenger_common::lifecycle::Lifecycle;
use messenger_common::model::Status;
use messenger_common::once::OncePerCause;
use messenger_common::service::Context;
use parking_lot::Mutex;
use std::collections::HashMap;
use std::future::Future;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Instant;
use tokio::runtime::Handle;
use tokio::sync::{Notify, mpsc, oneshot};
use tokio::task::JoinHandle;

#[derive(Default)]
struct Interest {
    shards: u64,
    confirmed: bool,
}

/// See the module.
pub(crate) struct Hub {
    pub(crate) ctx: Context,
    pub(crate) lifecycle: Lifecycle,
    pub(crate) bus: Arc<dyn Bus>,
    pub(crate) node: NodeId,
    pub(crate) presence: PresenceKeeper,
    pub(crate) reads: Reads,
    runtime: Handle,
    shards: Vec<mpsc::Sender<ToShard>>,
    interest: Mutex<HashMap<ChatId, Interest>>,
    users: Mutex<HashMap<UserId, LocalUser>>,
    /// The topic of all nodes is subscribed anew: publications before may be lost.
    missed: Notify,
    /// Since when a shard may have dropped statuses.
    dropped: Mutex<Option<Instant>>,
    missed_users: MissedUsers,
    hearing: Hearing,
    /// Where the next look at the tail begins.
    tail_mark: Mutex<Option<Mark>>,
    was_subscribed: AtomicBool,
    /// One clone a handshake that is on its way to its shard.
    arrivals: Arc<()>,
    /// Where the milliseconds of the shards begin: they compare them.
    pub(crate) started: Instant,
    /// The causes that were logged: each concerns many chats and commands.
    logged: OncePerCause,
}

impl Hub {
    /// Starts the batched reads; `shards` are the ways to the shards.
    pub(crate) fn new(
        ctx: Context,
        bus: Arc<dyn Bus>,
        node: NodeId,
        presence: PresenceKeeper,
        lifecycle: &Lifecycle,
        shards: Vec<mpsc::Sender<ToShard>>,
    ) -> Arc<Self> {
        Arc::new(Self {
            reads: Reads::start(&ctx, lifecycle),
            ctx,
            lifecycle: lifecycle.clone(),
            bus,
            node,
            presence,
            runtime: Handle::current(),
            shards,
            interest: Mutex::default(),
            users: Mutex::default(),
            missed: Notify::new(),
            dropped: Mutex::default(),
            missed_users: MissedUsers::default(),
            hearing: Hearing::new(Instant::now()),
            tail_mark: Mutex::default(),
            was_subscribed: AtomicBool::new(false),
            arrivals: Arc::default(),
            started: Instant::now(),
            logged: OncePerCause::default(),
        })
    }

    /// Starts work on the servers' common runtime, from a shard's thread too.
    pub(crate) fn spawn<T: Send + 'static>(
        &self,
        name: &'static str,
        work: impl Future<Output = T> + Send + 'static,
    ) -> JoinHandle<T> {
        let _entered = self.runtime.enter();
        self.lifecycle.spawn_task(name, work)
    }

    /// A handshake began. A drain waits until what is returned is dropped.
    pub(crate) fn arrival(&self) -> Arc<()> {
        Arc::clone(&self.arrivals)
    }

    /// Whether a handshake is on its way to its shard.
    pub(crate) fn has_arrivals(&self) -> bool {
        Arc::strong_count(&self.arrivals) > 1
    }

    /// How many shards there are.
    pub(crate) fn shard_count(&self) -> usize {
        self.shards.len()
    }

    /// Whether a cause is to be logged: once, however many chats and commands it concerns.
    pub(crate) fn is_news(&self, cause: &str) -> bool {
        self.logged.is_news(cause, Instant::now())
    }

    /// Logs that a chat's log could not be read. It is read again.
    pub(crate) fn log_unread(&self, chat: ChatId, error: &Error) {
        let cause = error.cause();
        if self.is_news(&cause) {
            tracing::warn!(chat.id = %chat, error = cause, "cannot read the logs of chats; retrying");
        } else {
            tracing::debug!(chat.id = %chat, error = cause, "cannot read a chat's log; retrying");
        }
    }

    /// Logs that the log of a chat lacks events: once, however many chats lost some.
    pub(crate) fn log_lost(&self, chat: ChatId, head: Seq) {
        if self.is_news("lost") {
            tracing::warn!(chat.id = %chat, after = head.0, "the logs of chats lack events; going on from their heads");
        } else {
            tracing::debug!(chat.id = %chat, after = head.0, "a chat's log lacks events");
        }
    }

    /// Sends something to one shard. Waits while its inbox is full; the bus behind it then waits,
    /// or drops and reports it.
    pub(crate) async fn send(&self, shard: usize, what: ToShard) {
        if self.shards[shard].send(what).await.is_err() {
            tracing::debug!(shard, "the shard has ended");
        }
    }

    /// Sends something to each shard.
    pub(crate) async fn send_all(&self, what: impl Fn() -> ToShard) {
        for shard in 0..self.shards.len() {
            self.send(shard, what()).await;
        }
    }

    /// A shard wants a chat's events. Says whether its channel is heard already;
    /// [`Delivery::ChannelUp`] follows where not.
    pub(crate) fn want_chat(&self, chat: ChatId, shard: usize) -> bool {
        let mut interest = self.interest.lock();
        let wanted = interest.entry(chat).or_default();
        if wanted.shards == 0 {
            self.bus.subscribe(&[Topic::Chat(chat)]);
        }
        wanted.shards |= 1 << shard;
        wanted.confirmed
    }

    /// A shard no longer wants a chat's events.
    pub(crate) fn drop_chat(&self, chat: ChatId, shard: usize) {
        let mut interest = self.interest.lock();
        let Some(wanted) = interest.get_mut(&chat) else { return };
        wanted.shards &= !(1 << shard);
        if wanted.shards == 0 {
            interest.remove(&chat);
            self.bus.unsubscribe(&[Topic::Chat(chat)]);
        }
    }

    fn chat_shards(&self, chat: ChatId) -> u64 {
        self.interest.lock().get(&chat).map_or(0, |wanted| wanted.shards)
    }

    fn channel_up(&self, topic: &Topic) -> Option<(u64, Delivery)> {
        match topic {
            Topic::Chat(chat) => {
                let mut interest = self.interest.lock();
                let wanted = interest.get_mut(chat)?;
                wanted.confirmed = true;
                Some((wanted.shards, Delivery::ChannelUp(*chat)))
            }
            Topic::User(user) => {
                let now = Instant::now();
                let unheard = self.users.lock().get_mut(user)?.confirm(now)?;
                let since = match unheard {
                    Unheard::Since(opened) => opened,
                    Unheard::WhileAway => self.hearing.missing_since(now),
                };
                self.missed_users.add(*user, since);
                None
            }
            Topic::Nodes => {
                // Before the first time nobody was subscribed to anything here.
                if self.was_subscribed.swap(true, Ordering::Relaxed) {
                    self.missed.notify_one();
                }
                None
            }
            Topic::Node(_) => None,
        }
    }

    fn route(&self, event: SinkEvent) -> Option<(u64, Delivery)> {
        match event {
            SinkEvent::Subscribed(topic) => self.channel_up(&topic),
            SinkEvent::Envelope(Envelope::Log { chat_id, seq, kind, effect, committed_at_micros, json }) => {
                let shards = self.chat_shards(chat_id);
                (shards != 0).then(|| {
                    let frame = frame::text(&json);
                    (shards, Delivery::Log(chat_id, Event { seq, kind, effect, committed_at_micros, frame }))
                })
            }
            SinkEvent::Envelope(Envelope::Ephemeral { chat_id, user_id, kind, json }) => {
                let shards = self.chat_shards(chat_id);
                (shards != 0)
                    .then(|| (shards, Delivery::Ephemeral { chat_id, user_id, kind, frame: frame::text(&json) }))
            }
            SinkEvent::Envelope(Envelope::Notice { user_id, chat_id, seq, kind, json }) => {
                let shards = self.user_shards(user_id);
                (shards != 0).then(|| {
                    let frame = frame::text(&json);
                    (shards, Delivery::Notice(NoticeFrame { user_id, chat_id, seq, kind, frame }))
                })
            }
            SinkEvent::Envelope(Envelope::Status(changes)) => {
                self.reads.rosters.changed(&changes);
                let gone = changes.iter().filter(|change| change.status == Status::Offline);
                self.presence.offline_announced(gone.map(|change| (change.user_id, change.decided_at_micros)));
                let frames: Arc<[StatusFrame]> = changes.into_iter().map(StatusFrame::from).collect();
                Some(((1 << self.shards.len()) - 1, Delivery::Status(frames)))
            }
            SinkEvent::Envelope(Envelope::Traced { user_id, traced }) => {
                if !self.ctx.traces.is_on() {
                    return None;
                }
                let shards = user_id.map_or_else(|| self.chat_shards(traced.chat_id), |user| self.user_shards(user));
                let at = self.ctx.clock.now().into();
                (shards != 0).then(|| (shards, Delivery::Traced(TracedArrival { user_id, traced, at })))
            }
            SinkEvent::Envelope(Envelope::Revoked(_) | Envelope::Probe(_) | Envelope::LogGrew { .. }) => None,
        }
    }
}

impl From<StatusChange> for StatusFrame {
    fn from(change: StatusChange) -> Self {
        let notice = Notice::UserStatus {
            user_id: change.user_id,
            username: &change.username,
            status: change.status,
            last_seen_at: change.last_seen_at,
        };
        Self {
            user_id: change.user_id,
            decided_at_micros: change.decided_at_micros,
            frame: frame::text(&notice.to_json()),
            chats: change.chats,
        }
    }
}

#[async_trait]
impl EventSink for Hub {
    async fn handle(&self, events: Vec<SinkEvent>) {
        let mut batches: Vec<Vec<Delivery>> = vec![Vec::new(); self.shards.len()];
        for event in events {
            let Some((shards, delivery)) = self.route(event) else { continue };
            for shard in bits(shards) {
                batches[shard].push(delivery.clone());
            }
        }
        for (shard, batch) in batches.into_iter().enumerate() {
            if !batch.is_empty() {
                self.send(shard, ToShard::Deliver(batch)).await;
            }
        }
    }
}

/// Takes out those who no longer wait, before the list would grow: while the bus is down they come
/// and go.
pub(crate) fn forget_absent(waiting: &mut Vec<oneshot::Sender<()>>) {
    if waiting.len() == waiting.capacity() {
        waiting.retain(|waiting| !waiting.is_closed());
    }
}

fn bits(mut mask: u64) -> impl Iterator<Item = usize> {
    std::iter::from_fn(move || {
        (mask != 0).then(|| {
            let at = mask.trailing_zeros() as usize;
            mask &= mask - 1;
            at
        })
    })
}
