use super::*;

const SMALL: u32 = 8;
const ASKER: Asker = Asker::Known;

#[tokio::test]
async fn the_right_password_and_no_other() {
    let passwords = Passwords::new(SMALL, 2).unwrap();
    let phc = passwords.hash("correct horse".into(), ASKER).await.unwrap();
    assert!(phc.starts_with("$argon2id$v=19$m=8,t=2,p=1$"), "{phc}");
    assert_ne!(phc, passwords.hash("correct horse".into(), ASKER).await.unwrap(), "the salt is fresh");
    assert!(passwords.verify("correct horse".into(), Some(phc.clone()), ASKER).await.unwrap());
    assert!(!passwords.verify("Correct horse".into(), Some(phc), ASKER).await.unwrap());
}

#[tokio::test]
async fn nobody_never_logs_in_though_the_password_be_guessed() {
    let passwords = Passwords::new(SMALL, 1).unwrap();
    assert!(!passwords.verify("nobody has this password".into(), None, ASKER).await.unwrap());
}

#[tokio::test]
async fn a_hash_of_other_strength_is_still_checked() {
    let weak = Passwords::new(SMALL, 1).unwrap().hash("pw".into(), ASKER).await.unwrap();
    let strong = Passwords::new(64, 1).unwrap();
    assert!(strong.verify("pw".into(), Some(weak), ASKER).await.unwrap());
}

#[tokio::test]
async fn a_row_that_is_no_hash_is_a_fault_of_ours() {
    let passwords = Passwords::new(SMALL, 1).unwrap();
    let outcome = passwords.verify("pw".into(), Some("plain".into()), ASKER).await;
    assert!(matches!(outcome, Err(Error::Internal(_))));
}

#[tokio::test]
async fn the_queue_is_bounded_and_empties_again() {
    let passwords = Passwords::with_queue(SMALL, 1, (2, 0)).unwrap();
    let held = passwords.inner.running.clone().acquire_owned().await.unwrap();
    let waiting: Vec<_> = (0..2)
        .map(|_| {
            let passwords = passwords.clone();
            tokio::spawn(async move { passwords.hash("pw".into(), ASKER).await })
        })
        .collect();
    while passwords.inner.waiting.lock().known < 2 {
        tokio::task::yield_now().await;
    }
    let refused = passwords.hash("pw".into(), ASKER).await;
    assert!(matches!(refused, Err(Error::Unavailable(_))));
    drop(held);
    for task in waiting {
        assert!(task.await.unwrap().is_ok());
    }
    assert!(passwords.hash("pw".into(), ASKER).await.is_ok());
    assert_eq!(passwords.inner.waiting.lock().known, 0);
}

#[tokio::test]
async fn who_hangs_up_leaves_the_queue() {
    let passwords = Passwords::with_queue(SMALL, 1, (1, 0)).unwrap();
    let held = passwords.inner.running.clone().acquire_owned().await.unwrap();
    let task = tokio::spawn({
        let passwords = passwords.clone();
        async move { passwords.hash("pw".into(), ASKER).await }
    });
    while passwords.inner.waiting.lock().known < 1 {
        tokio::task::yield_now().await;
    }
    task.abort();
    assert!(task.await.unwrap_err().is_cancelled());
    drop(held);
    assert!(passwords.hash("pw".into(), ASKER).await.is_ok());
}

fn stranger(n: u8) -> Asker {
    Asker::Stranger([10, 0, 0, n].into())
}

