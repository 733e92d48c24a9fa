//! Thousands of subscribers on a few threads, each thread with its own event loop.

use super::clock;
use super::socket::{Socket, Spec};
use super::tally::Tally;
use mio::{Events, Interest, Poll, Token};
use parking_lot::Mutex;
use std::net::Ipv4Addr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::mpsc::{self, SyncSender};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

/// Sockets that are opened at once, unless it is said otherwise.
const OPENING: usize = 128;
const OPEN_WITHIN: Duration = Duration::from_secs(40);

/// The state that a thread and its owner share.
struct Shared {
    tally: Mutex<Tally>,
    live: AtomicUsize,
    ended: AtomicUsize,
    fault: Mutex<Option<String>>,
    events: AtomicU64,
    /// How often the numbers seen were forgotten.
    forgotten: AtomicU64,
    stop: AtomicBool,
}

/// Connected subscribers; they disconnect when this is dropped.
pub struct Fleet {
    shared: Vec<Arc<Shared>>,
    threads: Vec<JoinHandle<()>>,
    from_commit: bool,
    /// How many there are.
    pub size: usize,
}

/// The loopback address for the nth socket: each has some 28,000 ports of its own.
pub fn source(n: usize) -> Ipv4Addr {
    Ipv4Addr::new(127, 0, 0, 2 + u8::try_from(n % 16).unwrap_or(0))
}

impl Fleet {
    /// Opens all and returns when each has subscribed.
    pub fn open(specs: Vec<Spec>, from_commit: bool) -> Result<Self, String> {
        Self::start(specs, from_commit, OPENING)
    }

    /// The same, so many at once.
    pub fn open_together(specs: Vec<Spec>, at_once: usize) -> Result<Self, String> {
        Self::start(specs, false, at_once)
    }

    fn start(specs: Vec<Spec>, from_commit: bool, at_once: usize) -> Result<Self, String> {
        let size = specs.len();
        let workers =
            std::thread::available_parallelism().map_or(1, std::num::NonZero::get).clamp(1, 4).min(size.max(1));
        let mut parts: Vec<Vec<Spec>> = (0..workers).map(|_| Vec::new()).collect();
        for (n, spec) in specs.into_iter().enumerate() {
            parts[n % workers].push(spec);
        }
        let mut fleet = Self { shared: Vec::new(), threads: Vec::new(), from_commit, size };
        let (opened, is_open) = mpsc::sync_channel(2 * workers);
        for part in parts {
            let opened = opened.clone();
            let shared = Arc::new(Shared {
                tally: Mutex::new(Tally::new(from_commit)),
                live: AtomicUsize::new(0),
                ended: AtomicUsize::new(0),
                fault: Mutex::default(),
                events: AtomicU64::new(0),
                forgotten: AtomicU64::new(0),
                stop: AtomicBool::new(false),
            });
            fleet.shared.push(Arc::clone(&shared));
            let thread = std::thread::Builder::new().name("subscribers".to_owned());
            let worker = thread.spawn(move || {
                if let Err(error) = work(part, at_once.div_ceil(workers), &shared, &opened) {
                    *shared.fault.lock() = Some(error.to_string());
                    tell(&opened);
                }
            });
            fleet.threads.push(worker.map_err(|error| error.to_string())?);
        }
        let deadline = Instant::now() + OPEN_WITHIN;
        for _ in 0..workers {
            let told = is_open.recv_timeout(deadline.saturating_duration_since(Instant::now()));
            fleet.check()?;
            if told.is_err() {
                return Err(format!("{} of {size} subscribed in time", fleet.sum(|s| s.live.load(Ordering::Relaxed))));
            }
        }
        Ok(fleet)
    }

    fn sum(&self, of: impl Fn(&Shared) -> usize) -> usize {
        self.shared.iter().map(|shared| of(shared)).sum()
    }

    /// An error when a connection has ended.
    pub fn check(&self) -> Result<(), String> {
        match self.shared.iter().find_map(|shared| shared.fault.lock().clone()) {
            Some(fault) => {
                Err(format!("a subscriber: {fault} ({} ended)", self.sum(|s| s.ended.load(Ordering::Relaxed))))
            }
            None => Ok(()),
        }
    }

