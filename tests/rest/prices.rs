//! Other prices than the ordinary one: of pages and documents, of long texts and lists, of an
//! IPv6 site.

use std::time::Instant;

use reqwest::Method;

use super::limits::{MANY, assert_limited, at_once, limited};
use crate::support::deployment::Builder;
use crate::support::user::id;
use crate::support::{Answer, Deployment, json};

both_forms_alone!(
    a_thousand_words_cost_a_message,
    a_refused_private_message_makes_no_chat,
    a_list_of_many_chats_costs_more,
    long_answers_cost_more,
    pages_and_documents_are_counted_by_address,
    what_is_no_call_has_a_price,
    an_ipv6_site_pays_as_eight_addresses,
);

/// A script without spaces has a word for each character, and each is an entry of an index.
async fn a_thousand_words_cost_a_message(builder: Builder) {
    let d = limited(builder).env("RATE_MESSAGES_PER_SECOND", 1).env("RATE_MESSAGES_BURST", 18).start().await;
    for (text, price) in [("字".repeat(4096), 4), ("字".repeat(1025), 2), ("字".repeat(1024), 1), ("a".repeat(4096), 1)]
    {
        for edited in [false, true] {
            let ann = d.user().await;
            let began = Instant::now();
            let chat_id = ann.group_id(&[]).await;
            let message = id(&ann.say(chat_id, "x").await);
            let mut taken = 0;
            for _ in 0..MANY {
                let answer = if edited {
                    ann.rest.put(&format!("/messages/edit/{message}"), json!({"text": text})).await
                } else {
                    ann.rest.post("/messages/send", json!({"chat_id": chat_id, "text": text})).await
                };
                match answer.status {
                    200 | 201 => taken += 1,
                    _ => assert_limited(answer),
                }
            }
            // Two were the group's and its first message's.
            let most = most(17, 1, began) / price;
            assert!((16 / price..=most).contains(&taken), "{taken} of {} bytes, edited: {edited}", text.len());
        }
    }
}

/// Who is told of a new chat is told of no message that was refused.
async fn a_refused_private_message_makes_no_chat(builder: Builder) {
    let d = limited(builder).env("RATE_MESSAGES_PER_SECOND", 1).env("RATE_MESSAGES_BURST", 11).start().await;
    let ann = d.user().await;
    let text = "字".repeat(4096);
    let mut ws = ann.connect().await;
    let (mut sent, mut refused) = (0, 0);
    while refused < 8 {
        let stranger = d.user().await;
        let command = json!({"type": "private_message", "recipient_id": stranger.id, "text": text});
        match ws.command(command).await["type"].as_str() {
            Some("message_sent") => sent += 1,
            _ => refused += 1,
        }
    }
    let chats = ann.rest.get("/chats/?limit=100").await.ok(200);
    assert_eq!(chats["items"].as_array().unwrap().len(), sent);
}

/// The most that one subject gets since then, of a burst and so many more a second.
fn most(burst: usize, a_second: usize, since: Instant) -> usize {
    burst + usize::try_from(since.elapsed().as_millis()).unwrap() * a_second / 1000
}

/// A user's group, which is the last that was made.
async fn copy_5_000_times(d: &Deployment, chat: i64, user: i64) {
    let statements = format!(
        "insert into chats (is_group, name, created_at, active_at, member_count)
             with recursive i(n) as (select 1 union all select n + 1 from i where n < 5000)
             select is_group, name, created_at, active_at, 1 from i, chats where id = {chat};
         insert into members (chat_id, user_id, role, joined_at)
             select id, {user}, 1, active_at from chats where id > {chat}"
    );
    d.execute(&statements).await;
}

/// All of them are sorted for one page.
async fn a_list_of_many_chats_costs_more(builder: Builder) {
    let d = limited(builder).env("RATE_REQUESTS_PER_SECOND", 1).env("RATE_REQUESTS_BURST", 8).start().await;
    let (ann, bob) = (d.user().await, d.user().await);
    copy_5_000_times(&d, ann.group_id(&[]).await, ann.id).await;
    let asked = Instant::now();
    let (_, lists) = at_once(|| bob.rest.request(Method::GET, "/chats/?limit=1")).await;
    assert!((8..=most(8, 1, asked)).contains(&lists.len()), "{} of one who is in no chat", lists.len());
    // A request, and four more for its chats: half a burst at most.
    let asked = Instant::now();
    let (_, lists) = at_once(|| ann.rest.request(Method::GET, "/chats/?limit=1")).await;
    let listed = lists.len();
    assert!((1..=most(8, 1, asked) / 5).contains(&listed), "{listed} of one who is in 5,000 chats");
}

/// A hundred messages of 16 KB, and nobody else's.
async fn fill_with_long_texts(d: &Deployment, chat: i64, user: i64) {
    let statements = format!(
        "insert into messages (chat_id, seq, author_id, text, created_at)
             with recursive i(n) as (select 1 union all select n + 1 from i where n < 100)
             select {chat}, 1000 + n, {user}, '{}', created_at from i, chats where id = {chat}",
        "\u{1f600}".repeat(4096)
    );
    d.execute(&statements).await;
}

