//! The reads that make a feed whole, as `gateway/src/repair.rs` and `gateway/src/reads` make them.

use super::costs::{COMPARED, HEAD, LOG, LOG_QUERY, LOGGED, QUERY, WAY};
use super::gateway::{HeadQuestion, KEPT_FOR, LogRead, Wanted};
use super::happening::{At, Happening, Head};
use super::logs::EVENTS_PER_READ;
use super::server::Work;
use super::world::World;
use messenger_common::id::Seq;
use messenger_common::metrics::GapCause;
use messenger_gateway::feed::{Piece, Progress, Repair};
use std::rc::Rc;

/// Further from the head than this, reads begin at multiples of it, so that clients share them.
const ALIGNMENT: i64 = 64;
/// Events that a read of those that are known asks for beside them.
const BEYOND: usize = 3;

impl World {
    pub fn start_repair(&mut self, gateway: u32, chat: u32, due: Option<Repair>) {
        match due {
            None => {}
            Some(Repair::Gap(_, hold)) => {
                let at = self.now + hold.as_nanos() as u64;
                self.calendar.plan(at, Happening::Gap(self.at(gateway), chat));
            }
            Some(Repair::Head(cause)) => self.ask_head(gateway, chat, cause),
        }
    }

    /// The log lacks what it is known to have had, or has yet to show it.
    pub fn suspect(&mut self, gateway: u32, chat: u32) {
        let due = self.with_feed(gateway, chat, |feed, _| feed.head_due_once(GapCause::HeadCheck));
        self.start_repair(gateway, chat, due.flatten());
    }

    fn ask_head(&mut self, gateway: u32, chat: u32, cause: GapCause) {
        let known = self.with_feed(gateway, chat, |feed, _| feed.asked_about());
        let Some(known) = known.flatten() else { return };
        self.gateways[gateway as usize].heads.add(HeadQuestion { chat, known, cause });
        self.ask_heads(self.at(gateway));
    }

    pub fn ask_heads(&mut self, at: At) {
        let now = self.now;
        let Some(batch) = self.alive(at).and_then(|place| place.heads.begin(now)) else { return };
        let cost = QUERY + HEAD * batch.len() as u64;
        let answered = self.postgres.serve(now, Work::Heads, cost) + 2 * WAY;
        let answer = |question: HeadQuestion| {
            let committed = self.logs.committed(question.chat, question.known.head.0);
            let committed = committed.map(|nanos| (nanos / 1000) as i64);
            let head = Head { head: self.logs.head(question.chat), committed };
            (question, head)
        };
        let answers = batch.into_iter().map(answer).collect();
        self.calendar.plan(answered, Happening::Heads(at, answers));
        if let Some(again) = self.gateways[at.gateway as usize].heads.look_again(answered) {
            self.calendar.plan(again, Happening::MoreHeads(at));
        }
    }

    pub fn heads_answered(&mut self, at: At, answers: Vec<(HeadQuestion, Head)>) {
        let now = self.now;
        let Some(place) = self.alive(at) else { return };
        place.heads.ended();
        place.cpu.serve(now, Work::Heads, COMPARED * answers.len() as u64);
        for (HeadQuestion { chat, known, cause }, Head { head, committed }) in answers {
            let answered = self.with_feed(at.gateway, chat, |feed, _| {
                assert!(!feed.compare(known, Seq(head), committed), "no history goes back here");
                feed.head_answered(Some(Seq(head)), cause)
            });
            let Some((due, again)) = answered else { continue };
            self.start_repair(at.gateway, chat, due);
            if again {
                self.ask_head(at.gateway, chat, cause);
            }
        }
        self.ask_heads(at);
    }

    pub fn fill_gap(&mut self, at: At, chat: u32) {
        if self.alive(at).is_none() {
            return;
        }
        let missing = self.with_feed(at.gateway, chat, |feed, _| feed.missing());
        if let Some((after, _)) = missing.flatten() {
            self.read_log(at.gateway, chat, after.0, Wanted::Gap);
        }
    }

