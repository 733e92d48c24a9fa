//! Passwords: argon2id (RFC 9106) on a pool of its own size, so that a flood of logins never
//! stalls other requests.

use super::cost;
use crate::error::{Error, Result};
use crate::random;
use argon2::{Algorithm, Argon2, Params, PasswordHasher, PasswordVerifier, Version};
use parking_lot::Mutex;
use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::net::IpAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use tokio::sync::Semaphore;

/// Passes over the memory; with 19 MiB and one lane the strength that OWASP recommends for
/// argon2id.
const PASSES: u32 = 2;
const LANES: u32 = 1;
/// Of the configured work: a check of a stronger hash costs more, and the others do not follow. A
/// configuration that was lowered would else change nothing.
const MOST_WORK: u64 = 4;
/// RFC 9106, section 3.1.
const SALT_BYTES: usize = 16;

/// Passwords of known askers that may wait for the pool. One more gets `Unavailable` at once: at
/// some 30 ms each, it would wait for seconds.
const KNOWN_WAITING: usize = 64;
/// The same of all strangers together. Of the places that are left, one address takes half at
/// most.
const STRANGERS_WAITING: usize = 192;

/// The one that a password is computed for. The queue serves the known first, so that a crowd of
/// strangers holds up itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Asker {
    /// Logged in, or at a network that the account knows.
    Known,
    /// Anybody else, at that address.
    Stranger(IpAddr),
}

/// Hashes and checks passwords, off the threads that answer requests.
#[derive(Clone)]
pub struct Passwords {
    inner: Arc<Inner>,
}

struct Inner {
    argon2: Argon2<'static>,
    /// The hash that an unknown user's password is checked against, so that the answer takes as
    /// long as for a known user.
    nobody: String,
    /// The most work that one check has cost here, up to [`MOST_WORK`]. Every check costs as much,
    /// so that none says how strong a hash is, or that there is none.
    most_work: AtomicU64,
    running: Arc<Semaphore>,
    /// Strangers come to `running` one a thread: who is known waits for so many at most.
    strangers: Arc<Semaphore>,
    waiting: Mutex<Waiting>,
}

/// The askers that wait for the pool, and their bound.
struct Waiting {
    known: usize,
    strangers: usize,
    by_address: HashMap<IpAddr, usize>,
    most: (usize, usize),
}

/// Why the pool could not be made.
#[derive(Debug, thiserror::Error)]
#[error("argon2 with {memory_kib} KiB of memory: {source}")]
pub struct PasswordFault {
    memory_kib: u32,
    source: argon2::password_hash::Error,
}

impl Passwords {
    /// A pool that runs at most `threads` computations at once, each with `memory_kib` KiB.
    pub fn new(memory_kib: u32, threads: usize) -> Result<Self, PasswordFault> {
        Self::with_queue(memory_kib, threads, (KNOWN_WAITING, STRANGERS_WAITING))
    }

    fn with_queue(memory_kib: u32, threads: usize, most: (usize, usize)) -> Result<Self, PasswordFault> {
        let fault = |source| PasswordFault { memory_kib, source };
        let params = Params::new(memory_kib, PASSES, LANES, None).map_err(|e| fault(e.into()))?;
        let argon2 = Argon2::new(Algorithm::Argon2id, Version::V0x13, params);
        let nobody = hash(&argon2, "nobody has this password").map_err(fault)?;
        let running = Arc::new(Semaphore::new(threads.max(1)));
        let strangers = Arc::new(Semaphore::new(threads.max(1)));
        let waiting = Mutex::new(Waiting { known: 0, strangers: 0, by_address: HashMap::new(), most });
        let most_work = AtomicU64::new(cost::work(argon2.params()));
        Ok(Self { inner: Arc::new(Inner { argon2, nobody, most_work, running, strangers, waiting }) })
    }

    /// A PHC string with a fresh salt. `Unavailable` when too many wait.
    pub async fn hash(&self, password: String, asker: Asker) -> Result<String> {
        self.run(asker, move |inner| hash(&inner.argon2, &password)).await?.map_err(Error::internal)
    }

