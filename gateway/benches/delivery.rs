//! The gateway's way from an event to its sockets: framing, the cursor of a chat, a client's
//! frame, and fan-out to N connections. Allocations are counted first: a delivery makes none.
#![allow(clippy::unwrap_used, clippy::print_stdout, clippy::disallowed_methods, missing_docs, reason = "a bench")]

use criterion::{BatchSize, BenchmarkId, Criterion, SamplingMode, Throughput, criterion_group, criterion_main};
use messenger_gateway::bench::{Crowd, Cursor, frame, read_frame};
use std::hint::black_box;
use std::io::Read;
use std::net::{TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

/// An event as clients see it, of the size that most have.
const JSON: &[u8] = br#"{"type":"new_message","message":{"id":1234567,"chat_id":4321,"author_id":77,"author_username":"someone","text":"forty characters, as most messages have.","created_at":"2026-01-02T03:04:05.678901Z","is_edited":false,"edited_at":null,"is_deleted":false,"seq":98765,"client_message_id":null,"reply_to_id":null},"chat_id":4321,"seq":98765}"#;

fn allocated(what: &str, work: impl FnOnce()) -> u64 {
    let count = allocation_counter::measure(work).count_total;
    println!("allocations: {what}: {count}");
    count
}

fn framing(criterion: &mut Criterion) {
    let mut client = vec![0x81, 0x80 | 0x28, 1, 2, 3, 4];
    client.extend([b'.'; 40]);
    allocated("one event framed, for all who get it", || drop(black_box(frame(JSON))));
    let mut whole = client.clone();
    let read = allocated("one frame of a client read", || assert!(read_frame(&mut whole).is_some()));
    assert_eq!(read, 0, "a frame is read where it stands");

    criterion.bench_function("frame an event", |b| b.iter(|| frame(black_box(JSON))));
    criterion.bench_function("read a client's frame", |b| {
        b.iter_batched_ref(|| client.clone(), |bytes| read_frame(bytes), BatchSize::SmallInput);
    });
}

fn cursor(criterion: &mut Criterion) {
    let mut cursor = Cursor::new(frame(JSON));
    // the ring of the newest grows to its size once
    for _ in 0..200 {
        assert!(cursor.in_order());
    }
    let in_order = allocated("an event whose turn it is", || assert!(cursor.in_order()));
    assert_eq!(in_order, 0, "an event in order costs its chat nothing");

    criterion.bench_function("cursor: in order", |b| b.iter(|| cursor.in_order()));
    criterion.bench_function("cursor: two swapped", |b| b.iter(|| cursor.swapped()));
}

/// Pairs over the loopback: ours, and the others' ends.
fn pairs(size: usize) -> (Vec<TcpStream>, Vec<TcpStream>) {
    let listener = TcpListener::bind(("127.0.0.1", 0)).unwrap();
    let pair = |_| {
        let end = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        end.set_nonblocking(true).unwrap();
        let (own, _) = listener.accept().unwrap();
        own.set_nodelay(true).unwrap();
        (own, end)
    };
    (0..size).map(pair).unzip()
}

fn fan_out(criterion: &mut Criterion) {
    let frame = frame(JSON);
    let mut group = criterion.benchmark_group("fan-out");
    group.sampling_mode(SamplingMode::Flat).sample_size(30);
    for size in [1_usize, 10, 100, 1_000] {
        let (own, mut ends) = pairs(size);
        let stop = Arc::new(AtomicBool::new(false));
        let stopped = Arc::clone(&stop);
        let reader = std::thread::spawn(move || {
            let mut buffer = vec![0; 1 << 20];
            while !stopped.load(Ordering::Relaxed) {
                for end in &mut ends {
                    // nothing there is no fault
                    black_box(end.read(&mut buffer).unwrap_or(0));
                }
                std::thread::sleep(Duration::from_micros(200));
            }
        });
        let crowd = Crowd::new(own).unwrap();
        let each = allocated(&format!("one event to {size} sockets"), || assert_eq!(crowd.publish(&frame), size));
        assert_eq!(each, 0, "a delivery allocates nothing");
        group.throughput(Throughput::Elements(size as u64));
        group.bench_with_input(BenchmarkId::from_parameter(size), &crowd, |b, crowd| {
            b.iter(|| crowd.publish(&frame));
            // what the reader's pace left over
            crowd.flush();
        });
        drop(crowd);
        stop.store(true, Ordering::Relaxed);
        reader.join().unwrap();
    }
    group.finish();
}

criterion_group!(benches, framing, cursor, fan_out);
criterion_main!(benches);
