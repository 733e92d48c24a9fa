//! The scenario of a check: the sizes of a run, what may go wrong in it, and which rule is broken
//! on purpose.

use std::sync::atomic::{AtomicU64, Ordering};

use super::state::Seq;

/// Sizes and faults of one exhaustive run. Small on purpose: a flaw of such a protocol shows with
/// two or three events, or it hides in a fault that the scenario does not have.
#[derive(Clone, Debug)]
#[allow(clippy::struct_excessive_bools, reason = "independent switches, each named where it is set")]
pub(super) struct Scenario {
    /// Printed with the counts.
    pub(super) name: &'static str,
    /// How many events are committed, at any moments (at most [`super::state::MAX_EVENTS`]).
    pub(super) events: Seq,
    pub(super) gateways: usize,
    pub(super) clients: usize,
    /// The `after_seq` that a client may have in its first `subscribe_chat`; all combinations
    /// are tried.
    pub(super) starts: &'static [Option<Seq>],
    /// Frames that wait for one connection; full: the subscription stops and catches up later.
    /// [`DIRECT`]: the client reads each frame in the step that sends it.
    pub(super) send_queue: usize,
    /// Pushes that wait between bus and feed; full: the link counts as lost. [`DIRECT`]: the feed
    /// has each push in the step that makes it.
    pub(super) inbound_queue: usize,
    /// The relay takes also rows whose api is alive and at work on them (a slow one), so that the
    /// bus has them twice.
    pub(super) relay_takes_all: bool,
    /// The head is checked also at a confirmation before which nobody here has read the store.
    pub(super) checks_first_confirmation: bool,
    /// Recent events that a feed keeps for replays; 0 for none.
    pub(super) ring: Seq,
    /// Numbers that a feed holds out of order.
    pub(super) pending_limit: usize,
    /// A subscription may use the answer of another one's read of the store.
    pub(super) shares_reads: bool,
    /// Events that one read of the log brings at most.
    pub(super) page: Seq,
    /// Whether a gateway leaves the channel when the last subscriber here is gone.
    pub(super) leaves_idle_channel: bool,
    /// Whether a gateway compares its heads with the store's at a slow beat, without any cause.
    pub(super) head_sweep: bool,
    pub(super) budget: Budget,
}

/// No queue: what is sent arrives in the same step.
///
/// A frame lost on its way with its connection is the same as a connection cut before the frame
/// was sent, a push lost with its link the same as a link dead before the publish, and a late one
/// the same as a late publish (its outbox row matters to nobody on the way). So a queue adds
/// nothing but states, except by its order among several gateways, by stale confirmations, and by
/// being full: the scenarios that are about those have one.
pub(super) const DIRECT: usize = 0;

/// How often each thing may still happen in a run. Every state with some of it unspent is also
/// checked as one where nothing goes wrong any more, because a quiescent state must be complete
/// whatever is left here.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) struct Budget {
    /// An api dies between commit, publish and removal of its outbox row.
    pub(super) writer_crashes: u8,
    /// A relay dies after publishing and before removing: the row is published twice.
    pub(super) relay_crashes: u8,
    /// A pub/sub link dies or goes mute: nothing comes through, and the gateway does not know it
    /// yet.
    pub(super) dead_links: u8,
    /// A client's connection is cut; what was under way to it is lost.
    pub(super) cuts: u8,
    /// A client subscribes anew, from the beginning, while a read for it is under way.
    pub(super) restarts: u8,
    /// A gateway dies with its feeds, its link and its connections.
    pub(super) gateway_crashes: u8,
    /// A read of the store fails (database away, restarted, too slow).
    pub(super) failed_reads: u8,
    /// The bus takes a message and tells nobody, though every link is well.
    pub(super) lost_publishes: u8,
    /// Another server becomes the bus's primary. Links and apis keep their connections to the one
    /// that was, which goes on telling what it is told; each leaves it when it finds out.
    pub(super) failovers: u8,
    /// Retention takes the oldest entry of the log.
    pub(super) prunes: u8,
    /// Commits that take client 0's user out of the chat, or back into it.
    pub(super) membership_changes: u8,
}

/// Nothing goes wrong, nobody leaves.
pub(super) const NO_FAULTS: Budget = Budget {
    writer_crashes: 0,
    relay_crashes: 0,
    dead_links: 0,
    cuts: 0,
    restarts: 0,
    gateway_crashes: 0,
    failed_reads: 0,
    lost_publishes: 0,
    failovers: 0,
    prunes: 0,
    membership_changes: 0,
};

