use super::*;
use std::future::pending;

async fn bounded<T>(future: impl Future<Output = T>) -> T {
    tokio::time::timeout(Duration::from_secs(5), future).await.expect("in time")
}

#[tokio::test]
async fn a_drain_that_goes_well_is_code_0_and_in_order() {
    let life = Lifecycle::with_drain(Duration::from_secs(1));
    let order = Arc::new(Mutex::new(Vec::new()));
    let (o, stopping) = (order.clone(), life.stopping());
    life.spawn_to_end("long", async move {
        stopping.cancelled().await;
        o.lock().push("long");
    });
    let (tx, rx) = tokio::sync::oneshot::channel::<()>();
    let o = order.clone();
    let work = life.spawn_task("work", async move {
        rx.await.expect("sent");
        o.lock().push("work");
        7
    });
    assert!(life.readiness().is_ready());
    life.begin_drain();
    assert!(!life.readiness().is_ready());
    let (o, stopping) = (order.clone(), life.stopping());
    let drained = async move {
        assert!(!stopping.is_cancelled());
        o.lock().push("drained");
        tx.send(()).expect("waited for");
    };
    assert_eq!(bounded(life.finish(drained)).await, ExitReason::Done);
    assert_eq!(*order.lock(), ["drained", "work", "long"]);
    assert_eq!(work.await.expect("no panic"), 7);
}

#[tokio::test]
async fn a_drain_waits_for_what_a_long_lived_task_has_still_to_begin() {
    let life = Lifecycle::with_drain(Duration::from_secs(1));
    let (held, taking) = (life.hold_drain(), life.clone());
    let (tx, rx) = tokio::sync::oneshot::channel();
    life.spawn("taking", async move {
        let _held = held;
        taking.draining().cancelled().await;
        // The drain has looked for running work by now.
        for _ in 0..10 {
            tokio::task::yield_now().await;
        }
        let stopping = taking.stopping();
        drop(taking.spawn_task("last", async move { tx.send(stopping.is_cancelled()) }));
    });
    life.begin_drain();
    assert_eq!(bounded(life.finish(async {})).await, ExitReason::Done);
    assert_eq!(rx.await, Ok(false), "the last work ran before everything ended");
}

#[tokio::test]
async fn a_long_lived_task_that_ends_or_panics_stops_the_process_with_a_failure() {
    let life = Lifecycle::new();
    life.spawn("ended", async {});
    let reason = bounded(life.finish(pending())).await;
    assert_eq!(reason, ExitReason::TaskDied("ended"));
    assert_ne!(reason.code(), 0);

    let life = Lifecycle::new();
    life.spawn("panicked", async { panic!("on purpose") });
    assert_eq!(bounded(life.finish(pending())).await, ExitReason::TaskDied("panicked"));
}

#[tokio::test]
async fn a_panic_while_draining_is_still_a_failure() {
    let life = Lifecycle::new();
    let draining = life.draining();
    life.spawn("late", async move {
        draining.cancelled().await;
        panic!("on purpose");
    });
    life.begin_drain();
    assert_eq!(bounded(life.finish(pending())).await, ExitReason::TaskDied("late"));
}

#[tokio::test]
async fn a_panic_in_short_work_is_its_own() {
    let life = Lifecycle::new();
    let work = life.spawn_task("work", async { panic!("on purpose") });
    assert!(bounded(work).await.expect_err("panicked").is_panic());
    assert!(!life.stopping().is_cancelled());
}

fn impatient() -> Lifecycle {
    Lifecycle::with_margin(Duration::from_millis(20), Duration::from_millis(20))
}

#[tokio::test]
async fn a_task_is_dropped_at_the_end_and_one_that_finishes_is_waited_for() {
    let life = Lifecycle::new();
    life.spawn("dropped", pending());
    let (release, released) = tokio::sync::oneshot::channel::<()>();
    life.spawn_to_end("finishing", async move { released.await.expect("released") });
    life.begin_drain();
    let stopping = life.stopping();
    let mut end = std::pin::pin!(life.finish(async {}));
    tokio::select! {
        () = stopping.cancelled() => {}
        reason = end.as_mut() => panic!("{reason:?} before the task had finished"),
    }
    release.send(()).expect("waited for");
    assert_eq!(bounded(end).await, ExitReason::Done);
}

#[tokio::test]
async fn a_drain_over_its_deadline_is_another_code() {
    let life = impatient();
    life.begin_drain();
    assert_eq!(life.finish(pending()).await, ExitReason::Deadline);
}

#[tokio::test]
async fn a_task_that_does_not_stop_is_another_code() {
    let life = impatient();
    life.spawn_to_end("deaf", pending());
    life.begin_drain();
    assert_eq!(life.finish(async {}).await, ExitReason::Deadline);
}

#[tokio::test]
async fn a_second_signal_waits_for_nothing() {
    let life = Lifecycle::new();
    life.spawn_to_end("deaf", pending());
    let signalled = life.clone();
    let signals = Signals::catch().expect("caught");
    life.spawn("signals", async move { signalled.wait_signals(signals).await });
    let own = nix::unistd::Pid::this();
    nix::sys::signal::kill(own, nix::sys::signal::Signal::SIGTERM).expect("sent");
    bounded(life.draining().cancelled()).await;
    assert!(!life.stopping().is_cancelled());
    nix::sys::signal::kill(own, nix::sys::signal::Signal::SIGTERM).expect("sent");
    assert_eq!(bounded(life.finish(pending())).await, ExitReason::SecondSignal);
}
