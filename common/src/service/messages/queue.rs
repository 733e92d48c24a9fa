//! Sends that arrive together commit together.
//!
//! A send waits for nobody: an idle lane commits it at once. What arrives while a commit runs makes up the next one, so that the
//! batches grow by themselves with the load. A chat belongs to one lane, which keeps the order in which its messages came and the
//! lanes from waiting for each other's rows.

use crate::error::{Error, Result};
use crate::lifecycle::Lifecycle;
use crate::metrics::Metrics;
use crate::relay::Publisher;
use crate::store::{Committed, NewMessage, Sent, SentBatch, Store};
use std::collections::{HashSet, VecDeque};
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::{mpsc, oneshot};
use tokio_util::sync::CancellationToken;

/// How many commits may run at once.
const LANES: usize = 2;
/// How many sends one transaction takes.
const MAX_BATCH: usize = 256;
/// How many may wait in a lane; one more is answered `Unavailable` at once.
const MAX_WAITING: usize = 4096;
/// The store answers within two seconds (its obligation); this only bounds what breaks it.
const PATIENCE: Duration = Duration::from_secs(5);

/// The queue of sends that wait to be committed. Full, it refuses (`Unavailable`); when the store is away, all that wait are
/// refused together, so that nobody waits for more than one try.
#[derive(Clone)]
pub struct SendQueue {
    lanes: Arc<[mpsc::Sender<Entry>]>,
}

struct Entry {
    message: NewMessage,
    /// Dropped when its caller hung up; the message is committed all the same.
    answer: oneshot::Sender<Result<Sent>>,
}

struct Lane {
    entries: mpsc::Receiver<Entry>,
    /// Entries that may not share a batch with one before them; they lead the next one. At most a batch of them.
    deferred: VecDeque<Entry>,
}

impl SendQueue {
    /// Starts the lanes as tasks of `lifecycle`.
    pub fn start(store: &Arc<dyn Store>, publisher: &Publisher, metrics: &Metrics, lifecycle: &Lifecycle) -> Self {
        let (queue, lanes) = Self::new(LANES);
        for lane in lanes {
            let (store, publisher, metrics) = (store.clone(), publisher.clone(), metrics.clone());
            let commit = move |batch| {
                let store = store.clone();
                async move { store.send(batch).await }
            };
            let tell = move |created, committed| {
                metrics.messages_stored.inc_by(created);
                publisher.publish(committed);
            };
            lifecycle.spawn("send lane", lane.run(commit, tell, lifecycle.stopping()));
        }
        queue
    }

    fn new(lanes: usize) -> (Self, Vec<Lane>) {
        let (senders, lanes): (Vec<_>, _) = (0..lanes)
            .map(|_| {
                let (sender, entries) = mpsc::channel(MAX_WAITING);
                (sender, Lane { entries, deferred: VecDeque::new() })
            })
            .unzip();
        (Self { lanes: senders.into() }, lanes)
    }

    /// Commits a checked message, in one transaction with those that wait beside it.
    pub(super) async fn send(&self, message: NewMessage) -> Result<Sent> {
        let (answer, answered) = oneshot::channel();
        let lane = usize::try_from(message.chat_id.0.unsigned_abs()).unwrap_or(0) % self.lanes.len();
        self.lanes[lane]
            .try_send(Entry { message, answer })
            .map_err(|_| Error::unavailable("the queue of sends is full"))?;
        match tokio::time::timeout(PATIENCE, answered).await {
            Ok(Ok(outcome)) => outcome,
            Ok(Err(_)) => Err(Error::unavailable("the program is stopping")),
            Err(_) => Err(Error::unavailable("the commit took too long")),
        }
    }
}

impl Lane {
    async fn run<F>(
        mut self,
        commit: impl Fn(Vec<NewMessage>) -> F,
        tell: impl Fn(u64, Committed),
        stopping: CancellationToken,
    ) where
        F: Future<Output = Result<SentBatch>>,
    {
        while let Some(batch) = self.next(&stopping).await {
            self.settle(batch, &commit, &tell).await;
        }
    }

