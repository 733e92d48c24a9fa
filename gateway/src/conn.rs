//! One connection's state and its way out: frames go straight to the socket while nothing waits;
//! what the socket does not take is queued, bounded in bytes, and leaves in one `writev` when it
//! is writable again (G7).
//!
//! Lives on one shard's thread; fan-out and the connection's own task share it by `Rc`. No I/O
//! here ever waits.

mod aside;
mod backlog;
mod batch;
mod echo;
mod extras;
mod handover;
mod newest;
mod seat;
mod streak;
mod subscriber;
#[cfg(test)]
mod testing;
mod throttle;
mod traced;

pub(crate) use backlog::Backlog;
pub(crate) use batch::Batch;
pub(crate) use seat::Seat;
pub(crate) use subscriber::Subscriber;

use self::extras::Extras;
use crate::feed::Push;
use crate::frame;
use crate::protocol::CloseCode;
use bytes::{Buf, Bytes};
use messenger_common::auth::AuthUser;
use messenger_common::http::Place;
use messenger_common::id::{ChatId, UserId};
use messenger_common::metrics::Held;
use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::io::{ErrorKind, IoSlice};
use std::rc::Rc;
use std::sync::Arc;
use std::task::Waker;
use std::time::Instant;
use tokio::net::TcpStream;

/// Frames that leave in one `writev` at most.
const FRAMES_PER_WRITE: usize = 64;

/// Where a connection stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum State {
    /// `welcome` waits in the queue until presence and the user's channel are up; nothing leaves.
    Opening,
    /// Alive.
    Open,
    /// The close frame is queued or sent; what the client still sends is read and dropped until it
    /// closes too, or until then.
    Closing(Instant),
    /// To be let go of.
    Dead,
}

/// A connection.
pub(crate) struct Conn {
    /// Unique on this node; shown in `welcome`.
    pub(crate) id: u64,
    /// The user and the token that it lives under; `authenticate` changes it. A refused connection
    /// has none.
    auth: RefCell<Option<Arc<AuthUser>>>,
    pub(crate) stream: TcpStream,
    pub(crate) state: Cell<State>,
    /// Its place in the shard.
    pub(crate) key: Cell<usize>,
    /// Its subscriptions: the chat, and their place in the chat's feed.
    pub(crate) subs: RefCell<Vec<(ChatId, usize)>>,
    /// Whether any of them is behind.
    pub(crate) behind: Cell<bool>,
    /// When what a delivery has queued is written.
    turn: batch::Turn,
    /// The last batch of status changes that it was given one of.
    pub(crate) status_stamp: Cell<u64>,
    /// Its seat among its user's connections. Knows when something was last read.
    pub(crate) seat: Arc<Seat>,
    /// When it is pinged next, and when something was last written while something waited:
    /// milliseconds of the node.
    pub(crate) next_ping: Cell<u64>,
    pub(crate) moved: Cell<u64>,
    extras: RefCell<Option<Box<Extras>>>,
    /// The code that was or will be counted when it ends.
    pub(crate) close_code: Cell<u16>,
    /// The shard's time, milliseconds.
    clock: Rc<Cell<u64>>,
    /// The shard's batch.
    batch: Rc<Batch>,
    queue: RefCell<VecDeque<Bytes>>,
    queued: backlog::Queued,
    /// Whether the first frame of the queue has begun to leave.
    begun: Cell<bool>,
    waker: RefCell<Option<Waker>>,
    _counted: Held,
    _place: Option<Arc<Place>>,
}

impl std::fmt::Debug for Conn {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Conn").field("id", &self.id).field("state", &self.state.get()).finish_non_exhaustive()
    }
}

/// The parts of a new connection.
pub(crate) struct NewConn {
    pub(crate) id: u64,
    pub(crate) shard: usize,
    pub(crate) auth: Option<AuthUser>,
    pub(crate) stream: TcpStream,
    pub(crate) clock: Rc<Cell<u64>>,
    pub(crate) batch: Rc<Batch>,
    pub(crate) backlog: Rc<Backlog>,
    pub(crate) counted: Held,
    pub(crate) place: Option<Arc<Place>>,
}

impl Conn {
    pub(crate) fn new(new: NewConn) -> Rc<Self> {
        let now = new.clock.get();
        Rc::new(Self {
            id: new.id,
            auth: RefCell::new(new.auth.map(Arc::new)),
            stream: new.stream,
            state: Cell::new(State::Opening),
            key: Cell::new(usize::MAX),
            subs: RefCell::default(),
            behind: Cell::new(false),
            turn: batch::Turn::default(),
            status_stamp: Cell::new(0),
            seat: Arc::new(Seat::new(new.shard, new.id, now)),
            next_ping: Cell::new(now),
            moved: Cell::new(now),
            extras: RefCell::default(),
            close_code: Cell::new(1006),
            clock: new.clock,
            batch: new.batch,
            queue: RefCell::default(),
            begun: Cell::new(false),
            queued: backlog::Queued::of(new.backlog),
            waker: RefCell::default(),
            _counted: new.counted,
            _place: new.place,
        })
    }

    /// The user and the token that it lives under.
    pub(crate) fn auth(&self) -> Option<Arc<AuthUser>> {
        self.auth.borrow().clone()
    }

    /// Its user.
    pub(crate) fn user_id(&self) -> Option<UserId> {
        self.auth.borrow().as_ref().map(|auth| auth.user_id)
    }

    /// Goes on under a new token of the same user.
    pub(crate) fn authenticate(&self, auth: AuthUser) {
        *self.auth.borrow_mut() = Some(Arc::new(auth));
    }

    /// Whether frames are still taken.
    pub(crate) fn is_live(&self) -> bool {
        matches!(self.state.get(), State::Opening | State::Open)
    }

