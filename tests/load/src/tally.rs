//! The arrivals: how many, in which order, how late.

use super::clock::STAMP;
use hdrhistogram::Histogram;
use memchr::memmem;
use std::time::{SystemTime, UNIX_EPOCH};

/// A histogram of nanoseconds up to a minute, to three digits.
pub fn histogram() -> Histogram<u64> {
    Histogram::new_with_bounds(1_000, 60_000_000_000, 3).expect("bounds that fit")
}

/// The arrivals at one thread.
pub struct Tally {
    pub events: u64,
    pub bytes: u64,
    /// Numbers that were passed over.
    pub gaps: u64,
    /// Numbers that came again at once.
    pub doubles: u64,
    /// Numbers that came after a greater one.
    pub disorder: u64,
    /// From the moment at which a message was to be sent, so that a send that was late counts as
    /// late.
    pub latency: Histogram<u64>,
    /// From a subscription that was asked for to its answer.
    pub subscriptions: Histogram<u64>,
    /// Subscriptions that were answered without the list of the users online.
    pub without_users: u64,
    /// From the message's `created_at`, which the database's clock gave inside the transaction.
    pub commit: Option<Histogram<u64>>,
}

impl Tally {
    pub fn new(from_commit: bool) -> Self {
        Self {
            events: 0,
            bytes: 0,
            gaps: 0,
            doubles: 0,
            disorder: 0,
            latency: histogram(),
            subscriptions: histogram(),
            without_users: 0,
            commit: from_commit.then(histogram),
        }
    }

    pub fn add(&mut self, other: &Self) {
        self.events += other.events;
        self.bytes += other.bytes;
        self.gaps += other.gaps;
        self.doubles += other.doubles;
        self.disorder += other.disorder;
        self.latency.add(&other.latency).expect("equal bounds");
        self.subscriptions.add(&other.subscriptions).expect("equal bounds");
        self.without_users += other.without_users;
        if let (Some(own), Some(theirs)) = (&mut self.commit, &other.commit) {
            own.add(theirs).expect("equal bounds");
        }
    }

    /// Counts a frame that answers what was asked that long ago, if that was a subscription.
    pub fn answer(&mut self, payload: &[u8], nanos: u64) {
        if memmem::find(payload, b"\"type\":\"subscribed\"").is_some() {
            self.subscriptions.saturating_record(nanos);
            self.without_users += u64::from(memmem::find(payload, b"\"online_user_ids\":null").is_some());
        }
    }

    /// Counts a frame of `size` bytes on the wire; returns the number that the next must follow.
    /// Number 0 stands for none.
    pub fn event(&mut self, payload: &[u8], size: usize, last: u64, now: u64) -> u64 {
        let Some(seq) = number_after(payload, b"\"seq\":") else { return last };
        let Some(text) = memmem::find(payload, b"\"text\":\"") else { return last };
        let text = text + 8;
        self.events += 1;
        self.bytes += size as u64;
        if let Some(moment) = payload.get(text..text + STAMP).and_then(digits).filter(|moment| *moment > 0) {
            self.latency.saturating_record(now.saturating_sub(moment));
        }
        if let Some(commit) = &mut self.commit
            && let Some(late) = since_created(payload)
        {
            commit.saturating_record(late);
        }
        if seq == 0 {
            return last;
        }
        if last != 0 {
            match seq {
                _ if seq == last + 1 => {}
                _ if seq == last => self.doubles += 1,
                _ if seq < last => self.disorder += 1,
                _ => self.gaps += seq - last - 1,
            }
        }
        seq.max(last)
    }
}

/// The number behind the first `key`.
pub fn number_after(payload: &[u8], key: &[u8]) -> Option<u64> {
    let at = memmem::find(payload, key)? + key.len();
    let length = payload[at..].iter().take_while(|byte| byte.is_ascii_digit()).count();
    digits(&payload[at..at + length])
}

fn digits(bytes: &[u8]) -> Option<u64> {
    if bytes.is_empty() {
        return None;
    }
    bytes.iter().try_fold(0_u64, |sum, byte| byte.is_ascii_digit().then(|| sum * 10 + u64::from(byte - b'0')))
}

/// Nanoseconds since the `created_at` of a message, by the wall clock, which the servers of this
/// machine share.
fn since_created(payload: &[u8]) -> Option<u64> {
    const HOUR: u64 = 3_600_000_000_000;
    let key = b"\"created_at\":\"";
    let at = memmem::find(payload, key)? + key.len();
    // 2026-01-02T03:04:05.678901Z
    let time = payload.get(at..)?;
    let minutes = digits(time.get(14..16)?)?;
    let seconds = digits(time.get(17..19)?)?;
    let fraction = time.get(20..)?.iter().take_while(|byte| byte.is_ascii_digit());
    let (nanos, _) =
        fraction.fold((0, 100_000_000), |(sum, unit), byte| (sum + u64::from(byte - b'0') * unit, unit / 10));
    let wall = super::clock::nanos(SystemTime::now().duration_since(UNIX_EPOCH).ok()?) % HOUR;
    Some((wall + HOUR - ((minutes * 60 + seconds) * 1_000_000_000 + nanos)) % HOUR)
}
