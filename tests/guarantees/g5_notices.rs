//! Notices to a user's connections on a gateway that did not hear the bus for a while: each comes
//! once the gateway hears it again, and none twice.

use std::time::Duration;

use futures_util::future::join_all;

use super::watch::{Seen, Watch};
use crate::support::deployment::Builder;
use crate::support::proxy::Mode;
use crate::support::{Deployment, Postgres, Proxy, Redis, RedisCluster, SOON, User, Value, eventually, json, limited};

/// The `id` of a message.
fn id(message: &Value) -> i64 {
    message["id"].as_i64().unwrap()
}

const OUTAGE: Duration = Duration::from_secs(3);
/// Longer than a gateway looks back by itself.
const FROZEN: Duration = Duration::from_secs(13);
/// G3: what was missed arrives within this time of the link's return.
const BACK: Duration = Duration::from_secs(2);
const KINDS: [&str; 5] = ["chat_added", "chat_removed", "new_message", "mentioned", "chat_settings"];

/// A user who is connected to the gateway in question, what others did before the outage, and what
/// they do in it.
struct Reader {
    user: User,
    friend: User,
    watches: Vec<Watch>,
    /// Chats: with the friend, one to be removed from, one to be deleted, one to be mentioned in.
    private: i64,
    old: i64,
    doomed: i64,
    quiet: i64,
    text: i64,
    wanted: Vec<(&'static str, i64, Option<String>)>,
}

fn mention(user: &User) -> String {
    format!("@{} see", user.username)
}

impl Reader {
    async fn new(d: &Deployment) -> Self {
        let (user, friend) = (d.user().await, d.user().await);
        let watches = vec![Watch::start(user.connect_to(0).await), Watch::start(user.connect_to(0).await)];
        let (old, doomed, quiet) =
            (friend.group_id(&[&user]).await, friend.group_id(&[&user]).await, friend.group_id(&[&user]).await);
        let private = friend.private_chat_id(&user).await;
        // One of the two gets the private chat's messages by its subscription.
        watches[1].send(json!({"type": "subscribe_chat", "chat_id": private}));
        watches[1].expect("subscribed", SOON, |seen| seen.is("subscribed")).await;
        let text = id(&friend.say(quiet, "no name yet").await);
        let mut reader = Self { user, friend, watches, private, old, doomed, quiet, text, wanted: Vec::new() };
        for chat in [old, doomed, quiet, private] {
            reader.wants("chat_added", chat, None);
        }
        // Delivered, and not to be repeated.
        reader.friend.say(private, "before").await;
        reader.wants("new_message", private, Some("before".into()));
        reader.friend.say(quiet, &format!("{} 1", mention(&reader.user))).await;
        reader.wants("mentioned", quiet, Some(format!("{} 1", mention(&reader.user))));
        let early = reader.friend.group_id(&[&reader.user]).await;
        reader.wants("chat_added", early, None);
        reader.archive(early).await;
        reader.arrived(SOON).await;
        reader
    }

    fn wants(&mut self, kind: &'static str, chat: i64, text: Option<String>) {
        self.wanted.push((kind, chat, text));
    }

    async fn archive(&mut self, chat: i64) {
        self.user.rest.patch(&format!("/chats/{chat}/settings"), json!({"archived": true})).await.ok(200);
        self.wants("chat_settings", chat, None);
    }

    /// Everything that brings a notice, by another node.
    async fn happens(&mut self, d: &Deployment) {
        let Self { private, old, doomed, quiet, text, .. } = *self;
        let open = self.friend.group_id(&[]).await;
        self.user.join(open).await;
        self.wants("chat_added", open, None);
        let made = self.friend.group_id(&[&self.user]).await;
        self.wants("chat_added", made, None);
        self.friend.rest.delete(&format!("/chats/{old}/members/{}", self.user.id)).await.ok(204);
        self.wants("chat_removed", old, None);
        self.friend.rest.delete(&format!("/chats/{doomed}")).await.ok(204);
        self.wants("chat_removed", doomed, None);
        for text in ["one", "two"] {
            self.friend.say(private, text).await;
            self.wants("new_message", private, Some(text.into()));
        }
        let stranger = d.user().await;
        let first = stranger.private_chat_id(&self.user).await;
        self.wants("chat_added", first, None);
        stranger.say(first, "hello").await;
        self.wants("new_message", first, Some("hello".into()));
        let (sent, edited) = (format!("{} 2", mention(&self.user)), format!("{} 3", mention(&self.user)));
        self.friend.say(quiet, &sent).await;
        self.wants("mentioned", quiet, Some(sent));
        self.friend.rest.put(&format!("/messages/edit/{text}"), json!({"text": edited})).await.ok(200);
        self.wants("mentioned", quiet, Some(edited));
        self.archive(quiet).await;
        // A message that was taken back meanwhile is nobody's news.
        let gone = id(&self.friend.say(private, "deleted").await);
        self.friend.rest.delete(&format!("/messages/delete/{gone}")).await.ok(204);
    }

