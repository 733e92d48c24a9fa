//! The publications of one call of the bus.

use crate::bus::Publication;
use crate::store::OutboxId;
use crate::traces::Span;

/// About how many publications, and bytes of them, one call of the bus takes: it has a second for
/// its answer.
const PUBLICATIONS_PER_CALL: usize = 1_000;
const BYTES_PER_CALL: usize = 1 << 20;

/// Publications of one call, and the outbox entries whose last publication is among them.
#[derive(Default)]
pub(super) struct Batch {
    pub(super) publications: Vec<Publication>,
    bytes: usize,
    pub(super) ids: Vec<OutboxId>,
    /// The spans that end with the call.
    pub(super) spans: Vec<Span>,
}

impl Batch {
    /// Adds a publication. True when the batch is full.
    pub(super) fn push(&mut self, publication: Publication) -> bool {
        self.bytes += publication.payload.len();
        self.publications.push(publication);
        self.publications.len() >= PUBLICATIONS_PER_CALL || self.bytes >= BYTES_PER_CALL
    }

    pub(super) fn is_empty(&self) -> bool {
        self.publications.is_empty() && self.ids.is_empty()
    }

    pub(super) fn clear(&mut self) {
        self.publications.clear();
        self.bytes = 0;
        self.ids.clear();
        self.spans.clear();
    }
}
