//! Each client while something breaks: nothing is lost, nothing comes twice.

use std::time::Duration;

use serde_json::json;

use super::lost_answer::LostAnswer;
use super::{Client, Language, each_client_alone};
use crate::support::deployment::Builder;
use crate::support::proxy::Mode;
use crate::support::{Deployment, Proxy, Site, User, until};

each_client_alone!(
    a_killed_server_loses_nothing,
    a_drained_server_is_left_in_time,
    tokens_are_renewed_in_time,
    a_token_that_has_expired_is_renewed,
    a_lost_network_loses_nothing,
    the_lost_answer_of_a_refresh_is_asked_for_again,
    a_wish_under_a_key_is_done_once,
);

const MESSAGES: usize = 200;
/// Messages that wait for a server, and all of theirs.
const PATIENCE: Duration = Duration::from_secs(60);

struct Pair {
    sender: Client,
    reader: Client,
    chat: i64,
    sends: Vec<u64>,
}

impl Pair {
    async fn at(language: Language, url: &str, d: &Deployment) -> Self {
        let (ann, bob) = (d.user().await, d.user().await);
        let chat = ann.group_id(&[&bob]).await;
        let sender = Client::of(language, url, &ann, None).await;
        let mut reader = Client::of(language, url, &bob, None).await;
        reader.subscribe(chat, Some(0)).await;
        reader.until_open(1).await;
        Self { sender, reader, chat, sends: Vec::new() }
    }

    async fn send(&mut self, count: usize) {
        for _ in 0..count {
            let text = self.sends.len().to_string();
            self.sends.push(self.sender.send(self.chat, &text).await);
        }
    }

    /// Everything that was sent was stored once, and came once and in order.
    async fn assert_whole(self) {
        for id in &self.sends {
            let answer = self.sender.answer(*id, PATIENCE).await;
            assert!(answer.get("ok").is_some(), "{answer}");
        }
        self.reader.until_text(&(self.sends.len() - 1).to_string()).await;
        self.reader.assert_whole(self.chat, 0);
        let sequence = self.reader.sequence(self.chat).into_iter();
        let texts: Vec<_> = sequence.map(|(_, text)| text).filter(|text| !text.is_empty()).collect();
        assert_eq!(texts, (0..self.sends.len()).map(|n| n.to_string()).collect::<Vec<_>>());
        assert!(self.sender.close().await.success());
        assert!(self.reader.close().await.success());
    }
}

async fn a_killed_server_loses_nothing(builder: Builder, language: Language) {
    let d = builder.start().await;
    let site = Site::of(&d).await;
    let mut pair = Pair::at(language, &site.url, &d).await;
    for n in 0..2 {
        pair.send(MESSAGES / 2).await;
        pair.reader.until_text(&(n * MESSAGES / 2 + 10).to_string()).await;
        let (api, gateway) = (d.api(n), d.gateway(n));
        gateway.kill_9();
        api.restart().await;
        if gateway.has_exited() {
            gateway.restart().await;
        }
    }
    pair.assert_whole().await;
}

async fn a_drained_server_is_left_in_time(builder: Builder, language: Language) {
    let d = builder.env("DRAIN_SECONDS", 2).start().await;
    let site = Site::of(&d).await;
    let mut pair = Pair::at(language, &site.url, &d).await;
    pair.send(MESSAGES / 2).await;
    for node in d.gateways() {
        node.sigterm();
        assert!(node.wait_exit(Duration::from_secs(20)).await.success());
        node.restart().await;
        pair.send(10).await;
    }
    let waits = pair.reader.states("waiting");
    assert!(waits.iter().any(|state| state["code"] == 1012), "{waits:?}");
    pair.assert_whole().await;
}

async fn tokens_are_renewed_in_time(builder: Builder, language: Language) {
    let d = builder.env("ACCESS_TOKEN_TTL_SECONDS", 2).start().await;
    let site = Site::of(&d).await;
    let (mut ann, bob) = (d.user().await, d.user().await);
    let chat = ann.group_id(&[&bob]).await;
    let mut client = Client::of(language, &site.url, &bob, None).await;
    client.subscribe(chat, Some(0)).await;
    let first = ann.access.clone();
    for n in 0..4 {
        let tokens = ann.login().await.ok(200);
        ann.take_tokens(&tokens);
        let expired = ann.rest.with_bearer(if n == 0 { &first } else { &ann.access });
        ann.say(chat, &n.to_string()).await;
        client.until_text(&n.to_string()).await;
        client.ok(json!({"do": "request", "method": "GET", "path": "/auth/me", "body": null})).await;
        until("a token has expired", || async { expired.get("/auth/me").await.status == 401 }).await;
    }
    assert_eq!(client.states("waiting").len(), 0, "the connection goes on under new tokens");
    client.assert_whole(chat, 0);
    assert!(client.close().await.success());
}

