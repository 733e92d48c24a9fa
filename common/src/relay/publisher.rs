//! The publisher: takes what requests committed off their hands and tells it in batches, as fast as the bus takes them.

use super::batch::Chunk;
use super::encode::Telling;
use crate::bus::{Bus, Publication};
use crate::event::EventBody;
use crate::lifecycle::Lifecycle;
use crate::store::{Committed, NoticeBody, OutboxId, Store};
use prometheus::IntCounter;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;
use tokio::sync::mpsc;

/// How many commits wait to be told. When full, further ones are left to the relay.
const QUEUE: usize = 8_192;
/// And about how many bytes of them. Beyond it too they are left to the relay.
const BYTES: usize = 64 << 20;
/// Below this much room, what is not stored (typing, status) is dropped, so that it never displaces what is.
const RESERVED: usize = QUEUE / 4;
/// How many commits are taken off the queue at once.
const BATCH: usize = 512;
/// How many outbox entries wait for their removal. When full, further ones are left to the relay, which tells them twice.
const REMOVALS: usize = 65_536;
/// How many words of ended access wait to be told, how often one is tried, and for how long. Beyond it the nodes read it from the store.
const ENDED: usize = 1_024;
const ENDED_RETRY: Duration = Duration::from_millis(100);
const ENDED_TRIES: u32 = 30;
/// Removals are gathered for this long, or this many.
const GATHER: Duration = Duration::from_millis(50);
const REMOVE_BATCH: usize = 500;

/// The handle that tells the cluster what was committed; clones feed the same queue.
#[derive(Clone, Debug)]
pub struct Publisher {
    queue: mpsc::Sender<Item>,
    /// About how many bytes wait in it.
    waiting: Arc<AtomicUsize>,
    ended: mpsc::Sender<Publication>,
    dropped: IntCounter,
}

#[derive(Debug)]
enum Item {
    Committed(Committed),
    Unstored(Vec<Publication>),
}

impl Publisher {
    /// Starts the publisher's tasks. `dropped` counts what a full queue left to the relay.
    pub fn start(bus: Arc<dyn Bus>, store: Arc<dyn Store>, lifecycle: &Lifecycle, dropped: IntCounter) -> Self {
        let (queue, items) = mpsc::channel(QUEUE);
        let (removals, ids) = mpsc::channel(REMOVALS);
        let (ended, words) = mpsc::channel(ENDED);
        let waiting = Arc::new(AtomicUsize::new(0));
        lifecycle.spawn("publisher", publish(bus.clone(), items, removals, waiting.clone()));
        lifecycle.spawn("ended access", tell_ended(bus, words));
        lifecycle.spawn("outbox removal", remove(store, ids));
        Self { queue, waiting, ended, dropped }
    }

    /// Tells what was committed, soon; never waits, and nothing is lost where it cannot be told now.
    pub fn publish(&self, committed: Committed) {
        if committed.outbox.is_none() && committed.events.is_empty() && committed.notices.is_empty() {
            return;
        }
        let weight = weight(&committed);
        let fits = self.waiting.fetch_add(weight, Ordering::Relaxed) < BYTES;
        if !fits || self.queue.try_send(Item::Committed(committed)).is_err() {
            self.waiting.fetch_sub(weight, Ordering::Relaxed);
            self.dropped.inc();
        }
    }

    /// Tells that access has ended: past all that waits, and again for some seconds where the bus does not take it. Never waits.
    pub fn publish_ended(&self, publication: Publication) {
        if self.ended.try_send(publication).is_err() {
            self.dropped.inc();
        }
    }

    /// Tells what is stored nowhere: typing, read marks, status. Best effort; never waits.
    pub fn publish_now(&self, publications: Vec<Publication>) {
        if self.queue.capacity() < RESERVED || self.queue.try_send(Item::Unstored(publications)).is_err() {
            self.dropped.inc();
        }
    }
}

/// About how many bytes it holds: its texts, and something for all else.
fn weight(committed: &Committed) -> usize {
    let events = committed.events.iter().map(|event| match &event.body {
        EventBody::NewMessage { message } | EventBody::MessageEdited { message } => 512 + message.text.len(),
        _ => 512,
    });
    let notices = committed.notices.iter().map(|notice| match &notice.body {
        NoticeBody::NewMessage(message) => 512 + message.text.len(),
        NoticeBody::ChatAdded(_) | NoticeBody::ChatRemoved => 64,
    });
    events.sum::<usize>() + notices.sum::<usize>()
}

async fn publish(
    bus: Arc<dyn Bus>,
    mut items: mpsc::Receiver<Item>,
    removals: mpsc::Sender<OutboxId>,
    waiting: Arc<AtomicUsize>,
) {
    let mut batch = Vec::with_capacity(BATCH);
    let mut chunk = Chunk::default();
    while items.recv_many(&mut batch, BATCH).await > 0 {
        for item in batch.drain(..) {
            match item {
                Item::Committed(committed) => {
                    waiting.fetch_sub(weight(&committed), Ordering::Relaxed);
                    let mut told = true;
                    for publication in Telling::of(&committed) {
                        if chunk.push(publication) {
                            told = tell(bus.as_ref(), &mut chunk, &removals).await;
                        }
                        if !told {
                            break;
                        }
                    }
                    // Only a whole one leaves the outbox.
                    chunk.ids.extend(committed.outbox.filter(|_| told));
                }
                Item::Unstored(publications) => {
                    for publication in publications {
                        if chunk.push(publication) {
                            tell(bus.as_ref(), &mut chunk, &removals).await;
                        }
                    }
                }
            }
        }
        tell(bus.as_ref(), &mut chunk, &removals).await;
    }
}

/// Whether the bus took the chunk. An error leaves the entries in the outbox, for the relay.
async fn tell(bus: &dyn Bus, chunk: &mut Chunk, removals: &mpsc::Sender<OutboxId>) -> bool {
    let told = chunk.publications.is_empty() || bus.publish(&chunk.publications).await.is_ok();
    if told {
        for id in chunk.ids.drain(..) {
            if removals.try_send(id).is_err() {
                tracing::debug!("the queue of outbox removals is full");
            }
        }
    }
    chunk.clear();
    told
}

async fn tell_ended(bus: Arc<dyn Bus>, mut words: mpsc::Receiver<Publication>) {
    let mut batch = Vec::new();
    while words.recv_many(&mut batch, ENDED).await > 0 {
        let mut tries = 0;
        while bus.publish(&batch).await.is_err() && tries < ENDED_TRIES {
            tries += 1;
            tokio::time::sleep(ENDED_RETRY).await;
            // What comes meanwhile goes with them.
            while batch.len() < ENDED
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
            tracing::debug!(%error, "outbox entries could not be removed: they will be told again");
        }
        batch.clear();
    }
}
