//! A user of the messenger, registered afresh for each test.

use std::hash::{BuildHasher, RandomState};
use std::sync::LazyLock;
use std::sync::atomic::{AtomicUsize, Ordering};

use serde_json::{Value, json};

use super::rest::{Answer, Rest};
use super::ws::{Way, Ws};

pub const PASSWORD: &str = "correct horse battery";

/// A registered user who is logged in.
pub struct User {
    pub id: i64,
    pub username: String,
    pub email: String,
    pub password: String,
    pub access: String,
    pub refresh: String,
    /// bears the access token
    pub rest: Rest,
    gateways: Vec<String>,
    turn: AtomicUsize,
}

/// A name nobody has had in this database: `prefix_` and a few letters.
pub fn fresh_name(prefix: &str) -> String {
    static RUN: LazyLock<u64> = LazyLock::new(|| RandomState::new().hash_one("run"));
    static NEXT: AtomicUsize = AtomicUsize::new(0);
    let number = NEXT.fetch_add(1, Ordering::Relaxed);
    format!("{prefix}_{:05x}_{number}", *RUN & 0xf_ffff)
}

impl User {
    /// Registers and logs in through `rest`.
    pub async fn register(rest: Rest, gateways: Vec<String>, prefix: &str) -> Self {
        let username = fresh_name(prefix);
        let email = format!("{username}@example.org");
        let answer = rest
            .post("/auth/register", json!({"username": username, "email": email, "password": PASSWORD}))
            .await
            .ok(201);
        let mut user = Self {
            id: answer["id"].as_i64().expect("an id"),
            turn: AtomicUsize::new(usize::try_from(answer["id"].as_i64().unwrap()).unwrap()),
            username,
            email,
            password: PASSWORD.to_owned(),
            access: String::new(),
            refresh: String::new(),
            rest,
            gateways,
        };
        let tokens = user.login().await.ok(200);
        user.take_tokens(&tokens);
        user
    }

    /// Asks for another session; the user goes on with the one it has.
    pub async fn login(&self) -> Answer {
        let body = json!({"username": self.username, "password": self.password});
        self.rest.anonymous().post("/auth/login", body).await
    }

    /// Goes on under other tokens (the answer of a login or a refresh).
    pub fn take_tokens(&mut self, tokens: &Value) {
        token(tokens, "access_token").clone_into(&mut self.access);
        token(tokens, "refresh_token").clone_into(&mut self.refresh);
        self.rest = self.rest.with_bearer(&self.access);
    }

    /// The same user in a second session: another device.
    pub async fn second_session(&self) -> Self {
        let tokens = self.login().await.ok(200);
        let mut device = Self {
            id: self.id,
            username: self.username.clone(),
            email: self.email.clone(),
            password: self.password.clone(),
            access: String::new(),
            refresh: String::new(),
            rest: self.rest.clone(),
            gateways: self.gateways.clone(),
            turn: AtomicUsize::new(self.turn.load(Ordering::Relaxed) + 1),
        };
        device.take_tokens(&tokens);
        device
    }

    /// A socket on the next gateway, its `welcome` read.
    pub async fn connect(&self) -> Ws {
        self.connect_to(self.turn.fetch_add(1, Ordering::Relaxed)).await
    }

    /// A socket on the `n`th gateway, its `welcome` read.
    pub async fn connect_to(&self, n: usize) -> Ws {
        let mut ws = self.open(n, Way::Path).await;
        ws.expect_welcome().await;
        ws
    }

    /// A socket on the `n`th gateway of which nothing has been read.
    pub async fn open(&self, n: usize, way: Way) -> Ws {
        let gateway = &self.gateways[n % self.gateways.len()];
        Ws::open(gateway, way, &self.access).await
    }

    /// A group of this user's with these members.
    pub async fn group(&self, name: &str, members: &[&Self]) -> Value {
        let ids: Vec<i64> = members.iter().map(|member| member.id).collect();
        let body = json!({"name": name, "is_group": true, "member_ids": ids});
        self.rest.post("/chats/create", body).await.ok(201)
    }

    /// The id of a new group of this user's with these members.
    pub async fn group_id(&self, members: &[&Self]) -> i64 {
        id(&self.group("a group", members).await)
    }

    /// The id of the private chat with `other`, which must not exist yet.
    pub async fn private_chat_id(&self, other: &Self) -> i64 {
        let body = json!({"is_group": false, "member_ids": [other.id]});
        id(&self.rest.post("/chats/create", body).await.ok(201))
    }

    /// Sends a message over REST; the Message.
    pub async fn say(&self, chat_id: i64, text: &str) -> Value {
        let body = json!({"chat_id": chat_id, "text": text});
        self.rest.post("/messages/send", body).await.ok(201)
    }

    pub async fn join(&self, chat_id: i64) -> Value {
        self.rest.post_nothing(&format!("/chats/{chat_id}/join")).await.ok(200)
    }

    pub async fn leave(&self, chat_id: i64) {
        self.rest.delete(&format!("/chats/{chat_id}/leave")).await.ok(204);
    }

    /// The chat as `GET /chats/{chat_id}` tells it.
    pub async fn chat(&self, chat_id: i64) -> Value {
        self.rest.get(&format!("/chats/{chat_id}")).await.ok(200)
    }

    /// The newest page of the chat's history.
    pub async fn history(&self, chat_id: i64) -> Value {
        self.rest.get(&format!("/messages/chat/{chat_id}")).await.ok(200)
    }
}

/// The `id` of a User, Chat or Message.
#[track_caller]
pub fn id(object: &Value) -> i64 {
    object["id"].as_i64().unwrap_or_else(|| panic!("no id in {object}"))
}

#[track_caller]
fn token<'a>(tokens: &'a Value, name: &str) -> &'a str {
    tokens[name].as_str().unwrap_or_else(|| panic!("no {name}"))
}
