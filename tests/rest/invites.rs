//! Closed groups, invitations into them, and registration by invitation.

use std::sync::Arc;

use reqwest::Method;

use crate::support::deployment::Builder;
use crate::support::process::{self, Log};
use crate::support::user::{PASSWORD, fresh_name, id};
use crate::support::{Answer, Deployment, Program, Rest, SOON, User, Value, blocking, json, programs};

both_forms!(
    a_closed_group_is_not_there_for_strangers,
    an_invitation_needs_no_body_and_its_link_is_what_proxies_say,
    a_friend_comes_in_by_a_link,
    owners_alone_invite,
    a_used_up_or_revoked_invitation_is_gone,
    two_who_take_the_last_use_at_once,
    an_invitation_is_made_once_under_a_key,
    a_registration_by_a_groups_invitation_is_a_member,
    every_fault_of_an_invitation_is_named,
);

both_forms_alone!(registration_is_open_by_invitation_or_closed);

async fn closed(owner: &User, members: &[&User]) -> i64 {
    let ids: Vec<i64> = members.iter().map(|member| member.id).collect();
    let body = json!({"name": "Quiet", "description": "a room", "is_public": false, "member_ids": ids});
    let chat = owner.rest.post("/chats/create", body).await.ok(201);
    assert_eq!((&chat["is_public"], &chat["is_group"]), (&json!(false), &json!(true)));
    id(&chat)
}

async fn invite(owner: &User, chat_id: i64, body: Value) -> Value {
    owner.rest.post(&format!("/chats/{chat_id}/invites"), body).await.ok(201)
}

fn code(invite: &Value) -> &str {
    invite["code"].as_str().expect("a code")
}

async fn accept(user: &User, invite: &Value) -> Answer {
    user.rest.post_nothing(&format!("/invites/{}/accept", code(invite))).await
}

async fn register(rest: &Rest, name: &str, invite: Option<&str>) -> Answer {
    let email = format!("{name}@example.org");
    let mut body = json!({"username": name, "email": email, "password": PASSWORD});
    if let Some(code) = invite {
        body["invite"] = code.into();
    }
    rest.anonymous().post("/auth/register", body).await
}

async fn a_closed_group_is_not_there_for_strangers(d: &Deployment) {
    let (ann, bob, eve) = (d.user().await, d.user().await, d.user().await);
    let chat_id = closed(&ann, &[&bob]).await;
    let message = id(&ann.say(chat_id, "inside").await);
    assert_eq!(bob.chat(chat_id).await["is_public"], false);
    let of_chat = |path: &str| format!("/chats/{chat_id}{path}");
    for path in [
        of_chat(""),
        of_chat("/members"),
        format!("/messages/chat/{chat_id}"),
        format!("/ws/chat/{chat_id}/online-users"),
    ] {
        eve.rest.get(&path).await.problem(404, "chat_not_found");
    }
    eve.rest.get(&of_chat("/invites")).await.problem(404, "chat_not_found");
    eve.rest.post(&of_chat("/invites"), json!({})).await.problem(404, "chat_not_found");
    eve.rest.post_nothing(&of_chat("/join")).await.problem(404, "chat_not_found");
    eve.rest.delete(&of_chat("/leave")).await.problem(404, "chat_not_found");
    eve.rest.delete(&of_chat("")).await.problem(404, "chat_not_found");
    eve.rest.patch(&of_chat(""), json!({"name": "x"})).await.problem(404, "chat_not_found");
    eve.rest.post(&of_chat("/read"), json!({"seq": 1})).await.problem(404, "chat_not_found");
    eve.rest.post(&of_chat("/members"), json!({"user_ids": [eve.id]})).await.problem(404, "chat_not_found");
    let body = json!({"chat_id": chat_id, "text": "knock"});
    eve.rest.post("/messages/send", body).await.problem(404, "chat_not_found");
    let edit = eve.rest.put(&format!("/messages/edit/{message}"), json!({"text": "x"})).await;
    edit.problem(404, "message_not_found");

    let mut ws = eve.connect().await;
    for command in [
        json!({"type": "subscribe_chat", "chat_id": chat_id}),
        json!({"type": "send_message", "chat_id": chat_id, "text": "knock"}),
        json!({"type": "read", "chat_id": chat_id, "seq": 1}),
    ] {
        let answer = ws.command(command).await;
        assert_eq!((&answer["type"], &answer["code"]), (&json!("error"), &json!("chat_not_found")), "{answer}");
    }
    // A member who leaves is a stranger again.
    bob.leave(chat_id).await;
    bob.rest.get(&of_chat("")).await.problem(404, "chat_not_found");
}