    /// Waits until all of its connections have ended.
    pub fn wait_until_over(&self, limit: Duration) -> Result<(), String> {
        let deadline = Instant::now() + limit;
        loop {
            let ended = self.sum(|shared| shared.ended.load(Ordering::Relaxed));
            if ended == self.size {
                return Ok(());
            }
            if Instant::now() > deadline {
                return Err(format!("{ended} of {} connections have ended in time", self.size));
            }
            std::thread::sleep(Duration::from_millis(2));
        }
    }

    /// Events that all have been given since they were connected.
    pub fn events(&self) -> u64 {
        self.shared.iter().map(|shared| shared.events.load(Ordering::Relaxed)).sum()
    }

    /// Begins to count anew.
    pub fn reset(&self) {
        for shared in &self.shared {
            *shared.tally.lock() = Tally::new(self.from_commit);
        }
    }

    /// Takes whatever number comes next on each socket as its first.
    pub fn forget_numbers(&self) {
        for shared in &self.shared {
            shared.forgotten.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// The counts since then.
    pub fn tally(&self) -> Tally {
        let mut sum = Tally::new(self.from_commit);
        self.shared.iter().for_each(|shared| sum.add(&shared.tally.lock()));
        sum
    }

    /// Waits until `events` in all have come, as long as some still come; says whether they did.
    pub fn wait_for(&self, events: u64, quiet: Duration) -> bool {
        let (mut seen, mut moved) = (self.events(), Instant::now());
        while seen < events {
            if moved.elapsed() > quiet {
                return false;
            }
            std::thread::sleep(Duration::from_millis(2));
            let now = self.events();
            if now > seen {
                (seen, moved) = (now, Instant::now());
            }
        }
        true
    }
}

impl Drop for Fleet {
    fn drop(&mut self) {
        self.shared.iter().for_each(|shared| shared.stop.store(true, Ordering::Relaxed));
        for thread in self.threads.drain(..) {
            // its fault was told by `check`
            drop(thread.join());
        }
    }
}

/// Tells whoever opens the fleet to look; nobody waits for it any more once all is open.
fn tell(opened: &SyncSender<()>) {
    opened.try_send(()).unwrap_or(());
}

/// A thread's part of the fleet. Says when all of it is open, and when the first of it fails.
fn work(mut specs: Vec<Spec>, at_once: usize, shared: &Shared, opened: &SyncSender<()>) -> std::io::Result<()> {
    let size = specs.len();
    let mut waited_for = true;
    specs.reverse();
    let mut poll = Poll::new()?;
    let mut events = Events::with_capacity(1024);
    let mut buffer = vec![0; 256 * 1024];
    let mut sockets: Vec<Option<Socket>> = Vec::with_capacity(specs.len());
    let mut opening = 0;
    let mut forgotten = 0;
    while !shared.stop.load(Ordering::Relaxed) {
        while opening < at_once
            && let Some(spec) = specs.pop()
        {
            let mut socket = Socket::connect(spec)?;
            let interest = Interest::READABLE | Interest::WRITABLE;
            poll.registry().register(&mut socket.stream, Token(sockets.len()), interest)?;
            sockets.push(Some(socket));
            opening += 1;
        }
        poll.poll(&mut events, Some(Duration::from_millis(20)))?;
        if shared.forgotten.load(Ordering::Relaxed) != forgotten {
            forgotten = shared.forgotten.load(Ordering::Relaxed);
            sockets.iter_mut().flatten().for_each(Socket::forget_number);
        }
        let mut tally = shared.tally.lock();
        let before = tally.events;
        for event in &events {
            let Some(socket) = sockets[event.token().0].as_mut() else { continue };
            let was_live = socket.is_live();
            let mut done = Ok(());
            if event.is_writable() {
                done = socket.on_writable();
            }
            if done.is_ok() && event.is_readable() {
                done = socket.on_readable(&mut buffer, &mut tally, clock::now());
            }
            if !was_live && (socket.is_live() || done.is_err()) {
                opening -= 1;
                shared.live.fetch_add(usize::from(done.is_ok()), Ordering::Relaxed);
            }
            if let Err(error) = done {
                sockets[event.token().0] = None;
                shared.ended.fetch_add(1, Ordering::Relaxed);
                shared.fault.lock().get_or_insert(error.to_string());
            }
        }
        // `reset` may have put another tally there meanwhile, but not while it is locked here
        shared.events.fetch_add(tally.events - before, Ordering::Relaxed);
        let live = shared.live.load(Ordering::Relaxed);
        if waited_for && (live == size || shared.ended.load(Ordering::Relaxed) > 0) {
            waited_for = false;
            tell(opened);
        }
    }
    Ok(())
}
