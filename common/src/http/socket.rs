//! The socket below hyper, which gives hyper's own refusals the form of a problem.
//!
//! hyper answers a head that it cannot read with a bare status: no handler runs. All other answers
//! of 4xx have a media type, so a head without one is hyper's.

use super::places::Place;
use super::problem::{PROBLEM_JSON, Problem};
use crate::error::Error;
use bytes::{Buf, Bytes};
use std::io::{self, IoSlice};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio::time::Sleep;

/// The client's rest is read for so long after a refusal: a reset would take the answer from it.
const REST_WITHIN: Duration = Duration::from_secs(2);
/// The most that is read of a rest at one go.
const REST_AT_ONCE: usize = 64 * 1024;
/// The most that is read of a rest.
const REFUSED_REST_BYTES: usize = 1024 * 1024;

/// A connection's socket. After an upgrade it is taken out with [`Socket::into_stream`].
pub struct Socket {
    stream: TcpStream,
    /// What was read before hyper got it.
    read: Bytes,
    refusal: Option<Box<Refusal>>,
    /// A proxy's, which is told when an answer is with the kernel.
    carrier: Option<Arc<Place>>,
}

#[derive(Debug)]
struct Refusal {
    answer: Vec<u8>,
    written: usize,
    read: usize,
    until: Pin<Box<Sleep>>,
}

impl Socket {
    /// A socket of which these bytes were read.
    pub(super) fn new(stream: TcpStream, read: Bytes) -> Self {
        Self { stream, read, refusal: None, carrier: None }
    }

    pub(super) fn carry_for(&mut self, carrier: Option<Arc<Place>>) {
        self.carrier = carrier;
    }

    /// The bare socket. hyper has read a whole head, and so all that was read before.
    pub fn into_stream(self) -> TcpStream {
        self.stream
    }

    pub(super) fn stream(&self) -> &TcpStream {
        &self.stream
    }

    /// Whether hyper refuses the request by these bytes; the answer is on its way then.
    fn refuses(&mut self, bytes: &[u8]) -> bool {
        if self.refusal.is_some() {
            return true;
        }
        let Some(error) = refused(bytes) else { return false };
        let until = Box::pin(tokio::time::sleep(REST_WITHIN));
        self.refusal = Some(Box::new(Refusal { answer: answer(&error, None), written: 0, read: 0, until }));
        true
    }

    fn poll_answer(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let Some(refusal) = &mut self.refusal else { return Poll::Ready(Ok(())) };
        while let rest @ [_, ..] = &refusal.answer[refusal.written..] {
            match ready!(Pin::new(&mut self.stream).poll_write(cx, rest))? {
                0 => return Poll::Ready(Err(io::ErrorKind::WriteZero.into())),
                written => refusal.written += written,
            }
        }
        Poll::Ready(Ok(()))
    }

    /// Reads what the client still sends until its end, bounded in time and bytes.
    fn poll_rest(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let Some(refusal) = &mut self.refusal else { return Poll::Ready(()) };
        let mut buffer = [0; 8 * 1024];
        let go_on = refusal.read + REST_AT_ONCE;
        while refusal.until.as_mut().poll(cx).is_pending() && refusal.read < REFUSED_REST_BYTES {
            let mut bytes = ReadBuf::new(&mut buffer);
            match ready!(Pin::new(&mut self.stream).poll_read(cx, &mut bytes)) {
                Ok(()) if !bytes.filled().is_empty() => refusal.read += bytes.filled().len(),
                _ => return Poll::Ready(()),
            }
            if refusal.read >= go_on {
                cx.waker().wake_by_ref();
                return Poll::Pending;
            }
        }
        Poll::Ready(())
    }
}

/// The refusal in the head of an answer, where it is hyper's.
fn refused(bytes: &[u8]) -> Option<Error> {
    let rest = bytes.strip_prefix(b"HTTP/1.1 ").or_else(|| bytes.strip_prefix(b"HTTP/1.0 "))?;
    let error = match rest.first_chunk()? {
        b"400" => Error::BadRequest("this is no HTTP request"),
        b"414" => Error::UriTooLong,
        b"431" => Error::HeadersTooLarge,
        _ => return None,
    };
    let is_ours = rest.windows(13).any(|name| name.eq_ignore_ascii_case(b"content-type:"));
    (!is_ours && rest.ends_with(b"\r\n\r\n")).then_some(error)
}

/// The whole answer of an error that no handler saw. Its connection ends with it.
pub(super) fn answer(error: &Error, retry_after: Option<Duration>) -> Vec<u8> {
    let problem = Problem::of(error);
    let body = problem.to_json();
    let retry_after = retry_after.map(|wait| format!("retry-after: {}\r\n", wait.as_secs())).unwrap_or_default();
    let head = format!(
        "HTTP/1.1 {} {}\r\ncontent-type: {PROBLEM_JSON}\r\ncontent-length: {}\r\nx-request-id: {:016x}\r\n\
         cache-control: no-store\r\nx-content-type-options: nosniff\r\n{retry_after}connection: close\r\n\r\n",
        problem.status,
        problem.title,
        body.len(),
        crate::random::bits(),
    );
    [head.as_bytes(), &body].concat()
}

impl AsyncRead for Socket {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        if !self.read.is_empty() {
            let read = self.read.len().min(buf.remaining());
            buf.put_slice(&self.read[..read]);
            self.read.advance(read);
            if self.read.is_empty() {
                // Its memory too.
                self.read = Bytes::new();
            }
            return Poll::Ready(Ok(()));
        }
        Pin::new(&mut self.stream).poll_read(cx, buf)
    }
}

impl AsyncWrite for Socket {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        if self.refuses(bytes) {
            return Poll::Ready(Ok(bytes.len()));
        }
        Pin::new(&mut self.stream).poll_write(cx, bytes)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        // A refusal has no body: its head comes alone.
        if let [head] = slices
            && self.refuses(head)
        {
            return Poll::Ready(Ok(head.len()));
        }
        Pin::new(&mut self.stream).poll_write_vectored(cx, slices)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        ready!(self.poll_answer(cx))?;
        ready!(Pin::new(&mut self.stream).poll_flush(cx))?;
        if let Some(carrier) = &self.carrier {
            carrier.flushed();
        }
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        ready!(self.poll_answer(cx))?;
        ready!(Pin::new(&mut self.stream).poll_shutdown(cx))?;
        self.poll_rest(cx).map(Ok)
    }
}
