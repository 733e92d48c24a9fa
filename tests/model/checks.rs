//! The protocol as it is meant to be, under every fault: each scenario is visited whole, unless it
//! says otherwise.

use super::properties::{check, check_that_progress_ends, wander};
use super::scenario::{Budget, NO_FAULTS, Rule, Scenario};

/// Apis that die, links that die, two apis that publish out of order.
fn delivery() -> Scenario {
    Scenario {
        name: "delivery",
        events: 3,
        starts: &[Some(0), None],
        budget: Budget { writer_crashes: 1, dead_links: 1, ..NO_FAULTS },
        ..Scenario::default()
    }
}

#[test]
fn what_dead_apis_and_links_leave_behind_arrives() {
    check(
        delivery(),
        &[Rule::HeldOutOfOrder, Rule::FillOlderThanEnvelope, Rule::RelayPublished, Rule::CursorAheadOfFeed],
    );
}

#[test]
fn a_link_may_die_again_and_again() {
    check(
        Scenario { name: "links", budget: Budget { dead_links: 3, ..NO_FAULTS }, ..delivery() },
        &[Rule::FillAskedAgain],
    );
}

#[test]
fn a_check_at_the_first_confirmation_does_no_harm() {
    check(
        Scenario {
            name: "first confirmation",
            checks_first_confirmation: true,
            budget: Budget { dead_links: 1, ..NO_FAULTS },
            ..delivery()
        },
        &[Rule::FillAskedAgain],
    );
}

#[test]
fn a_relay_in_a_hurry_doubles_nothing() {
    check(
        Scenario {
            name: "relay",
            relay_takes_all: true,
            events: 2,
            budget: Budget { writer_crashes: 1, relay_crashes: 1, dead_links: 1, ..NO_FAULTS },
            ..delivery()
        },
        &[Rule::DuplicateDropped, Rule::RelayPublished],
    );
}

#[test]
fn clients_share_a_feed_and_a_read() {
    check(
        Scenario {
            name: "two clients",
            events: 2,
            clients: 2,
            shares_reads: true,
            ring: 1,
            starts: &[Some(0)],
            budget: Budget { membership_changes: 1, cuts: 1, ..NO_FAULTS },
            ..delivery()
        },
        &[Rule::ReadShared, Rule::SharedAnswerDoubted, Rule::CaughtUpFromRing],
    );
}

#[test]
fn a_client_goes_on_at_another_gateway() {
    check(
        Scenario {
            name: "two gateways",
            events: 2,
            gateways: 2,
            starts: &[Some(0)],
            budget: Budget { writer_crashes: 1, dead_links: 1, cuts: 1, ..NO_FAULTS },
            ..delivery()
        },
        &[Rule::RelayPublished, Rule::CursorAheadOfFeed],
    );
}

#[test]
fn a_gateway_dies() {
    check(
        Scenario {
            name: "gateway crash",
            gateways: 2,
            budget: Budget { gateway_crashes: 2, ..NO_FAULTS },
            ..delivery()
        },
        &[Rule::HeldOutOfOrder],
    );
}

#[test]
fn nothing_is_lost_in_queues() {
    check(
        Scenario {
            name: "queues",
            events: 2,
            gateways: 2,
            inbound_queue: 4,
            send_queue: 4,
            starts: &[Some(0)],
            budget: Budget { cuts: 1, dead_links: 1, ..NO_FAULTS },
            ..delivery()
        },
        &[Rule::HeldOutOfOrder],
    );
}

#[test]
fn a_channel_is_left_and_asked_for_again() {
    check(
        Scenario {
            name: "idle channel",
            events: 2,
            inbound_queue: 4,
            leaves_idle_channel: true,
            budget: Budget { cuts: 2, dead_links: 1, ..NO_FAULTS },
            ..delivery()
        },
        &[Rule::ConfirmedTwice],
    );
}

#[test]
fn a_full_queue_between_bus_and_feed_is_a_dead_link() {
    check(Scenario { name: "overflow", inbound_queue: 1, budget: NO_FAULTS, ..delivery() }, &[Rule::LinkOverflowed]);
}

#[test]
fn little_room_for_what_is_held_and_small_pages() {
    check(
        Scenario {
            name: "small room",
            pending_limit: 1,
            page: 1,
            events: 4,
            budget: Budget { dead_links: 1, ..NO_FAULTS },
            ..delivery()
        },
        &[Rule::PendingFull, Rule::PageFull],
    );
}

#[test]
fn a_slow_reader_catches_up() {
    check(
        Scenario {
            name: "slow reader",
            send_queue: 1,
            ring: 1,
            budget: Budget { dead_links: 1, cuts: 1, ..NO_FAULTS },
            ..delivery()
        },
        &[Rule::SendQueueFull, Rule::CaughtUpFromRing, Rule::CaughtUpFromLog],
    );
}

