//! What the node's shards share: which of them wants which chat and user, the batched reads, and the way from the bus to the shards.
//!
//! The hub delivers nothing itself and keeps no chat's state: it frames an event once and hands it to each shard that wants it, in the bus's
//! order. Per chat the bus is asked once, when the first shard wants it, and told to stop when the last no longer does.

use crate::feed::Event;
use crate::frame;
use crate::reads::{Batcher, LogLoader};
use crate::presence::PresenceKeeper;
use async_trait::async_trait;
use bytes::Bytes;
use messenger_common::bus::{Bus, Topic};
use messenger_common::config::Limits;
use messenger_common::dispatch::{EventSink, SinkEvent};
use messenger_common::event::{Envelope, EventKind, Notice, Revocation, StatusChange};
use messenger_common::id::{ChatId, NodeId, Seq, UserId};
use messenger_common::lifecycle::Lifecycle;
use messenger_common::metrics::Metrics;
use messenger_common::service::Context;
use messenger_common::store::Access;
use parking_lot::Mutex;
use std::collections::HashMap;
use std::future::Future;
use std::sync::Arc;
use std::time::Duration;
use tokio::runtime::Handle;
use tokio::sync::{mpsc, oneshot};
use tokio::task::JoinHandle;

/// What a shard is told.
pub(crate) enum ToShard {
    /// A connection whose handshake is done.
    Accept(Box<Accepted>),
    /// Word from the bus, in its order.
    Deliver(Vec<Delivery>),
    /// Access ended.
    Revoke(Revocation),
    /// Word of some revocations was missed: check all connections.
    Recheck,
    /// Release all connections, evenly over this long.
    Drain(Duration),
}

/// A connection on its way to its shard.
pub(crate) struct Accepted {
    /// No longer registered with the runtime that accepted it.
    pub(crate) stream: std::net::TcpStream,
    /// What was read behind the handshake.
    pub(crate) read_ahead: Bytes,
    /// Who, or why not.
    pub(crate) auth: Result<messenger_common::auth::AuthUser, crate::protocol::CloseCode>,
}

/// Word from the bus for one shard.
#[derive(Clone)]
pub(crate) enum Delivery {
    /// A sequenced event.
    Log(ChatId, Event),
    /// The chat's channel is heard from here on.
    ChannelUp(ChatId),
    /// Typing or read state.
    Ephemeral { chat_id: ChatId, user_id: UserId, kind: EventKind, frame: Bytes },
    /// To every connection of a user.
    Notice { user_id: UserId, chat_id: ChatId, seq: Seq, kind: EventKind, frame: Bytes },
    /// Presence.
    Status(Arc<[StatusFrame]>),
}

/// A presence transition, framed.
pub(crate) struct StatusFrame {
    pub(crate) user_id: UserId,
    pub(crate) decided_at_micros: i64,
    pub(crate) chats: Vec<ChatId>,
    pub(crate) frame: Bytes,
}

#[derive(Default)]
struct Interest {
    shards: u64,
    confirmed: bool,
}

#[derive(Default)]
struct LocalUser {
    per_shard: Vec<(usize, usize)>,
    confirmed: bool,
    waiting: Vec<oneshot::Sender<()>>,
}

/// A connection was counted.
pub(crate) struct Came {
    /// Of the node's first connection of its user: what to wait for until he is registered as online.
    pub(crate) online: Option<oneshot::Receiver<()>>,
    /// What to wait for before `welcome`: the user's channel, where it is not heard yet.
    pub(crate) heard: Option<oneshot::Receiver<()>>,
}

/// See the module.
pub(crate) struct Hub {
    pub(crate) ctx: Context,
    pub(crate) lifecycle: Lifecycle,
    pub(crate) metrics: Metrics,
    pub(crate) limits: Limits,
    pub(crate) bus: Arc<dyn Bus>,
    pub(crate) node: NodeId,
    pub(crate) presence: PresenceKeeper,
    pub(crate) access: Batcher<(ChatId, UserId), Option<Access>>,
    pub(crate) heads: Batcher<ChatId, Option<Seq>>,
    pub(crate) rosters: Batcher<ChatId, Option<Vec<UserId>>>,
    pub(crate) log: LogLoader,
    runtime: Handle,
    shards: Vec<mpsc::Sender<ToShard>>,
    interest: Mutex<HashMap<ChatId, Interest>>,
    users: Mutex<HashMap<UserId, LocalUser>>,
}

