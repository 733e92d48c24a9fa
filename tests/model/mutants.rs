//! Why each rule is there: the protocol with one rule broken, and the promise that breaks with it.
//!
//! Each test passes because the checker *finds* the run that goes wrong; run them with
//! `--nocapture` to read it. A few rules are there twice, and either will do: those mutants are
//! checked to live.

use super::properties::{
    COMMITTED, COMPLETE, CONSECUTIVE, ENDED_WITH_CAUSE, FENCED, RESYNC_WITH_CAUSE, check_with, refute,
};
use super::scenario::{Budget, Flaw, NO_FAULTS, Rule, Scenario};

/// One link may die.
const LINK: Budget = Budget { dead_links: 1, ..NO_FAULTS };

/// One api may die.
const API: Budget = Budget { writer_crashes: 1, ..NO_FAULTS };

/// Client 0's user may leave.
const LEAVING: Budget = Budget { membership_changes: 1, ..NO_FAULTS };

fn mutant(name: &'static str, budget: Budget) -> Scenario {
    Scenario { name, budget, ..Scenario::default() }
}

// The order of subscribing, and the checks of the head.

/// An event that is published between the reading and the subscription of the channel reaches
/// nobody, unless the confirmation is a reason to ask once more …
#[test]
fn store_is_read_before_the_channel_is_confirmed() {
    refute(
        &mutant("store first", NO_FAULTS),
        &[Flaw::StoreBeforeChannel, Flaw::ConfirmationUncheckedWithoutHead],
        COMPLETE,
    );
}

/// … so a gateway need not wait for a bus that is away, as long as it checks the head at *every*
/// confirmation, also while the first read is still under way.
#[test]
fn who_checks_at_every_confirmation_need_not_wait_for_it() {
    let scenario = mutant("no waiting", Budget { dead_links: 2, ..API });
    check_with(scenario, &[Flaw::StoreBeforeChannel], &[Rule::FillAskedAgain]);
}

/// Nobody reports the events published while the link was away, until the chat's next event
/// shows the hole.
#[test]
fn head_is_not_checked_after_the_link_came_back() {
    refute(&mutant("no head check", LINK), &[Flaw::NoHeadCheck], COMPLETE);
}

/// The link is up, the channel on it is not yet: what is published in between is lost after the
/// check.
#[test]
fn head_is_checked_before_the_channel_is_confirmed() {
    refute(&mutant("head check too early", LINK), &[Flaw::HeadCheckBeforeConfirmation], COMPLETE);
}

/// The feed has no head yet, but a first read is under way that ran before the link died: its
/// answer is too old.
#[test]
fn a_confirmation_during_the_first_read_is_not_checked() {
    refute(&mutant("first read", LINK), &[Flaw::ConfirmationUncheckedWithoutHead], COMPLETE);
}

/// Single flight, joined too late: the read that is under way ran before the event that was lost.
#[test]
fn head_check_is_content_with_a_read_under_way() {
    refute(&Scenario { events: 3, ..mutant("single flight", LINK) }, &[Flaw::HeadCheckJoinsRunningRead], COMPLETE);
}

/// A mute link tells nothing, its being mute least of all.
#[test]
fn a_mute_link_is_not_probed() {
    refute(&mutant("no probe", LINK), &[Flaw::DeadLinkNotFound], COMPLETE);
}

/// The bus was away, then the database for the moment in which it was asked.
#[test]
fn a_failed_fill_is_forgotten() {
    let budget = Budget { failed_reads: 1, ..LINK };
    refute(&mutant("failed fill", budget), &[Flaw::FailedFillForgotten], COMPLETE);
}

/// No flaw at all, but a fault that links do not show: the bus takes a message and has no link to
/// give it to. Only a beat that asks without cause finds it
/// (`a_sweep_finds_what_a_failover_lost`).
#[test]
fn a_failover_swallows_a_publish_and_nothing_sweeps() {
    let budget = Budget { lost_publishes: 1, ..NO_FAULTS };
    refute(&mutant("no sweep", budget), &[], COMPLETE);
}

