//! The actions that can come next. Each action is one step between two moments at which something
//! else may come in between.
//!
//! Three kinds: what people and time do (*environment*), what goes wrong (*faults*, each from the
//! budget), and what the programs do of themselves (*progress*). "When faults stop" is: only
//! progress is left.

mod sentences;

use super::scenario::{Flaw, Protocol};
use super::state::{Command, Feed, Read, Relay, Seq, Stage, State, Writer};

/// One step. `g` is a gateway, `c` a client.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Action {
    // Environment.
    Commit,
    CommitMembershipChange,
    Prune,
    // Faults.
    WriterCrashes(Seq),
    RelayCrashes,
    LinkDies { g: usize },
    ConnectionCut { c: usize },
    StartsOver { c: usize },
    GatewayCrashes { g: usize },
    FillFails { g: usize },
    SubscriptionReadFails { c: usize },
    PublishLost(Seq),
    FailsOver,
    // Progress: apis.
    PublishBeforeCommit(Seq),
    Publish(Seq),
    PublishAtDemoted(Seq),
    ApisLeaveDemoted,
    RemoveRow(Seq),
    RelayTakes(Seq),
    RelayFinishes,
    // Progress: gateways and the bus.
    BusExecutes { g: usize },
    GatewayReceives { g: usize },
    DeadLinkFound { g: usize },
    FillRuns { g: usize },
    FillArrives { g: usize },
    Sweep { g: usize },
    // Progress: subscriptions and clients.
    Connect { c: usize, g: usize },
    SubscribeAgain { c: usize },
    SubscriptionReadRuns { c: usize },
    SubscriptionReadArrives { c: usize },
    ShareRead { c: usize },
    LeftoverArrives { c: usize },
    CatchUp { c: usize },
    ClientReads { c: usize },
}

impl Protocol {
    /// Commits and prunings that may come.
    pub(super) fn environment(&self, s: &State, out: &mut Vec<Action>) {
        if s.db.head < self.scenario.events {
            out.push(Action::Commit);
            if s.left.membership_changes > 0 {
                out.push(Action::CommitMembershipChange);
            }
        }
        if s.left.prunes > 0 && s.db.floor < s.db.head {
            out.push(Action::Prune);
        }
    }

    /// Faults that the budget still allows.
    pub(super) fn faults(&self, s: &State, out: &mut Vec<Action>) {
        let left = &s.left;
        for seq in 1..=s.db.head {
            let writer = s.writers[usize::from(seq)];
            let at_work = !matches!(writer, Writer::Idle | Writer::Gone);
            if left.writer_crashes > 0 && at_work {
                out.push(Action::WriterCrashes(seq));
            }
            if left.lost_publishes > 0 && writer == Writer::Committed {
                out.push(Action::PublishLost(seq));
            }
        }
        if left.failovers > 0 {
            out.push(Action::FailsOver);
        }
        if left.relay_crashes > 0 && s.relay != Relay::Idle {
            out.push(Action::RelayCrashes);
        }
        for (g, gateway) in s.gateways.iter().enumerate() {
            if left.dead_links > 0 && !gateway.link.deaf {
                out.push(Action::LinkDies { g });
            }
            let Some(feed) = &gateway.feed else { continue };
            if left.gateway_crashes > 0 {
                out.push(Action::GatewayCrashes { g });
            }
            if left.failed_reads > 0 && matches!(feed.fill, Some(Read::Answered(_))) {
                out.push(Action::FillFails { g });
            }
        }
        for (c, client) in s.clients.iter().enumerate() {
            if client.gateway.is_none() {
                continue;
            }
            let stage = client.subscription.stage;
            if left.restarts > 0 && matches!(stage, Stage::CatchUp { .. }) {
                out.push(Action::StartsOver { c });
            }
            if left.cuts > 0 && stage != Stage::Ended {
                out.push(Action::ConnectionCut { c });
            }
            let answered = matches!(stage, Stage::Admission(Read::Answered(_)) | Stage::CatchUp { .. });
            if left.failed_reads > 0 && answered {
                out.push(Action::SubscriptionReadFails { c });
            }
        }
    }

