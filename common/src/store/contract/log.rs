//! The log, its outbox, and pruning.

use super::*;
use crate::event::{Effect, EventKind};

contract!(
    the_log_is_read_in_pieces,
    many_logs_are_read_at_once,
    the_tail_says_which_chats_moved,
    the_outbox_keeps_what_nobody_published,
    a_dead_relays_entries_come_back,
    a_claim_is_bounded_in_events,
    an_entry_that_cannot_be_read_holds_up_no_other,
    an_event_of_a_later_release_keeps_its_number,
    an_event_that_lacks_its_columns_keeps_its_number_unless_it_removes,
    a_relay_finds_an_event_of_a_later_release,
    the_log_is_pruned_from_its_oldest,
    expired_sessions_are_forgotten,
    it_answers,
);

async fn the_log_is_read_in_pieces(at: Fixture) {
    let (ann, ben) = (at.user().await, at.user().await);
    let chat = at.group(&ann, &[]).await.id;
    let mut all = Vec::new();
    for n in 0..3 {
        let sent = at.send_batch(vec![new(chat, &ann, &n.to_string()), new(chat, &ann, "x")]).await;
        all.extend(sent.committed.events);
    }
    let (_, committed) = at.store.join(chat, ben.id, MANY).await.unwrap();
    all.extend(committed.events);
    let page = at.log_after(chat, Seq(0), 100).await.unwrap().unwrap();
    assert_eq!(page, LogPage { events: all.clone(), head: Seq(7), floor: Seq(0) });
    let page = at.log_after(chat, Seq(2), 3).await.unwrap().unwrap();
    assert_eq!(page, LogPage { events: all[2..5].to_vec(), head: Seq(7), floor: Seq(0) });
    for beyond in [7, 8, i64::MAX] {
        let page = at.log_after(chat, Seq(beyond), 3).await.unwrap().unwrap();
        assert_eq!(page, LogPage { events: vec![], head: Seq(7), floor: Seq(0) });
    }
    assert_eq!(at.log_after(ChatId(0), Seq(0), 3).await.unwrap(), None);
    let fresh = at.log_after(at.store.private_chat(ann.id, ben.id).await.unwrap().0.id, Seq(0), 3).await;
    assert_eq!(fresh.unwrap(), Some(LogPage { events: vec![], head: Seq(0), floor: Seq(0) }));
}

/// Each question has its own answer, also where a chat is asked about twice or is none.
async fn many_logs_are_read_at_once(at: Fixture) {
    let ann = at.user().await;
    let [one, two, silent] = [at.group(&ann, &[]).await.id, at.group(&ann, &[]).await.id, at.group(&ann, &[]).await.id];
    for n in 0..5 {
        at.send(one, &ann, &format!("one {n}")).await;
        at.send(two, &ann, &format!("two {n}")).await;
    }
    let asked = [(two, 1, 2), (ChatId(0), 0, 9), (one, 4, 9), (silent, 0, 9), (two, 3, 1), (one, 0, 1), (one, 5, 3)];
    let asked = asked.map(|(chat_id, after, limit)| LogAfter { chat_id, after: Seq(after), limit });
    let pages = at.store.logs_after(&asked).await.unwrap();
    let seqs = |page: &LogPage| page.events.iter().map(|event| (event.chat_id, event.seq.0)).collect::<Vec<_>>();
    let seqs: Vec<_> = pages.iter().map(|page| page.as_ref().map(seqs)).collect();
    let (none, there) = (None, Some);
    assert_eq!(
        seqs,
        [
            there(vec![(two, 2), (two, 3)]),
            none,
            there(vec![(one, 5)]),
            there(vec![]),
            there(vec![(two, 4)]),
            there(vec![(one, 1)]),
            there(vec![])
        ]
    );
    let heads: Vec<_> = pages.iter().flatten().map(|page| page.head.0).collect();
    assert_eq!(heads, [5, 5, 0, 5, 5, 5]);
    for (asked, page) in asked.iter().zip(pages) {
        assert_eq!(at.log_after(asked.chat_id, asked.after, asked.limit).await.unwrap(), page);
    }
    assert_eq!(at.store.logs_after(&[]).await.unwrap(), []);
}