#[test]
fn a_client_starts_over_while_it_catches_up() {
    check(
        Scenario {
            name: "starting over",
            starts: &[Some(0)],
            budget: Budget { restarts: 2, dead_links: 1, ..NO_FAULTS },
            ..delivery()
        },
        &[Rule::LeftoverDropped, Rule::CaughtUpFromLog],
    );
}

#[test]
fn what_retention_took_is_told() {
    check(
        Scenario {
            name: "retention",
            starts: &[Some(0), None, Some(6)],
            ring: 2,
            budget: Budget { prunes: 2, dead_links: 1, cuts: 1, ..NO_FAULTS },
            ..delivery()
        },
        &[Rule::HeadJumped, Rule::ResyncTold, Rule::CaughtUpFromRing],
    );
}

#[test]
fn the_database_is_away_for_a_while() {
    check(
        Scenario {
            name: "database away",
            budget: Budget { failed_reads: 2, dead_links: 2, ..NO_FAULTS },
            ..delivery()
        },
        &[Rule::ReadRetried],
    );
}

#[test]
fn nothing_comes_after_the_removal() {
    check(
        Scenario {
            name: "removal",
            events: 4,
            starts: &[Some(0)],
            budget: Budget { membership_changes: 2, dead_links: 1, ..NO_FAULTS },
            ..delivery()
        },
        &[Rule::FencedLive, Rule::FencedInReplay, Rule::OldLeaveReplayed, Rule::CameBack, Rule::Refused],
    );
}

#[test]
fn nothing_comes_after_the_removal_of_a_slow_reader() {
    check(
        Scenario {
            name: "removal of a slow reader",
            send_queue: 1,
            ring: 1,
            starts: &[Some(0)],
            budget: Budget { membership_changes: 2, dead_links: 1, prunes: 1, ..NO_FAULTS },
            ..delivery()
        },
        &[Rule::FencedInReplay, Rule::ResyncTold],
    );
}

/// A bus that takes a message and gives it to nobody, while every link is well, is beyond what
/// links can tell: see the mutant without a sweep.
#[test]
fn a_sweep_finds_what_a_failover_lost() {
    check(
        Scenario {
            name: "failover",
            head_sweep: true,
            budget: Budget { lost_publishes: 2, dead_links: 1, ..NO_FAULTS },
            ..delivery()
        },
        &[Rule::Swept],
    );
}

/// Apis and gateways leave the primary that was each at its own time: some of what is published in
/// between is told at one of the two alone.
#[test]
fn two_primaries_at_once() {
    check(
        Scenario {
            name: "two primaries",
            gateways: 2,
            events: 2,
            starts: &[Some(0)],
            head_sweep: true,
            budget: Budget { failovers: 1, ..NO_FAULTS },
            ..delivery()
        },
        &[Rule::ToldOfOnePrimaryAlone, Rule::Swept],
    );
    check(
        Scenario {
            name: "two failovers",
            head_sweep: true,
            events: 2,
            starts: &[Some(0)],
            budget: Budget { failovers: 2, dead_links: 1, writer_crashes: 1, ..NO_FAULTS },
            ..delivery()
        },
        &[Rule::ToldOfOnePrimaryAlone, Rule::Swept, Rule::RelayPublished],
    );
}

#[test]
fn no_run_goes_in_circles() {
    check_that_progress_ends(Scenario {
        name: "circles",
        gateways: 2,
        events: 2,
        send_queue: 1,
        budget: Budget { writer_crashes: 1, cuts: 1, ..NO_FAULTS },
        ..delivery()
    });
    check_that_progress_ends(Scenario {
        name: "circles, with removals and retention",
        events: 2,
        budget: Budget { membership_changes: 2, dead_links: 1, prunes: 1, failed_reads: 1, ..NO_FAULTS },
        ..delivery()
    });
}

/// Everything at once is too much to visit whole.
#[test]
fn random_runs_of_all_together() {
    wander(
        Scenario {
            name: "all together",
            events: 4,
            gateways: 2,
            clients: 2,
            starts: &[Some(0), None, Some(6)],
            send_queue: 2,
            inbound_queue: 3,
            relay_takes_all: true,
            ring: 2,
            pending_limit: 2,
            shares_reads: true,
            page: 2,
            leaves_idle_channel: true,
            head_sweep: true,
            budget: Budget {
                writer_crashes: 1,
                relay_crashes: 1,
                dead_links: 2,
                cuts: 2,
                restarts: 1,
                gateway_crashes: 1,
                failed_reads: 1,
                lost_publishes: 1,
                failovers: 1,
                prunes: 2,
                membership_changes: 3,
            },
            ..Scenario::default()
        },
        1,
        400_000,
    );
}
