//! Login sessions.

use super::*;

contract!(
    the_last_token_is_taken_once_more,
    a_token_of_another_user_or_key_is_nobodys,
    no_session_outlives_ninety_days,
    a_refresh_token_is_spent_once,
    an_ended_expired_or_unknown_session_goes_on_for_nobody,
    ended_sessions_are_told_for_a_while,
    of_many_at_once_one_is_rotated_and_one_repeated,
    open_sessions_are_listed_by_page,
    a_session_is_ended_by_its_user_alone,
    all_but_one_end_together,
    of_too_many_the_ones_used_least_end,
    a_login_beside_as_many_as_one_may_have_is_kept,
);

async fn of_too_many_the_ones_used_least_end(at: Fixture) {
    let (ann, ben) = (at.user().await, at.user().await);
    let open = async |user: &User| at.store.create_session(user.id, HASH, KEY, HOUR, None).await.unwrap();
    let bens = open(&ben).await;
    let (first, second) = (open(&ann).await, open(&ann).await);
    assert!(matches!(at.store.rotate_session(first, HOUR).await.unwrap(), Rotation::Rotated(..)));
    for _ in 2..MOST_SESSIONS {
        open(&ann).await;
    }
    assert_eq!(at.store.sessions_ended_within(HOUR).await.unwrap(), [], "as many as one may have");
    let refused = at.store.create_session(ann.id, "another hash", KEY, HOUR, None).await;
    assert_eq!(code(refused), "bad_credentials");
    assert_eq!(at.store.sessions_ended_within(HOUR).await.unwrap(), [], "none was opened");
    open(&ann).await;
    let ended = EndedSession { id: second.id, user_id: ann.id, disabled: false };
    assert_eq!(at.store.sessions_ended_within(HOUR).await.unwrap(), [ended], "the first was refreshed since");
    assert!(at.store.sessions(&[bens.id]).await.unwrap()[0].is_some_and(|holder| !holder.ended));
    // Of an earlier release: each login ends a bounded part of them, and no refreshed one.
    let many = "with recursive n (n) as (select 1 union all select n + 1 from n where n < 1000)";
    let (user, columns) = (ann.id, "user_id, key_hash, created_at, expires_at");
    at.sql(&format!(
        "insert into sessions ({columns}) {many} select s.user_id, s.key_hash, s.created_at, s.expires_at
         from sessions s cross join n where s.id = {} and s.user_id = {user}",
        first.id
    ))
    .await;
    for ended in [101, 201] {
        open(&ann).await;
        assert_eq!(at.store.sessions_ended_within(HOUR).await.unwrap().len(), ended);
    }
    assert!(at.store.sessions(&[first.id]).await.unwrap()[0].is_some_and(|holder| !holder.ended));
}

async fn a_login_beside_as_many_as_one_may_have_is_kept(at: Fixture) {
    let ann = at.user().await;
    let open = async || at.store.create_session(ann.id, HASH, KEY, HOUR, None).await.unwrap();
    let first = open().await;
    for _ in 1..MOST_SESSIONS {
        open().await;
    }
    // All were used since, the first of them longest ago.
    at.sql("update sessions set rotated_at = created_at").await;
    let last = open().await;
    let ended = EndedSession { id: first.id, user_id: ann.id, disabled: false };
    assert_eq!(at.store.sessions_ended_within(HOUR).await.unwrap(), [ended]);
    assert!(matches!(at.store.rotate_session(last, HOUR).await.unwrap(), Rotation::Rotated(..)));
}

async fn a_refresh_token_is_spent_once(at: Fixture) {
    let ann = at.user().await;
    let session = at.store.create_session(ann.id, HASH, KEY, HOUR, None).await.unwrap();
    assert_eq!((session.user_id, session.generation), (ann.id, 0));
    for generation in 0..3 {
        let rotated = at.store.rotate_session(Session { generation, ..session }, HOUR).await.unwrap();
        assert_eq!(rotated, Rotation::Rotated(Session { generation: generation + 1, ..session }, ann.clone()));
    }
    let reused = at.store.rotate_session(Session { generation: 1, ..session }, HOUR).await.unwrap();
    assert_eq!(reused, Rotation::Reused(Session { generation: 3, ..session }));
    assert_eq!(at.store.rotate_session(Session { generation: 3, ..session }, HOUR).await.unwrap(), Rotation::Ended);
    assert_eq!(at.store.rotate_session(Session { generation: 1, ..session }, HOUR).await.unwrap(), Rotation::Ended);
}

