//! The sweep, by one node for all. On one server it is one command with the claim to it.

use super::answers::{number, unreadable};
use super::calls::{Call, Ran};
use super::{BUCKETS, LEAD, RedisPresence, USERS_PER_SWEEP, millis};
use crate::error::{Error, Result};
use crate::id::NodeId;
use crate::presence::{Fleet, Lead, Own, Transition};
use redis::Value;

/// What this process knows of the sweeping.
#[derive(Debug, Default)]
pub(super) struct Leading {
    /// Whether the claim was this node's when it asked last.
    sweeps: bool,
    /// How many users were online by its last sweep.
    counted: Option<u64>,
}

/// The claim to the sweeping, as a sweep of one server goes with it.
#[derive(Clone, Copy)]
enum Claim {
    /// It is asked for.
    Asked(Told),
    /// The node has it, or could not ask.
    Past,
}

/// What a node tells the others as it asks for the claim.
#[derive(Clone, Copy, Default)]
struct Told {
    /// How many users were online by its last sweep.
    online: Option<u64>,
    own: Own,
}

impl Ran {
    /// How many users are online, where all buckets were swept.
    fn online(&self) -> Option<u64> {
        let online = |number: i64| if number < 0 { -1 - number } else { number };
        let all = self.numbers.iter().map(|(_, number)| online(*number).unsigned_abs()).sum();
        (self.numbers.len() == BUCKETS).then_some(all)
    }

    /// Whether buckets have users left that are due.
    fn leaves(&self) -> bool {
        self.numbers.iter().any(|(_, number)| *number < 0)
    }

    /// One bucket, or one server of a cluster, may be away: the transitions of the others count.
    pub(super) fn swept(self) -> Result<Vec<Transition>> {
        match self.outcome.error {
            Some(error) if self.outcome.transitions.is_empty() => Err(error),
            Some(error) => {
                tracing::warn!(%error, "presence: not all buckets could be swept");
                Ok(self.outcome.transitions)
            }
            None => Ok(self.outcome.transitions),
        }
    }
}

impl Lead {
    /// Of a node that sweeps and knows of no other.
    fn alone() -> Self {
        Self { sweeps: true, online: None, left: false, transitions: Vec::new(), fleet: None }
    }
}

impl RedisPresence {
    pub(super) async fn lead_and_sweep(&self, node: &NodeId, own: Own) -> Result<Lead> {
        let Leading { sweeps, counted } = std::mem::take(&mut *self.leading.lock());
        let told = Told { online: counted, own };
        let together = if sweeps && self.pool.is_one_server() {
            self.sweep_together(node, Claim::Asked(told)).await?
        } else {
            None
        };
        let (mut lead, ran) = if let Some(swept) = together {
            swept
        } else {
            // A node that cannot ask sweeps: the claim's server is another than most buckets'.
            let cannot_ask = |error: Error| {
                tracing::debug!(%error, "cannot ask which node sweeps presence");
                Lead::alone()
            };
            let lead = self.ask_to_lead(node, told).await.unwrap_or_else(cannot_ask);
            let ran = if lead.sweeps { self.sweep_buckets(node).await? } else { Ran::default() };
            (lead, ran)
        };
        if lead.sweeps {
            (lead.online, lead.left) = (ran.online().or(lead.online), ran.leaves());
            *self.leading.lock() = Leading { sweeps: true, counted: ran.online() };
            lead.transitions = ran.swept().unwrap_or_else(|error| {
                tracing::debug!(%error, "cannot sweep presence");
                Vec::new()
            });
        }
        Ok(lead)
    }

    async fn ask_to_lead(&self, node: &NodeId, told: Told) -> Result<Lead> {
        let mut call = self.scripts.lead.call(&[&self.leader]);
        call.arg(&node.0).arg(millis(LEAD)).arg(spelled(told.online));
        call.arg(told.own.connections).arg(u8::from(told.own.is_open));
        let answer = self.pool.run(&[call]).await?.pop().ok_or_else(unreadable)??;
        lead(&answer).ok_or_else(unreadable)
    }

    /// Sweeps all buckets.
    pub(super) async fn sweep_buckets(&self, node: &NodeId) -> Result<Ran> {
        if self.pool.is_one_server()
            && let Some((_, ran)) = self.sweep_together(node, Claim::Past).await?
        {
            return Ok(ran);
        }
        let calls = (0..BUCKETS).map(|bucket| {
            let mut script = self.call(&self.scripts.sweep, bucket);
            script.arg(&node.0).arg(USERS_PER_SWEEP);
            Call { bucket, users: Vec::new(), script }
        });
        Ok(self.run(calls.collect()).await)
    }

    /// Sweeps all buckets of one server; with a claim, only where the node has it. A command leaves
    /// buckets to the next where much is to be done, so that nobody else waits long. `None` where
    /// the buckets are on several servers after all.
    async fn sweep_together(&self, node: &NodeId, claim: Claim) -> Result<Option<(Lead, Ran)>> {
        let mut ran = Ran::default();
        let mut leads = Lead::alone();
        let mut first = 0;
        while first < BUCKETS {
            let left = first..BUCKETS;
            let keys: Vec<&str> =
                std::iter::once(&self.leader).chain(&self.states[left.clone()]).map(String::as_str).collect();
            let mut call = self.scripts.sweep_all.call(&keys);
            let (lasts, told) = match claim {
                Claim::Asked(told) => (millis(LEAD).to_string(), told),
                Claim::Past => (String::new(), Told::default()),
            };
            call.arg(&node.0).arg(lasts).arg(spelled(told.online));
            call.arg(told.own.connections).arg(u8::from(told.own.is_open));
            call.arg(millis(self.lease)).arg(USERS_PER_SWEEP);
            for bucket in left.clone() {
                call.arg(self.seen[bucket].lock().named(self.lease));
            }
            let answers = match self.pool.run_across(call).await {
                Ok(Some(Value::Array(answers))) => answers,
                Ok(Some(_)) => return Err(unreadable()),
                Ok(None) if first == 0 => return Ok(None),
                Ok(None) => break,
                // What was swept so far is published.
                Err(error) if first > 0 => {
                    ran.outcome.fail(&[], error);
                    break;
                }
                Err(error) => return Err(error),
            };
            let [claimed, swept @ ..] = answers.as_slice() else { return Err(unreadable()) };
            if first == 0 {
                leads = lead(claimed).ok_or_else(unreadable)?;
            }
            if swept.is_empty() {
                break;
            }
            for (bucket, answer) in left.zip(swept) {
                let answer = match answer {
                    refusal @ Value::ServerError(_) => refusal.clone().extract_error().map_err(Error::unavailable),
                    answer => Ok(answer.clone()),
                };
                ran.add(bucket, &[], answer.and_then(|answer| self.read(bucket, &answer)));
            }
            first += swept.len();
        }
        Ok(Some((leads, ran)))
    }
}

/// A claim's answer.
fn lead(answer: &Value) -> Option<Lead> {
    let Value::Array(fields) = answer else { return None };
    let sweeps = fields.first().and_then(number)? == 1;
    let count = |at: usize| fields.get(at).and_then(number).and_then(|count| u64::try_from(count).ok());
    let fleet = match (count(2), count(3), count(4)) {
        (Some(gateways @ 1..), Some(connections), Some(fewest)) => Some(Fleet { gateways, connections, fewest }),
        _ => None,
    };
    Some(Lead { sweeps, online: count(1), fleet, ..Lead::alone() })
}

fn spelled(counted: Option<u64>) -> String {
    counted.map_or_else(String::new, |counted| counted.to_string())
}
