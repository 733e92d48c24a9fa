//! The calls of scripts, bucket by bucket, and what becomes of each.

use super::answers::{number, transitions, unreadable};
use super::{BUCKETS, RedisPresence, bucket, millis};
use crate::error::Result;
use crate::id::{NodeId, UserId};
use crate::presence::{Outcome, Transition};
use crate::redis::script::{Script, ScriptCall};
use redis::Value;

/// Users of one script call, so that no call holds the server up.
pub(super) const USERS_PER_CALL: usize = 150;
/// The commands that a script runs for a user who comes or goes, about.
pub(super) const COMMANDS_PER_USER: usize = 10;

/// A script for some users of one bucket.
pub(super) struct Call<'a> {
    pub(super) bucket: usize,
    pub(super) users: Vec<UserId>,
    pub(super) script: ScriptCall<'a>,
}

/// What became of some calls.
#[derive(Default)]
pub(super) struct Ran {
    pub(super) outcome: Outcome,
    /// The bucket of each call that was answered, and the number in the answer.
    pub(super) numbers: Vec<(usize, i64)>,
}

/// The users of each bucket.
pub(super) fn by_bucket(users: &[UserId]) -> Vec<Vec<UserId>> {
    let mut by_bucket: Vec<Vec<UserId>> = vec![Vec::new(); BUCKETS];
    for user in users {
        by_bucket[bucket(*user)].push(*user);
    }
    by_bucket
}

impl RedisPresence {
    pub(super) fn call<'a>(&self, script: &'a Script, bucket: usize) -> ScriptCall<'a> {
        let mut call = script.call(&[&self.states[bucket]]);
        call.arg(millis(self.lease)).arg(self.seen[bucket].lock().named(self.lease));
        call
    }

    /// Calls a script for these users of a node, bucket by bucket; `more` stands before them.
    pub(super) fn calls<'a>(&self, script: &'a Script, node: &NodeId, users: &[UserId], more: &[u64]) -> Vec<Call<'a>> {
        let mut calls = Vec::new();
        for (bucket, users) in by_bucket(users).into_iter().enumerate() {
            for chunk in users.chunks(USERS_PER_CALL) {
                let mut script = self.call(script, bucket);
                script.arg(&node.0);
                for argument in more {
                    script.arg(argument);
                }
                for user in chunk {
                    script.arg(user.0);
                }
                script.works(chunk.len() * COMMANDS_PER_USER);
                calls.push(Call { bucket, users: chunk.to_vec(), script });
            }
        }
        calls
    }

    /// Runs the calls. One that fails costs only its own users.
    pub(super) async fn run(&self, calls: Vec<Call<'_>>) -> Ran {
        let mut ran = Ran::default();
        if calls.is_empty() {
            return ran;
        }
        let (of, scripts): (Vec<_>, Vec<_>) =
            calls.into_iter().map(|call| ((call.bucket, call.users), call.script)).unzip();
        match self.pool.run(&scripts).await {
            Ok(answers) => {
                for ((bucket, users), answer) in of.into_iter().zip(answers) {
                    ran.add(bucket, &users, answer.and_then(|answer| self.read(bucket, &answer)));
                }
            }
            Err(error) => ran.outcome.fail(&of.into_iter().flat_map(|(_, users)| users).collect::<Vec<_>>(), error),
        }
        ran
    }

    /// The number and the transitions of a bucket's answer.
    pub(super) fn read(&self, bucket: usize, answer: &Value) -> Result<(i64, Vec<Transition>)> {
        let Value::Array(fields) = answer else { return Err(unreadable()) };
        let [Value::BulkString(epoch), own, rest @ ..] = fields.as_slice() else { return Err(unreadable()) };
        let epoch = std::str::from_utf8(epoch).map_err(|_| unreadable())?;
        self.seen[bucket].lock().answered(epoch);
        number(own).zip(transitions(rest)).ok_or_else(unreadable)
    }
}

impl Ran {
    pub(super) fn add(&mut self, bucket: usize, users: &[UserId], answer: Result<(i64, Vec<Transition>)>) {
        match answer {
            Ok((number, transitions)) => {
                self.numbers.push((bucket, number));
                self.outcome.transitions.extend(transitions);
            }
            Err(error) => self.outcome.fail(users, error),
        }
    }
}
