//! One subscriber's socket: the few bytes of a WebSocket client that a measurement needs.
//!
//! Load and servers share the machine's cores, so what is read is not parsed: a frame's header
//! gives its length, `"seq":` its place and `"text":"` the moment at which it was to be sent.

use super::tally::Tally;
use memchr::memmem;
use mio::net::TcpStream;
use std::io::{self, ErrorKind, Read, Write};
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;

/// One step of a conversation: after something that contains `expect`, `then` is sent.
#[derive(Clone)]
pub struct Step {
    pub expect: &'static str,
    pub then: Vec<u8>,
}

/// A subscriber to be.
#[derive(Clone)]
pub struct Spec {
    pub server: SocketAddr,
    /// Which loopback address it comes from: each has its own ports.
    pub source: Ipv4Addr,
    /// Sent when connected; empty: what comes are frames from the start.
    pub hello: Vec<u8>,
    /// The steps after the answer's head; after the last, it is a subscriber.
    pub steps: Arc<[Step]>,
}

/// A WebSocket handshake.
pub fn handshake(path: &str, headers: &str) -> Vec<u8> {
    format!(
        "GET {path} HTTP/1.1\r\nhost: load\r\nconnection: Upgrade\r\nupgrade: websocket\r\nsec-websocket-version: 13\r\n\
         sec-websocket-key: dGhlIHNhbXBsZSBub25jZQ==\r\n{headers}\r\n"
    )
    .into_bytes()
}

/// A client's text frame, masked with nothing but zeros.
pub fn text_frame(payload: &str) -> Vec<u8> {
    masked(0x81, payload.as_bytes())
}

