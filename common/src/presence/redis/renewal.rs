//! The renewal of a node's lease. A bucket is asked whether it knows the node's users by their
//! digest; they are named only where it does not. So a node to which nothing happens sends one
//! command a renewal, however many users it holds.
//!
//! The digest stands in the bucket while nothing changed the node's users there: every script that
//! changes them takes it away, and it is taken for the users whose names it was made of. A Redis
//! that came back from a snapshot has the digest of that time with the users of that time.

use super::answers::{number, unreadable};
use super::calls::{COMMANDS_PER_USER, Call, Ran, USERS_PER_CALL, by_bucket};
use super::{BUCKETS, RedisPresence, bucket, millis};
use crate::error::Result;
use crate::id::{NodeId, UserId};
use crate::presence::Outcome;
use redis::Value;
use std::collections::{HashMap, HashSet};
use std::time::Duration;

/// Users of a bucket that one call names; it registers up to [`USERS_PER_CALL`] of them. More are
/// named in pieces, and always.
const USERS_NAMED: usize = 1_500;
/// Users who are known already cost as much as one command, about.
const USERS_PER_COMMAND: usize = 3;
/// After so long the users are named again, whatever their digest says.
const DIGEST_COUNTS: Duration = Duration::from_mins(10);

/// A digest of users, whatever their order.
fn digest(users: &[UserId]) -> u64 {
    users.iter().fold(0, |digest, user| digest ^ mixed(user.0.cast_unsigned()))
}