async fn an_invitation_needs_no_body_and_its_link_is_what_proxies_say(d: &Deployment) {
    let ann = d.user().await;
    let path = format!("/chats/{}/invites", closed(&ann, &[]).await);
    let plain = ann.rest.post_nothing(&path).await.ok(201);
    assert_eq!((&plain["max_uses"], plain["expires_at"].is_string()), (&Value::Null, true));
    for (headers, begins) in [
        (&[("x-forwarded-proto", "https")][..], "https://127.0.0.1:"),
        (&[("x-forwarded-proto", "HTTPS, http")], "https://127.0.0.1:"),
        (&[("x-forwarded-proto", "http, https")], "http://127.0.0.1:"),
        (&[("host", "chat.example"), ("x-forwarded-prefix", "/talk")], "http://chat.example/talk/invite/"),
        (&[("host", "chat.example"), ("x-forwarded-prefix", "/a/b/")], "http://chat.example/a/b/invite/"),
        (&[("host", "chat.example"), ("x-forwarded-prefix", "//evil.example")], "http://chat.example/invite/"),
        (&[("host", "chat.example"), ("x-forwarded-prefix", "/a?b#c")], "http://chat.example/invite/"),
    ] {
        let mut asked = ann.rest.request(Method::POST, &path);
        for (name, value) in headers {
            asked = asked.header(*name, *value);
        }
        let made = Answer::of(asked).await.ok(201);
        let url = made["url"].as_str().unwrap();
        assert!(url.starts_with(begins) && url.ends_with(&format!("/invite/{}", code(&made))), "{headers:?}: {url}");
    }
}

async fn a_friend_comes_in_by_a_link(d: &Deployment) {
    let (ann, bob) = (d.user_named("Ann").await, d.user().await);
    let chat_id = closed(&ann, &[]).await;
    ann.say(chat_id, "before").await;
    let (mut near, mut far) = (ann.connect_to(0).await, bob.connect_to(1).await);
    let subscribed = near.command(json!({"type": "subscribe_chat", "chat_id": chat_id})).await;
    assert_eq!(subscribed["type"], "subscribed", "{subscribed}");
    let made = invite(&ann, chat_id, json!({})).await;
    let mut fields: Vec<&String> = made.as_object().unwrap().keys().collect();
    fields.sort();
    let expected = ["chat_id", "code", "created_at", "created_by", "expires_at", "max_uses", "url", "uses"];
    assert_eq!(fields, expected);
    assert!(code(&made).len() >= 22, "128 bits: {made}");
    assert_eq!((&made["chat_id"], &made["created_by"]), (&json!(chat_id), &json!(ann.id)));
    assert_eq!((&made["max_uses"], &made["uses"]), (&Value::Null, &json!(0)));
    let (from, to) = (crate::rest::assert_time(&made["created_at"]), made["expires_at"].as_str().unwrap());
    let to = time::OffsetDateTime::parse(to, &time::format_description::well_known::Rfc3339).unwrap();
    assert_eq!((to - from).whole_seconds(), 604_800);
    let url = made["url"].as_str().unwrap();
    assert!(url.starts_with("http://127.0.0.1:") && url.ends_with(&format!("/invite/{}", code(&made))), "{url}");

    for (slash, root) in [("", ".."), ("/", "../..")] {
        let led = d.rest().get(&format!("/invite/{}{slash}", code(&made))).await;
        assert_eq!(led.header("location"), Some(&*format!("{root}/#/invite/{}", code(&made))), "{slash}");
    }
    let seen = d.rest().get(&format!("/invites/{}", code(&made))).await.ok(200);
    let chat = json!({"name": "Quiet", "description": "a room", "member_count": 1});
    assert_eq!((&seen["chat"], &seen["invited_by"]), (&chat, &json!(ann.username)));
    let entered = accept(&bob, &made).await.ok(200);
    crate::rest::chats::assert_chat(&entered);
    assert_eq!((id(&entered), &entered["role"]), (chat_id, &json!("member")));
    assert_eq!(near.expect("member_joined").await["user_id"], bob.id);
    assert_eq!(far.expect("chat_added").await["chat"]["id"], chat_id);
    assert_eq!(bob.history(chat_id).await["items"][0]["text"], "before");
    assert_eq!(accept(&bob, &made).await.ok(200)["member_count"], 2, "a member stays one");
    let listed = ann.rest.get(&format!("/chats/{chat_id}/invites")).await.ok(200);
    assert_eq!((&listed["items"][0]["code"], &listed["items"][0]["uses"]), (&made["code"], &json!(1)));
    assert_eq!(listed["items"][0]["url"].as_str().unwrap().split("/invite/").nth(1), Some(code(&made)));
}

