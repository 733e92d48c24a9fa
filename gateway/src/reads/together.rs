//! Reads of logs that wait for their turn are made together: one query brings what many feeds lack.
//! After an outage of Redis each feed lacks an event or two, and a query for each would cost the
//! database four times as much (`docs/SCALE.md`).

use futures_util::future::BoxFuture;
use messenger_common::error::{Error, Result};
use messenger_common::store::{LogAfter, LogPage};
use parking_lot::Mutex;
use std::collections::VecDeque;
use std::time::Duration;
use tokio::sync::{Semaphore, oneshot};
use tokio::time::Instant;

/// Events that one query brings at most.
pub(super) const EVENTS_PER_READ: usize = 256;
/// A read waits this long for its turn.
const TURN_WITHIN: Duration = Duration::from_secs(5);

type Pages = Result<Vec<Option<LogPage>>>;
type Ask = Box<dyn Fn(Vec<LogAfter>) -> BoxFuture<'static, Pages> + Send + Sync>;

/// See the module.
pub(super) struct Together {
    ask: Ask,
    /// Queries that may run at once: those behind a herd of replays wait here, not for the store's
    /// connections, which sends need.
    turns: Semaphore,
    waiting: Mutex<VecDeque<Waiting>>,
}

struct Waiting {
    asked: LogAfter,
    answer: oneshot::Sender<Result<LogPage>>,
}

impl Together {
    /// With so many queries at once, which `ask` makes. It answers in the order asked.
    pub(super) fn new(turns: usize, ask: Ask) -> Self {
        Self { ask, turns: Semaphore::new(turns), waiting: Mutex::default() }
    }

    /// Reads a piece of a log of [`EVENTS_PER_READ`] events at most. `ChatNotFound`; `Unavailable`
    /// where its turn does not come within five seconds.
    pub(super) async fn read(&self, asked: LogAfter) -> Result<LogPage> {
        let (answer, mut answered) = oneshot::channel();
        self.waiting.lock().push_back(Waiting { asked, answer });
        let until = Instant::now() + TURN_WITHIN;
        loop {
            let turn = tokio::select! {
                // Another one's query brought it.
                biased;
                answer = &mut answered => return answer.map_err(Error::unavailable)?,
                turn = tokio::time::timeout_at(until, self.turns.acquire()) => turn.map_err(Error::unavailable)?,
            };
            let turn = turn.map_err(Error::unavailable)?;
            let some = self.take();
            if some.is_empty() {
                // It is being asked for.
                drop(turn);
                return answered.await.map_err(Error::unavailable)?;
            }
            self.ask(some).await;
        }
    }

    /// Takes the first of those that wait, as many as one query brings.
    fn take(&self) -> Vec<Waiting> {
        let (mut waiting, mut some, mut room) = (self.waiting.lock(), Vec::new(), EVENTS_PER_READ);
        while let Some(next) = waiting.pop_front() {
            if next.answer.is_closed() {
                continue;
            }
            if next.asked.limit > room && !some.is_empty() {
                waiting.push_front(next);
                break;
            }
            room = room.saturating_sub(next.asked.limit);
            some.push(next);
        }
        some
    }