    /// Bytes that wait.
    pub(crate) fn queued(&self) -> usize {
        self.queued.get()
    }

    /// Whether a frame of this length is one too many. An empty queue takes any.
    fn is_full_for(&self, bytes: usize) -> bool {
        let queued = self.queued.get();
        let most = self.queued.most();
        queued > 0 && (queued + bytes > most || self.queue.borrow().len() >= aside::frames_within(most))
    }

    /// Takes a frame if it fits. Written at once when `now` and nothing waits.
    pub(crate) fn push(&self, frame: &Bytes, now: bool) -> Push {
        match self.state.get() {
            State::Open if now && self.queued.get() == 0 => match self.stream.try_write(frame) {
                Ok(written) if written == frame.len() => Push::Taken,
                Ok(written) => {
                    self.begun.set(written > 0);
                    self.wake();
                    self.enqueue(frame.slice(written..))
                }
                Err(error) if error.kind() == ErrorKind::WouldBlock => {
                    self.wake();
                    self.enqueue(frame.clone())
                }
                Err(_) => {
                    self.die();
                    Push::Gone
                }
            },
            State::Opening | State::Open => {
                if self.is_full_for(frame.len()) {
                    return Push::Full;
                }
                self.enqueue(frame.clone())
            }
            State::Closing(_) | State::Dead => Push::Gone,
        }
    }

    /// Takes the answer to the handshake, which leaves before all else, also before a close.
    pub(crate) fn begin_with(&self, answer: Bytes) {
        self.enqueue(answer);
        self.begun.set(true);
    }

    /// Takes an answer, full or not: there is one for each command, and no command is read while
    /// much waits. It comes behind the notices before it.
    pub(crate) fn answer(&self, frame: Bytes) {
        if self.is_live() {
            self.take_notices_along();
            self.enqueue(frame);
            self.flush_or_wake();
        }
    }

    /// Writes what waits; what the socket does not take, its task writes when it does. It also goes
    /// on with what the full queue held back.
    pub(crate) fn flush_or_wake(&self) {
        if !self.flush() || self.behind.get() {
            self.wake();
        }
    }

    fn enqueue(&self, frame: Bytes) -> Push {
        if self.queued.get() == 0 {
            self.moved.set(self.clock.get());
        }
        self.queued.set(self.queued.get() + frame.len());
        self.queue.borrow_mut().push_back(frame);
        Push::Taken
    }

    /// Writes what waits, as far as the socket takes it. Says whether all of it is gone.
    pub(crate) fn flush(&self) -> bool {
        if self.state.get() == State::Opening {
            return true;
        }
        let mut queue = self.queue.borrow_mut();
        while !queue.is_empty() {
            let mut slices = [IoSlice::new(&[]); FRAMES_PER_WRITE];
            let count = queue.len().min(FRAMES_PER_WRITE);
            slices.iter_mut().zip(queue.iter()).for_each(|(slice, frame)| *slice = IoSlice::new(frame));
            let written = if count == 1 {
                self.stream.try_write(&queue[0])
            } else {
                self.stream.try_write_vectored(&slices[..count])
            };
            match written {
                Ok(mut written) => {
                    self.moved.set(self.clock.get());
                    self.queued.set(self.queued.get() - written);
                    while written > 0 {
                        let Some(front) = queue.front_mut() else { break };
                        if front.len() > written {
                            front.advance(written);
                            self.begun.set(true);
                            break;
                        }
                        written -= front.len();
                        queue.pop_front();
                        self.begun.set(false);
                    }
                }
                Err(error) if error.kind() == ErrorKind::WouldBlock => {
                    drop(queue);
                    self.queue_notices();
                    return false;
                }
                Err(_) => {
                    drop(queue);
                    self.die();
                    return true;
                }
            }
        }
        if queue.capacity() > 16 {
            queue.shrink_to(0);
        }
        drop(queue);
        // A few rounds at most: as much waits aside as the queue takes.
        if self.queue_notices() {
            return self.flush();
        }
        self.flush_newest();
        true
    }

    /// Begins to close: nothing more is delivered, what waits is dropped but for a frame that has
    /// begun to leave. `until`: when it is let go of though the client does not close.
    pub(crate) fn close(&self, code: CloseCode, reason: Option<&str>, until: Instant) {
        // A socket that takes it is not behind.
        if self.is_put_off() {
            self.flush();
        }
        if !self.is_live() {
            return;
        }
        self.state.set(State::Closing(until));
        self.seat.leave();
        self.close_code.set(code.number());
        let mut queue = self.queue.borrow_mut();
        queue.truncate(usize::from(self.begun.get()));
        queue.push_back(frame::close(code.number(), reason.unwrap_or(code.reason())));
        self.queued.set(queue.iter().map(Bytes::len).sum());
        drop(queue);
        self.wake();
    }

    /// The socket is of no more use.
    pub(crate) fn die(&self) {
        self.state.set(State::Dead);
        self.seat.leave();
        self.queue.take();
        self.queued.set(0);
        self.wake();
    }

    /// Lets the connection's own task look again.
    pub(crate) fn wake(&self) {
        if let Some(waker) = self.waker.borrow().as_ref() {
            waker.wake_by_ref();
        }
    }

    /// Whom to wake.
    pub(crate) fn woken_by(&self, waker: &Waker) {
        let mut own = self.waker.borrow_mut();
        if !own.as_ref().is_some_and(|own| own.will_wake(waker)) {
            *own = Some(waker.clone());
        }
    }

    /// Where its subscription to a chat stands in that chat's feed.
    pub(crate) fn sub(&self, chat: ChatId) -> Option<usize> {
        self.subs.borrow().iter().find(|(of, _)| *of == chat).map(|(_, at)| *at)
    }
}
