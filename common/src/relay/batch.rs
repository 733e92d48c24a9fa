//! How much is told at once.

use crate::bus::Publication;
use crate::store::OutboxId;

/// About how many publications, and how many bytes of them, go in one call of the bus: a call has a second for its answer.
const PUBLICATIONS: usize = 1_000;
const BYTES: usize = 1 << 20;

/// Publications that go together, and the outbox entries whose last one is among them.
#[derive(Default)]
pub(super) struct Chunk {
    pub(super) publications: Vec<Publication>,
    bytes: usize,
    pub(super) ids: Vec<OutboxId>,
}

impl Chunk {
    /// Adds one; true when the chunk is full.
    pub(super) fn push(&mut self, publication: Publication) -> bool {
        self.bytes += publication.payload.len();
        self.publications.push(publication);
        self.publications.len() >= PUBLICATIONS || self.bytes >= BYTES
    }

    pub(super) fn is_empty(&self) -> bool {
        self.publications.is_empty() && self.ids.is_empty()
    }

    pub(super) fn clear(&mut self) {
        self.publications.clear();
        self.bytes = 0;
        self.ids.clear();
    }
}