/// The finalizer of `SplitMix64`: neighbouring numbers have nothing in common then.
fn mixed(number: u64) -> u64 {
    let number = (number ^ (number >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let number = (number ^ (number >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    number ^ (number >> 31)
}

/// The users of a bucket that the node holds.
struct Part {
    bucket: usize,
    users: Vec<UserId>,
    digest: u64,
}

/// Users of a part who are not named yet.
struct Left<'a> {
    part: &'a Part,
    users: &'a [UserId],
    /// How many the next call names.
    most: usize,
}

impl<'a> Left<'a> {
    fn named(&self) -> &'a [UserId] {
        &self.users[..self.users.len().min(self.most)]
    }
}

impl RedisPresence {
    pub(super) async fn renew_by_digest(&self, node: &NodeId, users: &[UserId]) -> Outcome {
        let mut parts = Vec::new();
        for (bucket, users) in by_bucket(users).into_iter().enumerate() {
            let mut seen = self.seen[bucket].lock();
            seen.holds = !users.is_empty();
            seen.listed = None;
            if seen.holds {
                parts.push(Part { bucket, digest: digest(&users), users });
            }
        }
        let (known, mut named): (Vec<_>, Vec<_>) =
            parts.into_iter().partition(|part| self.seen[part.bucket].lock().digest == Some(part.digest));
        let asked = known.iter().map(|part| self.renewal(node, part, &part.users, false));
        let asked = self.run(asked.collect()).await;
        let unknown = self.listed(&asked);
        named.extend(known.into_iter().filter(|part| unknown.contains(&part.bucket)));

        let renewed = self.renew_by_name(node, &named).await;
        asked.outcome.and(renewed)
    }

    /// Names the users of these parts, in rounds: each bucket has a bounded number to do in one. A
    /// call that had many to register ends early; the next ones name as many as they can do.
    async fn renew_by_name(&self, node: &NodeId, parts: &[Part]) -> Outcome {
        let mut outcome = Outcome::default();
        let mut left: Vec<_> = parts.iter().map(|part| Left { part, users: &part.users, most: USERS_NAMED }).collect();
        while !left.is_empty() {
            let calls = left.iter().map(|left| self.renewal(node, left.part, left.named(), true));
            let ran = self.run(calls.collect()).await;
            outcome = outcome.and(ran.outcome);
            let numbers: HashMap<usize, i64> = ran.numbers.into_iter().collect();
            left.retain_mut(|left| {
                let mut seen = self.seen[left.part.bucket].lock();
                seen.digest = None;
                // The next renewal names those of one that failed.
                let Some(&number) = numbers.get(&left.part.bucket) else { return false };
                let named = left.named().len();
                if number < 0 {
                    let done = usize::try_from(-number).map_or(named, |done| done.min(named));
                    (left.users, left.most) = (&left.users[done..], USERS_PER_CALL);
                } else {
                    // Only a call that named all of them leaves their digest.
                    let is_whole = named == left.part.users.len() && usize::try_from(number) == Ok(named);
                    seen.digest = is_whole.then_some(left.part.digest);
                    seen.listed = Some(number);
                    left.users = &left.users[named..];
                }
                !left.users.is_empty()
            });
        }
        outcome
    }

    /// Renews the lease for these users of a part, by their names or by the part's digest.
    fn renewal<'a>(&'a self, node: &NodeId, part: &Part, users: &[UserId], by_name: bool) -> Call<'a> {
        let mut script = self.call(&self.scripts.renew, part.bucket);
        script.arg(&node.0).arg(part.users.len()).arg(part.digest).arg(millis(DIGEST_COUNTS)).arg(USERS_PER_CALL);
        if by_name {
            for user in users {
                script.arg(user.0);
            }
            script.works(users.len() / USERS_PER_COMMAND + users.len().min(USERS_PER_CALL) * COMMANDS_PER_USER);
        }
        Call { bucket: part.bucket, users: users.to_vec(), script }
    }

    /// Keeps what the buckets list for the node. Returns those that want its users named.
    fn listed(&self, ran: &Ran) -> HashSet<usize> {
        let mut unknown = HashSet::new();
        for &(bucket, listed) in &ran.numbers {
            if listed < 0 {
                unknown.insert(bucket);
            } else {
                self.seen[bucket].lock().listed = Some(listed);
            }
        }
        unknown
    }

    /// The users that the buckets list for the node beyond `users`.
    pub(super) async fn listed_beyond(&self, node: &NodeId, users: &[UserId]) -> Result<Vec<UserId>> {
        let (mut listed, mut asked) = (Vec::new(), Vec::new());
        for (bucket, seen) in self.seen.iter().enumerate() {
            // The renewal counted where the node holds users. The others are asked also whether
            // they were emptied: users of theirs may have left this node lately.
            match seen.lock().listed.take() {
                Some(count) => listed.push((bucket, count)),
                None => asked.push(bucket),
            }
        }
        let calls: Vec<_> = asked
            .iter()
            .map(|bucket| {
                let mut call = self.scripts.listed.call(&[&self.states[*bucket]]);
                call.arg(&node.0);
                call
            })
            .collect();
        for (bucket, answer) in asked.into_iter().zip(self.pool.run(&calls).await?) {
            let Ok(Value::Array(fields)) = answer else { continue };
            let [Value::BulkString(epoch), count] = fields.as_slice() else { return Err(unreadable()) };
            let epoch = std::str::from_utf8(epoch).map_err(|_| unreadable())?;
            // One without an epoch gets it from the next script, which is told of the loss.
            if !epoch.is_empty() {
                self.seen[bucket].lock().answered(epoch);
            }
            listed.push((bucket, number(count).ok_or_else(unreadable)?));
        }
        let mut known = vec![0_i64; BUCKETS];
        for user in users {
            known[bucket(*user)] += 1;
        }
        let differing: Vec<_> =
            listed.into_iter().filter(|(bucket, count)| *count > known[*bucket]).map(|(bucket, _)| bucket).collect();
        if differing.is_empty() {
            return Ok(Vec::new());
        }
        let held: HashSet<UserId> = users.iter().copied().collect();
        let ask = |name: &str| redis::cmd("SMEMBERS").arg(format!("{name}:n:{node}")).to_owned();
        let answers = self.ask_each(&differing, ask).await?;
        let believed = answers.iter().flat_map(|answer| match answer {
            Ok(Value::Array(users) | Value::Set(users)) => users.as_slice(),
            _ => &[],
        });
        Ok(believed.filter_map(number).map(UserId).filter(|user| !held.contains(user)).collect())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_digest_stands_for_its_users_in_any_order() {
        let of = |users: &[i64]| digest(&users.iter().copied().map(UserId).collect::<Vec<_>>());
        assert_eq!(of(&[1, 65, 129]), of(&[129, 1, 65]));
        let others: HashSet<u64> = (0..1000).map(|user| of(&[1, 65, user * 64 + 193])).collect();
        assert_eq!(others.len(), 1000);
        assert_ne!(of(&[1, 2]), of(&[3]), "no sum of its users");
    }
}
