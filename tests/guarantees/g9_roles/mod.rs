//! G9: what each user may do with each chat, action by action, over REST and over the WebSocket,
//! on both stores. The expected answers stand in one [`table`]; every cell of it is asked.

mod table;

use std::time::Duration;

use futures_util::{StreamExt, stream};
use reqwest::Method;

use crate::support::user::id;
use crate::support::{Answer, Deployment, Rest, SOON, User, Value, Way, Ws, json};

both_forms!(every_answer_is_the_tables);

/// An id that no chat and no message has.
const MISSING: i64 = 1 << 52;
const TEXT: &str = "an apple";
/// More at once wait too long for the one writer of a file, on a busy machine.
const COLUMNS_AT_ONCE: usize = 4;

/// The users; a column of the table names one of them, and the chat that is asked about.
struct Cast {
    owner: User,
    member: User,
    stranger: User,
    removed: User,
    one: User,
    other: User,
    blocked: User,
    deactivated: User,
    ended: User,
    /// The session of `one` that ended.
    ended_one: User,
    /// Asks nothing.
    extra: User,
}

impl Cast {
    async fn of(d: &Deployment) -> Self {
        let (member, one) = (d.user().await, d.user().await);
        let (ended, ended_one) = (member.second_session().await, one.second_session().await);
        Self {
            owner: d.user().await,
            stranger: d.user().await,
            removed: d.user().await,
            other: d.user().await,
            blocked: d.user().await,
            deactivated: d.user().await,
            extra: d.user().await,
            member,
            one,
            ended,
            ended_one,
        }
    }

    fn named(&self, place: &str, role: &str) -> &User {
        match (place, role) {
            (_, "owner") => &self.owner,
            (_, "member") => &self.member,
            (_, "removed") => &self.removed,
            (_, "one") => &self.one,
            (_, "other") => &self.other,
            (_, "blocked") => &self.blocked,
            (_, "deactivated") => &self.deactivated,
            ("private", "ended") => &self.ended_one,
            (_, "ended") => &self.ended,
            _ => &self.stranger,
        }
    }
}

/// A chat that is asked about.
struct Chat {
    id: i64,
    /// A message of the asking user, where they could write one.
    mine: i64,
    /// One of somebody else.
    others: i64,
    code: String,
}

/// A column of the table: a user, and a kind of chat.
struct Column<'a> {
    cast: &'a Cast,
    place: &'a str,
    role: &'a str,
    user: &'a User,
    rest: Rest,
}

impl<'a> Column<'a> {
    fn new(cast: &'a Cast, name: &'a str) -> Self {
        let (place, role) = name.split_once('.').expect("place.role");
        let user = cast.named(place, role);
        let rest = if role == "anonymous" { user.rest.anonymous() } else { user.rest.clone() };
        Self { cast, place, role, user, rest }
    }

    /// A fresh chat of this kind, in which each user has said something while they could.
    async fn chat(&self) -> Chat {
        match self.place {
            "private" => self.private().await,
            "missing" => Chat { id: MISSING, mine: MISSING, others: MISSING, code: "A".repeat(22) },
            _ => self.group().await,
        }
    }

    async fn private(&self) -> Chat {
        let one = &self.cast.one;
        let with = if self.role == "blocked" { &self.cast.blocked } else { &self.cast.other };
        let block = format!("/users/{}/block", with.id);
        one.rest.delete(&block).await.ok(204);
        let made = one.rest.post("/chats/create", json!({"is_group": false, "member_ids": [with.id]})).await;
        assert!([200, 201].contains(&made.status), "{}", made.body);
        let id = id(&made.json);
        let (ones, theirs) = (say(one, id).await, say(with, id).await);
        if self.role == "blocked" {
            one.rest.put_nothing(&block).await.ok(204);
        }
        let (mine, others) = if self.role == "one" { (ones, theirs) } else { (theirs, ones) };
        Chat { id, mine, others, code: "A".repeat(22) }
    }

    async fn group(&self) -> Chat {
        let Cast { owner, member, removed, deactivated, .. } = self.cast;
        let mut members = vec![member.id, removed.id];
        if self.role == "deactivated" {
            members.push(deactivated.id);
        }
        let body = json!({"name": "a group", "is_public": self.place != "closed", "member_ids": members});
        let made = owner.rest.post("/chats/create", body).await;
        // The deactivated user cannot be called in any more.
        let made = if made.status == 422 {
            let body = json!({"name": "a group", "member_ids": [member.id, removed.id]});
            owner.rest.post("/chats/create", body).await
        } else {
            made
        };
        let id = id(&made.ok(201));
        let (owners, members) = (say(owner, id).await, say(member, id).await);
        let theirs = say(removed, id).await;
        owner.rest.delete(&format!("/chats/{id}/members/{}", removed.id)).await.ok(204);
        let code = owner.rest.post(&format!("/chats/{id}/invites"), json!({})).await.ok(201)["code"].clone();
        if self.place == "deleted" {
            owner.rest.delete(&format!("/chats/{id}")).await.ok(204);
        }
        let (mine, others) = match self.role {
            "owner" => (owners, members),
            "removed" => (theirs, owners),
            _ => (members, owners),
        };
        Chat { id, mine, others, code: code.as_str().expect("a code").to_owned() }
    }

