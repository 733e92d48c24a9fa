//! The fleet and its time.

use super::Plan;
use super::clients::{self, Client, Fault, Slot};
use super::costs::{DELIVERY, SECOND, WAY};
use super::figures::{Phase, Spent};
use super::gateway::{Gateway, Given, Stage, Subscriber};
use super::happening::{At, Calendar, Happening};
use super::logs::Logs;
use super::random::Random;
use super::redis::Redis;
use super::sends::{Entry, Sender};
use super::server::{Server, Work};
use messenger_gateway::feed::Feed;
use std::collections::VecDeque;

/// A gateway more than there are, and those that drain beside it: a deploy adds before it takes
/// away.
const SPARE: usize = 4;

pub struct World {
    pub plan: Plan,
    pub now: u64,
    pub random: Random,
    pub calendar: Calendar,
    pub redis: Redis,
    pub postgres: Server,
    pub logs: Logs,
    /// The number of commits at the beginning of each second: what a look at the tail reads.
    pub commits: Vec<u64>,
    pub clients: Vec<Client>,
    pub gateways: Vec<Gateway>,
    /// Those that a balancer sends connections to.
    pub ready: Vec<u32>,
    /// The gateways that follow each chat.
    pub followers: Vec<Vec<u32>>,
    pub senders: Vec<Sender>,
    pub outbox: VecDeque<Entry>,
    pub given: Given,
    pub phases: Vec<Phase>,
    /// The parts of the time line that are to come.
    pub to_come: VecDeque<&'static str>,
    /// Of a deploy: the gateways that are to be replaced, and the places for new ones.
    pub old: VecDeque<u32>,
    pub arrived: usize,
    pub is_sending: bool,
    pub is_over: bool,
    next_message: u64,
    next_command: u64,
}

impl World {
    pub fn new(plan: Plan) -> Self {
        let mut random = Random(plan.seed);
        let (clients, chats) = clients::clients(plan.connections, &mut random);
        let (redis, postgres) = (Redis::new(plan.primaries, chats), Server::new(plan.cores));
        let first = Phase::new("arrivals", 0, &Spent::default());
        let mut world = Self {
            now: 0,
            random,
            calendar: Calendar::default(),
            redis,
            postgres,
            logs: Logs::new(chats),
            commits: Vec::new(),
            clients,
            gateways: (0..plan.gateways + SPARE).map(|_| Gateway::new()).collect(),
            ready: Vec::new(),
            followers: vec![Vec::new(); chats],
            senders: (0..plan.senders).map(|_| Sender::new()).collect(),
            outbox: VecDeque::new(),
            given: Given::default(),
            phases: vec![first],
            to_come: plan.phases.iter().copied().collect(),
            old: VecDeque::new(),
            arrived: 0,
            is_sending: true,
            is_over: false,
            next_message: 0,
            next_command: 0,
            plan,
        };
        for gateway in 0..world.plan.gateways {
            world.start(gateway as u32);
        }
        for sender in 0..world.senders.len() {
            let at = world.random.up_to(SECOND);
            world.calendar.plan(at, Happening::Relay(sender as u32));
        }
        world.calendar.plan(0, Happening::Sweep);
        world.calendar.plan(world.plan.arrive, Happening::Phase);
        world
    }

    /// Runs until the time line is over and all is quiet; hands out each part of it that ends.
    pub fn run(&mut self, mut ended: impl FnMut(&Self, &Phase)) {
        let count = self.plan.connections as u64;
        let (mean_message, mean_command) =
            (self.plan.message_every / count as f64, self.plan.command_every / count as f64);
        while !self.is_over {
            let arrival = match self.arrived as u64 {
                arrived if arrived < count => self.plan.arrive * arrived / count,
                _ => u64::MAX,
            };
            let (message, command) =
                if self.is_sending { (self.next_message, self.next_command) } else { (u64::MAX, u64::MAX) };
            let planned = self.calendar.next().unwrap_or(u64::MAX);
            let now = planned.min(arrival).min(message).min(command);
            self.pass_to(now);
            if now == planned {
                let begun = self.phases.len();
                if let Some((_, what)) = self.calendar.take() {
                    self.happen(what);
                }
                if self.phases.len() > begun || self.is_over {
                    ended(self, &self.phases[begun - 1]);
                }
            } else if now == arrival {
                let client = self.arrived as u32;
                self.arrived += 1;
                self.connect(client, self.clients[client as usize].life);
            } else if now == message {
                self.next_message = now + 1 + self.random.pause(mean_message);
                self.send_message();
            } else {
                self.next_command = now + 1 + self.random.pause(mean_command);
                self.send_command();
            }
        }
    }

    fn pass_to(&mut self, now: u64) {
        self.now = now;
        while self.commits.len() as u64 <= now / SECOND {
            self.commits.push(self.phases.iter().map(|phase| phase.messages).sum());
        }
    }

