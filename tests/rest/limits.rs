//! Rates: counted together over all nodes, told with `Retry-After`. And whose address a request
//! counts for.

use reqwest::{Method, RequestBuilder};

use crate::support::deployment::Builder;
use crate::support::user::{PASSWORD, id};
use crate::support::{Answer, Deployment, Rest, SOON, eventually, json};

both_forms_alone!(
    logins_are_counted_by_address_over_all_nodes,
    registrations_are_counted_by_address,
    messages_are_counted_by_user,
    changes_that_others_see_cost_what_a_message_costs,
    many_newcomers_cost_more_than_one,
    every_ten_mentions_cost_a_message,
    other_requests_are_counted_by_user,
    a_request_under_a_key_costs_as_any_other,
    public_requests_are_counted_by_address,
    handshakes_are_counted,
    an_address_counts_as_a_trusted_proxy_tells_it,
    an_untrusted_forwarded_address_is_not_believed,
    origins_are_allowed_by_name,
);

/// Limits on, and so wide that only those which a test narrows are met.
pub(super) fn limited(builder: Builder) -> Builder {
    builder.env("RATE_LIMITS", "on").env("RATE_LOGINS_PER_MINUTE", 1000).env("RATE_REGISTRATIONS_PER_MINUTE", 1000)
}

#[track_caller]
pub(super) fn assert_limited(answer: Answer) {
    let wait: u64 = answer.header("retry-after").expect("Retry-After").parse().unwrap();
    assert!((1..=120).contains(&wait), "{wait}");
    answer.problem(429, "rate_limited");
}

async fn try_login(rest: &Rest, forwarded: Option<&str>) -> Answer {
    let body = json!({"username": "nobody_at_all", "password": "not the password"});
    let mut request = rest.request(Method::POST, "/auth/login").json(&body);
    if let Some(address) = forwarded {
        request = request.header("x-forwarded-for", address);
    }
    Answer::of(request).await
}

async fn logins_are_counted_by_address_over_all_nodes(builder: Builder) {
    let d = limited(builder).env("RATE_LOGINS_PER_MINUTE", 4).start().await;
    let rest = d.rest();
    for _ in 0..4 {
        try_login(&rest, None).await.problem(401, "bad_credentials");
    }
    for node in 0..2 {
        assert_limited(try_login(&rest.on(node), None).await);
    }
}

async fn registrations_are_counted_by_address(builder: Builder) {
    let d = limited(builder).env("RATE_REGISTRATIONS_PER_MINUTE", 3).start().await;
    for n in 0..5 {
        let body = json!({"username": format!("one_{n}"), "email": format!("{n}@example.org"), "password": PASSWORD});
        let answer = d.rest().post("/auth/register", body).await;
        if n < 3 {
            answer.ok(201);
        } else {
            assert_limited(answer);
        }
    }
}

async fn messages_are_counted_by_user(builder: Builder) {
    let builder = limited(builder).env("RATE_MESSAGES_PER_SECOND", 1).env("RATE_MESSAGES_BURST", 5);
    let d = builder.start().await;
    let (ann, bob) = (d.user().await, d.user().await);
    let chat_id = bob.group_id(&[&ann]).await;
    let body = json!({"chat_id": chat_id, "text": "x"});
    let sends = (0..20).map(|_| ann.rest.post("/messages/send", body.clone()));
    let answers = futures_util::future::join_all(sends).await;
    let sent = answers.iter().filter(|answer| answer.status == 201).count();
    assert!((5..20).contains(&sent), "{sent} of 20 at once with a burst of 5");
    for answer in answers {
        if answer.status != 201 {
            assert_limited(answer);
        }
    }
    bob.say(chat_id, "another user has a rate of his own").await;
    let stored = bob.history(chat_id).await["items"].as_array().unwrap().len();
    assert_eq!(stored, sent + 1, "what was refused is not there");
}

/// Over a burst of 5 and a rate of 1 a second.
pub(super) const MANY: usize = 20;

/// How many of these requests at once were refused for the rate, and all answers.
pub(super) async fn at_once(request: impl Fn() -> RequestBuilder) -> (usize, Vec<Answer>) {
    let answers = futures_util::future::join_all((0..MANY).map(|_| Answer::of(request()))).await;
    let mut refused = 0;
    let mut others = Vec::new();
    for answer in answers {
        if answer.status == 429 {
            refused += 1;
            assert_limited(answer);
        } else {
            others.push(answer);
        }
    }
    (refused, others)
}

