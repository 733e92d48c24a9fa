//! The walk of people through whatever stands before the programs: they register, connect by every
//! way in, and everybody hears everybody.

use reqwest::Method;

use crate::support::{Answer, Rest, SOON, User, Value, Way, Ws, json};

/// The remains of the walk, its sockets open.
pub(super) struct Walked {
    chat: i64,
    users: Vec<User>,
    sockets: Vec<Ws>,
}

impl Walked {
    /// Closes the sockets. Returns the chat, and the people.
    pub(super) async fn end(self) -> (i64, Vec<User>) {
        for socket in self.sockets {
            socket.close().await;
        }
        (self.chat, self.users)
    }
}

/// Walks through the api at `rest` and the gateway at `ws_url`.
pub(super) async fn walk(rest: &Rest, ws_url: &str) -> Walked {
    let user = async || User::register(rest.clone(), vec![ws_url.to_owned()], "walking").await;
    let (ann, bob) = (user().await, user().await);

    let root = rest.request(Method::GET, "/").header("accept", "application/json");
    assert!(Answer::of(root).await.ok(200)["name"].is_string());
    assert_eq!(ann.rest.get("/auth/me").await.ok(200)["username"], ann.username.as_str());
    let openapi = rest.get("/openapi.json").await.ok(200);
    assert!(openapi["openapi"].as_str().unwrap().starts_with("3.1"));

    // Eight sockets of four people, by all ways in.
    let (eve, dan) = (user().await, user().await);
    let chat = ann.group_id(&[&bob, &eve, &dan]).await;
    let mut sockets = Vec::new();
    for user in [&ann, &bob, &eve, &dan] {
        for way in [Way::Path, if user.id % 2 == 0 { Way::Header } else { Way::Subprotocol }] {
            let mut socket = user.open(0, way).await;
            assert_eq!(socket.expect_welcome().await["user_id"], user.id);
            assert_eq!(socket.subscribe(chat).await["chat_id"], chat);
            sockets.push(socket);
        }
    }

    // Everybody hears everybody, over REST and over sockets.
    let mut expected = Vec::new();
    for (number, user) in [&ann, &bob, &eve, &dan].into_iter().enumerate() {
        let text = format!("over REST {number}");
        user.say(chat, &text).await;
        expected.push(text);
    }
    #[expect(clippy::needless_range_loop, reason = "the others are indexed too")]
    for number in 0..sockets.len() {
        let text = format!("over socket {number}");
        let command = json!({"type": "send_message", "chat_id": chat, "text": text});
        assert_eq!(sockets[number].command(command).await["type"], "message_sent");
        expected.push(text);
    }
    for socket in &mut sockets {
        let mut last = None;
        for text in &expected {
            let event = socket.expect_in("new_message", chat).await;
            assert_eq!(event["message"]["text"], text.as_str());
            let seq = event["seq"].as_i64().unwrap();
            assert!(last.is_none_or(|last| seq == last + 1), "{seq} after {last:?}");
            last = Some(seq);
        }
    }

    // An edit, a deletion, who is typing, a private message.
    let message = ann.say(chat, "to be changed").await;
    let path = message["id"].to_string();
    ann.rest.put(&format!("/messages/edit/{path}"), json!({"text": "changed"})).await.ok(200);
    ann.rest.delete(&format!("/messages/delete/{path}")).await.ok(204);
    sockets[0].send(json!({"type": "typing", "chat_id": chat})).await;
    let private = json!({"type": "private_message", "recipient_id": bob.id, "text": "just us"});
    assert_eq!(sockets[0].command(private).await["type"], "message_sent");
    for socket in &mut sockets[2..] {
        assert_eq!(socket.expect_in("message_edited", chat).await["message"]["text"], "changed");
        assert_eq!(socket.expect_in("message_deleted", chat).await["message_id"], message["id"]);
        assert_eq!(socket.expect_in("typing", chat).await["user_id"], ann.id);
    }
    for socket in &mut sockets[2..4] {
        let wanted = |frame: &Value| frame["message"]["text"] == "just us";
        socket.expect_where("the private message", SOON, wanted).await;
    }
    let history = bob.history(chat).await;
    assert_eq!(history["items"].as_array().unwrap().len(), expected.len());
    let online = dan.rest.get(&format!("/ws/chat/{chat}/online-users")).await.ok(200);
    assert_eq!(online["count"], 4);

    // A bad token is told by a close, through a balancer too.
    let mut refused = Ws::open(ws_url, Way::Path, "eyJhbGciOiJub25lIn0.eyJzdWIiOiIxIn0.c2lnbmF0dXJl").await;
    assert_eq!(refused.expect_close(SOON).await.0, 4501);
    Walked { chat, users: vec![ann, bob, eve, dan], sockets }
}
