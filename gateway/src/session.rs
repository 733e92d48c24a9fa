//! One connection's life: what its client sends, in order, one command at a time; and what waits
//! for its socket.
//!
//! A future written by hand, so that an idle connection is a few hundred bytes: it keeps no read
//! buffer (a shard has one for all) and a command's own future lives only while the command runs.
//! While one runs, or much waits to be sent, nothing more is read: a client that does not read is
//! not read from.

mod closing;
mod pace;

use crate::commands;
use crate::conn::{Conn, State};
use crate::frame::{self, Frame, Kind, Violation};
use crate::protocol::CloseCode;
use crate::shard::Shard;
use crate::subscription::{self, Step};
use bytes::{Buf, BytesMut};
use closing::Closing;
use pace::FramePace;
use std::future::Future;
use std::io::ErrorKind;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll};
use std::time::{Duration, Instant};
use tokio::time::Sleep;

/// Rounds of one poll at most; then the others of the thread have their turn.
const ROUNDS_PER_POLL: usize = 16;
/// Bytes read that count as a further round.
const BYTES_PER_ROUND: usize = 4096;
/// Frames that start no command taken in one round at most.
const FRAMES_PER_ROUND: usize = 64;

/// Something that a connection waits for.
pub(crate) type Job = Pin<Box<dyn Future<Output = ()>>>;

/// See the module.
pub(crate) struct Session {
    shard: Rc<Shard>,
    conn: Rc<Conn>,
    /// Read, and not a whole frame yet, or not its turn.
    read: BytesMut,
    /// The rate of its frames, and the pause while it is above.
    pace: FramePace,
    paused: Option<Pin<Box<Sleep>>>,
    /// The rounds of this poll so far.
    work: usize,
    /// The parts so far of a fragmented message.
    message: Option<Vec<u8>>,
    /// The command that runs.
    job: Option<Job>,
    /// The read of the log for subscriptions that are behind.
    catching_up: Option<Job>,
    /// The end of the connection, once its close frame is queued.
    closing: Closing,
}

impl Session {
    pub(crate) fn new(shard: Rc<Shard>, conn: Rc<Conn>, job: Option<Job>, read: &[u8]) -> Self {
        let pace = FramePace::new(shard.hub.ctx.limits.rate_frames_per_second);
        Self {
            shard,
            conn,
            read: BytesMut::from(read),
            pace,
            paused: None,
            work: 0,
            message: None,
            job,
            catching_up: None,
            closing: Closing::default(),
        }
    }

    /// Whether a frame may be taken now.
    fn may_read(&self) -> bool {
        self.job.is_none() && self.paused.is_none() && self.conn.state.get() == State::Open && self.conn.has_room()
    }

    /// Ends the pause of a client over its rate when it is over.
    fn poll_pause(&mut self, cx: &mut Context<'_>) -> Poll<bool> {
        let Some(pause) = &mut self.paused else { return Poll::Ready(false) };
        std::task::ready!(pause.as_mut().poll(cx));
        self.paused = None;
        // Its frames were not read meanwhile: it was not silent.
        self.conn.seat.read_at(self.shard.clock.get());
        Poll::Ready(true)
    }

    /// Reads no more for so long; closes a client that goes on over its rate.
    fn pause(&mut self, period: Duration) {
        self.shard.hub.ctx.metrics.rate_limited("frames").inc();
        if self.conn.is_over_rate_too_long(Instant::now()) {
            self.shard.close(&self.conn, CloseCode::TooManyCommands);
        }
        self.paused = Some(Box::pin(tokio::time::sleep(period)));
    }

