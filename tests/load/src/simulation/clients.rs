//! The clients: who follows which chat, what each has received, and when each comes back.

use super::costs::{MILLISECOND, SECOND};
use super::random::Random;

/// Chats that a client follows, and connections that follow a chat.
pub const FOLLOWS: usize = 4;
pub const READERS: usize = 5;
/// No gateway, or no subscription.
pub const NONE: u32 = u32::MAX;
/// A connection that stood so long begins the back-off anew.
const STEADY: u64 = 10 * SECOND;

/// A client's subscription to one of its chats.
#[derive(Clone, Copy)]
pub struct Slot {
    pub chat: u32,
    /// Its key in the chat's feed.
    pub key: u32,
    /// The last number that the client received; it names it when it subscribes again.
    pub last: Option<u32>,
    /// The head when its rights were checked: what is later is live.
    pub admitted: u32,
}

pub struct Client {
    pub gateway: u32,
    /// Counts its connections, so that what was meant for an earlier one is dropped.
    pub life: u32,
    /// Whether it was welcomed.
    pub open: bool,
    opened: u64,
    attempt: u32,
    pub slots: [Slot; FOLLOWS],
}

/// What a client receives instead of the next number.
pub enum Fault {
    Gap(u64),
    Double,
    Disorder,
}

impl Client {
    pub fn opened(&mut self, now: u64) {
        (self.open, self.opened) = (true, now);
    }

    /// Its connection was lost. Returns its back-off, as `clients/js` does it.
    pub fn lost(&mut self, now: u64, random: &mut Random) -> u64 {
        if self.open && now - self.opened >= STEADY {
            self.attempt = 0;
        }
        let longest = (500 << self.attempt.min(10)).min(30_000) * MILLISECOND;
        self.attempt += 1;
        self.left();
        random.up_to(longest)
    }

    pub fn left(&mut self) {
        self.life += 1;
        (self.gateway, self.open) = (NONE, false);
        for slot in &mut self.slots {
            slot.key = NONE;
        }
    }

    /// Takes a number.
    pub fn receive(&mut self, slot: usize, seq: i64) -> Option<Fault> {
        let (last, seq) = (&mut self.slots[slot].last, seq as u32);
        let expected = last.map_or(seq, |last| last + 1);
        let before = last.replace(seq);
        match seq {
            seq if seq == expected => None,
            seq if seq > expected => Some(Fault::Gap(u64::from(seq - expected))),
            seq if Some(seq) == before => Some(Fault::Double),
            _ => Some(Fault::Disorder),
        }
    }
}

/// Clients who each follow four chats, so that five follow each chat; and how many chats there are.
pub fn clients(count: usize, random: &mut Random) -> (Vec<Client>, usize) {
    let chats = (count * FOLLOWS).div_ceil(READERS);
    let mut follows: Vec<u32> = (0..count * FOLLOWS).map(|at| (at / READERS) as u32).collect();
    for at in (1..follows.len()).rev() {
        follows.swap(at, random.below(at + 1));
    }
    // Nobody follows a chat twice.
    let own = |at: usize| at / FOLLOWS * FOLLOWS..at / FOLLOWS * FOLLOWS + FOLLOWS;
    for at in 0..follows.len() {
        while own(at).any(|other| other < at && follows[other] == follows[at]) {
            let with = random.below(follows.len());
            let fits = |place: usize, chat: u32| own(place).all(|other| other == place || follows[other] != chat);
            if fits(with, follows[at]) && fits(at, follows[with]) {
                follows.swap(at, with);
            }
        }
    }
    let slot = |chat: &u32| Slot { chat: *chat, key: NONE, last: None, admitted: 0 };
    let client = |chats: &[u32]| Client {
        gateway: NONE,
        life: 0,
        open: false,
        opened: 0,
        attempt: 0,
        slots: std::array::from_fn(|at| slot(&chats[at])),
    };
    (follows.chunks(FOLLOWS).map(client).collect(), chats)
}