    async fn ask(&self, some: Vec<Waiting>) {
        let asked: Vec<LogAfter> = some.iter().map(|one| one.asked).collect();
        let is_alone = asked.len() == 1;
        match (self.ask)(asked).await {
            Ok(pages) => {
                for (one, page) in some.into_iter().zip(pages) {
                    // Nobody may wait for it any more.
                    drop(one.answer.send(page.ok_or(Error::ChatNotFound)));
                }
            }
            Err(error) if is_alone || matches!(error, Error::Unavailable(_)) => {
                let cause = error.cause();
                let mut error = Some(error);
                for one in some {
                    let own = error.take().unwrap_or_else(|| Error::unavailable(cause.clone()));
                    drop(one.answer.send(Err(own)));
                }
            }
            // The fault may be one chat's, and the others must not share it.
            Err(_) => {
                for one in some {
                    let alone = (self.ask)(vec![one.asked]).await;
                    let page = alone.and_then(|mut pages| pages.pop().flatten().ok_or(Error::ChatNotFound));
                    drop(one.answer.send(page));
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use messenger_common::id::{ChatId, Seq};
    use messenger_common::lifecycle::Lifecycle;
    use std::sync::Arc;

    /// The chat whose rows nobody can read, and the one that is none.
    const TORN: ChatId = ChatId(1013);
    const NONE: ChatId = ChatId(1014);

    fn asked(chat: i64, limit: usize) -> LogAfter {
        LogAfter { chat_id: ChatId(chat), after: Seq(0), limit }
    }

    /// A store of empty logs, whose head is the chat's number; how many logs each query asked for.
    struct Store {
        reads: Arc<Together>,
        queries: Arc<Mutex<Vec<usize>>>,
        /// A query takes one of them.
        go: Arc<Semaphore>,
    }

    fn store(turns: usize) -> Store {
        let (queries, go) = (Arc::new(Mutex::new(Vec::new())), Arc::new(Semaphore::new(0)));
        let parts = (Arc::clone(&queries), Arc::clone(&go));
        let ask = move |asked: Vec<LogAfter>| -> BoxFuture<'static, Pages> {
            let (queries, go) = parts.clone();
            Box::pin(async move {
                queries.lock().push(asked.len());
                go.acquire().await.map_err(Error::unavailable)?.forget();
                if asked.iter().any(|one| one.chat_id == TORN) {
                    return Err(Error::internal("torn"));
                }
                let page = |one: LogAfter| LogPage { events: vec![], head: Seq(one.chat_id.0), floor: Seq(0) };
                Ok(asked.into_iter().map(|one| (one.chat_id != NONE).then(|| page(one))).collect())
            })
        };
        Store { reads: Arc::new(Together::new(turns, Box::new(ask))), queries, go }
    }

    impl Store {
        fn read(&self, chat: i64, limit: usize) -> tokio::task::JoinHandle<Result<LogPage>> {
            let reads = Arc::clone(&self.reads);
            Lifecycle::new().spawn_task("read", async move { reads.read(asked(chat, limit)).await })
        }

        async fn waiting(&self, count: usize) {
            while self.reads.waiting.lock().len() < count {
                tokio::task::yield_now().await;
            }
        }

        async fn asks(&self, queries: usize) {
            while self.queries.lock().len() < queries {
                tokio::task::yield_now().await;
            }
        }
    }

    #[tokio::test]
    async fn what_waits_for_a_turn_is_read_together_as_much_as_one_query_brings() {
        let store = store(2);
        let mut reads: Vec<_> = (0..2).map(|chat| store.read(chat, EVENTS_PER_READ)).collect();
        store.asks(2).await;
        reads.extend((2..102).map(|chat| store.read(chat, 4)));
        store.waiting(100).await;
        reads.push(store.read(102, EVENTS_PER_READ));
        store.waiting(101).await;
        // Nobody waits for this one when its turn comes.
        reads[50].abort();
        while !reads[50].is_finished() {
            tokio::task::yield_now().await;
        }
        store.go.add_permits(10);
        for (chat, read) in (0..).zip(reads) {
            if chat != 50 {
                assert_eq!(read.await.unwrap().unwrap().head, Seq(chat));
            }
        }
        assert_eq!(*store.queries.lock(), [1, 1, 64, 35, 1]);
        assert!(store.reads.waiting.lock().is_empty());
    }

    #[tokio::test]
    async fn a_log_that_cannot_be_read_holds_up_no_other() {
        let store = store(1);
        let first = store.read(1, 4);
        store.asks(1).await;
        let reads = [2, TORN.0, NONE.0, 3].map(|chat| store.read(chat, 4));
        store.waiting(4).await;
        store.go.add_permits(10);
        first.await.unwrap().unwrap();
        let [two, torn, none, three] = reads;
        assert_eq!(two.await.unwrap().unwrap().head, Seq(2));
        assert!(matches!(torn.await.unwrap(), Err(Error::Internal(_))));
        assert!(matches!(none.await.unwrap(), Err(Error::ChatNotFound)));
        assert_eq!(three.await.unwrap().unwrap().head, Seq(3));
        assert_eq!(*store.queries.lock(), [1, 4, 1, 1, 1, 1]);
    }

    #[tokio::test(start_paused = true)]
    async fn a_read_does_not_wait_for_ever_and_leaves_nothing_behind() {
        let store = store(1);
        let first = store.read(1, 4);
        store.asks(1).await;
        let begun = Instant::now();
        assert!(matches!(store.read(2, 4).await.unwrap(), Err(Error::Unavailable(_))));
        assert_eq!(begun.elapsed().as_secs(), TURN_WITHIN.as_secs());
        store.go.add_permits(2);
        first.await.unwrap().unwrap();
        store.read(3, 4).await.unwrap().unwrap();
        assert_eq!(*store.queries.lock(), [1, 1]);
        // A store that is away is asked once for all, and says so to each.
        store.go.close();
        let reads = [4, 5].map(|chat| store.read(chat, 4));
        for read in reads {
            assert!(matches!(read.await.unwrap(), Err(Error::Unavailable(_))));
        }
    }
}