/// Each mention notifies a user with the whole message.
async fn every_ten_mentions_cost_a_message(builder: Builder) {
    let d = limited(builder).env("RATE_MESSAGES_PER_SECOND", 1).env("RATE_MESSAGES_BURST", 15).start().await;
    let ann = d.user().await;
    let mut others = Vec::new();
    for _ in 0..41 {
        others.push(d.user().await);
    }
    let chat_id = ann.group_id(&others.iter().collect::<Vec<_>>()).await;
    let text = others.iter().fold(String::new(), |text, user| text + "@" + &user.username + " ");
    let body = json!({"chat_id": chat_id, "text": text});
    let mut sent = Vec::new();
    for _ in 0..MANY {
        let answer = ann.rest.post("/messages/send", body.clone()).await;
        if answer.status == 201 {
            sent.push(answer);
        } else {
            assert_limited(answer);
        }
    }
    // Five each, of fifteen and what comes back in the meantime.
    assert!((1..=5).contains(&sent.len()), "{} were sent", sent.len());
    assert_eq!(sent.last().unwrap().json["mentions"].as_array().unwrap().len(), 41);
    // The price says nothing of the members to a user who is not in the chat.
    let strangers = text.replace('@', "@no-");
    for names in [text.clone(), strangers] {
        let eve = d.user().await;
        let body = json!({"chat_id": chat_id, "text": names});
        for _ in 0..3 {
            eve.rest.post("/messages/send", body.clone()).await.problem(403, "not_a_member");
        }
        let (refused, _) = at_once(|| eve.rest.request(Method::POST, "/messages/send").json(&body)).await;
        assert!(refused > 0, "{names}");
    }
    let stored = ann.history(chat_id).await["items"].as_array().unwrap().len();
    assert_eq!(stored, sent.len(), "what was refused is not there");
}

async fn changes_that_others_see_cost_what_a_message_costs(builder: Builder) {
    let d = limited(builder).env("RATE_MESSAGES_PER_SECOND", 1).env("RATE_MESSAGES_BURST", 5).start().await;
    let (ann, bob) = (d.user().await, d.user().await);
    let chat_id = bob.group_id(&[&ann]).await;
    let message = id(&ann.say(chat_id, "x").await);
    let edit = || ann.rest.request(Method::PUT, &format!("/messages/edit/{message}")).json(&json!({"text": "y"}));
    let (refused, edited) = at_once(edit).await;
    assert!((1..MANY).contains(&refused), "{refused}");
    assert!(edited.iter().all(|answer| answer.status == 200));
    for (method, path) in [
        (Method::PUT, "/messages/edit/0".to_owned()),
        (Method::DELETE, "/messages/delete/0".to_owned()),
        (Method::POST, "/chats/create".to_owned()),
        (Method::PATCH, format!("/chats/{chat_id}")),
        (Method::DELETE, format!("/chats/{chat_id}")),
        (Method::POST, format!("/chats/{chat_id}/join")),
        (Method::DELETE, "/chats/0/leave".to_owned()),
        (Method::POST, format!("/chats/{chat_id}/members")),
        (Method::PATCH, format!("/chats/{chat_id}/members/{}", bob.id)),
        (Method::DELETE, format!("/chats/{chat_id}/members/{}", bob.id)),
        (Method::POST, "/messages/send".to_owned()),
        (Method::POST, format!("/chats/{chat_id}/invites")),
        (Method::POST, "/invites/none/accept".to_owned()),
        (Method::PUT, format!("/messages/{message}/reactions/x")),
        (Method::DELETE, format!("/messages/{message}/reactions/x")),
        (Method::PUT, format!("/chats/{chat_id}/pins/{message}")),
        (Method::DELETE, format!("/chats/{chat_id}/pins/{message}")),
    ] {
        let (refused, _) = at_once(|| ann.rest.request(method.clone(), &path).json(&json!({}))).await;
        assert!(refused > 0, "{method} {path}");
    }
    ann.chat(chat_id).await;
    bob.say(chat_id, "another user has a rate of his own").await;
}

