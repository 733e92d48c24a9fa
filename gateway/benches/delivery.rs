//! The gateway's way from an event to its sockets: framing, the cursor of a chat, a client's frame, and fan-out to N connections.
//!
//! The modules are those of the gateway, compiled into the bench: none of them is public, and none needs to be for this.
#![allow(
    dead_code,
    unreachable_pub,
    clippy::unwrap_used,
    clippy::print_stdout,
    clippy::disallowed_methods,
    missing_docs,
    reason = "a bench, which uses a part of each module"
)]

#[path = "../src/conn.rs"]
mod conn;
#[path = "../src/feed.rs"]
mod feed;
#[path = "../src/frame.rs"]
mod frame;
#[path = "../src/protocol.rs"]
mod protocol;

use bytes::Bytes;
use conn::{Conn, Counted, NewConn, Push, State};
use criterion::{BatchSize, BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use feed::{Event, Feed, Offer};
use messenger_common::auth::AuthUser;
use messenger_common::config::Program;
use messenger_common::event::{Effect, EventKind};
use messenger_common::id::{Seq, SessionId, UserId};
use messenger_common::metrics::Metrics;
use std::hint::black_box;
use std::io::Read;
use std::net::TcpListener;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;
use time::OffsetDateTime;
use tokio::net::TcpStream;
use tokio::runtime::Runtime;

/// An event as clients see it, of the size that most have.
const JSON: &[u8] = br#"{"type":"new_message","message":{"id":1234567,"chat_id":4321,"author_id":77,"author_username":"someone","text":"forty characters, as most messages have.","created_at":"2026-01-02T03:04:05.678901Z","is_edited":false,"edited_at":null,"is_deleted":false,"seq":98765,"client_message_id":null,"reply_to_id":null},"chat_id":4321,"seq":98765}"#;

fn allocated(what: &str, work: impl FnOnce()) -> u64 {
    let count = allocation_counter::measure(work).count_total;
    println!("allocations: {what}: {count}");
    count
}

fn framing(criterion: &mut Criterion) {
    let mut client = vec![0x81, 0x80 | 40, 1, 2, 3, 4];
    client.extend([b'.'; 40]);
    allocated("one event framed, for all who get it", || drop(black_box(frame::text(JSON))));
    let mut whole = client.clone();
    let parsed = allocated("one frame of a client read", || drop(black_box(frame::parse(&mut whole, 65_536))));
    assert_eq!(parsed, 0, "a frame is read where it stands");

    criterion.bench_function("frame an event", |b| b.iter(|| frame::text(black_box(JSON))));
    criterion.bench_function("read a client's frame", |b| {
        b.iter_batched_ref(|| client.clone(), |bytes| drop(frame::parse(bytes, 65_536)), BatchSize::SmallInput);
    });
}

fn event(seq: i64, frame: &Bytes) -> Event {
    Event {
        seq: Seq(seq),
        kind: EventKind::NewMessage,
        effect: Effect::None,
        committed_at_micros: 0,
        frame: frame.clone(),
    }
}

/// Takes the next event and keeps it for who falls behind, as each does whose turn it is.
fn next(feed: &mut Feed, seq: &mut i64, frame: &Bytes) {
    *seq += 1;
    let event = event(*seq, frame);
    assert_eq!(feed.offer(&event), Offer::Next);
    feed.keep(&event, 0);
}

fn cursor(criterion: &mut Criterion) {
    let frame = frame::text(JSON);
    let (mut feed, mut seq) = (Feed::new(true), 0);
    feed.reached(Seq(0));
    // the ring of the newest grows to its size once
    for _ in 0..200 {
        next(&mut feed, &mut seq, &frame);
    }
    let in_order = allocated("an event whose turn it is", || next(&mut feed, &mut seq, &frame));
    assert_eq!(in_order, 0, "an event in order costs its chat nothing");

    criterion.bench_function("cursor: in order", |b| b.iter(|| next(&mut feed, &mut seq, &frame)));
    criterion.bench_function("cursor: two swapped", |b| {
        b.iter(|| {
            let (early, late) = (event(seq + 1, &frame), event(seq + 2, &frame));
            assert_eq!(feed.offer(&late), Offer::Held);
            assert_eq!(feed.offer(&early), Offer::Next);
            feed.keep(&early, 0);
            let held = feed.next_held().unwrap();
            feed.keep(&held, 0);
            seq += 2;
        });
    });
}

/// Connections over the loopback, and a thread that reads what comes at their other ends.
struct Crowd {
    conns: Vec<Rc<Conn>>,
    stop: Arc<AtomicBool>,
    reader: Option<JoinHandle<()>>,
}

impl Crowd {
    fn new(runtime: &Runtime, size: usize) -> Self {
        let listener = TcpListener::bind(("127.0.0.1", 0)).unwrap();
        let metrics = Metrics::new(Program::Gateway);
        let mut ends = Vec::with_capacity(size);
        let conns = (0..size as u64)
            .map(|id| {
                let end = std::net::TcpStream::connect(listener.local_addr().unwrap()).unwrap();
                end.set_nonblocking(true).unwrap();
                ends.push(end);
                let (stream, _) = listener.accept().unwrap();
                stream.set_nonblocking(true).unwrap();
                stream.set_nodelay(true).unwrap();
                let stream = runtime.block_on(async { TcpStream::from_std(stream).unwrap() });
                runtime.block_on(stream.writable()).unwrap();
                let auth = AuthUser {
                    user_id: UserId(1),
                    username: String::new(),
                    session_id: SessionId(1),
                    expires_at: OffsetDateTime::UNIX_EPOCH,
                };
                let conn = Conn::new(NewConn {
                    id,
                    auth,
                    stream,
                    clock: Rc::default(),
                    most_queued: 1 << 20,
                    counted: Counted::new(&metrics),
                });
                conn.state.set(State::Open);
                conn
            })
            .collect();
        let stop = Arc::new(AtomicBool::new(false));
        let stopped = Arc::clone(&stop);
        let reader = std::thread::spawn(move || {
            let mut buffer = vec![0; 1 << 20];
            while !stopped.load(Ordering::Relaxed) {
                for end in &mut ends {
                    // nothing there is no fault
                    end.read(&mut buffer).ok();
                }
                std::thread::sleep(Duration::from_micros(200));
            }
        });
        Self { conns, stop, reader: Some(reader) }
    }

    /// One event to each; what a socket does not take is queued, and is written by the next `flush`.
    fn tell(&self, frame: &Bytes) {
        for conn in &self.conns {
            assert_eq!(conn.push(frame, true), Push::Taken);
        }
    }

    fn flush(&self) {
        self.conns.iter().for_each(|conn| conn.flush_or_wake());
    }
}

impl Drop for Crowd {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        if let Some(reader) = self.reader.take() {
            drop(reader.join());
        }
    }
}

fn fan_out(criterion: &mut Criterion) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let frame = frame::text(JSON);
    let mut group = criterion.benchmark_group("fan-out");
    for size in [1_usize, 10, 100, 1_000] {
        let crowd = Crowd::new(&runtime, size);
        let each = allocated(&format!("one event to {size} sockets"), || crowd.tell(&frame));
        assert_eq!(each, 0, "a delivery allocates nothing");
        group.throughput(Throughput::Elements(size as u64));
        group.bench_with_input(BenchmarkId::from_parameter(size), &crowd, |b, crowd| {
            b.iter(|| {
                crowd.tell(&frame);
            });
            // what the reader's pace left over
            runtime.block_on(tokio::task::yield_now());
            crowd.flush();
        });
    }
    group.finish();
}

criterion_group!(benches, framing, cursor, fan_out);
criterion_main!(benches);