async fn owners_alone_invite(d: &Deployment) {
    let (ann, bob, eve) = (d.user().await, d.user().await, d.user().await);
    let open = ann.group_id(&[&bob]).await;
    let private = ann.private_chat_id(&bob).await;
    let made = invite(&ann, open, json!({"expires_in": null, "max_uses": 3})).await;
    assert_eq!((&made["expires_at"], &made["max_uses"]), (&Value::Null, &json!(3)));
    for (chat_id, user, status, refused) in [
        (open, &bob, 403, "not_owner"),
        (open, &eve, 403, "not_a_member"),
        (private, &ann, 403, "private_chat"),
        (private, &eve, 404, "chat_not_found"),
    ] {
        let path = format!("/chats/{chat_id}/invites");
        user.rest.post(&path, json!({})).await.problem(status, refused);
        user.rest.get(&path).await.problem(status, refused);
        user.rest.delete(&format!("{path}/{}", code(&made))).await.problem(status, refused);
    }
    d.rest().post(&format!("/chats/{open}/invites"), json!({})).await.problem(401, "unauthenticated");
    d.rest().post_nothing(&format!("/invites/{}/accept", code(&made))).await.problem(401, "unauthenticated");
}

async fn a_used_up_or_revoked_invitation_is_gone(d: &Deployment) {
    let (ann, bob, eve) = (d.user().await, d.user().await, d.user().await);
    let chat_id = closed(&ann, &[]).await;
    let once = invite(&ann, chat_id, json!({"max_uses": 1})).await;
    accept(&bob, &once).await.ok(200);
    let revoked = invite(&ann, chat_id, json!({})).await;
    let path = format!("/chats/{chat_id}/invites/{}", code(&revoked));
    ann.rest.delete(&path).await.ok(204);
    ann.rest.delete(&path).await.problem(404, "invite_not_found");
    // what no invitation is called, also what a database does not take
    for none in ["%00", "%C3%A9", "x"] {
        d.rest().get(&format!("/invites/{none}")).await.problem(404, "invite_not_found");
        eve.rest.post(&format!("/invites/{none}/accept"), json!({})).await.problem(404, "invite_not_found");
        ann.rest.delete(&format!("/chats/{chat_id}/invites/{none}")).await.problem(404, "invite_not_found");
    }
    for gone in [&once, &revoked, &json!({"code": "AAAAAAAAAAAAAAAAAAAAAA"})] {
        accept(&eve, gone).await.problem(404, "invite_not_found");
        d.rest().get(&format!("/invites/{}", code(gone))).await.problem(404, "invite_not_found");
        register(&d.rest(), &fresh_name("gone"), Some(code(gone))).await.problem(404, "invite_not_found");
    }
}

async fn two_who_take_the_last_use_at_once(d: &Deployment) {
    let ann = d.user().await;
    let chat_id = closed(&ann, &[]).await;
    let made = invite(&ann, chat_id, json!({"max_uses": 1})).await;
    let (bob, eve, dan) = (d.user().await, d.user().await, d.user().await);
    let name = fresh_name("late");
    let (one, two, three, new) = tokio::join!(
        accept(&bob, &made),
        accept(&eve, &made),
        accept(&dan, &made),
        register(&ann.rest, &name, Some(code(&made)))
    );
    let mut statuses = [one.status, two.status, three.status];
    statuses.sort_unstable();
    match new.status {
        201 => assert_eq!(statuses, [404, 404, 404]),
        _ => assert_eq!((new.status, statuses), (404, [200, 404, 404])),
    }
    assert_eq!(ann.chat(chat_id).await["member_count"], 2);
}

async fn an_invitation_is_made_once_under_a_key(d: &Deployment) {
    let ann = d.user().await;
    let chat_id = closed(&ann, &[]).await;
    let made = async |node: usize| {
        let rest = ann.rest.on(node);
        let request = rest.request(Method::POST, &format!("/chats/{chat_id}/invites"));
        Answer::of(request.header("Idempotency-Key", "k1").json(&json!({}))).await.ok(201)
    };
    let (first, second) = (made(0).await, made(1).await);
    assert_eq!(first["code"], second["code"]);
    let listed = ann.rest.get(&format!("/chats/{chat_id}/invites")).await.ok(200);
    assert_eq!(listed["items"].as_array().unwrap().len(), 1);
}

