//! The limit of fan-out: a process that does nothing but write prepared frames to its sockets. It
//! is this program under another name, so that its CPU time is its own.

use super::clock;
use super::fleet::Fleet;
use super::socket::Spec;
use mio::{Events, Interest, Poll, Token};
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use socket2::{Domain, Socket, Type};
use std::io::{self, BufRead, BufReader, ErrorKind, IoSlice, Write};
use std::net::{SocketAddr, TcpListener};
use std::os::fd::AsFd;
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};

/// The name under which the program is the bare writer.
pub const NAME: &str = "bare-writer";
/// Frames that one `writev` takes at full throttle.
const AT_ONCE: usize = 10;
/// Bytes of a frame, its header with it.
const FRAME: usize = 200;

/// A running bare writer; it ends with its standard input.
pub struct Bare {
    child: Child,
    input: ChildStdin,
    output: BufReader<ChildStdout>,
    address: SocketAddr,
}

impl Bare {
    pub fn start() -> Result<Self, String> {
        let start = || -> io::Result<Self> {
            let mut command = Command::new(std::env::current_exe()?);
            let mut child = command.arg(NAME).stdin(Stdio::piped()).stdout(Stdio::piped()).spawn()?;
            let missing = || io::Error::other("no pipe");
            let input = child.stdin.take().ok_or_else(missing)?;
            let output = BufReader::new(child.stdout.take().ok_or_else(missing)?);
            let mut bare = Self { child, input, output, address: ([127, 0, 0, 1], 0).into() };
            let port = bare.answer()?;
            bare.address.set_port(u16::try_from(port).unwrap_or(0));
            Ok(bare)
        };
        start().map_err(|error| format!("the bare writer: {error}"))
    }

    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// The nth socket to it; frames come on it without a handshake.
    fn spec(&self, n: usize) -> Spec {
        Spec { server: self.address, source: super::fleet::source(n), hello: Vec::new(), steps: Arc::new([]) }
    }

    /// Says what it is to do, and waits until it has; the answer is the number of frames written.
    pub fn ask(&mut self, command: &str) -> Result<u64, String> {
        let done = writeln!(self.input, "{command}").and_then(|()| self.answer());
        done.map_err(|error| format!("the bare writer: {error}"))
    }

    /// Opens that many sockets to it, which it accepts meanwhile.
    pub fn open(&mut self, subscribers: usize) -> Result<Fleet, String> {
        let failed = |error: io::Error| format!("the bare writer: {error}");
        writeln!(self.input, "accept {subscribers}").map_err(failed)?;
        let fleet = Fleet::open((0..subscribers).map(|n| self.spec(n)).collect(), false)?;
        self.answer().map_err(failed)?;
        Ok(fleet)
    }

    fn answer(&mut self) -> io::Result<u64> {
        let mut line = String::new();
        self.output.read_line(&mut line)?;
        line.trim().parse().map_err(|_| io::Error::other(format!("it said `{line}`")))
    }
}

impl Drop for Bare {
    fn drop(&mut self) {
        // it may have ended by itself
        self.child.kill().ok();
        self.child.wait().ok();
    }
}

/// The writer's steps: `accept N`, `write RATE SECONDS EACH` (messages at a rate, each by one
/// `write` to each of the next EACH sockets), `flood SECONDS` (`writev` of ten frames).
pub fn run() -> io::Result<()> {
    let listener = listen()?;
    let mut out = io::stdout();
    writeln!(out, "{}", listener.local_addr()?.port())?;
    let mut sockets = Vec::new();
    for line in io::stdin().lines() {
        let line = line?;
        let words: Vec<&str> = line.split(' ').collect();
        let number = |at: usize| words.get(at).and_then(|word| word.parse::<f64>().ok()).unwrap_or(0.0);
        let done = match words[0] {
            "accept" => {
                for _ in 0..number(1) as u64 {
                    let (socket, _) = listener.accept()?;
                    socket.set_nonblocking(true)?;
                    socket.set_nodelay(true)?;
                    sockets.push(mio::net::TcpStream::from_std(socket));
                }
                sockets.len() as u64
            }
            "write" => write(&mut sockets, number(1), number(2), number(3) as usize)?,
            "flood" => flood(&mut sockets, number(1))?,
            _ => 0,
        };
        writeln!(out, "{done}")?;
    }
    Ok(())
}

/// A backlog as large as the kernel allows: of a connection that finds it full, a server that
/// speaks first never hears. A client that does not come is an error.
fn listen() -> io::Result<TcpListener> {
    const BACKLOG: i32 = 4096;
    const PATIENCE: Duration = Duration::from_secs(20);
    let socket = Socket::new(Domain::IPV4, Type::STREAM, None)?;
    socket.bind(&SocketAddr::from(([127, 0, 0, 1], 0)).into())?;
    socket.listen(BACKLOG)?;
    // of a listener this bounds `accept`
    socket.set_read_timeout(Some(PATIENCE))?;
    Ok(socket.into())
}

