//! Requests over keep-alive connections, at a rate or as fast as they are answered.

use super::clock;
use super::tally::histogram;
use hdrhistogram::Histogram;
use memchr::memmem;
use mio::net::TcpStream;
use mio::unix::SourceFd;
use mio::{Events, Interest, Poll, Token};
use nix::sys::time::TimeSpec;
use nix::sys::timerfd::{ClockId, Expiration, TimerFd, TimerFlags, TimerSetTimeFlags};
use std::collections::VecDeque;
use std::io::{self, ErrorKind, Read, Write};
use std::net::SocketAddr;
use std::os::fd::{AsFd, AsRawFd};
use std::time::Duration;

/// When the next request is to be sent.
pub enum Pace<'a> {
    /// At a rate a second, whatever comes back; a request that finds no free connection waits, and
    /// its wait counts.
    Rate(f64),
    /// On every connection as soon as its last was answered, while the gate (given how many were
    /// sent) is open.
    Full(&'a mut dyn FnMut(u64) -> bool),
}

/// The sends to make.
pub struct Plan<'p, 'r> {
    pub server: SocketAddr,
    pub connections: usize,
    pub pace: Pace<'p>,
    pub lasts: Duration,
    /// Makes the nth request, on that connection, to be sent at that moment.
    pub request: &'r mut dyn FnMut(&mut Vec<u8>, usize, u64, u64),
}

/// The outcome of a plan.
pub struct Sent {
    pub sent: u64,
    pub answered: u64,
    pub refused: u64,
    pub first_refusal: String,
    /// From the moment at which a request was to be sent to its answer.
    pub latency: Histogram<u64>,
    pub seconds: f64,
}

struct Link {
    stream: TcpStream,
    due: Option<u64>,
    answer: Vec<u8>,
}

const TIMER: Token = Token(usize::MAX);
/// The wait for answers that are still missing when time is up.
const ANSWERS_WITHIN: Duration = Duration::from_secs(5);

/// Sends and reads the answers until the time is up.
pub fn run(mut plan: Plan<'_, '_>) -> io::Result<Sent> {
    let mut poll = Poll::new()?;
    let mut links = Vec::new();
    for n in 0..plan.connections {
        let stream = std::net::TcpStream::connect(plan.server)?;
        stream.set_nodelay(true)?;
        stream.set_nonblocking(true)?;
        let mut stream = TcpStream::from_std(stream);
        poll.registry().register(&mut stream, Token(n), Interest::READABLE)?;
        links.push(Link { stream, due: None, answer: Vec::new() });
    }
    // for the moment of the next request: a poll's own limit is in whole milliseconds
    let timer = TimerFd::new(ClockId::CLOCK_MONOTONIC, TimerFlags::TFD_NONBLOCK)?;
    poll.registry().register(&mut SourceFd(&timer.as_fd().as_raw_fd()), TIMER, Interest::READABLE)?;
    let mut sent =
        Sent { sent: 0, answered: 0, refused: 0, first_refusal: String::new(), latency: histogram(), seconds: 0.0 };
    let mut events = Events::with_capacity(256);
    let mut buffer = vec![0; 64 * 1024];
    let mut out = Vec::new();
    let mut free: VecDeque<usize> = (0..links.len()).collect();
    let begin = clock::now();
    let end = begin + clock::nanos(plan.lasts);
    let last = end + clock::nanos(ANSWERS_WITHIN);
    loop {
        let now = clock::now();
        // all that is due before the end is sent, however late, or what a server keeps waiting
        // would not be told of
        let mut over = now >= last;
        while !over && !free.is_empty() {
            let due = match &mut plan.pace {
                Pace::Rate(rate) => begin + (sent.sent as f64 * 1e9 / *rate) as u64,
                Pace::Full(gate) => {
                    if now < end && !gate(sent.sent) {
                        break;
                    }
                    clock::now()
                }
            };
            if due >= end {
                over = true;
                break;
            }
            if due > now && matches!(plan.pace, Pace::Rate(_)) {
                let wait = TimeSpec::from_duration(Duration::from_nanos(due - now));
                timer.set(Expiration::OneShot(wait), TimerSetTimeFlags::empty())?;
                break;
            }
            let Some(n) = free.pop_front() else { break };
            out.clear();
            (plan.request)(&mut out, n, sent.sent, due);
            links[n].stream.write_all(&out)?;
            links[n].due = Some(due);
            sent.sent += 1;
        }
        if over && (free.len() == links.len() || now >= last) {
            break;
        }
        let wait = if matches!(plan.pace, Pace::Full(_)) && !free.is_empty() { 1 } else { 50 };
        poll.poll(&mut events, Some(Duration::from_millis(wait)))?;
        for event in &events {
            if event.token() == TIMER {
                // what is due is in the schedule
                timer.wait().ok();
                continue;
            }
            let n = event.token().0;
            while let Some(status) = links[n].read(&mut buffer)? {
                let Some(due) = links[n].due.take() else { continue };
                free.push_back(n);
                sent.latency.saturating_record(clock::now().saturating_sub(due));
                if (200..300).contains(&status) {
                    sent.answered += 1;
                } else {
                    sent.refused += 1;
                    if sent.first_refusal.is_empty() {
                        sent.first_refusal = String::from_utf8_lossy(&links[n].answer).into_owned();
                    }
                }
                links[n].answer.clear();
            }
        }
    }
    sent.seconds = (clock::now().max(end) - begin) as f64 / 1e9;
    Ok(sent)
}

impl Link {
    /// Reads on; the status, when the answer is whole.
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<Option<u16>> {
        loop {
            if let Some(status) = whole(&self.answer) {
                return Ok(Some(status));
            }
            match self.stream.read(buffer) {
                Ok(0) => return Err(io::Error::other("the server closed a keep-alive connection")),
                Ok(read) => self.answer.extend_from_slice(&buffer[..read]),
                Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(None),
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
    }
}

/// The status of an answer that is all here; one is under way at a time, so nothing is behind it.
fn whole(answer: &[u8]) -> Option<u16> {
    let head_end = memmem::find(answer, b"\r\n\r\n")? + 4;
    let head = std::str::from_utf8(&answer[..head_end]).ok()?;
    let status = head.get(9..12)?.parse().ok()?;
    let header = |name: &str| {
        head.lines().skip(1).find_map(|line| {
            let (key, value) = line.split_once(':')?;
            key.eq_ignore_ascii_case(name).then(|| value.trim())
        })
    };
    let body = &answer[head_end..];
    let is_whole = match header("content-length").and_then(|length| length.parse::<usize>().ok()) {
        Some(length) => body.len() >= length,
        None if header("transfer-encoding").is_some() => body.ends_with(b"0\r\n\r\n"),
        None => true,
    };
    is_whole.then_some(status)
}

/// A POST with a JSON body.
pub fn post(out: &mut Vec<u8>, path: &str, token: &str, body: &str) {
    let head = format!(
        "POST {path} HTTP/1.1\r\nhost: load\r\nauthorization: Bearer {token}\r\ncontent-type: application/json\r\n\
         content-length: {}\r\n\r\n",
        body.len()
    );
    out.extend_from_slice(head.as_bytes());
    out.extend_from_slice(body.as_bytes());
}

/// A GET.
pub fn get(out: &mut Vec<u8>, path: &str, token: &str) {
    let head = format!("GET {path} HTTP/1.1\r\nhost: load\r\nauthorization: Bearer {token}\r\n\r\n");
    out.extend_from_slice(head.as_bytes());
}