#[tokio::test]
async fn a_crowd_of_strangers_holds_up_itself() {
    let passwords = Passwords::with_queue(SMALL, 1, (1, 8)).unwrap();
    let held = passwords.inner.running.clone().acquire_owned().await.unwrap();
    let order = Arc::new(Mutex::new(Vec::new()));
    let wait = |asker| {
        let (passwords, order) = (passwords.clone(), order.clone());
        tokio::spawn(async move {
            passwords.hash("pw".into(), asker).await.unwrap();
            order.lock().push(asker);
        })
    };
    let waiting = || passwords.inner.waiting.lock().strangers;
    // One address takes half of what is left, and a second one finds a place.
    let mut crowd = Vec::new();
    for (n, taken) in [(1, 4), (2, 6), (3, 7), (4, 8)] {
        while waiting() < taken {
            let before = waiting();
            crowd.push(wait(stranger(n)));
            while waiting() == before {
                tokio::task::yield_now().await;
            }
        }
        assert!(passwords.hash("pw".into(), stranger(n)).await.is_err(), "{n} has its share");
    }
    let known = wait(Asker::Known);
    while passwords.inner.waiting.lock().known == 0 {
        tokio::task::yield_now().await;
    }
    // The next turn after the known asker's is the test's own: nobody else ends meanwhile.
    let mut next = std::pin::pin!(passwords.inner.running.clone().acquire_owned());
    assert!(futures_util::poll!(&mut next).is_pending());
    drop(held);
    let next = next.await.unwrap();
    known.await.unwrap();
    assert!(order.lock().len() <= 2, "after the one whose turn it was: {:?}", order.lock());
    drop(next);
    for one in crowd {
        one.await.unwrap();
    }
    assert!(passwords.inner.waiting.lock().by_address.is_empty());
}

#[tokio::test]
async fn one_strong_hash_does_not_make_every_check_dear() {
    let strong = Passwords::new(1024, 1).unwrap().hash("pw".into(), ASKER).await.unwrap();
    let passwords = Passwords::new(SMALL, 1).unwrap();
    let configured = u64::from(SMALL) * u64::from(PASSES);
    assert!(passwords.verify("pw".into(), Some(strong), ASKER).await.unwrap());
    assert_eq!(passwords.inner.dearest.lock().work, MOST_WORK * configured);
}

/// Half of the memory takes less than half of the time: what is left is measured, not reckoned. How
/// long the dearest takes is given here: beside other programs it takes longer than just before.
#[test]
fn a_check_of_a_weaker_hash_takes_as_long_as_any() {
    let passwords = Passwords::new(19_456, 1).unwrap().inner;
    let weaker = [8192, 12_288, 16_384].map(|kib| hash(&Passwords::new(kib, 1).unwrap().inner.argon2, "pw").unwrap());
    let any = passwords.dearest.lock().takes() * 3 / 2;
    passwords.dearest.lock().times = VecDeque::from([any; TIMES]);
    for phc in weaker {
        let mut took = [(); 5].map(|()| {
            let begun = cpu_time();
            assert!(passwords.verify("wrong", Some(&phc)).is_err());
            cpu_time() - begun
        });
        took.sort_unstable();
        println!("{took:?}, and {any:?} for any");
        // What other programs take of the machine's caches only ever adds to one.
        assert!(took[0] >= any && took[0] < any.mul_f64(1.07), "{took:?}, and {any:?} for any");
    }
}

#[test]
fn any_check_takes_as_long_as_half_of_the_last_dearest_ones() {
    // Of so much memory that the rest of a check is nothing beside its computation.
    let passwords = Passwords::new(19_456, 1).unwrap().inner;
    passwords.dearest.lock().times = (1..=TIMES as u64).rev().map(Duration::from_secs).collect();
    assert_eq!(passwords.dearest.lock().takes(), Duration::from_secs(8));
    let begun = cpu_time();
    assert!(passwords.verify("wrong", None).is_err());
    let longest = cpu_time() - begun;
    let dearest = passwords.dearest.lock();
    assert!((longest / 2..=longest).contains(&dearest.times[0]), "{:?} of {longest:?}", dearest.times);
    assert!(
        dearest.times.iter().copied().skip(1).eq((2..=TIMES as u64).rev().map(Duration::from_secs)),
        "the oldest goes"
    );
}
