//! Reactions, as each reader sees them.

use crate::support::user::id;
use crate::support::{Deployment, User, Value, json};

both_forms!(
    a_reaction_is_one_a_user_and_emoji,
    any_sequence_of_unicodes_list_is_an_emoji,
    more_than_twenty_kinds_are_refused,
    two_nodes_add_the_same_reaction_at_once,
    members_alone_react,
    a_deleted_message_takes_none,
);

pub(super) fn reaction(message_id: i64, emoji: &str) -> String {
    format!("/messages/{message_id}/reactions/{emoji}")
}

async fn shown(user: &User, chat_id: i64) -> Value {
    user.history(chat_id).await["items"].as_array().unwrap().last().unwrap()["reactions"].clone()
}

async fn a_reaction_is_one_a_user_and_emoji(d: &Deployment) {
    let (ann, bob) = (d.user().await, d.user().await);
    let chat_id = ann.group_id(&[&bob]).await;
    let sent = ann.say(chat_id, "hello").await;
    crate::rest::messages::assert_message(&sent);
    assert_eq!(sent["reactions"], json!([]));
    let (thumb, party) = (reaction(id(&sent), "👍"), reaction(id(&sent), "🎉"));
    for _ in 0..2 {
        bob.rest.put_nothing(&thumb).await.ok(204);
    }
    bob.rest.put_nothing(&party).await.ok(204);
    ann.rest.put_nothing(&thumb).await.ok(204);
    let of = |emoji: &str, count: i64, me: bool| json!({"emoji": emoji, "count": count, "me": me});
    assert_eq!(shown(&ann, chat_id).await, json!([of("👍", 2, true), of("🎉", 1, false)]));
    assert_eq!(shown(&bob, chat_id).await, json!([of("👍", 2, true), of("🎉", 1, true)]));
    assert_eq!(bob.chat(chat_id).await["last_message"]["reactions"], shown(&bob, chat_id).await);
    assert_eq!(ann.chat(chat_id).await["seq"], 4, "the same again is no event");
    for _ in 0..2 {
        bob.rest.delete(&thumb).await.ok(204);
    }
    assert_eq!(shown(&bob, chat_id).await, json!([of("👍", 1, false), of("🎉", 1, true)]));
    ann.rest.delete(&thumb).await.ok(204);
    assert_eq!(shown(&ann, chat_id).await, json!([of("🎉", 1, false)]));
    let edited = ann.rest.put(&format!("/messages/edit/{}", id(&sent)), json!({"text": "bye"})).await.ok(200);
    assert_eq!(edited["reactions"], json!([of("🎉", 1, false)]));
}

async fn any_sequence_of_unicodes_list_is_an_emoji(d: &Deployment) {
    let ann = d.user().await;
    let chat_id = ann.group_id(&[]).await;
    let message = id(&ann.say(chat_id, "hello").await);
    let emoji = ["👍🏽", "👩‍💻", "👨‍👩‍👧‍👦", "🏳️‍🌈", "🇳🇱", "🏴󠁧󠁢󠁥󠁮󠁧󠁿", "1️⃣", "❤️"];
    for one in emoji {
        ann.rest.put_nothing(&reaction(message, one)).await.ok(204);
    }
    // Another spelling of the same.
    ann.rest.put_nothing(&reaction(message, "❤")).await.ok(204);
    let shown = shown(&ann, chat_id).await;
    let shown: Vec<&str> = shown.as_array().unwrap().iter().map(|one| one["emoji"].as_str().unwrap()).collect();
    assert_eq!(shown, emoji);
    for other in ["a", "1", "👍👍", "thumbs_up", "%20", "%00"] {
        for answer in
            [ann.rest.put_nothing(&reaction(message, other)).await, ann.rest.delete(&reaction(message, other)).await]
        {
            assert_eq!(answer.status, 422, "{other}: {answer:?}");
        }
    }
    let long = "👍".repeat(1000);
    assert_eq!(ann.rest.put_nothing(&reaction(message, &long)).await.faulty_fields(), ["emoji"]);
}

async fn more_than_twenty_kinds_are_refused(d: &Deployment) {
    let (ann, bob) = (d.user().await, d.user().await);
    let chat_id = ann.group_id(&[&bob]).await;
    let message = id(&ann.say(chat_id, "hello").await);
    let kinds: Vec<String> = ('🐀'..).take(21).map(String::from).collect();
    for emoji in &kinds[..20] {
        ann.rest.put_nothing(&reaction(message, emoji)).await.ok(204);
    }
    bob.rest.put_nothing(&reaction(message, &kinds[20])).await.problem(409, "too_many_reactions");
    bob.rest.put_nothing(&reaction(message, &kinds[3])).await.ok(204);
    ann.rest.delete(&reaction(message, &kinds[0])).await.ok(204);
    bob.rest.put_nothing(&reaction(message, &kinds[20])).await.ok(204);
}

async fn two_nodes_add_the_same_reaction_at_once(d: &Deployment) {
    let (ann, bob) = (d.user().await, d.user().await);
    let chat_id = ann.group_id(&[&bob]).await;
    for n in 1..=5 {
        let path = reaction(id(&ann.say(chat_id, "hello").await), "👍");
        let (near, far) = (bob.rest.on(0), bob.rest.on(1));
        let (one, two, own) =
            futures_util::join!(near.put_nothing(&path), far.put_nothing(&path), ann.rest.put_nothing(&path));
        for answer in [one, two, own] {
            answer.ok(204);
        }
        assert_eq!(shown(&ann, chat_id).await, json!([{"emoji": "👍", "count": 2, "me": true}]));
        assert_eq!(ann.chat(chat_id).await["seq"], 3 * n);
    }
}

async fn members_alone_react(d: &Deployment) {
    let (ann, bob, eve) = (d.user().await, d.user().await, d.user().await);
    let (group, private) = (ann.group_id(&[&bob]).await, ann.private_chat_id(&bob).await);
    for chat_id in [group, private] {
        let path = reaction(id(&ann.say(chat_id, "hello").await), "👍");
        bob.rest.put_nothing(&path).await.ok(204);
        eve.rest.put_nothing(&path).await.problem(404, "message_not_found");
        eve.rest.delete(&path).await.problem(404, "message_not_found");
        d.rest().put_nothing(&path).await.problem(401, "unauthenticated");
    }
    ann.rest.put_nothing(&reaction(0, "👍")).await.problem(404, "message_not_found");
}

async fn a_deleted_message_takes_none(d: &Deployment) {
    let ann = d.user().await;
    let chat_id = ann.group_id(&[]).await;
    let message = id(&ann.say(chat_id, "hello").await);
    ann.rest.put_nothing(&reaction(message, "👍")).await.ok(204);
    ann.rest.delete(&format!("/messages/delete/{message}")).await.ok(204);
    ann.rest.put_nothing(&reaction(message, "👍")).await.problem(404, "message_not_found");
    ann.rest.delete(&reaction(message, "👍")).await.problem(404, "message_not_found");
    for _ in 0..5 {
        let message = id(&ann.say(chat_id, "hello").await);
        let (react, delete) = (reaction(message, "👍"), format!("/messages/delete/{message}"));
        let (reacted, deleted) = futures_util::join!(ann.rest.put_nothing(&react), ann.rest.delete(&delete));
        deleted.ok(204);
        assert!(reacted.status == 204 || reacted.json["code"] == "message_not_found", "{reacted:?}");
    }
}
