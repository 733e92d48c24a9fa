//! A history that went back.

use super::*;

fn at(seq: i64, committed_at_micros: i64) -> Event {
    Event { committed_at_micros, ..event(seq) }
}

/// Live at 3 of a history that is lost from 2 on.
fn ahead() -> (Tested, Rc<Client>, usize) {
    let mut feed = feed_at(0);
    let (client, key) = live(&mut feed, 1);
    for seq in 1..=3 {
        assert_eq!(feed.on_event(&at(seq, seq), 0, &mut ignore), None);
    }
    assert_eq!(client.read(), text(1..=3));
    (feed, client, key)
}

/// The subscription is lost until its rights are read; then the feed goes on.
fn starts_over(feed: &mut Tested, client: &Client, key: usize, head: i64) {
    assert!(client.is_behind.get());
    assert_eq!((feed.head(), feed.missing()), (Some(Seq(head)), None), "nothing is read again and again");
    assert_eq!(catch_up(feed, key, None), Step::Lost);
    assert_eq!(feed.on_event(&at(head + 1, 90), 0, &mut ignore), None);
    feed.readmit(key, Seq(head));
    assert_eq!(catch_up(feed, key, None), Step::Done);
    assert_eq!(client.read(), [format!("resync {head}"), (head + 1).to_string()]);
}

#[test]
fn a_head_below_what_was_reached_proves_it() {
    let (mut feed, client, key) = ahead();
    let known = feed.known();
    assert!(feed.compare(known, Seq(1), None));
    assert!(!feed.compare(known, Seq(1), None), "that answer is of the history before");
    starts_over(&mut feed, &client, key, 1);
}

#[test]
fn a_number_that_was_given_anew_proves_it() {
    for (head, is_proof) in [(3, true), (9, true), (3, false)] {
        let (mut feed, client, key) = ahead();
        let committed_at = if is_proof { 33 } else { 3 };
        let known = feed.known();
        assert_eq!(feed.compare(known, Seq(head), Some(committed_at)), is_proof);
        if is_proof {
            starts_over(&mut feed, &client, key, head);
        }
    }
}

#[test]
fn an_answer_is_compared_with_what_was_known_when_it_was_asked() {
    let (mut feed, client, _) = ahead();
    let known = feed.known();
    assert_eq!(feed.on_event(&at(4, 4), 0, &mut ignore), None);
    assert!(!feed.compare(known, Seq(3), Some(3)), "4 was committed since");
    assert!(!feed.compare(known, Seq(4), None), "the log no longer keeps it");
    assert_eq!(client.read(), text([4]));
}

#[test]
fn the_commit_of_a_head_that_was_only_read_is_learned() {
    let mut feed = feed_at(3);
    live(&mut feed, 1);
    let known = feed.known();
    assert!(!feed.compare(known, Seq(3), Some(3)));
    let known = feed.known();
    assert!(feed.compare(known, Seq(3), Some(33)));
}

#[test]
fn an_event_that_contradicts_what_was_delivered_asks_the_store() {
    let due = Some(Repair::Head(GapCause::HeadCheck));
    for (contradicting, due) in
        [(at(2, 22), due), (at(3, 33), due), (at(1, 99), due), (at(2, 2), None), (at(3, 3), None)]
    {
        let (mut feed, client, _) = ahead();
        assert_eq!(feed.on_event(&contradicting, 0, &mut ignore), due, "{contradicting:?}");
        assert!(client.read().is_empty());
    }
}

#[test]
fn a_removal_that_no_longer_is_ends_nothing() {
    let (mut feed, client, key) = ahead();
    assert_eq!(feed.on_event(&leaving(5, 1), 0, &mut ignore), GAP);
    assert_eq!(feed.listeners().count(), 0);
    let known = feed.known();
    assert!(feed.compare(known, Seq(1), None));
    starts_over(&mut feed, &client, key, 1);
    assert_eq!(feed.listeners().count(), 1);
}

#[test]
fn a_chat_that_the_present_history_lacks_went_back_to_nothing() {
    let mut feed = feed_at(0);
    let (silent, _) = live(&mut feed, 1);
    let known = feed.known();
    assert!(feed.chat_is_lost(known) && silent.is_behind.get(), "though its head says nothing");
    let (mut feed, client, key) = ahead();
    let known = feed.known();
    assert!(feed.chat_is_lost(known));
    assert!(!feed.chat_is_lost(known), "that answer is of the history before");
    starts_over(&mut feed, &client, key, 0);
}

#[test]
fn a_subscription_that_ends_in_a_lost_history_left_off_nowhere() {
    let (mut feed, client, key) = ahead();
    let known = feed.known();
    assert!(feed.compare(known, Seq(1), None));
    assert!(feed.end(key));
    assert_eq!(client.ended.take(), [None], "numbers up to 3 are given anew");
}

#[test]
fn a_resync_that_finds_no_room_is_still_due() {
    let (mut feed, client, key) = ahead();
    let known = feed.known();
    assert!(feed.compare(known, Seq(1), None));
    client.room.set(Some(0));
    assert_eq!(catch_up(&mut feed, key, None), Step::Lost);
    feed.readmit(key, Seq(1));
    client.room.set(None);
    starts_over(&mut feed, &client, key, 1);
}

