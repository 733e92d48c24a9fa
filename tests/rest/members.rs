//! Joining, leaving, roles, and the owner's administration of members.

use crate::support::user::id;
use crate::support::{Deployment, User, Value, json};

both_forms!(
    joining_twice_is_joining,
    the_members_are_listed_and_paged,
    the_last_owners_role_passes_to_the_longest_standing_member,
    an_owner_beside_another_leaves_no_gap,
    a_group_left_by_its_last_member_is_deleted,
    the_owner_adds_members,
    adding_needs_users_that_exist,
    the_owner_gives_and_takes_roles,
    the_owner_removes_members,
    only_the_owner_administers,
    a_private_chat_has_no_administration,
);

async fn members(user: &User, chat_id: i64) -> Vec<Value> {
    let answer = user.rest.get(&format!("/chats/{chat_id}/members")).await.ok(200);
    answer["items"].as_array().unwrap().clone()
}

/// The role of each member of the chat, as `by` sees them, in the order of the ids.
async fn roles(by: &User, chat_id: i64) -> Vec<(i64, String)> {
    let mut roles: Vec<(i64, String)> = members(by, chat_id)
        .await
        .iter()
        .map(|one| (one["user_id"].as_i64().unwrap(), one["role"].as_str().unwrap().to_owned()))
        .collect();
    roles.sort();
    roles
}

fn role(user: &User, role: &str) -> (i64, String) {
    (user.id, role.to_owned())
}

async fn joining_twice_is_joining(d: &Deployment) {
    let (ann, bob) = (d.user().await, d.user().await);
    let chat_id = ann.group_id(&[]).await;
    let joined = bob.join(chat_id).await;
    assert_eq!((&joined["role"], &joined["member_count"]), (&json!("member"), &json!(2)));
    let again = bob.join(chat_id).await;
    assert_eq!((id(&again), &again["member_count"]), (chat_id, &json!(2)));
    assert_eq!(again["seq"], joined["seq"], "nothing happened");
    assert_eq!(ann.join(chat_id).await["role"], "owner", "an owner who joins stays one");
    bob.rest.post_nothing("/chats/999999999/join").await.problem(404, "chat_not_found");
}

async fn the_members_are_listed_and_paged(d: &Deployment) {
    let ann = d.user_named("Ann").await;
    let (bob, eve) = (d.user().await, d.user().await);
    let chat_id = ann.group_id(&[]).await;
    bob.join(chat_id).await;
    eve.join(chat_id).await;
    for member in members(&bob, chat_id).await {
        let mut fields: Vec<&String> = member.as_object().unwrap().keys().collect();
        fields.sort();
        assert_eq!(fields, ["joined_at", "role", "user_id", "username"], "{member}");
        crate::rest::assert_time(&member["joined_at"]);
        if member["user_id"] == ann.id {
            assert_eq!(member["username"], ann.username.as_str());
        }
    }
    let expected = [role(&ann, "owner"), role(&bob, "member"), role(&eve, "member")];
    assert_eq!(roles(&eve, chat_id).await, expected);

    let first = bob.rest.get(&format!("/chats/{chat_id}/members?limit=2")).await.ok(200);
    let cursor = first["next_cursor"].as_str().expect("there is one more");
    let path = format!("/chats/{chat_id}/members?limit=2&cursor={cursor}");
    let second = bob.rest.get(&path).await.ok(200);
    assert_eq!(second["next_cursor"], Value::Null);
    let mut ids: Vec<i64> = [&first, &second]
        .iter()
        .flat_map(|page| page["items"].as_array().unwrap())
        .map(|member| member["user_id"].as_i64().unwrap())
        .collect();
    ids.sort_unstable();
    assert_eq!(ids, [ann.id, bob.id, eve.id]);
}

