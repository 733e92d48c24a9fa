//! The model and the gateway's own feeds, side by side: each step of the one is taken by the
//! other.

use super::super::actions::Action;
use super::super::scenario::Protocol;
use super::super::state::{Frame, Push as BusPush, Read, Seq, Snapshot, Stage, State};
use super::SCENARIO;
use bytes::Bytes;
use messenger_common::event::{Effect, EventKind};
use messenger_common::id::{ChatId, Seq as RealSeq, UserId};
use messenger_common::metrics::GapCause;
use messenger_gateway::feed::{Admission, Event, Feed, Phase, Piece, Push, Reader, Step, Sub};
use std::cell::{Cell, RefCell};
use std::rc::Rc;

/// A client's end of a connection.
#[derive(Default)]
struct Wire {
    frames: RefCell<Vec<Frame>>,
    has_ended: Cell<bool>,
}

struct Vector {
    user: UserId,
    wire: Rc<Wire>,
}

impl Reader for Vector {
    fn user(&self) -> UserId {
        self.user
    }

    fn push(&self, frame: &Bytes) -> Push {
        let mut frames = self.wire.frames.borrow_mut();
        if frames.len() >= SCENARIO.send_queue {
            return Push::Full;
        }
        frames.push(decoded(frame));
        Push::Taken
    }

    fn fell_behind(&self) {}

    fn ended(&self, _: Option<RealSeq>) {
        self.wire.has_ended.set(true);
    }
}

/// An event's frame here is its number alone; a resync is a frame of the protocol.
fn decoded(frame: &Bytes) -> Frame {
    match frame.iter().position(|byte| *byte == b'{') {
        None => Frame::Event(frame[0]),
        Some(at) => {
            let json: serde_json::Value = serde_json::from_slice(&frame[at..]).unwrap();
            assert_eq!(json["type"], "resync");
            Frame::Resync(json["seq"].as_u64().unwrap().try_into().unwrap())
        }
    }
}

fn real(seq: Seq) -> RealSeq {
    RealSeq(seq.into())
}

fn user(client: usize) -> UserId {
    UserId(i64::try_from(client).unwrap())
}

fn ignore(_: &Event, _: u64) {}

/// A client's subscription to a real feed.
#[derive(Default)]
struct Subscribed {
    key: usize,
    wire: Rc<Wire>,
    /// How often the channel had been confirmed when its first read was asked for.
    confirmations: Option<u32>,
}

pub(super) struct Lockstep {
    pub(super) protocol: Protocol,
    pub(super) model: State,
    feeds: Vec<Option<Feed<Vector>>>,
    clients: Vec<Subscribed>,
}

impl Lockstep {
    pub(super) fn new(start: usize) -> Self {
        let mut starts = State::first(&SCENARIO);
        let model = starts.swap_remove(start % starts.len());
        let feeds = model.gateways.iter().map(|_| None).collect();
        let clients = model.clients.iter().map(|_| Subscribed::default()).collect();
        Self { protocol: Protocol::new(SCENARIO, &[]), model, feeds, clients }
    }

    /// The actions that people, time and faults may take now.
    pub(super) fn disturbances(&self) -> Vec<Action> {
        let mut actions = Vec::new();
        self.protocol.environment(&self.model, &mut actions);
        self.protocol.faults(&self.model, &mut actions);
        actions
    }

    /// The steps that programs and clients take by themselves now.
    pub(super) fn progress(&self) -> Vec<Action> {
        let mut actions = Vec::new();
        self.protocol.progress(&self.model, &mut actions);
        actions
    }

