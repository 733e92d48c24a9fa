//! A client's way: it connects, is welcomed, subscribes, reads what it missed, and leaves. As
//! `gateway/src/worker.rs` and `gateway/src/subscription` do it.

use super::clients::{NONE, Slot};
use super::costs::{ACCESS, ARRIVAL, CHECK, HANDSHAKE, MILLISECOND, QUERY, SECOND, TOKEN, WAY};
use super::gateway::{Chat, Pending, Question, READ_RETRY, Subscriber, Topic, Wanted};
use super::happening::{At, Happening};
use super::server::Work;
use super::upkeep::{BUCKETS, IDLE_TICKS};
use super::world::World;
use messenger_common::id::{ChatId, Seq};
use messenger_gateway::feed::{Admission, Feed, Piece, Step, Sub};
use std::collections::hash_map::Entry;

/// A connection opens without its channel after this time, and a subscription begins without.
const CHANNEL_WITHIN: u64 = SECOND;
/// When a client comes back that was told to.
const RECONNECT_AFTER: (u64, u64) = (100 * MILLISECOND, 3_000 * MILLISECOND);

impl World {
    /// The emptier one of two gateways.
    fn pick(&mut self) -> Option<u32> {
        let count = self.ready.len();
        if count == 0 {
            return None;
        }
        let (one, other) = (self.ready[self.random.below(count)], self.ready[self.random.below(count)]);
        let held = |gateway: u32| self.gateways[gateway as usize].connections;
        Some(if held(one) <= held(other) { one } else { other })
    }

    pub fn connect(&mut self, client: u32, life: u32) {
        let comer = &self.clients[client as usize];
        if comer.life != life || comer.gateway != NONE {
            return;
        }
        let Some(gateway) = self.pick() else {
            return self.calendar.plan(self.now + SECOND, Happening::Connect(client, life));
        };
        self.clients[client as usize].gateway = gateway;
        let place = &mut self.gateways[gateway as usize];
        place.connections += 1;
        place.changed |= 1 << (client % BUCKETS);
        place.cpu.serve(self.now, Work::Connections, HANDSHAKE);
        // One who only moves is online all the time.
        if life == 0 {
            place.came += 1;
            if place.came == 1 {
                let at = self.at(gateway);
                self.calendar.plan(self.gathered(), Happening::Announce(at));
            }
        }
        let checked = self.postgres.serve(self.now, Work::Connections, TOKEN) + 2 * WAY;
        if !self.redis.is_away {
            self.redis.serve(self.now, client as usize, Work::Connections, ARRIVAL);
        }
        self.want(gateway, Topic::User(client));
        let is_up = self.gateways[gateway as usize].link.is_up();
        let opens = if is_up { self.now + CHANNEL_WITHIN } else { checked };
        self.calendar.plan(opens, Happening::Welcome(client, life));
    }

    pub fn welcome(&mut self, client: u32, life: u32) {
        let comer = &mut self.clients[client as usize];
        if comer.life != life || comer.gateway == NONE || comer.open {
            return;
        }
        comer.opened(self.now);
        // One command subscribes to all. So many count together, and no lease covers them.
        if !self.redis.is_away {
            self.redis.serve(self.now, client as usize, Work::Limits, CHECK);
        }
        for slot in 0..self.clients[client as usize].slots.len() {
            self.subscribe(Pending { client, life, slot: slot as u8 });
        }
    }

    fn slot(&mut self, Pending { client, slot, .. }: Pending) -> &mut Slot {
        &mut self.clients[client as usize].slots[usize::from(slot)]
    }

    /// The gateway of a subscription's connection, while that lives.
    fn gateway_of(&self, pending: Pending) -> Option<u32> {
        let client = &self.clients[pending.client as usize];
        (client.life == pending.life && client.gateway != NONE).then_some(client.gateway)
    }

    fn subscribe(&mut self, pending: Pending) {
        let Some(gateway) = self.gateway_of(pending) else { return };
        let chat = self.slot(pending).chat;
        if let Entry::Vacant(place) = self.gateways[gateway as usize].chats.entry(chat) {
            let feed = Feed::new(ChatId(chat.into()), false);
            place.insert(Box::new(Chat { feed, waiting: Vec::new(), pauses: READ_RETRY.start() }));
            self.followers[chat as usize].push(gateway);
            self.want(gateway, Topic::Chat(chat));
        }
        let reader = Subscriber { given: self.given.clone(), client: pending.client, slot: pending.slot };
        let place = &mut self.gateways[gateway as usize];
        let Some(followed) = place.chats.get_mut(&chat) else { return };
        let key = followed.feed.subscribe(reader);
        let waits = place.link.is_up() && !followed.feed.is_channel_up();
        if waits {
            followed.waiting.push(pending);
            self.calendar.plan(self.now + CHANNEL_WITHIN, Happening::ChannelLate(pending));
        }
        self.slot(pending).key = key as u32;
        if !waits {
            self.look_up(pending);
        }
    }

    pub fn channel_late(&mut self, pending: Pending) {
        let Some(gateway) = self.gateway_of(pending) else { return };
        let chat = self.slot(pending).chat;
        let Some(followed) = self.gateways[gateway as usize].chats.get_mut(&chat) else { return };
        let waited = followed.waiting.len();
        followed.waiting.retain(|other| *other != pending);
        if followed.waiting.len() < waited {
            self.look_up(pending);
        }
    }

