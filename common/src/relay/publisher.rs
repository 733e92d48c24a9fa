//! The publisher: takes commits from requests and publishes them in batches, as fast as the bus
//! takes them.

use super::batch::Batch;
use super::encode::Telling;
use crate::bus::{Bus, Publication};
use crate::event::{Envelope, EventBody, Revocation, Traced};
use crate::lifecycle::Lifecycle;
use crate::store::{Committed, NoticeBody, OutboxId, Store};
use crate::traces::{Part, Span, Traces};
use prometheus::IntCounter;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;
use tokio::sync::mpsc;

/// Commits that wait. When the queue is full, the relay publishes further ones.
const COMMITS_WAITING: usize = 8_192;
/// About how many bytes of commits wait. Beyond it, too, the relay publishes further ones.
const BYTES_WAITING: usize = 64 << 20;
/// Places that typing and status leave free: what is not stored never displaces what is.
const RESERVED: usize = COMMITS_WAITING / 4;
/// Commits that are taken off the queue at once.
const COMMITS_AT_ONCE: usize = 512;
/// Outbox entries that wait for their removal. When the queue is full, the relay publishes further
/// ones a second time.
const REMOVALS: usize = 65_536;
/// Revocations that wait, the pause between attempts, and the attempts. Beyond them the other
/// nodes read the revocation from the store.
const REVOCATIONS_WAITING: usize = 1_024;
const REVOCATION_RETRY_PAUSE: Duration = Duration::from_millis(100);
const REVOCATION_TRIES: u32 = 30;
/// Removals are gathered for this long, or up to this many.
const GATHER: Duration = Duration::from_millis(50);
const REMOVE_BATCH: usize = 500;
/// Events of one commit that are followed: a trace needs not each of a change to thousands.
const TRACED_PER_COMMIT: usize = 16;

/// Publishes what was committed. Clones feed the same queue.
#[derive(Clone, Debug)]
pub struct Publisher {
    queue: mpsc::Sender<Item>,
    /// About how many bytes wait in the queue.
    waiting: Arc<AtomicUsize>,
    ended: mpsc::Sender<Publication>,
    dropped: IntCounter,
    traces: Traces,
}

#[derive(Debug)]
enum Item {
    Committed(Committed, Vec<Span>),
    Unstored(Publication),
}

impl Publisher {
    /// Starts the publisher's tasks. `dropped` counts the commits that a full queue left to the
    /// relay.
    pub fn start(
        bus: Arc<dyn Bus>,
        store: Arc<dyn Store>,
        lifecycle: &Lifecycle,
        dropped: IntCounter,
        traces: Traces,
    ) -> Self {
        let (queue, items) = mpsc::channel(COMMITS_WAITING);
        let (removals, ids) = mpsc::channel(REMOVALS);
        let (ended, words) = mpsc::channel(REVOCATIONS_WAITING);
        let waiting = Arc::new(AtomicUsize::new(0));
        lifecycle.spawn("publisher", publish(bus.clone(), items, removals, waiting.clone()));
        lifecycle.spawn("ended access", publish_ended_access(bus, words));
        lifecycle.spawn("outbox removal", remove(store, ids));
        Self { queue, waiting, ended, dropped, traces }
    }

    /// Makes the spans of its callers.
    pub(crate) fn traces(&self) -> &Traces {
        &self.traces
    }

    /// Publishes a commit soon. Never waits. Nothing is lost when the queue is full: the relay
    /// publishes it.
    pub fn publish(&self, mut committed: Committed) {
        if committed.outbox.is_none() && committed.events.is_empty() && committed.notices.is_empty() {
            return;
        }
        let weight = weight(&committed);
        let spans = self.traced(&mut committed);
        let fits = self.waiting.fetch_add(weight, Ordering::Relaxed) < BYTES_WAITING;
        if !fits || self.queue.try_send(Item::Committed(committed, spans)).is_err() {
            self.waiting.fetch_sub(weight, Ordering::Relaxed);
            self.dropped.inc();
        }
    }

    /// The spans of publishing: of the events that name their trace, or of all that the running
    /// task committed for its own.
    fn traced(&self, committed: &mut Committed) -> Vec<Span> {
        if !self.traces.is_on() {
            return Vec::new();
        }
        if committed.traced.is_empty()
            && let Some(context) = self.traces.current()
        {
            let events = committed.events.iter().take(TRACED_PER_COMMIT);
            committed.traced = events.map(|event| Traced { chat_id: event.chat_id, seq: event.seq, context }).collect();
        }
        let begin = |traced: &mut Traced| {
            let mut span = self.traces.begin(Part::Published, "publish", Some(traced.context))?;
            span.of_event(traced.chat_id, traced.seq);
            traced.context = span.context();
            Some(span)
        };
        committed.traced.iter_mut().filter_map(begin).collect()
    }

