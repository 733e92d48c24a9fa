//! Pieces of chats' logs: one read serves all who ask for the same piece, and is kept for a second
//! for the stragglers.
//!
//! The kept reads are bounded by age and by bytes, whether or not somebody still waits for it: a
//! client may be gone before its replay is read.

use crate::feed::{Event, Piece};
use crate::frame;
use crate::reads::pieces::{EVENTS_PER_QUERY, Pieces};
use futures_util::FutureExt;
use futures_util::future::{BoxFuture, Shared};
use messenger_common::error::{Error, Result};
use messenger_common::event::{LogEvent, micros};
use messenger_common::id::{ChatId, Seq};
use messenger_common::lifecycle::Lifecycle;
use messenger_common::store::{LogAfter, Store};
use parking_lot::Mutex;
use std::collections::{HashMap, VecDeque};
use std::future::Future;
use std::sync::{Arc, Weak};
use std::time::{Duration, Instant};
use tokio::runtime::Handle;

/// Events that a read of those that are known asks for beside them: some may have been committed
/// since.
const EVENTS_BEYOND_KNOWN: usize = 3;
/// How long a read serves others after it began.
const KEPT_FOR: Duration = Duration::from_secs(1);
/// Bytes of all kept pieces at most; beyond it the oldest are dropped.
const KEPT_BYTES: usize = 32 << 20;
/// Further from the head than this, reads begin at multiples of it, so that clients share them.
const ALIGNMENT: i64 = 64;

type Load = Shared<BoxFuture<'static, Result<Arc<Piece>, Arc<Error>>>>;
/// A chat, and the number after which its log is read.
type Place = (ChatId, Seq);

/// Reads of chats' logs, each made once for all who want it.
pub(crate) struct LogReads {
    pieces: Arc<Pieces>,
    sharing: Sharing,
}

impl LogReads {
    pub(crate) fn new(store: Arc<dyn Store>, lifecycle: Lifecycle) -> Self {
        let turns = store.log_readers();
        let ask = move |asked: Vec<LogAfter>| {
            let store = Arc::clone(&store);
            async move { store.logs_after(&asked).await }.boxed()
        };
        let sharing = Sharing { lifecycle, runtime: Handle::current(), kept: Arc::default() };
        Self { pieces: Arc::new(Pieces::new(turns, Box::new(ask))), sharing }
    }

    /// The log from some number not after `after` on. The log has certainly reached `known`: a kept
    /// read that ends before `after` is not served.
    pub(crate) async fn load(&self, chat: ChatId, after: Seq, known: Seq) -> Result<Arc<Piece>, Arc<Error>> {
        let asked = asked(chat, after, known);
        let pieces = Arc::clone(&self.pieces);
        let read = |wanted| async move {
            let page = pieces.read(asked, wanted).await?;
            let events = page.events.iter().map(Event::from_log).collect();
            Ok(Piece::new(asked.after, asked.limit, events, page.head, page.floor))
        };
        let (load, _wanted) = self.sharing.load(asked, after, Instant::now(), read);
        load.await
    }

    /// Forgets what has served its time.
    pub(crate) fn sweep(&self, now: Instant) {
        self.sharing.kept.lock().drop_old(now);
    }

    /// Forgets what was read of a chat: its replay is no longer what was read.
    pub(crate) fn forget(&self, chat: ChatId) {
        self.sharing.kept.lock().forget(chat);
    }
}

/// What is asked of the store by one who has all up to `after`, of a log that reaches `known`.
fn asked(chat_id: ChatId, after: Seq, known: Seq) -> LogAfter {
    let lacks = known.0.saturating_sub(after.0);
    if lacks > ALIGNMENT {
        return LogAfter { chat_id, after: Seq(after.0 - after.0 % ALIGNMENT), limit: EVENTS_PER_QUERY };
    }
    LogAfter { chat_id, after, limit: EVENTS_BEYOND_KNOWN + usize::try_from(lacks).unwrap_or(0) }
}

/// Starts reads, and lets others wait for them.
struct Sharing {
    lifecycle: Lifecycle,
    /// The servers' common runtime: a shard's own thread does no database I/O.
    runtime: Handle,
    kept: Arc<Mutex<Kept>>,
}

