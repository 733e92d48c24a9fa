//! Closed groups and invitations.

use super::*;
use crate::model::MAX_INVITES;
use futures_util::future::join_all;

contract!(
    a_closed_group_exists_for_its_members_alone,
    an_invitation_lets_in_until_it_is_used_up_or_revoked,
    owners_alone_see_and_make_invitations,
    an_invitation_of_a_group_that_is_full_or_gone_lets_nobody_in,
    of_many_who_take_the_last_use_one_gets_it,
    an_account_and_its_membership_are_made_together,
    the_hosts_invitation_leads_into_no_group,
    an_expired_invitation_is_pruned,
    a_group_has_a_hundred_open_invitations_at_most,
);

fn invite(code: &str, max_uses: Option<i64>) -> NewInvite {
    NewInvite { code: code.into(), expires_in: Some(HOUR), max_uses }
}

async fn closed(at: &Fixture, owner: &User, members: &[&User]) -> ChatId {
    let group = NewGroup {
        owner: owner.id,
        name: "closed".into(),
        description: Some("about".into()),
        is_public: false,
        member_ids: ids(members),
    };
    let (chat, committed) = at.store.create_group(group).await.unwrap();
    at.recorded(&committed).await;
    assert!(!chat.is_public && chat.is_group);
    chat.id
}

fn new_user(name: &str) -> NewUser {
    NewUser { username: name.into(), email: format!("{name}@example.org"), password_hash: HASH.into() }
}

async fn a_closed_group_exists_for_its_members_alone(at: Fixture) {
    let (ann, ben, cem) = (at.user().await, at.user().await, at.user().await);
    let chat = closed(&at, &ann, &[&ben]).await;
    let message = at.send(chat, &ann, "inside").await;
    assert!(!at.store.chat(chat, ben.id).await.unwrap().unwrap().is_public);
    assert!(at.group(&ann, &[]).await.is_public);

    assert_eq!(at.store.chat(chat, cem.id).await.unwrap(), None);
    assert_eq!(at.store.access(&[(chat, cem.id)]).await.unwrap(), [None]);
    let page = first(9);
    let newest = HistoryFrom::Newest;
    assert_eq!(code(at.store.history(chat, cem.id, newest, 9).await), "chat_not_found");
    assert_eq!(code(at.store.members(chat, cem.id, &page).await), "chat_not_found");
    assert_eq!(code(at.store.mark_read(chat, cem.id, Seq(1)).await), "chat_not_found");
    assert_eq!(code(at.store.join(chat, cem.id, MANY).await), "chat_not_found");
    assert_eq!(code(at.store.leave(chat, cem.id).await), "chat_not_found");
    assert_eq!(code(at.store.add_members(chat, cem.id, &[cem.id], MANY).await), "chat_not_found");
    assert_eq!(code(at.store.set_role(chat, cem.id, ben.id, Role::Owner).await), "chat_not_found");
    assert_eq!(code(at.store.remove_member(chat, cem.id, ben.id).await), "chat_not_found");
    assert_eq!(code(at.store.update_chat(chat, cem.id, ChatPatch::default()).await), "chat_not_found");
    assert_eq!(code(at.store.delete_chat(chat, cem.id).await), "chat_not_found");
    assert_eq!(code(at.store.edit(message.id, cem.id, "x".into(), Vec::new()).await), "message_not_found");
    assert_eq!(code(at.store.delete(message.id, cem.id).await), "message_not_found");
    // Of one and of several sends, beside a public group.
    let open = at.group(&ann, &[]).await.id;
    let codes = |batch: SentBatch| -> Vec<_> { batch.results.into_iter().map(code).collect() };
    assert_eq!(codes(at.send_batch(vec![new(chat, &cem, "x")]).await), ["chat_not_found"]);
    let both = vec![new(chat, &cem, "x"), new(open, &cem, "x")];
    assert_eq!(codes(at.send_batch(both).await), ["chat_not_found", "not_a_member"]);

    let (_, committed) = at.store.add_members(chat, ann.id, &[cem.id], MANY).await.unwrap();
    at.recorded(&committed).await;
    assert_eq!(at.history(chat, &cem).await.len(), 1);
    let patch = ChatPatch { name: Some("other".into()), ..ChatPatch::default() };
    let (_, committed) = at.store.update_chat(chat, ann.id, patch).await.unwrap();
    at.recorded(&committed).await;
    let committed = at.store.leave(chat, cem.id).await.unwrap();
    at.recorded(&committed).await;
    assert_eq!(at.store.chat(chat, cem.id).await.unwrap(), None);
}

