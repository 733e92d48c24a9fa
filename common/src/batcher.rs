//! Many questions in one query. A question that comes while a batch runs is answered by the next
//! one, so that no answer is older than its question. Where a batch is slow, the next one does not
//! wait for it: the fault may be its connection's.

use crate::error::{Error, Result};
use crate::lifecycle::Lifecycle;
use crate::once::OncePerCause;
use futures_util::stream::{FuturesUnordered, StreamExt};
use std::future::Future;
use std::time::Duration;
use tokio::sync::{mpsc, oneshot};
use tokio::time::{Instant, sleep_until};

/// No answer waits longer: the store bounds its own work to two seconds, and one batch may be in
/// front.
const ANSWER_WITHIN: Duration = Duration::from_secs(5);
/// Batches that run at once: the second begins where the first has run for [`SLOW`].
const BATCHES: usize = 2;
const SLOW: Duration = Duration::from_millis(25);
/// Questions that may wait; further ones wait for a place, up to [`ANSWER_WITHIN`].
const QUESTIONS: usize = 32_768;

type Question<K, V> = (K, oneshot::Sender<Result<V>>);

/// Asks in batches; see the module.
pub struct Batcher<K, V> {
    questions: mpsc::Sender<Question<K, V>>,
}

impl<K: Send + 'static, V: Send + 'static> Batcher<K, V> {
    /// Starts the task that asks, up to `most` questions at a time; `ask` answers in the order
    /// asked.
    pub fn start<F, Fut>(lifecycle: &Lifecycle, name: &'static str, most: usize, ask: F) -> Self
    where
        F: Fn(Vec<K>) -> Fut + Send + 'static,
        Fut: Future<Output = Result<Vec<V>>> + Send,
    {
        let (questions, mut waiting) = mpsc::channel::<Question<K, V>>(QUESTIONS);
        lifecycle.spawn(name, {
            let stopping = lifecycle.stopping();
            async move {
                let (mut batch, logged) = (Vec::new(), OncePerCause::default());
                let (mut running, mut slow_at) = (FuturesUnordered::new(), Instant::now());
                loop {
                    let is_slow = Instant::now() >= slow_at;
                    let has_room = running.is_empty() || (running.len() < BATCHES && is_slow);
                    let count = tokio::select! {
                        () = stopping.cancelled() => return,
                        Some(()) = running.next() => continue,
                        () = sleep_until(slow_at), if !is_slow && !running.is_empty() => continue,
                        count = waiting.recv_many(&mut batch, most), if has_room => count,
                    };
                    if count == 0 {
                        return;
                    }
                    // Nobody waits for these any more: in a herd they would take the place of those
                    // that are waited for.
                    batch.retain(|(_, answer)| !answer.is_closed());
                    if batch.is_empty() {
                        continue;
                    }
                    let (keys, answers): (Vec<_>, Vec<_>) = batch.drain(..).unzip();
                    slow_at = Instant::now() + SLOW;
                    let (asked, logged) = (ask(keys), &logged);
                    running.push(async move { answer(name, answers, asked.await, logged) });
                }
            }
        });
        Self { questions }
    }

    /// The answer to one question. `Unavailable` when the batch fails, or its answer does not come
    /// within five seconds.
    pub async fn get(&self, key: K) -> Result<V> {
        let asked = async {
            let (answer, answered) = oneshot::channel();
            self.questions.send((key, answer)).await.map_err(|e| Error::unavailable(e.to_string()))?;
            answered.await.map_err(|e| Error::unavailable(e.to_string()))?
        };
        tokio::time::timeout(ANSWER_WITHIN, asked).await.map_err(|e| Error::unavailable(e.to_string()))?
    }
}

/// Hands the answers of a batch out, or its failure.
fn answer<V>(
    name: &'static str,
    answers: Vec<oneshot::Sender<Result<V>>>,
    values: Result<Vec<V>>,
    logged: &OncePerCause,
) {
    match values {
        Ok(values) => answers.into_iter().zip(values).for_each(|(answer, value)| drop(answer.send(Ok(value)))),
        Err(error) => {
            let text = error.cause();
            if logged.is_news(&text, Instant::now().into_std()) {
                tracing::warn!(loader = name, error = text, "batches of reads fail");
            } else {
                tracing::debug!(loader = name, error = text, "a batch of reads failed");
            }
            for answer in answers {
                drop(answer.send(Err(Error::unavailable(text.clone()))));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::Arc;
    use tokio::sync::{Notify, Semaphore};

    #[tokio::test]
    async fn one_batch_that_hangs_holds_up_no_other_question() {
        let lifecycle = Lifecycle::new();
        let (begun, ends) = (Arc::new(Notify::new()), Arc::new(Semaphore::new(0)));
        let parts = (begun.clone(), ends.clone());
        let batcher = Batcher::start(&lifecycle, "numbers", 2, move |numbers: Vec<u32>| {
            let (begun, ends) = parts.clone();
            async move {
                if numbers.contains(&0) {
                    begun.notify_one();
                    ends.acquire().await.map_err(Error::unavailable)?.forget();
                }
                Ok(numbers.iter().map(|number| number + 1).collect())
            }
        });
        let (hung, others) = tokio::join!(batcher.get(0), async {
            let others = async {
                begun.notified().await;
                for number in 1..10 {
                    assert_eq!(batcher.get(number).await.unwrap(), number + 1);
                }
            };
            let ended = tokio::time::timeout(Duration::from_secs(2), others).await;
            ends.add_permits(1);
            ended
        });
        assert!(others.is_ok(), "they waited for the batch that hung");
        assert_eq!(hung.unwrap(), 1);
    }
}
