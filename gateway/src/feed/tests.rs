use super::testing::{Client, Vector, event, event_of, leaving};
use super::*;
use messenger_common::event::{Effect, EventKind};
use messenger_common::id::UserId;
use messenger_common::metrics::GapCause;
use std::rc::Rc;
use std::time::Duration;

mod history;
mod lost;

type Tested = Feed<Vector>;

fn ignore(_: &Event, _: u64) {}

fn feed() -> Tested {
    Feed::new(ChatId(1), true)
}

fn feed_at(head: i64) -> Tested {
    let mut feed = feed();
    feed.reached(Seq(head));
    feed
}

/// Subscribes a user at a head, and says how it began.
fn admit(feed: &mut Tested, user: i64, head: i64, floor: i64, after: Option<i64>) -> (Rc<Client>, usize, Begun) {
    let client = Client::new();
    let key = feed.subscribe(Vector { user: UserId(user), client: Rc::clone(&client) });
    let admission = Admission { head: Seq(head), floor: Seq(floor), after: after.map(Seq) };
    let begun = feed.admit(key, admission).expect("a subscription");
    (client, key, begun)
}

/// A live subscription at the feed's head.
fn live(feed: &mut Tested, user: i64) -> (Rc<Client>, usize) {
    let head = feed.head().expect("a head").0;
    let (client, key, _) = admit(feed, user, head, 0, None);
    assert_eq!(catch_up(feed, key, None), Step::Done);
    client.is_behind.set(false);
    (client, key)
}

fn catch_up(feed: &mut Tested, key: usize, piece: Option<&Piece>) -> Step {
    feed.catch_up(key, piece, &mut ignore)
}

fn offer(feed: &mut Tested, numbers: &[i64]) -> Option<Repair> {
    numbers.iter().filter_map(|number| feed.on_event(&event(*number), 0, &mut ignore)).last()
}

fn piece(after: i64, numbers: &[i64], head: i64, floor: i64) -> Piece {
    Piece::new(Seq(after), 256, numbers.iter().map(|number| event(*number)).collect(), Seq(head), Seq(floor))
}

fn text(numbers: impl IntoIterator<Item = i64>) -> Vec<String> {
    numbers.into_iter().map(|number| number.to_string()).collect()
}

const GAP: Option<Repair> = Some(Repair::Gap(GapCause::Jump, HOLD));

#[test]
fn doubled_and_reordered_hints_come_out_once_and_in_order() {
    let mut feed = feed_at(0);
    let (client, _) = live(&mut feed, 1);
    assert_eq!(offer(&mut feed, &[2, 1, 1, 2, 4, 3, 3, 5]), GAP);
    assert_eq!(client.read(), text(1..=5));
    assert_eq!(feed.missing(), None);
}

#[test]
fn a_gap_is_asked_for_once_and_holds_back_what_follows() {
    let mut feed = feed_at(3);
    let (client, _) = live(&mut feed, 1);
    assert_eq!(offer(&mut feed, &[5]), GAP);
    assert_eq!(offer(&mut feed, &[6, 7]), None, "that repair is under way");
    assert_eq!(feed.missing(), Some((Seq(3), Seq(7))));
    assert!(client.read().is_empty());
    assert_eq!(feed.on_piece(&piece(3, &[4, 5], 7, 0), 0, &mut ignore), Progress::Moved);
    assert_eq!(client.read(), text(4..=7), "what is held fills the hole in the log");
}

#[test]
fn a_gap_is_closed_by_the_log() {
    let mut feed = feed_at(3);
    let (client, _) = live(&mut feed, 1);
    assert_eq!(offer(&mut feed, &[6]), GAP);
    assert_eq!(feed.on_piece(&piece(3, &[], 3, 0), 0, &mut ignore), Progress::None, "read before the commit");
    assert_eq!(feed.missing(), Some((Seq(3), Seq(6))));
    assert_eq!(feed.on_piece(&piece(3, &[4, 5], 5, 0), 0, &mut ignore), Progress::Moved);
    assert_eq!(client.read(), text(4..=6));
    assert_eq!((feed.missing(), feed.is_filling()), (None, false));
    assert_eq!(offer(&mut feed, &[9]), GAP, "the next gap is asked for anew");
}