    /// The steps that programs and clients take by themselves. Nothing here needs luck: each step
    /// that is enabled stays so until it is taken, or until another step has made it superfluous.
    pub(super) fn progress(&self, s: &State, out: &mut Vec<Action>) {
        self.progress_of_apis(s, out);
        for g in 0..s.gateways.len() {
            self.progress_of_gateway(s, g, out);
        }
        for c in 0..s.clients.len() {
            self.progress_of_client(s, c, out);
        }
    }

    fn progress_of_apis(&self, s: &State, out: &mut Vec<Action>) {
        let next = s.db.head + 1;
        if self.has(Flaw::PublishBeforeCommit)
            && next <= self.scenario.events
            && s.writers[usize::from(next)] == Writer::Idle
        {
            out.push(Action::PublishBeforeCommit(next));
        }
        for seq in 1..=s.db.head {
            match s.writers[usize::from(seq)] {
                Writer::Committed if self.has(Flaw::RemoveBeforePublish) => {
                    out.push(Action::RemoveRow(seq));
                }
                Writer::Committed | Writer::Removed => {
                    out.push(Action::Publish(seq));
                    if s.apis_demoted {
                        out.push(Action::PublishAtDemoted(seq));
                    }
                }
                Writer::Published => out.push(Action::RemoveRow(seq)),
                Writer::Idle | Writer::TooEarly | Writer::Gone => {}
            }
        }
        if s.apis_demoted {
            out.push(Action::ApisLeaveDemoted);
        }
        match s.relay {
            Relay::Idle if self.has(Flaw::NoRelay) => {}
            Relay::Idle => {
                out.extend(s.db.outbox.iter().filter(|&seq| self.is_for_the_relay(s, seq)).map(Action::RelayTakes));
            }
            Relay::Holding(_) => out.push(Action::RelayFinishes),
        }
    }

    fn progress_of_gateway(&self, s: &State, g: usize, out: &mut Vec<Action>) {
        let gateway = &s.gateways[g];
        if gateway.link.deaf {
            if !self.has(Flaw::DeadLinkNotFound) {
                out.push(Action::DeadLinkFound { g });
            }
        } else if !gateway.link.commands.is_empty() {
            out.push(Action::BusExecutes { g });
        }
        if gateway.link.demoted && !gateway.link.deaf && !self.has(Flaw::DemotedLinkKept) {
            out.push(Action::DeadLinkFound { g });
        }
        if !gateway.link.inbound.is_empty() {
            out.push(Action::GatewayReceives { g });
        }
        let Some(feed) = &gateway.feed else { return };
        match feed.fill {
            Some(Read::Asked) => out.push(Action::FillRuns { g }),
            Some(Read::Answered(_)) => out.push(Action::FillArrives { g }),
            // The sweep goes on forever; only a round that finds something is a step.
            None if self.scenario.head_sweep && feed.head.is_some_and(|head| head < s.db.head) => {
                out.push(Action::Sweep { g });
            }
            None => {}
        }
    }

    fn progress_of_client(&self, s: &State, c: usize, out: &mut Vec<Action>) {
        let client = &s.clients[c];
        if client.gateway.is_none() {
            out.extend((0..s.gateways.len()).map(|g| Action::Connect { c, g }));
            return;
        }
        if !client.frames.is_empty() {
            out.push(Action::ClientReads { c });
        }
        if client.leftover.is_some() {
            out.push(Action::LeftoverArrives { c });
        }
        match client.subscription.stage {
            Stage::Membership(Read::Asked) | Stage::Admission(Read::Asked) => {
                out.push(Action::SubscriptionReadRuns { c });
                if self.answer_to_share(s, c).is_some() {
                    out.push(Action::ShareRead { c });
                }
            }
            Stage::Membership(Read::Answered(_)) | Stage::Admission(Read::Answered(_)) | Stage::CatchUp { .. } => {
                out.push(Action::SubscriptionReadArrives { c });
            }
            Stage::Behind if self.has_room(client) => out.push(Action::CatchUp { c }),
            // A client put out and let in again learns of it by `chat_added`, and subscribes anew.
            Stage::Ended if client.frames.is_empty() && s.db.is_member(c, s.db.head) => {
                out.push(Action::SubscribeAgain { c });
            }
            Stage::Behind | Stage::AwaitingChannel | Stage::Live | Stage::Ended => {}
        }
    }