    fn got(seen: &[Seen]) -> Vec<(&'static str, i64, Option<String>)> {
        let of = |seen: &Seen| {
            let kind = *KINDS.iter().find(|kind| seen.is(kind))?;
            let frame = &seen.frame;
            let chat = frame["chat_id"].as_i64().or_else(|| frame["chat"]["id"].as_i64())?;
            let text = frame["message"]["text"].as_str().filter(|text| !["", "deleted"].contains(text));
            let is_gone = matches!(kind, "new_message") && text.is_none();
            (!is_gone).then(|| (kind, chat, text.map(str::to_owned)))
        };
        let mut got: Vec<_> = seen.iter().filter_map(of).collect();
        got.sort();
        got
    }

    /// Waits until each connection has everything, then compares: nothing twice, nothing else.
    async fn arrived(&mut self, limit: Duration) {
        self.wanted.sort();
        for watch in &self.watches {
            let found = eventually_seen(watch, &self.wanted, limit).await;
            assert_eq!(found, self.wanted, "user {}", self.user.id);
        }
    }

    /// A message that comes afterwards is behind whatever would still come twice.
    async fn goes_on(&mut self, say: &str) {
        self.friend.say(self.private, say).await;
        self.wants("new_message", self.private, Some(say.into()));
        self.arrived(SOON).await;
    }
}

type Got = Vec<(&'static str, i64, Option<String>)>;

async fn eventually_seen(watch: &Watch, wanted: &Got, limit: Duration) -> Got {
    let all = async || {
        let got = Reader::got(&watch.seen());
        (got.len() >= wanted.len()).then_some(got)
    };
    match tokio::time::timeout(limit, eventually("all", limit * 2, all)).await {
        Ok(got) => got,
        Err(_) => Reader::got(&watch.seen()),
    }
}

/// A user who was added to a group in the outage and came after that.
async fn latecomer(d: &Deployment, friend: &User) -> User {
    let user = d.user().await;
    friend.group_id(&[&user]).await;
    user
}

async fn readers(d: &Deployment, count: usize) -> Vec<Reader> {
    join_all((0..count).map(|_| Reader::new(d))).await
}

async fn act(d: &Deployment, readers: &mut [Reader]) {
    join_all(readers.iter_mut().map(|reader| reader.happens(d))).await;
}

async fn all_arrived(readers: &mut [Reader], limit: Duration) {
    join_all(readers.iter_mut().map(|reader| reader.arrived(limit))).await;
    join_all(readers.iter_mut().map(|reader| reader.goes_on("afterwards"))).await;
}

/// The first gateway reaches Redis through the proxy.
async fn behind_a_proxy(builder: Builder) -> (Deployment, Proxy) {
    let redis = Redis::private().await;
    let proxy = Proxy::to(&redis.address());
    let through = format!("redis://{}", proxy.address());
    (builder.redis(&redis).node_env("gateway-0", "REDIS_URL", through).start().await, proxy)
}

#[tokio::test]
async fn a_gateway_whose_link_was_away_delivers_the_notices_of_that_time() {
    limited(async {
        let (d, proxy) = behind_a_proxy(Deployment::cluster(1, 2)).await;
        let mut readers = readers(&d, 3).await;
        let mut ending = d.user().await;
        let ended = Watch::start(ending.connect_to(0).await);
        ending = ending.second_session().await;

        proxy.set(Mode::Refuse);
        proxy.cut();
        let mut ticks = tokio::time::interval(OUTAGE);
        ticks.tick().await;
        let late = latecomer(&d, &readers[0].friend).await;
        act(&d, &mut readers).await;
        ending.rest.delete("/auth/sessions").await.ok(204);
        // A session that ended is read from the store, link or not.
        assert_eq!(ended.expect_close(BACK).await.code, 4502);
        ticks.tick().await;
        let late = Watch::start(late.connect_to(0).await);
        proxy.set(Mode::Forward);
        all_arrived(&mut readers, SOON).await;
        assert_eq!(Reader::got(&late.seen()), Got::new(), "nothing of before the connection");
    })
    .await;
}

#[tokio::test]
async fn a_redis_that_was_killed_and_came_back_loses_no_notice() {
    limited(async {
        let redis = Redis::private().await;
        let d = Deployment::cluster(1, 1).redis(&redis).start().await;
        let mut readers = readers(&d, 2).await;
        redis.kill().await;
        act(&d, &mut readers).await;
        redis.start().await;
        all_arrived(&mut readers, SOON).await;
    })
    .await;
}

#[tokio::test]
async fn a_gateway_that_was_frozen_delivers_the_notices_of_that_time() {
    limited(async {
        let (d, proxy) = behind_a_proxy(Deployment::cluster(1, 2)).await;
        let mut readers = readers(&d, 2).await;
        d.gateway(0).sigstop();
        proxy.set(Mode::Refuse);
        proxy.cut();
        act(&d, &mut readers).await;
        // Measured, not waited for.
        tokio::time::sleep(FROZEN).await;
        proxy.set(Mode::Forward);
        d.gateway(0).sigcont();
        all_arrived(&mut readers, SOON).await;
    })
    .await;
}

#[tokio::test]
async fn one_server_of_a_cluster_that_was_away_loses_no_notice_of_its_users() {
    limited(async {
        let cluster = RedisCluster::start(3).await;
        for server in &cluster.servers {
            server.command(&["ACL", "SETUSER", "gateway", "on", ">secret", "~*", "&*", "+@all"]).await;
        }
        let own = cluster.urls()[1].replace("redis://", "redis://gateway:secret@");
        let d = Deployment::cluster(1, 1)
            .node_env("api-0", "REDIS_URL", &cluster.urls()[1])
            .node_env("gateway-0", "REDIS_URL", own)
            .start()
            .await;
        let mut readers = readers(&d, 8).await;
        // The gateway's links to one server are refused; the api publishes there as before.
        let away = &cluster.servers[2];
        away.command(&["ACL", "SETUSER", "gateway", "off"]).await;
        away.command(&["CLIENT", "KILL", "USER", "gateway"]).await;
        act(&d, &mut readers).await;
        away.command(&["ACL", "SETUSER", "gateway", "on"]).await;
        all_arrived(&mut readers, SOON).await;
    })
    .await;
}

#[tokio::test]
async fn what_was_missed_comes_within_two_seconds() {
    limited(async {
        let (d, proxy) = behind_a_proxy(Deployment::cluster(1, 2)).await;
        let mut readers = readers(&d, 1).await;
        proxy.set(Mode::Refuse);
        proxy.cut();
        act(&d, &mut readers).await;
        proxy.set(Mode::Forward);
        let begun = tokio::time::Instant::now();
        readers[0].arrived(SOON).await;
        println!("G3 notices of an outage: {:?} after the link's return", begun.elapsed());
        assert!(begun.elapsed() < BACK);
    })
    .await;
}

/// Messages of the outage; a gateway remembers the last 64 numbers of a chat one by one.
const MANY: usize = 200;

/// The messages among these frames.
fn messages(seen: &[Seen]) -> Vec<i64> {
    seen.iter().filter(|seen| seen.is("new_message")).map(|seen| id(&seen.frame["message"])).collect()
}

/// The later messages come first, live, and those of the outage after them.
#[tokio::test]
async fn many_notices_of_an_outage_come_once_each_behind_later_ones() {
    limited(async {
        let (d, proxy) = behind_a_proxy(Deployment::cluster(1, 2)).await;
        let (user, friend) = (d.user().await, d.user().await);
        let private = friend.private_chat_id(&user).await;
        let watch = Watch::start(user.connect_to(0).await);
        proxy.set(Mode::Refuse);
        proxy.cut();
        let mut sent: Vec<i64> = Vec::new();
        while sent.len() < MANY {
            sent.push(id(&friend.say(private, "in the outage").await));
        }
        proxy.set(Mode::Forward);
        // As soon as the link is back one of these comes live.
        while messages(&watch.seen()).is_empty() {
            sent.push(id(&friend.say(private, "later").await));
        }
        for _ in 0..MANY {
            sent.push(id(&friend.say(private, "and then").await));
        }
        let all = async || (messages(&watch.seen()).len() >= sent.len()).then_some(());
        drop(tokio::time::timeout(SOON, eventually("all", SOON * 2, all)).await);
        // Behind whatever would still come twice.
        sent.push(id(&friend.say(private, "the last").await));
        let up_to_last = |seen: &[Seen]| Some(messages(seen)).filter(|got| got.contains(&sent[sent.len() - 1]));
        let mut got = watch.until("the last", SOON, up_to_last).await;
        assert!(got[0] > sent[0], "nothing came before the notices of the outage");
        got.sort_unstable();
        assert_eq!(got, sent, "{} of {}", got.len(), sent.len());
    })
    .await;
}

#[tokio::test]
async fn a_database_that_restarted_doubles_no_notice() {
    limited(async {
        let postgres = Postgres::private().await;
        let (d, proxy) = behind_a_proxy(Deployment::cluster(1, 2).postgres(&postgres)).await;
        let mut readers = readers(&d, 1).await;
        postgres.stop().await;
        let says = async |what: &str| {
            eventually(what, SOON, async || d.gateway(0).tail(1000).contains(what).then_some(())).await;
        };
        says("the database does not answer").await;
        postgres.start().await;
        says("the database answers again").await;
        // Notices that were delivered are read again, with those that come now.
        proxy.set(Mode::Refuse);
        proxy.cut();
        act(&d, &mut readers).await;
        proxy.set(Mode::Forward);
        all_arrived(&mut readers, SOON).await;
    })
    .await;
}
