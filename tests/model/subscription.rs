//! A subscription: a cursor over the chat's log. In the code: `gateway::feed`, with
//! `gateway::subscription`.

use super::scenario::{Flaw, Protocol, Rule};
use super::state::{Breach, Frame, Read, Seq, Snapshot, Stage, State, Subscription};

impl Protocol {
    /// `subscribe_chat`: the channel first.
    pub(super) fn subscribe(&self, s: &mut State, c: usize, g: usize) {
        let confirmed = s.gateways[g].feed.as_ref().is_some_and(|f| f.confirmed);
        let head = s.db.head;
        let client = &mut s.clients[c];
        client.subscription = Subscription { granted: head, ..Subscription::default() };
        if confirmed || self.has(Flaw::StoreBeforeChannel) {
            client.subscription.stage = self.first_read();
        }
    }

    /// A subscription's first question to the store, once the channel is confirmed.
    pub(super) fn first_read(&self) -> Stage {
        if self.has(Flaw::MembershipThenHead) { Stage::Membership(Read::Asked) } else { Stage::Admission(Read::Asked) }
    }

    pub(super) fn subscription_read_runs(&self, s: &mut State, c: usize) {
        let answer = Read::Answered(s.snapshot());
        let stage = &mut s.clients[c].subscription.stage;
        *stage = match *stage {
            Stage::Membership(_) => Stage::Membership(answer),
            Stage::Admission(_) => Stage::Admission(answer),
            other => other,
        };
    }

    /// The client is told `unavailable` and asks again, or the subscription does.
    pub(super) fn subscription_read_fails(&self, s: &mut State, c: usize) {
        self.uses(Rule::ReadRetried);
        let stage = &mut s.clients[c].subscription.stage;
        *stage = match stage {
            Stage::Admission(_) => Stage::Admission(Read::Asked),
            _ => Stage::Behind,
        };
    }

    pub(super) fn subscription_read_arrives(&self, s: &mut State, c: usize) {
        match s.clients[c].subscription.stage {
            Stage::Membership(Read::Answered(seen)) if s.db.is_member(c, seen.head) => {
                let subscription = &mut s.clients[c].subscription;
                subscription.granted = seen.head;
                subscription.stage = Stage::Admission(Read::Asked);
            }
            Stage::Membership(Read::Answered(_)) => self.refuse(s, c),
            Stage::Admission(Read::Answered(answer)) => self.admit(s, c, answer),
            Stage::CatchUp { after, answer } => self.replay(s, c, after, answer),
            _ => {}
        }
    }

    fn refuse(&self, s: &mut State, c: usize) {
        self.uses(Rule::Refused);
        let since = s.clients[c].subscription.granted;
        if (since..=s.db.head).all(|seq| s.db.is_member(c, seq)) {
            s.breaks(Breach::UnjustEnd);
        }
        s.clients[c].subscription.stage = Stage::Ended;
    }

    /// Membership and head are there, as of one moment: the cursor starts.
    fn admit(&self, s: &mut State, c: usize, answer: Snapshot) {
        let in_two_statements = self.has(Flaw::MembershipThenHead);
        if self.is_doubtful(s, c, answer) {
            let subscription = &mut s.clients[c].subscription;
            subscription.stage = Stage::Admission(Read::Asked);
            subscription.joined = false;
            return;
        }
        if !in_two_statements && !s.db.is_member(c, answer.head) {
            self.refuse(s, c);
            return;
        }
        let Some(g) = s.clients[c].gateway else {
            return;
        };
        self.feed_learns_head(s, g, answer.head);
        let end = match &s.gateways[g].feed {
            Some(feed) if self.has(Flaw::BeyondFeedHead) => feed.head.unwrap_or(answer.head),
            _ => answer.head,
        };
        let after = s.clients[c].seen;
        let resync = after.is_some_and(|after| after > end || after < answer.floor);
        if let Some(after) = after
            && resync
            && (s.db.floor..=s.db.head).contains(&after)
        {
            s.breaks(Breach::NeedlessResync { after });
        }
        if resync {
            self.uses(Rule::ResyncTold);
        }
        let told = Frame::Subscribed { seq: answer.head, resync };
        self.send(s, c, told);
        let subscription = &mut s.clients[c].subscription;
        subscription.cursor = match after {
            Some(after) if !resync => after,
            _ => answer.head,
        };
        subscription.admitted = answer.head;
        subscription.joined = false;
        subscription.stage = Stage::Behind;
        // One that came while the store was asked.
        let known = s.gateways[g].feed.as_ref().map(|feed| (feed.ring, feed.pending));
        for seq in known.into_iter().flat_map(|(ring, pending)| ring.iter().chain(pending.iter())) {
            self.leaving_known(s, g, seq);
        }
        let subscription = &mut s.clients[c].subscription;
        if !in_two_statements {
            subscription.granted = answer.head;
        }
        self.go_live(s, c);
    }

