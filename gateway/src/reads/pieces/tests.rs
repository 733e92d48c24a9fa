use super::*;
use messenger_common::id::{ChatId, Seq};
use messenger_common::lifecycle::Lifecycle;
use std::sync::Arc;

/// The chat whose rows nobody can read, the one that is none, the one of a store that is away.
const TORN: ChatId = ChatId(1013);
const NONE: ChatId = ChatId(1014);
const AWAY: ChatId = ChatId(1015);

fn asked(chat: i64, limit: usize) -> LogAfter {
    LogAfter { chat_id: ChatId(chat), after: Seq(0), limit }
}

/// A store of empty logs, whose head is the chat's number; how many logs each query asked for.
struct Store {
    reads: Arc<Pieces>,
    queries: Arc<Mutex<Vec<usize>>>,
    wanted: Mutex<Vec<(i64, Arc<()>)>>,
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
            if asked.iter().any(|one| one.chat_id == AWAY) {
                return Err(Error::unavailable("away"));
            }
            let page = |one: LogAfter| LogPage { events: vec![], head: Seq(one.chat_id.0), floor: Seq(0) };
            Ok(asked.into_iter().map(|one| (one.chat_id != NONE).then(|| page(one))).collect())
        })
    };
    Store { reads: Arc::new(Pieces::new(turns, Box::new(ask))), queries, wanted: Mutex::default(), go }
}

impl Store {
    fn read(&self, chat: i64, limit: usize) -> tokio::task::JoinHandle<Result<LogPage>> {
        let (reads, wanted) = (Arc::clone(&self.reads), Arc::new(()));
        let weak = Arc::downgrade(&wanted);
        self.wanted.lock().push((chat, wanted));
        Lifecycle::new().spawn_task("read", async move { reads.read(asked(chat, limit), weak).await })
    }

    fn unwanted(&self, chat: i64) {
        self.wanted.lock().retain(|(of, _)| *of != chat);
    }

    async fn waiting(&self, count: usize) {
        while self.reads.queue.lock().waiting.len() < count {
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
    let mut reads: Vec<_> = (0..2).map(|chat| store.read(chat, EVENTS_PER_QUERY)).collect();
    store.asks(2).await;
    reads.extend((2..102).map(|chat| store.read(chat, 4)));
    store.waiting(100).await;
    reads.push(store.read(102, EVENTS_PER_QUERY));
    store.waiting(101).await;
    // Nobody wants this one when its turn comes, though its task waits.
    store.unwanted(50);
    store.go.add_permits(10);
    for (chat, read) in (0..).zip(reads) {
        let page = read.await.unwrap();
        assert_eq!((page.is_ok(), page.map_or(chat, |page| page.head.0)), (chat != 50, chat));
    }
    assert_eq!(*store.queries.lock(), [1, 1, 64, 35, 1]);
    assert!(store.reads.queue.lock().waiting.is_empty());
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
}

#[tokio::test(start_paused = true)]
async fn a_read_that_is_being_asked_for_is_waited_for() {
    let store = store(1);
    let first = store.read(1, EVENTS_PER_QUERY);
    store.asks(1).await;
    tokio::time::advance(TURN_WITHIN - Duration::from_millis(1)).await;
    let reads = [2, 3].map(|chat| store.read(chat, 4));
    store.waiting(2).await;
    store.go.add_permits(1);
    first.await.unwrap().unwrap();
    store.asks(2).await;
    // The second asked for both; the turn of the third would have come too late.
    tokio::time::advance(TURN_WITHIN * 2).await;
    store.go.add_permits(1);
    for read in reads {
        read.await.unwrap().unwrap();
    }
    assert_eq!(*store.queries.lock(), [1, 2]);
}

#[tokio::test]
async fn a_query_that_is_too_much_is_followed_by_smaller_ones() {
    let store = store(1);
    store.go.add_permits(100);
    for chat in [AWAY, AWAY, ChatId(2)] {
        let held = store.reads.turns.acquire().await.unwrap();
        let reads: Vec<_> = (0..64).map(|_| store.read(chat.0, 4)).collect();
        store.waiting(64).await;
        drop(held);
        for read in reads {
            assert_eq!(read.await.unwrap().is_ok(), chat != AWAY);
        }
    }
    let (first, second, third) = ([64], [32, 16, 8, 4, 2, 1, 1], [1, 2, 4, 8, 16, 32, 1]);
    assert_eq!(*store.queries.lock(), [&first[..], &second, &third].concat());
}
