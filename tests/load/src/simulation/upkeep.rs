//! What gateways do by the clock: feeds and presence are looked after, the tail of the log is
//! read. As `gateway/src/worker/upkeep.rs`, `hub/tail.rs` and `presence` do it.

use super::costs::{
    DIGESTED, MILLISECOND, NAMED, PUBLISH, QUERY, RECEIVER, RENEWAL, SECOND, STATUSES_TAKEN, SWEEP, TAIL, WAY,
};
use super::gateway::{Stage, Topic};
use super::happening::{At, Happening};
use super::server::Work;
use super::world::World;
use messenger_common::id::Seq;
use messenger_common::metrics::GapCause;

const TICK: u64 = 500 * MILLISECOND;
/// A feed without subscriptions is kept for so many ticks, its newest events for so many.
pub const IDLE_TICKS: u32 = 4;
pub const RING_TICKS: u32 = 40;
/// A part of the feeds compares its heads once in so many ticks; so many parts.
const SLOW_BEAT_TICKS: u32 = 20;
const PARTS: u32 = 60;
/// The tail: between two looks, longer than a write takes, and what is still on its way.
const LOOK_EVERY: u64 = 10 * SECOND;
const SETTLED: u64 = 3 * SECOND;
const ON_ITS_WAY: u64 = 250 * MILLISECOND;
/// While Redis is away, and for so long after: between two looks, longer than most writes take.
pub const LOOK_CLOSELY_EVERY: u64 = SECOND;
const MOST_WRITES_COMMITTED_WITHIN: u64 = 500 * MILLISECOND;
const REMEMBERED: u64 = 10 * SECOND;
/// A look reads so many messages at most.
const TAIL_READS: u64 = 500_000;
/// Presence: buckets of users, a third of a lease, and how statuses are gathered.
pub const BUCKETS: u32 = 64;
const RENEW_EVERY: u64 = 5 * SECOND;
/// For each gateway that hears of them, up to so long.
const GATHER: u64 = 20 * MILLISECOND;
const LONGEST_GATHER: u64 = 500 * MILLISECOND;
const USERS_PER_CALL: usize = 256;

impl World {
    /// A gateway starts; a balancer sends it connections from now on.
    pub fn start(&mut self, gateway: u32) {
        self.gateways[gateway as usize].stage = Stage::Ready;
        self.ready.push(gateway);
        let at = self.at(gateway);
        self.calendar.plan(self.now, Happening::Link(at));
        for (within, what) in [
            (TICK, Happening::Tick(at)),
            (RENEW_EVERY, Happening::Renew(at)),
            (LOOK_EVERY - SETTLED, Happening::Mark(at)),
        ] {
            let first = self.now + self.random.up_to(within);
            self.calendar.plan(first, what);
        }
    }

    pub fn tick(&mut self, at: At) {
        let now = self.now;
        let Some(place) = self.alive(at) else { return };
        place.ticks += 1;
        let tick = place.ticks;
        place.log.sweep(now);
        while let Some((_, chat)) = self.due(at, |place| &mut place.aging, tick) {
            self.with_feed(at.gateway, chat, |feed, tick| feed.age(tick, RING_TICKS));
        }
        while let Some((_, chat)) = self.due(at, |place| &mut place.idle, tick) {
            self.drop_idle(at.gateway, chat);
        }
        if tick.is_multiple_of(SLOW_BEAT_TICKS) {
            let part = tick / SLOW_BEAT_TICKS % PARTS;
            self.compare_heads(at, |chat| chat % PARTS == part);
        }
        self.calendar.plan(now + TICK, Happening::Tick(at));
    }

    fn due(
        &mut self,
        at: At,
        queue: fn(&mut super::gateway::Gateway) -> &mut std::collections::VecDeque<(u32, u32)>,
        tick: u32,
    ) -> Option<(u32, u32)> {
        let queue = queue(&mut self.gateways[at.gateway as usize]);
        queue.front().is_some_and(|(due, _)| *due <= tick).then(|| queue.pop_front()).flatten()
    }

    /// Lets go of a feed that nobody wants any more.
    fn drop_idle(&mut self, gateway: u32, chat: u32) {
        let place = &mut self.gateways[gateway as usize];
        let Some(followed) = place.chats.get(&chat) else { return };
        if !followed.feed.is_empty() {
            return;
        }
        if followed.feed.is_filling() {
            return place.idle.push_back((place.ticks + 1, chat));
        }
        place.chats.remove(&chat);
        self.followers[chat as usize].retain(|other| *other != gateway);
        self.want(gateway, Topic::Chat(chat));
    }

    pub fn compare_heads(&mut self, at: At, is_due: impl Fn(u32) -> bool) {
        if self.plan.compares_nothing {
            return;
        }
        let Some(place) = self.alive(at) else { return };
        let known = place.chats.iter().filter(|(chat, followed)| is_due(**chat) && followed.feed.head().is_some());
        let chats: Vec<u32> = known.map(|(chat, _)| *chat).collect();
        for chat in chats {
            let due = self.with_feed(at.gateway, chat, |feed, _| feed.head_due(GapCause::HeadCheck));
            self.start_repair(at.gateway, chat, due.flatten());
        }
    }