#[test]
fn before_the_head_is_known_events_are_held() {
    let mut feed = feed();
    assert_eq!(offer(&mut feed, &[8, 7]), None);
    let (client, key, begun) = admit(&mut feed, 1, 7, 0, None);
    assert_eq!(begun, Begun { cursor: Seq(7), recovered: 0, resync: false });
    feed.go_on(0, &mut ignore);
    assert_eq!(feed.head(), Some(Seq(8)));
    assert_eq!(catch_up(&mut feed, key, None), Step::Done);
    assert_eq!(client.read(), text([8]));
}

#[test]
fn more_than_can_be_held_is_known_to_be_missing() {
    let mut feed = feed_at(0);
    let (client, _) = live(&mut feed, 1);
    assert_eq!(offer(&mut feed, &(2..=1000).collect::<Vec<_>>()), GAP);
    assert_eq!(offer(&mut feed, &[1]), None);
    assert_eq!(client.read(), text(1..=257));
    assert_eq!(feed.missing(), Some((Seq(257), Seq(1000))), "the rest comes from the log");
}

#[test]
fn a_subscription_begins_where_it_left_off_or_is_told_that_it_cannot() {
    let begun = |after, floor| admit(&mut feed(), 1, 9, floor, after).2;
    let at = |cursor, recovered, resync| Begun { cursor: Seq(cursor), recovered, resync };
    assert_eq!(begun(None, 0), at(9, 0, false));
    assert_eq!(begun(Some(4), 4), at(4, 5, false));
    assert_eq!(begun(Some(3), 4), at(9, 0, true), "the log does not reach back");
    assert_eq!(begun(Some(10), 0), at(9, 0, true), "beyond the head");
}

#[test]
fn a_replay_comes_from_the_log_then_from_the_ring_then_live() {
    let mut feed = feed_at(0);
    live(&mut feed, 2);
    offer(&mut feed, &(1..=70).collect::<Vec<_>>());
    let (client, key, _) = admit(&mut feed, 1, 70, 0, Some(2));
    assert_eq!(catch_up(&mut feed, key, None), Step::Read(Seq(2)), "the ring reaches down to 7");
    offer(&mut feed, &[71]);
    assert!(client.read().is_empty(), "a live event passes it by");
    assert_eq!(catch_up(&mut feed, key, Some(&piece(0, &[1, 2, 3, 4, 5, 6, 7, 8], 70, 0))), Step::Done);
    offer(&mut feed, &[72]);
    assert_eq!(client.read(), text(3..=72));
}

#[test]
fn a_subscription_ahead_of_its_feed_gets_nothing_twice() {
    let mut feed = feed_at(5);
    let (client, key, begun) = admit(&mut feed, 1, 8, 0, Some(6));
    assert_eq!(begun.recovered, 2);
    assert_eq!(feed.repair_after_admission(0), Some(Repair::Gap(GapCause::HeadCheck, HOLD)));
    assert_eq!(catch_up(&mut feed, key, None), Step::Read(Seq(6)), "what the store had comes from the log");
    assert_eq!(catch_up(&mut feed, key, Some(&piece(6, &[7, 8], 8, 0))), Step::Done);
    offer(&mut feed, &[6, 7, 8, 9]);
    assert_eq!(client.read(), text(7..=9));
}

#[test]
fn a_full_reader_is_left_behind_and_loses_nothing() {
    let mut feed = feed_at(0);
    let (client, key) = live(&mut feed, 1);
    client.room.set(Some(1));
    offer(&mut feed, &[1, 2, 3]);
    assert!(client.is_behind.get());
    assert_eq!(feed.sub(key).map(Sub::phase), Some(Phase::Behind));
    client.room.set(Some(1));
    assert_eq!(catch_up(&mut feed, key, None), Step::Full);
    client.room.set(None);
    assert_eq!(catch_up(&mut feed, key, None), Step::Done);
    offer(&mut feed, &[4]);
    assert_eq!(client.read(), text(1..=4));
}

