//! The way of an event from its commit to the gateways: apis with their outbox, the relay, the bus
//! and its links.
//!
//! In the code: `common::service` (commit, publish, remove), `common::relay`, `common::bus`.

use super::scenario::DIRECT;
use super::scenario::{Flaw, Protocol, Rule};
use super::state::{Command, Gateway, Link, Push, Relay, Seq, State, Writer};

impl Protocol {
    /// Log entry, number and outbox row in one transaction. Order of numbers is order of commits.
    pub(super) fn commit(&self, s: &mut State, changes_membership: bool) {
        s.db.head += 1;
        let seq = s.db.head;
        s.db.outbox.insert(seq);
        if changes_membership {
            s.left.membership_changes -= 1;
            s.db.membership_changes.insert(seq);
        }
        let writer = &mut s.writers[usize::from(seq)];
        *writer = match writer {
            Writer::TooEarly => Writer::Published,
            _ => Writer::Committed,
        };
    }

    /// The api's own publish. Nothing holds two apis to the order of their commits.
    pub(super) fn writer_publishes(&self, s: &mut State, seq: Seq, at_demoted: bool) {
        self.writer_has_published(s, seq);
        self.publish_at(s, seq, at_demoted);
    }

    /// The bus has another primary. Whoever is connected stays where it was, and finds out by a
    /// write that is refused.
    pub(super) fn fail_over(&self, s: &mut State) {
        s.apis_demoted = true;
        for gateway in &mut s.gateways {
            gateway.link.demoted = true;
        }
    }

    pub(super) fn writer_has_published(&self, s: &mut State, seq: Seq) {
        s.writers[usize::from(seq)] = match s.writers[usize::from(seq)] {
            Writer::Removed => Writer::Gone,
            _ => Writer::Published,
        };
        // Where nobody can meet the row any more, its removal needs no step of its own.
        if s.left.writer_crashes == 0 && !self.scenario.relay_takes_all {
            self.writer_removes(s, seq);
        }
    }

    pub(super) fn writer_removes(&self, s: &mut State, seq: Seq) {
        s.db.outbox.remove(seq);
        let writer = &mut s.writers[usize::from(seq)];
        *writer = match writer {
            Writer::Committed => Writer::Removed,
            _ => Writer::Gone,
        };
    }

    /// Rows whose api is dead, in time; also those of a slow one.
    pub(super) fn is_for_the_relay(&self, s: &State, seq: Seq) -> bool {
        self.scenario.relay_takes_all || s.writers[usize::from(seq)] == Writer::Gone
    }

    /// The relay takes a row, in any order. Claim and publish are one step: nobody else can tell
    /// the moment between.
    pub(super) fn relay_takes(&self, s: &mut State, seq: Seq) {
        self.uses(Rule::RelayPublished);
        s.relay = Relay::Holding(seq);
        if self.has(Flaw::RemoveBeforePublish) {
            s.db.outbox.remove(seq);
        } else {
            self.publish(s, seq);
        }
        if s.left.relay_crashes == 0 && !self.scenario.relay_takes_all {
            self.relay_finishes(s);
        }
    }

    pub(super) fn relay_finishes(&self, s: &mut State) {
        if let Relay::Holding(seq) = std::mem::take(&mut s.relay) {
            if self.has(Flaw::RemoveBeforePublish) {
                self.publish(s, seq);
            } else {
                s.db.outbox.remove(seq);
            }
        }
    }

    /// To every link that is subscribed at this moment, in the order in which the bus got it; else
    /// it is forgotten.
    ///
    /// A link whose reader does not keep up is given up as lost (so does Redis with its output
    /// buffer limit): one message dropped on a link that goes on would be a loss that nothing
    /// tells.
    pub(super) fn publish(&self, s: &mut State, seq: Seq) {
        self.publish_at(s, seq, false);
    }

    fn publish_at(&self, s: &mut State, seq: Seq, at_demoted: bool) {
        for g in 0..s.gateways.len() {
            let link = &mut s.gateways[g].link;
            if link.deaf || !link.subscribed {
                continue;
            }
            if link.demoted != at_demoted {
                self.uses(Rule::ToldOfOnePrimaryAlone);
                continue;
            }
            if self.scenario.inbound_queue == DIRECT {
                self.feed_told(s, g, seq);
            } else if link.inbound.len() < self.scenario.inbound_queue {
                link.inbound.push(Push::Envelope(seq));
            } else {
                self.uses(Rule::LinkOverflowed);
                link.deaf = !self.has(Flaw::OverflowDrops);
            }
        }
    }

    /// Sends a command, into the void if the link is dead.
    pub(super) fn command(&self, s: &mut State, g: usize, command: Command) {
        let link = &mut s.gateways[g].link;
        if !link.deaf {
            link.commands.push(command);
        }
    }

    /// The bus executes the gateway's next command. Its confirmation stands in the same stream as
    /// the messages.
    pub(super) fn bus_executes(&self, s: &mut State, g: usize) {
        let link = &mut s.gateways[g].link;
        match link.commands.remove(0) {
            Command::Subscribe => {
                link.subscribed = true;
                if self.scenario.inbound_queue == DIRECT {
                    self.feed_confirmed(s, g);
                } else {
                    link.inbound.push(Push::Subscribed);
                }
            }
            Command::Unsubscribe => link.subscribed = false,
        }
    }

    /// By its disconnection, or by a probe that did not come back: a new link, on which every
    /// wanted channel is asked for anew. Until it is confirmed, nobody may rely on it.
    pub(super) fn dead_link_found(&self, s: &mut State, g: usize) {
        let gateway = &mut s.gateways[g];
        gateway.link = Link::default();
        if let Some(feed) = &mut gateway.feed {
            feed.confirmed = false;
            self.command(s, g, Command::Subscribe);
            if self.has(Flaw::HeadCheckBeforeConfirmation) {
                self.head_check(s, g);
            }
        }
    }

    pub(super) fn gateway_receives(&self, s: &mut State, g: usize) {
        match s.gateways[g].link.inbound.remove(0) {
            Push::Subscribed => self.feed_confirmed(s, g),
            Push::Envelope(seq) => self.feed_told(s, g, seq),
        }
    }

    pub(super) fn crash_gateway(&self, s: &mut State, g: usize) {
        for c in 0..s.clients.len() {
            if s.clients[c].gateway == Some(g) {
                self.disconnect(s, c);
            }
        }
        s.gateways[g] = Gateway::default();
    }
}
