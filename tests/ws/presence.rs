//! Presence: published in the chats that a user is in, answered by any gateway.

use std::time::{Duration, Instant};

use crate::support::deployment::Builder;
use crate::support::{Deployment, SOON, User, Value, Ws, eventually, json};

both_forms!(
    coming_online_is_told_once,
    one_is_not_told_of_oneself,
    status_goes_only_to_chats_that_the_user_is_in,
    the_status_of_one_in_many_chats_waits_for_nobody,
    those_online_are_listed_at_any_gateway,
    a_chats_members_online_are_listed_for_members,
    the_list_of_those_online_is_paged,
);

both_forms_alone!(
    going_offline_is_told_once_after_the_grace,
    who_comes_back_within_the_grace_never_went,
    a_large_chat_tells_no_status,
);

fn is_status(user: &User, status: &str) -> impl Fn(&Value) -> bool {
    let (id, status) = (user.id, status.to_owned());
    move |frame| frame["type"] == "user_status" && frame["user_id"] == id && frame["status"] == status.as_str()
}

async fn expect_status(ws: &mut Ws, user: &User, status: &str) -> Value {
    let what = format!("user_status {status} of {}", user.username);
    ws.expect_where(&what, SOON, is_status(user, status)).await
}

async fn coming_online_is_told_once(d: &Deployment) {
    let (ann, bob) = (d.user().await, d.user().await);
    let (chat_id, second) = (ann.group_id(&[&bob]).await, ann.group_id(&[&bob]).await);
    let mut ws = ann.connect_to(0).await;
    ws.subscribe(chat_id).await;
    let _bob = bob.connect_to(1).await;
    let told = expect_status(&mut ws, &bob, "online").await;
    assert_eq!(told["username"], bob.username.as_str());
    assert!(told.get("last_seen_at").is_some(), "{told}");
    assert!(told["seq"].is_null(), "not numbered: {told}");
    // further connections, on either gateway, tell nothing
    let _more = [bob.connect_to(0).await, bob.connect_to(1).await];
    ann.say(chat_id, "a while later").await;
    ws.expect("new_message").await;
    ws.none_of(&["user_status"]).await;
    // nor does a second chat that both are in double it
    ws.subscribe(second).await;
    let eve = d.user().await;
    eve.join(chat_id).await;
    eve.join(second).await;
    let _eve = eve.connect().await;
    expect_status(&mut ws, &eve, "online").await;
    ann.say(chat_id, "later still").await;
    ws.expect("new_message").await;
    ws.none_of(&["user_status"]).await;
}

async fn one_is_not_told_of_oneself(d: &Deployment) {
    let (ann, bob) = (d.user().await, d.user().await);
    let chat_id = ann.group_id(&[&bob]).await;
    let mut ws = ann.connect_to(0).await;
    ws.subscribe(chat_id).await;
    let mut second = ann.connect_to(1).await;
    second.subscribe(chat_id).await;
    let _bob = bob.connect().await;
    for ws in [&mut ws, &mut second] {
        expect_status(ws, &bob, "online").await;
        ws.none_of(&["user_status"]).await;
    }
}

async fn status_goes_only_to_chats_that_the_user_is_in(d: &Deployment) {
    let (ann, bob, eve) = (d.user().await, d.user().await, d.user().await);
    let (with_bob, with_eve) = (ann.group_id(&[&bob]).await, ann.group_id(&[&eve]).await);
    let mut ws = ann.connect_to(0).await;
    ws.subscribe(with_eve).await;
    let _bob = bob.connect_to(0).await;
    let _eve = eve.connect_to(0).await;
    expect_status(&mut ws, &eve, "online").await;
    ws.none_of(&["user_status"]).await;
    let subscribed = ws.subscribe(with_bob).await;
    let online = subscribed["online_user_ids"].as_array().unwrap();
    assert!(online.contains(&json!(bob.id)) && !online.contains(&json!(eve.id)), "{subscribed}");
}