async fn the_last_owners_role_passes_to_the_longest_standing_member(d: &Deployment) {
    let (ann, bob, eve) = (d.user().await, d.user().await, d.user().await);
    let chat_id = ann.group_id(&[]).await;
    // who was there first counts, not who registered first
    eve.join(chat_id).await;
    bob.join(chat_id).await;
    ann.leave(chat_id).await;
    assert_eq!(roles(&bob, chat_id).await, [role(&bob, "member"), role(&eve, "owner")]);
    let again = ann.rest.delete(&format!("/chats/{chat_id}/leave")).await;
    again.problem(403, "not_a_member");
    ann.rest.get(&format!("/messages/chat/{chat_id}")).await.problem(403, "not_a_member");
    assert_eq!(ann.join(chat_id).await["role"], "member", "who comes back is a member");
}

async fn an_owner_beside_another_leaves_no_gap(d: &Deployment) {
    let (ann, bob, eve) = (d.user().await, d.user().await, d.user().await);
    let chat_id = ann.group_id(&[&bob, &eve]).await;
    let path = format!("/chats/{chat_id}/members/{}", eve.id);
    ann.rest.patch(&path, json!({"role": "owner"})).await.ok(200);
    ann.leave(chat_id).await;
    assert_eq!(roles(&bob, chat_id).await, [role(&bob, "member"), role(&eve, "owner")]);
}

async fn a_group_left_by_its_last_member_is_deleted(d: &Deployment) {
    let (ann, bob) = (d.user().await, d.user().await);
    let chat_id = ann.group_id(&[&bob]).await;
    bob.leave(chat_id).await;
    ann.leave(chat_id).await;
    for user in [&ann, &bob] {
        user.rest.get(&format!("/chats/{chat_id}")).await.problem(404, "chat_not_found");
        let join = user.rest.post_nothing(&format!("/chats/{chat_id}/join")).await;
        join.problem(404, "chat_not_found");
    }
}

async fn the_owner_adds_members(d: &Deployment) {
    let (ann, bob, eve) = (d.user().await, d.user().await, d.user().await);
    let chat_id = ann.group_id(&[]).await;
    let path = format!("/chats/{chat_id}/members");
    let added = ann.rest.post(&path, json!({"user_ids": [bob.id, eve.id]})).await.ok(200);
    let items = added["items"].as_array().unwrap();
    for user in [&bob, &eve] {
        let member = items.iter().find(|member| member["user_id"] == user.id).expect("the added");
        assert_eq!((&member["role"], &member["username"]), (&json!("member"), &json!(user.username)));
    }
    let seq = ann.chat(chat_id).await["seq"].clone();
    ann.rest.post(&path, json!({"user_ids": [bob.id]})).await.ok(200);
    let now = ann.chat(chat_id).await;
    assert_eq!((&now["member_count"], &now["seq"]), (&json!(3), &seq), "adding again does nothing");
    assert_eq!(bob.history(chat_id).await["items"], json!([]));
}

async fn adding_needs_users_that_exist(d: &Deployment) {
    let (ann, bob) = (d.user().await, d.user().await);
    let chat_id = ann.group_id(&[]).await;
    let path = format!("/chats/{chat_id}/members");
    let body = json!({"user_ids": [bob.id, 999_999_999]});
    assert_eq!(ann.rest.post(&path, body).await.faulty_fields(), ["user_ids"]);
    assert_eq!(ann.chat(chat_id).await["member_count"], 1, "all or nothing");
    // One request names a thousand users at most; a name said twice is one said twice.
    let asked = async |count| ann.rest.post(&path, json!({"user_ids": vec![bob.id; count]})).await;
    assert_eq!(asked(1001).await.faulty_fields(), ["user_ids"]);
    asked(1000).await.ok(200);
    for body in [json!({}), json!({"user_ids": bob.id}), json!({"user_ids": ["x"]})] {
        let fields = ann.rest.post(&path, body.clone()).await.faulty_fields();
        assert!(fields.iter().all(|field| field.starts_with("user_ids")), "{body}: {fields:?}");
    }
}

