mod slow;

use super::batch::{MAX_BATCH, MAX_BATCH_WORDS};
use super::*;
use crate::id::{ChatId, MessageId, Seq, UserId};
use crate::model::Message;
use crate::words::Words;
use parking_lot::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};
use time::OffsetDateTime;
use tokio::sync::Semaphore;
use tokio::task::JoinHandle;

/// A store that commits when it is let to, and remembers its batches.
#[derive(Default)]
struct Fake {
    batches: Mutex<Vec<Vec<NewMessage>>>,
    told: AtomicU64,
}

struct Rig {
    queue: SendQueue,
    fake: Arc<Fake>,
    /// One permit lets one commit through.
    gate: Arc<Semaphore>,
    /// The same for those with a message of a chat from [`STUCK`] on.
    stuck: Arc<Semaphore>,
    /// Commits that have begun.
    begun: Arc<Semaphore>,
    stopping: CancellationToken,
    task: JoinHandle<()>,
}

/// Commits that run at once.
const AT_ONCE: usize = 4;

/// Chats whose rows somebody else holds, from this one on.
const STUCK: ChatId = ChatId(100);

fn is_stuck(batch: &[NewMessage]) -> bool {
    batch.iter().any(|message| message.chat_id >= STUCK)
}

type Outcome = fn(&[NewMessage]) -> Result<()>;

fn rig(outcome: Outcome) -> Rig {
    let (queue, committer) = SendQueue::new(AT_ONCE, Traces::default());
    let fake = Arc::new(Fake::default());
    let [gate, stuck, begun] = [(); 3].map(|()| Arc::new(Semaphore::new(0)));
    let commit = {
        let (fake, gate, stuck, begun) = (fake.clone(), gate.clone(), stuck.clone(), begun.clone());
        move |batch: Vec<NewMessage>| {
            let gate = if is_stuck(&batch) { stuck.clone() } else { gate.clone() };
            let (fake, begun) = (fake.clone(), begun.clone());
            async move {
                begun.add_permits(1);
                gate.acquire().await.unwrap().forget();
                fake.batches.lock().push(batch.clone());
                outcome(&batch)?;
                let results = batch.into_iter().map(|message| Ok(Sent { message: stored(message), created: true }));
                Ok(SentBatch { results: results.collect(), committed: Committed::default() })
            }
        }
    };
    let tell = {
        let fake = fake.clone();
        move |created, _| {
            fake.told.fetch_add(created, Ordering::Relaxed);
        }
    };
    let stopping = CancellationToken::new();
    let task = tokio::spawn(committer.run(commit, tell, stopping.clone()));
    Rig { queue, fake, gate, stuck, begun, stopping, task }
}

impl Rig {
    fn send(&self, message: NewMessage) -> JoinHandle<Result<Sent>> {
        let queue = self.queue.clone();
        tokio::spawn(async move { queue.send(message).await })
    }

    async fn until_begun(&self, commits: u32) {
        self.begun.acquire_many(commits).await.unwrap().forget();
    }

    /// Until so many wait behind the commit that runs.
    async fn until_waiting(&self, entries: usize) {
        while MAX_WAITING - self.queue.entries.capacity() < entries {
            tokio::task::yield_now().await;
        }
    }

    fn sizes(&self) -> Vec<usize> {
        self.fake.batches.lock().iter().map(Vec::len).collect()
    }
}

fn message(author: i64, text: &str, key: Option<&str>) -> NewMessage {
    NewMessage {
        chat_id: ChatId(1),
        author_id: UserId(author),
        author_username: "ann".into(),
        text: text.into(),
        client_message_id: key.map(str::to_owned),
        reply_to_id: None,
        mentions: Vec::new(),
        words: Words::of(text),
    }
}

fn in_chat(chat: ChatId, text: &str) -> NewMessage {
    NewMessage { chat_id: chat, ..message(1, text, None) }
}