async fn an_invitation_lets_in_until_it_is_used_up_or_revoked(at: Fixture) {
    let (ann, ben, cem, dan) = (at.user().await, at.user().await, at.user().await, at.user().await);
    let chat = closed(&at, &ann, &[]).await;
    let made = at.store.create_invite(chat, ann.id, invite("code", Some(2))).await.unwrap();
    assert_eq!((made.code.as_str(), made.chat_id, made.created_by), ("code", Some(chat), Some(ann.id)));
    assert_eq!(made.expires_at, Some(made.created_at + HOUR));
    assert_eq!((made.max_uses, made.uses), (Some(2), 0));
    let seen = at.store.invite("code").await.unwrap().unwrap();
    let group = seen.chat.unwrap();
    assert_eq!((group.name.as_str(), group.description.as_deref(), group.member_count), ("closed", Some("about"), 1));
    assert_eq!((seen.invited_by, seen.expires_at), (Some(ann.username.clone()), made.expires_at));

    let (entered, committed) = at.store.accept_invite("code", ben.id, MANY).await.unwrap();
    at.recorded(&committed).await;
    assert_eq!((kinds(&committed), notified(&committed, "chat_added")), (vec!["member_joined"], vec![ben.id]));
    assert_eq!((entered.id, entered.role, entered.member_count), (chat, Some(Role::Member), 2));
    let (again, committed) = at.store.accept_invite("code", ben.id, MANY).await.unwrap();
    assert_eq!((again.member_count, committed), (2, Committed::default()), "a member takes no use");
    at.store.accept_invite("code", cem.id, MANY).await.unwrap();
    let listed = at.store.invites(chat, ann.id, &first(9)).await.unwrap().items;
    assert_eq!((listed.len(), listed[0].uses), (1, 2));
    assert_eq!(code(at.store.accept_invite("code", dan.id, MANY).await), "invite_not_found");
    assert_eq!(at.store.invite("code").await.unwrap(), None);

    at.store.create_invite(chat, ann.id, invite("other", None)).await.unwrap();
    at.store.revoke_invite(chat, ann.id, "other").await.unwrap();
    assert_eq!(code(at.store.revoke_invite(chat, ann.id, "other").await), "invite_not_found");
    assert_eq!(code(at.store.accept_invite("other", dan.id, MANY).await), "invite_not_found");
    assert_eq!(code(at.store.accept_invite("nothing", dan.id, MANY).await), "invite_not_found");
    at.store.create_invite(chat, ann.id, NewInvite { expires_in: None, ..invite("ever", None) }).await.unwrap();
    assert_eq!(at.store.invite("ever").await.unwrap().unwrap().expires_at, None);
}

async fn owners_alone_see_and_make_invitations(at: Fixture) {
    let (ann, ben, cem) = (at.user().await, at.user().await, at.user().await);
    let (hidden, open) = (closed(&at, &ann, &[&ben]).await, at.group(&ann, &[&ben]).await.id);
    let (private, ..) = at.store.private_chat(ann.id, ben.id).await.unwrap();
    for n in 0..3 {
        at.store.create_invite(hidden, ann.id, invite(&format!("code{n}"), None)).await.unwrap();
    }
    let page = at.store.invites(hidden, ann.id, &first(2)).await.unwrap();
    let rest = at.store.invites(hidden, ann.id, &next(page.next_cursor, 2)).await.unwrap();
    let codes: Vec<_> = page.items.iter().chain(&rest.items).map(|invite| invite.code.as_str()).collect();
    assert_eq!((codes, rest.next_cursor), (vec!["code2", "code1", "code0"], None));
    for (chat, by, refused) in [
        (hidden, &ben, "not_owner"),
        (open, &ben, "not_owner"),
        (hidden, &cem, "chat_not_found"),
        (open, &cem, "not_a_member"),
        (private.id, &ann, "private_chat"),
        (private.id, &cem, "chat_not_found"),
        (ChatId(0), &ann, "chat_not_found"),
    ] {
        assert_eq!(code(at.store.create_invite(chat, by.id, invite("no", None)).await), refused);
        assert_eq!(code(at.store.invites(chat, by.id, &first(2)).await), refused);
        assert_eq!(code(at.store.revoke_invite(chat, by.id, "code0").await), refused);
    }
    assert_eq!(code(at.store.revoke_invite(open, ann.id, "code0").await), "invite_not_found", "of another group");
}