async fn the_owner_gives_and_takes_roles(d: &Deployment) {
    let (ann, bob, eve) = (d.user().await, d.user().await, d.user().await);
    let chat_id = ann.group_id(&[&bob]).await;
    let path = |user: &User| format!("/chats/{chat_id}/members/{}", user.id);
    let member = ann.rest.patch(&path(&bob), json!({"role": "owner"})).await.ok(200);
    assert_eq!((&member["user_id"], &member["role"]), (&json!(bob.id), &json!("owner")));
    assert_eq!(bob.chat(chat_id).await["role"], "owner");
    bob.rest.patch(&path(&ann), json!({"role": "member"})).await.ok(200);
    assert_eq!(roles(&bob, chat_id).await, [role(&ann, "member"), role(&bob, "owner")]);
    ann.rest.patch(&path(&bob), json!({"role": "member"})).await.problem(403, "not_owner");

    let fields = bob.rest.patch(&path(&ann), json!({"role": "king"})).await.faulty_fields();
    assert_eq!(fields, ["role"]);
    let stranger = bob.rest.patch(&path(&eve), json!({"role": "owner"})).await;
    stranger.problem(404, "member_not_found");
}

async fn the_owner_removes_members(d: &Deployment) {
    let (ann, bob, eve) = (d.user().await, d.user().await, d.user().await);
    let chat_id = ann.group_id(&[&bob, &eve]).await;
    let path = |user: &User| format!("/chats/{chat_id}/members/{}", user.id);
    ann.rest.delete(&path(&bob)).await.ok(204);
    assert_eq!(roles(&eve, chat_id).await, [role(&ann, "owner"), role(&eve, "member")]);
    bob.rest.get(&format!("/messages/chat/{chat_id}")).await.problem(403, "not_a_member");
    let send = json!({"chat_id": chat_id, "text": "x"});
    bob.rest.post("/messages/send", send).await.problem(403, "not_a_member");
    ann.rest.delete(&path(&bob)).await.problem(404, "member_not_found");
    let nobody = format!("/chats/{chat_id}/members/999999999");
    let answer = ann.rest.delete(&nobody).await;
    assert_eq!(answer.status, 404, "{}", answer.body);
}

async fn only_the_owner_administers(d: &Deployment) {
    let (ann, bob, eve) = (d.user().await, d.user().await, d.user().await);
    let chat_id = ann.group_id(&[&bob]).await;
    for (by, code) in [(&bob, "not_owner"), (&eve, "not_a_member")] {
        let add = json!({"user_ids": [eve.id]});
        let answer = by.rest.post(&format!("/chats/{chat_id}/members"), add).await;
        assert_eq!(answer.status, 403, "{code}: {}", answer.body);
        let one = format!("/chats/{chat_id}/members/{}", ann.id);
        let answer = by.rest.patch(&one, json!({"role": "member"})).await;
        assert_eq!(answer.status, 403, "{code}: {}", answer.body);
        let answer = by.rest.delete(&one).await;
        assert_eq!(answer.status, 403, "{code}: {}", answer.body);
    }
    assert_eq!(roles(&ann, chat_id).await, [role(&ann, "owner"), role(&bob, "member")]);
}

async fn a_private_chat_has_no_administration(d: &Deployment) {
    let (ann, bob, eve) = (d.user().await, d.user().await, d.user().await);
    let chat_id = ann.private_chat_id(&bob).await;
    assert_eq!(members(&bob, chat_id).await.len(), 2);
    let add = json!({"user_ids": [eve.id]});
    let answer = ann.rest.post(&format!("/chats/{chat_id}/members"), add).await;
    assert_eq!(answer.status, 403, "{}", answer.body);
    let answer = ann.rest.delete(&format!("/chats/{chat_id}/members/{}", bob.id)).await;
    assert_eq!(answer.status, 403, "{}", answer.body);
    let answer = ann.rest.delete(&format!("/chats/{chat_id}")).await;
    assert_eq!(answer.status, 403, "{}", answer.body);
    assert_eq!(members(&bob, chat_id).await.len(), 2);
}
