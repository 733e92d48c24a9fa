//! Presence in Redis, for any number of nodes. Users are spread over [`BUCKETS`] buckets, each in
//! one slot of a Redis Cluster, and every decision is one script in one bucket.
//!
//! Time is the server's (`TIME`), so that the nodes' clocks do not matter. Each node remembers the
//! epoch of each bucket, and how many decisions it saw there: another epoch says that Redis was
//! emptied, fewer decisions that it came back from a snapshot. For one lease after that no sweep
//! reports a user offline, because the nodes are still registering theirs, and no `renew` reports
//! one online again. A user who departs meanwhile is reported offline all the same.

mod answers;
mod calls;
mod renewal;
mod scripts;
mod sweeping;

use super::{Contact, Lead, Online, Outcome, Own, Presence, REMEMBERED_FOR, Transition, newest};
use crate::error::{Error, Result};
use crate::event;
use crate::id::{NodeId, UserId};
use crate::model::Page;
use crate::redis::Namespace;
use crate::redis::pool::RedisPool;
use answers::{at, number, published, unreadable};
use async_trait::async_trait;
use parking_lot::Mutex;
use redis::{Cmd, Value};
use scripts::Scripts;
use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, Instant};
use sweeping::Leading;
use time::OffsetDateTime;

/// Buckets: enough to load every node of a large cluster, few enough for one round trip.
const BUCKETS: usize = 64;
/// Users that one command of a sweep works on, so that it does not hold the server up. Where more
/// are left of a bucket, another sweep follows at once.
const USERS_PER_SWEEP: usize = 150;
/// How long one node sweeps for all without saying so again. Until another one does, a short lease
/// must not take it for an outage.
const LEAD: Duration = Duration::from_secs(1);
/// Publications of a bucket that are remembered, and read after an outage; beyond it the oldest
/// are forgotten.
const PUBLISHED_PER_BUCKET: usize = 2_000;
/// The commands that the acknowledgement of a publication is, about.
const COMMANDS_PER_PUBLICATION: usize = 4;
/// Buckets that a page of the list asks at first. It asks twice as many each time that was not
/// enough.
const LIST_BUCKETS: usize = 4;

/// [`Presence`] in Redis.
#[derive(Debug)]
pub struct RedisPresence {
    pool: Arc<RedisPool>,
    lease: Duration,
    scripts: Scripts,
    names: Vec<String>,
    /// The key of each bucket that its scripts name.
    states: Vec<String>,
    /// The key of the claim by which one node sweeps for all.
    leader: String,
    leading: Mutex<Leading>,
    seen: Vec<Mutex<Seen>>,
}

/// This process's knowledge of a bucket.
#[derive(Debug, Default)]
struct Seen {
    /// The epoch of its last answer; empty before the first.
    epoch: String,
    /// The most decisions that it answered in that epoch.
    decisions: u64,
    /// When that came.
    at: Option<Instant>,
    /// How often it answered another epoch.
    losses: u64,
    /// Whether the process held users of it when it last named all that it holds, or since.
    holds: bool,
    /// The digest of the users that the bucket was compared with.
    digest: Option<u64>,
    /// How many users it listed for the node at the renewal.
    listed: Option<i64>,
}

impl Seen {
    /// The epoch and the decisions to name in a call: another epoch than the bucket's says that it
    /// was emptied since, and more decisions that it came back from a snapshot. A node that holds
    /// nobody there and saw it long ago does not know when that was: others, who lost users by it,
    /// have said so.
    fn named(&self, lease: Duration) -> String {
        let is_fresh = self.at.is_some_and(|at| at.elapsed() <= lease);
        if self.epoch.is_empty() || !self.holds && !is_fresh {
            return String::new();
        }
        format!("{} {}", self.epoch, self.decisions)
    }

    /// The bucket answered its epoch, and its decisions behind a blank.
    fn answered(&mut self, answer: &str) {
        self.at = Some(Instant::now());
        let (epoch, decisions) = answer.split_once(' ').unwrap_or((answer, "0"));
        let decisions = decisions.parse().unwrap_or(0);
        if self.epoch == epoch {
            self.decisions = self.decisions.max(decisions);
        } else {
            self.losses += u64::from(!self.epoch.is_empty());
            epoch.clone_into(&mut self.epoch);
            self.decisions = decisions;
        }
    }
}

