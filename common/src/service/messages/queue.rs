//! Sends that arrive together commit together.
//!
//! When no commit runs, a send is committed at once. Sends that arrive during a commit form the
//! next batch, so the batches grow with the load: one round trip, one transaction and one flush of
//! the log for all of them. Beside a slow commit another one begins, for other chats: a chat whose
//! row is locked delays only itself.

mod batch;

use self::batch::Batch;
use crate::error::{Error, Result};
use crate::event::Traced;
use crate::id::ChatId;
use crate::lifecycle::Lifecycle;
use crate::metrics::Metrics;
use crate::relay::Publisher;
use crate::store::{Committed, NewMessage, Sent, SentBatch, Store};
use crate::traces::{Part, Span, Traces};
use futures_util::StreamExt;
use futures_util::stream::FuturesUnordered;
use std::collections::{HashSet, VecDeque};
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::{mpsc, oneshot};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

/// A commit that takes longer than this no longer holds up the next one.
const SLOW: Duration = Duration::from_millis(25);
/// Sends that may wait. The next one gets `Unavailable`. Up to as many more are held back behind
/// slow commits (twice as many after a failure).
const MAX_WAITING: usize = 8192;
/// A store without an answer for this long is away, whatever it answered when a failed commit
/// began.
const SILENT: Duration = Duration::from_secs(1);
/// After a failed commit, sends that have waited longer than this fail too: another attempt could
/// not finish within G3's two seconds.
const ANOTHER_TRY: Duration = Duration::from_millis(200);
/// The store answers within two seconds (its obligation). This bounds a store that does not.
const COMMIT_TIMEOUT: Duration = Duration::from_secs(5);

/// The queue of sends that wait for a commit. A full queue refuses (`Unavailable`). When the store
/// is away, all waiting sends fail together, so that none waits for more than one attempt.
#[derive(Clone)]
pub struct SendQueue {
    entries: mpsc::Sender<Entry>,
    traces: Traces,
}

struct Entry {
    message: NewMessage,
    came: Instant,
    /// From the queue to the commit, in a sampled trace.
    span: Option<Span>,
    /// Its receiver is gone when the caller hung up. The message is committed all the same.
    answer: oneshot::Sender<Result<Sent>>,
}

/// The task that forms the batches.
struct Committer {
    entries: mpsc::Receiver<Entry>,
    /// Entries that were taken and not begun, in their order: those of a chat in a running commit,
    /// and those that may not share a batch with an earlier one.
    held: VecDeque<Entry>,
    /// The chats of the running commits; each is in one of them.
    busy: HashSet<ChatId>,
    /// Chats whose commit failed while the store did others: each is retried by itself until it
    /// succeeds.
    suspects: HashSet<ChatId>,
    /// Commits that may run at once.
    at_once: usize,
    /// When the store last answered.
    answered: Option<Instant>,
}

/// A commit that is over.
struct Settled {
    began: Instant,
    chats: HashSet<ChatId>,
    /// The reason, if the store was away.
    away: Option<String>,
}

impl SendQueue {
    /// Starts the queue's task as one of `lifecycle`.
    pub fn start(store: &Arc<dyn Store>, publisher: &Publisher, metrics: &Metrics, lifecycle: &Lifecycle) -> Self {
        let (queue, committer) = Self::new(store.writers(), publisher.traces().clone());
        let (store, publisher, metrics) = (store.clone(), publisher.clone(), metrics.clone());
        let commit = move |batch| {
            let store = store.clone();
            async move { store.send(batch).await }
        };
        let publish = move |created, committed| {
            metrics.messages_stored.inc_by(created);
            publisher.publish(committed);
        };
        lifecycle.spawn_to_end("sends", committer.run(commit, publish, lifecycle.stopping()));
        queue
    }

    fn new(at_once: usize, traces: Traces) -> (Self, Committer) {
        let (sender, entries) = mpsc::channel(MAX_WAITING);
        let (held, busy, suspects) = (VecDeque::new(), HashSet::new(), HashSet::new());
        (Self { entries: sender, traces }, Committer { entries, held, busy, suspects, at_once, answered: None })
    }