    /// Whether it is the password of that PHC string. `None` (there is no such user) costs the same
    /// and is false; so does a hash of other strength. `Unavailable` when too many wait.
    pub async fn verify(&self, password: String, phc: Option<String>, asker: Asker) -> Result<bool> {
        let known = phc.is_some();
        let outcome = self
            .run(asker, move |inner| {
                let phc = phc.as_deref().unwrap_or(&inner.nobody);
                let work = cost::work(&cost::params_of(phc)?);
                let bound = MOST_WORK * cost::work(inner.argon2.params());
                let most = inner.most_work.fetch_max(work.min(bound), Ordering::Relaxed);
                let outcome = inner.argon2.verify_password(password.as_bytes(), phc);
                spend(most.saturating_sub(work), inner.argon2.params());
                outcome
            })
            .await?;
        match outcome {
            Ok(()) => Ok(known),
            Err(argon2::password_hash::Error::PasswordInvalid) => Ok(false),
            Err(error) => Err(Error::internal(error)),
        }
    }

    /// Whether a hash should be made anew, since new ones cost more or less.
    pub fn is_outdated(&self, phc: &str) -> bool {
        cost::is_outdated(phc, self.inner.argon2.params())
    }

    async fn run<T: Send + 'static>(&self, asker: Asker, work: impl FnOnce(&Inner) -> T + Send + 'static) -> Result<T> {
        let place = Place::take(&self.inner.waiting, asker)
            .ok_or_else(|| Error::unavailable("too many passwords wait to be checked"))?;
        let turn = match asker {
            Asker::Known => None,
            Asker::Stranger(_) => Some(self.inner.strangers.acquire().await.map_err(Error::internal)?),
        };
        let permit = self.inner.running.clone().acquire_owned().await.map_err(Error::internal)?;
        drop((turn, place));
        let inner = self.inner.clone();
        // The permit goes with the work: a caller that hangs up makes no room while its computation
        // still runs.
        let task = tokio::task::spawn_blocking(move || {
            let outcome = work(&inner);
            drop(permit);
            outcome
        });
        task.await.map_err(Error::internal)
    }
}

/// A place in the queue, given back when dropped.
struct Place<'a>(&'a Mutex<Waiting>, Asker);

impl<'a> Place<'a> {
    fn take(queue: &'a Mutex<Waiting>, asker: Asker) -> Option<Self> {
        let mut waiting = queue.lock();
        match asker {
            Asker::Known if waiting.known < waiting.most.0 => waiting.known += 1,
            Asker::Stranger(address) => {
                let left = waiting.most.1 - waiting.strangers;
                let own = waiting.by_address.get(&address).copied().unwrap_or_default();
                if own >= left {
                    return None;
                }
                waiting.strangers += 1;
                waiting.by_address.insert(address, own + 1);
            }
            Asker::Known => return None,
        }
        Some(Self(queue, asker))
    }
}

impl Drop for Place<'_> {
    fn drop(&mut self) {
        let mut waiting = self.0.lock();
        let Asker::Stranger(address) = self.1 else {
            waiting.known -= 1;
            return;
        };
        waiting.strangers -= 1;
        if let Entry::Occupied(mut own) = waiting.by_address.entry(address) {
            *own.get_mut() -= 1;
            if *own.get() == 0 {
                own.remove();
            }
        }
    }
}

/// Takes as long as that much work.
fn spend(work: u64, most: &Params) {
    let Some(params) = cost::computation(work, most) else { return };
    let argon2 = Argon2::new(Algorithm::Argon2id, Version::V0x13, params);
    // Without the memory for it there was none for the check either.
    argon2.hash_password_into(b"", &[0; SALT_BYTES], &mut [0; 32]).unwrap_or_default();
}

fn hash(argon2: &Argon2<'_>, password: &str) -> argon2::password_hash::Result<String> {
    let phc: argon2::PasswordHash =
        argon2.hash_password_with_salt(password.as_bytes(), &random::bytes::<SALT_BYTES>())?;
    Ok(phc.to_string())
}

#[cfg(test)]
mod tests;