async fn a_registration_by_a_groups_invitation_is_a_member(d: &Deployment) {
    let ann = d.user().await;
    let chat_id = closed(&ann, &[]).await;
    let mut ws = ann.connect().await;
    ws.command(json!({"type": "subscribe_chat", "chat_id": chat_id})).await;
    let made = invite(&ann, chat_id, json!({"max_uses": 1})).await;
    let name = fresh_name("Friend");
    let new = register(&d.rest(), &name, Some(code(&made))).await.ok(201);
    assert_eq!(ws.expect("member_joined").await["user_id"], new["id"]);
    let again = register(&d.rest(), &name, Some(code(&made))).await.ok(201);
    assert_eq!(again["id"], new["id"], "a lost answer is repeated");
    let tokens = d.rest().post("/auth/login", json!({"username": name, "password": PASSWORD})).await.ok(200);
    let rest = d.rest().with_bearer(tokens["access_token"].as_str().unwrap());
    let chats = rest.get("/chats/").await.ok(200);
    assert_eq!((chats["items"].as_array().unwrap().len(), id(&chats["items"][0])), (1, chat_id));
}

async fn every_fault_of_an_invitation_is_named(d: &Deployment) {
    let ann = d.user().await;
    let path = format!("/chats/{}/invites", ann.group_id(&[]).await);
    for (body, fields) in [
        (json!({"expires_in": 0}), vec!["expires_in"]),
        (json!({"expires_in": 315_360_001_i64, "max_uses": 0}), vec!["expires_in", "max_uses"]),
        (json!({"expires_in": "soon", "max_uses": 1_000_001}), vec!["expires_in", "max_uses"]),
    ] {
        assert_eq!(ann.rest.post(&path, body).await.faulty_fields(), fields);
    }
    let created = json!({"name": "x", "is_public": "no"});
    assert_eq!(ann.rest.post("/chats/create", created).await.faulty_fields(), ["is_public"]);
}

/// Runs `messenger invite` (of an api: `messenger-api invite`) beside the deployment; answers its
/// lines.
async fn host_invite(d: &Deployment, arguments: &'static [&'static str]) -> (bool, Vec<String>) {
    let program = if d.is_cluster() { Program::Api } else { Program::Messenger };
    let (dir, log, mut env) = (process::new_dir("invite"), Arc::<Log>::default(), d.env().clone());
    let (to, of) = (Arc::clone(&log), dir.clone());
    env.insert("RUST_LOG".to_owned(), "error".to_owned());
    let status = blocking(move || {
        let all: Vec<&str> = ["invite"].iter().chain(arguments).copied().collect();
        let mut process = programs::launch(program, &of, &env, &all, &to)?;
        process.ended(SOON)
    })
    .await
    .unwrap();
    process::remove_dir(&dir);
    (status.success(), log.since(0))
}

async fn registration_is_open_by_invitation_or_closed(builder: Builder) {
    let d = builder.env("REGISTRATION", "invite").start().await;
    let rest = d.rest();
    register(&rest, "stranger", None).await.problem(403, "registration_closed");
    let (made, lines) = host_invite(&d, &["--json"]).await;
    assert!(made && lines.len() == 1, "{lines:?}");
    let given: Value = serde_json::from_str(&lines[0]).unwrap();
    assert_eq!((&given["chat_id"], &given["max_uses"]), (&Value::Null, &json!(1)));
    let seen = rest.get(&format!("/invites/{}", code(&given))).await.ok(200);
    assert_eq!((&seen["chat"], &seen["invited_by"]), (&Value::Null, &Value::Null));
    let ann = register(&rest, "ann", Some(code(&given))).await.ok(201);
    register(&rest, "ann", Some(code(&given))).await.ok(201);
    // Neither a stranger nor the holder of one that is used up learns which names are taken.
    for none in [code(&given), "AAAAAAAAAAAAAAAAAAAAAA"] {
        for name in ["eve", "ANN"] {
            register(&rest, name, Some(none)).await.problem(404, "invite_not_found");
        }
    }

    let (made, lines) = host_invite(&d, &["--max-uses", "0", "--expires-in", "60"]).await;
    assert!(made && lines.len() == 1, "{lines:?}");
    let bob = register(&rest, "bob", Some(&lines[0])).await.ok(201);
    register(&rest, "dan", Some(&lines[0])).await.ok(201);
    // Postgres spends a number on each row that it refuses: to try a name takes time, too.
    assert_eq!(id(&bob), id(&ann) + 1, "no name was tried");
    let (made, lines) = host_invite(&d, &["--max-uses", "-4"]).await;
    assert!(!made && lines.len() == 1, "{lines:?}");

    for node in d.apis() {
        node.set_env("REGISTRATION", "closed");
        node.restart().await;
    }
    register(&d.rest(), "late", None).await.problem(403, "registration_closed");
    register(&d.rest(), "late", Some(&lines[0])).await.problem(403, "registration_closed");
}