async fn the_tail_says_which_chats_moved(at: Fixture) {
    let (ann, ben) = (at.user().await, at.user().await);
    let [silent, loud, joined] =
        [at.group(&ann, &[]).await.id, at.group(&ann, &[]).await.id, at.group(&ann, &[]).await.id];
    at.send_batch(vec![new(silent, &ann, "before")]).await;
    let first = at.store.tail(None, Duration::ZERO).await.unwrap();
    assert_eq!(first.moved, Some(vec![]), "without a mark nothing is read");
    at.send_batch(vec![new(loud, &ann, "1"), new(loud, &ann, "2")]).await;
    at.store.join(joined, ben.id, MANY).await.unwrap();
    let of = |tail: Tail, chat| tail.moved.unwrap().into_iter().find(|(id, _)| *id == chat).map(|(_, seq)| seq);
    let tail = at.store.tail(Some(first.mark), HOUR).await.unwrap();
    assert!(tail.mark > first.mark);
    assert_eq!(of(tail.clone(), loud), Some(Seq(2)));
    assert_eq!(of(tail.clone(), joined), Some(Seq(1)));
    assert_eq!(of(tail.clone(), silent), None);
    let later = at.store.tail(Some(tail.mark), HOUR).await.unwrap();
    assert_eq!((of(later.clone(), loud), of(later, joined)), (None, Some(Seq(1))), "events are read by their time");
    // A mark of a database that was further, or from too long ago.
    for strange in [i64::MAX, -2_000_000] {
        assert_eq!(at.store.tail(Some(TailMark(strange)), HOUR).await.unwrap().moved, None);
    }
}

async fn the_outbox_keeps_what_nobody_published(at: Fixture) {
    let ann = at.user().await;
    let chat = at.group(&ann, &[]).await.id;
    let sent = at.store.send(vec![new(chat, &ann, "1"), new(chat, &ann, "2")]).await.unwrap().committed;
    let more = at.store.send(vec![new(chat, &ann, "3")]).await.unwrap().committed;
    assert_eq!(at.store.outbox_pending().await.unwrap(), 2);
    // Too young for a relay: its publisher is at it.
    assert_eq!(at.store.outbox_claim(HOUR, 500).await.unwrap(), []);
    assert_eq!(at.store.outbox_claim(Duration::ZERO, 1).await.unwrap(), [sent.clone()]);
    // A row that one relay holds, no other takes.
    assert_eq!(at.store.outbox_claim(Duration::ZERO, 500).await.unwrap(), [more.clone()]);
    assert_eq!(at.store.outbox_claim(Duration::ZERO, 500).await.unwrap(), []);
    assert_eq!(at.store.outbox_pending().await.unwrap(), 2);
    at.store.outbox_remove(&[sent.outbox.unwrap(), more.outbox.unwrap()]).await.unwrap();
    at.store.outbox_remove(&[sent.outbox.unwrap()]).await.unwrap();
    at.store.outbox_remove(&[]).await.unwrap();
    assert_eq!(at.store.outbox_pending().await.unwrap(), 0);
}

async fn a_dead_relays_entries_come_back(at: Fixture) {
    let ann = at.user().await;
    let chat = at.group(&ann, &[]).await.id;
    let message = at.store.send(vec![new(chat, &ann, "text")]).await.unwrap().results.remove(0).unwrap().message;
    assert_eq!(at.store.outbox_claim(Duration::ZERO, 500).await.unwrap().len(), 1);
    assert_eq!(at.store.outbox_claim(Duration::ZERO, 500).await.unwrap(), []);
    let (edited, committed) = at.store.edit(message.id, ann.id, "new".into(), Vec::new()).await.unwrap();
    at.store.outbox_remove(&[committed.outbox.unwrap()]).await.unwrap();
    // Its lease is over.
    assert_eq!(at.sql("update outbox set claimed_until = created_at").await, 1);
    let claimed = at.store.outbox_claim(Duration::ZERO, 500).await.unwrap();
    assert_eq!(claimed.len(), 1);
    // As it stands now, under the number of then.
    assert_eq!(claimed[0].events[0].body, EventBody::NewMessage { message: edited });
    assert_eq!(claimed[0].events[0].seq, Seq(1));
}