    /// A shared answer may be older than the question. Where it says yes, what it lacks comes after
    /// it, the fence included; where it says no, it may be wrong already, and the subscription asks
    /// for itself.
    fn is_doubtful(&self, s: &State, c: usize, answer: Snapshot) -> bool {
        let client = &s.clients[c];
        let says_no = !s.db.is_member(c, answer.head) || client.seen.is_some_and(|after| after > answer.head);
        let doubtful = client.subscription.joined && says_no;
        if doubtful {
            self.uses(Rule::SharedAnswerDoubted);
        }
        doubtful && !self.has(Flaw::SharedAnswerSaysNo)
    }

    /// Another subscription's answer that is on its way here, and could serve this one too.
    pub(super) fn answer_to_share(&self, s: &State, c: usize) -> Option<Snapshot> {
        let client = &s.clients[c];
        if !self.scenario.shares_reads || client.subscription.stage != Stage::Admission(Read::Asked) {
            return None;
        }
        s.clients.iter().find_map(|other| match other.subscription.stage {
            Stage::Admission(Read::Answered(answer)) if other.gateway == client.gateway => Some(answer),
            _ => None,
        })
    }

    pub(super) fn share_read(&self, s: &mut State, c: usize) {
        if let Some(answer) = self.answer_to_share(s, c) {
            self.uses(Rule::ReadShared);
            let subscription = &mut s.clients[c].subscription;
            subscription.stage = Stage::Admission(Read::Answered(answer));
            subscription.joined = true;
        }
    }

    /// Live, if neither the admission nor the feed has seen more than the cursor; else there is
    /// more to catch up. Events that the feed handed on during a replay were not kept, so its
    /// head decides.
    fn go_live(&self, s: &mut State, c: usize) {
        let Some(g) = s.clients[c].gateway else {
            return;
        };
        let head = s.gateways[g].feed.as_ref().and_then(|feed| feed.head);
        let subscription = &mut s.clients[c].subscription;
        if matches!(subscription.stage, Stage::Ended) {
            return;
        }
        let feed_has_more = head.is_some_and(|head| head > subscription.cursor);
        if head.is_some_and(|head| head < subscription.cursor) {
            self.uses(Rule::CursorAheadOfFeed);
        }
        let behind =
            subscription.admitted > subscription.cursor || (feed_has_more && !self.has(Flaw::LiveWithoutCompare));
        subscription.stage = if behind { Stage::Behind } else { Stage::Live };
    }

    /// The feed hands `seq` on.
    pub(super) fn subscription_handed(&self, s: &mut State, c: usize, seq: Seq) {
        let client = &s.clients[c];
        let subscription = &client.subscription;
        let cursor = subscription.cursor;
        match subscription.stage {
            Stage::Live if seq <= cursor => {}
            Stage::Live if seq == cursor + 1 || self.has(Flaw::SubscriptionTrustsFeed) => {
                if self.has_room(client) {
                    self.deliver(s, c, seq);
                    if s.clients[c].subscription.stage == Stage::Ended {
                        self.uses(Rule::FencedLive);
                    }
                } else if self.has(Flaw::FullQueueDrops) {
                    s.clients[c].subscription.cursor = seq;
                } else {
                    self.uses(Rule::SendQueueFull);
                    s.clients[c].subscription.stage = Stage::Behind;
                }
            }
            Stage::Live => s.clients[c].subscription.stage = Stage::Behind,
            // One that is behind comes to this number by its cursor, and ends there if it is its
            // user's removal; or before it, where the ring does not reach down to it.
            Stage::Behind
            | Stage::CatchUp { .. }
            | Stage::AwaitingChannel
            | Stage::Membership(_)
            | Stage::Admission(_)
            | Stage::Ended => {}
        }
    }