/// A text frame like an event's, with that number and moment.
fn frame(seq: u64, moment: u64) -> Vec<u8> {
    let payload = FRAME - 4;
    let begin =
        format!(r#"{{"type":"new_message","chat_id":1,"seq":{seq:010},"message":{{"text":"{}"#, clock::stamp(moment));
    let end = r#""}}"#;
    let filling = ".".repeat(payload - begin.len() - end.len());
    let mut frame = vec![0x81, 126];
    frame.extend(u16::try_from(payload).unwrap_or(0).to_be_bytes());
    frame.extend(format!("{begin}{filling}{end}").bytes());
    frame
}

fn write(sockets: &mut [mio::net::TcpStream], rate: f64, seconds: f64, each: usize) -> io::Result<u64> {
    let groups = (sockets.len() / each).max(1);
    let begin = clock::now();
    let mut sent = 0_u64;
    loop {
        let at = super::report::float(sent) / rate;
        if at >= seconds {
            return Ok(sent * each as u64);
        }
        let due = begin + clock::nanos(Duration::from_secs_f64(at));
        std::thread::sleep(Duration::from_nanos(due.saturating_sub(clock::now())));
        let frame = frame(1 + sent / groups as u64, due);
        let first = sent as usize % groups * each;
        sent += 1;
        for socket in &mut sockets[first..first + each] {
            // what a full socket does not take is missed, and counted as a gap where it is read; a
            // part that it took is followed by the rest
            match socket.write(&frame) {
                Ok(taken) => write_rest(socket, &frame[taken..])?,
                Err(error) if error.kind() == ErrorKind::WouldBlock => {}
                Err(error) => return Err(error),
            }
        }
    }
}

/// Writes the rest of what was begun, so that the frames on the wire stay whole; a reader that
/// takes nothing for so long is an error.
fn write_rest(socket: &mut mio::net::TcpStream, mut rest: &[u8]) -> io::Result<()> {
    const PATIENCE: Duration = Duration::from_secs(5);
    let deadline = Instant::now() + PATIENCE;
    while !rest.is_empty() {
        match socket.write(rest) {
            Ok(written) => rest = &rest[written..],
            Err(error) if error.kind() == ErrorKind::WouldBlock && Instant::now() < deadline => {
                let left = deadline.saturating_duration_since(Instant::now());
                let left = PollTimeout::try_from(left).map_err(io::Error::other)?;
                poll(&mut [PollFd::new(socket.as_fd(), PollFlags::POLLOUT)], left)?;
            }
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

fn flood(sockets: &mut [mio::net::TcpStream], seconds: f64) -> io::Result<u64> {
    let frames: Vec<Vec<u8>> = (0..AT_ONCE).map(|_| frame(0, 0)).collect();
    let whole: usize = AT_ONCE * FRAME;
    let mut poll = Poll::new()?;
    let mut events = Events::with_capacity(1024);
    for (n, socket) in sockets.iter_mut().enumerate() {
        poll.registry().register(socket, Token(n), Interest::WRITABLE)?;
    }
    let end = clock::now() + clock::nanos(Duration::from_secs_f64(seconds));
    let mut ready: Vec<usize> = (0..sockets.len()).collect();
    // how much of its ten frames each socket has taken
    let mut taken = vec![0; sockets.len()];
    let mut sent = 0_u64;
    while clock::now() < end {
        let mut still = Vec::with_capacity(sockets.len());
        for &n in &ready {
            let mut slices: Vec<IoSlice<'_>> = frames.iter().map(|frame| IoSlice::new(frame)).collect();
            let mut left = &mut slices[..];
            IoSlice::advance_slices(&mut left, taken[n]);
            match sockets[n].write_vectored(left) {
                Ok(written) => {
                    taken[n] += written;
                    if taken[n] == whole {
                        taken[n] = 0;
                        sent += AT_ONCE as u64;
                        still.push(n);
                    } else if written > 0 {
                        still.push(n);
                    }
                }
                Err(error) if error.kind() == ErrorKind::WouldBlock => {}
                Err(error) => return Err(error),
            }
        }
        ready = still;
        let wait = if ready.is_empty() { Duration::from_millis(20) } else { Duration::ZERO };
        if ready.len() < sockets.len() {
            poll.poll(&mut events, Some(wait))?;
            let mut is_ready = vec![false; sockets.len()];
            for &n in &ready {
                is_ready[n] = true;
            }
            for event in &events {
                if !std::mem::replace(&mut is_ready[event.token().0], true) {
                    ready.push(event.token().0);
                }
            }
        }
    }
    let joined = frames.concat();
    for (socket, taken) in sockets.iter_mut().zip(taken) {
        poll.registry().deregister(socket)?;
        if taken > 0 {
            write_rest(socket, &joined[taken..])?;
            sent += AT_ONCE as u64;
        }
    }
    Ok(sent)
}
