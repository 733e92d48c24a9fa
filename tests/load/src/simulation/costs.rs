//! What an operation costs, in nanoseconds of a core: the unit costs of `docs/SCALE.md`, and a few
//! that stand there beside the simulation alone.

pub const MICROSECOND: u64 = 1_000;
pub const MILLISECOND: u64 = 1_000_000;
pub const SECOND: u64 = 1_000_000_000;

/// One way over the network.
pub const WAY: u64 = 100 * MICROSECOND;
/// A commit's flush to the disk: time, no CPU.
pub const FLUSH: u64 = MILLISECOND;

/// A gateway's: a delivery, a connection, a followed chat's head, a publication of statuses.
pub const DELIVERY: u64 = 14 * MICROSECOND;
pub const HANDSHAKE: u64 = 68 * MICROSECOND;
pub const COMPARED: u64 = 2_800;
pub const STATUSES_TAKEN: u64 = 5 * MICROSECOND;

/// Redis: a publication, and for each gateway that receives it.
pub const PUBLISH: u64 = 2_500;
pub const RECEIVER: u64 = MICROSECOND;
/// A command that subscribes, each of its topics, and a topic of a client that is gone.
pub const SUBSCRIBE: u64 = 6 * MICROSECOND;
pub const TOPIC: u64 = MICROSECOND;
pub const TOPIC_DROPPED: u64 = 500;
/// A check of a limit. The same for the short calls of presence.
pub const CHECK: u64 = 17 * MICROSECOND;
/// The rest of a connection's 18 µs: its presence.
pub const ARRIVAL: u64 = 12 * MICROSECOND;
/// A renewal by digest, and for each user; by name, for each user of a bucket that changed.
pub const RENEWAL: u64 = 670 * MICROSECOND;
pub const DIGESTED: u64 = 9;
pub const NAMED: u64 = 340;
/// A sweep for all gateways.
pub const SWEEP: u64 = 1_400 * MICROSECOND;
/// A link's probe: a write and a publication.
pub const PROBE: u64 = 6 * MICROSECOND;

/// Postgres: of a connection's 17 µs its token, and a subscription's rights.
pub const TOKEN: u64 = 13 * MICROSECOND;
pub const ACCESS: u64 = 4 * MICROSECOND;
/// A chat's head, and a message in the tail.
pub const HEAD: u64 = 2 * MICROSECOND;
pub const TAIL: u64 = MICROSECOND;
/// A query for pieces of chats' logs, each piece, and each of its events.
pub const LOG_QUERY: u64 = 45 * MICROSECOND;
pub const LOG: u64 = 12 * MICROSECOND;
pub const LOGGED: u64 = 2 * MICROSECOND;
/// An entry of the outbox that a relay claims and removes.
pub const CLAIMED: u64 = 10 * MICROSECOND;
/// A query beside what it asks about.
pub const QUERY: u64 = 30 * MICROSECOND;

/// A batch of sends, by its size: what each message takes is measured at some sizes.
pub fn commit(messages: usize) -> u64 {
    const EACH: [(usize, f64); 8] =
        [(1, 181.0), (2, 131.0), (3, 112.0), (4, 105.0), (8, 66.0), (16, 49.0), (32, 42.0), (256, 42.0)];
    let above = EACH.iter().position(|(size, _)| *size >= messages).unwrap_or(EACH.len() - 1);
    let (size, each) = EACH[above];
    let each = if size == messages || above == 0 {
        each
    } else {
        let (smaller, dearer) = EACH[above - 1];
        dearer + (each - dearer) * (messages - smaller) as f64 / (size - smaller) as f64
    };
    (each * messages as f64 * MICROSECOND as f64) as u64
}