    /// What waits now; when nothing does, the next to come. `None` when the program stops.
    async fn next(&mut self, stopping: &CancellationToken) -> Option<Vec<Entry>> {
        let mut batch = Vec::new();
        let mut keys = HashSet::new();
        let waiting = std::mem::take(&mut self.deferred);
        for entry in waiting {
            self.admit(entry, &mut batch, &mut keys);
        }
        if batch.is_empty() {
            let first = tokio::select! {
                first = self.entries.recv() => first?,
                () = stopping.cancelled() => return None,
            };
            self.admit(first, &mut batch, &mut keys);
        }
        while batch.len() + self.deferred.len() < MAX_BATCH
            && let Ok(entry) = self.entries.try_recv()
        {
            self.admit(entry, &mut batch, &mut keys);
        }
        Some(batch)
    }

    /// The store takes no two of one author, chat and `client_message_id` at once: the later waits, and finds the first.
    fn admit(&mut self, entry: Entry, batch: &mut Vec<Entry>, keys: &mut HashSet<(i64, i64, String)>) {
        let message = &entry.message;
        let fresh = match &message.client_message_id {
            Some(id) => keys.insert((message.author_id.0, message.chat_id.0, id.clone())),
            None => true,
        };
        if fresh { batch.push(entry) } else { self.deferred.push_back(entry) }
    }

    async fn settle<F>(
        &mut self,
        batch: Vec<Entry>,
        commit: &impl Fn(Vec<NewMessage>) -> F,
        tell: &impl Fn(u64, Committed),
    ) where
        F: Future<Output = Result<SentBatch>>,
    {
        let outcome = within_patience(commit(messages(&batch))).await;
        // Nothing was committed, yet the store is there: one of them may be what it cannot digest, and the others shall not suffer
        // for it.
        if batch.len() > 1 && matches!(&outcome, Err(error) if !matches!(error, Error::Unavailable(_))) {
            let mut rest = VecDeque::from(batch);
            while let Some(entry) = rest.pop_front() {
                let alone = vec![entry];
                let outcome = within_patience(commit(messages(&alone))).await;
                if let Err(Error::Unavailable(source)) = outcome {
                    // Gone meanwhile: the others would each wait for a time-out of their own.
                    let refused = alone.into_iter().chain(rest).collect();
                    return self.refuse(refused, &source.to_string());
                }
                self.tell_and_answer(alone, outcome, tell);
            }
        } else {
            self.tell_and_answer(batch, outcome, tell);
        }
    }

    fn tell_and_answer(&mut self, batch: Vec<Entry>, outcome: Result<SentBatch>, tell: &impl Fn(u64, Committed)) {
        match outcome {
            Ok(sent) => answer(batch, sent, tell),
            Err(Error::Unavailable(source)) => self.refuse(batch, &source.to_string()),
            Err(error) => fail(batch, Error::internal, &inside(&error)),
        }
    }

    /// The store is away: whoever waits would only wait for the next time-out.
    fn refuse(&mut self, batch: Vec<Entry>, reason: &str) {
        let mut refused: VecDeque<_> = batch.into();
        refused.append(&mut self.deferred);
        while let Ok(entry) = self.entries.try_recv() {
            refused.push_back(entry);
        }
        fail(refused, Error::unavailable, reason);
    }
}

fn messages(batch: &[Entry]) -> Vec<NewMessage> {
    batch.iter().map(|entry| entry.message.clone()).collect()
}

async fn within_patience(commit: impl Future<Output = Result<SentBatch>>) -> Result<SentBatch> {
    match tokio::time::timeout(PATIENCE, commit).await {
        Ok(outcome) => outcome,
        Err(_) => Err(Error::unavailable("the store did not answer")),
    }
}

/// Word of what was committed goes out before its sender hears: who sends again on the answer comes after it.
fn answer(batch: Vec<Entry>, sent: SentBatch, tell: &impl Fn(u64, Committed)) {
    let created = sent.results.iter().filter(|result| matches!(result, Ok(sent) if sent.created)).count();
    tell(created as u64, sent.committed);
    for (entry, result) in batch.into_iter().zip(sent.results) {
        // A caller that hung up is no fault.
        drop(entry.answer.send(result));
    }
}

fn fail(entries: impl IntoIterator<Item = Entry>, error: fn(String) -> Error, reason: &str) {
    for entry in entries {
        drop(entry.answer.send(Err(error(reason.to_owned()))));
    }
}

/// An error's own words and its source's, for the log.
fn inside(error: &Error) -> String {
    error.inside().map_or_else(|| error.to_string(), ToString::to_string)
}

#[cfg(test)]
#[path = "queue_tests.rs"]
mod tests;