    fn happen(&mut self, what: Happening) {
        match what {
            Happening::Connect(client, life) => self.connect(client, life),
            Happening::Welcome(client, life) => self.welcome(client, life),
            Happening::Release(client, life) => self.release(client, life),
            Happening::ChannelLate(pending) => self.channel_late(pending),
            Happening::Rights(at, answers) => self.rights_answered(at, answers),
            Happening::MoreRights(at) => self.ask_rights(at),
            Happening::Heads(at, answers) => self.heads_answered(at, answers),
            Happening::MoreHeads(at) => self.ask_heads(at),
            Happening::Gap(at, chat) => self.fill_gap(at, chat),
            Happening::Pieces(at, numbers) => self.pieces_came(at, &numbers),
            Happening::ReplayAgain(pending) => self.replay(pending, None),
            Happening::Published(links, chat, seq) => self.published(&links, chat, seq),
            Happening::Link(at) => self.link(at),
            Happening::Confirmed(gateway, session, topics) => self.confirmed(gateway, session, topics),
            Happening::Mute(gateway, session) => self.link_lost(gateway, session),
            Happening::Probe(gateway, session) => self.probe(gateway, session),
            Happening::Up(gateway, session) => self.link_up(gateway, session),
            Happening::Send(sender, chat) => self.queue_send(sender, chat),
            Happening::Committed(sender, chats) => self.committed(sender, &chats),
            Happening::MoreSends(sender) => self.commit_some(sender),
            Happening::Relay(sender) => self.relay(sender),
            Happening::Tick(at) => self.tick(at),
            Happening::Mark(at) => self.mark(at),
            Happening::Look(at) => self.look(at),
            Happening::LookClosely(at) => self.look_closely(at),
            Happening::Moved(at, moved) => self.reached(at, &moved),
            Happening::CompareAll(at) => self.compare_heads(at, |_| true),
            Happening::Renew(at) => self.renew(at),
            Happening::Announce(at) => self.announce(at),
            Happening::Sweep => self.sweep(),
            Happening::Phase => self.next_phase(),
            Happening::RedisReturns => (self.redis.is_away, self.redis.back) = (false, self.now),
            Happening::Restart(gateway) => self.start(gateway),
            Happening::Replace => self.replace(),
            Happening::Drain(at) => self.drain(at),
            Happening::Exit(at) => self.exit(at),
        }
    }

    pub fn phase(&mut self) -> &mut Phase {
        self.phases.last_mut().expect("the first phase is there from the beginning")
    }

    pub fn at(&self, gateway: u32) -> At {
        At { gateway, life: self.gateways[gateway as usize].life }
    }

    /// The gateway, if that process of it still runs.
    pub fn alive(&mut self, at: At) -> Option<&mut Gateway> {
        let gateway = &mut self.gateways[at.gateway as usize];
        (gateway.life == at.life && gateway.stage != Stage::Away).then_some(gateway)
    }

    /// Works with a gateway's feed, if it follows that chat, and hands on what that gave readers.
    pub fn with_feed<T>(
        &mut self,
        gateway: u32,
        chat: u32,
        work: impl FnOnce(&mut Feed<Subscriber>, u32) -> T,
    ) -> Option<T> {
        let place = &mut self.gateways[gateway as usize];
        let followed = place.chats.get_mut(&chat)?;
        let before = followed.feed.head();
        let done = work(&mut followed.feed, place.ticks);
        if followed.feed.head() != before {
            place.aging.push_back((place.ticks + super::upkeep::RING_TICKS + 1, chat));
        }
        self.hand_over(gateway);
        Some(done)
    }

    /// Events that readers were given reach them, once the gateway has had the time for it.
    fn hand_over(&mut self, gateway: u32) {
        let mut given = self.given.borrow_mut();
        if given.is_empty() {
            return;
        }
        let cost = DELIVERY * given.len() as u64;
        let at = self.gateways[gateway as usize].cpu.serve(self.now, Work::Messages, cost) + WAY;
        let phase = self.phases.last_mut().expect("there is one");
        for (client, slot, seq) in given.drain(..) {
            let (reader, place) = (&mut self.clients[client as usize], usize::from(slot));
            let Some(seq) = seq else {
                // The only other frame of a feed: it gave up what came before.
                phase.resync += 1;
                continue;
            };
            let Slot { chat, admitted, .. } = reader.slots[place];
            let committed = self.logs.committed(chat, seq).unwrap_or_default();
            phase.delivered(at, committed, seq > i64::from(admitted));
            match reader.receive(place, seq) {
                None => {}
                Some(Fault::Gap(missing)) => phase.gaps += missing,
                Some(Fault::Double) => phase.doubles += 1,
                Some(Fault::Disorder) => phase.disorder += 1,
            }
        }
    }

    /// How many events clients lack.
    pub fn missing(&self) -> u64 {
        let slots = self.clients.iter().flat_map(|client| client.slots.iter());
        let lacks = |slot: &Slot| self.logs.head(slot.chat) - i64::from(slot.last.unwrap_or_default());
        slots.map(|slot| u64::try_from(lacks(slot)).unwrap_or_default()).sum()
    }
}