impl Sharing {
    /// The kept read of a place, if it says something of what comes after `after`; else this one,
    /// which is kept then. Keep the second part for as long as you wait for it.
    fn load<F: Future<Output = Result<Piece>> + Send + 'static>(
        &self,
        LogAfter { chat_id, after: from, limit }: LogAfter,
        after: Seq,
        now: Instant,
        read: impl FnOnce(Weak<()>) -> F,
    ) -> (Load, Arc<()>) {
        let place = (chat_id, from);
        let mut kept = self.kept.lock();
        if let Some(load) = kept.get(place, after, now) {
            return load;
        }
        kept.begun += 1;
        let (number, finished) = (kept.begun, Arc::clone(&self.kept));
        let wanted = Arc::new(());
        let read = read(Arc::downgrade(&wanted));
        let _entered = self.runtime.enter();
        let reading = self.lifecycle.spawn_task("log read", async move {
            let piece = Arc::new(read.await?);
            finished.lock().finished(place, number, piece.memory_bytes());
            Ok(piece)
        });
        let load = async move { reading.await.map_err(|gone| Arc::new(Error::internal(gone)))?.map_err(Arc::new) }
            .boxed()
            .shared();
        let weak = Arc::downgrade(&wanted);
        kept.insert(place, Read { number, limit, at: now, bytes: 0, load: load.clone(), wanted: weak });
        (load, wanted)
    }
}

struct Read {
    number: u64,
    /// Events that it asked for.
    limit: usize,
    at: Instant,
    /// Once it is finished.
    bytes: usize,
    load: Load,
    /// Dead once nobody waits for it.
    wanted: Weak<()>,
}

/// The kept reads.
#[derive(Default)]
struct Kept {
    reads: HashMap<Place, Read>,
    /// In the order in which they began; some may have been replaced or forgotten.
    order: VecDeque<(Place, u64)>,
    bytes: usize,
    begun: u64,
}

impl Kept {
    fn get(&self, place: Place, after: Seq, now: Instant) -> Option<(Load, Arc<()>)> {
        let Read { at, limit, load, wanted, .. } = self.reads.get(&place)?;
        let asked = i64::try_from(*limit).unwrap_or(i64::MAX);
        let wanted = match load.peek() {
            Some(done) => done.as_ref().is_ok_and(|piece| piece.reaches(after)).then(Arc::default),
            // One that nobody waited for may be left out.
            None => wanted.upgrade(),
        };
        let serves = now.duration_since(*at) < KEPT_FOR && after.0 - place.1.0 < asked;
        wanted.filter(|_| serves).map(|wanted| (load.clone(), wanted))
    }

    fn insert(&mut self, place: Place, read: Read) {
        self.order.push_back((place, read.number));
        if let Some(replaced) = self.reads.insert(place, read) {
            self.bytes -= replaced.bytes;
        }
    }

    /// A read brought so many bytes.
    fn finished(&mut self, place: Place, number: u64, bytes: usize) {
        if let Some(read) = self.reads.get_mut(&place).filter(|read| read.number == number) {
            read.bytes = bytes;
            self.bytes += bytes;
            while self.bytes > KEPT_BYTES {
                self.drop_oldest();
            }
        }
    }

    fn drop_old(&mut self, now: Instant) {
        while let Some((place, number)) = self.order.front() {
            let read = self.reads.get(place).filter(|read| read.number == *number);
            if read.is_some_and(|read| now.duration_since(read.at) < KEPT_FOR) {
                return;
            }
            self.drop_oldest();
        }
    }

    fn drop_oldest(&mut self) {
        let Some((place, number)) = self.order.pop_front() else { return };
        if self.reads.get(&place).is_some_and(|read| read.number == number)
            && let Some(read) = self.reads.remove(&place)
        {
            self.bytes -= read.bytes;
        }
    }

    fn forget(&mut self, chat: ChatId) {
        let bytes = &mut self.bytes;
        self.reads.retain(|(of, _), read| {
            let stays = *of != chat;
            *bytes -= if stays { 0 } else { read.bytes };
            stays
        });
    }
}

impl Event {
    /// An event as read from the log: serialised and framed here, once.
    fn from_log(event: &LogEvent) -> Self {
        Self {
            seq: event.seq,
            kind: event.kind(),
            effect: event.effect(),
            committed_at_micros: micros(event.committed_at),
            frame: frame::text(&event.to_json()),
        }
    }
}

#[cfg(test)]
mod tests;