async fn an_invitation_of_a_group_that_is_full_or_gone_lets_nobody_in(at: Fixture) {
    let (ann, ben) = (at.user().await, at.user().await);
    let chat = closed(&at, &ann, &[]).await;
    at.store.create_invite(chat, ann.id, invite("code", Some(1))).await.unwrap();
    assert_eq!(code(at.store.accept_invite("code", ben.id, 1).await), "group_full");
    assert_eq!(code(at.store.register(new_user("eve"), "code", 1).await), "group_full");
    assert!(at.store.credentials("eve").await.unwrap().is_none());
    assert_eq!(at.store.invites(chat, ann.id, &first(1)).await.unwrap().items[0].uses, 0);
    at.store.delete_chat(chat, ann.id).await.unwrap();
    assert_eq!(at.store.invite("code").await.unwrap(), None);
    assert_eq!(code(at.store.accept_invite("code", ben.id, MANY).await), "invite_not_found");
    assert_eq!(code(at.store.register(new_user("eve"), "code", MANY).await), "invite_not_found");
    // Nobody is active in it: its texts are not left to a stranger.
    let dead = closed(&at, &ann, &[]).await;
    at.store.create_invite(dead, ann.id, invite("dead", None)).await.unwrap();
    at.sql(&format!("update users set is_active = {} where id = {}", at.no(), ann.id)).await;
    assert_eq!(code(at.store.accept_invite("dead", ben.id, MANY).await), "invite_not_found");
}

async fn of_many_who_take_the_last_use_one_gets_it(at: Fixture) {
    let ann = at.user().await;
    let chat = closed(&at, &ann, &[]).await;
    at.store.create_invite(chat, ann.id, invite("code", Some(1))).await.unwrap();
    at.store.create_host_invite(invite("host", Some(1))).await.unwrap();
    let mut users = Vec::new();
    for _ in 0..4 {
        users.push(at.user().await);
    }
    let accepted = join_all(users.iter().map(|user| at.store.accept_invite("code", user.id, MANY))).await;
    assert_eq!(accepted.iter().filter(|one| one.is_ok()).count(), 1, "{accepted:?}");
    let names: Vec<_> = (0..4).map(|n| format!("guest{n}")).collect();
    let registered = join_all(names.iter().map(|name| at.store.register(new_user(name), "host", MANY))).await;
    assert_eq!(registered.iter().filter(|one| one.is_ok()).count(), 1, "{registered:?}");
    for refused in accepted.into_iter().map(|one| one.map(drop)).chain(registered.into_iter().map(|one| one.map(drop)))
    {
        assert!(refused.is_ok() || code(refused) == "invite_not_found");
    }
    assert_eq!(at.store.chat(chat, ann.id).await.unwrap().unwrap().member_count, 2);
    assert_eq!(at.number("select count(*) from users where username like 'guest%'").await, 1);
}

