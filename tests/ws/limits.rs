//! Limits of a connection, each with its own code.

use std::time::{Duration, Instant};

use futures_util::future::join_all;

use crate::programs::metrics::total;
use crate::support::deployment::Builder;
use crate::support::{SOON, Way, eventually, json};

both_forms_alone!(
    the_server_pings_and_a_client_that_answers_stays,
    pings_of_connections_that_came_at_once_are_spread,
    a_client_that_answers_no_ping_is_closed_with_4408,
    one_connection_too_many_of_a_user_takes_the_place_of_the_most_silent,
    connections_that_died_unnoticed_keep_nobody_out,
    connections_that_close_do_not_count,
    one_subscription_too_many_is_refused,
    a_chat_that_is_refused_takes_no_place_from_a_later_one,
    messages_over_the_rate_are_refused,
    many_chats_cost_more_than_one_and_their_wait_is_right,
    who_keeps_on_over_the_rate_is_closed_with_4429,
    smaller_limits_are_the_limits,
);

async fn the_server_pings_and_a_client_that_answers_stays(builder: Builder) {
    let builder = builder.env("HEARTBEAT_SECONDS", 1).env("IDLE_TIMEOUT_SECONDS", 2);
    let d = builder.start().await;
    let mut ws = d.user().await.open(1, Way::Path).await;
    assert_eq!(ws.expect_welcome().await["heartbeat_seconds"], 1);
    let start = Instant::now();
    while start.elapsed() < Duration::from_secs(5) {
        assert_eq!(ws.next_within(Duration::from_millis(500)).await, None);
    }
    assert_eq!(ws.closed, None, "who answers pings is there");
    assert!((3..=7).contains(&ws.pings), "{} pings in five seconds", ws.pings);
    ws.round_trip().await;
}

/// As all of a gateway's do after a restart.
async fn pings_of_connections_that_came_at_once_are_spread(builder: Builder) {
    let d = builder.env("HEARTBEAT_SECONDS", 8).env("IDLE_TIMEOUT_SECONDS", 20).start().await;
    let users = [d.user().await, d.user().await, d.user().await];
    let mut sockets = join_all((0..45).map(|n| users[n % 3].connect_to(0))).await;
    // half of a heartbeat
    join_all(sockets.iter_mut().map(|ws| ws.next_within(Duration::from_secs(4)))).await;
    let pinged = sockets.iter().filter(|ws| ws.pings == 1).count();
    assert!((8..=37).contains(&pinged), "{pinged} of 45 are pinged in the first half of a heartbeat");
    assert!(sockets.iter().all(|ws| ws.pings <= 1 && ws.closed.is_none()));
}

async fn a_client_that_answers_no_ping_is_closed_with_4408(builder: Builder) {
    let builder = builder.env("HEARTBEAT_SECONDS", 1).env("IDLE_TIMEOUT_SECONDS", 2);
    let d = builder.start().await;
    let (mute, busy) = (d.user().await, d.user().await);
    let mut ws = mute.connect_to(0).await;
    let mut other = busy.connect_to(0).await;
    let start = Instant::now();
    // `ws` is not read meanwhile, so that its pings wait
    eventually("a disconnect for 4408", SOON, || {
        let nodes = d.gateways().to_vec();
        async move {
            let closed = total(&nodes, "messenger_ws_disconnects_total", &["code=\"4408\""]).await;
            (closed > 0.5).then_some(())
        }
    })
    .await;
    assert!(start.elapsed() > Duration::from_millis(1500), "after {:?}", start.elapsed());
    assert_eq!(ws.expect_close(SOON).await.0, 4408);
    drop(other.next_within(Duration::ZERO).await);
}

async fn one_connection_too_many_of_a_user_takes_the_place_of_the_most_silent(builder: Builder) {
    let d = builder.env("MAX_CONNECTIONS_PER_USER", 3).start().await;
    let (ann, bob) = (d.user().await, d.user().await);
    // all on one gateway, which counts its own; its shards share them
    let mut open = Vec::new();
    for _ in 0..3 {
        open.push(ann.connect_to(0).await);
    }
    for n in [0, 2] {
        open[n].round_trip().await;
    }
    open.push(ann.connect_to(0).await);
    let mut silent = open.remove(1);
    assert_eq!(silent.expect_close(SOON).await.0, 4504);
    for ws in &mut open {
        ws.round_trip().await;
    }
    bob.connect_to(0).await.round_trip().await;
    open.pop().unwrap().close().await;
    open.push(ann.connect_to(0).await);
    for ws in &mut open {
        ws.round_trip().await;
    }
}

