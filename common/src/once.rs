//! One line of the log a cause. A fault of a back end meets each request and each chat: the log
//! must name it, and not be drowned by it.

use parking_lot::Mutex;
use std::time::{Duration, Instant};

/// A cause that goes on is logged anew after this time.
const AGAIN_AFTER: Duration = Duration::from_mins(1);
/// Causes that are remembered; beyond it the oldest is forgotten.
const CAUSES: usize = 16;

/// Remembers which causes were logged.
#[derive(Debug, Default)]
pub struct OncePerCause {
    logged: Mutex<Vec<(String, Instant)>>,
}

impl OncePerCause {
    /// Whether this cause has not been logged for a minute. From now on it counts as logged.
    pub fn is_news(&self, cause: &str, now: Instant) -> bool {
        let mut logged = self.logged.lock();
        logged.retain(|(_, at)| now.duration_since(*at) < AGAIN_AFTER);
        if logged.iter().any(|(other, _)| other == cause) {
            return false;
        }
        if logged.len() == CAUSES {
            logged.remove(0);
        }
        logged.push((cause.to_owned(), now));
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_cause_is_news_once_a_minute() {
        let (once, start) = (OncePerCause::default(), Instant::now());
        let news = ["a", "a", "b", "a", "b"].map(|cause| once.is_news(cause, start));
        assert_eq!(news, [true, false, true, false, false]);
        assert!(!once.is_news("a", start + AGAIN_AFTER / 2));
        assert!(once.is_news("a", start + AGAIN_AFTER));
    }

    #[test]
    fn what_is_remembered_is_bounded() {
        let (once, start) = (OncePerCause::default(), Instant::now());
        for cause in 0..=CAUSES {
            assert!(once.is_news(&cause.to_string(), start));
        }
        assert_eq!(once.logged.lock().len(), CAUSES);
        assert!(once.is_news("0", start));
    }
}
