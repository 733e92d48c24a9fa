//! Which sends share a transaction.

use super::Entry;
use crate::store::NewMessage;
use std::collections::HashSet;

/// Sends of one transaction.
pub(super) const MAX_BATCH: usize = 256;
/// Words of one transaction that has more than one send: they are what a long text costs those who
/// share it.
pub(super) const MAX_BATCH_WORDS: usize = 16_384;

/// Entries that are to be committed together.
#[derive(Default)]
pub(super) struct Batch {
    pub(super) entries: Vec<Entry>,
    words: usize,
    /// A message did not fit: none that came after it may overtake it.
    full: bool,
    keys: HashSet<(i64, i64, String)>,
}

impl Batch {
    pub(super) fn has_room(&self) -> bool {
        self.entries.len() < MAX_BATCH && !self.full
    }

    /// Counts a message among those of the batch, if it may be one. The store takes no two of one
    /// author, chat and `client_message_id` at once: the later one waits, and finds the first.
    pub(super) fn takes(&mut self, message: &NewMessage) -> bool {
        let words = self.words + message.words.count();
        if !self.entries.is_empty() && words > MAX_BATCH_WORDS {
            self.full = true;
            return false;
        }
        let is_single = message
            .client_message_id
            .as_ref()
            .is_none_or(|id| self.keys.insert((message.author_id.0, message.chat_id.0, id.clone())));
        if is_single {
            self.words = words;
        }
        is_single
    }
}
