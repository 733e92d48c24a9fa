//! A server with a queue: what it is asked waits for a core, in the order in which it came.

use super::costs::SECOND;

/// What a server is asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Work {
    Messages,
    Limits,
    Presence,
    Statuses,
    Topics,
    Connections,
    Rights,
    Heads,
    Log,
    Tails,
    Relay,
}

impl Work {
    pub const ALL: [(Self, &'static str); 11] = [
        (Self::Messages, "messages"),
        (Self::Limits, "limits"),
        (Self::Presence, "presence"),
        (Self::Statuses, "statuses"),
        (Self::Topics, "topics"),
        (Self::Connections, "connections"),
        (Self::Rights, "rights"),
        (Self::Heads, "heads"),
        (Self::Log, "log"),
        (Self::Tails, "tails"),
        (Self::Relay, "relay"),
    ];
}

/// A second of a server.
#[derive(Clone, Copy, Default)]
pub struct Second {
    /// Nanoseconds of all its cores that were begun in it.
    pub busy: u64,
    /// What it was asked.
    pub asked: u64,
    /// The longest wait for a core.
    pub waited: u64,
}

/// See the module.
pub struct Server {
    /// When each core is free.
    cores: Vec<u64>,
    pub seconds: Vec<Second>,
    /// Nanoseconds by what they were for.
    pub by_work: [u64; Work::ALL.len()],
}

impl Server {
    pub fn new(cores: usize) -> Self {
        Self { cores: vec![0; cores], seconds: Vec::new(), by_work: [0; Work::ALL.len()] }
    }

    /// Serves something that costs so much. Returns when it is done.
    pub fn serve(&mut self, now: u64, work: Work, cost: u64) -> u64 {
        let core = self.cores.iter_mut().min().expect("a server has a core");
        let begins = now.max(*core);
        *core = begins + cost;
        let done = *core;
        self.second(now).asked += 1;
        let longest = &mut self.second(now).waited;
        *longest = (*longest).max(begins - now);
        // A long question is busy in all of its seconds.
        let mut from = begins;
        while from < done {
            let until = done.min((from / SECOND + 1) * SECOND);
            self.second(from).busy += until - from;
            from = until;
        }
        self.by_work[work as usize] += cost;
        done
    }

    /// It died: nothing waits any more.
    pub fn forget(&mut self, now: u64) {
        self.cores.fill(now);
    }

    fn second(&mut self, at: u64) -> &mut Second {
        let second = (at / SECOND) as usize;
        if self.seconds.len() <= second {
            self.seconds.resize(second + 1, Second::default());
        }
        &mut self.seconds[second]
    }
}