    /// Commits a checked message, in one transaction with others that wait.
    pub(super) async fn send(&self, message: NewMessage) -> Result<Sent> {
        let (answer, answered) = oneshot::channel();
        let span = self.traces.current().and_then(|parent| self.traces.begin(Part::Inner, "commit", Some(parent)));
        self.entries
            .try_send(Entry { message, came: Instant::now(), span, answer })
            .map_err(|_| Error::unavailable("the queue of sends is full"))?;
        match tokio::time::timeout(COMMIT_TIMEOUT, answered).await {
            Ok(Ok(outcome)) => outcome,
            Ok(Err(_)) => Err(Error::unavailable("the program is stopping")),
            Err(_) => Err(Error::unavailable("the commit took too long")),
        }
    }
}

impl Committer {
    /// Commits until the program stops and nothing waits any more.
    async fn run<F>(
        mut self,
        commit: impl Fn(Vec<NewMessage>) -> F,
        publish: impl Fn(u64, Committed),
        stopping: CancellationToken,
    ) where
        F: Future<Output = Result<SentBatch>>,
    {
        let mut running = FuturesUnordered::new();
        let mut next = Instant::now();
        loop {
            let now = Instant::now();
            let may_begin = running.is_empty() || (running.len() < self.at_once && now >= next);
            if may_begin {
                let batch = self.batch();
                if !batch.is_empty() {
                    let chats: HashSet<_> = batch.iter().map(|entry| entry.message.chat_id).collect();
                    self.busy.extend(&chats);
                    next = now + SLOW;
                    let settled = settle(batch, &commit, &publish);
                    running.push(async move { Settled { began: now, chats, away: settled.await } });
                    continue;
                }
            }
            tokio::select! {
                Some(settled) = running.next(), if !running.is_empty() => {
                    // The newest commit is over: the next one need not wait for those that still
                    // run.
                    if settled.began + SLOW == next {
                        next = settled.began;
                    }
                    self.settled(settled);
                }
                first = self.entries.recv(), if may_begin && self.held.len() < MAX_WAITING => match first {
                    Some(first) => self.held.push_back(first),
                    // No sender is left.
                    None if running.is_empty() => return,
                    None => if let Some(settled) = running.next().await { self.settled(settled); }
                },
                () = tokio::time::sleep_until(next), if !may_begin && running.len() < self.at_once => {}
                () = stopping.cancelled(), if running.is_empty() => return,
            }
        }
    }

    /// The waiting entries that may be committed now.
    fn batch(&mut self) -> Vec<Entry> {
        let mut batch = Batch::default();
        for entry in std::mem::take(&mut self.held) {
            self.admit(entry, &mut batch);
        }
        while batch.has_room()
            && self.held.len() < MAX_WAITING
            && let Ok(entry) = self.entries.try_recv()
        {
            self.admit(entry, &mut batch);
        }
        batch.entries
    }

    fn admit(&mut self, mut entry: Entry, batch: &mut Batch) {
        let message = &entry.message;
        let fits = batch.has_room()
            && !self.busy.contains(&message.chat_id)
            && self.may_share(message.chat_id, &batch.entries)
            && batch.takes(message);
        if !fits {
            return self.held.push_back(entry);
        }
        if let Some(span) = &mut entry.span {
            span.moment("transaction begins");
        }
        batch.entries.push(entry);
    }

    /// A suspect shares a batch with no other chat, and leaves the others a commit of their own.
    fn may_share(&self, chat: ChatId, batch: &[Entry]) -> bool {
        if self.suspects.is_empty() {
            return true;
        }
        let first = batch.first().map(|entry| entry.message.chat_id);
        match (first, self.suspects.contains(&chat)) {
            (None, true) => self.busy.intersection(&self.suspects).count() + 1 < self.at_once.max(2),
            (None, false) => true,
            (Some(first), false) => !self.suspects.contains(&first),
            (Some(first), true) => first == chat,
        }
    }