    pub(super) fn take(&mut self, action: Action) {
        let before = self.model.clone();
        self.protocol.apply(&mut self.model, action);
        match action {
            Action::GatewayReceives { g } => self.receive(g, before.gateways[g].link.inbound[0]),
            Action::FillArrives { g } => {
                if let Some(Read::Answered(answer)) = before.gateways[g].feed.as_ref().and_then(|feed| feed.fill) {
                    self.fill(g, answer);
                }
            }
            Action::Connect { c, g } => {
                self.feeds[g].get_or_insert_with(|| Feed::new(ChatId(1), false));
                self.subscribe(c);
            }
            Action::SubscribeAgain { c } => self.subscribe(c),
            Action::StartsOver { c } => {
                self.leave(&before, c);
                self.subscribe(c);
            }
            Action::ConnectionCut { c } => self.leave(&before, c),
            Action::GatewayCrashes { g } => self.feeds[g] = None,
            Action::SubscriptionReadArrives { c } => match before.clients[c].subscription.stage {
                Stage::Admission(Read::Answered(answer)) => self.admit(c, before.clients[c].seen, answer),
                Stage::CatchUp { after, answer } => self.replay(c, after, answer),
                _ => {}
            },
            Action::CatchUp { c } => {
                let step = self.catch_up(c, None);
                if let Stage::CatchUp { after, .. } = self.model.clients[c].subscription.stage {
                    assert_eq!(step, Step::Read(real(after)), "the model reads the log for client {c}");
                }
            }
            Action::LeftoverArrives { c } => {
                let cursor = self.model.clients[c].subscription.cursor;
                if let Some(Stage::CatchUp { after, answer }) = before.clients[c].leftover
                    && after > cursor.max(self.head_at(c))
                    && answer.floor <= cursor
                {
                    let piece = self.piece(after, answer);
                    self.catch_up(c, Some(&piece));
                    self.go_on_in_the_ring(c);
                }
            }
            Action::ClientReads { c } => drop(self.clients[c].wire.frames.borrow_mut().remove(0)),
            _ => {}
        }
        for g in 0..self.feeds.len() {
            if self.model.gateways[g].feed.is_none() {
                self.feeds[g] = None;
            }
        }
        for c in 0..self.clients.len() {
            if self.model.clients[c].gateway.is_none() {
                self.clients[c] = Subscribed::default();
            } else if self.model.clients[c].subscription.stage == Stage::Admission(Read::Asked)
                && self.clients[c].confirmations.is_none()
            {
                self.clients[c].confirmations = self.with_feed(c, |feed| feed.confirmations());
            }
        }
    }

    /// As far as the ring may lead a client's subscription.
    fn head_at(&self, c: usize) -> Seq {
        let feed = self.model.clients[c].gateway.and_then(|g| self.model.gateways[g].feed.as_ref());
        feed.and_then(|feed| feed.head).unwrap_or(0)
    }

    fn with_feed<T>(&mut self, c: usize, work: impl FnOnce(&mut Feed<Vector>) -> T) -> Option<T> {
        let g = self.model.clients[c].gateway?;
        self.feeds[g].as_mut().map(work)
    }

    fn with_sub<T>(&mut self, c: usize, work: impl FnOnce(&mut Feed<Vector>, usize) -> T) -> Option<T> {
        let (key, has_ended) = (self.clients[c].key, self.clients[c].wire.has_ended.get());
        self.with_feed(c, |feed| work(feed, key)).filter(|_| !has_ended)
    }

    fn event(&self, seq: Seq) -> Event {
        let (kind, effect) = if !self.model.db.membership_changes.contains(seq) {
            (EventKind::NewMessage, Effect::None)
        } else if self.model.db.is_leave(0, seq) {
            (EventKind::MemberLeft, Effect::Left(user(0)))
        } else {
            (EventKind::MemberJoined, Effect::Joined(user(0)))
        };
        Event { seq: real(seq), kind, effect, committed_at_micros: 0, frame: Bytes::copy_from_slice(&[seq]) }
    }

    /// The page that a read of the log after that number brings.
    fn piece(&self, after: Seq, answer: Snapshot) -> Piece {
        let first = after.max(answer.floor) + 1;
        let events = (first..=answer.head).take(SCENARIO.page.into()).map(|seq| self.event(seq)).collect();
        Piece::new(real(after), SCENARIO.page.into(), events, real(answer.head), real(answer.floor))
    }

    fn receive(&mut self, g: usize, push: BusPush) {
        let event = if let BusPush::Envelope(seq) = push { Some(self.event(seq)) } else { None };
        let Some(feed) = &mut self.feeds[g] else { return };
        // The repairs that are due come when the model reads.
        match event {
            Some(event) => feed.on_event(&event, 0, &mut ignore),
            None => feed.on_channel_up(),
        };
    }

    fn fill(&mut self, g: usize, answer: Snapshot) {
        let Some(head) = self.feeds[g].as_ref().map(Feed::head) else { return };
        let piece = head.map(|head| self.piece(head.0.try_into().unwrap(), answer));
        let Some(feed) = &mut self.feeds[g] else { return };
        let (_due, _again) = feed.head_answered(Some(real(answer.head)), GapCause::HeadCheck);
        feed.go_on(0, &mut ignore);
        if let Some(piece) = piece {
            feed.on_piece(&piece, 0, &mut ignore);
        }
        feed.missing();
    }

    fn subscribe(&mut self, c: usize) {
        let wire = Rc::<Wire>::default();
        wire.frames.replace(self.clients[c].wire.frames.take());
        let reader = Vector { user: user(c), wire: Rc::clone(&wire) };
        let key = self.with_feed(c, |feed| feed.subscribe(reader)).unwrap();
        self.clients[c] = Subscribed { key, wire, confirmations: None };
    }

    fn leave(&mut self, before: &State, c: usize) {
        if let Some(feed) = before.clients[c].gateway.and_then(|g| self.feeds[g].as_mut())
            && !self.clients[c].wire.has_ended.get()
        {
            feed.end(self.clients[c].key);
        }
        self.clients[c].wire.frames.take();
    }

