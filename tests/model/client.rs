//! The client, and the connection that it reads from. In the code: `gateway::conn` has the send
//! queue.

use super::scenario::{DIRECT, Flaw, Protocol, Rule};
use super::state::{Breach, Client, Command, Frame, Stage, State, Subscription};

impl Protocol {
    pub(super) fn has_room(&self, client: &Client) -> bool {
        self.scenario.send_queue == DIRECT || client.frames.len() < self.scenario.send_queue
    }

    /// A client that was put out, and is a member again.
    pub(super) fn come_back(&self, s: &mut State, c: usize) {
        self.uses(Rule::CameBack);
        if let Some(g) = s.clients[c].gateway {
            self.subscribe(s, c, g);
        }
    }

    /// A client that has forgotten what it had: `unsubscribe_chat`, then `subscribe_chat` from the
    /// beginning, on the same connection. Reads for its former subscription are still on their
    /// way.
    pub(super) fn start_over(&self, s: &mut State, c: usize) {
        let client = &mut s.clients[c];
        client.leftover = Some(client.subscription.stage);
        client.frames.clear();
        client.seen = Some(0);
        if let Some(g) = client.gateway {
            self.subscribe(s, c, g);
        }
    }

    /// The answer for the former subscription arrives. It is not this one's, however much it looks
    /// like it: it begins after another cursor.
    pub(super) fn leftover_arrives(&self, s: &mut State, c: usize) {
        self.uses(Rule::LeftoverDropped);
        let leftover = s.clients[c].leftover.take();
        let Some(Stage::CatchUp { after, answer }) = leftover else { return };
        let is_behind = matches!(s.clients[c].subscription.stage, Stage::Behind | Stage::CatchUp { .. });
        if self.has(Flaw::LeftoverTaken) && is_behind {
            self.replay(s, c, after, answer);
        }
    }

    pub(super) fn send(&self, s: &mut State, c: usize, frame: Frame) {
        s.clients[c].frames.push(frame);
        if self.scenario.send_queue == DIRECT {
            self.client_reads(s, c);
        }
    }

    /// The client takes the next frame off the wire and holds it against what it has.
    pub(super) fn client_reads(&self, s: &mut State, c: usize) {
        let client = &mut s.clients[c];
        let frame = client.frames.remove(0);
        let seen = client.seen;
        match (frame, seen) {
            (Frame::Subscribed { resync: false, .. }, Some(_)) => {}
            (Frame::Resync(to), Some(seen)) if to < seen => {
                s.breaks(Breach::ResyncBackwards { seen, to });
            }
            (Frame::Subscribed { seq, .. } | Frame::Resync(seq), _) => client.seen = Some(seq),
            (Frame::Event(got), seen) => {
                let seen = seen.unwrap_or(0);
                client.seen = Some(got);
                if got != seen + 1 {
                    s.breaks(Breach::NotConsecutive { seen, got });
                }
            }
        }
    }

    /// The connection is gone, with all that was under way on it.
    pub(super) fn disconnect(&self, s: &mut State, c: usize) {
        let client = &mut s.clients[c];
        client.frames.clear();
        client.leftover = None;
        client.subscription = Subscription::default();
        let Some(g) = client.gateway.take() else {
            return;
        };
        let nobody_left = s.clients.iter().all(|other| other.gateway != Some(g));
        if nobody_left && self.scenario.leaves_idle_channel {
            s.gateways[g].feed = None;
            self.command(s, g, Command::Unsubscribe);
        }
    }
}