#[test]
fn an_edit_sends_those_behind_it_to_the_log() {
    let mut feed = feed_at(0);
    let (client, key) = live(&mut feed, 1);
    client.room.set(Some(0));
    offer(&mut feed, &[1]);
    assert_eq!(feed.on_event(&event_of(2, EventKind::MessageEdited), 0, &mut ignore), None);
    client.room.set(None);
    assert_eq!(catch_up(&mut feed, key, None), Step::Read(Seq(0)));
}

#[test]
fn a_removal_is_the_last_event_of_its_user() {
    let mut feed = feed_at(0);
    let ((gone, _), (stays, _)) = (live(&mut feed, 1), live(&mut feed, 2));
    for event in [event(1), leaving(2, 1), event(3)] {
        assert_eq!(feed.on_event(&event, 0, &mut ignore), None);
    }
    assert_eq!((gone.read(), gone.ended.take()), (text(1..=2), vec![Some(Seq(2))]));
    assert_eq!((stays.read(), stays.ended.take()), (text(1..=3), vec![]));
}

#[test]
fn a_chats_end_is_the_last_event_of_all() {
    let mut feed = feed_at(0);
    let (client, _) = live(&mut feed, 1);
    let end = Event { effect: Effect::ChatDeleted, ..event_of(1, EventKind::ChatDeleted) };
    assert_eq!(feed.on_event(&end, 0, &mut ignore), None);
    assert_eq!(client.ended.take(), vec![Some(Seq(1))]);
    assert!(feed.is_empty());
}

#[test]
fn a_removal_before_the_admission_ends_nothing() {
    let mut feed = feed_at(0);
    let (client, key, _) = admit(&mut feed, 1, 2, 0, Some(0));
    let log = Piece::new(Seq(0), 256, vec![leaving(1, 1), event(2)], Seq(2), Seq(0));
    assert_eq!(catch_up(&mut feed, key, Some(&log)), Step::Done);
    assert_eq!((client.read(), client.ended.take()), (text(1..=2), vec![]));
}

#[test]
fn one_who_is_behind_ends_with_the_removal_too_and_hears_nothing_else_before_it() {
    let mut feed = feed_at(0);
    let (client, key) = live(&mut feed, 1);
    client.room.set(Some(0));
    offer(&mut feed, &[1]);
    assert_eq!(feed.listeners().count(), 1);
    assert_eq!(feed.on_event(&leaving(3, 1), 0, &mut ignore), GAP);
    assert_eq!(feed.listeners().count(), 0, "the removal is known before its turn");
    offer(&mut feed, &[2]);
    client.room.set(None);
    assert_eq!(catch_up(&mut feed, key, None), Step::Done);
    assert_eq!((client.read(), client.ended.take()), (text(1..=3), vec![Some(Seq(3))]));
}

#[test]
fn one_who_was_removed_reads_the_log_no_further() {
    for late in [None, Some(piece(0, &[1, 2], 3, 0))] {
        let mut feed = feed_at(0);
        let (client, key) = live(&mut feed, 1);
        client.room.set(Some(0));
        offer(&mut feed, &[1]);
        feed.on_event(&leaving(2, 1), 0, &mut ignore);
        feed.on_event(&event_of(3, EventKind::MessageEdited), 0, &mut ignore);
        client.room.set(None);
        assert_eq!(catch_up(&mut feed, key, late.as_ref()), Step::Done, "the text of 1 is the edited one");
        assert_eq!((client.read(), client.ended.take()), (vec![], vec![Some(Seq(0))]));
    }
}

