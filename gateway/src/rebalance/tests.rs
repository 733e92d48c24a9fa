use super::*;

fn fleet(connections: &[u64]) -> Fleet {
    let fewest = connections.iter().min().copied().expect("one");
    Fleet { gateways: connections.len() as u64, connections: connections.iter().sum(), fewest }
}

fn with(held: u64, others: &[u64]) -> Fleet {
    fleet(&[&[held], others].concat())
}

/// Looks twice a second until it does something, for a minute at most.
fn until_it_acts(balance: &mut Balance, now: &mut Instant, held: u64, others: &[u64]) -> Verdict {
    for _ in 0..120 {
        *now += Duration::from_millis(500);
        let verdict = balance.look(held, Some(with(held, others)), *now);
        if verdict != Verdict::Wait {
            return verdict;
        }
    }
    Verdict::Wait
}

fn of(count: u64, over_ms: u64) -> Verdict {
    Verdict::HandOver { count, over: Duration::from_millis(over_ms) }
}

#[test]
fn too_many_is_a_quarter_above_the_mean_and_ten_at_least() {
    for (held, others, expected) in [
        (100, vec![0], Some(50)),
        (50, vec![50, 0], Some(16)),
        (62, vec![38], None),
        (63, vec![37], Some(13)),
        (20, vec![0], Some(10)),
        (19, vec![0], None),
        (100, vec![100], None),
        (0, vec![100], None),
        (1_000_000, vec![], None),
        (11_000, vec![10_000; 9], None),
        (100_000, vec![0; 99], Some(99_000)),
        // Another one is far from the mean.
        (100, [vec![100; 8], vec![0]].concat(), Some(10)),
        (1_000, [vec![1_000; 18], vec![474]].concat(), Some(26)),
        (1_000, [vec![1_000; 18], vec![490]].concat(), None),
        (90, [vec![91; 9], vec![0]].concat(), None),
    ] {
        assert_eq!(surplus(held, with(held, &others)), expected, "{held} beside {others:?}");
    }
    let nobody = Fleet { gateways: 0, connections: 0, fewest: 0 };
    assert_eq!(surplus(50, nobody), Some(50), "no division by zero");
}

#[test]
fn it_tries_a_few_then_hands_over_the_rest_and_rests_until_all_are_back() {
    let (mut balance, begun) = (Balance::default(), Instant::now());
    let mut now = begun;
    assert_eq!(until_it_acts(&mut balance, &mut now, 5_000, &[0]), of(50, 100));
    assert_eq!(now - begun, LASTING + Duration::from_millis(500));
    // While they are on their way, the other one has none of them yet.
    for _ in 0..10 {
        now += Duration::from_millis(500);
        assert_eq!(balance.look(4_950, Some(with(4_950, &[50])), now), Verdict::Wait);
    }
    let settled = now;
    assert_eq!(until_it_acts(&mut balance, &mut now, 4_950, &[50]), of(2_450, 4_900));
    assert!(now - settled >= LASTING, "{:?}", now - settled);
    for _ in 0..20 {
        now += Duration::from_millis(500);
        assert_eq!(balance.look(2_500, Some(with(2_500, &[2_500])), now), Verdict::Wait);
    }
    assert_eq!(until_it_acts(&mut balance, &mut now, 2_500, &[2_500]), Verdict::Wait);
}

#[test]
fn what_is_not_known_or_does_not_last_is_not_acted_on() {
    let (mut balance, mut now) = (Balance::default(), Instant::now());
    for look in 0..100 {
        let known = (look % 7 != 6).then(|| fleet(&[100, 0]));
        assert_eq!(balance.look(100, known, now), Verdict::Wait, "{look}");
        now += Duration::from_millis(500);
    }
    for look in 0..100 {
        let others = if look % 7 == 6 { 100 } else { 0 };
        assert_eq!(balance.look(100, Some(fleet(&[100, others])), now), Verdict::Wait, "{look}");
        now += Duration::from_millis(500);
    }
    // It stood still between two looks.
    for look in 0..100 {
        assert_eq!(balance.look(100, Some(fleet(&[100, 0])), now), Verdict::Wait, "{look}");
        now += Duration::from_millis(2_500);
    }
}

#[test]
fn all_gateways_together_hand_over_a_thousand_a_second() {
    let now = &mut Instant::now();
    let others = [vec![20_000; 49], vec![0; 50]].concat();
    let mut balance = Balance { helped_among: Some(100), ..Balance::default() };
    assert_eq!(until_it_acts(&mut balance, now, 20_000, &others), of(100, 10_000));
    let mut balance = Balance { helped_among: Some(1_000), ..Balance::default() };
    assert_eq!(until_it_acts(&mut balance, now, 10_000, &[0; 999]), of(50, 10_000));
}

#[test]
fn where_the_balancer_brings_them_back_it_tries_ever_more_rarely() {
    let (mut balance, mut now) = (Balance::default(), Instant::now());
    let mut pauses = Vec::new();
    for round in 0..9 {
        let verdict = loop {
            let verdict = until_it_acts(&mut balance, &mut now, 1_000, &[0]);
            if verdict != Verdict::Wait {
                break verdict;
            }
        };
        assert_eq!(verdict, of(10, 20), "a few");
        let Verdict::CameBack { again_after, is_first } = until_it_acts(&mut balance, &mut now, 1_000, &[0]) else {
            panic!("round {round}");
        };
        assert_eq!(is_first, round == 0);
        pauses.push(again_after.as_secs() / 60);
    }
    assert_eq!(pauses, [1, 2, 4, 8, 16, 32, 60, 60, 60]);
}

/// The look at which a hand-over of ten is judged.
fn judged(before: &[u64], after: &[u64]) -> (Verdict, Balance) {
    let (mut balance, mut now) = (Balance::default(), Instant::now());
    assert_eq!(
        until_it_acts(&mut balance, &mut now, before[0], &before[1..]),
        of(10, 10_000 * before.len() as u64 / 1_000)
    );
    for _ in 0..20 {
        now += Duration::from_millis(500);
        let verdict = balance.look(after[0], Some(fleet(after)), now);
        if balance.step.is_none() {
            return (verdict, balance);
        }
    }
    panic!("it is judged after five seconds");
}

#[test]
fn a_hand_over_helped_where_there_is_less_to_share_or_the_emptiest_got_some() {
    for (before, after) in [
        (vec![100, 0], vec![90, 10]),
        // At random: some come back, some of another one's come here.
        (vec![50, 50, 0], vec![48, 47, 5]),
        (vec![50, 50, 0], vec![50, 48, 2]),
        // Others came meanwhile, and nothing is left to do.
        (vec![100, 0], vec![110, 100]),
    ] {
        let (verdict, balance) = judged(&before, &after);
        assert_eq!((verdict, balance.helped_among), (Verdict::Wait, Some(before.len() as u64)), "{before:?}");
    }
    let (verdict, balance) = judged(&[100, 0], &[100, 0]);
    assert!(matches!(verdict, Verdict::CameBack { is_first: true, .. }) && balance.helped_among.is_none());
    // Another gateway came, or went: nothing can be said.
    for after in [vec![100, 0, 0], vec![100]] {
        let (verdict, balance) = judged(&[100, 0], &after);
        assert_eq!((verdict, balance.helped_among, balance.pause), (Verdict::Wait, None, Duration::ZERO));
    }
}