/// A link to a primary that was lives on, and tells what its own clients publish.
#[test]
fn a_demoted_primary_passes_for_one() {
    let budget = Budget { failovers: 1, ..NO_FAULTS };
    refute(&mutant("demoted", budget), &[Flaw::DemotedLinkKept], COMPLETE);
}

/// No flaw at all: the gateway has left the primary that was, an api has not. No link shows that
/// (`two_primaries_at_once`, with a sweep).
#[test]
fn an_api_publishes_at_the_primary_that_was_and_nothing_sweeps() {
    let budget = Budget { failovers: 1, ..NO_FAULTS };
    refute(&mutant("api at the demoted", budget), &[], COMPLETE);
}

// The outbox.

/// An api that dies between removing the row and publishing takes the word of it along.
#[test]
fn outbox_row_is_removed_before_publishing() {
    refute(&mutant("outbox", API), &[Flaw::RemoveBeforePublish], COMPLETE);
}

#[test]
fn nobody_publishes_what_a_dead_api_left() {
    refute(&mutant("no relay", API), &[Flaw::NoRelay], COMPLETE);
}

/// The transaction may still fail, and its number go to another event.
#[test]
fn an_event_is_published_before_its_commit() {
    refute(&mutant("published early", NO_FAULTS), &[Flaw::PublishBeforeCommit], COMMITTED);
}

// Gaps.

#[test]
fn a_gap_is_taken_for_the_next_event() {
    refute(&mutant("gap", NO_FAULTS), &[Flaw::FeedJumpsGap, Flaw::SubscriptionTrustsFeed], CONSECUTIVE);
}

/// Either of the two alone is made good by the other, as long as nothing is kept in a ring …
#[test]
fn a_gap_is_seen_by_the_subscription_if_the_feed_does_not() {
    let gap = mutant("gap in the feed", LINK);
    check_with(gap, &[Flaw::FeedJumpsGap], &[Rule::CaughtUpFromLog]);
    let trust = mutant("trust in the feed", LINK);
    check_with(trust, &[Flaw::SubscriptionTrustsFeed], &[Rule::HeldOutOfOrder]);
}

/// … which then has a hole.
#[test]
fn a_gap_gets_into_the_ring() {
    refute(
        &Scenario { events: 3, ring: 3, send_queue: 1, ..mutant("gap in the ring", NO_FAULTS) },
        &[Flaw::FeedJumpsGap],
        CONSECUTIVE,
    );
}

/// A ring that reaches from before the jump to after it has a hole.
#[test]
fn the_ring_is_kept_over_a_resync() {
    let budget = Budget { prunes: 2, ..LINK };
    refute(
        &Scenario { events: 3, ring: 3, send_queue: 1, ..mutant("ring", budget) },
        &[Flaw::RingSurvivesJump],
        CONSECUTIVE,
    );
}

/// The events that the feed handed on during the replay came to no one.
#[test]
fn a_replay_ends_without_a_look_at_the_feed() {
    refute(&mutant("replay", NO_FAULTS), &[Flaw::LiveWithoutCompare], COMPLETE);
}

// Full queues.

#[test]
fn a_full_send_queue_drops_an_event() {
    refute(&Scenario { send_queue: 1, ..mutant("send queue", NO_FAULTS) }, &[Flaw::FullQueueDrops], CONSECUTIVE);
}

#[test]
fn a_full_queue_behind_the_bus_drops_an_event() {
    refute(&Scenario { inbound_queue: 1, ..mutant("inbound queue", NO_FAULTS) }, &[Flaw::OverflowDrops], COMPLETE);
}

/// The fill that is under way ran before the event that found no room.
#[test]
fn no_room_for_a_held_number_and_no_second_fill() {
    refute(
        &Scenario { events: 3, pending_limit: 1, ..mutant("pending", NO_FAULTS) },
        &[Flaw::FullPendingForgets],
        COMPLETE,
    );
}

// Answers about a cursor.