impl RedisPresence {
    /// Presence of that deployment through that pool, with leases of that length.
    pub fn new(pool: Arc<RedisPool>, namespace: &Namespace, lease: Duration) -> Self {
        Self {
            pool,
            lease,
            scripts: Scripts::new(),
            names: (0..BUCKETS).map(|bucket| format!("{{{namespace}p:{bucket}}}")).collect(),
            states: (0..BUCKETS).map(|bucket| format!("{{{namespace}p:{bucket}}}:state")).collect(),
            leader: format!("{namespace}p:leader"),
            leading: Mutex::default(),
            seen: (0..BUCKETS).map(|_| Mutex::default()).collect(),
        }
    }

    /// The process held these users until now at least.
    fn held(&self, users: &[UserId]) {
        for user in users {
            self.seen[bucket(*user)].lock().holds = true;
        }
    }

    /// The answers of one command for each of these buckets.
    async fn ask(&self, buckets: &[usize], command: impl Fn(&str) -> Cmd) -> Result<Vec<Value>> {
        let commands: Vec<_> = buckets.iter().map(|bucket| command(&self.names[*bucket])).collect();
        self.pool.commands(&commands).await
    }

    /// The same, where a bucket that fails costs only its own answer.
    async fn ask_each(&self, buckets: &[usize], command: impl Fn(&str) -> Cmd) -> Result<Vec<Result<Value>>> {
        let commands: Vec<_> = buckets.iter().map(|bucket| command(&self.names[*bucket])).collect();
        self.pool.each(&commands).await
    }

    /// Since when users of one bucket each are online.
    async fn since(&self, users: &[(usize, Vec<UserId>)]) -> Result<HashMap<UserId, OffsetDateTime>> {
        let commands: Vec<_> = users
            .iter()
            .map(|(bucket, users)| {
                let mut command = redis::cmd("HMGET");
                command.arg(format!("{}:since", self.names[*bucket]));
                for user in users {
                    command.arg(user.0);
                }
                command
            })
            .collect();
        let mut all = HashMap::new();
        for ((_, users), answer) in users.iter().zip(self.pool.commands(&commands).await?) {
            let Value::Array(values) = answer else { return Err(unreadable()) };
            let known = users.iter().zip(&values).filter_map(|(user, value)| Some((*user, at(number(value)?)?)));
            all.extend(known);
        }
        Ok(all)
    }
}

#[async_trait]
impl Presence for RedisPresence {
    async fn arrive(&self, node: &NodeId, users: &[UserId]) -> Outcome {
        let ran = self.run(self.calls(&self.scripts.arrive, node, users, &[])).await;
        self.held(users);
        ran.outcome
    }

    async fn depart(&self, node: &NodeId, users: &[UserId], grace: Duration) -> Outcome {
        // Their bucket may have lost them while it was away, and nobody else say so.
        self.held(users);
        self.run(self.calls(&self.scripts.depart, node, users, &[millis(grace), 0])).await.outcome
    }

    async fn depart_anew(&self, node: &NodeId, users: &[UserId], grace: Duration) -> Outcome {
        let grace = millis(grace.max(self.lease));
        self.run(self.calls(&self.scripts.depart, node, users, &[grace, 1])).await.outcome
    }

    fn contact(&self, user: UserId) -> Contact {
        let seen = self.seen[bucket(user)].lock();
        Contact { losses: seen.losses, answered: seen.at }
    }

    async fn renew(&self, node: &NodeId, users: &[UserId]) -> Outcome {
        self.renew_by_digest(node, users).await
    }

    async fn surplus(&self, node: &NodeId, users: &[UserId]) -> Result<Vec<UserId>> {
        self.listed_beyond(node, users).await
    }

    async fn forget(&self, node: &NodeId, users: &[UserId]) -> Outcome {
        self.run(self.calls(&self.scripts.forget, node, users, &[])).await.outcome
    }

    async fn lead(&self, node: &NodeId, own: Own) -> Result<Lead> {
        self.lead_and_sweep(node, own).await
    }

    async fn sweep(&self, node: &NodeId) -> Result<Vec<Transition>> {
        self.sweep_buckets(node).await?.swept()
    }

    async fn acknowledge(&self, published: &[Transition]) -> Result<()> {
        let mut by_bucket: Vec<Vec<&Transition>> = vec![Vec::new(); BUCKETS];
        for transition in published {
            by_bucket[bucket(transition.user_id)].push(transition);
        }
        let calls: Vec<_> = by_bucket
            .iter()
            .zip(&self.states)
            .filter(|(transitions, _)| !transitions.is_empty())
            .map(|(transitions, state)| {
                let mut call = self.scripts.acknowledge.call(&[state]);
                call.arg(millis(REMEMBERED_FOR)).arg(PUBLISHED_PER_BUCKET);
                for transition in transitions {
                    call.arg(transition.user_id.0).arg(event::micros(transition.decided_at));
                    call.arg(u8::from(transition.online)).arg(event::micros(transition.at) / 1_000);
                }
                call.works(transitions.len() * COMMANDS_PER_PUBLICATION);
                call
            })
            .collect();
        self.pool.run(&calls).await?.into_iter().try_for_each(|answer| answer.map(drop))
    }