async fn an_ended_expired_or_unknown_session_goes_on_for_nobody(at: Fixture) {
    let ann = at.user().await;
    let ended = at.store.create_session(ann.id, HASH, KEY, HOUR, None).await.unwrap();
    at.store.end_session(ended.id).await.unwrap();
    at.store.end_session(ended.id).await.unwrap();
    at.store.end_session(SessionId(-1)).await.unwrap();
    let expired = at.store.create_session(ann.id, HASH, KEY, Duration::ZERO, None).await.unwrap();
    for token in [ended, expired, Session { id: SessionId(-1), ..ended }] {
        assert_eq!(at.store.rotate_session(token, HOUR).await.unwrap(), Rotation::Ended);
    }
    let live = at.store.create_session(ann.id, HASH, KEY, HOUR, None).await.unwrap();
    assert_eq!(at.store.rotate_session(Session { generation: 1, ..live }, HOUR).await.unwrap(), Rotation::Ended);
    // A rotation under a short life is kept: the next one is late.
    assert!(matches!(
        at.store.rotate_session(Session { generation: 0, ..live }, Duration::ZERO).await.unwrap(),
        Rotation::Rotated(..)
    ));
    assert_eq!(at.store.rotate_session(Session { generation: 1, ..live }, HOUR).await.unwrap(), Rotation::Ended);
}

async fn ended_sessions_are_told_for_a_while(at: Fixture) {
    let ann = at.user().await;
    let session = at.store.create_session(ann.id, HASH, KEY, HOUR, None).await.unwrap();
    assert_eq!(at.store.sessions_ended_within(HOUR).await.unwrap(), []);
    at.store.end_session(session.id).await.unwrap();
    let ended = EndedSession { id: session.id, user_id: ann.id, disabled: false };
    assert_eq!(at.store.sessions_ended_within(HOUR).await.unwrap(), [ended]);
    assert_eq!(at.store.sessions_ended_within(Duration::ZERO).await.unwrap(), []);
}

async fn the_last_token_is_taken_once_more(at: Fixture) {
    let ann = at.user().await;
    let first = at.store.create_session(ann.id, HASH, KEY, HOUR, None).await.unwrap();
    let second = Session { generation: 1, ..first };
    let rotated = Rotation::Rotated(second, ann.clone());
    for _ in 0..2 {
        assert_eq!(at.store.rotate_session(first, HOUR).await.unwrap(), rotated, "the same successor");
    }
    let third = Session { generation: 2, ..first };
    assert_eq!(at.store.rotate_session(second, HOUR).await.unwrap(), Rotation::Rotated(third, ann.clone()));
    // Its successor was used.
    assert_eq!(at.store.rotate_session(first, HOUR).await.unwrap(), Rotation::Reused(third));
    let first = at.store.create_session(ann.id, HASH, KEY, HOUR, None).await.unwrap();
    for _ in 0..2 {
        assert!(matches!(at.store.rotate_session(first, HOUR).await.unwrap(), Rotation::Rotated(..)));
    }
    assert!(matches!(at.store.rotate_session(first, HOUR).await.unwrap(), Rotation::Reused(_)), "the third time");
}

async fn a_token_of_another_user_or_key_is_nobodys(at: Fixture) {
    let (ann, ben) = (at.user().await, at.user().await);
    let session = at.store.create_session(ann.id, HASH, KEY, HOUR, None).await.unwrap();
    let other = SessionKey::new([8; 16]);
    for token in [Session { user_id: ben.id, ..session }, Session { key: other, ..session }] {
        assert_eq!(at.store.rotate_session(token, HOUR).await.unwrap(), Rotation::Ended);
    }
    let holder = Holder { user_id: ann.id, key_hash: Some(KEY.hash()), ended: false, disabled: false };
    let bens = at.store.create_session(ben.id, HASH, KEY, HOUR, None).await.unwrap();
    let asked = [bens.id, SessionId(-1), session.id, bens.id];
    let of_ben = Holder { user_id: ben.id, ..holder };
    assert_eq!(at.store.sessions(&asked).await.unwrap(), [Some(of_ben), None, Some(holder), Some(of_ben)]);
    assert_eq!(at.store.sessions(&[]).await.unwrap(), []);
    assert!(matches!(at.store.rotate_session(session, HOUR).await.unwrap(), Rotation::Rotated(..)), "it lives");
    at.store.end_session(session.id).await.unwrap();
    assert_eq!(at.store.sessions(&[session.id]).await.unwrap(), [Some(Holder { ended: true, ..holder })]);
}

async fn no_session_outlives_ninety_days(at: Fixture) {
    const YEAR: Duration = Duration::from_hours(365 * 24);
    let ann = at.user().await;
    let session = at.store.create_session(ann.id, HASH, KEY, YEAR, None).await.unwrap();
    let day = match at.raw {
        Raw::Sqlite(..) => "86400000000",
        Raw::Postgres(_) => "interval '1 day'",
    };
    // The two times are of one moment, read one after the other.
    let late = format!("select count(*) from sessions where expires_at > created_at + 91 * {day}");
    assert_eq!(at.number(&late).await, 0, "from the start");
    at.sql(&format!("update sessions set created_at = {}", at.long_ago())).await;
    let rotated = at.store.rotate_session(session, YEAR).await.unwrap();
    let Rotation::Rotated(next, _) = rotated else { panic!("{rotated:?}") };
    assert_eq!(at.store.rotate_session(next, YEAR).await.unwrap(), Rotation::Ended);
}