/// Whatever is served is paid for afterwards.
async fn long_answers_cost_more(builder: Builder) {
    let d = limited(builder).env("RATE_REQUESTS_PER_SECOND", 1).env("RATE_REQUESTS_BURST", 8).start().await;
    let ann = d.user().await;
    let chat = ann.group_id(&[]).await;
    fill_with_long_texts(&d, chat, ann.id).await;
    // Of so many messages: the bytes of a page, and what it costs.
    for (limit, bytes, price) in [(15, 240_000..262_144, 1), (16, 262_144..280_000, 2), (100, 1_600_000..1_800_000, 7)]
    {
        let user = d.user().await;
        ann.rest.post(&format!("/chats/{chat}/members"), json!({"user_ids": [user.id]})).await.ok(200);
        let (asked, mut served) = (Instant::now(), 0);
        let refused = loop {
            let path = format!("/messages/chat/{chat}?limit={limit}");
            let answer = user.rest.get(&path).await;
            if answer.status != 200 {
                break answer;
            }
            assert!(bytes.contains(&answer.body.len()), "{limit} messages are {} bytes", answer.body.len());
            served += 1;
        };
        let (least, most) = (8_usize.div_ceil(price), most(8, 1, asked).div_ceil(price));
        assert!((least..=most).contains(&served), "{served} pages of {limit} were served");
        assert_limited(refused);
    }
}

/// More of them than of other requests: a page has many files.
async fn pages_and_documents_are_counted_by_address(builder: Builder) {
    let d = limited(builder).env("RATE_REQUESTS_PER_SECOND", 1).env("RATE_REQUESTS_BURST", 1).start().await;
    let rest = d.rest().on(0);
    let (begun, mut passed) = (Instant::now(), 0);
    for path in ["/", "/docs", "/docs/swagger-ui.css", "/openapi.json", "/asyncapi", "/asyncapi.json", "/invite/x"] {
        let asked = Instant::now();
        let (_, others) = at_once(|| rest.request(Method::GET, path)).await;
        passed += others.len();
        assert!(others.len() <= most(10, 10, asked), "{path}: {} passed", others.len());
        assert!(others.iter().all(|answer| answer.status < 400), "{path}");
    }
    assert!((10..=most(10, 10, begun)).contains(&passed), "{passed} together");
    d.user().await.rest.get("/auth/me").await.ok(200);
}

/// No rule sees them, so the address pays for each.
async fn what_is_no_call_has_a_price(builder: Builder) {
    let d = limited(builder).env("RATE_REQUESTS_PER_SECOND", 1).env("RATE_REQUESTS_BURST", 1).start().await;
    let (rest, large) = (d.rest().on(0), vec![b'x'; 300_000]);
    for (method, path, status) in [
        (Method::GET, "/nowhere", 404),
        (Method::GET, "/static/x/y/z", 404),
        (Method::DELETE, "/auth/login", 405),
        (Method::from_bytes(b"BREW").unwrap(), "/auth/me", 405),
        (Method::OPTIONS, "/auth/me", 200),
        (Method::POST, "/auth/login", 413),
        (Method::GET, "/invites/%ff", 404),
    ] {
        let (asked, body) = (Instant::now(), if status == 413 { large.clone() } else { Vec::new() });
        let (refused, others) = at_once(|| rest.request(method.clone(), path).body(body.clone())).await;
        assert!(refused > 0 && others.len() <= most(10, 10, asked), "{method} {path}: {} passed", others.len());
        assert!(others.iter().all(|answer| answer.status == status), "{method} {path}: {others:?}");
    }
    let gateway = d.gateway(0);
    for (name, value, status) in
        [("x-nothing", "", 426), ("sec-websocket-key", "short", 422), ("origin", "https://evil.example", 403)]
    {
        let handshake = || {
            let request = reqwest::Client::new().get(format!("{}/ws/chat", gateway.url()));
            let request = if status == 426 { request } else { request.header("upgrade", "websocket") };
            let request = request.header("connection", "upgrade").header("sec-websocket-version", "13");
            let key = if status == 422 { value } else { "dGhlIHNhbXBsZSBub25jZQ==" };
            request.header(name, value).header("sec-websocket-key", key)
        };
        let (refused, others) = at_once(handshake).await;
        assert!(refused > 0, "{status}: {} passed", others.len());
        assert!(others.iter().all(|answer| answer.status == status), "{others:?}");
    }
    d.user().await.rest.get("/auth/me").await.ok(200);
}

async fn an_ipv6_site_pays_as_eight_addresses(builder: Builder) {
    let builder = limited(builder).env("RATE_REQUESTS_PER_SECOND", 1).env("RATE_REQUESTS_BURST", 1);
    let d = builder.env("TRUSTED_PROXIES", "127.0.0.0/8,::1").start().await;
    let body = json!({"refresh_token": "rubbish"});
    let from = |address: String| {
        let request = d.rest().request(Method::POST, "/auth/refresh").json(&body);
        Answer::of(request.header("x-forwarded-for", address))
    };
    let asked = Instant::now();
    let answers = futures_util::future::join_all((0..60).map(|n| from(format!("2001:db8:1:{n:x}::1")))).await;
    let passed = answers.iter().filter(|answer| answer.status == 401).count();
    assert!((8..=most(8, 8, asked)).contains(&passed), "{passed} of 60 subscribers of one site");
    answers.into_iter().filter(|answer| answer.status != 401).for_each(assert_limited);
    from("2001:db8:2::1".to_owned()).await.problem(401, "token_invalid");
}
