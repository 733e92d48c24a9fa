//! Everything that the protocol remembers, and where: database, apis, bus links, gateways,
//! clients.
//!
//! One chat. Messages have no content: an event is its `seq`, and the only thing to know of it is
//! whether it moves client 0's user out of the chat or back.

use std::fmt;

use super::scenario::{Budget, Scenario};

/// A number of the chat's log: 1, 2, 3, … ; 0 stands before the first.
pub(super) type Seq = u8;

/// The most events that a scenario may have.
pub(super) const MAX_EVENTS: usize = 4;

/// A set of sequence numbers.
#[derive(Clone, Copy, Default, PartialEq, Eq, Hash)]
pub(super) struct Seqs(u8);

impl Seqs {
    pub(super) fn insert(&mut self, seq: Seq) {
        self.0 |= 1 << seq;
    }

    pub(super) fn remove(&mut self, seq: Seq) {
        self.0 &= !(1 << seq);
    }

    pub(super) fn contains(self, seq: Seq) -> bool {
        self.0 & (1 << seq) != 0
    }

    pub(super) fn is_empty(self) -> bool {
        self.0 == 0
    }

    pub(super) fn len(self) -> usize {
        self.0.count_ones() as usize
    }

    pub(super) fn first(self) -> Option<Seq> {
        self.iter().next()
    }

    /// Takes out all numbers up to `seq`.
    pub(super) fn forget_up_to(&mut self, seq: Seq) {
        self.0 &= !((2 << seq) - 1);
    }

    /// How many numbers up to `seq` are in the set.
    fn count_up_to(self, seq: Seq) -> u32 {
        (self.0 & ((2 << seq) - 1)).count_ones()
    }

    pub(super) fn iter(self) -> impl Iterator<Item = Seq> {
        (0..8).filter(move |&seq| self.contains(seq))
    }
}

/// The store: one chat's log with its outbox. A commit is one atomic step.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub(super) struct Database {
    /// The last committed number.
    pub(super) head: Seq,
    /// The last number that retention has taken: `floor + 1 ..= head` can be read.
    pub(super) floor: Seq,
    /// Rows that wait to be published.
    pub(super) outbox: Seqs,
    /// Events that take client 0's user out of the chat (1st, 3rd, …) or back into it (2nd, …).
    pub(super) membership_changes: Seqs,
}

impl Database {
    /// Whether the client's user is a member as of `seq`. All users are members at the start.
    pub(super) fn is_member(&self, client: usize, seq: Seq) -> bool {
        client != 0 || self.membership_changes.count_up_to(seq).is_multiple_of(2)
    }

    /// Whether `seq` is the event by which the client's user leaves.
    pub(super) fn is_leave(&self, client: usize, seq: Seq) -> bool {
        client == 0 && self.membership_changes.contains(seq) && !self.is_member(client, seq)
    }

    /// Whether the client's user leaves by an event above `after` and below `before`.
    pub(super) fn leaves_between(&self, client: usize, after: Seq, before: Seq) -> bool {
        (after + 1..before).any(|seq| self.is_leave(client, seq))
    }
}

/// The part of the log that one statement sees. Entries and membership as of `head` go with it:
/// they never change.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) struct Snapshot {
    pub(super) head: Seq,
    pub(super) floor: Seq,
}

/// A query under way. When it runs and when its answer is used are two moments, and anything
/// happens between.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum Read {
    Asked,
    Answered(Snapshot),
}

/// An api's work on one event.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub(super) enum Writer {
    /// Not begun.
    #[default]
    Idle,
    /// Published by a flawed api that has not committed yet.
    TooEarly,
    Committed,
    /// Published; the outbox row is still there.
    Published,
    /// Removed by a flawed api that has not published yet.
    Removed,
    /// Done, or dead.
    Gone,
}

/// The relay: a row is locked from claim to removal (`for update skip locked`), and freed by a
/// crash.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub(super) enum Relay {
    #[default]
    Idle,
    /// Published, and not removed yet. (A flawed one: removed, and not published yet.)
    Holding(Seq),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum Command {
    Subscribe,
    Unsubscribe,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum Push {
    /// The channel is confirmed: from here on its messages come.
    Subscribed,
    Envelope(Seq),
}

/// A gateway's pub/sub link, both ways in order.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub(super) struct Link {
    /// Dead or mute. Pushes that came before may still be read; nothing new comes.
    pub(super) deaf: bool,
    /// It leads to a server that is the primary no longer, and hears what is published there.
    pub(super) demoted: bool,
    /// Under way to the bus.
    pub(super) commands: Vec<Command>,
    /// The bus's belief.
    pub(super) subscribed: bool,
    /// Under way to the feed.
    pub(super) inbound: Vec<Push>,
}

/// A gateway's knowledge of the chat while somebody here is subscribed.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub(super) struct Feed {
    /// The channel is confirmed on the present link.
    pub(super) confirmed: bool,
    /// The last contiguous number handed on; none until the store was read once.
    pub(super) head: Option<Seq>,
    /// Numbers told out of order.
    pub(super) pending: Seqs,
    /// A read of the log after `head`, which is the head check too.
    pub(super) fill: Option<Read>,
    /// A confirmation came while `fill` was under way: its answer may be too old.
    pub(super) again: bool,
    /// The newest events, for replays: without a hole up to `head`.
    pub(super) ring: Seqs,
}

#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub(super) struct Gateway {
    pub(super) link: Link,
    pub(super) feed: Option<Feed>,
}