    /// Asks over REST; the status of what was granted, else the code.
    async fn ask(&self, action: &str) -> String {
        let Chat { id: chat, mine, others, code } = self.chat().await;
        let (member, extra) = (self.cast.member.id, self.cast.extra.id);
        let (get, post, put) = (Method::GET, Method::POST, Method::PUT);
        let (patch, delete) = (Method::PATCH, Method::DELETE);
        let (method, path, body) = match action {
            "chat" => (get, format!("/chats/{chat}"), None),
            "rename" => (patch, format!("/chats/{chat}"), Some(json!({"name": "another"}))),
            "delete" => (delete, format!("/chats/{chat}"), None),
            "join" => (post, format!("/chats/{chat}/join"), None),
            "leave" => (delete, format!("/chats/{chat}/leave"), None),
            "members" => (get, format!("/chats/{chat}/members"), None),
            "add" => (post, format!("/chats/{chat}/members"), Some(json!({"user_ids": [extra]}))),
            "appoint" => (patch, format!("/chats/{chat}/members/{member}"), Some(json!({"role": "owner"}))),
            "remove" => (delete, format!("/chats/{chat}/members/{member}"), None),
            "read" => (post, format!("/chats/{chat}/read"), Some(json!({"seq": 1}))),
            "settings" => (patch, format!("/chats/{chat}/settings"), Some(json!({"pinned": true}))),
            "history" => (get, format!("/messages/chat/{chat}"), None),
            "search" => (get, format!("/messages/search?q=apple&chat_id={chat}"), None),
            "find" => (get, "/messages/search?q=apple&limit=100".to_owned(), None),
            "send" => (post, "/messages/send".to_owned(), Some(json!({"chat_id": chat, "text": TEXT}))),
            "message" => (get, format!("/messages/{others}"), None),
            "edit_mine" => (put, format!("/messages/edit/{mine}"), Some(json!({"text": "a pear"}))),
            "edit_others" => (put, format!("/messages/edit/{others}"), Some(json!({"text": "a pear"}))),
            "drop_mine" => (delete, format!("/messages/delete/{mine}"), None),
            "drop_others" => (delete, format!("/messages/delete/{others}"), None),
            "react" => (put, format!("/messages/{others}/reactions/%F0%9F%91%8D"), None),
            "unreact" => (delete, format!("/messages/{others}/reactions/%F0%9F%91%8D"), None),
            "pin" => (put, format!("/chats/{chat}/pins/{others}"), None),
            "unpin" => (delete, format!("/chats/{chat}/pins/{others}"), None),
            "pins" => (get, format!("/chats/{chat}/pins"), None),
            "invite" => (post, format!("/chats/{chat}/invites"), Some(json!({}))),
            "invites" => (get, format!("/chats/{chat}/invites"), None),
            "revoke" => (delete, format!("/chats/{chat}/invites/{code}"), None),
            "preview" => (get, format!("/invites/{code}"), None),
            "accept" => (post, format!("/invites/{code}/accept"), None),
            "online" => (get, format!("/ws/chat/{chat}/online-users"), None),
            "profile" => (patch, "/auth/me".to_owned(), Some(json!({"display_name": "A name"}))),
            "me" => (get, "/auth/me".to_owned(), None),
            "chats" => (get, "/chats/?limit=1".to_owned(), None),
            "sessions" => (get, "/auth/sessions?limit=1".to_owned(), None),
            "user" => (get, format!("/users/{extra}"), None),
            "users" => (get, "/users?q=a&limit=1".to_owned(), None),
            "block" => (put, format!("/users/{extra}/block"), None),
            "unblock" => (delete, format!("/users/{extra}/block"), None),
            "blocked" => (get, "/users/blocked?limit=1".to_owned(), None),
            "everybody" => (get, "/ws/online-users?limit=1".to_owned(), None),
            unknown => panic!("no such action: {unknown}"),
        };
        let request = self.rest.request(method, &path);
        let answer = Answer::of(if let Some(body) = body { request.json(&body) } else { request }).await;
        if answer.status < 300 && action == "find" {
            let found = answer.json["items"].as_array().expect("items");
            let of_it = found.iter().any(|message| message["chat_id"] == chat);
            return if of_it { "its messages" } else { "nothing of it" }.to_owned();
        }
        if answer.status < 300 {
            return answer.status.to_string();
        }
        assert!(answer.status < 500, "{action}: {}", answer.body);
        answer.json["code"].as_str().unwrap_or_else(|| panic!("no code: {}", answer.body)).to_owned()
    }

    /// The socket of the user. A user without access gets the code of the close.
    async fn socket(&self) -> Result<Ws, u16> {
        if self.role == "anonymous" {
            let mut ws =
                Ws::open(&self.rest.url("/ws/").replace("http", "ws").replace("/ws/", ""), Way::Path, "none").await;
            return Err(ws.expect_close(SOON).await.0);
        }
        let mut ws = self.user.open(0, Way::Header).await;
        match ws.next_within(SOON).await {
            Some(welcome) => {
                assert_eq!(welcome["type"], "welcome");
                Ok(ws)
            }
            None => Err(ws.expect_close(SOON).await.0),
        }
    }

