//! The topics that a link subscribes to, and the changes that the server has not confirmed yet.

use super::Topic;
use std::collections::HashSet;

/// The topics that the link subscribes to, and those whose last change is still to be sent.
///
/// Whether a topic is subscribed or unsubscribed is decided when the change is sent. So any order
/// of both, in or out of an outage, ends in the set of topics. A topic that was taken out and put
/// back is subscribed again, because its `Subscribed` is owed.
#[derive(Debug, Default)]
pub(super) struct Subscriptions {
    topics: HashSet<Topic>,
    unconfirmed: HashSet<Topic>,
}

/// The next changes for the server.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Changes {
    pub(super) subscribe: Vec<Topic>,
    pub(super) unsubscribe: Vec<Topic>,
}

impl Subscriptions {
    /// True when there is something to send.
    pub(super) fn add(&mut self, topics: &[Topic]) -> bool {
        let mut changed = false;
        for topic in topics {
            if self.topics.insert(topic.clone()) {
                self.unconfirmed.insert(topic.clone());
                changed = true;
            }
        }
        changed
    }

    /// True when there is something to send.
    pub(super) fn remove(&mut self, topics: &[Topic]) -> bool {
        let mut changed = false;
        for topic in topics {
            if self.topics.remove(topic) {
                self.unconfirmed.insert(topic.clone());
                changed = true;
            }
        }
        changed
    }

    pub(super) fn contains(&self, topic: &Topic) -> bool {
        self.topics.contains(topic)
    }

    /// A new connection has no subscription: every topic is to be sent.
    pub(super) fn resubscribe_all(&mut self) {
        self.unconfirmed.clone_from(&self.topics);
    }

    /// The server took a topic away, or refused it: it is sent again, if it is still subscribed.
    pub(super) fn retry(&mut self, topic: &Topic) -> bool {
        self.topics.contains(topic) && self.unconfirmed.insert(topic.clone())
    }

    /// Takes up to `limit` changes.
    pub(super) fn take(&mut self, limit: usize) -> Changes {
        let mut changes = Changes::default();
        for topic in self.unconfirmed.extract_if(|_| true).take(limit) {
            let list = if self.topics.contains(&topic) { &mut changes.subscribe } else { &mut changes.unsubscribe };
            list.push(topic);
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
        let mut subscriptions = Subscriptions::default();
        assert!(subscriptions.add(&[chat(1), chat(2)]));
        assert!(!subscriptions.add(&[chat(1)]), "subscribed already");
        assert!(subscriptions.remove(&[chat(1)]));
        let changes = subscriptions.take(10);
        assert_eq!(changes, Changes { subscribe: vec![chat(2)], unsubscribe: vec![chat(1)] });
        assert!(subscriptions.take(10).is_empty());
    }

    #[test]
    fn a_topic_taken_out_and_put_back_is_sent_again() {
        let mut subscriptions = Subscriptions::default();
        subscriptions.add(&[chat(1)]);
        subscriptions.take(10);
        subscriptions.remove(&[chat(1)]);
        subscriptions.add(&[chat(1)]);
        assert_eq!(subscriptions.take(10).subscribe, [chat(1)]);
    }

    #[test]
    fn a_new_connection_subscribes_to_the_present_topics_and_no_others() {
        let mut subscriptions = Subscriptions::default();
        subscriptions.add(&[chat(1), chat(2)]);
        subscriptions.take(10);
        subscriptions.remove(&[chat(1)]);
        subscriptions.resubscribe_all();
        assert_eq!(subscriptions.take(10), Changes { subscribe: vec![chat(2)], unsubscribe: vec![] });
        assert!(!subscriptions.retry(&chat(1)));
        assert!(subscriptions.retry(&chat(2)));
    }

    #[test]
    fn changes_come_in_batches() {
        let mut subscriptions = Subscriptions::default();
        subscriptions.add(&(0..25).map(chat).collect::<Vec<_>>());
        let sizes: Vec<_> = (0..4).map(|_| subscriptions.take(10).subscribe.len()).collect();
        assert_eq!(sizes, [10, 10, 5, 0]);
    }
}
