//! Events that the log cannot give.

use super::*;

#[test]
fn what_the_log_no_longer_keeps_is_a_resync_for_those_whose_cursor_it_is_lost_to() {
    let mut feed = feed_at(1);
    let (client, key) = live(&mut feed, 1);
    let (ahead, key_ahead, _) = admit(&mut feed, 2, 9, 0, None);
    assert_eq!(catch_up(&mut feed, key_ahead, None), Step::Done);
    ahead.is_behind.set(false);
    let pruned = piece(1, &[8, 9], 9, 7);
    assert_eq!(feed.on_piece(&pruned, 0, &mut ignore), Progress::Jumped);
    assert_eq!((feed.head(), feed.missing()), (Some(Seq(9)), None));
    assert_eq!([client.is_behind.get(), ahead.is_behind.get()], [true, false]);
    offer(&mut feed, &[10]);
    assert_eq!((client.read(), ahead.read()), (vec![], text([10])));
    assert_eq!(catch_up(&mut feed, key, None), Step::Read(Seq(1)));
    assert_eq!(catch_up(&mut feed, key, Some(&pruned)), Step::Lost);
    feed.readmit(key, Seq(9));
    assert_eq!(catch_up(&mut feed, key, None), Step::Done);
    assert_eq!(client.read(), ["resync 9", "10"]);
}

#[test]
fn a_hole_in_the_log_is_a_resync_and_never_a_silent_gap() {
    for (numbers, head) in [(&[2, 3][..], 3), (&[][..], 1), (&[2, 4][..], 4)] {
        let mut feed = feed_at(0);
        let (client, key) = live(&mut feed, 1);
        feed.reached(Seq(head));
        let log = piece(0, numbers, head, 0);
        assert_eq!(feed.on_piece(&log, 0, &mut ignore), Progress::Jumped);
        assert_eq!((feed.head(), feed.missing()), (Some(Seq(head)), None), "{numbers:?}");
        assert_eq!(catch_up(&mut feed, key, Some(&log)), Step::Lost);
        feed.readmit(key, Seq(head));
        assert_eq!(catch_up(&mut feed, key, None), Step::Done);
        offer(&mut feed, &[head + 1]);
        assert_eq!(client.read(), [format!("resync {head}"), (head + 1).to_string()], "{numbers:?}");
    }
}

#[test]
fn a_subscription_that_comes_to_a_hole_goes_past_it_once() {
    for (numbers, given) in [(&[1, 3, 4][..], vec!["1"]), (&[2, 3, 4], vec![]), (&[1, 2, 3], vec!["1", "2", "3"])] {
        let mut feed = feed_at(4);
        let (client, key, _) = admit(&mut feed, 1, 4, 0, Some(0));
        assert_eq!(catch_up(&mut feed, key, None), Step::Read(Seq(0)));
        assert_eq!(catch_up(&mut feed, key, Some(&piece(0, numbers, 4, 0))), Step::Lost, "{numbers:?}");
        feed.readmit(key, Seq(4));
        assert_eq!(catch_up(&mut feed, key, None), Step::Done);
        offer(&mut feed, &[5]);
        assert_eq!(client.read(), [given, vec!["resync 4", "5"]].concat(), "{numbers:?}");
    }
}

#[test]
fn a_resync_that_finds_no_room_comes_later() {
    let mut feed = feed_at(9);
    let (client, key, _) = admit(&mut feed, 1, 9, 0, Some(0));
    let pruned = piece(0, &[9], 9, 8);
    assert_eq!(catch_up(&mut feed, key, Some(&pruned)), Step::Lost);
    client.room.set(Some(0));
    feed.readmit(key, Seq(9));
    client.room.set(None);
    assert_eq!(catch_up(&mut feed, key, None), Step::Read(Seq(0)));
    assert_eq!(catch_up(&mut feed, key, Some(&pruned)), Step::Lost);
    feed.readmit(key, Seq(9));
    assert_eq!(catch_up(&mut feed, key, None), Step::Done);
    assert_eq!(client.read(), ["resync 9"]);
}

#[test]
fn a_removal_that_was_lost_before_a_readmission_ends_nothing_after_it() {
    let mut feed = feed_at(0);
    let (client, key) = live(&mut feed, 1);
    assert_eq!(feed.on_event(&leaving(2, 1), 0, &mut ignore), GAP);
    assert_eq!(feed.listeners().count(), 0);
    assert_eq!(feed.on_piece(&piece(0, &[], 5, 5), 0, &mut ignore), Progress::Jumped);
    feed.readmit(key, Seq(5));
    assert_eq!(catch_up(&mut feed, key, None), Step::Done);
    assert_eq!(feed.listeners().count(), 1, "the user came back before the fifth");
    assert_eq!(feed.on_event(&leaving(3, 1), 0, &mut ignore), None, "word of an earlier one comes late");
    assert_eq!(feed.listeners().count(), 1);
    assert_eq!(feed.on_event(&leaving(6, 1), 0, &mut ignore), None);
    assert_eq!((client.read(), client.ended.take()), (vec!["resync 5".into(), "6".into()], vec![Some(Seq(6))]));
}

#[test]
fn a_piece_that_was_read_for_another_place_is_no_hole() {
    let mut feed = feed_at(9);
    let (client, key, _) = admit(&mut feed, 1, 9, 0, Some(0));
    assert_eq!(catch_up(&mut feed, key, Some(&piece(5, &[6, 7, 8, 9], 9, 0))), Step::Read(Seq(0)));
    assert!(client.read().is_empty());
}

#[test]
fn an_event_that_is_unreadable_in_the_log_but_came_live_is_delivered() {
    let mut feed = feed_at(0);
    let (client, key) = live(&mut feed, 1);
    client.room.set(Some(0));
    offer(&mut feed, &[1, 2]);
    client.room.set(None);
    assert_eq!(catch_up(&mut feed, key, Some(&piece(0, &[1], 2, 0))), Step::Done, "the ring has it");
    assert_eq!(client.read(), text(1..=2));
}

#[test]
fn a_gap_that_cannot_be_read_is_left_behind() {
    for (held, head) in [(&[][..], 9), (&[6, 7], 7)] {
        let mut feed = feed_at(3);
        let (client, key) = live(&mut feed, 1);
        assert_eq!(feed.jump_the_gap(), Progress::Moved, "there is none");
        feed.reached(Seq(9));
        offer(&mut feed, held);
        assert_eq!(feed.jump_the_gap(), Progress::Jumped);
        feed.go_on(0, &mut ignore);
        assert_eq!(feed.head(), Some(Seq(head)), "what is held needs no log");
        assert!(client.is_behind.get());
        assert_eq!(catch_up(&mut feed, key, None), Step::Read(Seq(3)), "each subscription finds out by itself");
        feed.readmit(key, Seq(9));
        assert_eq!(client.read(), ["resync 9"]);
    }
}
