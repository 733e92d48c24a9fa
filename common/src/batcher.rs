//! Many questions in one query. A question that comes while a batch runs is answered by the next
//! one, so that no answer is older than its question.

use crate::error::{Error, Result};
use crate::lifecycle::Lifecycle;
use crate::once::OncePerCause;
use std::future::Future;
use std::time::{Duration, Instant};
use tokio::sync::{mpsc, oneshot};

/// No answer waits longer: the store bounds its own work to two seconds, and one batch may be in
/// front.
const ANSWER_WITHIN: Duration = Duration::from_secs(5);
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
                loop {
                    let count = tokio::select! {
                        () = stopping.cancelled() => return,
                        count = waiting.recv_many(&mut batch, most) => count,
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
                    match ask(keys).await {
                        Ok(values) => {
                            answers.into_iter().zip(values).for_each(|(answer, value)| drop(answer.send(Ok(value))));
                        }
                        Err(error) => {
                            let text = error.cause();
                            if logged.is_news(&text, Instant::now()) {
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