fn stored(message: NewMessage) -> Message {
    Message {
        id: MessageId(1),
        chat_id: message.chat_id,
        author_id: message.author_id,
        author_username: message.author_username,
        author_display_name: None,
        text: message.text,
        created_at: OffsetDateTime::UNIX_EPOCH,
        is_edited: false,
        edited_at: None,
        is_deleted: false,
        seq: Seq(1),
        client_message_id: message.client_message_id,
        reply_to_id: message.reply_to_id,
        reactions: Vec::new(),
        mentions: Vec::new(),
    }
}

#[tokio::test(start_paused = true)]
async fn alone_a_send_waits_for_nobody_and_the_next_batch_takes_what_came() {
    let rig = rig(|_| Ok(()));
    let first = rig.send(message(1, "first", None));
    rig.until_begun(1).await;
    let rest: Vec<_> = (0..300).map(|i| rig.send(message(1, &i.to_string(), None))).collect();
    rig.until_waiting(300).await;
    rig.gate.add_permits(3);
    assert_eq!(first.await.unwrap().unwrap().message.text, "first");
    for (i, send) in rest.into_iter().enumerate() {
        assert_eq!(send.await.unwrap().unwrap().message.text, i.to_string(), "each hears of its own");
    }
    assert_eq!(rig.sizes(), [1, MAX_BATCH, 300 - MAX_BATCH]);
    assert_eq!(rig.fake.told.load(Ordering::Relaxed), 301);
}

#[tokio::test(start_paused = true)]
async fn a_batch_has_no_more_words_than_one_should_wait_for() {
    let rig = rig(|_| Ok(()));
    let first = rig.send(message(1, "first", None));
    rig.until_begun(1).await;
    let half = "字".repeat(MAX_BATCH_WORDS / 2);
    let more = "字".repeat(MAX_BATCH_WORDS + 1);
    let sends = [&more, &half, "one more", &half, "another"].map(|text| rig.send(message(1, text, None)));
    rig.until_waiting(sends.len()).await;
    rig.gate.add_permits(4);
    first.await.unwrap().unwrap();
    for send in sends {
        send.await.unwrap().unwrap();
    }
    assert_eq!(rig.sizes(), [1, 1, 2, 2], "and nobody overtakes");
}

#[tokio::test(start_paused = true)]
async fn one_key_never_stands_twice_in_a_batch() {
    let rig = rig(|_| Ok(()));
    let first = rig.send(message(1, "first", None));
    rig.until_begun(1).await;
    let sends = [
        rig.send(message(1, "a", Some("k"))),
        rig.send(message(1, "b", Some("k"))),
        rig.send(message(2, "c", Some("k"))),
        rig.send(message(1, "d", Some("k"))),
        rig.send(message(1, "e", None)),
    ];
    rig.until_waiting(5).await;
    rig.gate.add_permits(4);
    first.await.unwrap().unwrap();
    for send in sends {
        send.await.unwrap().unwrap();
    }
    let batches: Vec<Vec<String>> =
        rig.fake.batches.lock().iter().map(|batch| batch.iter().map(|m| m.text.clone()).collect()).collect();
    assert_eq!(batches, [vec!["first"], vec!["a", "c", "e"], vec!["b"], vec!["d"]]);
}

#[tokio::test(start_paused = true)]
async fn what_the_store_cannot_digest_fails_alone() {
    let rig = rig(|batch| {
        if batch.iter().any(|message| message.text == "poison") { Err(Error::internal("poisoned")) } else { Ok(()) }
    });
    let first = rig.send(message(1, "first", None));
    rig.until_begun(1).await;
    let (good, bad, other) =
        (rig.send(message(1, "good", None)), rig.send(message(1, "poison", None)), rig.send(message(2, "other", None)));
    rig.until_waiting(3).await;
    rig.gate.add_permits(5);
    for send in [first, good, other] {
        assert!(send.await.unwrap().is_ok());
    }
    assert!(matches!(bad.await.unwrap(), Err(Error::Internal(source)) if source.to_string() == "poisoned"));
    assert_eq!(rig.fake.told.load(Ordering::Relaxed), 3);
}

