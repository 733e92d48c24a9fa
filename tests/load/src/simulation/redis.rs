//! Redis, and each gateway's link to it: by the rules of `common/src/bus/session.rs`.

use super::costs::{CHECK, PROBE, PUBLISH, RECEIVER, SECOND, SUBSCRIBE, TOPIC, TOPIC_DROPPED, WAY};
use super::gateway::{Carries, Gateway, Topic};
use super::happening::{At, Happening};
use super::server::{Server, Work};
use super::upkeep::LOOK_CLOSELY_EVERY;
use super::world::World;

/// Topics that one round trip subscribes.
const TOPICS_PER_ROUND_TRIP: usize = 500;
/// Without an answer for so long a link is given up.
const SILENT: u64 = 3 * SECOND;
const PROBE_EVERY: u64 = SECOND;

pub struct Redis {
    /// One thread each; keys and topics are spread over them.
    pub primaries: Vec<Server>,
    pub is_away: bool,
    /// When it was back last.
    pub back: u64,
    /// The gateways that are subscribed to each chat.
    pub subscribers: Vec<Vec<u32>>,
}

impl Redis {
    pub fn new(primaries: usize, chats: usize) -> Self {
        let primaries = (0..primaries).map(|_| Server::new(1)).collect();
        Self { primaries, is_away: false, back: 0, subscribers: vec![Vec::new(); chats] }
    }

    /// The primary of a key serves something. Returns when it is done.
    pub fn serve(&mut self, now: u64, key: usize, work: Work, cost: u64) -> u64 {
        let primary = key % self.primaries.len();
        self.primaries[primary].serve(now, work, cost)
    }

    /// Each primary serves something. Returns when the last is done.
    fn serve_by_all(&mut self, now: u64, work: Work, each: u64) -> u64 {
        self.primaries.iter_mut().map(|primary| primary.serve(now, work, each)).max().unwrap_or(now)
    }

    /// The primaries share something. Returns when the last is done.
    pub fn share(&mut self, now: u64, work: Work, cost: u64) -> u64 {
        self.serve_by_all(now, work, cost / self.primaries.len() as u64)
    }

    /// The primaries of these topics, and how many topics each has of them.
    fn spread(&self, topics: &[Topic]) -> Vec<(usize, u64)> {
        let mut counts = vec![0; self.primaries.len()];
        for topic in topics {
            let (Topic::Chat(key) | Topic::User(key)) = *topic;
            counts[key as usize % self.primaries.len()] += 1;
        }
        counts.into_iter().enumerate().filter(|(_, count)| *count > 0).collect()
    }

    /// Takes a publication. Returns when it is done, and the links that get it then.
    pub fn publish(&mut self, now: u64, work: Work, chat: u32, gateways: &[Gateway]) -> (u64, Box<[(u32, u32)]>) {
        let subscribed = &self.subscribers[chat as usize];
        let cost = PUBLISH + RECEIVER * subscribed.len() as u64;
        let links = subscribed.iter().map(|gateway| (*gateway, gateways[*gateway as usize].link.session));
        let links = links.collect();
        (self.serve(now, chat as usize, work, cost), links)
    }
}

impl World {
    fn is_wanted(&self, gateway: u32, topic: Topic) -> bool {
        match topic {
            Topic::Chat(chat) => self.gateways[gateway as usize].chats.contains_key(&chat),
            Topic::User(client) => self.clients[client as usize].gateway == gateway,
        }
    }

    /// Whether a topic is wanted has changed.
    pub fn want(&mut self, gateway: u32, topic: Topic) {
        self.gateways[gateway as usize].link.unconfirmed.push_back(topic);
        self.reconcile(gateway);
    }

    /// Sends the next changes of the subscriptions, unless some are under way.
    fn reconcile(&mut self, gateway: u32) {
        let link = &mut self.gateways[gateway as usize].link;
        if link.carries == Carries::Nothing || link.is_asking {
            return;
        }
        let session = link.session;
        let count = link.unconfirmed.len().min(TOPICS_PER_ROUND_TRIP);
        if count == 0 {
            if link.carries == Carries::Topics {
                link.carries = Carries::Probes;
                self.calendar.plan(self.now, Happening::Probe(gateway, session));
            }
            return;
        }
        link.is_asking = true;
        let topics: Vec<Topic> = link.unconfirmed.drain(..count).collect();
        let (wanted, unwanted): (Vec<_>, Vec<_>) =
            topics.into_iter().partition(|topic| self.is_wanted(gateway, *topic));
        let mut done = self.now;
        for (topics, subscribe) in [(&unwanted, false), (&wanted, true)] {
            if topics.is_empty() {
                continue;
            }
            for (primary, count) in self.redis.spread(topics) {
                let cost = SUBSCRIBE + TOPIC * count;
                done = done.max(self.redis.serve(self.now, primary, Work::Topics, cost));
            }
            for topic in topics {
                let Topic::Chat(chat) = *topic else { continue };
                let subscribers = &mut self.redis.subscribers[chat as usize];
                subscribers.retain(|other| *other != gateway);
                if subscribe {
                    subscribers.push(gateway);
                }
            }
        }
        if done - self.now > SILENT {
            self.calendar.plan(self.now + SILENT, Happening::Mute(gateway, session));
        } else {
            self.calendar.plan(done + 2 * WAY, Happening::Confirmed(gateway, session, wanted));
        }
    }