    /// Reads the log after a number, or waits for a read of it that runs.
    pub fn read_log(&mut self, gateway: u32, chat: u32, after: i64, wanted: Wanted) {
        let head = self.with_feed(gateway, chat, |feed, _| feed.head().map_or(after, |head| head.0)).unwrap_or(after);
        let lacks = head - after;
        let (from, limit) = if lacks > ALIGNMENT {
            (after - after % ALIGNMENT, EVENTS_PER_READ)
        } else {
            (after, BEYOND + usize::try_from(lacks).unwrap_or(0))
        };
        let (place, log) = ((chat, from), &mut self.gateways[gateway as usize].log);
        if let Some(read) = log.kept.get(&place).and_then(|number| log.reads.get_mut(number))
            && self.now - read.began < KEPT_FOR
        {
            if !read.came {
                return read.wanted.push(wanted);
            }
            if let Some(piece) = read.piece.clone().filter(|piece| piece.reaches(Seq(after))) {
                return self.serve_piece(gateway, chat, &piece, wanted);
            }
        }
        log.begun += 1;
        let number = log.begun;
        log.kept.insert(place, number);
        let (began, wanted) = (self.now, vec![wanted]);
        log.reads.insert(number, LogRead { place, limit, began, piece: None, came: false, wanted });
        log.order.push_back(number);
        log.queue.push_back(number);
        self.read_some(self.at(gateway));
    }

    fn read_some(&mut self, at: At) {
        let log = &mut self.gateways[at.gateway as usize].log;
        while let Some(numbers) = log.begin() {
            let mut cost = LOG_QUERY;
            for number in &numbers {
                let Some(read) = log.reads.get_mut(number) else { continue };
                let (chat, from) = read.place;
                let piece = self.logs.piece(chat, from, read.limit);
                let events = (piece.head().0 - from).clamp(0, read.limit as i64) as u64;
                cost += LOG + LOGGED * events;
                read.piece = Some(Rc::new(piece));
            }
            let done = self.postgres.serve(self.now, Work::Log, cost) + 2 * WAY;
            self.calendar.plan(done, Happening::Pieces(at, numbers));
        }
    }

    pub fn pieces_came(&mut self, at: At, numbers: &[u32]) {
        let Some(place) = self.alive(at) else { return };
        place.log.running -= 1;
        for number in numbers {
            let log = &mut self.gateways[at.gateway as usize].log;
            if let Some(read) = log.reads.get_mut(number)
                && let Some(piece) = read.piece.clone()
            {
                read.came = true;
                let (chat, wanted) = (read.place.0, std::mem::take(&mut read.wanted));
                for wanted in wanted {
                    self.serve_piece(at.gateway, chat, &piece, wanted);
                }
            }
        }
        self.read_some(at);
    }

    fn serve_piece(&mut self, gateway: u32, chat: u32, piece: &Piece, wanted: Wanted) {
        let pending = match wanted {
            Wanted::Gap => {
                let progress = self.with_feed(gateway, chat, |feed, tick| feed.on_piece(piece, tick, &mut |_, _| {}));
                let Some(progress) = progress else { return };
                return self.go_on_filling(gateway, chat, progress);
            }
            Wanted::Replay(pending) => pending,
        };
        self.replay_read(pending, piece);
    }

    fn go_on_filling(&mut self, gateway: u32, chat: u32, progress: Progress) {
        let at = self.at(gateway);
        let Some(followed) = self.gateways[gateway as usize].chats.get_mut(&chat) else { return };
        if progress != Progress::None {
            followed.pauses.reset();
            return self.fill_gap(at, chat);
        }
        // Read before the commit was to be seen.
        let again = self.now + followed.pauses.pause().as_nanos() as u64;
        self.gateways[gateway as usize].log.forget(chat);
        self.suspect(gateway, chat);
        self.calendar.plan(again, Happening::Gap(at, chat));
    }
}