#[test]
fn a_question_that_was_not_answered_is_still_about_what_was_known_then() {
    let (mut feed, client, _) = ahead();
    assert_eq!(feed.on_channel_up(), Some(Repair::Head(GapCause::LinkRestored)));
    // The store is away. 2 to 4 of the new history were lost with the link; 4 comes as the next.
    assert_eq!(feed.on_event(&at(4, 44), 0, &mut ignore), None);
    assert_eq!(feed.on_channel_up(), None, "a question is under way");
    let known = feed.asked_about().unwrap();
    assert_eq!(known.head, Seq(3));
    assert_eq!(feed.head_answered(Some(Seq(4)), GapCause::LinkRestored), (None, true));
    assert_eq!(feed.asked_about().unwrap().head, Seq(4), "the second reason came later");
    assert!(feed.compare(known, Seq(4), Some(33)));
    assert!(client.is_behind.get());
}

#[test]
fn what_is_held_of_a_history_in_doubt_comes_from_the_log() {
    let mut feed = feed_at(0);
    let (client, _) = live(&mut feed, 1);
    assert_eq!(feed.on_event(&at(2, 2), 0, &mut ignore), Some(Repair::Gap(GapCause::Jump, HOLD)));
    assert_eq!(feed.doubt(), Some(Repair::Head(GapCause::HeadCheck)));
    assert_eq!(feed.on_event(&at(1, 1), 0, &mut ignore), None);
    assert!(!feed.compare(feed.asked_about().unwrap(), Seq(2), None));
    assert_eq!(feed.head_answered(Some(Seq(2)), GapCause::HeadCheck), (None, false), "the gap's repair is under way");
    assert!(client.read().is_empty());
    assert_eq!(feed.missing(), Some((Seq(0), Seq(2))));
}

#[test]
fn in_doubt_nothing_is_handed_on() {
    for contradicting in [at(2, 22), at(3, 33)] {
        let (mut feed, client, key) = ahead();
        let (behind, behind_key, _) = admit(&mut feed, 2, 3, 0, Some(0));
        assert_eq!(feed.on_event(&contradicting, 0, &mut ignore), Some(Repair::Head(GapCause::HeadCheck)));
        assert_eq!(feed.on_event(&at(4, 44), 0, &mut ignore), None);
        let log = Piece::new(Seq(3), 256, vec![at(4, 44)], Seq(4), Seq(0));
        assert_eq!(feed.missing(), None, "nothing is read in doubt");
        assert_eq!(feed.on_piece(&log, 0, &mut ignore), Progress::Moved);
        behind.is_behind.set(false);
        assert_eq!(catch_up(&mut feed, behind_key, Some(&log)), Step::Done);
        assert!(client.read().is_empty() && behind.read().is_empty());
        assert!(feed.compare(feed.asked_about().unwrap(), Seq(4), Some(33)));
        assert_eq!(feed.head_answered(Some(Seq(4)), GapCause::HeadCheck), (None, false));
        assert!(behind.is_behind.get());
        starts_over(&mut feed, &client, key, 4);
    }
}

#[test]
fn a_doubt_without_a_reason_costs_a_read_of_the_log() {
    let (mut feed, client, _) = ahead();
    let (behind, behind_key, _) = admit(&mut feed, 2, 3, 0, Some(0));
    let due = Some(Repair::Head(GapCause::HeadCheck));
    assert_eq!(feed.head_due(GapCause::HeadCheck), due);
    assert_eq!(feed.doubt(), None, "a question is under way");
    assert_eq!(feed.on_event(&at(4, 4), 0, &mut ignore), None);
    let gap = Repair::Gap(GapCause::HeadCheck, Duration::ZERO);
    for (wanted, again) in [(None, true), (Some(gap), false)] {
        behind.is_behind.set(false);
        assert!(feed.is_in_doubt());
        assert!(!feed.compare(feed.asked_about().unwrap(), Seq(4), Some(3)));
        assert_eq!(feed.head_answered(Some(Seq(4)), GapCause::HeadCheck), (wanted, again), "the first is older");
        assert_eq!(behind.is_behind.get(), !again);
    }
    let log = Piece::new(Seq(3), 256, vec![at(4, 4)], Seq(4), Seq(0));
    assert_eq!(feed.on_piece(&log, 0, &mut ignore), Progress::Moved);
    assert_eq!(client.read(), text([4]));
    assert_eq!(catch_up(&mut feed, behind_key, None), Step::Done);
    assert_eq!(behind.read(), text(1..=4));
}

#[test]
fn a_doubt_ends_with_its_answer_whatever_is_asked_after_it() {
    let (mut feed, client, _) = ahead();
    assert_eq!(feed.doubt(), Some(Repair::Head(GapCause::HeadCheck)));
    assert_eq!(feed.on_channel_up(), None);
    assert!(!feed.compare(feed.asked_about().unwrap(), Seq(3), Some(3)));
    assert_eq!(feed.head_answered(Some(Seq(3)), GapCause::HeadCheck), (None, true));
    assert_eq!(feed.on_event(&at(4, 4), 0, &mut ignore), None);
    assert_eq!(client.read(), text([4]));
}

#[test]
fn a_store_that_does_not_answer_holds_no_event_up_for_long() {
    let (mut feed, client, _) = ahead();
    let _asked = feed.doubt();
    assert!(!feed.age(100, 9), "nothing is held up");
    assert_eq!(feed.on_event(&at(4, 4), 100, &mut ignore), None);
    assert_eq!(feed.on_event(&at(5, 5), 103, &mut ignore), None);
    assert!(!feed.age(100 + DOUBT_TICKS - 1, 9) && feed.is_in_doubt());
    assert!(feed.age(100 + DOUBT_TICKS, 9) && !feed.is_in_doubt());
    feed.go_on(0, &mut ignore);
    assert_eq!(client.read(), text(4..=5));
    assert!(feed.compare(feed.asked_about().unwrap(), Seq(5), Some(33)), "its answer still counts");
}
