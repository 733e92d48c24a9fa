//! A gateway's feed of the chat: puts what the bus tells into order, and asks the log for what the
//! bus forgot.
//!
//! In the code: `gateway::feed`, and `gateway::repair` that reads what it asks for. Whether a read
//! was enough the code knows by a number that the log is known to have reached; here the same is
//! [`Feed::pending`] and [`Feed::again`].

use super::scenario::{Flaw, Protocol, Rule};
use super::state::{Feed, Read, Seq, Stage, State};

/// Asks the log for what comes after the head, unless that is being done. Enough for a hole that
/// an envelope shows: whatever the running read's answer leaves open is asked for again when it
/// arrives.
fn ask(feed: &mut Feed) {
    feed.fill.get_or_insert(Read::Asked);
}

impl Protocol {
    /// The channel is confirmed: from now on, messages come. Earlier ones are for the log to
    /// tell, so the head is checked; and only now may waiting subscriptions read the store. Where
    /// nobody has begun to read it before, the check may be left out: those reads are it.
    pub(super) fn feed_confirmed(&self, s: &mut State, g: usize) {
        let Some(feed) = &mut s.gateways[g].feed else {
            return; // Of a channel left meanwhile.
        };
        if feed.confirmed {
            self.uses(Rule::ConfirmedTwice);
        }
        feed.confirmed = true;
        let headless = feed.head.is_none();
        if self.scenario.checks_first_confirmation || !self.nobody_has_read(s, g) {
            let unchecked = self.has(Flaw::NoHeadCheck)
                || self.has(Flaw::HeadCheckBeforeConfirmation)
                || (headless && self.has(Flaw::ConfirmationUncheckedWithoutHead));
            if !unchecked {
                self.head_check(s, g);
            }
        }
        for client in &mut s.clients {
            let stage = &mut client.subscription.stage;
            if client.gateway == Some(g) && *stage == Stage::AwaitingChannel {
                *stage = self.first_read();
            }
        }
    }

    /// Whether the feed has no head, and no subscription here is beyond waiting for the channel.
    fn nobody_has_read(&self, s: &State, g: usize) -> bool {
        let headless = s.gateways[g].feed.as_ref().is_some_and(|feed| feed.head.is_none());
        headless
            && s.clients
                .iter()
                .all(|client| client.gateway != Some(g) || client.subscription.stage == Stage::AwaitingChannel)
    }

    /// Asks the log for the head and what is new. A read that is already under way may have run
    /// before whatever was missed: it does not count, another one follows it.
    pub(super) fn head_check(&self, s: &mut State, g: usize) {
        if let Some(feed) = &mut s.gateways[g].feed {
            feed.again |= feed.fill.is_some() && !self.has(Flaw::HeadCheckJoinsRunningRead);
            ask(feed);
        }
    }

    /// The slow beat that compares heads without any cause.
    pub(super) fn sweep(&self, s: &mut State, g: usize) {
        self.uses(Rule::Swept);
        self.head_check(s, g);
    }

    /// The bus tells of `seq`, and brings it along.
    pub(super) fn feed_told(&self, s: &mut State, g: usize, seq: Seq) {
        let Some(feed) = &mut s.gateways[g].feed else {
            return; // Of a channel left meanwhile.
        };
        let head = feed.head;
        self.leaving_known(s, g, seq);
        match head {
            Some(head) if seq <= head => self.uses(Rule::DuplicateDropped),
            Some(head) if seq == head + 1 || self.has(Flaw::FeedJumpsGap) => {
                self.feed_accepts(s, g, seq);
                self.drain(s, g);
            }
            _ => self.hold(s, g, seq),
        }
    }

    /// Keeps `seq` for later, and asks for what is missing below it. One that finds no room is
    /// dropped; but it is known to be there, and a read under way may have run before it was:
    /// another one must follow.
    fn hold(&self, s: &mut State, g: usize, seq: Seq) {
        let limit = self.scenario.pending_limit;
        let Some(feed) = &mut s.gateways[g].feed else {
            return;
        };
        if feed.pending.len() >= limit && !feed.pending.contains(seq) {
            self.uses(Rule::PendingFull);
            if !self.has(Flaw::FullPendingForgets) {
                self.head_check(s, g);
            }
            return;
        }
        feed.pending.insert(seq);
        if feed.head.is_some() {
            self.uses(Rule::HeldOutOfOrder);
            ask(feed);
        }
    }

