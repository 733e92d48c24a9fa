//! One api and one gateway of each release: all that one does, the other knows.

use std::time::Duration;

use crate::support::user::{PASSWORD, fresh_name, id};
use crate::support::{Deployment, Rest, SOON, User, Ws, eventually, json};
use crate::{before, once_built};

/// An ended session is dead on every node within this (G6).
const ENDED_WITHIN: Duration = Duration::from_secs(1);
/// Two looks of an api at the addresses that lack their spelling, and a moment.
const SPELLED_WITHIN: Duration = Duration::from_secs(25);
pub const OLD: usize = 0;
pub const NEW: usize = 1;

/// The node of the release before comes first, then this one's, which brings the schema up beside
/// it.
pub async fn both() -> Deployment {
    let mut d = Deployment::cluster(1, 1).programs(before().await).env("PRESENCE_GRACE_SECONDS", 1).start().await;
    d.add_api().await;
    d.add_gateway().await;
    d
}

async fn new_messages(ws: &mut Ws, chat_id: i64, from: i64, texts: &[&str]) {
    for (seq, text) in (from..).zip(texts) {
        let event = ws.expect_in("new_message", chat_id).await;
        assert_eq!((event["seq"].as_i64(), event["message"]["text"].as_str()), (Some(seq), Some(*text)), "{event}");
    }
}

pub fn send(chat_id: i64, text: &str) -> crate::support::Value {
    json!({"chat_id": chat_id, "text": text})
}

#[tokio::test]
async fn messages_and_changes_cross_both_ways() {
    once_built(async {
        let d = both().await;
        let (ann, ben) = (d.user().await, d.user().await);
        let chat = json!({"name": "both", "member_ids": [ben.id]});
        let chat_id = id(&ann.rest.on(OLD).post("/chats/create", chat).await.ok(201));
        let mut sockets = [ann.connect_to(OLD).await, ben.connect_to(NEW).await];
        for ws in &mut sockets {
            ws.subscribe(chat_id).await;
        }
        let first = ann.rest.on(OLD).post("/messages/send", send(chat_id, "by the old api")).await.ok(201);
        let second = ben.rest.on(NEW).post("/messages/send", send(chat_id, "by the new api")).await.ok(201);
        for (at, text) in [(OLD, "by the old gateway"), (NEW, "by the new gateway")] {
            let mut command = send(chat_id, text);
            command["type"] = json!("send_message");
            assert_eq!(sockets[at].command(command).await["type"], "message_sent");
        }
        let texts = ["by the old api", "by the new api", "by the old gateway", "by the new gateway"];
        for ws in &mut sockets {
            new_messages(ws, chat_id, 1, &texts).await;
        }
        let edit = json!({"text": "edited"});
        ann.rest.on(NEW).put(&format!("/messages/edit/{}", first["id"]), edit).await.ok(200);
        ben.rest.on(OLD).delete(&format!("/messages/delete/{}", second["id"])).await.ok(204);
        ann.rest.on(NEW).patch(&format!("/chats/{chat_id}"), json!({"name": "renamed"})).await.ok(200);
        for ws in &mut sockets {
            assert_eq!(ws.expect_in("message_edited", chat_id).await["seq"], 5);
            assert_eq!(ws.expect_in("message_deleted", chat_id).await["seq"], 6);
            assert_eq!(ws.expect_in("chat_updated", chat_id).await["chat"]["name"], "renamed");
        }
        // The same id of a client's, sent again through the other release.
        let again = json!({"chat_id": chat_id, "text": "once", "client_message_id": "c-1"});
        let sent = ann.rest.on(OLD).post("/messages/send", again.clone()).await.ok(201);
        let repeated = ann.rest.on(NEW).post("/messages/send", again).await.ok(200);
        assert_eq!(sent["id"], repeated["id"]);

        let page = |rest: Rest| async move {
            let page = rest.get(&format!("/messages/chat/{chat_id}")).await.ok(200);
            let shown = |message: &crate::support::Value| {
                let fields = ["id", "seq", "text", "author_id", "created_at", "is_edited", "edited_at"];
                // The release before leaves out the last zeros of a time.
                let short = |text: &str| json!(text.trim_end_matches('Z').trim_end_matches('0'));
                fields.map(|field| match message[field].as_str() {
                    Some(time) if field.ends_with("_at") => short(time),
                    _ => message[field].clone(),
                })
            };
            (page["seq"].clone(), page["items"].as_array().unwrap().iter().map(shown).collect::<Vec<_>>())
        };
        assert_eq!(page(ann.rest.on(OLD)).await, page(ann.rest.on(NEW)).await);
        // A subscription of one release goes on at the other.
        for (user, at) in [(&ben, OLD), (&ann, NEW)] {
            let mut ws = user.connect_to(at).await;
            let answer = ws.subscribe_after(chat_id, 4).await;
            assert_eq!((&answer["recovered"], &answer["seq"], &answer["resync"]), (&json!(4), &json!(8), &json!(null)));
            for kind in ["message_edited", "message_deleted", "chat_updated", "new_message"] {
                ws.expect_in(kind, chat_id).await;
            }
        }
        ben.rest.on(NEW).delete(&format!("/chats/{chat_id}/leave")).await.ok(204);
        sockets[OLD].expect_in("member_left", chat_id).await;
        ann.rest.on(OLD).post("/messages/send", send(chat_id, "without ben")).await.ok(201);
        sockets[OLD].expect_in("new_message", chat_id).await;
        sockets[NEW].expect("chat_removed").await;
        assert!(sockets[NEW].drain().iter().all(|frame| frame["message"]["text"] != "without ben"));
    })
    .await;
}

