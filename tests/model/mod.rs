//! A model of the delivery protocol, checked exhaustively for small sizes (guarantees G1, G2, G3,
//! G6, G7).
//!
//! # The protocol
//!
//! The log in the database is the truth; the bus only says that there may be more, and usually
//! brings it along.
//!
//! 1. **An api** commits number, log entry and outbox row in one transaction, publishes the event,
//!    removes the row. It may die anywhere in between; **a relay** publishes what it left. So the
//!    bus gets each event at least once, in any order.
//! 2. **The bus** hands a message to the links that are subscribed at that moment, and forgets it.
//!    A link may die, or go mute unnoticed for a while. On a new link every wanted channel is
//!    asked for again, and each is *confirmed*.
//! 3. **A gateway's feed** puts the numbers into one sequence: up to its head dropped, the next
//!    one handed on, a later one held while the log is asked for what is missing. It asks the log
//!    too at every confirmation, because nobody else will tell what was missed before; a read
//!    under way does not count for that, another one follows.
//! 4. **A subscription** is a cursor. First the channel is confirmed, *then* membership and head
//!    are read in one statement, *then* the log is replayed, and when the cursor has reached the
//!    feed's head it is live. Whenever it is behind (a slow reader, a hole) it reads the log from
//!    its cursor. Where the log does not reach back any more it says `resync`, and membership is
//!    read anew.
//! 5. **The fence**: the user's own `member_left` is an event of the same log, and the last one
//!    that is delivered; but only one after the snapshot that admitted the subscription. Once it is
//!    known, one that is behind reads the log no further: the log has the texts of now.
//! 6. **A full queue** is never a loss: a full send queue makes the subscription behind, a full
//!    queue between bus and feed is a dead link, a full set of held numbers is a reason to ask the
//!    log again.
//!
//! # Model and code
//!
//! | here | there |
//! |---|---|
//! | [`state::Database`], `commit` in `bus.rs` | `common::store`, `common::service` |
//! | [`state::Writer`], its steps in `bus.rs` | `common::relay`, the publisher |
//! | [`state::Relay`], its steps in `bus.rs` | `common::relay`, the outbox |
//! | [`state::Link`], its steps in `bus.rs` | `common::bus`: session, subscriptions, events |
//! | [`state::Feed`], `feed.rs` | `gateway::feed`, `gateway::repair` |
//! | [`state::Subscription`], `subscription.rs` | `gateway::{feed, subscription, reads}` |
//! | [`state::Client`], `client.rs` | `gateway::conn` and whoever is at its other end |
//!
//! Read `state.rs` for what is remembered where, `actions.rs` for what can happen, `feed.rs`,
//! `subscription.rs` and `fence.rs` for the rules, `lockstep.rs` for how the gateway's own feed is
//! held against them, `checks.rs` for what is tried, `mutants.rs` for why each rule is there: it
//! breaks one at a time and shows what is lost with it.
//!
//! # What is checked, and what is taken for granted
//!
//! `properties.rs` has the promises. "All reach the head when faults stop" is checked as: every
//! state in which nothing is left to be done of itself is complete, whatever commits and faults
//! could still come. That every run gets to such a state, because none goes in circles, is checked
//! in two of the smaller scenarios (`no_run_goes_in_circles`). Each scenario visits all its states
//! and prints how many (states are told apart by hashes of 64 bits); only
//! `random_runs_of_all_together` is a sample. Bounds: up to 4 events, 2 gateways, 2 clients, and
//! each scenario's budget.
//!
//! Taken for granted: a commit is atomic and lasts (`history.rs` has those that do not); a
//! statement sees one moment; what failed is tried again; a dead link, *and a channel dead on a
//! link that lives*, is found at some time; a slow beat beats. There is no clock: "within 2 s" is
//! for the tests on real processes. One chat: chats share nothing but links and connections.
//! A text is not in the model: what [`scenario::Rule::FencedBefore`] is for,
//! `guarantees/g6_behind.rs` shows.

#![allow(
    clippy::unused_self,
    reason = "every step is a method of the protocol, whether or not one of its rules decides in it"
)]

mod actions;
mod bus;
mod checks;
mod client;
mod feed;
mod fence;
mod history;
mod lockstep;
mod mutants;
mod properties;
mod scenario;
mod state;
mod subscription;