    /// Asks for the head and the rights: what is committed after the answer is published to a
    /// channel that is heard.
    pub fn look_up(&mut self, pending: Pending) {
        let Some(gateway) = self.gateway_of(pending) else { return };
        let chat = self.slot(pending).chat;
        let known = self.with_feed(gateway, chat, |feed, _| (feed.confirmations(), feed.known()));
        let Some((confirmations, known)) = known else { return };
        self.gateways[gateway as usize].rights.add(Question { pending, confirmations, known });
        self.ask_rights(self.at(gateway));
    }

    pub fn ask_rights(&mut self, at: At) {
        let now = self.now;
        let Some(batch) = self.alive(at).and_then(|place| place.rights.begin(now)) else { return };
        let cost = QUERY + ACCESS * batch.len() as u64;
        let answered = self.postgres.serve(now, Work::Rights, cost) + 2 * WAY;
        let head = |question: &Question| {
            self.logs
                .head(self.clients[question.pending.client as usize].slots[usize::from(question.pending.slot)].chat)
        };
        let answers = batch
            .into_iter()
            .map(|question| {
                let head = head(&question);
                (question, head)
            })
            .collect();
        self.calendar.plan(answered, Happening::Rights(at, answers));
        if let Some(again) = self.gateways[at.gateway as usize].rights.look_again(answered) {
            self.calendar.plan(again, Happening::MoreRights(at));
        }
    }

    pub fn rights_answered(&mut self, at: At, answers: Vec<(Question, i64)>) {
        let Some(place) = self.alive(at) else { return };
        place.rights.ended();
        for (question, head) in answers {
            self.activate(question, head);
        }
        self.ask_rights(at);
    }

    /// Begins a subscription from what was found, as `Subscribing::activate` does.
    fn activate(&mut self, Question { pending, confirmations, known }: Question, head: i64) {
        let Some(gateway) = self.gateway_of(pending) else { return };
        let Slot { chat, key, last, .. } = *self.slot(pending);
        let admission = Admission { head: Seq(head), floor: Seq(0), after: last.map(|last| Seq(last.into())) };
        let begun = self.with_feed(gateway, chat, |feed, _| {
            assert!(!feed.compare(known, admission.head, None), "no history goes back here");
            feed.admit(key as usize, admission)
        });
        let Some(begun) = begun.flatten() else { return };
        let slot = self.slot(pending);
        slot.admitted = head as u32;
        slot.last = Some(begun.cursor.0 as u32);
        self.phase().resync += u64::from(begun.resync);
        self.with_feed(gateway, chat, |feed, tick| feed.go_on(tick, &mut |_, _| {}));
        let due = self.with_feed(gateway, chat, |feed, _| feed.repair_after_admission(confirmations));
        self.start_repair(gateway, chat, due.flatten());
        self.replay(pending, None);
    }

    /// Moves a subscription on that is behind, from a piece of the log and the newest events.
    pub fn replay(&mut self, pending: Pending, piece: Option<&Piece>) {
        let Some(gateway) = self.gateway_of(pending) else { return };
        let Slot { chat, key, .. } = *self.slot(pending);
        let step = self.with_feed(gateway, chat, |feed, _| feed.catch_up(key as usize, piece, &mut |_, _| {}));
        match step {
            Some(Step::Read(after)) => self.read_log(gateway, chat, after.0, Wanted::Replay(pending)),
            Some(Step::Lost) => {
                let head = Seq(self.logs.head(chat));
                self.with_feed(gateway, chat, |feed, _| feed.readmit(key as usize, head));
            }
            Some(Step::Done | Step::Full) | None => {}
        }
    }

    /// A piece of the log for a subscription that is behind.
    pub fn replay_read(&mut self, pending: Pending, piece: &Piece) {
        let Some(gateway) = self.gateway_of(pending) else { return };
        let Slot { chat, key, .. } = *self.slot(pending);
        let cursor = self.with_feed(gateway, chat, |feed, _| feed.sub(key as usize).map(Sub::cursor));
        let Some(cursor) = cursor.flatten() else { return };
        if piece.reaches(cursor) {
            return self.replay(pending, Some(piece));
        }
        self.gateways[gateway as usize].log.forget(chat);
        self.suspect(gateway, chat);
        self.calendar.plan(self.now + 50 * MILLISECOND, Happening::ReplayAgain(pending));
    }

    /// A connection is over, for its gateway.
    pub fn leave(&mut self, client: u32) {
        let left = &self.clients[client as usize];
        let (gateway, slots) = (left.gateway, left.slots);
        for Slot { chat, key, .. } in slots {
            let is_empty = self.with_feed(gateway, chat, |feed, _| {
                feed.end(key as usize);
                feed.is_empty()
            });
            let place = &mut self.gateways[gateway as usize];
            if is_empty == Some(true) {
                place.idle.push_back((place.ticks + IDLE_TICKS + 1, chat));
            }
        }
        let place = &mut self.gateways[gateway as usize];
        place.connections -= 1;
        place.changed |= 1 << (client % BUCKETS);
        self.clients[client as usize].left();
        self.want(gateway, Topic::User(client));
    }

    /// It is told to come back, to another gateway.
    pub fn release(&mut self, client: u32, life: u32) {
        let told = &self.clients[client as usize];
        if told.life != life || told.gateway == NONE {
            return;
        }
        self.leave(client);
        let (least, most) = RECONNECT_AFTER;
        let back = self.now + least + self.random.up_to(most - least);
        self.calendar.plan(back, Happening::Connect(client, life + 1));
    }
}
