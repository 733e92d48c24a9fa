//! The end of a connection, after its close frame.

use crate::conn::{Conn, State};
use crate::shard::Shard;
use std::io::ErrorKind;
use std::net::Shutdown;
use std::task::{Context, Poll};

/// Reads of one poll; then the others of the thread have their turn.
const READS_PER_POLL: usize = 4;
/// Bytes read and dropped in all. An honest client sends little after the close; a flood loses its
/// connection.
const MOST_DROPPED: usize = 1 << 20;

/// See the module.
#[derive(Debug, Default)]
pub(super) struct Closing {
    /// Whether our side of the socket is shut.
    shut: bool,
    /// Bytes read and dropped since then.
    dropped: usize,
}

impl Closing {
    /// Sends what is queued, shuts our side, and drops what still comes, until the client has
    /// closed too.
    pub(super) fn poll(&mut self, shard: &Shard, conn: &Conn, cx: &mut Context<'_>) -> Poll<()> {
        while conn.queued() > 0 {
            if std::task::ready!(conn.stream.poll_write_ready(cx)).is_err() {
                return Poll::Ready(());
            }
            conn.flush();
            if conn.state.get() == State::Dead {
                return Poll::Ready(());
            }
        }
        if !std::mem::replace(&mut self.shut, true)
            && socket2::SockRef::from(&conn.stream).shutdown(Shutdown::Write).is_err()
        {
            return Poll::Ready(());
        }
        let mut scratch = shard.scratch.borrow_mut();
        for _ in 0..READS_PER_POLL {
            if std::task::ready!(conn.stream.poll_read_ready(cx)).is_err() {
                return Poll::Ready(());
            }
            match conn.stream.try_read(&mut scratch) {
                Ok(0) => return Poll::Ready(()),
                Ok(bytes) => self.dropped += bytes,
                Err(error) if error.kind() != ErrorKind::WouldBlock => return Poll::Ready(()),
                Err(_) => {}
            }
            if self.dropped > MOST_DROPPED {
                return Poll::Ready(());
            }
        }
        cx.waker().wake_by_ref();
        Poll::Pending
    }
}