#[test]
fn one_who_is_behind_gets_all_of_a_chat_that_is_deleted() {
    let mut feed = feed_at(0);
    let (client, key) = live(&mut feed, 1);
    let gone = Event { effect: Effect::ChatDeleted, ..event_of(3, EventKind::ChatDeleted) };
    client.room.set(Some(0));
    offer(&mut feed, &[1]);
    feed.ring.clear();
    client.room.set(None);
    feed.on_event(&gone, 0, &mut ignore);
    feed.on_piece(&piece(1, &[2], 2, 0), 0, &mut ignore);
    assert_eq!(catch_up(&mut feed, key, None), Step::Read(Seq(0)));
    assert_eq!(catch_up(&mut feed, key, Some(&piece(0, &[1, 2], 3, 0))), Step::Done);
    assert_eq!((client.read(), client.ended.take()), (text(1..=3), vec![Some(Seq(3))]));
}

#[test]
fn one_who_is_behind_ends_where_the_log_tells_the_removal() {
    let mut feed = feed_at(0);
    let ((first, _), (behind, key), (stays, _)) = (live(&mut feed, 1), live(&mut feed, 1), live(&mut feed, 2));
    behind.room.set(Some(0));
    offer(&mut feed, &[1]);
    // The link was away: the log has the text of 2 as it was edited by 4.
    let events = vec![event(2), leaving(3, 1), event_of(4, EventKind::MessageEdited)];
    feed.on_piece(&Piece::new(Seq(1), 256, events, Seq(4), Seq(0)), 0, &mut ignore);
    assert_eq!((first.read(), first.ended.take()), (text(1..=3), vec![Some(Seq(3))]));
    behind.room.set(None);
    assert_eq!(catch_up(&mut feed, key, None), Step::Done);
    assert_eq!((behind.read(), behind.ended.take()), (vec![], vec![Some(Seq(0))]));
    assert_eq!((stays.read().len(), stays.ended.take()), (4, vec![]));
}

#[test]
fn a_removal_that_came_while_the_rights_were_read_is_known() {
    for held in [false, true] {
        let mut feed = feed_at(if held { 3 } else { 4 });
        feed.on_event(&leaving(5, 1), 0, &mut ignore);
        let (client, key, _) = admit(&mut feed, 1, 4, 0, Some(1));
        assert_eq!(catch_up(&mut feed, key, None), Step::Done, "held: {held}");
        assert_eq!((client.read(), client.ended.take()), (vec![], vec![Some(Seq(1))]), "held: {held}");
    }
}

#[test]
fn the_head_is_compared_at_each_confirmation_once_it_is_known() {
    let mut feed = feed();
    assert_eq!(feed.on_channel_up(), None, "nothing was read yet");
    let (_, _, _) = admit(&mut feed, 1, 3, 0, None);
    assert_eq!(feed.repair_after_admission(1), None);
    assert_eq!(feed.repair_after_admission(0), Some(Repair::Head(GapCause::LinkRestored)));
    assert_eq!(feed.on_channel_up(), None, "one query at a time");
    let (due, again) = feed.head_answered(Some(Seq(4)), GapCause::LinkRestored);
    assert_eq!(due, Some(Repair::Gap(GapCause::LinkRestored, Duration::ZERO)));
    assert!(again, "that answer may be from before the confirmation");
    assert_eq!(feed.head_answered(Some(Seq(4)), GapCause::LinkRestored), (None, false), "its gap is being repaired");
    assert_eq!(feed.head_due(GapCause::HeadCheck), Some(Repair::Head(GapCause::HeadCheck)));
}

#[test]
fn each_event_is_handed_on_with_the_number_of_readers_that_took_it() {
    let mut feed = feed_at(0);
    let ((full, key), _) = (live(&mut feed, 1), live(&mut feed, 2));
    let mut handed = Vec::new();
    full.room.set(Some(1));
    let mut hand = |event: &Event, readers| handed.push((event.seq.0, readers));
    for number in 1..=2 {
        assert_eq!(feed.on_event(&event(number), 0, &mut hand), None);
    }
    full.room.set(None);
    assert_eq!(feed.catch_up(key, None, &mut hand), Step::Done);
    assert_eq!(handed, [(1, 2), (2, 1), (2, 1)]);
}