#[tokio::test(start_paused = true)]
async fn when_the_store_is_away_nobody_waits_for_a_second_try() {
    let rig = rig(|_| Err(Error::unavailable("away")));
    let first = rig.send(message(1, "first", None));
    rig.until_begun(1).await;
    let rest: Vec<_> = (0..300).map(|i| rig.send(in_chat(ChatId(2 + i), "elsewhere"))).collect();
    rig.until_waiting(300).await;
    rig.gate.add_permits(1);
    for send in rest.into_iter().chain([first]) {
        assert!(matches!(send.await.unwrap(), Err(Error::Unavailable(_))));
    }
    assert_eq!(rig.sizes(), [1]);
}

#[tokio::test(start_paused = true)]
async fn when_the_store_goes_away_during_the_tries_one_by_one_the_rest_is_refused() {
    let rig = rig(|batch| match batch {
        [one] if one.text == "first" => Ok(()),
        [_] => Err(Error::unavailable("away")),
        _ => Err(Error::internal("poisoned")),
    });
    let first = rig.send(message(1, "first", None));
    rig.until_begun(1).await;
    let rest: Vec<_> = (0..100).map(|i| rig.send(message(1, &i.to_string(), None))).collect();
    rig.until_waiting(100).await;
    rig.gate.add_permits(3);
    first.await.unwrap().unwrap();
    for send in rest {
        assert!(matches!(send.await.unwrap(), Err(Error::Unavailable(_))));
    }
    assert_eq!(rig.sizes(), [1, 100, 1]);
}

#[tokio::test(start_paused = true)]
async fn what_waits_when_the_program_stops_is_committed() {
    let rig = rig(|_| Ok(()));
    let first = rig.send(message(1, "first", None));
    rig.until_begun(1).await;
    let rest: Vec<_> = (0..5).map(|_| rig.send(message(1, "waits", None))).collect();
    rig.until_waiting(5).await;
    rig.stopping.cancel();
    rig.gate.add_permits(2);
    for send in rest.into_iter().chain([first]) {
        send.await.unwrap().unwrap();
    }
    rig.task.await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_full_queue_refuses_at_once() {
    let rig = rig(|_| Ok(()));
    let first = rig.send(message(1, "first", None));
    rig.until_begun(1).await;
    let waiting: Vec<_> = (0..MAX_WAITING).map(|_| rig.send(message(1, "waits", None))).collect();
    rig.until_waiting(MAX_WAITING).await;
    assert!(matches!(rig.queue.send(message(1, "one more", None)).await, Err(Error::Unavailable(_))));
    rig.gate.add_permits(1 + MAX_WAITING / MAX_BATCH);
    for send in waiting.into_iter().chain([first]) {
        assert!(send.await.unwrap().is_ok());
    }
}

#[tokio::test(start_paused = true)]
async fn a_sender_who_hangs_up_has_sent() {
    let rig = rig(|_| Ok(()));
    let first = rig.send(message(1, "first", None));
    rig.until_begun(1).await;
    let gone = rig.send(message(1, "gone", None));
    rig.until_waiting(1).await;
    gone.abort();
    assert!(gone.await.unwrap_err().is_cancelled());
    rig.gate.add_permits(2);
    first.await.unwrap().unwrap();
    rig.until_begun(1).await;
    while rig.fake.told.load(Ordering::Relaxed) < 2 {
        tokio::task::yield_now().await;
    }
}

#[tokio::test(start_paused = true)]
async fn the_queue_ends_when_the_program_stops() {
    let rig = rig(|_| Ok(()));
    rig.stopping.cancel();
    rig.task.await.unwrap();
    assert!(matches!(rig.queue.send(message(1, "late", None)).await, Err(Error::Unavailable(_))));
}

#[tokio::test(start_paused = true)]
async fn a_store_that_never_answers_is_unavailable() {
    let rig = rig(|_| Ok(()));
    assert!(matches!(rig.queue.send(message(1, "first", None)).await, Err(Error::Unavailable(_))));
}