    pub fn mark(&mut self, at: At) {
        let now = self.now;
        let Some(place) = self.alive(at) else { return };
        place.marks.push_back(now);
        self.calendar.plan(now + SETTLED, Happening::Look(at));
    }

    /// Reads which chats moved since the mark before the last one.
    pub fn look(&mut self, at: At) {
        let (now, compares_nothing) = (self.now, self.plan.compares_nothing);
        let Some(place) = self.alive(at) else { return };
        let mut next = now;
        if place.marks.len() > 1
            && let Some(from) = place.marks.pop_front()
        {
            while place.moved.front().is_some_and(|(committed, _)| *committed < from) {
                place.moved.pop_front();
            }
            let (moved, count, read) = self.tail(at, from);
            next = read + ON_ITS_WAY;
            match count {
                _ if compares_nothing => {}
                0..=TAIL_READS => self.calendar.plan(next, Happening::Moved(at, moved)),
                _ => self.calendar.plan(next, Happening::CompareAll(at)),
            }
        }
        self.calendar.plan(next + LOOK_EVERY - SETTLED, Happening::Mark(at));
    }

    /// The same each second while Redis is away, and for a while after.
    pub fn look_closely(&mut self, at: At) {
        let now = self.now;
        let is_due = self.redis.is_away || now < self.redis.back + REMEMBERED;
        let compares_nothing = self.plan.compares_nothing;
        let Some(place) = self.alive(at) else { return };
        if !is_due || compares_nothing {
            place.closely = None;
            return;
        }
        let from =
            place.closely.replace(now - MOST_WRITES_COMMITTED_WITHIN).or(place.marks.back().copied()).unwrap_or(now);
        let (moved, _, read) = self.tail(at, from);
        self.calendar.plan(read + ON_ITS_WAY, Happening::Moved(at, moved));
        self.calendar.plan(now + LOOK_CLOSELY_EVERY, Happening::LookClosely(at));
    }

    /// The chats that moved since a time, how many messages were sent, and when that was read.
    fn tail(&mut self, at: At, from: u64) -> (Vec<(u32, i64)>, u64, u64) {
        let moved = self.gateways[at.gateway as usize].moved.iter().rev();
        let mut chats: Vec<u32> =
            moved.take_while(|(committed, _)| *committed >= from).map(|(_, chat)| *chat).collect();
        chats.sort_unstable();
        chats.dedup();
        let moved = chats.into_iter().map(|chat| (chat, self.logs.head(chat))).collect();
        let all: u64 = self.phases.iter().map(|phase| phase.messages).sum();
        let count = all - self.commits[(from / SECOND) as usize];
        // The mark before it, and where the logs end.
        let cost = 3 * QUERY + TAIL * count.min(TAIL_READS);
        (moved, count, self.postgres.serve(self.now, Work::Tails, cost) + 2 * WAY)
    }

    /// A feed that is elsewhere than the log compares its head.
    pub fn reached(&mut self, at: At, moved: &[(u32, i64)]) {
        if self.alive(at).is_none() {
            return;
        }
        for (chat, seq) in moved {
            let due = self.with_feed(at.gateway, *chat, |feed, _| {
                let is_elsewhere = feed.head().is_some_and(|head| head != Seq(*seq));
                is_elsewhere.then(|| feed.head_due_once(GapCause::HeadCheck)).flatten()
            });
            self.start_repair(at.gateway, *chat, due.flatten());
        }
    }

    /// Renews the leases of its users: by their digest, by name where others came or went.
    pub fn renew(&mut self, at: At) {
        let is_away = self.redis.is_away;
        let Some(place) = self.alive(at) else { return };
        let users = place.connections as u64;
        if users > 0 && !is_away {
            let changed = u64::from(std::mem::take(&mut place.changed).count_ones());
            let cost = RENEWAL + DIGESTED * users + NAMED * users * changed / u64::from(BUCKETS);
            self.redis.share(self.now, Work::Presence, cost);
        }
        self.calendar.plan(self.now + RENEW_EVERY, Happening::Renew(at));
    }

    /// When those who come now are published.
    pub fn gathered(&self) -> u64 {
        self.now + (GATHER * self.ready.len() as u64).clamp(GATHER, LONGEST_GATHER)
    }

    /// Publishes who came, to all gateways.
    pub fn announce(&mut self, at: At) {
        let is_away = self.redis.is_away;
        let Some(place) = self.alive(at) else { return };
        place.came = if is_away { place.came } else { place.came.saturating_sub(USERS_PER_CALL) };
        if place.came > 0 {
            let next = if place.came < USERS_PER_CALL { self.gathered() } else { self.now };
            self.calendar.plan(next, Happening::Announce(at));
        }
        if !is_away {
            let running = self.gateways.iter_mut().filter(|place| place.stage != Stage::Away);
            let count = running.map(|place| place.cpu.serve(self.now, Work::Statuses, STATUSES_TAKEN)).count();
            self.redis.serve(self.now, 0, Work::Statuses, PUBLISH + RECEIVER * count as u64);
        }
    }

    /// One gateway sweeps for all.
    pub fn sweep(&mut self) {
        if !self.redis.is_away {
            self.redis.share(self.now, Work::Presence, SWEEP);
        }
        self.calendar.plan(self.now + TICK, Happening::Sweep);
    }
}