/// Half-open ones: their clients are gone, and nobody told the server.
async fn connections_that_died_unnoticed_keep_nobody_out(builder: Builder) {
    let d = builder.env("MAX_CONNECTIONS_PER_USER", 4).start().await;
    let ann = d.user().await;
    let mut alive = ann.connect_to(0).await;
    let mut dead = Vec::new();
    for _ in 0..12 {
        // welcomed, and never read again
        dead.push(ann.connect_to(0).await);
        alive.round_trip().await;
    }
    let mut left = dead.split_off(9);
    for ws in &mut dead {
        assert_eq!(ws.expect_close(SOON).await.0, 4504);
    }
    for ws in left.iter_mut().chain([&mut alive]) {
        ws.round_trip().await;
    }
}

async fn connections_that_close_do_not_count(builder: Builder) {
    let d = builder.env("MAX_CONNECTIONS_PER_USER", 2).start().await;
    let ann = d.user().await;
    let phone = ann.second_session().await;
    let mut first = phone.connect_to(0).await;
    let mut second = phone.connect_to(0).await;
    phone.rest.post_nothing("/auth/logout").await.ok(204);
    assert_eq!(first.expect_close(SOON).await.0, 4502);
    // the second is not read, so that its close is not answered yet
    let mut open = [ann.connect_to(0).await, ann.connect_to(0).await];
    for ws in &mut open {
        ws.round_trip().await;
    }
    assert_eq!(second.expect_close(SOON).await.0, 4502);
}

async fn one_subscription_too_many_is_refused(builder: Builder) {
    let d = builder.env("MAX_SUBSCRIPTIONS", 2).start().await;
    let ann = d.user().await;
    let mut chats = Vec::new();
    for _ in 0..3 {
        chats.push(ann.group_id(&[]).await);
    }
    let mut ws = ann.connect().await;
    ws.subscribe(chats[0]).await;
    ws.subscribe(chats[1]).await;
    let third = json!({"type": "subscribe_chat", "chat_id": chats[2]});
    ws.refused(third.clone(), "too_many_subscriptions").await;
    ws.subscribe(chats[0]).await;
    ann.say(chats[1], "still subscribed").await;
    ws.expect_in("new_message", chats[1]).await;
    ws.command(json!({"type": "unsubscribe_chat", "chat_id": chats[0]})).await;
    ws.subscribe(chats[2]).await;
    // another connection has its own
    ann.connect().await.subscribe(chats[0]).await;
}

/// In one command, as if each were asked by itself.
async fn a_chat_that_is_refused_takes_no_place_from_a_later_one(builder: Builder) {
    let d = builder.env("MAX_SUBSCRIPTIONS", 2).start().await;
    let (ann, ben) = (d.user().await, d.user().await);
    let others = ben.group_id(&[]).await;
    let chats = [others, ann.group_id(&[]).await, i64::MAX, ann.group_id(&[]).await, ann.group_id(&[]).await];
    let mut ws = ann.connect().await;
    let asked = chats.map(|chat_id| json!({"chat_id": chat_id}));
    ws.send(json!({"type": "subscribe_chats", "chats": asked, "request_id": "all"})).await;
    let mut answers = Vec::new();
    for chat_id in chats {
        let answer = ws.expect_where("an answer", SOON, |frame| frame["request_id"] == "all").await;
        assert_eq!(answer["chat_id"], chat_id);
        answers.push(answer["code"].as_str().unwrap_or("subscribed").to_owned());
    }
    let refused = ["not_a_member", "subscribed", "chat_not_found", "subscribed", "too_many_subscriptions"];
    assert_eq!(answers, refused);
}

/// Limits on, and so wide that only those which a test narrows are met.
fn limited(builder: Builder) -> Builder {
    builder.env("RATE_LIMITS", "on").env("RATE_LOGINS_PER_MINUTE", 1000).env("RATE_REGISTRATIONS_PER_MINUTE", 1000)
}

