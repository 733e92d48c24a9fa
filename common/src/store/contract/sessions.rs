//! Login sessions.

use super::*;

contract!(
    a_refresh_token_is_spent_once,
    an_ended_expired_or_unknown_session_goes_on_for_nobody,
    ended_sessions_are_told_for_a_while,
    of_two_at_once_one_is_rotated,
);

async fn a_refresh_token_is_spent_once(at: Fixture) {
    let ann = at.user().await;
    let session = at.store.create_session(ann.id, HASH, HOUR).await.unwrap();
    assert_eq!((session.user_id, session.generation), (ann.id, 0));
    for generation in 0..3 {
        let rotated = at.store.rotate_session(session.id, generation, HOUR).await.unwrap();
        assert_eq!(rotated, Rotation::Rotated(Session { generation: generation + 1, ..session }, ann.clone()));
    }
    let reused = at.store.rotate_session(session.id, 1, HOUR).await.unwrap();
    assert_eq!(reused, Rotation::Reused(Session { generation: 3, ..session }));
    assert_eq!(at.store.rotate_session(session.id, 3, HOUR).await.unwrap(), Rotation::Ended);
    assert_eq!(at.store.rotate_session(session.id, 1, HOUR).await.unwrap(), Rotation::Ended);
}

async fn an_ended_expired_or_unknown_session_goes_on_for_nobody(at: Fixture) {
    let ann = at.user().await;
    let ended = at.store.create_session(ann.id, HASH, HOUR).await.unwrap();
    at.store.end_session(ended.id).await.unwrap();
    at.store.end_session(ended.id).await.unwrap();
    at.store.end_session(SessionId(-1)).await.unwrap();
    let expired = at.store.create_session(ann.id, HASH, Duration::ZERO).await.unwrap();
    for (id, generation) in [(ended.id, 0), (expired.id, 0), (SessionId(-1), 0)] {
        assert_eq!(at.store.rotate_session(id, generation, HOUR).await.unwrap(), Rotation::Ended);
    }
    let live = at.store.create_session(ann.id, HASH, HOUR).await.unwrap();
    assert_eq!(at.store.rotate_session(live.id, 1, HOUR).await.unwrap(), Rotation::Ended);
    // A rotation under a short life is kept: the next one is late.
    assert!(matches!(at.store.rotate_session(live.id, 0, Duration::ZERO).await.unwrap(), Rotation::Rotated(..)));
    assert_eq!(at.store.rotate_session(live.id, 1, HOUR).await.unwrap(), Rotation::Ended);
}

async fn ended_sessions_are_told_for_a_while(at: Fixture) {
    let ann = at.user().await;
    let session = at.store.create_session(ann.id, HASH, HOUR).await.unwrap();
    assert_eq!(at.store.sessions_ended_within(HOUR).await.unwrap(), []);
    at.store.end_session(session.id).await.unwrap();
    let ended = EndedSession { id: session.id, user_id: ann.id, disabled: false };
    assert_eq!(at.store.sessions_ended_within(HOUR).await.unwrap(), [ended]);
    assert_eq!(at.store.sessions_ended_within(Duration::ZERO).await.unwrap(), []);
}

async fn of_two_at_once_one_is_rotated(at: Fixture) {
    let ann = at.user().await;
    for _ in 0..5 {
        let session = at.store.create_session(ann.id, HASH, HOUR).await.unwrap();
        let tries: Vec<_> = (0..6)
            .map(|_| {
                let store = Arc::clone(&at.store);
                tokio::spawn(async move { store.rotate_session(session.id, 0, HOUR).await.unwrap() })
            })
            .collect();
        let (mut rotated, mut reused, mut ended) = (0, 0, 0);
        for one in tries {
            match one.await.unwrap() {
                Rotation::Rotated(..) => rotated += 1,
                Rotation::Reused(_) => reused += 1,
                Rotation::Ended => ended += 1,
                Rotation::Disabled => panic!("the account is active"),
            }
        }
        assert_eq!((rotated, reused, ended), (1, 1, 4));
    }
}