    /// Takes the step.
    pub(super) fn apply(&self, s: &mut State, action: Action) {
        match action {
            Action::Commit => self.commit(s, false),
            Action::CommitMembershipChange => self.commit(s, true),
            Action::Prune => {
                s.left.prunes -= 1;
                s.db.floor += 1;
            }
            Action::WriterCrashes(seq) => {
                s.left.writer_crashes -= 1;
                s.writers[usize::from(seq)] = Writer::Gone;
            }
            Action::RelayCrashes => {
                s.left.relay_crashes -= 1;
                s.relay = Relay::Idle;
            }
            Action::LinkDies { g } => {
                s.left.dead_links -= 1;
                s.gateways[g].link.deaf = true;
            }
            Action::ConnectionCut { c } => {
                s.left.cuts -= 1;
                self.disconnect(s, c);
            }
            Action::StartsOver { c } => {
                s.left.restarts -= 1;
                self.start_over(s, c);
            }
            Action::LeftoverArrives { c } => self.leftover_arrives(s, c),
            Action::GatewayCrashes { g } => {
                s.left.gateway_crashes -= 1;
                self.crash_gateway(s, g);
            }
            Action::FillFails { g } => {
                s.left.failed_reads -= 1;
                self.fill_fails(s, g);
            }
            Action::SubscriptionReadFails { c } => {
                s.left.failed_reads -= 1;
                self.subscription_read_fails(s, c);
            }
            Action::PublishLost(seq) => {
                s.left.lost_publishes -= 1;
                self.writer_has_published(s, seq);
            }
            Action::FailsOver => {
                s.left.failovers -= 1;
                self.fail_over(s);
            }
            Action::PublishBeforeCommit(seq) => {
                s.writers[usize::from(seq)] = Writer::TooEarly;
                self.publish(s, seq);
            }
            Action::Publish(seq) => self.writer_publishes(s, seq, false),
            Action::PublishAtDemoted(seq) => self.writer_publishes(s, seq, true),
            Action::ApisLeaveDemoted => s.apis_demoted = false,
            Action::RemoveRow(seq) => self.writer_removes(s, seq),
            Action::RelayTakes(seq) => self.relay_takes(s, seq),
            Action::RelayFinishes => self.relay_finishes(s),
            Action::BusExecutes { g } => self.bus_executes(s, g),
            Action::GatewayReceives { g } => self.gateway_receives(s, g),
            Action::DeadLinkFound { g } => self.dead_link_found(s, g),
            Action::FillRuns { g } => {
                let answer = Read::Answered(s.snapshot());
                if let Some(feed) = &mut s.gateways[g].feed {
                    feed.fill = Some(answer);
                }
            }
            Action::FillArrives { g } => self.fill_arrives(s, g),
            Action::Sweep { g } => self.sweep(s, g),
            Action::Connect { c, g } => {
                s.clients[c].gateway = Some(g);
                self.join_feed(s, g);
                self.subscribe(s, c, g);
            }
            Action::SubscribeAgain { c } => self.come_back(s, c),
            Action::SubscriptionReadRuns { c } => self.subscription_read_runs(s, c),
            Action::SubscriptionReadArrives { c } => self.subscription_read_arrives(s, c),
            Action::ShareRead { c } => self.share_read(s, c),
            Action::CatchUp { c } => self.catch_up(s, c),
            Action::ClientReads { c } => self.client_reads(s, c),
        }
    }

    /// The feed of a gateway that has got its first subscriber: it asks for the channel.
    fn join_feed(&self, s: &mut State, g: usize) {
        let gateway = &mut s.gateways[g];
        if gateway.feed.is_none() {
            gateway.feed = Some(Feed::default());
            self.command(s, g, Command::Subscribe);
        }
    }
}
