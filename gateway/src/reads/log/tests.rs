use super::*;
use bytes::Bytes;
use messenger_common::event::{Effect, EventKind};

const CHAT: ChatId = ChatId(1);

fn all_after(from: i64) -> LogAfter {
    LogAfter { chat_id: CHAT, after: Seq(from), limit: EVENTS_PER_QUERY }
}

fn sharing() -> Sharing {
    Sharing { lifecycle: Lifecycle::new(), runtime: Handle::current(), kept: Arc::default() }
}

/// A piece of one event after that number.
fn piece(after: i64, bytes: usize) -> Piece {
    let event = Event {
        seq: Seq(after + 1),
        kind: EventKind::NewMessage,
        effect: Effect::None,
        committed_at_micros: 0,
        frame: Bytes::from(vec![0; bytes]),
    };
    Piece::new(Seq(after), EVENTS_PER_QUERY, vec![event], Seq(after + 1), Seq(0))
}

/// Lets all that was spawned on this thread's runtime run.
async fn settle(sharing: &Sharing) {
    while sharing.kept.lock().reads.values().any(|read| read.bytes == 0) {
        tokio::task::yield_now().await;
    }
}

#[test]
fn who_lacks_little_asks_for_little_and_who_lacks_much_shares_its_reads() {
    let asked = |after, known| {
        let LogAfter { after, limit, .. } = asked(CHAT, Seq(after), Seq(known));
        (after.0, limit)
    };
    assert_eq!([asked(7, 8), asked(7, 7), asked(9, 7)], [(7, 4), (7, 3), (9, 3)]);
    assert_eq!(asked(100, 164), (100, 67));
    assert_eq!([asked(100, 165), asked(127, i64::MAX)], [(64, EVENTS_PER_QUERY); 2]);
}

#[tokio::test]
async fn what_nobody_waits_for_any_more_is_forgotten_by_its_age() {
    let (sharing, start) = (sharing(), Instant::now());
    for from in 0..100 {
        // The client is gone before its replay is read.
        drop(sharing.load(all_after(from), Seq(from), start, |_| async move { Ok(piece(from, 1000)) }));
    }
    settle(&sharing).await;
    assert_eq!(sharing.kept.lock().reads.len(), 100);
    sharing.kept.lock().drop_old(start + KEPT_FOR);
    let kept = sharing.kept.lock();
    assert_eq!((kept.reads.len(), kept.order.len(), kept.bytes), (0, 0, 0));
}

#[tokio::test]
async fn the_bytes_that_are_kept_are_bounded() {
    let (sharing, start) = (sharing(), Instant::now());
    for from in 0..10 {
        let read = |_| async move { Ok(piece(from, KEPT_BYTES / 4)) };
        assert!(sharing.load(all_after(from), Seq(from), start, read).0.await.is_ok());
    }
    let kept = sharing.kept.lock();
    let mut places: Vec<i64> = kept.reads.keys().map(|(_, from)| from.0).collect();
    places.sort_unstable();
    assert_eq!(places, [7, 8, 9], "a fourth would be over the bound by its bookkeeping");
    assert!(kept.bytes <= KEPT_BYTES);
}

#[tokio::test]
async fn one_read_serves_all_who_ask_within_a_second() {
    let (sharing, start) = (sharing(), Instant::now());
    let load = |after: i64, millis| {
        let read = |_| async { Ok(piece(0, 10)) };
        sharing.load(all_after(0), Seq(after), start + Duration::from_millis(millis), read).0
    };
    let first = load(0, 0).await.expect("a piece");
    assert!(Arc::ptr_eq(&first, &load(0, 999).await.expect("a piece")));
    assert!(!Arc::ptr_eq(&first, &load(0, 1000).await.expect("a piece")));
}

#[tokio::test]
async fn a_short_read_that_runs_serves_nobody_who_is_beyond_it() {
    let (sharing, start) = (sharing(), Instant::now());
    let short = LogAfter { limit: 4, ..all_after(64) };
    let [first, near, beyond] = [64, 67, 68].map(|after| {
        let load = sharing.load(short, Seq(after), start, |_| async move { Ok(piece(after, 10)) });
        assert!(load.0.peek().is_none(), "it runs");
        load
    });
    let ((first, _), (near, _), (beyond, _)) = (first, near, beyond);
    let (first, near, beyond) = tokio::join!(first, near, beyond);
    let first = first.expect("a piece");
    assert!(Arc::ptr_eq(&first, &near.expect("a piece")) && !Arc::ptr_eq(&first, &beyond.expect("a piece")));
}

#[tokio::test]
async fn a_read_that_nobody_waits_for_any_more_is_not_wanted_and_serves_nobody() {
    let (sharing, start) = (sharing(), Instant::now());
    let load = || {
        let mut own = Weak::new();
        let read = |wanted: Weak<()>| {
            own = wanted;
            std::future::pending()
        };
        (sharing.load(all_after(0), Seq(0), start, read).1, own)
    };
    let ((first, wanted), (second, none)) = (load(), load());
    drop(first);
    assert_eq!((wanted.strong_count(), none.strong_count()), (1, 0), "the second waits for the first's");
    drop(second);
    assert_eq!((wanted.strong_count(), load().1.strong_count()), (0, 1));
}

#[tokio::test]
async fn a_kept_read_that_ends_too_early_or_was_forgotten_is_made_anew() {
    let (sharing, start) = (sharing(), Instant::now());
    let load = |after: i64| sharing.load(all_after(0), Seq(after), start, |_| async { Ok(piece(0, 10)) }).0;
    let first = load(0).await.expect("a piece");
    let second = load(1).await.expect("a piece");
    assert!(!Arc::ptr_eq(&first, &second), "it says nothing of what comes after 1");
    sharing.kept.lock().forget(CHAT);
    assert_eq!(sharing.kept.lock().bytes, 0);
    assert!(!Arc::ptr_eq(&second, &load(0).await.expect("a piece")));
}
