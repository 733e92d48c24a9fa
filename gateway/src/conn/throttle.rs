//! How often a connection may publish `typing` in a chat.

use super::Conn;
use messenger_common::id::ChatId;
use std::time::{Duration, Instant};

/// More often in one chat is dropped in silence.
const INTERVAL: Duration = Duration::from_secs(2);

/// When `typing` was last published, by chat.
#[derive(Debug, Default)]
pub(super) struct TypingThrottle(Vec<(ChatId, Instant)>);

impl TypingThrottle {
    fn is_due(&mut self, chat: ChatId, now: Instant) -> bool {
        self.0.retain(|(_, at)| now.duration_since(*at) < INTERVAL);
        let due = self.0.iter().all(|(of, _)| *of != chat);
        if due {
            self.0.push((chat, now));
        }
        due
    }
}

impl Conn {
    /// Whether this connection may publish `typing` in a chat now; then the next one has to wait.
    pub(crate) fn typing_is_due(&self, chat: ChatId, now: Instant) -> bool {
        self.with_extras(|extras| extras.typing.is_due(chat, now))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_in_two_seconds_and_chat() {
        let (mut throttle, start) = (TypingThrottle::default(), Instant::now());
        let mut due = |chat, millis| throttle.is_due(ChatId(chat), start + Duration::from_millis(millis));
        assert_eq!(
            [due(1, 0), due(1, 1999), due(2, 1999), due(1, 2000), due(2, 2001)],
            [true, false, true, true, false]
        );
    }
}