    /// Redis delivers these topics from here on.
    pub fn confirmed(&mut self, gateway: u32, session: u32, topics: Vec<Topic>) {
        let link = &mut self.gateways[gateway as usize].link;
        if link.session != session {
            return;
        }
        link.is_asking = false;
        for topic in topics {
            match topic {
                Topic::User(_) if !self.is_wanted(gateway, topic) => {}
                Topic::User(client) => self.welcome(client, self.clients[client as usize].life),
                Topic::Chat(chat) => {
                    let due = self.with_feed(gateway, chat, |feed, _| feed.on_channel_up()).flatten();
                    if !self.plan.compares_nothing {
                        self.start_repair(gateway, chat, due);
                    }
                    let followed = self.gateways[gateway as usize].chats.get_mut(&chat);
                    for pending in followed.map(|chat| std::mem::take(&mut chat.waiting)).unwrap_or_default() {
                        self.look_up(pending);
                    }
                }
            }
        }
        self.reconcile(gateway);
    }

    /// Asks whether the link still carries, and whether the node is to sweep.
    pub fn probe(&mut self, gateway: u32, session: u32) {
        let link = &self.gateways[gateway as usize].link;
        if link.session != session {
            return;
        }
        let is_up = link.is_up();
        self.redis.serve(self.now, 0, Work::Presence, CHECK);
        let done = self.redis.serve_by_all(self.now, Work::Topics, PROBE);
        if done - self.now > SILENT {
            return self.calendar.plan(self.now + SILENT, Happening::Mute(gateway, session));
        }
        if !is_up {
            self.calendar.plan(done + 2 * WAY, Happening::Up(gateway, session));
        }
        self.calendar.plan(self.now + PROBE_EVERY, Happening::Probe(gateway, session));
    }

    pub fn link_up(&mut self, gateway: u32, session: u32) {
        let link = &mut self.gateways[gateway as usize].link;
        if link.session == session {
            link.carries = Carries::All;
            link.pauses.reset();
        }
    }

    /// A gateway tries to connect; then it subscribes to all its topics again.
    pub fn link(&mut self, at: At) {
        let is_away = self.redis.is_away;
        let Some(place) = self.alive(at) else { return };
        if is_away {
            let longest = place.link.pauses.pause();
            let again = self.now + self.random.up_to(longest.as_nanos() as u64);
            return self.calendar.plan(again, Happening::Link(at));
        }
        place.link.carries = Carries::Topics;
        let chats: Vec<Topic> = place.chats.keys().copied().map(Topic::Chat).collect();
        let here = |client: &u32| self.clients[*client as usize].gateway == at.gateway;
        let users: Vec<Topic> = (0..self.clients.len() as u32).filter(here).map(Topic::User).collect();
        self.gateways[at.gateway as usize].link.unconfirmed = chats.into_iter().chain(users).collect();
        self.reconcile(at.gateway);
    }

    pub fn link_lost(&mut self, gateway: u32, session: u32) {
        if self.gateways[gateway as usize].link.session != session {
            return;
        }
        self.close_link(gateway);
        let longest = self.gateways[gateway as usize].link.pauses.pause();
        let again = self.now + self.random.up_to(longest.as_nanos() as u64);
        self.calendar.plan(again, Happening::Link(self.at(gateway)));
    }

    /// Publications on their way on the link are lost, and Redis forgets its topics.
    pub fn close_link(&mut self, gateway: u32) {
        let place = &mut self.gateways[gateway as usize];
        let link = &mut place.link;
        link.session += 1;
        (link.carries, link.is_asking) = (Carries::Nothing, false);
        link.unconfirmed.clear();
        if !self.redis.is_away {
            let topics = (place.chats.len() + place.connections) as u64;
            self.redis.share(self.now, Work::Topics, TOPIC_DROPPED * topics);
            for chat in place.chats.keys() {
                self.redis.subscribers[*chat as usize].retain(|other| *other != gateway);
            }
        }
    }

    /// All its primaries die: nothing that they were asked is done, and they know nothing when they
    /// are back.
    pub fn redis_dies(&mut self) {
        self.redis.is_away = true;
        self.redis.primaries.iter_mut().for_each(|primary| primary.forget(self.now));
        self.redis.subscribers.iter_mut().for_each(Vec::clear);
        for gateway in 0..self.gateways.len() as u32 {
            let link = &self.gateways[gateway as usize].link;
            if link.carries != Carries::Nothing {
                self.link_lost(gateway, link.session);
                // Each at a moment of its own.
                let first = self.now + LOOK_CLOSELY_EVERY / 2 + self.random.up_to(LOOK_CLOSELY_EVERY / 2);
                self.calendar.plan(first, Happening::LookClosely(self.at(gateway)));
            }
        }
    }
}