async fn a_token_that_has_expired_is_renewed(builder: Builder, language: Language) {
    let d = builder.env("ACCESS_TOKEN_TTL_SECONDS", 1).start().await;
    let site = Site::of(&d).await;
    let bob = d.user().await;
    until("the token has expired", || async { bob.rest.get("/auth/me").await.status == 401 }).await;
    let mut client = Client::open(language, &site.url, None).await;
    // The client takes it for a good one.
    let tokens = json!({"do": "adopt", "access_token": bob.access, "refresh_token": bob.refresh, "expires_in": 900});
    client.ok(tokens).await;
    client.ok(json!({"do": "listen"})).await;
    client.until_open(1).await;
    assert_eq!(client.states("waiting")[0]["code"], 4401);
    // Calls made at once share one refresh.
    let mut asked = Vec::new();
    for _ in 0..10 {
        asked.push(client.begin(json!({"do": "request", "method": "GET", "path": "/auth/me", "body": null})).await);
    }
    for id in asked {
        assert_eq!(client.answer(id, PATIENCE).await["ok"]["id"], bob.id);
    }
    assert!(client.close().await.success());
}

async fn a_lost_network_loses_nothing(builder: Builder, language: Language) {
    let d = builder.start().await;
    let site = Site::of(&d).await;
    let network = Proxy::to(site.url.trim_start_matches("http://"));
    let mut pair = Pair::at(language, &format!("http://{}", network.address()), &d).await;
    for (n, fault) in [Mode::Stall, Mode::Refuse, Mode::Stall].into_iter().enumerate() {
        pair.send(10).await;
        network.set(fault);
        if fault == Mode::Refuse {
            network.cut();
        }
        pair.send(10).await;
        let lost = || async { pair.reader.states("waiting").len() > n };
        until("the client notices", lost).await;
        network.cut();
        network.set(Mode::Forward);
        pair.reader.until_text(&(n * 20 + 19).to_string()).await;
    }
    // Closing needs no network.
    network.set(Mode::Stall);
    let idle = Client::open(language, &format!("http://{}", network.address()), None).await;
    assert!(idle.close().await.success());
    network.set(Mode::Forward);
    pair.assert_whole().await;
}

async fn the_lost_answer_of_a_refresh_is_asked_for_again(builder: Builder, language: Language) {
    let d = builder.env("ACCESS_TOKEN_TTL_SECONDS", 2).start().await;
    let site = Site::of(&d).await;
    let lossy = LostAnswer::before(&site.url, "POST /auth/refresh").await;
    let bob: User = d.user().await;
    let mut client = Client::of(language, &lossy.url(), &bob, None).await;
    client.until_open(1).await;
    until("an answer is lost", || async { lossy.has_lost_one() }).await;
    let chat = {
        let other = bob.second_session().await;
        other.group_id(&[]).await
    };
    client.subscribe(chat, Some(0)).await;
    let sent = client.send(chat, "still here").await;
    assert_eq!(client.answer(sent, PATIENCE).await["ok"]["text"], "still here");
    client.until_text("still here").await;
    assert!(client.close().await.success());
}

async fn a_wish_under_a_key_is_done_once(builder: Builder, language: Language) {
    let d = builder.env("ACCESS_TOKEN_TTL_SECONDS", 1).start().await;
    let site = Site::of(&d).await;
    let lossy = LostAnswer::before(&site.url, "POST /chats/create").await;
    let bob: User = d.user().await;
    let mut client = Client::open(language, &lossy.url(), None).await;
    let tokens = json!({"do": "adopt", "access_token": bob.access, "refresh_token": bob.refresh, "expires_in": 900});
    client.ok(tokens).await;
    let group = json!({"is_group": true, "name": "Hike", "member_ids": []});
    let wish = json!({"do": "request", "method": "POST", "path": "/chats/create", "body": group, "key": "a-wish"});
    assert_eq!(client.call(wish.clone()).await["error"], "offline");
    assert!(lossy.has_lost_one());
    // Under a token that has expired it is repeated with its key, too.
    until("the token has expired", || async { bob.rest.get("/auth/me").await.status == 401 }).await;
    let first = client.ok(wish.clone()).await;
    assert_eq!(client.ok(wish).await["id"], first["id"]);
    let listed = client.ok(json!({"do": "request", "method": "GET", "path": "/chats/", "body": null})).await;
    assert_eq!(listed["items"].as_array().unwrap().len(), 1, "{listed}");
    assert!(client.close().await.success());
}