async fn of_many_at_once_one_is_rotated_and_one_repeated(at: Fixture) {
    let ann = at.user().await;
    for _ in 0..5 {
        let session = at.store.create_session(ann.id, HASH, KEY, HOUR, None).await.unwrap();
        let tries: Vec<_> = (0..6)
            .map(|_| {
                let store = Arc::clone(&at.store);
                tokio::spawn(
                    async move { store.rotate_session(Session { generation: 0, ..session }, HOUR).await.unwrap() },
                )
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
        // One is the first, one a repetition whose answer may have been lost.
        assert_eq!((rotated, reused, ended), (2, 1, 3));
    }
}

async fn listed(at: &Fixture, user: &User) -> Vec<OpenSession> {
    let page = PageRequest { cursor: None, limit: 100 };
    at.store.sessions_of(user.id, &page).await.unwrap().items
}

async fn open_sessions_are_listed_by_page(at: Fixture) {
    let (ann, ben) = (at.user().await, at.user().await);
    let mut ids = Vec::new();
    for agent in [Some("a browser ü"), None, Some("a phone")] {
        ids.push(at.store.create_session(ann.id, HASH, KEY, HOUR, agent).await.unwrap());
    }
    at.store.create_session(ben.id, HASH, KEY, HOUR, None).await.unwrap();
    at.store.create_session(ann.id, HASH, KEY, Duration::ZERO, None).await.unwrap();
    let ended = at.store.create_session(ann.id, HASH, KEY, HOUR, None).await.unwrap();
    at.store.end_session(ended.id).await.unwrap();
    let (mut cursor, mut found) = (None, Vec::new());
    loop {
        let page = at.store.sessions_of(ann.id, &PageRequest { cursor, limit: 2 }).await.unwrap();
        found.extend(page.items);
        cursor = page.next_cursor;
        if cursor.is_none() {
            break;
        }
    }
    let newest_first: Vec<_> = ids.iter().rev().map(|session| session.id).collect();
    assert_eq!(found.iter().map(|session| session.id).collect::<Vec<_>>(), newest_first);
    let agents: Vec<_> = found.iter().map(|session| session.user_agent.as_deref()).collect();
    assert_eq!(agents, [Some("a phone"), None, Some("a browser ü")]);
    assert!(found.iter().all(|session| session.last_used_at == session.created_at));
    at.store.rotate_session(ids[0], HOUR).await.unwrap();
    let rotated = &listed(&at, &ann).await[2];
    assert!(rotated.id == ids[0].id && rotated.last_used_at > rotated.created_at);
    let foreign = PageRequest { cursor: Some("m1".into()), limit: 2 };
    assert_eq!(code(at.store.sessions_of(ann.id, &foreign).await), "invalid");
}

async fn a_session_is_ended_by_its_user_alone(at: Fixture) {
    let (ann, ben) = (at.user().await, at.user().await);
    let session = at.store.create_session(ann.id, HASH, KEY, HOUR, None).await.unwrap();
    let expired = at.store.create_session(ann.id, HASH, KEY, Duration::ZERO, None).await.unwrap();
    assert!(!at.store.end_session_of(ben.id, session.id).await.unwrap());
    assert!(!at.store.end_session_of(ann.id, SessionId(-1)).await.unwrap());
    assert!(!at.store.end_session_of(ann.id, expired.id).await.unwrap());
    assert_eq!(listed(&at, &ann).await.len(), 1);
    assert!(at.store.end_session_of(ann.id, session.id).await.unwrap());
    assert!(!at.store.end_session_of(ann.id, session.id).await.unwrap());
    assert_eq!(listed(&at, &ann).await, []);
    assert_eq!(at.store.rotate_session(session, HOUR).await.unwrap(), Rotation::Ended);
    let ended = EndedSession { id: session.id, user_id: ann.id, disabled: false };
    assert_eq!(at.store.sessions_ended_within(HOUR).await.unwrap(), [ended]);
}

async fn all_but_one_end_together(at: Fixture) {
    let (ann, ben) = (at.user().await, at.user().await);
    let keep = at.store.create_session(ann.id, HASH, KEY, HOUR, None).await.unwrap();
    let bens = at.store.create_session(ben.id, HASH, KEY, HOUR, None).await.unwrap();
    let mut others = Vec::new();
    for _ in 0..3 {
        others.push(at.store.create_session(ann.id, HASH, KEY, HOUR, None).await.unwrap().id);
    }
    let mut ended = at.store.end_other_sessions(ann.id, keep.id).await.unwrap();
    ended.sort_unstable();
    assert_eq!(ended, others);
    assert_eq!(at.store.end_other_sessions(ann.id, keep.id).await.unwrap(), []);
    assert_eq!(listed(&at, &ann).await.iter().map(|session| session.id).collect::<Vec<_>>(), [keep.id]);
    assert_eq!(listed(&at, &ben).await[0].id, bens.id);
}
