//! The time line: what goes wrong, and a deploy.

use super::costs::{MILLISECOND, SECOND};
use super::figures::{Phase, Spent};
use super::gateway::Stage;
use super::happening::{At, Happening};
use super::world::World;

/// The parts of the time line behind the arrivals.
pub const STEADY: &str = "steady";
pub const STEADY_AGAIN: &str = "steady again";
pub const DEATH: &str = "a gateway dies";
pub const FAILOVER: &str = "Redis fails over";
pub const DEPLOY: &str = "a deploy";
/// Nobody sends any more.
pub const QUIET: &str = "quiet";

/// A gateway that died is there again.
const RESTARTED: u64 = 10 * SECOND;
/// Redis is away for so long.
const OUTAGE: u64 = 10 * SECOND;
/// A new gateway is ready after this time; then an old one is told to stop, waits for the
/// balancers, and drains. Kubernetes does not wait for the end of that.
const READY_AFTER: u64 = 8 * SECOND;
const PRE_STOP: u64 = 5 * SECOND;
const DRAIN: u64 = 10 * SECOND;
/// A late event shows within this time: the tail is read every ten seconds.
const SETTLES: u64 = 20 * SECOND;
/// An api connects to Redis again within this time.
const RECONNECTS: u64 = 500 * MILLISECOND;

impl World {
    /// Begins the next part of the time line.
    pub fn next_phase(&mut self) {
        let now = self.now;
        let spent = Spent::of(&self.redis.primaries, &self.postgres, &self.gateways);
        self.phase().end(now, &spent);
        let Some(name) = self.to_come.pop_front() else {
            self.is_over = true;
            return;
        };
        self.phases.push(Phase::new(name, now, &spent));
        let mut lasts = self.plan.lasts;
        match name {
            DEATH => {
                let dead = self.ready[self.random.below(self.ready.len())];
                self.process_ends(dead);
                self.calendar.plan(now + RESTARTED, Happening::Restart(dead));
            }
            FAILOVER => {
                self.redis_dies();
                self.calendar.plan(now + OUTAGE, Happening::RedisReturns);
                for sender in &mut self.senders {
                    sender.link_from = now + OUTAGE + self.random.up_to(RECONNECTS);
                }
                lasts += OUTAGE;
            }
            DEPLOY => {
                self.old = self.ready.iter().copied().take(self.plan.replaces).collect();
                self.calendar.plan(now + READY_AFTER, Happening::Replace);
                return;
            }
            QUIET => {
                self.is_sending = false;
                lasts = SETTLES;
            }
            _ => {}
        }
        self.calendar.plan(now + lasts, Happening::Phase);
    }

    /// A new gateway is ready: an old one goes.
    pub fn replace(&mut self) {
        let Some(old) = self.old.pop_front() else {
            let drained = self.now - READY_AFTER + PRE_STOP + DRAIN;
            return self.calendar.plan(drained + SETTLES, Happening::Phase);
        };
        let free = self.gateways.iter().position(|place| place.stage == Stage::Away);
        self.start(free.expect("there are as many places more as drain at once") as u32);
        self.ready.retain(|gateway| *gateway != old);
        self.gateways[old as usize].stage = Stage::Draining;
        self.calendar.plan(self.now + PRE_STOP, Happening::Drain(self.at(old)));
        self.calendar.plan(self.now + READY_AFTER, Happening::Replace);
    }

    /// Tells all clients to come back, evenly over most of its time.
    pub fn drain(&mut self, at: At) {
        let held: Vec<u32> = self.held(at.gateway);
        for (number, client) in held.iter().enumerate() {
            let when = self.now + DRAIN * 8 / 10 * number as u64 / held.len() as u64;
            self.calendar.plan(when, Happening::Release(*client, self.clients[*client as usize].life));
        }
        self.calendar.plan(self.now + DRAIN, Happening::Exit(at));
    }

    pub fn exit(&mut self, at: At) {
        if self.alive(at).is_some() {
            self.process_ends(at.gateway);
        }
    }

    fn held(&self, gateway: u32) -> Vec<u32> {
        let clients = self.clients.iter().enumerate().filter(|(_, client)| client.gateway == gateway);
        clients.map(|(number, _)| number as u32).collect()
    }

    /// A gateway's process is gone, and its connections with it: their clients notice at once.
    fn process_ends(&mut self, gateway: u32) {
        self.ready.retain(|other| *other != gateway);
        self.close_link(gateway);
        for chat in self.gateways[gateway as usize].chats.keys() {
            self.followers[*chat as usize].retain(|other| *other != gateway);
        }
        self.gateways[gateway as usize].restarted();
        for client in self.held(gateway) {
            let lost = &mut self.clients[client as usize];
            let back = self.now + lost.lost(self.now, &mut self.random);
            self.calendar.plan(back, Happening::Connect(client, self.clients[client as usize].life));
        }
    }
}