/// The pages of the list at `path`, as the `n`th gateway tells them.
async fn online(user: &User, path: &str, n: usize) -> (Vec<Value>, i64) {
    let rest = user.rest.on(n);
    let (mut items, mut next) = (Vec::new(), format!("{path}?limit=100"));
    loop {
        let page = rest.get(&next).await.ok(200);
        items.extend(page["items"].as_array().unwrap().iter().cloned());
        match page["next_cursor"].as_str() {
            Some(cursor) => next = format!("{path}?limit=100&cursor={cursor}"),
            None => return (items, page["count"].as_i64().expect("a count")),
        }
    }
}

fn entry_of<'a>(items: &'a [Value], user: &User) -> Option<&'a Value> {
    items.iter().find(|item| item["user_id"] == user.id)
}

/// Such users are announced apart from the others.
async fn the_status_of_one_in_many_chats_waits_for_nobody(d: &Deployment) {
    let (ann, bob, eve) = (d.user().await, d.user().await, d.user().await);
    let chat_id = ann.group_id(&[&bob, &eve]).await;
    for (user, chats) in [(&bob, 1100), (&eve, 110)] {
        let statements = format!(
            "insert into chats (is_group, name, created_at, active_at, member_count)
                 with recursive i(n) as (select 1 union all select n + 1 from i where n < {chats})
                 select is_group, 'of {0}', created_at, active_at, 1 from i, chats where id = {chat_id};
             insert into members (chat_id, user_id, role, joined_at)
                 select id, {0}, 1, active_at from chats where name = 'of {0}'",
            user.id
        );
        d.execute(&statements).await;
    }
    let mut ws = ann.connect_to(0).await;
    ws.subscribe(chat_id).await;
    for user in [&bob, &eve] {
        let _connection = user.connect_to(1).await;
        expect_status(&mut ws, user, "online").await;
    }
    for user in [&bob, &eve] {
        expect_status(&mut ws, user, "offline").await;
    }
}

async fn those_online_are_listed_at_any_gateway(d: &Deployment) {
    let (ann, bob, away) = (d.user().await, d.user().await, d.user().await);
    let _sockets = [ann.connect_to(0).await, bob.connect_to(1).await, bob.connect_to(0).await];
    for gateway in 0..2 {
        let (items, count) = online(&ann, "/ws/online-users", gateway).await;
        for user in [&ann, &bob] {
            let entry = entry_of(&items, user).expect("who is online");
            assert_eq!(entry["username"], user.username.as_str());
            crate::rest::assert_time(&entry["since"]);
            assert_eq!(entry.as_object().unwrap().len(), 3, "{entry}");
            let times = items.iter().filter(|item| item["user_id"] == user.id).count();
            assert_eq!(times, 1, "each once");
        }
        assert!(entry_of(&items, &away).is_none(), "{items:?}");
        assert!(count >= 2, "{count}");
    }
    d.rest().get("/ws/online-users").await.problem(401, "unauthenticated");
}

async fn a_chats_members_online_are_listed_for_members(d: &Deployment) {
    let (ann, bob, eve) = (d.user().await, d.user().await, d.user().await);
    let chat_id = ann.group_id(&[&bob]).await;
    let _sockets = [bob.connect_to(1).await, eve.connect_to(0).await];
    let path = format!("/ws/chat/{chat_id}/online-users");
    for gateway in 0..2 {
        let (items, count) = online(&ann, &path, gateway).await;
        assert_eq!((items.len(), count), (1, 1), "{items:?}");
        assert!(entry_of(&items, &bob).is_some());
        eve.rest.on(gateway).get(&path).await.problem(403, "not_a_member");
    }
    ann.rest.get("/ws/chat/999999999/online-users").await.problem(404, "chat_not_found");
    let seen = ann.rest.get(&format!("/users/{}", bob.id)).await.ok(200);
    assert_eq!(seen["online"], true);
}

async fn the_list_of_those_online_is_paged(d: &Deployment) {
    let ann = d.user().await;
    let chat_id = ann.group_id(&[]).await;
    let mut sockets = Vec::new();
    for n in 0..5 {
        let user = d.user().await;
        user.join(chat_id).await;
        sockets.push((user.connect_to(n).await, user.id));
    }
    let path = format!("/ws/chat/{chat_id}/online-users");
    let (mut found, mut next) = (Vec::new(), format!("{path}?limit=2"));
    loop {
        let page = ann.rest.get(&next).await.ok(200);
        assert_eq!(page["count"], 5, "of all pages: {page}");
        let items = page["items"].as_array().unwrap();
        assert!(items.len() <= 2);
        found.extend(items.iter().map(|item| item["user_id"].as_i64().unwrap()));
        match page["next_cursor"].as_str() {
            Some(cursor) => next = format!("{path}?limit=2&cursor={cursor}"),
            None => break,
        }
    }
    found.sort_unstable();
    assert_eq!(found, sockets.iter().map(|(_, id)| *id).collect::<Vec<_>>());
}