async fn many_newcomers_cost_more_than_one(builder: Builder) {
    let d = limited(builder).env("RATE_MESSAGES_PER_SECOND", 1).env("RATE_MESSAGES_BURST", 5).start().await;
    let ann = d.user().await;
    let strangers: Vec<i64> = (1..=1000).map(|n| 1_000_000_000 + n).collect();
    let create = || {
        let request = ann.rest.request(Method::POST, "/chats/create");
        request.json(&json!({"name": "x", "member_ids": strangers}))
    };
    // Half a burst more than the one: two at once are too many, and whoever waits is served.
    let (refused, others) = at_once(create).await;
    assert!(refused > MANY / 2, "{refused}");
    assert!(!others.is_empty() && others.iter().all(|answer| answer.status == 422), "{others:?}");
    // Nodes that share a rate may each have let some more through, which one waits for then.
    let mut waits = 0;
    loop {
        let answer = Answer::of(create()).await;
        let Some(wait) = answer.header("retry-after").map(|wait| wait.parse().expect("seconds")) else { break };
        assert_limited(answer);
        waits += 1;
        assert!(waits <= 3, "refused after each wait");
        tokio::time::sleep(std::time::Duration::from_secs(wait)).await;
    }
    let chat_id = eventually("a message's price", SOON, async || {
        let made = ann.rest.post("/chats/create", json!({"name": "x"})).await;
        (made.status == 201).then(|| id(&made.json))
    })
    .await;
    let add = || {
        let request = ann.rest.request(Method::POST, &format!("/chats/{chat_id}/members"));
        request.json(&json!({"user_ids": strangers}))
    };
    assert!(at_once(add).await.0 > MANY / 2);
}

async fn other_requests_are_counted_by_user(builder: Builder) {
    let d = limited(builder).env("RATE_REQUESTS_PER_SECOND", 1).env("RATE_REQUESTS_BURST", 5).start().await;
    let (ann, bob) = (d.user().await, d.user().await);
    let chat_id = ann.group_id(&[&bob]).await;
    for path in ["/auth/me", "/chats", "/ws/online-users", &format!("/messages/chat/{chat_id}")] {
        let (refused, others) = at_once(|| ann.rest.request(Method::GET, path)).await;
        assert!((1..=MANY).contains(&refused), "{path}: {refused}");
        assert!(others.iter().all(|answer| answer.status == 200), "{path}");
    }
    let (refused, _) = at_once(|| ann.rest.request(Method::POST, &format!("/chats/{chat_id}/read")).body("{")).await;
    assert!(refused > 0, "a request that cannot be read counts");
    ann.say(chat_id, "sends have a rate of their own").await;
    bob.rest.get("/auth/me").await.ok(200);
}

async fn a_request_under_a_key_costs_as_any_other(builder: Builder) {
    let d = limited(builder)
        .env("RATE_REQUESTS_PER_SECOND", 1)
        .env("RATE_REQUESTS_BURST", 10)
        .env("RATE_MESSAGES_PER_SECOND", 1)
        .env("RATE_MESSAGES_BURST", 1);
    let d = d.start().await;
    let ann = d.user().await;
    let create = |key: &str| {
        let request = ann.rest.request(Method::POST, "/chats/create").header("Idempotency-Key", key);
        request.json(&json!({"name": "once"}))
    };
    let first = Answer::of(create("a")).await.ok(201);
    // The price of a message is due before the answer is kept: a refusal is none that repeats.
    let refused = Answer::of(create("b")).await;
    let wait = refused.header("retry-after").expect("Retry-After").parse().expect("seconds");
    assert_limited(refused);
    tokio::time::sleep(std::time::Duration::from_secs(wait)).await;
    assert_ne!(Answer::of(create("b")).await.ok(201)["id"], first["id"]);
    let (refused, answered) = at_once(|| create("a")).await;
    assert!((1..MANY).contains(&refused), "{refused}");
    assert!(answered.into_iter().all(|answer| answer.ok(201) == first), "a repetition is no message");
}

