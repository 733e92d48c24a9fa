//! What a link is to be subscribed to, and what of that the server has not been told yet.

use super::Topic;
use std::collections::HashSet;

/// The wanted topics and those among which something changed since the server was last told.
///
/// A change is told by what is wanted at the time of telling, so that any order of subscribing and unsubscribing, in or out of an
/// outage, ends in what is wanted. A topic that was taken out and put back is subscribed again, for its word of `Subscribed` is owed.
#[derive(Debug, Default)]
pub(super) struct Wanted {
    topics: HashSet<Topic>,
    untold: HashSet<Topic>,
}

/// What the server is to be told next.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Changes {
    pub(super) subscribe: Vec<String>,
    pub(super) unsubscribe: Vec<String>,
}

impl Wanted {
    /// Says whether anything is to be told.
    pub(super) fn add(&mut self, topics: &[Topic]) -> bool {
        let mut changed = false;
        for topic in topics {
            if self.topics.insert(topic.clone()) {
                self.untold.insert(topic.clone());
                changed = true;
            }
        }
        changed
    }

    /// Says whether anything is to be told.
    pub(super) fn remove(&mut self, topics: &[Topic]) -> bool {
        let mut changed = false;
        for topic in topics {
            if self.topics.remove(topic) {
                self.untold.insert(topic.clone());
                changed = true;
            }
        }
        changed
    }

    pub(super) fn contains(&self, topic: &Topic) -> bool {
        self.topics.contains(topic)
    }

    /// A new connection knows of nothing: all that is wanted is to be told.
    pub(super) fn start_over(&mut self) {
        self.untold.clone_from(&self.topics);
    }

    /// The server took a topic away, or refused it: it is to be told again, if it is still wanted.
    pub(super) fn again(&mut self, topic: &Topic) -> bool {
        self.topics.contains(topic) && self.untold.insert(topic.clone())
    }

    /// Takes up to `limit` changes.
    pub(super) fn take(&mut self, limit: usize) -> Changes {
        let mut changes = Changes::default();
        for topic in self.untold.extract_if(|_| true).take(limit) {
            let list = if self.topics.contains(&topic) { &mut changes.subscribe } else { &mut changes.unsubscribe };
            list.push(topic.to_string());
        }
        changes
    }
}

impl Changes {
    pub(super) fn is_empty(&self) -> bool {
        self.subscribe.is_empty() && self.unsubscribe.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::id::ChatId;

    fn chat(id: i64) -> Topic {
        Topic::Chat(ChatId(id))
    }

    #[test]
    fn the_last_word_on_a_topic_counts() {
        let mut wanted = Wanted::default();
        assert!(wanted.add(&[chat(1), chat(2)]));
        assert!(!wanted.add(&[chat(1)]), "wanted already");
        assert!(wanted.remove(&[chat(1)]));
        let changes = wanted.take(10);
        assert_eq!(changes, Changes { subscribe: vec!["m:c:2".into()], unsubscribe: vec!["m:c:1".into()] });
        assert!(wanted.take(10).is_empty());
    }

    #[test]
    fn a_topic_taken_out_and_put_back_is_told_again() {
        let mut wanted = Wanted::default();
        wanted.add(&[chat(1)]);
        wanted.take(10);
        wanted.remove(&[chat(1)]);
        wanted.add(&[chat(1)]);
        assert_eq!(wanted.take(10).subscribe, ["m:c:1"]);
    }

    #[test]
    fn starting_over_tells_what_is_wanted_and_nothing_else() {
        let mut wanted = Wanted::default();
        wanted.add(&[chat(1), chat(2)]);
        wanted.take(10);
        wanted.remove(&[chat(1)]);
        wanted.start_over();
        assert_eq!(wanted.take(10), Changes { subscribe: vec!["m:c:2".into()], unsubscribe: vec![] });
        assert!(!wanted.again(&chat(1)));
        assert!(wanted.again(&chat(2)));
    }

    #[test]
    fn changes_come_in_batches() {
        let mut wanted = Wanted::default();
        wanted.add(&(0..25).map(chat).collect::<Vec<_>>());
        let sizes: Vec<_> = (0..4).map(|_| wanted.take(10).subscribe.len()).collect();
        assert_eq!(sizes, [10, 10, 5, 0]);
    }
}