async fn an_account_and_its_membership_are_made_together(at: Fixture) {
    let ann = at.user().await;
    let chat = closed(&at, &ann, &[]).await;
    at.store.create_invite(chat, ann.id, invite("code", Some(2))).await.unwrap();
    let (eve, committed) = at.store.register(new_user("eve"), "code", MANY).await.unwrap();
    at.recorded(&committed).await;
    assert_eq!((kinds(&committed), notified(&committed, "chat_added")), (vec!["member_joined"], vec![eve.id]));
    assert_eq!(at.store.chat(chat, eve.id).await.unwrap().unwrap().role, Some(Role::Member));
    let same = NewUser { email: "other@example.org".into(), ..new_user("eve") };
    assert_eq!(code(at.store.register(same, "code", MANY).await), "username_taken");
    let same = NewUser { username: "other".into(), ..new_user("eve") };
    assert_eq!(code(at.store.register(same, "code", MANY).await), "email_taken");
    assert_eq!(at.store.invites(chat, ann.id, &first(1)).await.unwrap().items[0].uses, 1);
    assert_eq!(code(at.store.register(new_user("dan"), "nothing", MANY).await), "invite_not_found");
    assert!(at.store.credentials("dan").await.unwrap().is_none());
}

async fn the_hosts_invitation_leads_into_no_group(at: Fixture) {
    let ann = at.user().await;
    let made = at.store.create_host_invite(invite("host", Some(2))).await.unwrap();
    assert_eq!((made.chat_id, made.created_by), (None, None));
    let seen = at.store.invite("host").await.unwrap().unwrap();
    assert_eq!((seen.chat, seen.invited_by), (None, None));
    assert_eq!(code(at.store.accept_invite("host", ann.id, MANY).await), "invite_not_found");
    let (eve, committed) = at.store.register(new_user("eve"), "host", MANY).await.unwrap();
    assert_eq!((eve.username.as_str(), committed), ("eve", Committed::default()));
}

async fn an_expired_invitation_is_pruned(at: Fixture) {
    let ann = at.user().await;
    let chat = closed(&at, &ann, &[]).await;
    for code in ["old", "new"] {
        at.store.create_invite(chat, ann.id, invite(code, None)).await.unwrap();
    }
    at.sql(&format!("update invites set expires_at = {} where code = 'old'", at.long_ago())).await;
    assert_eq!(at.store.invite("old").await.unwrap(), None);
    assert_eq!(code(at.store.accept_invite("old", ann.id, MANY).await), "invite_not_found", "a member's too");
    assert_eq!(code(at.store.register(new_user("eve"), "old", MANY).await), "invite_not_found");
    assert_eq!(at.store.invites(chat, ann.id, &first(9)).await.unwrap().items.len(), 1);
    at.store.prune(HOUR, 100).await.unwrap();
    assert_eq!(at.number("select count(*) from invites").await, 1);
}

async fn a_group_has_a_hundred_open_invitations_at_most(at: Fixture) {
    let (ann, ben) = (at.user().await, at.user().await);
    let chat = closed(&at, &ann, &[]).await;
    let once = invite("once", Some(1));
    at.store.create_invite(chat, ann.id, once).await.unwrap();
    for n in 1..MAX_INVITES {
        at.store.create_invite(chat, ann.id, invite(&format!("c{n}"), None)).await.unwrap();
    }
    let more = async |code: &str| at.store.create_invite(chat, ann.id, invite(code, None)).await;
    assert_eq!(code(more("d").await), "too_many_invites");
    // One that lets nobody in any more is not counted.
    at.store.accept_invite("once", ben.id, MANY).await.unwrap();
    more("d").await.unwrap();
    assert_eq!(code(more("e").await), "too_many_invites");
    at.store.revoke_invite(chat, ann.id, "d").await.unwrap();
    more("e").await.unwrap();
    at.sql(&format!("update invites set expires_at = {} where code = 'e'", at.long_ago())).await;
    more("f").await.unwrap();
    // Another group's are its own, and the host's are nobody's.
    at.store.create_invite(closed(&at, &ann, &[]).await, ann.id, invite("g", None)).await.unwrap();
    at.store.create_host_invite(invite("h", None)).await.unwrap();
    let mut codes = Vec::new();
    let mut page = first(60);
    loop {
        let found = at.store.invites(chat, ann.id, &page).await.unwrap();
        codes.extend(found.items.into_iter().map(|invite| invite.code));
        match found.next_cursor {
            None => break,
            cursor => page = next(cursor, 60),
        }
    }
    assert_eq!((codes.len(), codes[0].as_str(), codes[100].as_str()), (101, "f", "once"));
}
