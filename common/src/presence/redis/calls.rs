//! The calls of scripts, bucket by bucket, and what becomes of each.

use super::answers::{transitions, unreadable};
use super::{BUCKETS, RedisPresence, USERS_PER_CALL, bucket, millis};
use crate::id::{NodeId, UserId};
use crate::presence::{Outcome, Transition};
use crate::redis::pool::{Script, ScriptCall};
use redis::Value;
use std::time::Duration;
use tokio::time::Instant;

/// A script for some users of one bucket.
pub(super) struct Call<'a> {
    pub(super) bucket: usize,
    pub(super) users: Vec<UserId>,
    pub(super) script: ScriptCall<'a>,
}

impl RedisPresence {
    pub(super) fn call<'a>(&self, script: &'a Script, bucket: usize) -> ScriptCall<'a> {
        let mut call = script.call(&[&self.names[bucket]]);
        call.arg(millis(self.lease)).arg(self.seen[bucket].lock().named(self.lease));
        call
    }

    /// Calls a script for these users of a node, bucket by bucket.
    pub(super) fn calls<'a>(
        &self,
        script: &'a Script,
        node: &NodeId,
        users: &[UserId],
        grace: Option<Duration>,
    ) -> Vec<Call<'a>> {
        let mut by_bucket: Vec<Vec<UserId>> = vec![Vec::new(); BUCKETS];
        for user in users {
            by_bucket[bucket(*user)].push(*user);
        }
        let mut calls = Vec::new();
        for (bucket, users) in by_bucket.into_iter().enumerate() {
            for chunk in users.chunks(USERS_PER_CALL) {
                let mut script = self.call(script, bucket);
                script.arg(&node.0);
                if let Some(grace) = grace {
                    script.arg(millis(grace));
                }
                for user in chunk {
                    script.arg(user.0);
                }
                calls.push(Call { bucket, users: chunk.to_vec(), script });
            }
        }
        calls
    }

    /// Runs the calls. One that fails costs only its own users.
    pub(super) async fn run(&self, calls: Vec<Call<'_>>) -> Outcome {
        let mut outcome = Outcome::default();
        if calls.is_empty() {
            return outcome;
        }
        let (of, scripts): (Vec<_>, Vec<_>) =
            calls.into_iter().map(|call| ((call.bucket, call.users), call.script)).unzip();
        match self.pool.run(&scripts).await {
            Ok(answers) => {
                for ((bucket, users), answer) in of.into_iter().zip(answers) {
                    match answer.and_then(|answer| self.read(bucket, &answer).ok_or_else(unreadable)) {
                        Ok(more) => outcome.transitions.extend(more),
                        Err(error) => outcome.fail(&users, error),
                    }
                }
            }
            Err(error) => outcome.fail(&of.into_iter().flat_map(|(_, users)| users).collect::<Vec<_>>(), error),
        }
        outcome
    }

    fn read(&self, bucket: usize, answer: &Value) -> Option<Vec<Transition>> {
        let Value::Array(fields) = answer else { return None };
        let [Value::BulkString(epoch), _now, rest @ ..] = fields.as_slice() else { return None };
        let epoch = std::str::from_utf8(epoch).ok()?;
        let mut seen = self.seen[bucket].lock();
        seen.at = Some(Instant::now());
        if seen.epoch != epoch {
            epoch.clone_into(&mut seen.epoch);
        }
        transitions(rest)
    }
}