fn masked(first: u8, payload: &[u8]) -> Vec<u8> {
    let mut frame = vec![first];
    match u8::try_from(payload.len()) {
        Ok(short) if short < 126 => frame.push(0x80 | short),
        _ => {
            frame.push(0x80 | 0x7e);
            frame.extend(u16::try_from(payload.len()).unwrap_or(u16::MAX).to_be_bytes());
        }
    }
    frame.extend([0; 4]);
    frame.extend(payload);
    frame
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Phase {
    Connecting,
    Head,
    Steps(usize),
    Live,
}

/// See the module.
pub struct Socket {
    pub stream: TcpStream,
    spec: Spec,
    phase: Phase,
    /// The beginning of a frame whose end is still to come.
    rest: Vec<u8>,
    /// The last number seen; 0: none yet.
    seq: u64,
    /// When it said something last.
    said: u64,
}

impl Socket {
    pub fn connect(spec: Spec) -> io::Result<Self> {
        let socket = socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::STREAM, None)?;
        socket.set_nonblocking(true)?;
        socket.bind(&SocketAddr::from((spec.source, 0)).into())?;
        match socket.connect(&spec.server.into()) {
            Err(error) if error.raw_os_error() != Some(nix::errno::Errno::EINPROGRESS as i32) => return Err(error),
            _ => {}
        }
        let stream = TcpStream::from_std(socket.into());
        Ok(Self { stream, spec, phase: Phase::Connecting, rest: Vec::new(), seq: 0, said: 0 })
    }

    pub fn is_live(&self) -> bool {
        self.phase == Phase::Live
    }

    /// Takes whatever number comes next as the first.
    pub fn forget_number(&mut self) {
        self.seq = 0;
    }

    /// The connection stands: says hello.
    pub fn on_writable(&mut self) -> io::Result<()> {
        if self.phase != Phase::Connecting {
            return Ok(());
        }
        if let Some(error) = self.stream.take_error()? {
            return Err(error);
        }
        if self.spec.hello.is_empty() {
            self.phase = Phase::Live;
            return Ok(());
        }
        self.phase = Phase::Head;
        self.stream.write_all(&self.spec.hello)
    }

    /// Reads what there is through `buffer`, which all sockets of a thread share.
    pub fn on_readable(&mut self, buffer: &mut [u8], tally: &mut Tally, now: u64) -> io::Result<()> {
        loop {
            let kept = self.rest.len();
            let mut grown;
            let space = if kept + 16 * 1024 <= buffer.len() {
                &mut *buffer
            } else {
                grown = vec![0; kept * 2];
                &mut grown[..]
            };
            space[..kept].copy_from_slice(&self.rest);
            let read = match self.stream.read(&mut space[kept..]) {
                Ok(0) => return Err(ErrorKind::UnexpectedEof.into()),
                Ok(read) => read,
                Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(()),
                Err(error) if error.kind() == ErrorKind::Interrupted => continue,
                Err(error) => return Err(error),
            };
            let drained = kept + read < space.len();
            let have = &space[..kept + read];
            let used = self.take(have, tally, now)?;
            self.rest.clear();
            self.rest.extend_from_slice(&have[used..]);
            if self.rest.is_empty() && self.rest.capacity() > 0 {
                self.rest = Vec::new();
            }
            // what comes later brings another event
            if drained {
                return Ok(());
            }
        }
    }

    fn take(&mut self, have: &[u8], tally: &mut Tally, now: u64) -> io::Result<usize> {
        let mut at = 0;
        if self.phase == Phase::Head {
            let Some(end) = memmem::find(have, b"\r\n\r\n") else { return Ok(0) };
            if !have.starts_with(b"HTTP/1.1 101") {
                let head = String::from_utf8_lossy(&have[..end.min(300)]).into_owned();
                return Err(io::Error::other(head));
            }
            at = end + 4;
            self.phase = Phase::Steps(0);
            // a first step that expects nothing begins the conversation
            self.say_if(str::is_empty)?;
        }
        while let Some((opcode, start, end)) = frame_at(have, at) {
            let payload = &have[start..end];
            match opcode {
                1 if self.phase == Phase::Live => {
                    if payload == b"2" {
                        // the ping of Engine.IO
                        self.stream.write_all(&text_frame("3"))?;
                    } else {
                        self.seq = tally.event(payload, end - at, self.seq, now);
                    }
                }
                1 => {
                    if let Some(seq) = super::tally::number_after(payload, b"\"seq\":") {
                        // The replay comes first.
                        let recovered = super::tally::number_after(payload, b"\"recovered\":").unwrap_or(0);
                        self.seq = seq.saturating_sub(recovered);
                    }
                    tally.answer(payload, now.saturating_sub(self.said));
                    self.say_if(|expect| !expect.is_empty() && memmem::find(payload, expect.as_bytes()).is_some())?;
                }
                9 => self.stream.write_all(&masked(0x8a, payload))?,
                8 => return Err(io::Error::other(format!("closed: {}", String::from_utf8_lossy(payload)))),
                _ => {}
            }
            at = end;
        }
        Ok(at)
    }

    fn say_if(&mut self, is_met: impl Fn(&str) -> bool) -> io::Result<()> {
        let Phase::Steps(mut next) = self.phase else { return Ok(()) };
        let steps = Arc::clone(&self.spec.steps);
        if let Some(step) = steps.get(next)
            && is_met(step.expect)
        {
            if !step.then.is_empty() {
                self.said = super::clock::now();
                self.stream.write_all(&step.then)?;
            }
            next += 1;
        }
        self.phase = if next == steps.len() { Phase::Live } else { Phase::Steps(next) };
        if self.phase == Phase::Live {
            self.spec.hello = Vec::new();
        }
        Ok(())
    }
}

/// The frame at `at`, if it is whole: its opcode, and where its payload starts and ends.
fn frame_at(have: &[u8], at: usize) -> Option<(u8, usize, usize)> {
    let first = *have.get(at)?;
    let second = *have.get(at + 1)?;
    let (start, length) = match second & 0x7f {
        126 => (at + 4, usize::from(u16::from_be_bytes([*have.get(at + 2)?, *have.get(at + 3)?]))),
        127 => {
            let bytes: [u8; 8] = have.get(at + 2..at + 10)?.try_into().ok()?;
            (at + 10, usize::try_from(u64::from_be_bytes(bytes)).ok()?)
        }
        short => (at + 2, usize::from(short)),
    };
    let end = start + length;
    (end <= have.len()).then_some((first & 0x0f, start, end))
}