    /// Publishes a revocation before all that waits, and retries for some seconds. Never waits.
    pub fn publish_ended(&self, revocation: Revocation) {
        if self.ended.try_send(Publication::from(&Envelope::Revoked(revocation))).is_err() {
            self.dropped.inc();
        }
    }

    /// Publishes what is stored nowhere: typing, read marks, status. Best effort. Never waits.
    pub fn publish_now(&self, envelope: &Envelope) {
        let publication = Publication::from(envelope);
        if self.queue.capacity() < RESERVED || self.queue.try_send(Item::Unstored(publication)).is_err() {
            self.dropped.inc();
        }
    }
}

/// About how many bytes a commit holds: its texts, and an allowance for all else.
fn weight(committed: &Committed) -> usize {
    let events = committed.events.iter().map(|event| match &event.body {
        EventBody::NewMessage { message } | EventBody::MessageEdited { message } => 512 + message.text.len(),
        _ => 512,
    });
    let notices = committed.notices.iter().map(|notice| match &notice.body {
        NoticeBody::NewMessage(message) | NoticeBody::Mentioned(message) => 512 + message.text.len(),
        NoticeBody::ChatAdded(_) | NoticeBody::ChatRemoved | NoticeBody::Settings(_) => 64,
    });
    events.sum::<usize>() + notices.sum::<usize>()
}

async fn publish(
    bus: Arc<dyn Bus>,
    mut items: mpsc::Receiver<Item>,
    removals: mpsc::Sender<OutboxId>,
    waiting: Arc<AtomicUsize>,
) {
    let mut taken = Vec::with_capacity(COMMITS_AT_ONCE);
    let mut batch = Batch::default();
    while items.recv_many(&mut taken, COMMITS_AT_ONCE).await > 0 {
        for item in taken.drain(..) {
            match item {
                Item::Committed(committed, spans) => {
                    waiting.fetch_sub(weight(&committed), Ordering::Relaxed);
                    let mut published = true;
                    for publication in Telling::of(&committed) {
                        if batch.push(publication) {
                            published = flush(bus.as_ref(), &mut batch, &removals).await;
                        }
                        if !published {
                            break;
                        }
                    }
                    // An entry leaves the outbox only whole.
                    batch.ids.extend(committed.outbox.filter(|_| published));
                    batch.spans.extend(spans);
                }
                Item::Unstored(publication) => {
                    if batch.push(publication) {
                        flush(bus.as_ref(), &mut batch, &removals).await;
                    }
                }
            }
        }
        flush(bus.as_ref(), &mut batch, &removals).await;
    }
}

/// Whether the bus took the batch. On an error the entries stay in the outbox, for the relay.
async fn flush(bus: &dyn Bus, batch: &mut Batch, removals: &mpsc::Sender<OutboxId>) -> bool {
    let published = batch.publications.is_empty() || bus.publish(&batch.publications).await.is_ok();
    if !published {
        batch.spans.iter_mut().for_each(|span| span.failed("unavailable"));
    }
    if published {
        for id in batch.ids.drain(..) {
            if removals.try_send(id).is_err() {
                tracing::debug!("the queue of outbox removals is full");
            }
        }
    }
    batch.clear();
    published
}

async fn publish_ended_access(bus: Arc<dyn Bus>, mut words: mpsc::Receiver<Publication>) {
    let mut batch = Vec::new();
    while words.recv_many(&mut batch, REVOCATIONS_WAITING).await > 0 {
        let mut tries = 0;
        while bus.publish(&batch).await.is_err() && tries < REVOCATION_TRIES {
            tries += 1;
            tokio::time::sleep(REVOCATION_RETRY_PAUSE).await;
            // Revocations that came meanwhile go with them.
            while batch.len() < REVOCATIONS_WAITING
                && let Ok(word) = words.try_recv()
            {
                batch.push(word);
            }
        }
        batch.clear();
    }
}

async fn remove(store: Arc<dyn Store>, mut ids: mpsc::Receiver<OutboxId>) {
    let mut batch = Vec::with_capacity(REMOVE_BATCH);
    loop {
        if ids.recv_many(&mut batch, REMOVE_BATCH).await == 0 {
            return;
        }
        let deadline = tokio::time::Instant::now() + GATHER;
        while batch.len() < REMOVE_BATCH {
            let room = REMOVE_BATCH - batch.len();
            match tokio::time::timeout_at(deadline, ids.recv_many(&mut batch, room)).await {
                Ok(1..) => {}
                Ok(0) | Err(_) => break,
            }
        }
        if let Err(error) = store.outbox_remove(&batch).await {
            tracing::debug!(%error, "outbox entries could not be removed: they will be published again");
        }
        batch.clear();
    }
}