async fn a_claim_is_bounded_in_events(at: Fixture) {
    let ann = at.user().await;
    let chat = at.group(&ann, &[]).await.id;
    // As large as the queue of sends makes them.
    for _ in 0..24 {
        let batch = (0..250).map(|n| new(chat, &ann, &n.to_string())).collect();
        at.store.send(batch).await.unwrap();
    }
    at.store.send(vec![new(chat, &ann, "last")]).await.unwrap();
    let claimed = at.store.outbox_claim(Duration::ZERO, 500).await.unwrap();
    let events: usize = claimed.iter().map(|one| one.events.len()).sum();
    assert!((5_000..=5_250).contains(&events), "{events} events in a claim");
    let rest = at.store.outbox_claim(Duration::ZERO, 500).await.unwrap();
    assert_eq!(rest.last().map(|last| last.events.len()), Some(1));
    let seqs: Vec<_> = claimed.iter().chain(&rest).flat_map(|one| &one.events).map(|event| event.seq.0).collect();
    assert_eq!(seqs, (1..=6001).collect::<Vec<_>>());
}

async fn an_entry_that_cannot_be_read_holds_up_no_other(at: Fixture) {
    let ann = at.user().await;
    let chat = at.group(&ann, &[]).await.id;
    let bad = at.store.send(vec![new(chat, &ann, "bad")]).await.unwrap().committed.outbox.unwrap();
    let good = at.store.send(vec![new(chat, &ann, "good")]).await.unwrap().committed;
    assert_eq!(
        at.sql(&format!(r#"update outbox set payload = '{{"of": "another release"}}' where id = {}"#, bad.0)).await,
        1
    );
    assert_eq!(at.store.outbox_claim(Duration::ZERO, 500).await.unwrap(), [good]);
}

async fn the_log_is_pruned_from_its_oldest(at: Fixture) {
    let ann = at.user().await;
    let (one, two) = (at.group(&ann, &[]).await.id, at.group(&ann, &[]).await.id);
    for n in 0..6 {
        at.send(if n % 2 == 0 { one } else { two }, &ann, &n.to_string()).await;
    }
    assert_eq!(at.store.prune(HOUR, 100).await.unwrap(), 0);
    assert_eq!(at.store.prune(Duration::ZERO, 3).await.unwrap(), 3);
    let page = at.log_after(one, Seq(0), 9).await.unwrap().unwrap();
    assert_eq!((page.floor, page.head), (Seq(2), Seq(3)));
    assert_eq!(page.events.iter().map(|event| event.seq.0).collect::<Vec<_>>(), [3]);
    assert_eq!(at.store.access(&[(two, ann.id)]).await.unwrap()[0].as_ref().unwrap().floor, Seq(1));
    assert_eq!(at.log_after(two, Seq(1), 9).await.unwrap().unwrap().events.len(), 2);
    while at.store.prune(Duration::ZERO, 2).await.unwrap() > 0 {}
    for chat in [one, two] {
        let page = at.log_after(chat, Seq(0), 9).await.unwrap().unwrap();
        assert_eq!(page, LogPage { events: vec![], head: Seq(3), floor: Seq(3) });
        // The messages stay, and the sequence goes on.
        assert_eq!(at.history(chat, &ann).await.len(), 3);
        assert_eq!(at.send(chat, &ann, "next").await.seq, Seq(4));
    }
}

async fn expired_sessions_are_forgotten(at: Fixture) {
    let ann = at.user().await;
    let live = at.store.create_session(ann.id, HASH, KEY, HOUR, None).await.unwrap();
    let old = at.store.create_session(ann.id, HASH, KEY, HOUR, None).await.unwrap();
    at.sql(&format!("update sessions set expires_at = {} where id = {old}", at.long_ago(), old = old.id)).await;
    at.store.prune(HOUR, 100).await.unwrap();
    assert_eq!(at.number("select count(*) from sessions").await, 1);
    assert!(matches!(
        at.store.rotate_session(Session { generation: 0, ..live }, HOUR).await.unwrap(),
        Rotation::Rotated(..)
    ));
}

async fn it_answers(at: Fixture) {
    at.store.ping().await.unwrap();
    let pool = at.store.pool();
    assert!(pool.in_use + pool.idle > 0);
}

/// As a newer release leaves it: an entry of that kind under the chat's next number.
async fn later_event(at: &Fixture, chat: ChatId, kind: u8) {
    assert_eq!(at.sql(&format!("update chats set seq = seq + 1 where id = {chat}")).await, 1);
    let insert = "insert into events (chat_id, seq, kind, created_at) select id, seq,";
    assert_eq!(at.sql(&format!("{insert} {kind}, active_at from chats where id = {chat}")).await, 1);
}

async fn bodies(at: &Fixture, chat: ChatId, after: i64, limit: usize) -> Vec<(i64, EventBody)> {
    let page = at.log_after(chat, Seq(after), limit).await.unwrap().unwrap();
    page.events.into_iter().map(|event| (event.seq.0, event.body)).collect()
}

/// Also a kind that is known, but never stood in a log.
async fn an_event_of_a_later_release_keeps_its_number(at: Fixture) {
    for kind in [14, 255, 9] {
        let ann = at.user().await;
        let chat = at.group(&ann, &[]).await.id;
        let first = at.send(chat, &ann, "first").await;
        later_event(&at, chat, kind).await;
        let last = at.send(chat, &ann, "last").await;
        later_event(&at, chat, kind).await;
        let (first, last) = (EventBody::NewMessage { message: first }, EventBody::NewMessage { message: last });
        let unknown = || EventBody::Unknown { kind };
        let all = [(1, first), (2, unknown()), (3, last), (4, unknown())];
        assert_eq!(bodies(&at, chat, 0, 100).await, all);
        // A piece begins and ends with one.
        assert_eq!(bodies(&at, chat, 1, 1).await, all[1..2]);
        assert_eq!(bodies(&at, chat, 3, 100).await, all[3..]);
        let page = at.log_after(chat, Seq(3), 1).await.unwrap().unwrap();
        assert_eq!((page.head, at.head(chat).await), (Seq(4), Seq(4)));
        let event = &page.events[0];
        assert_eq!((event.kind(), event.effect()), (EventKind::Unknown(kind), Effect::None));
        let json: serde_json::Value = serde_json::from_slice(&event.to_json()).unwrap();
        assert_eq!(json, serde_json::json!({"type": "unknown", "chat_id": chat, "seq": 4}));
    }
}

async fn an_event_that_lacks_its_columns_keeps_its_number_unless_it_removes(at: Fixture) {
    let (ann, ben) = (at.user().await, at.user().await);
    let chat = at.group(&ann, &[]).await.id;
    at.store.join(chat, ben.id, MANY).await.unwrap();
    at.store.leave(chat, ben.id).await.unwrap();
    let last = at.send(chat, &ann, "last").await;
    assert_eq!(last.seq, Seq(3));
    for kind in [4, 5] {
        let lose = format!("update events set user_id = null where chat_id = {chat} and kind = {kind}");
        assert_eq!(at.sql(&lose).await, 1);
    }
    // The join has a stand-in. The removal is a hole: gateways read rights anew behind it.
    let read = bodies(&at, chat, 0, 100).await;
    assert_eq!(read, [(1, EventBody::Unknown { kind: 4 }), (3, EventBody::NewMessage { message: last })]);
}

async fn a_relay_finds_an_event_of_a_later_release(at: Fixture) {
    let ann = at.user().await;
    let chat = at.group(&ann, &[]).await.id;
    let sent = at.store.send(vec![new(chat, &ann, "text")]).await.unwrap().committed;
    later_event(&at, chat, 14).await;
    let payload = format!(r#"{{"events":[[{chat},1,2]],"notices":[]}}"#);
    assert_eq!(at.sql(&format!("update outbox set payload = '{payload}' where size = 1")).await, 1);
    let claimed = at.store.outbox_claim(Duration::ZERO, 500).await.unwrap();
    assert_eq!(claimed.len(), 1);
    assert_eq!(claimed[0].events[0], sent.events[0]);
    assert_eq!((claimed[0].events[1].seq, &claimed[0].events[1].body), (Seq(2), &EventBody::Unknown { kind: 14 }));
}
