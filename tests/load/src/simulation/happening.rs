//! What happens, and when: the simulation's only clock.

use super::gateway::{HeadQuestion, Pending, Question, Topic};
use std::cmp::Ordering;
use std::collections::BinaryHeap;

/// A process of a gateway: of another life, what happens is nobody's.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct At {
    pub gateway: u32,
    pub life: u32,
}

/// The head of a log and the commit of the entry that was asked about.
pub struct Head {
    pub head: i64,
    pub committed: Option<i64>,
}

pub enum Happening {
    /// A client, and the number of the connection that it had before.
    Connect(u32, u32),
    Welcome(u32, u32),
    /// It is told to come back.
    Release(u32, u32),
    /// It waited a second for its channel.
    ChannelLate(Pending),
    Rights(At, Vec<(Question, i64)>),
    MoreRights(At),
    Heads(At, Vec<(HeadQuestion, Head)>),
    MoreHeads(At),
    Gap(At, u32),
    Pieces(At, Vec<u32>),
    ReplayAgain(Pending),
    /// An event comes to the gateways that were subscribed, each by its link of then.
    Published(Box<[(u32, u32)]>, u32, i64),
    /// A gateway tries to connect to Redis.
    Link(At),
    Confirmed(u32, u32, Vec<Topic>),
    Mute(u32, u32),
    Probe(u32, u32),
    Up(u32, u32),
    Send(u32, u32),
    Committed(u32, Vec<u32>),
    MoreSends(u32),
    Relay(u32),
    Tick(At),
    Mark(At),
    Look(At),
    LookClosely(At),
    Moved(At, Vec<(u32, i64)>),
    CompareAll(At),
    Renew(At),
    Announce(At),
    Sweep,
    /// The next part of the time line, or the return of what it took away.
    Phase,
    RedisReturns,
    Restart(u32),
    Replace,
    Drain(At),
    Exit(At),
}

struct Due {
    at: u64,
    /// What was planned first happens first.
    number: u64,
    what: Happening,
}

impl PartialEq for Due {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other) == Ordering::Equal
    }
}

impl Eq for Due {}

impl PartialOrd for Due {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Due {
    fn cmp(&self, other: &Self) -> Ordering {
        (other.at, other.number).cmp(&(self.at, self.number))
    }
}

#[derive(Default)]
pub struct Calendar {
    due: BinaryHeap<Due>,
    planned: u64,
}

impl Calendar {
    pub fn plan(&mut self, at: u64, what: Happening) {
        self.planned += 1;
        self.due.push(Due { at, number: self.planned, what });
    }

    pub fn next(&self) -> Option<u64> {
        self.due.peek().map(|due| due.at)
    }

    pub fn take(&mut self) -> Option<(u64, Happening)> {
        self.due.pop().map(|due| (due.at, due.what))
    }
}
