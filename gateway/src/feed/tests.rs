use super::*;

fn event(seq: i64, kind: EventKind) -> Event {
    Event {
        seq: Seq(seq),
        kind,
        effect: Effect::None,
        committed_at_micros: 0,
        frame: Bytes::from(seq.to_string().into_bytes()),
    }
}

/// What comes out when these numbers come in, in this order.
fn through(feed: &mut Feed, numbers: &[i64]) -> Vec<i64> {
    let mut out = Vec::new();
    for number in numbers {
        let offered = event(*number, EventKind::NewMessage);
        if feed.offer(&offered) == Offer::Next {
            feed.keep(&offered, 0);
            out.push(offered.seq.0);
            while let Some(held) = feed.next_held() {
                feed.keep(&held, 0);
                out.push(held.seq.0);
            }
        }
    }
    out
}

fn feed_at(head: i64) -> Feed {
    Feed { head: Some(Seq(head)), ..Feed::default() }
}

#[test]
fn doubled_and_reordered_hints_come_out_once_and_in_order() {
    let mut feed = feed_at(0);
    assert_eq!(through(&mut feed, &[2, 1, 1, 2, 4, 3, 3, 5]), [1, 2, 3, 4, 5]);
    assert!(!feed.has_gap());
}

#[test]
fn a_missing_number_holds_back_what_follows() {
    let mut feed = feed_at(3);
    assert_eq!(through(&mut feed, &[5, 6]), [0; 0]);
    assert!(feed.has_gap());
    assert_eq!(through(&mut feed, &[4]), [4, 5, 6]);
    assert!(!feed.has_gap());
}

#[test]
fn before_the_head_is_known_events_are_held() {
    let mut feed = Feed::default();
    assert_eq!(through(&mut feed, &[8, 7]), [0; 0]);
    feed.reached(Seq(7));
    assert_eq!(feed.next_held().map(|event| event.seq), Some(Seq(8)));
    assert!(feed.next_held().is_none());
}

#[test]
fn more_than_can_be_held_is_known_to_be_missing() {
    let mut feed = feed_at(0);
    let many: Vec<i64> = (2..=1000).collect();
    assert_eq!(through(&mut feed, &many), [0; 0]);
    assert!(feed.has_gap());
    let delivered = through(&mut feed, &[1]);
    assert_eq!(delivered, (1..=257).collect::<Vec<_>>());
    assert!(feed.has_gap(), "258 to 1000 come from the log");
}

#[test]
fn the_ring_answers_for_its_own_numbers_only() {
    let mut feed = feed_at(0);
    let many: Vec<i64> = (1..=100).collect();
    through(&mut feed, &many);
    assert!(feed.in_ring(Seq(35)).is_none(), "64 are kept: 37 to 100");
    assert_eq!(feed.in_ring(Seq(36)).map(|event| event.seq), Some(Seq(37)));
    assert_eq!(feed.in_ring(Seq(99)).map(|event| event.seq), Some(Seq(100)));
    assert!(feed.in_ring(Seq(100)).is_none());
}

#[test]
fn an_edit_makes_the_ring_forget_the_text_before_it() {
    let mut feed = feed_at(0);
    through(&mut feed, &[1, 2]);
    let edit = event(3, EventKind::MessageEdited);
    assert_eq!(feed.offer(&edit), Offer::Next);
    feed.keep(&edit, 0);
    assert!(feed.in_ring(Seq(1)).is_none());
    assert_eq!(feed.in_ring(Seq(2)).map(|event| event.seq), Some(Seq(3)));
}

#[test]
fn a_ring_lets_go_by_age() {
    let mut feed = feed_at(0);
    through(&mut feed, &[1]);
    feed.age(10, 10);
    assert!(feed.in_ring(Seq(0)).is_some());
    feed.age(11, 10);
    assert!(feed.in_ring(Seq(0)).is_none());
}