    fn admit(&mut self, c: usize, after: Option<Seq>, answer: Snapshot) {
        match self.model.clients[c].subscription.stage {
            // Another's answer that was doubted.
            Stage::Admission(_) => {}
            Stage::Ended if !self.model.db.is_member(c, answer.head) => {
                self.with_sub(c, Feed::end);
            }
            _ => {
                let admission =
                    Admission { head: real(answer.head), floor: real(answer.floor), after: after.map(real) };
                let confirmations = self.clients[c].confirmations.unwrap();
                let begun = self.with_sub(c, |feed, key| feed.admit(key, admission)).flatten().unwrap();
                let told = Frame::Subscribed { seq: answer.head, resync: begun.resync };
                self.clients[c].wire.frames.borrow_mut().push(told);
                self.with_feed(c, |feed| {
                    feed.go_on(0, &mut ignore);
                    feed.repair_after_admission(confirmations)
                });
                self.catch_up(c, None);
            }
        }
        self.go_on_in_the_ring(c);
    }

    fn replay(&mut self, c: usize, after: Seq, answer: Snapshot) {
        let piece = self.piece(after, answer);
        if self.catch_up(c, Some(&piece)) == Step::Lost {
            let is_member = self.model.db.is_member(c, answer.head);
            self.with_sub(c, |feed, key| {
                if is_member {
                    feed.readmit(key, real(answer.head));
                } else {
                    feed.end(key);
                }
            });
            self.catch_up(c, None);
        }
        self.go_on_in_the_ring(c);
    }

    fn catch_up(&mut self, c: usize, piece: Option<&Piece>) -> Step {
        self.with_sub(c, |feed, key| feed.catch_up(key, piece, &mut ignore)).unwrap_or(Step::Done)
    }

    /// The model's next steps, where the gateway has gone on without the log.
    fn go_on_in_the_ring(&mut self, c: usize) {
        while self.goes_on_in_the_ring(c).unwrap_or(false) {
            self.protocol.apply(&mut self.model, Action::CatchUp { c });
        }
    }

    fn goes_on_in_the_ring(&self, c: usize) -> Option<bool> {
        let client = &self.model.clients[c];
        let feed = self.model.gateways[client.gateway?].feed.as_ref()?;
        let cursor = client.subscription.cursor;
        let has_more = client.subscription.admitted > cursor || feed.head.is_some_and(|head| head > cursor);
        let in_ring = feed.ring.contains(cursor + 1);
        let ends = client.subscription.left_at.is_some() && !in_ring;
        let needs_no_log = (in_ring || !has_more) && self.protocol.has_room(client);
        Some(client.subscription.stage == Stage::Behind && (ends || needs_no_log))
    }

    /// The first disagreement of the two.
    pub(super) fn difference(&self) -> Option<String> {
        if let Some(breach) = self.model.breach {
            return Some(format!("the model itself breaks: {breach:?}"));
        }
        for (g, feed) in self.feeds.iter().enumerate() {
            let model = self.model.gateways[g].feed.as_ref();
            let heads = (model.map(|feed| feed.head.map(real)), feed.as_ref().map(Feed::head));
            if heads.0 != heads.1 {
                return Some(format!("the head at gateway {g}: {heads:?}"));
            }
            if feed.as_ref().is_some_and(|feed| feed.has_gap() && !feed.is_repairing()) {
                return Some(format!("a gap that is not being repaired at gateway {g}"));
            }
        }
        self.model.clients.iter().enumerate().find_map(|(c, client)| {
            let frames = self.clients[c].wire.frames.borrow();
            if *frames != client.frames {
                return Some(format!("client {c} is given {:?}, and in the gateway {frames:?}", client.frames));
            }
            let feed = self.feeds[client.gateway?].as_ref()?;
            let sub = if self.clients[c].wire.has_ended.get() { None } else { feed.sub(self.clients[c].key) };
            let (model, stage) = (&client.subscription, client.subscription.stage);
            let phase = match stage {
                Stage::AwaitingChannel | Stage::Membership(_) | Stage::Admission(_) => Some(Phase::Pending),
                Stage::Live => Some(Phase::Live),
                Stage::Behind | Stage::CatchUp { .. } => Some(Phase::Behind),
                Stage::Ended => None,
            };
            let begun = |phase: Option<Phase>| matches!(phase, Some(Phase::Live | Phase::Behind));
            let stands = |cursor, admitted| Some((cursor, admitted)).filter(|_| begun(phase));
            let expected = (phase, stands(real(model.cursor), real(model.admitted)));
            let found = (sub.map(Sub::phase), sub.and_then(|s| stands(s.cursor(), s.admitted_at())));
            (expected != found).then(|| format!("client {c}: {expected:?}, and in the gateway {found:?}"))
        })
    }
}
