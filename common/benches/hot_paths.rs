//! The path of each message and each request: the event's JSON and envelope, and the check
//! of a token. Allocations are counted first; those on the way out of a gateway must be none.
#![allow(clippy::unwrap_used, clippy::print_stdout, missing_docs, reason = "a bench")]

use bytes::Bytes;
use criterion::{Criterion, criterion_group, criterion_main};
use messenger_common::auth::{Keys, Tokens};
use messenger_common::clock::Clock;
use messenger_common::event::{Envelope, EventBody, LogEvent};
use messenger_common::id::{ChatId, MessageId, Seq, SessionId, UserId};
use messenger_common::model::{Message, User};
use messenger_common::store::{Session, SessionKey};
use std::hint::black_box;
use std::time::Duration;
use time::OffsetDateTime;

fn event() -> LogEvent {
    let at = OffsetDateTime::from_unix_timestamp_nanos(1_767_323_045_678_901_000).unwrap();
    let message = Message {
        id: MessageId(1_234_567),
        chat_id: ChatId(4_321),
        author_id: UserId(77),
        author_username: "someone".to_owned(),
        author_display_name: None,
        text: "forty characters, as most messages have.".to_owned(),
        created_at: at,
        is_edited: false,
        edited_at: None,
        is_deleted: false,
        seq: Seq(98_765),
        client_message_id: None,
        reply_to_id: None,
        reactions: Vec::new(),
        mentions: Vec::new(),
    };
    LogEvent { chat_id: ChatId(4_321), seq: Seq(98_765), committed_at: at, body: EventBody::NewMessage { message } }
}

fn tokens() -> (Tokens, String) {
    let day = Duration::from_hours(24);
    let keys = Keys::of_secret(b"a secret of the benches, 0123456789abcdef");
    let tokens = Tokens::new(keys, "a deployment", day, day, Clock::system());
    let user = User {
        id: UserId(77),
        username: "someone".to_owned(),
        email: String::new(),
        display_name: None,
        bio: None,
        is_active: true,
        created_at: OffsetDateTime::UNIX_EPOCH,
    };
    let session = Session { id: SessionId(5), user_id: user.id, key: SessionKey::new([5; 16]), generation: 0 };
    let (token, _) = tokens.issue_access(&user, &session).unwrap();
    (tokens, token)
}

fn allocated(what: &str, work: impl FnOnce()) -> u64 {
    let count = allocation_counter::measure(work).count_total;
    println!("allocations: {what}: {count}");
    count
}

fn hot_paths(criterion: &mut Criterion) {
    let event = event();
    let envelope = event.to_envelope();
    let wire = envelope.encode();
    let (tokens, token) = tokens();

    allocated("event to envelope, its JSON with it", || drop(black_box(event.to_envelope())));
    allocated("envelope to wire", || drop(black_box(envelope.encode())));
    // the JSON stays where it was read
    let decoded = allocated("wire to envelope", || drop(black_box(Envelope::decode(wire.clone()))));
    assert_eq!(decoded, 0, "a gateway copies nothing of what the bus brings");
    allocated("token check", || drop(black_box(tokens.verify_access(&token))));

    criterion.bench_function("event to envelope", |b| b.iter(|| black_box(&event).to_envelope()));
    criterion.bench_function("envelope to wire", |b| b.iter(|| black_box(&envelope).encode()));
    criterion.bench_function("wire to envelope", |b| b.iter(|| Envelope::decode(Bytes::clone(black_box(&wire)))));
    criterion.bench_function("token check", |b| b.iter(|| tokens.verify_access(black_box(&token))));
}

criterion_group!(benches, hot_paths);
criterion_main!(benches);
