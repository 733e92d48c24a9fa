//! Passwords: argon2id (RFC 9106) on a pool of its own size, so that a flood of logins never
//! stalls other requests.

use crate::error::{Error, Result};
use crate::random;
use argon2::{Algorithm, Argon2, Params, PasswordHasher, PasswordVerifier, Version};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use tokio::sync::Semaphore;

/// Passes over the memory; with 19 MiB and one lane the strength that OWASP recommends for
/// argon2id.
const PASSES: u32 = 2;
const LANES: u32 = 1;
/// RFC 9106, section 3.1.
const SALT_BYTES: usize = 16;

/// Passwords that may wait for the pool. One more gets `Unavailable` at once: at some 30 ms each,
/// it would wait for seconds.
const MAX_WAITING: usize = 256;

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
    running: Arc<Semaphore>,
    waiting: AtomicUsize,
    max_waiting: usize,
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
        Self::with_queue(memory_kib, threads, MAX_WAITING)
    }

    fn with_queue(memory_kib: u32, threads: usize, max_waiting: usize) -> Result<Self, PasswordFault> {
        let fault = |source| PasswordFault { memory_kib, source };
        let params = Params::new(memory_kib, PASSES, LANES, None).map_err(|e| fault(e.into()))?;
        let argon2 = Argon2::new(Algorithm::Argon2id, Version::V0x13, params);
        let nobody = hash(&argon2, "nobody has this password").map_err(fault)?;
        let running = Arc::new(Semaphore::new(threads.max(1)));
        Ok(Self { inner: Arc::new(Inner { argon2, nobody, running, waiting: AtomicUsize::new(0), max_waiting }) })
    }

    /// A PHC string with a fresh salt. `Unavailable` when too many wait.
    pub async fn hash(&self, password: String) -> Result<String> {
        self.run(move |inner| hash(&inner.argon2, &password)).await?.map_err(Error::internal)
    }

    /// Whether it is the password of that PHC string. `None` (there is no such user) costs the same
    /// and is false. `Unavailable` when too many wait.
    pub async fn verify(&self, password: String, phc: Option<String>) -> Result<bool> {
        let known = phc.is_some();
        let outcome = self
            .run(move |inner| {
                let phc = phc.as_deref().unwrap_or(&inner.nobody);
                inner.argon2.verify_password(password.as_bytes(), phc)
            })
            .await?;
        match outcome {
            Ok(()) => Ok(known),
            Err(argon2::password_hash::Error::PasswordInvalid) => Ok(false),
            Err(error) => Err(Error::internal(error)),
        }
    }

    async fn run<T: Send + 'static>(&self, work: impl FnOnce(&Inner) -> T + Send + 'static) -> Result<T> {
        let place =
            Place::take(&self.inner).ok_or_else(|| Error::unavailable("too many passwords wait to be checked"))?;
        let permit = self.inner.running.clone().acquire_owned().await.map_err(Error::internal)?;
        drop(place);
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
struct Place<'a>(&'a AtomicUsize);

impl<'a> Place<'a> {
    fn take(inner: &'a Inner) -> Option<Self> {
        let waiting = inner.waiting.fetch_add(1, Ordering::Relaxed);
        let place = Self(&inner.waiting);
        (waiting < inner.max_waiting).then_some(place)
    }
}

impl Drop for Place<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

fn hash(argon2: &Argon2<'_>, password: &str) -> argon2::password_hash::Result<String> {
    let phc: argon2::PasswordHash =
        argon2.hash_password_with_salt(password.as_bytes(), &random::bytes::<SALT_BYTES>())?;
    Ok(phc.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    const SMALL: u32 = 8;

    #[tokio::test]
    async fn the_right_password_and_no_other() {
        let passwords = Passwords::new(SMALL, 2).unwrap();
        let phc = passwords.hash("correct horse".into()).await.unwrap();
        assert!(phc.starts_with("$argon2id$v=19$m=8,t=2,p=1$"), "{phc}");
        assert_ne!(phc, passwords.hash("correct horse".into()).await.unwrap(), "the salt is fresh");
        assert!(passwords.verify("correct horse".into(), Some(phc.clone())).await.unwrap());
        assert!(!passwords.verify("Correct horse".into(), Some(phc)).await.unwrap());
    }

    #[tokio::test]
    async fn nobody_never_logs_in_though_the_password_be_guessed() {
        let passwords = Passwords::new(SMALL, 1).unwrap();
        assert!(!passwords.verify("nobody has this password".into(), None).await.unwrap());
    }

    #[tokio::test]
    async fn a_hash_of_other_strength_is_still_checked() {
        let weak = Passwords::new(SMALL, 1).unwrap().hash("pw".into()).await.unwrap();
        let strong = Passwords::new(64, 1).unwrap();
        assert!(strong.verify("pw".into(), Some(weak)).await.unwrap());
    }

    #[tokio::test]
    async fn a_row_that_is_no_hash_is_a_fault_of_ours() {
        let passwords = Passwords::new(SMALL, 1).unwrap();
        let outcome = passwords.verify("pw".into(), Some("plain".into())).await;
        assert!(matches!(outcome, Err(Error::Internal(_))));
    }

    #[tokio::test]
    async fn the_queue_is_bounded_and_empties_again() {
        let passwords = Passwords::with_queue(SMALL, 1, 2).unwrap();
        let held = passwords.inner.running.clone().acquire_owned().await.unwrap();
        let waiting: Vec<_> = (0..2)
            .map(|_| {
                let passwords = passwords.clone();
                tokio::spawn(async move { passwords.hash("pw".into()).await })
            })
            .collect();
        while passwords.inner.waiting.load(Ordering::Relaxed) < 2 {
            tokio::task::yield_now().await;
        }
        let refused = passwords.hash("pw".into()).await;
        assert!(matches!(refused, Err(Error::Unavailable(_))));
        drop(held);
        for task in waiting {
            assert!(task.await.unwrap().is_ok());
        }
        assert!(passwords.hash("pw".into()).await.is_ok());
        assert_eq!(passwords.inner.waiting.load(Ordering::Relaxed), 0);
    }

    #[tokio::test]
    async fn who_hangs_up_leaves_the_queue() {
        let passwords = Passwords::with_queue(SMALL, 1, 1).unwrap();
        let held = passwords.inner.running.clone().acquire_owned().await.unwrap();
        let task = tokio::spawn({
            let passwords = passwords.clone();
            async move { passwords.hash("pw".into()).await }
        });
        while passwords.inner.waiting.load(Ordering::Relaxed) < 1 {
            tokio::task::yield_now().await;
        }
        task.abort();
        assert!(task.await.unwrap_err().is_cancelled());
        drop(held);
        assert!(passwords.hash("pw".into()).await.is_ok());
    }
}