    /// An entry that waits for a store that is away would only wait for the next time-out.
    fn settled(&mut self, settled: Settled) {
        self.busy.retain(|chat| !settled.chats.contains(chat));
        let now = Instant::now();
        let Some(reason) = settled.away else {
            self.answered = Some(now);
            self.suspects.retain(|chat| !settled.chats.contains(chat));
            return;
        };
        // If the store answered others meanwhile, these chats are what it could not lock.
        let away = self.answered.is_none_or(|answered| answered < settled.began || now - answered > SILENT);
        if !away && self.suspects.len() < MAX_WAITING {
            self.suspects.extend(&settled.chats);
        }
        let mut waiting = std::mem::take(&mut self.held);
        waiting.extend(std::iter::from_fn(|| self.entries.try_recv().ok()));
        let (refused, held): (VecDeque<_>, _) = waiting.into_iter().partition(|entry| {
            away || settled.chats.contains(&entry.message.chat_id) || now - entry.came > ANOTHER_TRY
        });
        self.held = held;
        fail(refused, Error::unavailable, &reason);
    }
}

/// Commits a batch and answers its entries. Returns the reason if the store is away.
async fn settle<F>(
    batch: Vec<Entry>,
    commit: &impl Fn(Vec<NewMessage>) -> F,
    publish: &impl Fn(u64, Committed),
) -> Option<String>
where
    F: Future<Output = Result<SentBatch>>,
{
    let outcome = within_timeout(commit(messages(&batch))).await;
    // Nothing was committed, but the store is there: it may refuse one entry only, and the others
    // must not suffer for it.
    if batch.len() == 1 || !matches!(&outcome, Err(error) if !matches!(error, Error::Unavailable(_))) {
        return publish_and_answer(batch, outcome, publish);
    }
    let mut rest = VecDeque::from(batch);
    while let Some(entry) = rest.pop_front() {
        let alone = vec![entry];
        let outcome = within_timeout(commit(messages(&alone))).await;
        if let Some(away) = publish_and_answer(alone, outcome, publish) {
            // The store is gone meanwhile: the others would each wait for another time-out.
            fail(rest, Error::unavailable, &away);
            return Some(away);
        }
    }
    None
}

fn publish_and_answer(
    batch: Vec<Entry>,
    outcome: Result<SentBatch>,
    publish: &impl Fn(u64, Committed),
) -> Option<String> {
    match outcome {
        Ok(sent) => answer(batch, sent, publish),
        Err(Error::Unavailable(source)) => {
            let reason = source.to_string();
            fail(batch, Error::unavailable, &reason);
            return Some(reason);
        }
        Err(error) => fail(batch, Error::internal, &error.cause()),
    }
    None
}

fn messages(batch: &[Entry]) -> Vec<NewMessage> {
    batch.iter().map(|entry| entry.message.clone()).collect()
}

async fn within_timeout(commit: impl Future<Output = Result<SentBatch>>) -> Result<SentBatch> {
    match tokio::time::timeout(COMMIT_TIMEOUT, commit).await {
        Ok(outcome) => outcome,
        Err(_) => Err(Error::unavailable("the store did not answer")),
    }
}

/// The commit is published before its sender gets the answer, so that the sender's next message
/// comes after it.
fn answer(mut batch: Vec<Entry>, mut sent: SentBatch, publish: &impl Fn(u64, Committed)) {
    let created = sent.results.iter().filter(|result| matches!(result, Ok(sent) if sent.created)).count();
    sent.committed.traced = traced(&mut batch, &sent.results);
    publish(created as u64, sent.committed);
    for (entry, result) in batch.into_iter().zip(sent.results) {
        // A caller that hung up is no fault.
        drop(entry.answer.send(result));
    }
}

/// The new messages that belong to sampled traces, and the end of their spans.
fn traced(batch: &mut [Entry], results: &[Result<Sent>]) -> Vec<Traced> {
    let of_entry = |(entry, result): (&mut Entry, &Result<Sent>)| {
        let mut span = entry.span.take()?;
        match result {
            Ok(Sent { message, created }) => {
                span.of_event(message.chat_id, message.seq);
                created.then(|| Traced { chat_id: message.chat_id, seq: message.seq, context: span.context() })
            }
            Err(error) => {
                span.failed(error.code());
                None
            }
        }
    };
    batch.iter_mut().zip(results).filter_map(of_entry).collect()
}

fn fail(entries: impl IntoIterator<Item = Entry>, error: fn(String) -> Error, reason: &str) {
    for mut entry in entries {
        if let Some(span) = &mut entry.span {
            span.failed(error(String::new()).code());
        }
        drop(entry.answer.send(Err(error(reason.to_owned()))));
    }
}

#[cfg(test)]
mod tests;
