//! A gateway: its feeds, which are the product's own, and what is around them.

use super::batches::Batches;
use super::costs::SECOND;
use super::logs::{EVENTS_PER_READ, number};
use super::server::Server;
use bytes::Bytes;
use messenger_common::backoff::{Backoff, Pauses};
use messenger_common::id::{Seq, UserId};
use messenger_common::metrics::GapCause;
use messenger_common::rate_limit::leases::Leases;
use messenger_gateway::feed::{Feed, Known, Piece, Push, Reader};
use std::cell::RefCell;
use std::collections::hash_map::DefaultHasher;
use std::collections::{HashMap, VecDeque};
use std::hash::BuildHasherDefault;
use std::rc::Rc;
use std::time::Duration;

/// Questions of one query at most, as in `gateway/src/reads.rs`.
const ACCESS_PER_QUERY: usize = 512;
const HEADS_PER_QUERY: usize = 1000;
/// The pauses between a gateway's attempts to connect to Redis, and after a read that brought
/// nothing.
const RECONNECT: Backoff = Backoff { first: Duration::from_millis(20), longest: Duration::from_millis(500) };
pub const READ_RETRY: Backoff = Backoff { first: Duration::from_millis(50), longest: Duration::from_secs(1) };
/// Queries for logs that one gateway makes at once: a quarter of its eight connections.
pub const LOG_READERS: usize = 2;
/// A read serves others for so long.
pub const KEPT_FOR: u64 = SECOND;

/// A map whose order is the same in each run.
pub type Map<K, V> = HashMap<K, V, BuildHasherDefault<DefaultHasher>>;

/// What readers were given by the last call of a feed: client, slot and number, or no number for a
/// `resync`.
pub type Given = Rc<RefCell<Vec<(u32, u8, Option<i64>)>>>;

/// A connection's end of a subscription.
pub struct Subscriber {
    pub given: Given,
    pub client: u32,
    pub slot: u8,
}

impl Reader for Subscriber {
    fn user(&self) -> UserId {
        UserId(self.client.into())
    }

    fn push(&self, frame: &Bytes) -> Push {
        self.given.borrow_mut().push((self.client, self.slot, number(frame)));
        Push::Taken
    }

    fn fell_behind(&self) {}

    fn ended(&self, _: Option<Seq>) {}
}

/// A subscription on its way, of that connection of its client.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Pending {
    pub client: u32,
    pub life: u32,
    pub slot: u8,
}

/// A subscription's question for its rights and the head, with what was known before it was asked.
pub struct Question {
    pub pending: Pending,
    pub confirmations: u32,
    pub known: Known,
}

/// A feed's question for the head of its log.
pub struct HeadQuestion {
    pub chat: u32,
    pub known: Known,
    pub cause: GapCause,
}

/// Who wants a piece of a log.
#[derive(Clone, Copy)]
pub enum Wanted {
    Gap,
    Replay(Pending),
}

pub struct Chat {
    pub feed: Feed<Subscriber>,
    pub waiting: Vec<Pending>,
    pub pauses: Pauses,
}

/// How far a gateway's link to Redis has come.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd)]
pub enum Carries {
    Nothing,
    /// It is connected and subscribes to its topics.
    Topics,
    /// It has all topics of its beginning and waits for its first probe.
    Probes,
    All,
}

/// A gateway's link to Redis.
pub struct Link {
    /// Counts the links, so that what was sent to an earlier one is lost.
    pub session: u32,
    pub carries: Carries,
    /// Whether a round trip of subscriptions is under way.
    pub is_asking: bool,
    pub unconfirmed: VecDeque<Topic>,
    pub pauses: Pauses,
}

impl Link {
    pub fn is_up(&self) -> bool {
        self.carries == Carries::All
    }
}

#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub enum Topic {
    Chat(u32),
    User(u32),
}

/// A read of a log.
pub struct LogRead {
    pub place: (u32, i64),
    /// Events at most.
    pub limit: usize,
    pub began: u64,
    pub piece: Option<Rc<Piece>>,
    /// Whether it was answered.
    pub came: bool,
    pub wanted: Vec<Wanted>,
}