    /// Asks over the WebSocket; `ok`, or the code.
    async fn command(&self, ws: &mut Ws, action: &str, chat: i64) -> String {
        let command = match action {
            "subscribe" => json!({"type": "subscribe_chat", "chat_id": chat}),
            "unsubscribe" => json!({"type": "unsubscribe_chat", "chat_id": chat}),
            "read" => json!({"type": "read", "chat_id": chat, "seq": 1}),
            "send" => json!({"type": "send_message", "chat_id": chat, "text": TEXT}),
            "private" => json!({"type": "private_message", "recipient_id": self.cast.one.id, "text": TEXT}),
            "typing" => json!({"type": "typing", "chat_id": chat, "request_id": "typing"}),
            unknown => panic!("no such command: {unknown}"),
        };
        let answer = if action == "typing" {
            // It is answered only where it is refused.
            ws.send(command).await;
            ws.round_trip().await;
            ws.drain().into_iter().find(|frame| frame["request_id"] == "typing").unwrap_or(Value::Null)
        } else {
            ws.command(command).await
        };
        if answer["type"] == "error" { answer["code"].as_str().expect("a code").to_owned() } else { "ok".to_owned() }
    }

    /// All cells of the column that are not as the table has them.
    async fn wrong(&self, rows: &[(&str, &str)], commands: &[(&str, &str)]) -> Vec<String> {
        let mut wrong = Vec::new();
        let mut compare = |action: &str, way: &str, expected: &str, answered: &str| {
            if long(expected) != answered {
                wrong.push(format!(
                    "{}.{} {action} ({way}): {answered}, not {}",
                    self.place,
                    self.role,
                    long(expected)
                ));
            }
        };
        for (action, expected) in rows.iter().filter(|row| row.1 != "-") {
            compare(action, "REST", expected, &self.ask(action).await);
        }
        let chat = self.chat().await.id;
        let mut socket = self.socket().await;
        for (action, expected) in commands.iter().filter(|row| row.1 != "-") {
            let answered = match &mut socket {
                Ok(ws) => self.command(ws, action, chat).await,
                Err(code) => code.to_string(),
            };
            compare(action, "WebSocket", expected, &answered);
        }
        wrong
    }
}

async fn say(user: &User, chat: i64) -> i64 {
    id(&user.say(chat, TEXT).await)
}

fn long(word: &str) -> &str {
    table::WORDS.iter().find(|(short, _)| *short == word).map_or(word, |(_, long)| long)
}

/// The cells of one column.
fn column(rows: &'static str, at: usize) -> Vec<(&'static str, &'static str)> {
    let columns = table::COLUMNS.split_whitespace().count();
    let lines = rows.lines().filter(|line| !line.trim().is_empty());
    let row = |line: &'static str| {
        let mut cells = line.split_whitespace();
        let action = cells.next().expect("an action");
        let cells: Vec<_> = cells.collect();
        assert_eq!(cells.len(), columns, "{action}");
        (action, cells[at])
    };
    lines.map(row).collect()
}

async fn every_answer_is_the_tables(d: &Deployment) {
    let cast = Cast::of(d).await;
    for ended in [&cast.ended, &cast.ended_one] {
        ended.rest.post_nothing("/auth/logout").await.ok(204);
        gone(ended).await;
    }
    let body = json!({"current_password": cast.deactivated.password});
    let leave = cast.deactivated.rest.request(Method::DELETE, "/auth/me").json(&body);
    Answer::of(leave).await.ok(204);
    gone(&cast.deactivated).await;
    let names: Vec<_> = table::COLUMNS.split_whitespace().collect();
    let asked = names.iter().enumerate().map(|(at, name)| {
        let cast = &cast;
        async move {
            let (rest, commands) = (column(table::REST, at), column(table::WEBSOCKET, at));
            let cells = rest.iter().chain(&commands).filter(|cell| cell.1 != "-").count();
            (cells, Column::new(cast, name).wrong(&rest, &commands).await)
        }
    });
    let (cells, wrong): (Vec<_>, Vec<_>) = stream::iter(asked).buffered(COLUMNS_AT_ONCE).unzip().await;
    println!("G9 {} cells of {} columns", cells.iter().sum::<usize>(), names.len());
    let wrong: Vec<_> = wrong.into_iter().flatten().collect();
    assert!(wrong.is_empty(), "{} cells:\n{}", wrong.len(), wrong.join("\n"));
}

/// Waits until no node takes the user's token any more.
async fn gone(user: &User) {
    for node in 0..2 {
        for path in ["/auth/me", "/ws/online-users"] {
            crate::support::eventually("the end of access", Duration::from_secs(2), async || {
                (user.rest.on(node).get(path).await.status == 401).then_some(())
            })
            .await;
        }
    }
}