impl Default for Scenario {
    fn default() -> Self {
        Self {
            name: "",
            events: 2,
            gateways: 1,
            clients: 1,
            starts: &[Some(0)],
            send_queue: DIRECT,
            inbound_queue: DIRECT,
            relay_takes_all: false,
            checks_first_confirmation: false,
            ring: 0,
            pending_limit: 8,
            shares_reads: false,
            page: 8,
            leaves_idle_channel: false,
            head_sweep: false,
            budget: NO_FAULTS,
        }
    }
}

/// A rule of the protocol that is broken on purpose. `mutants.rs` says what comes of each.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Flaw {
    /// The subscription reads the store at once, without waiting for the channel.
    StoreBeforeChannel,
    /// A confirmation is checked only by a feed that has a head already.
    ConfirmationUncheckedWithoutHead,
    /// No head check when the link came back.
    NoHeadCheck,
    /// The head is checked when the link is up again, not when the channel on it is confirmed.
    HeadCheckBeforeConfirmation,
    /// A head check is content with a read that is already under way (single flight joined too
    /// late).
    HeadCheckJoinsRunningRead,
    /// Nothing looks whether a quiet link is a dead one (no probe).
    DeadLinkNotFound,
    /// The probe writes nothing: a demoted primary passes for one.
    DemotedLinkKept,
    /// A fill that failed is not asked again.
    FailedFillForgotten,
    /// The outbox row goes first, the publish after it.
    RemoveBeforePublish,
    /// Nobody looks after the rows that a dead writer left.
    NoRelay,
    /// The envelope is published inside the transaction.
    PublishBeforeCommit,
    /// The feed takes `seq > head + 1` for the next one.
    FeedJumpsGap,
    /// The subscription delivers whatever the feed hands on that is above its cursor.
    SubscriptionTrustsFeed,
    /// After the replay the subscription goes live without a look at the feed's head.
    LiveWithoutCompare,
    /// A frame that does not fit into the send queue is dropped, and the cursor moves on.
    FullQueueDrops,
    /// A message that does not fit between link and feed is dropped on a link that goes on.
    OverflowDrops,
    /// An event that finds no room among the held ones is dropped without asking for it.
    FullPendingForgets,
    /// The answer to a former subscription's read is taken for the present one's.
    LeftoverTaken,
    /// The ring is kept when the head jumps.
    RingSurvivesJump,
    /// `after_seq` above the *feed's* head counts as beyond the head of the log.
    BeyondFeedHead,
    /// A shared answer is believed also where it says no: not a member, or beyond the head.
    SharedAnswerSaysNo,
    /// A member's leaving ends nothing.
    NoFence,
    /// Any leaving of one's own met in a replay ends the subscription, also one before the
    /// admission.
    FenceIgnoresAdmission,
    /// Membership is read in a statement of its own before head and floor are.
    MembershipThenHead,
    /// A feed that has to jump tells every live subscription a resync itself, if its queue has room
    /// for that.
    FeedTellsResync,
    /// A resync jumps over pruned events without asking whether the user is still a member.
    ResyncKeepsAdmission,
}

/// Rules whose use is counted, so that a run that never came near a rule does not pass for having
/// checked it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Rule {
    DuplicateDropped,
    HeldOutOfOrder,
    PendingFull,
    FillOlderThanEnvelope,
    FillAskedAgain,
    PageFull,
    HeadJumped,
    ResyncTold,
    CaughtUpFromLog,
    CaughtUpFromRing,
    SendQueueFull,
    LinkOverflowed,
    ConfirmedTwice,
    RelayPublished,
    ReadRetried,
    Refused,
    ReadShared,
    SharedAnswerDoubted,
    LeftoverDropped,
    FencedLive,
    FencedInReplay,
    FencedBefore,
    OldLeaveReplayed,
    CameBack,
    CursorAheadOfFeed,
    Swept,
    ToldOfOnePrimaryAlone,
}

/// The protocol under test, as stateright's model.
#[derive(Debug)]
pub(super) struct Protocol {
    pub(super) scenario: Scenario,
    pub(super) flaws: &'static [Flaw],
    used: AtomicU64,
}

impl Protocol {
    pub(super) fn new(scenario: Scenario, flaws: &'static [Flaw]) -> Self {
        Self { scenario, flaws, used: AtomicU64::new(0) }
    }

    pub(super) fn has(&self, flaw: Flaw) -> bool {
        self.flaws.contains(&flaw)
    }

    /// Notes that `rule` was applied. No part of the state: it only says what the whole run came
    /// across.
    pub(super) fn uses(&self, rule: Rule) {
        self.used.fetch_or(1 << rule as u32, Ordering::Relaxed);
    }

    pub(super) fn has_used(&self, rule: Rule) -> bool {
        self.used.load(Ordering::Relaxed) & (1 << rule as u32) != 0
    }
}