async fn public_requests_are_counted_by_address(builder: Builder) {
    let d = limited(builder).env("RATE_REQUESTS_PER_SECOND", 1).env("RATE_REQUESTS_BURST", 5).start().await;
    let ann = d.user().await;
    let rubbish = d.rest().with_bearer("rubbish");
    let body = json!({"refresh_token": "rubbish"});
    let (refused, others) = at_once(|| d.rest().request(Method::POST, "/auth/refresh").json(&body)).await;
    assert!((1..MANY).contains(&refused), "{refused}");
    assert!(others.iter().all(|answer| answer.status == 401));
    for rest in [&rubbish, &d.rest()] {
        let (refused, others) = at_once(|| rest.request(Method::GET, "/auth/me")).await;
        assert!(refused > 0 && others.iter().all(|answer| answer.status == 401));
        let (refused, _) = at_once(|| rest.request(Method::POST, "/messages/send").json(&json!({}))).await;
        assert!(refused > 0);
    }
    // Nor is one for nothing that cannot be read, or does not fit.
    for (path, body) in [
        ("/auth/login", "{}"),
        ("/auth/login", "{"),
        ("/auth/register", "{}"),
        ("/auth/register", "[]"),
        ("/auth/refresh", "{"),
    ] {
        let request = || d.rest().request(Method::POST, path).header("content-type", "application/json").body(body);
        let (refused, others) = at_once(request).await;
        assert!(refused > 0, "{path} {body}");
        assert!(others.iter().all(|answer| [400, 422].contains(&answer.status)), "{path} {body}");
    }
    ann.rest.get("/auth/me").await.ok(200);
    ann.login().await.ok(200);
}

async fn handshakes_are_counted(builder: Builder) {
    let d = limited(builder).env("RATE_REQUESTS_PER_SECOND", 1).env("RATE_REQUESTS_BURST", 5).start().await;
    let ann = d.user().await;
    let handshake = |token: &str| {
        let request = d.rest().request(Method::GET, &format!("/ws/chat/{token}"));
        let request = request.header("connection", "upgrade").header("upgrade", "websocket");
        request.header("sec-websocket-version", "13").header("sec-websocket-key", "dGhlIHNhbXBsZSBub25jZQ==")
    };
    for token in ["rubbish", &ann.access] {
        let (refused, others) = at_once(|| handshake(token)).await;
        assert!((1..MANY).contains(&refused), "{refused}");
        assert!(others.iter().all(|answer| answer.status == 101));
    }
}

async fn an_address_counts_as_a_trusted_proxy_tells_it(builder: Builder) {
    let d = limited(builder).env("RATE_LOGINS_PER_MINUTE", 2).env("TRUSTED_PROXIES", "127.0.0.0/8,::1").start().await;
    let rest = d.rest();
    for address in ["203.0.113.1", "203.0.113.2"] {
        for _ in 0..2 {
            try_login(&rest, Some(address)).await.problem(401, "bad_credentials");
        }
        assert_limited(try_login(&rest, Some(address)).await);
        // what the client itself wrote before the proxy's own word does not count
        let forged = format!("198.51.100.7, {address}");
        assert_limited(try_login(&rest, Some(&forged)).await);
    }
}

async fn an_untrusted_forwarded_address_is_not_believed(builder: Builder) {
    let d = limited(builder).env("RATE_LOGINS_PER_MINUTE", 2).start().await;
    let rest = d.rest();
    for n in 0..2 {
        let answer = try_login(&rest, Some(&format!("203.0.113.{n}"))).await;
        answer.problem(401, "bad_credentials");
    }
    assert_limited(try_login(&rest, Some("203.0.113.77")).await);
}

async fn origins_are_allowed_by_name(builder: Builder) {
    let d = builder.env("ALLOWED_ORIGINS", "https://chat.example.org,http://localhost:3000").start().await;
    let user = d.user().await;
    let allowed = async |d: &Deployment, origin: &str| {
        let request = d.rest().request(Method::OPTIONS, "/auth/me").header("origin", origin);
        let preflight = request
            .header("access-control-request-method", "PATCH")
            .header("access-control-request-headers", "authorization,content-type");
        let answer = Answer::of(preflight).await;
        let told = answer.header("access-control-allow-origin").map(str::to_owned);
        let request = user.rest.request(Method::GET, "/auth/me").header("origin", origin);
        let answer = Answer::of(request).await;
        assert_eq!(answer.header("access-control-allow-origin"), told.as_deref(), "{origin}");
        answer.ok(200);
        told
    };
    for origin in ["https://chat.example.org", "http://localhost:3000"] {
        assert_eq!(allowed(&d, origin).await.as_deref(), Some(origin));
    }
    for origin in ["https://evil.example", "https://chat.example.org.evil.example", "null"] {
        assert_eq!(allowed(&d, origin).await, None, "{origin}");
    }
}
