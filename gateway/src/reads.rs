//! Reads that many wait for: thousands of clients that come back at once must not become thousands of queries.
//!
//! Two shapes. A [`Batcher`] collects the questions that came while the last batch ran and asks them in one query; who asks during a run is
//! answered by the next, so an answer is never older than its question. [`LogLoader`] lets all who want the same piece of a chat's log wait
//! for one read (single flight), and keeps it for a second for the stragglers.

use crate::feed::Event;
use crate::frame;
use futures_util::FutureExt;
use futures_util::future::{BoxFuture, Shared};
use messenger_common::error::{Error, Result};
use messenger_common::event::{LogEvent, micros};
use messenger_common::id::{ChatId, Seq};
use messenger_common::lifecycle::Lifecycle;
use messenger_common::store::Store;
use parking_lot::Mutex;
use std::collections::HashMap;
use std::future::Future;
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::runtime::Handle;
use tokio::sync::{mpsc, oneshot};

/// No answer waits longer: the store bounds its own work to two seconds, and one batch may be in front.
const ANSWER_WITHIN: Duration = Duration::from_secs(5);
/// Questions that may wait; more are refused as `unavailable`.
const WAITING: usize = 32_768;

type Question<K, V> = (K, oneshot::Sender<Result<V>>);

/// Asks in batches. Bounded: with [`WAITING`] questions in line further ones wait for a place, up to [`ANSWER_WITHIN`].
pub(crate) struct Batcher<K, V> {
    questions: mpsc::Sender<Question<K, V>>,
}

impl<K: Send + 'static, V: Send + 'static> Batcher<K, V> {
    /// Starts the task that asks, up to `most` questions at a time; `ask` answers in the order asked.
    pub(crate) fn start<F, Fut>(lifecycle: &Lifecycle, name: &'static str, most: usize, ask: F) -> Self
    where
        F: Fn(Vec<K>) -> Fut + Send + 'static,
        Fut: Future<Output = Result<Vec<V>>> + Send,
    {
        let (questions, mut waiting) = mpsc::channel::<Question<K, V>>(WAITING);
        lifecycle.spawn(name, {
            let stopping = lifecycle.stopping();
            async move {
                let mut batch = Vec::new();
                loop {
                    let count = tokio::select! {
                        () = stopping.cancelled() => return,
                        count = waiting.recv_many(&mut batch, most) => count,
                    };
                    if count == 0 {
                        return;
                    }
                    let (keys, answers): (Vec<_>, Vec<_>) = batch.drain(..).unzip();
                    // A receiver that is gone no longer wants its answer.
                    match ask(keys).await {
                        Ok(values) => {
                            answers.into_iter().zip(values).for_each(|(answer, value)| drop(answer.send(Ok(value))));
                        }
                        Err(error) => {
                            let text = error.to_string();
                            tracing::warn!(loader = name, error = ?error, "a batch of reads failed");
                            for answer in answers {
                                drop(answer.send(Err(Error::unavailable(text.clone()))));
                            }
                        }
                    }
                }
            }
        });
        Self { questions }
    }

    /// The answer to one question; `Unavailable` when it does not come in time.
    pub(crate) async fn get(&self, key: K) -> Result<V> {
        let asked = async {
            let (answer, answered) = oneshot::channel();
            self.questions.send((key, answer)).await.map_err(|e| Error::unavailable(e.to_string()))?;
            answered.await.map_err(|e| Error::unavailable(e.to_string()))?
        };
        tokio::time::timeout(ANSWER_WITHIN, asked).await.map_err(|e| Error::unavailable(e.to_string()))?
    }
}

/// A piece of a chat's log, framed.
#[derive(Debug)]
pub(crate) struct Piece {
    /// Consecutive events.
    pub(crate) events: Vec<Event>,
    /// The head in the same snapshot.
    pub(crate) head: Seq,
    /// The last number that the log no longer keeps.
    pub(crate) floor: Seq,
}

type Load = Shared<BoxFuture<'static, Result<Arc<Piece>, Arc<Error>>>>;

/// Reads of chats' logs, each made once for all who want it.
pub(crate) struct LogLoader {
    store: Arc<dyn Store>,
    lifecycle: Lifecycle,
    /// The servers' common runtime: a shard's own thread does no database I/O.
    runtime: Handle,
    loads: Mutex<HashMap<(ChatId, Seq), (Instant, Load)>>,
}

impl LogLoader {
    /// How many events a read brings at most.
    pub(crate) const PIECE: usize = 256;
    /// How long a read serves others after it began.
    const KEPT: Duration = Duration::from_secs(1);

    pub(crate) fn new(store: Arc<dyn Store>, lifecycle: Lifecycle) -> Self {
        Self { store, lifecycle, runtime: Handle::current(), loads: Mutex::default() }
    }

    /// The log from some number not after `after` on, up to [`Self::PIECE`] events. `known` is a number that the log has reached for
    /// certain: a kept read that ends before `after` is not served. A long way from the head, reads begin at round numbers, so that
    /// clients who left off at different places share them.
    pub(crate) async fn load(&self, chat: ChatId, after: Seq, known: Seq) -> Result<Arc<Piece>, Arc<Error>> {
        let far = known.0 - after.0 > 64;
        let from = if far { Seq(after.0 - after.0 % 64) } else { after };
        let load = {
            let mut loads = self.loads.lock();
            let kept = loads.get(&(chat, from)).filter(|(at, load)| {
                at.elapsed() < Self::KEPT
                    && load.peek().is_none_or(|done| done.as_ref().is_ok_and(|piece| piece.reaches(after)))
            });
            if let Some((_, load)) = kept {
                load.clone()
            } else {
                let load = self.start(chat, from);
                loads.insert((chat, from), (Instant::now(), load.clone()));
                load
            }
        };
        load.await
    }

    /// Forgets what has served its time, so that nothing of it stays in memory.
    pub(crate) fn sweep(&self) {
        self.loads.lock().retain(|_, (at, load)| at.elapsed() < Self::KEPT || load.peek().is_none());
    }

    /// Forgets what was read of a chat: a message was edited or deleted, and a replay bears its text of now.
    pub(crate) fn forget(&self, chat: ChatId) {
        self.loads.lock().retain(|(of, _), _| *of != chat);
    }

    fn start(&self, chat: ChatId, from: Seq) -> Load {
        let store = Arc::clone(&self.store);
        let _entered = self.runtime.enter();
        let read = self.lifecycle.spawn_task("log load", async move {
            let page = store.log_after(chat, from, Self::PIECE).await?.ok_or(Error::ChatNotFound)?;
            let events = page.events.iter().map(Event::from_log).collect();
            Ok(Arc::new(Piece { events, head: page.head, floor: page.floor }))
        });
        async move { read.await.map_err(|gone| Arc::new(Error::internal(gone)))?.map_err(Arc::new) }.boxed().shared()
    }
}

impl Piece {
    /// Whether it says something of what comes after that number.
    fn reaches(&self, after: Seq) -> bool {
        self.floor > after || self.events.last().is_some_and(|last| last.seq > after)
    }

    /// The events after that number.
    pub(crate) fn after(&self, after: Seq) -> &[Event] {
        let at = self.events.partition_point(|event| event.seq <= after);
        &self.events[at..]
    }
}

impl Event {
    /// An event as read from the log: serialised and framed here, once.
    pub(crate) fn from_log(event: &LogEvent) -> Self {
        Self {
            seq: event.seq,
            kind: event.kind(),
            effect: event.effect(),
            committed_at_micros: micros(event.committed_at),
            frame: frame::text(&event.to_json()),
        }
    }
}