    /// Reads what there is. `Ready(true)`: something was done, look again; `Ready(false)`: not now;
    /// `Pending`: woken when there is more.
    fn poll_read(&mut self, cx: &mut Context<'_>) -> Poll<bool> {
        if !self.may_read() {
            return Poll::Ready(false);
        }
        if !self.read.is_empty() {
            let mut read = std::mem::take(&mut self.read);
            let done = self.take(&mut read);
            if done < read.len() {
                read.advance(done);
                self.read = read;
            }
            if done > 0 {
                return Poll::Ready(true);
            }
            if !self.may_read() {
                return Poll::Ready(true);
            }
        }
        let conn = Rc::clone(&self.conn);
        std::task::ready!(conn.stream.poll_read_ready(cx)).unwrap_or_else(|_| conn.die());
        let shard = Rc::clone(&self.shard);
        let mut scratch = shard.scratch.borrow_mut();
        match conn.stream.try_read(&mut scratch) {
            Ok(0) => conn.die(),
            Ok(count) => {
                shard.look_at_the_clock();
                conn.seat.read_at(shard.clock.get());
                self.work += count / BYTES_PER_ROUND;
                if self.read.is_empty() {
                    let done = self.take(&mut scratch[..count]);
                    self.read.extend_from_slice(&scratch[done..count]);
                } else {
                    self.read.extend_from_slice(&scratch[..count]);
                }
            }
            Err(error) if error.kind() == ErrorKind::WouldBlock => {}
            Err(_) => conn.die(),
        }
        Poll::Ready(true)
    }

    /// Takes the whole frames at the front of `buffer`, up to one that starts a command; says how
    /// many bytes they were.
    fn take(&mut self, buffer: &mut [u8]) -> usize {
        let limit = self.shard.hub.ctx.limits.max_frame_bytes;
        let now = self.shard.clock.get();
        let (mut done, mut frames) = (0, 0);
        let mut ping = None;
        while frames < FRAMES_PER_ROUND && self.may_read() {
            match frame::parse(&mut buffer[done..], limit) {
                Ok(Some((frame, end))) => {
                    frames += 1;
                    self.pace.count(end, now);
                    if let Some(period) = self.pace.pause(now) {
                        self.pause(period);
                    }
                    let payload = done + frame.payload.start..done + frame.payload.end;
                    if frame.kind == Kind::Ping {
                        ping = Some(payload);
                    } else if let Err(violation) = self.on_frame(&frame, &buffer[payload]) {
                        self.violated(violation);
                    }
                    done += end;
                }
                Ok(None) => break,
                Err(violation) => {
                    self.violated(violation);
                    return buffer.len();
                }
            }
        }
        // Of several only the last (RFC 6455, section 5.5.3), so that a flood of them is not a
        // flood of writes.
        if let Some(ping) = ping {
            self.conn.answer(frame::pong(&buffer[ping]));
        }
        debug_assert!(done <= buffer.len() && buffer.len() - done <= limit + frame::MAX_HEADER_BYTES + 64 * 1024);
        done
    }

    fn violated(&self, violation: Violation) {
        self.shard.close(&self.conn, CloseCode::from(violation));
    }

    fn on_frame(&mut self, frame: &Frame, payload: &[u8]) -> Result<(), Violation> {
        match frame.kind {
            Kind::Ping | Kind::Pong => {}
            Kind::Close => {
                let code = frame::close_answer(payload)?;
                self.shard.close_with(&self.conn, CloseCode::Normal, None);
                self.conn.close_code.set(code.unwrap_or(1005));
            }
            Kind::Text | Kind::Continue => return self.on_part(frame, payload),
        }
        Ok(())
    }

    fn on_part(&mut self, frame: &Frame, payload: &[u8]) -> Result<(), Violation> {
        match (frame.kind, self.message.take()) {
            (Kind::Text, None) if frame.is_final => self.on_text(payload),
            (Kind::Text, None) => {
                self.message = Some(payload.to_vec());
                Ok(())
            }
            (Kind::Continue, Some(mut message)) => {
                if message.len() + payload.len() > self.shard.hub.ctx.limits.max_frame_bytes {
                    return Err(Violation::TooBig);
                }
                message.extend_from_slice(payload);
                if frame.is_final {
                    return self.on_text(&message);
                }
                self.message = Some(message);
                Ok(())
            }
            _ => Err(Violation::Protocol("parts of messages out of order")),
        }
    }

