//! Passwords: argon2id (RFC 9106) on a pool of its own size, so that a flood of logins never
//! stalls other requests.

use super::cost;
use crate::error::{Error, Result};
use crate::random;
use argon2::{Algorithm, Argon2, Params, PasswordHasher, PasswordVerifier, Version};
use nix::time::ClockId;
use parking_lot::Mutex;
use std::collections::hash_map::Entry;
use std::collections::{HashMap, VecDeque};
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::Semaphore;

/// Passes over the memory; with 19 MiB and one lane the strength that OWASP recommends for
/// argon2id.
const PASSES: u32 = 2;
const LANES: u32 = 1;
/// Of the configured work: a check of a stronger hash costs more, and the others do not follow. A
/// configuration that was lowered would else change nothing.
const MOST_WORK: u64 = 4;
/// The memory of a computation that draws a check out.
const PIECE_KIB: u32 = 256;
/// The last checks whose time is known.
const TIMES: usize = 15;
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
    /// Every check takes as long as this one, so that none says how strong a hash is, or that there
    /// is none.
    dearest: Mutex<Dearest>,
    running: Arc<Semaphore>,
    /// Strangers come to `running` one a thread: who is known waits for so many at most.
    strangers: Arc<Semaphore>,
    waiting: Mutex<Waiting>,
}

/// The check that has cost the most work here, up to [`MOST_WORK`].
struct Dearest {
    work: u64,
    /// The CPU time of the last ones. It is measured: half of the memory takes less than half of
    /// the time.
    times: VecDeque<Duration>,
}

impl Dearest {
    fn took(&mut self, time: Duration) {
        self.times.truncate(TIMES - 1);
        self.times.push_front(time);
    }

    /// As long as half of them took: a few take much longer.
    fn takes(&self) -> Duration {
        let mut times: Vec<_> = self.times.iter().copied().collect();
        times.sort_unstable();
        times.get(times.len() / 2).copied().unwrap_or_default()
    }
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
        // The first one finds its memory cold.
        hash(&argon2, "nobody").map_err(fault)?;
        let begun = cpu_time();
        let nobody = hash(&argon2, "nobody has this password").map_err(fault)?;
        let times = VecDeque::from([cpu_time() - begun]);
        let dearest = Mutex::new(Dearest { work: cost::work(argon2.params()), times });
        let running = Arc::new(Semaphore::new(threads.max(1)));
        let strangers = Arc::new(Semaphore::new(threads.max(1)));
        let waiting = Mutex::new(Waiting { known: 0, strangers: 0, by_address: HashMap::new(), most });
        Ok(Self { inner: Arc::new(Inner { argon2, nobody, dearest, running, strangers, waiting }) })
    }

    /// A PHC string with a fresh salt. `Unavailable` when too many wait.
    pub async fn hash(&self, password: String, asker: Asker) -> Result<String> {
        self.run(asker, move |inner| hash(&inner.argon2, &password)).await?.map_err(Error::internal)
    }

    /// Whether it is the password of that PHC string. `None` (there is no such user) costs the same
    /// and is false; so does a hash of other strength. `Unavailable` when too many wait.
    pub async fn verify(&self, password: String, phc: Option<String>, asker: Asker) -> Result<bool> {
        let known = phc.is_some();
        match self.run(asker, move |inner| inner.verify(&password, phc.as_deref())).await? {
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

impl Inner {
    fn verify(&self, password: &str, phc: Option<&str>) -> argon2::password_hash::Result<()> {
        let phc = phc.unwrap_or(&self.nobody);
        let work = cost::work(&cost::params_of(phc)?);
        let begun = cpu_time();
        let outcome = self.argon2.verify_password(password.as_bytes(), phc);
        self.draw_out(work, begun, cpu_time() - begun);
        outcome
    }

    /// Makes a check of so much work, which has taken so long, as long as the dearest.
    fn draw_out(&self, work: u64, begun: Duration, took: Duration) {
        let bound = MOST_WORK * cost::work(self.argon2.params());
        let (most, takes) = {
            let mut dearest = self.dearest.lock();
            if work.min(bound) > dearest.work {
                let times = u32::try_from(work.div_ceil(bound)).unwrap_or(u32::MAX);
                *dearest = Dearest { work: work.min(bound), times: VecDeque::from([took / times]) };
            } else if work == dearest.work {
                dearest.took(took);
            }
            if work >= dearest.work {
                return;
            }
            (dearest.work, dearest.takes())
        };
        // Bounded, though a clock stood still.
        for _ in 0..4 * most / u64::from(PIECE_KIB) {
            if cpu_time() - begun >= takes {
                break;
            }
            spend_a_piece();
        }
    }
}

/// The CPU time of this thread: whatever else the machine does is not counted.
fn cpu_time() -> Duration {
    nix::time::clock_gettime(ClockId::CLOCK_THREAD_CPUTIME_ID).map(Duration::from).unwrap_or_default()
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

/// A fraction of a millisecond of the same work.
fn spend_a_piece() {
    let Ok(params) = Params::new(PIECE_KIB, 1, LANES, None) else { return };
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
