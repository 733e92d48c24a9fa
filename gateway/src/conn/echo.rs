//! A read mark is answered to the connection that set it, and published to its user: the answer is
//! enough for that connection.

use super::Conn;
use messenger_common::id::ChatId;
use std::time::{Duration, Instant};

/// A read answered within this time is not delivered again.
const ECHO: Duration = Duration::from_secs(2);

/// Reads that were answered; each stands for one publication.
#[derive(Debug, Default)]
pub(super) struct ReadEchoes(Vec<(ChatId, Instant)>);

impl ReadEchoes {
    fn answered(&mut self, chat: ChatId, now: Instant) {
        self.forget_old(now);
        self.0.push((chat, now));
    }

    fn take_back(&mut self, chat: ChatId) {
        if let Some(at) = self.0.iter().rposition(|(of, _)| *of == chat) {
            self.0.swap_remove(at);
        }
    }

    fn take(&mut self, chat: ChatId, now: Instant) -> bool {
        self.forget_old(now);
        let answered = self.0.iter().position(|(of, _)| *of == chat);
        answered.map(|at| self.0.swap_remove(at)).is_some()
    }

    fn forget_old(&mut self, now: Instant) {
        self.0.retain(|(_, at)| now.duration_since(*at) < ECHO);
    }
}

impl Conn {
    /// Remembers that a read is answered.
    pub(crate) fn read_answered(&self, chat: ChatId, now: Instant) {
        self.with_extras(|extras| extras.reads.answered(chat, now));
    }

    /// Takes that back: what was answered is not published.
    pub(crate) fn read_unpublished(&self, chat: ChatId) {
        self.with_extras(|extras| extras.reads.take_back(chat));
    }

    /// Whether this publication is the echo of a read that was answered here; it is no echo a
    /// second time.
    pub(crate) fn is_read_echo(&self, chat: ChatId, now: Instant) -> bool {
        self.extras.borrow_mut().as_mut().is_some_and(|extras| extras.reads.take(chat, now))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_answer_stands_for_one_publication_and_not_for_long() {
        let (mut reads, start) = (ReadEchoes::default(), Instant::now());
        let later = |millis| start + Duration::from_millis(millis);
        reads.answered(ChatId(1), start);
        reads.answered(ChatId(1), start);
        assert!(reads.take(ChatId(1), later(10)) && !reads.take(ChatId(2), later(10)));
        reads.take_back(ChatId(1));
        assert!(!reads.take(ChatId(1), later(20)));
        reads.answered(ChatId(1), later(20));
        assert!(!reads.take(ChatId(1), later(2020)), "two seconds on it is another device's");
    }
}