    fn on_text(&mut self, text: &[u8]) -> Result<(), Violation> {
        let text = std::str::from_utf8(text).map_err(|_| Violation::NotUtf8)?;
        self.job = Some(Box::pin(commands::run(Rc::clone(&self.shard), Rc::clone(&self.conn), text.to_owned())));
        Ok(())
    }

    /// Writes what waits.
    fn poll_write(&mut self, cx: &mut Context<'_>) -> Poll<bool> {
        if self.conn.queued() == 0 || self.conn.state.get() == State::Opening {
            return Poll::Ready(false);
        }
        let conn = Rc::clone(&self.conn);
        std::task::ready!(conn.stream.poll_write_ready(cx)).unwrap_or_else(|_| conn.die());
        self.shard.look_at_the_clock();
        self.conn.flush();
        Poll::Ready(true)
    }

    /// Moves on the subscriptions that are behind.
    fn poll_catch_up(&mut self, cx: &mut Context<'_>) -> Poll<bool> {
        if let Some(job) = &mut self.catching_up {
            std::task::ready!(job.as_mut().poll(cx));
            self.catching_up = None;
            return Poll::Ready(true);
        }
        if !self.conn.behind.get() || !self.conn.has_room() {
            return Poll::Ready(false);
        }
        match subscription::catch_up(&self.shard, &self.conn, None) {
            Step::Done => Poll::Ready(true),
            // The frames that filled the queue may have left meanwhile.
            Step::Full => Poll::Ready(self.conn.queued() == 0),
            // Its history went back. A piece of the log is looked at where it was read.
            Step::Lost(chat) => {
                let (shard, conn) = (Rc::clone(&self.shard), Rc::clone(&self.conn));
                self.catching_up = Some(Box::pin(subscription::readmit(shard, conn, chat)));
                Poll::Ready(true)
            }
            Step::Read(chat, after) => {
                let (shard, conn) = (Rc::clone(&self.shard), Rc::clone(&self.conn));
                self.catching_up = Some(Box::pin(subscription::read_and_catch_up(shard, conn, chat, after)));
                Poll::Ready(true)
            }
        }
    }
}

impl Future for Session {
    type Output = ();

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        let this = self.get_mut();
        this.conn.woken_by(cx.waker());
        this.work = 0;
        loop {
            if this.work >= ROUNDS_PER_POLL {
                // Whatever keeps it busy must not keep the thread.
                cx.waker().wake_by_ref();
                return Poll::Pending;
            }
            this.work += 1;
            match this.conn.state.get() {
                State::Dead => break,
                State::Closing(_) => {
                    this.job = None;
                    this.catching_up = None;
                    std::task::ready!(this.closing.poll(&this.shard, &this.conn, cx));
                    break;
                }
                State::Opening | State::Open => {}
            }
            let mut progress = false;
            if let Some(job) = &mut this.job
                && job.as_mut().poll(cx).is_ready()
            {
                this.job = None;
                // Its frames were not read meanwhile: it was not silent.
                this.conn.seat.read_at(this.shard.clock.get());
                progress = true;
            }
            progress |= this.poll_pause(cx) == Poll::Ready(true);
            progress |= this.poll_read(cx) == Poll::Ready(true);
            progress |= this.poll_catch_up(cx) == Poll::Ready(true);
            progress |= this.poll_write(cx) == Poll::Ready(true);
            if !progress {
                return Poll::Pending;
            }
        }
        this.shard.remove(&this.conn);
        Poll::Ready(())
    }
}

impl Drop for Session {
    fn drop(&mut self) {
        self.shard.remove(&self.conn);
    }
}
