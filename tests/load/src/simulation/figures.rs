//! What a run came to, phase by phase.

use super::costs::SECOND;
use super::gateway::Gateway;
use super::server::{Second, Server, Work};
use super::world::World;
use crate::report::{Row, float};
use hdrhistogram::Histogram;

/// A delivery that comes later than this after its commit was held up.
const LATE: u64 = SECOND;
/// Nothing is later.
const LONGEST: u64 = 3600 * SECOND;

/// A part of the time line.
pub struct Phase {
    pub name: &'static str,
    pub begins: u64,
    pub ends: u64,
    pub messages: u64,
    pub deliveries: u64,
    /// Of what was committed while the reader was subscribed.
    latency: Histogram<u64>,
    /// What readers missed while they were away, and got when they came back.
    pub replayed: u64,
    /// When something last came late.
    late_until: u64,
    pub gaps: u64,
    pub doubles: u64,
    pub disorder: u64,
    /// Events that a `resync` told of.
    pub resync: u64,
    spent: Spent,
}

/// CPU of each kind of server, in nanoseconds, by what it was for.
#[derive(Clone, Copy, Default)]
pub struct Spent {
    redis: [u64; Work::ALL.len()],
    postgres: [u64; Work::ALL.len()],
    gateways: [u64; Work::ALL.len()],
}

impl Spent {
    pub fn of(redis: &[Server], postgres: &Server, gateways: &[Gateway]) -> Self {
        let gateways = all(gateways.iter().map(|gateway| &gateway.cpu));
        Self { redis: all(redis.iter()), postgres: postgres.by_work, gateways }
    }

    fn since(&self, before: &Self) -> Self {
        let less = |now: [u64; Work::ALL.len()], before: &[u64]| std::array::from_fn(|at| now[at] - before[at]);
        Self {
            redis: less(self.redis, &before.redis),
            postgres: less(self.postgres, &before.postgres),
            gateways: less(self.gateways, &before.gateways),
        }
    }
}

/// What these servers spent together.
fn all<'a>(servers: impl Iterator<Item = &'a Server>) -> [u64; Work::ALL.len()] {
    servers.fold([0; Work::ALL.len()], |all, server| std::array::from_fn(|at| all[at] + server.by_work[at]))
}

impl Phase {
    pub fn new(name: &'static str, now: u64, spent: &Spent) -> Self {
        Self {
            name,
            begins: now,
            ends: now,
            messages: 0,
            deliveries: 0,
            latency: Histogram::new_with_bounds(1, LONGEST, 3).expect("fixed bounds"),
            replayed: 0,
            late_until: now,
            gaps: 0,
            doubles: 0,
            disorder: 0,
            resync: 0,
            spent: *spent,
        }
    }

    /// A reader got an event.
    pub fn delivered(&mut self, now: u64, committed: u64, is_live: bool) {
        self.deliveries += 1;
        let took = now.saturating_sub(committed);
        if is_live {
            self.latency.saturating_record(took);
        } else {
            self.replayed += 1;
        }
        if took > LATE {
            self.late_until = self.late_until.max(now);
        }
    }

    /// It is over.
    pub fn end(&mut self, now: u64, spent: &Spent) {
        self.ends = now;
        self.spent = spent.since(&self.spent);
    }

    /// Whole seconds of it.
    fn lasts(&self) -> f64 {
        float(self.ends - self.begins) / float(SECOND)
    }

    pub fn row(&self, world: &World) -> Row {
        let plan = &world.plan;
        let redis = if plan.primaries > 1 { format!(", {} primaries of Redis", plan.primaries) } else { String::new() };
        let at = format!("{} connections, {} gateways{redis}", plan.connections, plan.gateways);
        let mut row = Row::new("simulation", self.name, at, 1)
            .with("seconds", self.lasts())
            .with("messages/s", float(self.messages) / self.lasts())
            .with("deliveries/s", float(self.deliveries) / self.lasts())
            .with("replayed", float(self.replayed))
            .latency("delivery", &self.latency)
            .with("held up for s", float(self.late_until - self.begins) / float(SECOND));
        let postgres = std::slice::from_ref(&world.postgres);
        for (name, servers, spent) in
            [("redis", &*world.redis.primaries, &self.spent.redis), ("postgres", postgres, &self.spent.postgres)]
        {
            let seconds = || servers.iter().flat_map(|server| self.seconds(server));
            let most = |of: fn(&Second) -> u64| float(seconds().map(of).max().unwrap_or(0));
            let asked = seconds().map(|second| second.asked).sum();
            row = self
                .cores(row, name, spent)
                .with(format!("{name} cores, busiest second"), most(|second| second.busy) / float(SECOND))
                .with(format!("{name} asked/s"), float(asked) / self.lasts())
                .with(format!("{name} longest wait ms"), most(|second| second.waited) / 1e6);
        }
        let busiest = world.gateways.iter().flat_map(|gateway| self.seconds(&gateway.cpu)).map(|second| second.busy);
        self.cores(row, "gateways", &self.spent.gateways)
            .with("gateways, busiest second of one", float(busiest.max().unwrap_or(0)) / float(SECOND))
            .with("gaps", float(self.gaps))
            .with("doubles", float(self.doubles))
            .with("disorder", float(self.disorder))
            .with("lost", float(self.resync))
    }

    /// A server's seconds of this phase.
    fn seconds<'a>(&self, server: &'a Server) -> &'a [Second] {
        let end = ((self.ends / SECOND) as usize).min(server.seconds.len());
        server.seconds.get((self.begins / SECOND) as usize..end).unwrap_or(&[])
    }

    /// What was spent, in all and by what it was for.
    fn cores(&self, row: Row, name: &str, spent: &[u64; Work::ALL.len()]) -> Row {
        let cores = |nanos: u64| float(nanos) / float(SECOND) / self.lasts();
        let row = row.with(format!("{name} cores"), cores(spent.iter().sum()));
        let parts = Work::ALL.iter().map(|(work, what)| (what, spent[*work as usize]));
        parts
            .filter(|(_, nanos)| *nanos > 0)
            .fold(row, |row, (what, nanos)| row.with(format!("{name} cores for {what}"), cores(nanos)))
    }
}