/// Where a subscription stands.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub(super) enum Stage {
    /// The channel is not confirmed yet.
    #[default]
    AwaitingChannel,
    /// Only with [`super::scenario::Flaw::MembershipThenHead`]: the first of two statements.
    Membership(Read),
    /// Membership, head and floor, in one statement.
    Admission(Read),
    /// Takes what the feed hands on.
    Live,
    /// Below what the feed has, or stopped by a full send queue: catches up when there is room.
    Behind,
    /// Has this answer under way from the log. (Waiting for it to be run is no different from being
    /// behind.)
    CatchUp { after: Seq, answer: Snapshot },
    /// Refused, or ended by the fence.
    Ended,
}

#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub(super) struct Subscription {
    pub(super) stage: Stage,
    /// The last number put into the send queue.
    pub(super) cursor: Seq,
    /// The head that admitted the user: leavings up to here are history, later ones the fence.
    pub(super) admitted: Seq,
    /// A leaving after it that is known, and is not reached: the log is read no further.
    pub(super) left_at: Option<Seq>,
    /// The store's answer was another subscription's, asked before this one came.
    pub(super) joined: bool,
    /// Ghost, for the properties alone: as of which number the user was truly seen to be a member;
    /// before that, the head of the log when the subscription was asked for.
    pub(super) granted: Seq,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum Frame {
    /// The answer to `subscribe_chat`.
    Subscribed { seq: Seq, resync: bool },
    /// Any sequenced event.
    Event(Seq),
    /// Events were lost beyond recovery; live ones follow after `seq`.
    Resync(Seq),
}

#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub(super) struct Client {
    /// The last number it has: its next `after_seq`.
    pub(super) seen: Option<Seq>,
    /// Where it is connected.
    pub(super) gateway: Option<usize>,
    /// The gateway's record of its subscription.
    pub(super) subscription: Subscription,
    /// A catch-up read that was on its way when its subscription ended.
    pub(super) leftover: Option<Stage>,
    /// The send queue and the socket: written, not read.
    pub(super) frames: Vec<Frame>,
}

/// A promise that was broken. A run stops where it finds one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum Breach {
    /// A client read `got` where `seen + 1` was due: a gap, or a double.
    NotConsecutive { seen: Seq, got: Seq },
    /// A resync that leads back.
    ResyncBackwards { seen: Seq, to: Seq },
    /// A resync was told although the log still had all that was missing.
    NeedlessResync { after: Seq },
    /// An event was sent that is not committed.
    Uncommitted(Seq),
    /// An event after the user's removal was sent to it.
    AfterRemoval(Seq),
    /// A subscription was ended, or refused, though the user was a member all the time since it was
    /// admitted, or asked for.
    UnjustEnd,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct State {
    pub(super) db: Database,
    /// By number, from 1.
    pub(super) writers: [Writer; MAX_EVENTS + 1],
    pub(super) relay: Relay,
    /// Some api still publishes at a server that is the primary no longer.
    pub(super) apis_demoted: bool,
    pub(super) gateways: Vec<Gateway>,
    pub(super) clients: Vec<Client>,
    pub(super) left: Budget,
    pub(super) breach: Option<Breach>,
}

impl State {
    /// The state before anything happened, once for each way in which the clients may start.
    pub(super) fn first(scenario: &Scenario) -> Vec<Self> {
        let mut starts = vec![Vec::new()];
        for _ in 0..scenario.clients {
            starts = starts
                .iter()
                .flat_map(|others| {
                    scenario.starts.iter().map(move |&seen| {
                        let mut clients: Vec<Client> = others.clone();
                        clients.push(Client { seen, ..Client::default() });
                        clients
                    })
                })
                .collect();
        }
        starts.into_iter().map(|clients| Self::with(scenario, clients)).collect()
    }

    fn with(scenario: &Scenario, clients: Vec<Client>) -> Self {
        Self {
            db: Database::default(),
            writers: [Writer::Idle; MAX_EVENTS + 1],
            relay: Relay::Idle,
            apis_demoted: false,
            gateways: vec![Gateway::default(); scenario.gateways],
            clients,
            left: scenario.budget,
            breach: None,
        }
    }

    /// The view of a statement that runs now.
    pub(super) fn snapshot(&self) -> Snapshot {
        Snapshot { head: self.db.head, floor: self.db.floor }
    }

    /// Keeps the first breach.
    pub(super) fn breaks(&mut self, breach: Breach) {
        self.breach.get_or_insert(breach);
    }
}

impl fmt::Debug for Seqs {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set().entries(self.iter()).finish()
    }
}

/// One line, for traces.
impl fmt::Display for State {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let db = &self.db;
        write!(f, "log {}..={} outbox {:?}", db.floor + 1, db.head, db.outbox)?;
        for (g, gateway) in self.gateways.iter().enumerate() {
            let deaf = if gateway.link.deaf { " deaf" } else { "" };
            write!(f, " | g{g}{deaf} in {:?}", gateway.link.inbound)?;
            if let Some(feed) = &gateway.feed {
                write!(f, " head {:?} pending {:?}", feed.head, feed.pending)?;
                if let Some(fill) = feed.fill {
                    write!(f, " fill {fill:?}")?;
                }
            }
        }
        for (c, client) in self.clients.iter().enumerate() {
            write!(f, " | c{c} seen {:?}", client.seen)?;
            if client.gateway.is_some() {
                write!(f, " {:?} cursor {}", client.subscription.stage, client.subscription.cursor)?;
            }
        }
        Ok(())
    }
}
