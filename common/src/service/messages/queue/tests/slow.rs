//! Commits that are slow or stuck, beside those of other chats.

use super::*;

#[tokio::test(start_paused = true)]
async fn a_slow_commit_holds_up_its_own_chats_only() {
    let rig = rig(|_| Ok(()));
    let slow = rig.send(in_chat(STUCK, "slow"));
    rig.until_begun(1).await;
    let other = rig.send(in_chat(ChatId(1), "other"));
    let same = rig.send(in_chat(STUCK, "same"));
    rig.until_waiting(2).await;
    tokio::time::sleep(SLOW / 2).await;
    assert_eq!(rig.begun.available_permits(), 0, "it may yet be quick");
    // The clock stands still but while all wait: after SLOW.
    rig.until_begun(1).await;
    rig.gate.add_permits(1);
    other.await.unwrap().unwrap();
    rig.gate.add_permits(1);
    let asked = Instant::now();
    rig.send(in_chat(ChatId(2), "later")).await.unwrap().unwrap();
    assert_eq!(asked.elapsed(), Duration::ZERO, "it waits for no clock");
    assert!(!slow.is_finished() && !same.is_finished());
    rig.stuck.add_permits(2);
    slow.await.unwrap().unwrap();
    same.await.unwrap().unwrap();
    let texts: Vec<_> = rig.fake.batches.lock().iter().flatten().map(|message| message.text.clone()).collect();
    assert_eq!(texts, ["other", "later", "slow", "same"]);
}

#[tokio::test(start_paused = true)]
async fn only_so_many_commits_run_at_once() {
    let rig = rig(|_| Ok(()));
    let mut stuck = Vec::new();
    for chat in 0..=i64::try_from(AT_ONCE).unwrap() {
        stuck.push(rig.send(in_chat(ChatId(STUCK.0 + chat), "stuck")));
        tokio::time::sleep(SLOW * 2).await;
    }
    assert_eq!(rig.begun.available_permits(), AT_ONCE);
    rig.stuck.add_permits(1);
    rig.until_begun(u32::try_from(AT_ONCE).unwrap() + 1).await;
    rig.stuck.add_permits(AT_ONCE);
    for send in stuck {
        send.await.unwrap().unwrap();
    }
}

#[tokio::test(start_paused = true)]
async fn a_chat_that_cannot_be_come_by_is_refused_alone() {
    let rig = rig(|batch| if is_stuck(batch) { Err(Error::unavailable("locked")) } else { Ok(()) });
    let slow = rig.send(in_chat(STUCK, "slow"));
    rig.until_begun(1).await;
    rig.gate.add_permits(1);
    rig.send(in_chat(ChatId(1), "other")).await.unwrap().unwrap();
    let beside = rig.send(in_chat(ChatId(1), "beside"));
    rig.until_begun(2).await;
    let too_late = rig.send(in_chat(ChatId(1), "too late"));
    tokio::time::sleep(ANOTHER_TRY + SLOW).await;
    let (same, behind) = (rig.send(in_chat(STUCK, "same")), rig.send(in_chat(ChatId(1), "behind")));
    tokio::time::sleep(SLOW).await;
    rig.stuck.add_permits(1);
    for refused in [slow, same, too_late] {
        assert!(matches!(refused.await.unwrap(), Err(Error::Unavailable(_))));
    }
    rig.gate.add_permits(2);
    for send in [beside, behind] {
        send.await.unwrap().unwrap();
    }
}

#[tokio::test(start_paused = true)]
async fn a_chat_that_was_not_come_by_takes_no_other_with_it_again() {
    let rig = rig(|batch| if is_stuck(batch) { Err(Error::unavailable("locked")) } else { Ok(()) });
    let first = rig.send(in_chat(ChatId(3), "first"));
    rig.until_begun(1).await;
    let (stuck, beside) = (rig.send(in_chat(STUCK, "stuck")), rig.send(in_chat(ChatId(1), "beside")));
    rig.until_waiting(2).await;
    rig.gate.add_permits(2);
    first.await.unwrap().unwrap();
    rig.until_begun(1).await;
    rig.send(in_chat(ChatId(2), "other")).await.unwrap().unwrap();
    rig.until_begun(1).await;
    rig.stuck.add_permits(1);
    for refused in [stuck, beside] {
        assert!(matches!(refused.await.unwrap(), Err(Error::Unavailable(_))), "in one batch, once");
    }
    let (stuck, beside) = (rig.send(in_chat(STUCK, "stuck")), rig.send(in_chat(ChatId(1), "beside")));
    rig.gate.add_permits(1);
    beside.await.unwrap().unwrap();
    assert!(!stuck.is_finished());
    let batches: Vec<usize> = rig.sizes();
    assert_eq!(batches, [1, 1, 2, 1]);
    rig.stuck.add_permits(1);
    assert!(matches!(stuck.await.unwrap(), Err(Error::Unavailable(_))));
}

#[tokio::test(start_paused = true)]
async fn chats_that_cannot_be_come_by_leave_a_commit_to_the_others() {
    let rig = rig(|batch| if is_stuck(batch) { Err(Error::unavailable("locked")) } else { Ok(()) });
    rig.gate.add_permits(100);
    let stuck = |rig: &Rig| -> Vec<_> { (0..6).map(|n| rig.send(in_chat(ChatId(STUCK.0 + n), "stuck"))).collect() };
    let first = stuck(&rig);
    rig.until_begun(1).await;
    rig.send(in_chat(ChatId(1), "other")).await.unwrap().unwrap();
    rig.stuck.add_permits(1);
    for refused in first {
        refused.await.unwrap().unwrap_err();
    }
    let again = stuck(&rig);
    tokio::time::sleep(SLOW * 10).await;
    rig.send(in_chat(ChatId(1), "other")).await.unwrap().unwrap();
    assert!(again.iter().all(|send| !send.is_finished()));
    rig.stuck.add_permits(6);
    for refused in again {
        refused.await.unwrap().unwrap_err();
    }
}