/// The client has seen more at another gateway than this one's feed has had so far.
#[test]
fn beyond_the_feed_is_taken_for_beyond_the_log() {
    let budget = Budget { cuts: 1, ..LINK };
    refute(&Scenario { gateways: 2, ..mutant("beyond", budget) }, &[Flaw::BeyondFeedHead], RESYNC_WITH_CAUSE);
}

/// Single flight again: the other's read ran before this client had seen its last event,
/// elsewhere.
#[test]
fn a_shared_read_is_believed_that_the_cursor_is_beyond() {
    let budget = Budget { cuts: 1, ..NO_FAULTS };
    refute(
        &Scenario { gateways: 2, clients: 2, shares_reads: true, ..mutant("shared read", budget) },
        &[Flaw::SharedAnswerSaysNo],
        RESYNC_WITH_CAUSE,
    );
}

/// And this one's user has become a member since.
#[test]
fn a_shared_read_is_believed_that_the_user_is_no_member() {
    let budget = Budget { membership_changes: 2, ..NO_FAULTS };
    refute(
        &Scenario { clients: 2, shares_reads: true, ..mutant("shared refusal", budget) },
        &[Flaw::SharedAnswerSaysNo],
        ENDED_WITH_CAUSE,
    );
}

/// A client unsubscribes and subscribes from further back, on one connection, while a read for it
/// is under way: the answer begins after the former cursor.
#[test]
fn the_answer_to_a_former_subscription_is_taken() {
    let budget = Budget { restarts: 1, ..NO_FAULTS };
    refute(&Scenario { page: 1, ..mutant("leftover", budget) }, &[Flaw::LeftoverTaken], CONSECUTIVE);
}

// The fence.

#[test]
fn the_removed_go_on_reading() {
    refute(&mutant("no fence", LEAVING), &[Flaw::NoFence], FENCED);
}

/// A client that left, was let in again and replays the time before is put out by an old leaving,
/// each time anew.
#[test]
fn an_old_leaving_ends_a_new_subscription() {
    let budget = Budget { membership_changes: 2, ..NO_FAULTS };
    refute(&mutant("old leaving", budget), &[Flaw::FenceIgnoresAdmission], ENDED_WITH_CAUSE);
}

/// The leaving falls between the two statements: the first says "member", the second counts it as
/// history.
#[test]
fn membership_is_read_before_the_head() {
    refute(&mutant("two statements", LEAVING), &[Flaw::MembershipThenHead], FENCED);
}

/// The leaving is among what retention took: nobody sees it go by.
#[test]
fn a_resync_jumps_over_the_fence() {
    let budget = Budget { prunes: 1, ..LEAVING };
    refute(&mutant("resync", budget), &[Flaw::ResyncKeepsAdmission], FENCED);
}

/// So it is where the feed itself tells the resync, to whoever is live …
#[test]
fn a_feed_jumps_over_the_fence() {
    let budget = Budget { prunes: 1, dead_links: 1, ..LEAVING };
    refute(&mutant("resync by the feed", budget), &[Flaw::FeedTellsResync], FENCED);
}

/// … and it tells it also to one whose own cursor the log still reaches.
#[test]
fn a_feed_speaks_for_cursors_that_are_ahead_of_it() {
    let budget = Budget { prunes: 1, ..LINK };
    refute(
        &Scenario { events: 3, ..mutant("resync by the feed", budget) },
        &[Flaw::FeedTellsResync],
        RESYNC_WITH_CAUSE,
    );
}

/// … and who has no room for it just then stays live, and gets the next event without a word of
/// the gap, if it takes what the feed hands on for the next one.
#[test]
fn a_feed_finds_no_room_for_its_resync() {
    let budget = Budget { prunes: 1, ..NO_FAULTS };
    refute(
        &Scenario { events: 3, send_queue: 1, ..mutant("no room for the resync", budget) },
        &[Flaw::FeedTellsResync, Flaw::SubscriptionTrustsFeed],
        CONSECUTIVE,
    );
}