async fn messages_over_the_rate_are_refused(builder: Builder) {
    let builder = limited(builder).env("RATE_MESSAGES_PER_SECOND", 1).env("RATE_MESSAGES_BURST", 3);
    let d = builder.start().await;
    let ann = d.user().await;
    let chat_id = d.user().await.group_id(&[&ann]).await;
    let mut sockets = [ann.connect_to(0).await, ann.connect_to(1).await];
    let (mut sent, mut refused) = (0, 0);
    for n in 0..12 {
        let command = json!({"type": "send_message", "chat_id": chat_id, "text": "x"});
        let answer = sockets[n % 2].command(command).await;
        match (answer["type"].as_str(), answer["code"].as_str()) {
            (Some("message_sent"), _) => sent += 1,
            (Some("error"), Some("rate_limited")) => refused += 1,
            _ => panic!("{answer}"),
        }
    }
    assert!(sent >= 3 && refused >= 3, "{sent} sent and {refused} refused of 12");
    let stored = ann.history(chat_id).await["items"].as_array().unwrap().len();
    assert_eq!(stored, sent);
    for ws in &mut sockets {
        ws.round_trip().await;
    }
}

/// A hundred chats count as five commands, all or none: a client that waits as long as it is told
/// to is served next.
async fn many_chats_cost_more_than_one_and_their_wait_is_right(builder: Builder) {
    let d = limited(builder).env("RATE_COMMANDS_PER_SECOND", 12).start().await;
    let mut ws = d.user().await.connect().await;
    let chats: Vec<_> = (1..=100).map(|n| json!({"chat_id": 1_000_000 + n})).collect();
    let (mut served, mut refused) = (0, 0);
    for n in 0..8 {
        let request = format!("many {n}");
        ws.send(json!({"type": "subscribe_chats", "chats": chats, "request_id": request})).await;
        let first = ws.expect_where("an answer", SOON, |frame| frame["request_id"] == request.as_str()).await;
        if first["code"] == "rate_limited" {
            refused += 1;
            let wait = first["retry_after_ms"].as_u64().expect("a wait");
            assert!((1..=500).contains(&wait), "{first}");
            assert!(served > n / 2 - 1, "{served} served of {n}, each refusal waited for");
            tokio::time::sleep(Duration::from_millis(wait)).await;
            continue;
        }
        served += 1;
        for _ in 1..chats.len() {
            ws.expect_where("an answer", SOON, |frame| frame["request_id"] == request.as_str()).await;
        }
    }
    assert!(served >= 4 && refused >= 2, "{served} served, {refused} refused");
}

async fn who_keeps_on_over_the_rate_is_closed_with_4429(builder: Builder) {
    let d = limited(builder).env("RATE_COMMANDS_PER_SECOND", 5).start().await;
    let mut ws = d.user().await.connect().await;
    let start = Instant::now();
    let mut refused = 0;
    let mut pace = tokio::time::interval(Duration::from_millis(20));
    while ws.closed.is_none() {
        assert!(start.elapsed() < Duration::from_secs(30), "{refused} refused and still open");
        // fifty a second, ten times the rate
        pace.tick().await;
        ws.send(json!({"type": "ping"})).await;
        if let Some(frame) = ws.next_within(Duration::from_millis(20)).await
            && frame["code"] == "rate_limited"
        {
            refused += 1;
        }
    }
    let (code, _) = ws.expect_close(SOON).await;
    assert_eq!(code, 4429);
    assert!(refused >= 20, "each is answered: {refused}");
    let lasted = start.elapsed();
    assert!(lasted > Duration::from_secs(8), "closed after {lasted:?}");
}

async fn smaller_limits_are_the_limits(builder: Builder) {
    let builder = builder
        .env("MAX_MESSAGE_CHARS", 10)
        .env("MAX_BODY_BYTES", 2000)
        .env("MAX_FRAME_BYTES", 1500)
        .env("MAX_GROUP_MEMBERS", 2);
    let d = builder.start().await;
    let (ann, bob, eve) = (d.user().await, d.user().await, d.user().await);
    let chat_id = ann.group_id(&[&bob]).await;
    ann.say(chat_id, "0123456789").await;
    let send = |text: &str| json!({"chat_id": chat_id, "text": text});
    let longer = ann.rest.post("/messages/send", send("0123456789a")).await;
    assert_eq!(longer.faulty_fields(), ["text"]);
    let large = ann.rest.post("/messages/send", send(&"x".repeat(2000))).await;
    large.problem(413, "too_large");
    let full = eve.rest.post_nothing(&format!("/chats/{chat_id}/join")).await;
    assert!((400..500).contains(&full.status), "{}", full.body);
    assert_eq!(ann.chat(chat_id).await["member_count"], 2);
    let mut ws = ann.connect().await;
    let mut command = send("0123456789a");
    command["type"] = json!("send_message");
    ws.refused(command, "invalid").await;
    ws.send_text(&"x".repeat(1501)).await;
    assert_eq!(ws.expect_close(SOON).await.0, 1009);
}