#[tokio::test]
async fn presence_and_what_is_beside_the_log_cross_both_ways() {
    once_built(async {
        let d = both().await;
        let (ann, ben) = (d.user().await, d.user().await);
        let chat_id = ann.group_id(&[&ben]).await;
        for (here, there) in [(OLD, NEW), (NEW, OLD)] {
            let mut watcher = ann.connect_to(here).await;
            watcher.subscribe(chat_id).await;
            let mut ws = ben.connect_to(there).await;
            let is_ben = |status: &'static str| {
                let ben = ben.id;
                move |frame: &crate::support::Value| {
                    frame["type"] == "user_status" && frame["user_id"] == ben && frame["status"] == status
                }
            };
            watcher.expect_where("ben online", SOON, is_ben("online")).await;
            ws.subscribe(chat_id).await;
            for at in [OLD, NEW] {
                let path = format!("{}/ws/chat/{chat_id}/online-users", d.gateway(at).url());
                let asked = ann.rest.request(reqwest::Method::GET, "/chats/").build().unwrap();
                let bearer = asked.headers()["authorization"].to_str().unwrap().to_owned();
                let request = reqwest::Client::new().get(path).header("authorization", bearer);
                let online = crate::support::Answer::of(request).await.ok(200);
                assert_eq!(online["count"], 2, "gateway {at}: {online}");
            }
            ws.send(json!({"type": "typing", "chat_id": chat_id})).await;
            assert_eq!(watcher.expect_in("typing", chat_id).await["user_id"], ben.id);
            let sent = ann.say(chat_id, "to be read").await;
            ws.expect_in("new_message", chat_id).await;
            ws.send(json!({"type": "read", "chat_id": chat_id, "seq": sent["seq"]})).await;
            let read = |frame: &crate::support::Value| frame["type"] == "message_read" && frame["user_id"] == ben.id;
            assert_eq!(watcher.expect_where("ben's mark", SOON, read).await["seq"], sent["seq"]);
            ws.close().await;
            watcher.expect_where("ben offline", SOON, is_ben("offline")).await;
            watcher.none_of(&["resync"]).await;
            watcher.close().await;
            let ann_gone = || async {
                let online = ben.rest.get("/ws/online-users").await.ok(200);
                (online["count"] == 0).then_some(())
            };
            eventually("nobody online", SOON, ann_gone).await;
        }
    })
    .await;
}

#[tokio::test]
async fn a_session_is_one_on_both() {
    once_built(async {
        let d = both().await;
        for (here, there) in [(OLD, NEW), (NEW, OLD)] {
            let mut ann = d.user().await;
            let login = json!({"username": ann.username, "password": ann.password});
            let tokens = d.rest().on(here).post("/auth/login", login).await.ok(200);
            ann.take_tokens(&tokens);
            for at in [OLD, NEW] {
                ann.rest.on(at).get("/auth/me").await.ok(200);
                ann.connect_to(at).await.round_trip().await;
            }
            for at in [there, here] {
                let body = json!({"refresh_token": ann.refresh});
                let tokens = d.rest().on(at).post("/auth/refresh", body).await.ok(200);
                ann.take_tokens(&tokens);
                ann.rest.on(here).get("/auth/me").await.ok(200);
            }
            let mut sockets = [ann.connect_to(OLD).await, ann.connect_to(NEW).await];
            ann.rest.on(there).post_nothing("/auth/logout").await.ok(204);
            for ws in &mut sockets {
                assert_eq!(ws.expect_close(ENDED_WITHIN).await.0, 4502);
            }
            for at in [OLD, NEW] {
                let user: &User = &ann;
                eventually("the token is dead", ENDED_WITHIN, || async move {
                    (user.rest.on(at).get("/auth/me").await.status == 401).then_some(())
                })
                .await;
            }
        }
    })
    .await;
}

#[tokio::test]
async fn an_address_that_the_old_api_stores_is_compared_as_the_new_one_does() {
    once_built(async {
        let d = both().await;
        let name = fresh_name("spelled");
        let email = |word: &str| format!("{name}.{word}@example.org");
        let register = async |at: usize, email: &str| {
            let account = json!({"username": fresh_name("spelled"), "email": email, "password": PASSWORD});
            d.rest().on(at).post("/auth/register", account).await
        };
        let login = async |at: usize, email: &str| {
            d.rest().on(at).post("/auth/login", json!({"username": email, "password": PASSWORD})).await
        };
        let found = async |email: &str| {
            eventually("the address has its spelling", SPELLED_WITHIN, || async {
                (login(NEW, email).await.status == 200).then_some(())
            })
            .await;
            register(NEW, email).await.problem(409, "email_taken");
        };
        register(OLD, &email("straße")).await.ok(201);
        found(&email("strasse")).await;
        // What the old one changes, too.
        let bearer = login(OLD, &email("straße")).await.ok(200)["access_token"].as_str().unwrap().to_owned();
        let change = json!({"email": email("café"), "current_password": PASSWORD});
        d.rest().on(OLD).with_bearer(&bearer).patch("/auth/me", change).await.ok(200);
        found(&email("cafe\u{301}")).await;
        register(NEW, &email("strasse")).await.ok(201);
        // The old one knows nothing of spellings: each of its two accounts is found by its own.
        register(OLD, &email("straße")).await.ok(201);
        for at in [OLD, NEW] {
            for own in ["strasse", "straße", "café"] {
                login(at, &email(own)).await.ok(200);
            }
        }
    })
    .await;
}