    async fn published(&self, within: Duration) -> Result<Vec<Transition>> {
        let calls: Vec<_> = self
            .states
            .iter()
            .map(|state| {
                let mut call = self.scripts.published.call(&[state]);
                call.arg(millis(within)).arg(PUBLISHED_PER_BUCKET).works(PUBLISHED_PER_BUCKET);
                call
            })
            .collect();
        let mut all = Vec::new();
        for answer in self.pool.run(&calls).await? {
            let Value::Array(values) = answer? else { return Err(unreadable()) };
            all.extend(values.iter().map(published).collect::<Option<Vec<_>>>().ok_or_else(unreadable)?);
        }
        Ok(newest(all))
    }

    async fn online(&self, users: &[UserId]) -> Result<Vec<Option<OffsetDateTime>>> {
        let mut by_bucket: HashMap<usize, Vec<UserId>> = HashMap::new();
        for user in users {
            by_bucket.entry(bucket(*user)).or_default().push(*user);
        }
        let since = self.since(&by_bucket.into_iter().collect::<Vec<_>>()).await?;
        Ok(users.iter().map(|user| since.get(user).copied()).collect())
    }

    /// In the order of bucket and id.
    async fn list(&self, after: Option<&str>, limit: usize) -> Result<Page<Online>> {
        let (mut first, mut after) = match after {
            None => (0, None),
            Some(cursor) => read_cursor(cursor).ok_or_else(|| Error::invalid("cursor", "no cursor of this list"))?,
        };
        let mut found: Vec<(usize, Vec<UserId>)> = Vec::new();
        let mut count = 0;
        let mut width = LIST_BUCKETS;
        // One more than asked shows whether there is a next page.
        while first < BUCKETS && count <= limit {
            let buckets: Vec<_> = (first..BUCKETS.min(first + width)).collect();
            let answers = self.ask(&buckets, |name| {
                let from =
                    after.filter(|_| name == self.names[first]).map_or("-inf".into(), |id: UserId| format!("({id}"));
                let mut command = redis::cmd("ZRANGEBYSCORE");
                command.arg(format!("{name}:online")).arg(from).arg("+inf").arg("LIMIT").arg(0).arg(limit + 1 - count);
                command
            });
            for (bucket, answer) in buckets.iter().zip(answers.await?) {
                let Value::Array(values) = answer else { return Err(unreadable()) };
                let room = limit + 1 - count;
                let users: Vec<_> = values.iter().filter_map(number).map(UserId).take(room).collect();
                count += users.len();
                if !users.is_empty() {
                    found.push((*bucket, users));
                }
            }
            (first, after) = (first + buckets.len(), None);
            width *= 2;
        }
        let since = self.since(&found).await?;
        let mut users: Vec<_> = found.into_iter().flat_map(|(_, users)| users).collect();
        let more = users.len() > limit;
        users.truncate(limit);
        let last = users.last().map(|user| format!("{}.{user}", bucket(*user)));
        // Users who went offline between the two questions are left out.
        let items = users.iter().filter_map(|user| Some(Online { user_id: *user, since: *since.get(user)? }));
        Ok(Page { items: items.collect(), next_cursor: last.filter(|_| more) })
    }

    async fn count(&self) -> Result<u64> {
        let buckets: Vec<_> = (0..BUCKETS).collect();
        let answers = self.ask(&buckets, |name| {
            let mut command = redis::cmd("ZCARD");
            command.arg(format!("{name}:online"));
            command
        });
        let counts = answers.await?;
        Ok(counts.iter().filter_map(number).filter_map(|count| u64::try_from(count).ok()).sum())
    }
}

fn bucket(user: UserId) -> usize {
    usize::try_from(user.0.cast_unsigned() % BUCKETS as u64).unwrap_or(0)
}

fn read_cursor(cursor: &str) -> Option<(usize, Option<UserId>)> {
    let (first, user) = cursor.split_once('.')?;
    let first = first.parse().ok().filter(|first| *first < BUCKETS)?;
    let user = user.parse().ok()?;
    (bucket(user) == first).then_some((first, Some(user)))
}

fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}