    /// Hands the next number on to every subscription here.
    fn feed_accepts(&self, s: &mut State, g: usize, seq: Seq) {
        if let Some(feed) = &mut s.gateways[g].feed {
            feed.head = Some(seq);
            feed.ring.insert(seq);
            feed.ring.forget_up_to(seq.saturating_sub(self.scenario.ring));
        }
        for c in 0..s.clients.len() {
            if s.clients[c].gateway == Some(g) {
                self.subscription_handed(s, c, seq);
            }
        }
    }

    /// Hands on what was held and is due now.
    fn drain(&self, s: &mut State, g: usize) {
        while let Some(feed) = &mut s.gateways[g].feed
            && let Some(head) = feed.head
        {
            feed.pending.forget_up_to(head);
            if !feed.pending.contains(head + 1) {
                break;
            }
            self.feed_accepts(s, g, head + 1);
        }
    }

    /// A first head, from whatever read of the store was first.
    pub(super) fn feed_learns_head(&self, s: &mut State, g: usize, head: Seq) {
        if let Some(feed) = &mut s.gateways[g].feed
            && feed.head.is_none()
        {
            feed.head = Some(head);
            self.drain(s, g);
            self.ask_for_the_rest(s, g, false);
        }
    }

    /// The log's answer, as of the moment at which it ran; the bus may have told more since.
    pub(super) fn fill_arrives(&self, s: &mut State, g: usize) {
        let Some(feed) = &mut s.gateways[g].feed else {
            return;
        };
        let Some(Read::Answered(answer)) = feed.fill.take() else {
            return;
        };
        let Some(head) = feed.head else {
            self.feed_learns_head(s, g, answer.head);
            self.ask_for_the_rest(s, g, false);
            return;
        };
        let mut more = false;
        if answer.floor > head {
            self.jump(s, g, answer.head);
        } else {
            let page_end = answer.head.min(head.saturating_add(self.scenario.page));
            more = page_end < answer.head;
            for seq in head + 1..=page_end {
                self.leaving_known(s, g, seq);
            }
            for seq in head + 1..=page_end {
                self.feed_accepts(s, g, seq);
            }
        }
        self.drain(s, g);
        self.ask_for_the_rest(s, g, more);
    }

    /// The log no longer reaches down to the head: go on from its present head. Every subscription
    /// finds out by its own cursor whether anything is lost to *it*, and reads its membership anew
    /// in doing so.
    fn jump(&self, s: &mut State, g: usize, to: Seq) {
        self.uses(Rule::HeadJumped);
        if let Some(feed) = &mut s.gateways[g].feed {
            feed.head = Some(to);
            if !self.has(Flaw::RingSurvivesJump) {
                feed.ring.forget_up_to(to);
            }
        }
        for c in 0..s.clients.len() {
            let client = &mut s.clients[c];
            let subscription = &mut client.subscription;
            if client.gateway != Some(g) || subscription.stage != Stage::Live || subscription.cursor >= to {
                continue;
            }
            if !self.has(Flaw::FeedTellsResync) {
                subscription.stage = Stage::Behind;
            } else if self.has_room(client) {
                self.tell_resync(s, c, to);
            }
        }
    }

    /// Another read, if a page was full, if a confirmation came during the last one, or if
    /// something is still held.
    fn ask_for_the_rest(&self, s: &mut State, g: usize, more: bool) {
        let Some(feed) = &mut s.gateways[g].feed else {
            return;
        };
        if feed.fill.is_some() {
            return;
        }
        let again = std::mem::take(&mut feed.again);
        if more {
            self.uses(Rule::PageFull);
        }
        if again {
            self.uses(Rule::FillAskedAgain);
        }
        if !feed.pending.is_empty() {
            self.uses(Rule::FillOlderThanEnvelope);
        }
        if more || again || !feed.pending.is_empty() {
            ask(feed);
        }
    }

    /// The store did not answer. (That it is asked again only after a pause is of no account here.)
    pub(super) fn fill_fails(&self, s: &mut State, g: usize) {
        if let Some(feed) = &mut s.gateways[g].feed {
            feed.fill = None;
            feed.again = false;
            if !self.has(Flaw::FailedFillForgotten) {
                self.uses(Rule::ReadRetried);
                ask(feed);
            }
        }
    }
}
