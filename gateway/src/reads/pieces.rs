//! Pieces of chats' logs. Those that wait for their turn are read by one query: after an outage of
//! Redis each feed lacks an event or two, and a query for each would cost the database four times
//! as much (`docs/SCALE.md`).

use futures_util::future::BoxFuture;
use messenger_common::error::{Error, Result};
use messenger_common::store::{LogAfter, LogPage};
use parking_lot::Mutex;
use std::collections::VecDeque;
use std::sync::Weak;
use std::time::Duration;
use tokio::sync::{Semaphore, oneshot};
use tokio::time::Instant;

/// Events that one query brings at most, and that one piece may ask for.
pub(super) const EVENTS_PER_QUERY: usize = 256;
/// A piece waits this long for its turn.
const TURN_WITHIN: Duration = Duration::from_secs(5);

type Pages = Result<Vec<Option<LogPage>>>;
type Ask = Box<dyn Fn(Vec<LogAfter>) -> BoxFuture<'static, Pages> + Send + Sync>;

/// See the module.
pub(super) struct Pieces {
    ask: Ask,
    /// Queries that may run at once: those behind a herd of replays wait here, not for the store's
    /// connections, which sends need.
    turns: Semaphore,
    queue: Mutex<Queue>,
}

/// Those that wait. One that nobody wants any more is left out.
struct Queue {
    waiting: VecDeque<Waiting>,
    /// Names the next one.
    next: u64,
    /// Events of the next query at most.
    room: usize,
}

struct Waiting {
    number: u64,
    asked: LogAfter,
    /// Dead once nobody wants the piece.
    wanted: Weak<()>,
    answer: oneshot::Sender<Result<LogPage>>,
}

impl Pieces {
    /// With so many queries at once, which `ask` makes. It answers in the order asked.
    pub(super) fn new(turns: usize, ask: Ask) -> Self {
        let queue = Queue { waiting: VecDeque::new(), next: 0, room: EVENTS_PER_QUERY };
        Self { ask, turns: Semaphore::new(turns), queue: Mutex::new(queue) }
    }

    /// Reads a piece of [`EVENTS_PER_QUERY`] events at most. `ChatNotFound`; `Unavailable` where
    /// its turn does not come within five seconds, or where it is not `wanted` any more by then.
    /// To end this future instead would end what it asks for others.
    pub(super) async fn read(&self, asked: LogAfter, wanted: Weak<()>) -> Result<LogPage> {
        let (answer, mut answered) = oneshot::channel();
        let number = self.queue.lock().add(asked, wanted, answer);
        let until = Instant::now() + TURN_WITHIN;
        loop {
            let turn = tokio::select! {
                // Another one's query brought it.
                biased;
                answer = &mut answered => return answer.map_err(Error::unavailable)?,
                turn = tokio::time::timeout_at(until, self.turns.acquire()) => turn,
            };
            let Ok(turn) = turn else {
                if self.queue.lock().remove(number) {
                    return Err(Error::unavailable("no turn to read the log came in time"));
                }
                break;
            };
            let turn = turn.map_err(Error::unavailable)?;
            let some = self.queue.lock().take();
            if some.is_empty() {
                break;
            }
            self.ask(some).await;
            drop(turn);
        }
        // Another one is asking for it.
        answered.await.map_err(Error::unavailable)?
    }

    async fn ask(&self, some: Vec<Waiting>) {
        let asked: Vec<LogAfter> = some.iter().map(|one| one.asked).collect();
        let is_alone = asked.len() == 1;
        match (self.ask)(asked).await {
            Ok(pages) => {
                self.queue.lock().succeeded();
                some.into_iter().zip(pages).for_each(|(one, page)| one.answer(page.ok_or(Error::ChatNotFound)));
            }
            Err(error) if is_alone => {
                if let Some(one) = some.into_iter().next() {
                    one.answer(Err(error));
                }
            }
            // It may have been too much.
            Err(error @ Error::Unavailable(_)) => {
                self.queue.lock().failed();
                for one in some {
                    one.answer(Err(Error::unavailable(error.cause())));
                }
            }
            // The fault may be one chat's, and the others must not share it.
            Err(_) => self.ask_each(some).await,
        }
    }

    async fn ask_each(&self, some: Vec<Waiting>) {
        let mut away: Option<String> = None;
        for one in some.into_iter().filter(Waiting::is_wanted) {
            if let Some(cause) = &away {
                one.answer(Err(Error::unavailable(cause.as_str())));
                continue;
            }
            let alone = (self.ask)(vec![one.asked]).await;
            if let Err(error @ Error::Unavailable(_)) = &alone {
                away = Some(error.cause());
            }
            one.answer(alone.and_then(|mut pages| pages.pop().flatten().ok_or(Error::ChatNotFound)));
        }
    }
}

impl Waiting {
    fn is_wanted(&self) -> bool {
        self.wanted.strong_count() > 0
    }

    fn answer(self, page: Result<LogPage>) {
        // Nobody may wait for it any more.
        drop(self.answer.send(page));
    }
}

impl Queue {
    fn add(&mut self, asked: LogAfter, wanted: Weak<()>, answer: oneshot::Sender<Result<LogPage>>) -> u64 {
        self.next += 1;
        self.waiting.push_back(Waiting { number: self.next, asked, wanted, answer });
        self.next
    }

    /// Takes one out that waits no longer; false where it was taken to be asked for.
    fn remove(&mut self, number: u64) -> bool {
        let at = self.waiting.iter().position(|one| one.number == number);
        at.and_then(|at| self.waiting.remove(at)).is_some()
    }

    /// Takes the first of those that wait, as many as one query brings.
    fn take(&mut self) -> Vec<Waiting> {
        let (mut some, mut room) = (Vec::new(), self.room);
        while let Some(next) = self.waiting.pop_front() {
            if !next.is_wanted() {
                continue;
            }
            if next.asked.limit > room && !some.is_empty() {
                self.waiting.push_front(next);
                break;
            }
            room = room.saturating_sub(next.asked.limit);
            some.push(next);
        }
        some
    }

    fn succeeded(&mut self) {
        self.room = (self.room * 2).min(EVENTS_PER_QUERY);
    }

    /// A query for several took too long, or the store was away.
    fn failed(&mut self) {
        self.room = (self.room / 2).max(1);
    }
}

#[cfg(test)]
mod tests;