async fn going_offline_is_told_once_after_the_grace(builder: Builder) {
    let d = builder.env("PRESENCE_GRACE_SECONDS", 2).start().await;
    let (ann, bob) = (d.user().await, d.user().await);
    let chat_id = ann.group_id(&[&bob]).await;
    let mut ws = ann.connect_to(0).await;
    ws.subscribe(chat_id).await;
    let (first, second) = (bob.connect_to(0).await, bob.connect_to(1).await);
    expect_status(&mut ws, &bob, "online").await;
    first.close().await;
    ws.none_of(&["user_status"]).await;
    second.close().await;
    let gone = Instant::now();
    let told = expect_status(&mut ws, &bob, "offline").await;
    let after = gone.elapsed();
    assert!((1500..6000).contains(&after.as_millis()), "told after {after:?}");
    crate::rest::assert_time(&told["last_seen_at"]);
    let seen = ann.rest.get(&format!("/users/{}", bob.id)).await.ok(200);
    assert_eq!(seen["online"], false);
    crate::rest::assert_time(&seen["last_seen_at"]);
    let (items, _) = online(&ann, "/ws/online-users", 1).await;
    assert!(entry_of(&items, &bob).is_none());
    let _again = bob.connect_to(1).await;
    expect_status(&mut ws, &bob, "online").await;
    ws.none_of(&["user_status"]).await;
}

async fn who_comes_back_within_the_grace_never_went(builder: Builder) {
    let d = builder.env("PRESENCE_GRACE_SECONDS", 3).start().await;
    let (ann, bob) = (d.user().await, d.user().await);
    let chat_id = ann.group_id(&[&bob]).await;
    let mut ws = ann.connect_to(0).await;
    ws.subscribe(chat_id).await;
    let mut socket = bob.connect_to(0).await;
    expect_status(&mut ws, &bob, "online").await;
    let start = Instant::now();
    let mut n = 0;
    // reloading the page again and again, on one gateway and the other, for longer than the grace
    while start.elapsed() < Duration::from_secs(5) {
        n += 1;
        socket.close().await;
        let path = format!("/users/{}", bob.id);
        assert_eq!(ann.rest.get(&path).await.ok(200)["online"], true);
        socket = bob.connect_to(n).await;
        socket.round_trip().await;
    }
    ann.say(chat_id, "the end").await;
    ws.expect("new_message").await;
    ws.none_of(&["user_status"]).await;
}

async fn a_large_chat_tells_no_status(builder: Builder) {
    let d = builder.env("STATUS_MAX_MEMBERS", 3).start().await;
    let (ann, bob) = (d.user().await, d.user().await);
    let (eve, kim) = (d.user().await, d.user().await);
    let large = ann.group_id(&[&bob, &eve, &kim]).await;
    let small = ann.group_id(&[&bob, &eve]).await;
    let mut ws = ann.connect_to(0).await;
    let subscribed = ws.subscribe(large).await;
    assert_eq!(subscribed["online_user_ids"], Value::Null, "{subscribed}");
    let _kim = kim.connect_to(1).await;
    eventually("kim online", SOON, || async {
        let user = ann.rest.get(&format!("/users/{}", kim.id)).await.ok(200);
        (user["online"] == true).then_some(())
    })
    .await;
    ws.subscribe(small).await;
    let _bob = bob.connect_to(1).await;
    expect_status(&mut ws, &bob, "online").await;
    ws.none_of(&["user_status"]).await;
    let (items, count) = online(&ann, &format!("/ws/chat/{large}/online-users"), 0).await;
    assert_eq!((items.len(), count), (3, 3), "the endpoint tells them: {items:?}");
}