/// Reads of logs, each made once for all who want it, those that wait together, as in
/// `gateway/src/reads`.
#[derive(Default)]
pub struct LogReads {
    pub reads: Map<u32, LogRead>,
    pub kept: Map<(u32, i64), u32>,
    pub order: VecDeque<u32>,
    pub queue: VecDeque<u32>,
    pub running: usize,
    pub begun: u32,
}

impl LogReads {
    /// Forgets what was read of a chat.
    pub fn forget(&mut self, chat: u32) {
        self.kept.retain(|(of, _), _| *of != chat);
    }

    /// The reads of the next query, if one may begin.
    pub fn begin(&mut self) -> Option<Vec<u32>> {
        if self.running >= LOG_READERS {
            return None;
        }
        let (mut some, mut room) = (Vec::new(), EVENTS_PER_READ);
        while let Some(number) = self.queue.front().copied() {
            if let Some(read) = self.reads.get(&number) {
                if read.limit > room && !some.is_empty() {
                    break;
                }
                room = room.saturating_sub(read.limit);
                some.push(number);
            }
            self.queue.pop_front();
        }
        self.running += usize::from(!some.is_empty());
        (!some.is_empty()).then_some(some)
    }

    /// Drops what has served its time.
    pub fn sweep(&mut self, now: u64) {
        while let Some(number) = self.order.front().copied() {
            if let Some(read) = self.reads.get(&number) {
                if now - read.began < KEPT_FOR || !read.came {
                    return;
                }
                if self.kept.get(&read.place) == Some(&number) {
                    self.kept.remove(&read.place);
                }
                self.reads.remove(&number);
            }
            self.order.pop_front();
        }
    }
}

/// Whether a balancer sends it connections, and whether it runs.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Stage {
    Ready,
    Draining,
    Away,
}

pub struct Gateway {
    /// Counts its processes, so that what was meant for an earlier one is dropped.
    pub life: u32,
    pub stage: Stage,
    pub connections: usize,
    pub cpu: Server,
    pub chats: Map<u32, Box<Chat>>,
    pub link: Link,
    pub rights: Batches<Question>,
    pub heads: Batches<HeadQuestion>,
    pub log: LogReads,
    pub leases: Leases,
    pub ticks: u32,
    /// Chats to look at in that tick: their newest events are old by then, or nobody came back.
    pub aging: VecDeque<(u32, u32)>,
    pub idle: VecDeque<(u32, u32)>,
    /// Commits of followed chats that the next look at the tail finds.
    pub moved: VecDeque<(u64, u32)>,
    /// When the last looks' marks were taken.
    pub marks: VecDeque<u64>,
    /// When that of the last close look was.
    pub closely: Option<u64>,
    /// Buckets of presence whose users changed here since the last renewal.
    pub changed: u64,
    /// Users who came online and are to be announced.
    pub came: usize,
}

impl Gateway {
    pub fn new() -> Self {
        Self {
            life: 0,
            stage: Stage::Away,
            connections: 0,
            cpu: Server::new(1),
            chats: Map::default(),
            link: Link {
                session: 0,
                carries: Carries::Nothing,
                is_asking: false,
                unconfirmed: VecDeque::new(),
                pauses: RECONNECT.start(),
            },
            rights: Batches::new(ACCESS_PER_QUERY, 2),
            heads: Batches::new(HEADS_PER_QUERY, 2),
            log: LogReads::default(),
            leases: Leases::new(),
            ticks: 0,
            aging: VecDeque::new(),
            idle: VecDeque::new(),
            moved: VecDeque::new(),
            marks: VecDeque::new(),
            closely: None,
            changed: 0,
            came: 0,
        }
    }

    /// Another process, in the place of one that is gone.
    pub fn restarted(&mut self) {
        let cpu = std::mem::replace(&mut self.cpu, Server::new(1));
        let (life, session) = (self.life + 1, self.link.session + 1);
        *self = Self { life, cpu, ..Self::new() };
        self.link.session = session;
    }
}
