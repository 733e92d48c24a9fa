//! The publisher: takes what requests committed off their hands and tells it in batches, as fast as the bus takes them.

use super::encode::encode;
use crate::bus::{Bus, Publication, Tasks};
use crate::store::{Committed, OutboxId, Store};
use prometheus::IntCounter;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::mpsc;

/// How many commits wait to be told. When full, further ones are left to the relay.
const QUEUE: usize = 8_192;
/// Below this much room, what is not stored (typing, status) is dropped, so that it never displaces what is.
const RESERVED: usize = QUEUE / 4;
/// How many commits are told at once, and about how many publications.
const BATCH: usize = 512;
const PUBLICATIONS: usize = 1_000;
/// How many outbox entries wait for their removal. When full, further ones are left to the relay, which tells them twice.
const REMOVALS: usize = 65_536;
/// Removals are gathered for this long, or this many.
const GATHER: Duration = Duration::from_millis(50);
const REMOVE_BATCH: usize = 500;

/// The handle that tells the cluster what was committed; clones feed the same queue.
#[derive(Clone, Debug)]
pub struct Publisher {
    queue: mpsc::Sender<Item>,
    dropped: IntCounter,
}

#[derive(Debug)]
enum Item {
    Committed(Committed),
    Unstored(Vec<Publication>),
}

impl Publisher {
    /// Starts the publisher's tasks. `dropped` counts what a full queue left to the relay.
    pub fn start(bus: Arc<dyn Bus>, store: Arc<dyn Store>, tasks: &Tasks, dropped: IntCounter) -> Self {
        let (queue, items) = mpsc::channel(QUEUE);
        let (removals, ids) = mpsc::channel(REMOVALS);
        tasks.spawn("publisher", publish(bus, items, removals));
        tasks.spawn("outbox removal", remove(store, ids));
        Self { queue, dropped }
    }

    /// Tells what was committed, soon; never waits, and nothing is lost where it cannot be told now.
    pub fn publish(&self, committed: Committed) {
        if committed.outbox.is_none() && committed.events.is_empty() && committed.notices.is_empty() {
            return;
        }
        if self.queue.try_send(Item::Committed(committed)).is_err() {
            self.dropped.inc();
        }
    }

    /// Tells what is stored nowhere: typing, read marks, status, revocations. Best effort; never waits.
    pub fn publish_now(&self, publications: Vec<Publication>) {
        if self.queue.capacity() < RESERVED || self.queue.try_send(Item::Unstored(publications)).is_err() {
            self.dropped.inc();
        }
    }
}

async fn publish(bus: Arc<dyn Bus>, mut items: mpsc::Receiver<Item>, removals: mpsc::Sender<OutboxId>) {
    let mut batch = Vec::with_capacity(BATCH);
    let mut told: Vec<Publication> = Vec::new();
    let mut ids: Vec<OutboxId> = Vec::new();
    while items.recv_many(&mut batch, BATCH).await > 0 {
        let mut rest = batch.drain(..).peekable();
        while let Some(item) = rest.next() {
            match item {
                Item::Committed(committed) => {
                    encode(&committed, &mut told);
                    ids.extend(committed.outbox);
                }
                Item::Unstored(publications) => told.extend(publications),
            }
            if told.len() < PUBLICATIONS && rest.peek().is_some() {
                continue;
            }
            // An error leaves the entries in the outbox, for the relay.
            if bus.publish(&told).await.is_ok() {
                for id in ids.drain(..) {
                    if removals.try_send(id).is_err() {
                        tracing::debug!("the queue of outbox removals is full");
                    }
                }
            }
            told.clear();
            ids.clear();
        }
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