    /// There is room again: from the ring at once, if it reaches down to the cursor, else from the
    /// log.
    pub(super) fn catch_up(&self, s: &mut State, c: usize) {
        self.go_live(s, c);
        if s.clients[c].subscription.stage == Stage::Live {
            return;
        }
        let cursor = s.clients[c].subscription.cursor;
        let from_ring = s.clients[c].gateway.and_then(|g| {
            let feed = s.gateways[g].feed.as_ref()?;
            let reaches_down = feed.ring.first().is_some_and(|first| first <= cursor + 1);
            let has_more = feed.head.is_some_and(|head| head > cursor);
            (reaches_down && has_more).then_some(feed.ring)
        });
        if let Some(ring) = from_ring {
            self.uses(Rule::CaughtUpFromRing);
            self.send_all(s, c, ring.iter().filter(|&seq| seq > cursor));
            self.go_live(s, c);
        } else if s.clients[c].subscription.left_at.is_some() {
            self.uses(Rule::FencedBefore);
            self.end(s, c);
        } else {
            s.clients[c].subscription.stage = Stage::CatchUp { after: cursor, answer: s.snapshot() };
        }
    }

    /// The log's answer after the cursor, which was `after` when it was asked, and is so still.
    pub(super) fn replay(&self, s: &mut State, c: usize, after: Seq, answer: Snapshot) {
        let Subscription { cursor, left_at, .. } = s.clients[c].subscription;
        if left_at.is_some() {
            s.clients[c].subscription.stage = Stage::Behind;
            self.catch_up(s, c);
            return;
        }
        if answer.floor > cursor {
            self.resync(s, c, answer);
            return;
        }
        self.uses(Rule::CaughtUpFromLog);
        let page_end = answer.head.min(after.saturating_add(self.scenario.page));
        if self.send_all(s, c, (after + 1..=page_end).filter(|&seq| seq > cursor)) {
            self.go_live(s, c);
        } else {
            s.clients[c].subscription.stage = Stage::Behind;
        }
    }

    /// Events were lost beyond recovery. One's own leaving may have been among them: the statement
    /// that found the log too short tells the membership too, and going on is a new admission.
    fn resync(&self, s: &mut State, c: usize, answer: Snapshot) {
        self.uses(Rule::ResyncTold);
        let keeps = self.has(Flaw::ResyncKeepsAdmission);
        if !keeps && !s.db.is_member(c, answer.head) {
            self.refuse(s, c);
            return;
        }
        self.tell_resync(s, c, answer.head);
        if !keeps {
            let subscription = &mut s.clients[c].subscription;
            subscription.admitted = answer.head;
            subscription.granted = answer.head;
            subscription.left_at = subscription.left_at.filter(|leaving| *leaving > answer.head);
        }
        self.go_live(s, c);
    }

    pub(super) fn tell_resync(&self, s: &mut State, c: usize, to: Seq) {
        let after = s.clients[c].subscription.cursor;
        if after >= s.db.floor {
            s.breaks(Breach::NeedlessResync { after });
        }
        self.send(s, c, Frame::Resync(to));
        s.clients[c].subscription.cursor = to;
    }

    /// As many of the next events as fit; the rest stays for when there is room. Whether all did.
    fn send_all(&self, s: &mut State, c: usize, events: impl Iterator<Item = Seq>) -> bool {
        for seq in events {
            if !self.has_room(&s.clients[c]) {
                return false;
            }
            self.deliver(s, c, seq);
            if s.clients[c].subscription.stage == Stage::Ended {
                self.uses(Rule::FencedInReplay);
                break;
            }
        }
        true
    }

    /// Puts one event into the send queue and moves the cursor. The user's own leaving is the last
    /// one.
    fn deliver(&self, s: &mut State, c: usize, seq: Seq) {
        let granted = s.clients[c].subscription.granted;
        if seq > s.db.head {
            s.breaks(Breach::Uncommitted(seq));
        }
        if s.db.leaves_between(c, granted, seq) {
            s.breaks(Breach::AfterRemoval(seq));
        }
        self.send(s, c, Frame::Event(seq));
        let subscription = &mut s.clients[c].subscription;
        subscription.cursor = seq;
        let after_admission = seq > subscription.admitted;
        if !s.db.is_leave(c, seq) || self.has(Flaw::NoFence) {
            return;
        }
        if after_admission || self.has(Flaw::FenceIgnoresAdmission) {
            self.end(s, c);
        } else {
            self.uses(Rule::OldLeaveReplayed);
        }
    }
}