impl Hub {
    /// Starts the batched readers; `shards` are the ways to the shards.
    pub(crate) fn new(
        ctx: Context,
        bus: Arc<dyn Bus>,
        node: NodeId,
        presence: PresenceKeeper,
        lifecycle: &Lifecycle,
        shards: Vec<mpsc::Sender<ToShard>>,
    ) -> Arc<Self> {
        let (metrics, limits) = (ctx.metrics.clone(), ctx.limits.clone());
        let store = Arc::clone(&ctx.store);
        let access = Batcher::start(lifecycle, "access checks", 512, move |pairs| {
            let store = Arc::clone(&store);
            async move { store.access(&pairs).await }
        });
        let store = Arc::clone(&ctx.store);
        let heads = Batcher::start(lifecycle, "head checks", 1000, move |chats: Vec<ChatId>| {
            let store = Arc::clone(&store);
            async move {
                let heads: HashMap<_, _> = store.heads(&chats).await?.into_iter().collect();
                Ok(chats.iter().map(|chat| heads.get(chat).copied()).collect())
            }
        });
        let (store, online, most) = (Arc::clone(&ctx.store), Arc::clone(&ctx.presence), limits.status_max_members);
        let rosters = Batcher::start(lifecycle, "online rosters", 64, move |chats: Vec<ChatId>| {
            let (store, online) = (Arc::clone(&store), Arc::clone(&online));
            async move {
                let mut distinct = chats.clone();
                distinct.sort_unstable();
                distinct.dedup();
                let members = store.member_ids(&distinct, most).await?;
                let all: Vec<UserId> = members.iter().flat_map(|(_, ids)| ids.iter().copied()).collect();
                let mut since = online.online(&all).await?.into_iter();
                let rosters: HashMap<ChatId, Vec<UserId>> = members
                    .into_iter()
                    .map(|(chat, ids)| {
                        let online = ids.into_iter().zip(since.by_ref()).filter_map(|(id, at)| at.map(|_| id));
                        (chat, online.collect())
                    })
                    .collect();
                Ok(chats.iter().map(|chat| rosters.get(chat).cloned()).collect())
            }
        });
        let log = LogLoader::new(Arc::clone(&ctx.store), lifecycle.clone());
        Arc::new(Self {
            ctx,
            lifecycle: lifecycle.clone(),
            metrics,
            limits,
            bus,
            node,
            presence,
            access,
            heads,
            rosters,
            log,
            runtime: Handle::current(),
            shards,
            interest: Mutex::default(),
            users: Mutex::default(),
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

    /// How many shards there are.
    pub(crate) fn shard_count(&self) -> usize {
        self.shards.len()
    }

    /// Hands something to one shard, waiting while its inbox is full (the bus behind it then waits or drops and tells).
    pub(crate) async fn tell(&self, shard: usize, what: ToShard) {
        if self.shards[shard].send(what).await.is_err() {
            tracing::debug!(shard, "the shard has ended");
        }
    }

    /// Hands something to each shard.
    pub(crate) async fn tell_all(&self, what: impl Fn() -> ToShard) {
        for shard in 0..self.shards.len() {
            self.tell(shard, what()).await;
        }
    }

    /// A shard wants a chat's events. Says whether its channel is heard already; [`Delivery::ChannelUp`] follows where not.
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

    /// A connection of the user on that shard. `None` over the limit.
    pub(crate) fn user_came(&self, user: UserId, shard: usize) -> Option<Came> {
        let mut users = self.users.lock();
        let local = users.entry(user).or_default();
        let total: usize = local.per_shard.iter().map(|(_, count)| count).sum();
        if total >= self.limits.max_connections_per_user {
            return None;
        }
        match local.per_shard.iter_mut().find(|(at, _)| *at == shard) {
            Some((_, count)) => *count += 1,
            None => local.per_shard.push((shard, 1)),
        }
        if total == 0 {
            self.bus.subscribe(&[Topic::User(user)]);
        }
        let heard = (!local.confirmed).then(|| {
            let (confirmed, wait) = oneshot::channel();
            local.waiting.push(confirmed);
            wait
        });
        // Told under the lock, so that another shard's going and this coming are told in the order in which they were.
        let online = (total == 0).then(|| self.presence.came(user));
        Some(Came { online, heard })
    }

    /// A connection of the user on that shard ended; `released` by a drain, he is expected elsewhere.
    pub(crate) fn user_went(&self, user: UserId, shard: usize, released: bool) {
        let mut users = self.users.lock();
        let Some(local) = users.get_mut(&user) else { return };
        if let Some(at) = local.per_shard.iter().position(|(at, _)| *at == shard) {
            local.per_shard[at].1 -= 1;
            if local.per_shard[at].1 == 0 {
                local.per_shard.swap_remove(at);
            }
        }
        if local.per_shard.is_empty() {
            users.remove(&user);
            self.bus.unsubscribe(&[Topic::User(user)]);
            self.presence.went(user, released);
        }
    }

    /// The shards that hold a connection of the user, as bits.
    fn user_shards(&self, user: UserId) -> u64 {
        let users = self.users.lock();
        users.get(&user).map_or(0, |local| local.per_shard.iter().fold(0, |bits, (at, _)| bits | 1 << at))
    }

    fn chat_shards(&self, chat: ChatId) -> u64 {
        self.interest.lock().get(&chat).map_or(0, |wanted| wanted.shards)
    }

    /// Tells the shards that hold the user that access ended.
    pub(crate) async fn revoke(&self, revocation: Revocation) {
        for shard in bits(self.user_shards(revocation.user_id)) {
            self.tell(shard, ToShard::Revoke(revocation)).await;
        }
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
                let mut users = self.users.lock();
                let local = users.get_mut(user)?;
                local.confirmed = true;
                // Who no longer waits is gone.
                local.waiting.drain(..).for_each(|waiting| waiting.send(()).unwrap_or(()));
                None
            }
            Topic::Nodes | Topic::Node(_) => None,
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
                let mut shards = self.chat_shards(chat_id);
                if kind == EventKind::MessageRead {
                    shards |= self.user_shards(user_id);
                }
                (shards != 0)
                    .then(|| (shards, Delivery::Ephemeral { chat_id, user_id, kind, frame: frame::text(&json) }))
            }
            SinkEvent::Envelope(Envelope::Notice { user_id, chat_id, seq, kind, json }) => {
                let shards = self.user_shards(user_id);
                (shards != 0)
                    .then(|| (shards, Delivery::Notice { user_id, chat_id, seq, kind, frame: frame::text(&json) }))
            }
            SinkEvent::Envelope(Envelope::Status(changes)) => {
                let frames: Arc<[StatusFrame]> = changes.into_iter().map(StatusFrame::from).collect();
                Some(((1 << self.shards.len()) - 1, Delivery::Status(frames)))
            }
            SinkEvent::Envelope(Envelope::Revoked(_) | Envelope::Probe(_)) => None,
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
                self.tell(shard, ToShard::Deliver(batch)).await;
            }
        }
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
