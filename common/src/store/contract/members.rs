//! Members.

use super::*;
use time::macros::datetime;

contract!(
    one_joins_and_leaves,
    a_full_group_takes_nobody,
    the_last_owners_role_passes_on,
    the_last_member_takes_the_group_along,
    members_are_listed_by_id,
    an_owner_adds_members,
    an_owner_gives_roles,
    an_owner_removes_members,
    access_is_told_for_pairs,
    member_lists_are_told_for_many,
    who_comes_or_goes_is_read_with_the_chats_that_hear_of_it,
    an_active_member_is_the_heir,
    a_group_never_stays_with_a_deactivated_owner,
    a_deactivated_member_becomes_no_owner,
    only_active_owners_count,
);

async fn an_active_member_is_the_heir(at: Fixture) {
    let (ann, ben, cem) = (at.user().await, at.user().await, at.user().await);
    let chat = at.group(&ann, &[&ben, &cem]).await.id;
    at.store.deactivate_user(ben.id).await.unwrap();
    let committed = at.store.leave(chat, ann.id).await.unwrap();
    at.recorded(&committed).await;
    assert_eq!(kinds(&committed), ["member_left", "member_updated"]);
    assert_eq!(changed(&committed.events[1]), (cem.id, Role::Owner));
    // Nobody but inactive ones is left.
    let committed = at.store.leave(chat, cem.id).await.unwrap();
    at.recorded(&committed).await;
    assert_eq!(kinds(&committed), ["member_left", "chat_deleted"]);
    assert_eq!(notified(&committed, "chat_removed"), ids(&[&ben, &cem]));
    assert_eq!(at.store.chat(chat, ben.id).await.unwrap(), None);
    assert_eq!(code(at.store.join(chat, ann.id, MANY).await), "chat_not_found");
}

async fn a_group_never_stays_with_a_deactivated_owner(at: Fixture) {
    let (ann, ben, cem) = (at.user().await, at.user().await, at.user().await);
    let (shared, alone) = (at.group(&ann, &[&ben, &cem]).await.id, at.group(&ann, &[&cem]).await.id);
    let (private, ..) = at.store.private_chat(ann.id, ben.id).await.unwrap();
    at.store.outbox_remove(&at.all_pending().await).await.unwrap();
    at.store.deactivate_user(cem.id).await.unwrap();
    at.store.all_groups_passed_on(cem.id, Duration::ZERO).await.unwrap();
    assert_eq!(at.store.left_without_owner(ann.id, 9).await.unwrap(), [], "she is active");
    assert_eq!(at.store.pass_on(shared, ann.id).await.unwrap(), Committed::default(), "she is active");
    at.store.create_session(ann.id, HASH, KEY, HOUR, None).await.unwrap();
    for _ in 0..2 {
        at.store.deactivate_user(ann.id).await.unwrap();
    }
    assert_eq!(code(at.store.create_session(ann.id, HASH, KEY, HOUR, None).await), "account_disabled");
    assert_eq!(at.number("select count(*) from sessions where ended_at is null").await, 0);
    assert_eq!(at.store.accounts_with_groups_left(Duration::ZERO, 9).await.unwrap(), [ann.id]);
    assert_eq!(at.store.accounts_with_groups_left(HOUR, 9).await.unwrap(), []);
    assert_eq!(at.store.left_without_owner(ann.id, 1).await.unwrap(), [shared]);
    assert_eq!(at.store.left_without_owner(ann.id, 9).await.unwrap(), [shared, alone]);

    let committed = at.store.pass_on(shared, ann.id).await.unwrap();
    at.recorded(&committed).await;
    assert_eq!(kinds(&committed), ["member_updated", "member_updated"]);
    let changes: Vec<_> = committed.events.iter().map(changed).collect();
    assert_eq!(changes, [(ben.id, Role::Owner), (ann.id, Role::Member)]);
    let committed = at.store.pass_on(alone, ann.id).await.unwrap();
    at.recorded(&committed).await;
    assert_eq!(kinds(&committed), ["chat_deleted"]);
    assert_eq!(notified(&committed, "chat_removed"), ids(&[&ann, &cem]));
    for chat in [shared, alone, private.id, ChatId(0)] {
        assert_eq!(at.store.pass_on(chat, ann.id).await.unwrap(), Committed::default());
    }
    assert_eq!(at.store.left_without_owner(ann.id, 9).await.unwrap(), []);
    at.store.all_groups_passed_on(ann.id, HOUR).await.unwrap();
    assert_eq!(at.store.accounts_with_groups_left(Duration::ZERO, 9).await.unwrap(), [ann.id], "more may follow");
    at.store.all_groups_passed_on(ann.id, Duration::ZERO).await.unwrap();
    assert_eq!(at.store.accounts_with_groups_left(Duration::ZERO, 9).await.unwrap(), []);
    assert_eq!(at.store.chat(shared, ben.id).await.unwrap().unwrap().role, Some(Role::Owner));
}

async fn a_deactivated_member_becomes_no_owner(at: Fixture) {
    let (ann, ben) = (at.user().await, at.user().await);
    let chat = at.group(&ann, &[&ben]).await.id;
    at.store.deactivate_user(ben.id).await.unwrap();
    assert_eq!(field(at.store.set_role(chat, ann.id, ben.id, Role::Owner).await), "role");
    assert_eq!(at.head(chat).await, Seq(0));
}

/// As releases before this one left groups behind: their owner is deactivated.
async fn only_active_owners_count(at: Fixture) {
    let (ann, ben, cem, dan) = (at.user().await, at.user().await, at.user().await, at.user().await);
    let (shared, dead) = (at.group(&ann, &[&ben, &cem]).await.id, at.group(&ann, &[]).await.id);
    at.store.set_role(shared, ann.id, ben.id, Role::Owner).await.unwrap();
    at.store.outbox_remove(&at.all_pending().await).await.unwrap();
    at.sql(&format!("update users set is_active = {} where id = {}", at.no(), ann.id)).await;
    assert_eq!(field(at.store.set_role(shared, ben.id, ben.id, Role::Member).await), "role");
    let committed = at.store.leave(shared, ben.id).await.unwrap();
    assert_eq!(kinds(&committed), ["member_left", "member_updated"]);
    assert_eq!(changed(&committed.events[1]), (cem.id, Role::Owner));
    assert_eq!(code(at.store.join(dead, dan.id, MANY).await), "chat_not_found");
    // A member is the heir as soon as another comes.
    at.sql(&format!("update members set role = 2 where chat_id = {shared} and user_id = {}", cem.id)).await;
    let (_, committed) = at.store.join(shared, dan.id, MANY).await.unwrap();
    assert_eq!(kinds(&committed), ["member_updated", "member_joined"]);
    assert_eq!(changed(&committed.events[0]), (cem.id, Role::Owner));
}

async fn one_joins_and_leaves(at: Fixture) {
    let (ann, ben) = (at.user().await, at.user().await);
    let chat = at.group(&ann, &[]).await.id;
    at.send(chat, &ann, "before").await;
    assert_eq!(code(at.store.join(ChatId(0), ben.id, MANY).await), "chat_not_found");
    let (joined, committed) = at.store.join(chat, ben.id, MANY).await.unwrap();
    at.recorded(&committed).await;
    assert_eq!((joined.role, joined.member_count, joined.seq), (Some(Role::Member), 2, Seq(2)));
    assert_eq!(joined.last_message.as_ref().unwrap().text, "before");
    assert_eq!((kinds(&committed), changed(&committed.events[0])), (vec!["member_joined"], (ben.id, Role::Member)));
    assert_eq!(notified(&committed, "chat_added"), [ben.id]);
    assert_eq!(committed.notices[0].seq, Seq(2));
    assert_eq!(committed.notices[0].body, NoticeBody::ChatAdded(Arc::new(joined.clone())));
    let (again, committed) = at.store.join(chat, ben.id, 1).await.unwrap();
    assert_eq!((again, committed), (joined, Committed::default()));
    let committed = at.store.leave(chat, ben.id).await.unwrap();
    at.recorded(&committed).await;
    assert_eq!((kinds(&committed), changed(&committed.events[0])), (vec!["member_left"], (ben.id, Role::Member)));
    assert_eq!(notified(&committed, "chat_removed"), [ben.id]);
    assert_eq!(committed.notices[0].seq, Seq(3));
    assert_eq!(code(at.store.leave(chat, ben.id).await), "not_a_member");
    assert_eq!(code(at.store.leave(ChatId(0), ben.id).await), "chat_not_found");
    assert_eq!(at.store.chat(chat, ann.id).await.unwrap().unwrap().member_count, 1);
}

async fn a_full_group_takes_nobody(at: Fixture) {
    let (ann, ben, cem) = (at.user().await, at.user().await, at.user().await);
    let chat = at.group(&ann, &[]).await.id;
    assert_eq!(code(at.store.join(chat, ben.id, 1).await), "group_full");
    assert_eq!(code(at.store.add_members(chat, ann.id, &[ben.id, cem.id], 2).await), "group_full");
    assert_eq!(at.head(chat).await, Seq(0));
    at.store.join(chat, ben.id, 2).await.unwrap();
    assert_eq!(at.store.add_members(chat, ann.id, &[ben.id], 2).await.unwrap().0.len(), 1);
}

async fn the_last_owners_role_passes_on(at: Fixture) {
    let (ann, ben, cem) = (at.user().await, at.user().await, at.user().await);
    let chat = at.group(&ann, &[]).await.id;
    at.store.join(chat, cem.id, MANY).await.unwrap();
    at.store.join(chat, ben.id, MANY).await.unwrap();
    at.store.outbox_remove(&at.all_pending().await).await.unwrap();
    let committed = at.store.leave(chat, ann.id).await.unwrap();
    at.recorded(&committed).await;
    assert_eq!(kinds(&committed), ["member_left", "member_updated"]);
    assert_eq!(changed(&committed.events[0]), (ann.id, Role::Owner));
    assert_eq!(changed(&committed.events[1]), (cem.id, Role::Owner));
    assert_eq!(committed.events.iter().map(|event| event.seq.0).collect::<Vec<_>>(), [3, 4]);
    // While another owner is there, nothing passes on.
    at.store.set_role(chat, cem.id, ben.id, Role::Owner).await.unwrap();
    assert_eq!(kinds(&at.store.leave(chat, cem.id).await.unwrap()), ["member_left"]);
}

async fn the_last_member_takes_the_group_along(at: Fixture) {
    let ann = at.user().await;
    let chat = at.group(&ann, &[]).await.id;
    let committed = at.store.leave(chat, ann.id).await.unwrap();
    at.recorded(&committed).await;
    assert_eq!(kinds(&committed), ["member_left", "chat_deleted"]);
    assert_eq!(notified(&committed, "chat_removed"), [ann.id]);
    assert_eq!(at.store.chat(chat, ann.id).await.unwrap(), None);
    assert_eq!(code(at.store.join(chat, ann.id, MANY).await), "chat_not_found");
}

async fn members_are_listed_by_id(at: Fixture) {
    let (ann, ben, cem) = (at.user().await, at.user().await, at.user().await);
    let chat = at.group(&ben, &[&cem, &ann]).await.id;
    let one = at.store.members(chat, ann.id, &first(2)).await.unwrap();
    let two = at.store.members(chat, ann.id, &next(one.next_cursor, 2)).await.unwrap();
    assert_eq!(two.next_cursor, None);
    let all: Vec<_> = [one.items, two.items].concat();
    let found: Vec<_> = all.iter().map(|member| (member.user_id, member.username.clone(), member.role)).collect();
    let expected = [(&ann, Role::Member), (&ben, Role::Owner), (&cem, Role::Member)];
    assert_eq!(found, expected.map(|(user, role)| (user.id, user.username.clone(), role)));
    let outsider = at.user().await;
    assert_eq!(code(at.store.members(chat, outsider.id, &first(2)).await), "not_a_member");
    assert_eq!(code(at.store.members(ChatId(0), ann.id, &first(2)).await), "chat_not_found");
    assert_eq!(field(at.store.members(chat, ann.id, &next(Some("c1.1".into()), 2)).await), "cursor");
    // Beyond the last there is an empty page, not an error.
    assert_eq!(at.store.members(chat, ann.id, &next(Some("m999999".into()), 2)).await.unwrap().items, []);
}

async fn an_owner_adds_members(at: Fixture) {
    let (ann, ben, cem, dan) = (at.user().await, at.user().await, at.user().await, at.user().await);
    let chat = at.group(&ann, &[&ben]).await.id;
    let asked = [dan.id, ben.id, cem.id];
    assert_eq!(code(at.store.add_members(chat, ben.id, &asked, MANY).await), "not_owner");
    assert_eq!(code(at.store.add_members(chat, cem.id, &asked, MANY).await), "not_a_member");
    assert_eq!(code(at.store.add_members(ChatId(0), ann.id, &asked, MANY).await), "chat_not_found");
    assert_eq!(field(at.store.add_members(chat, ann.id, &[cem.id, UserId(0)], MANY).await), "user_ids");
    let gone = at.user().await;
    at.store.deactivate_user(gone.id).await.unwrap();
    assert_eq!(field(at.store.add_members(chat, ann.id, &[gone.id], MANY).await), "user_ids");
    let (members, committed) = at.store.add_members(chat, ann.id, &asked, MANY).await.unwrap();
    at.recorded(&committed).await;
    assert_eq!(members.iter().map(|member| member.user_id).collect::<Vec<_>>(), asked);
    assert_eq!(kinds(&committed), ["member_joined", "member_joined"]);
    assert_eq!(committed.events.iter().map(changed).map(|(user, _)| user).collect::<Vec<_>>(), [dan.id, cem.id]);
    assert_eq!(notified(&committed, "chat_added"), ids(&[&cem, &dan]));
    assert_eq!(committed.notices.iter().map(|notice| notice.seq.0).collect::<Vec<_>>(), [1, 2]);
    let (_, committed) = at.store.add_members(chat, ann.id, &asked, MANY).await.unwrap();
    assert_eq!(committed, Committed::default());
    assert_eq!(at.store.chat(chat, dan.id).await.unwrap().unwrap().member_count, 4);
    assert_eq!(at.store.add_members(chat, ann.id, &[], MANY).await.unwrap().0, []);
}

async fn an_owner_gives_roles(at: Fixture) {
    let (ann, ben, cem) = (at.user().await, at.user().await, at.user().await);
    let chat = at.group(&ann, &[&ben]).await.id;
    assert_eq!(code(at.store.set_role(chat, ben.id, ben.id, Role::Owner).await), "not_owner");
    assert_eq!(code(at.store.set_role(chat, ann.id, cem.id, Role::Owner).await), "member_not_found");
    assert_eq!(code(at.store.set_role(chat, cem.id, ann.id, Role::Owner).await), "not_a_member");
    assert_eq!(field(at.store.set_role(chat, ann.id, ann.id, Role::Member).await), "role");
    let (member, committed) = at.store.set_role(chat, ann.id, ben.id, Role::Owner).await.unwrap();
    at.recorded(&committed).await;
    assert_eq!((member.user_id, member.role), (ben.id, Role::Owner));
    assert_eq!((kinds(&committed), changed(&committed.events[0])), (vec!["member_updated"], (ben.id, Role::Owner)));
    let (_, committed) = at.store.set_role(chat, ann.id, ben.id, Role::Owner).await.unwrap();
    assert_eq!(committed, Committed::default());
    let (member, committed) = at.store.set_role(chat, ann.id, ann.id, Role::Member).await.unwrap();
    at.recorded(&committed).await;
    assert_eq!((member.role, at.head(chat).await), (Role::Member, Seq(2)));
    assert_eq!(code(at.store.set_role(chat, ann.id, ben.id, Role::Member).await), "not_owner");
}

async fn an_owner_removes_members(at: Fixture) {
    let (ann, ben, cem) = (at.user().await, at.user().await, at.user().await);
    let chat = at.group(&ann, &[&ben, &cem]).await.id;
    assert_eq!(code(at.store.remove_member(chat, ben.id, cem.id).await), "not_owner");
    assert_eq!(code(at.store.remove_member(chat, ann.id, UserId(0)).await), "member_not_found");
    let committed = at.store.remove_member(chat, ann.id, ben.id).await.unwrap();
    at.recorded(&committed).await;
    assert_eq!((kinds(&committed), changed(&committed.events[0])), (vec!["member_left"], (ben.id, Role::Member)));
    assert_eq!(notified(&committed, "chat_removed"), [ben.id]);
    assert_eq!(code(at.store.remove_member(chat, ann.id, ben.id).await), "member_not_found");
    assert_eq!(code(at.store.remove_member(chat, ben.id, ben.id).await), "not_a_member");
    let sent = at.store.send(vec![new(chat, &ben, "still here")]).await.unwrap();
    assert_eq!(code(sent.results.into_iter().next().unwrap()), "not_a_member");
    // Oneself: as leaving.
    let committed = at.store.remove_member(chat, ann.id, ann.id).await.unwrap();
    at.recorded(&committed).await;
    assert_eq!(kinds(&committed), ["member_left", "member_updated"]);
}

async fn access_is_told_for_pairs(at: Fixture) {
    let (ann, ben, cem) = (at.user().await, at.user().await, at.user().await);
    let group = at.group(&ann, &[&ben]).await.id;
    let (private, ..) = at.store.private_chat(ann.id, ben.id).await.unwrap();
    at.store.outbox_remove(&at.all_pending().await).await.unwrap();
    at.send(group, &ann, "x").await;
    let pairs = [(group, ann.id), (private.id, cem.id), (group, cem.id), (ChatId(0), ann.id), (private.id, ben.id)];
    let found = at.store.access(&pairs).await.unwrap();
    let epoch: Arc<str> = at.store.deployment().await.unwrap().epoch.into();
    let group_access = |role| {
        let (head, floor, epoch) = (Seq(1), Seq(0), Arc::clone(&epoch));
        Some(Access { chat_id: group, is_group: true, role, head, floor, member_count: 2, epoch })
    };
    let private_access = Some(Access {
        chat_id: private.id,
        is_group: false,
        role: Some(Role::Member),
        head: Seq(0),
        floor: Seq(0),
        member_count: 2,
        epoch: Arc::clone(&epoch),
    });
    assert_eq!(found, [group_access(Some(Role::Owner)), None, group_access(None), None, private_access]);
    assert_eq!(at.store.access(&[]).await.unwrap(), []);
}

async fn member_lists_are_told_for_many(at: Fixture) {
    let (ann, ben, cem) = (at.user().await, at.user().await, at.user().await);
    let pair = at.group(&ann, &[&ben]).await.id;
    let three = at.group(&ann, &[&ben, &cem]).await.id;
    let mut found = at.store.member_ids(&[pair, three, ChatId(0)], 3).await.unwrap();
    found.sort();
    assert_eq!(found, [(pair, ids(&[&ann, &ben])), (three, ids(&[&ann, &ben, &cem]))]);
    let among = at.store.members_among(pair, &[cem.id, ben.id, UserId(0), ann.id]).await.unwrap();
    assert_eq!(among, ids(&[&ann, &ben]));
    assert_eq!(at.store.members_among(pair, &[]).await.unwrap(), []);
    assert_eq!(at.store.member_ids(&[pair, three], 2).await.unwrap(), [(pair, ids(&[&ann, &ben]))]);
}

async fn who_comes_or_goes_is_read_with_the_chats_that_hear_of_it(at: Fixture) {
    let (ann, ben, cem, dan) = (at.user().await, at.user().await, at.user().await, at.user().await);
    let pair = at.group(&ann, &[&ben]).await.id;
    let three = at.group(&ann, &[&ben, &cem]).await.id;
    let gone = at.group(&ann, &[]).await.id;
    at.store.delete_chat(gone, ann.id).await.unwrap();
    let seen = datetime!(2026-11-27 21:00 UTC);
    at.store.set_last_seen(&[(cem.id, seen)]).await.unwrap();
    let found = async |users: &[UserId], max, most| {
        let mut found = at.store.for_status(users, max, most).await.unwrap();
        found.sort_by_key(|one| one.user_id);
        found
    };
    let told = |user: &User, chats: Option<&[ChatId]>| ForStatus {
        user_id: user.id,
        username: user.username.clone(),
        last_seen_at: (user.id == cem.id).then_some(seen),
        chats: chats.map(<[ChatId]>::to_vec),
    };
    let all = [ann.id, UserId(0), cem.id, dan.id];
    let (three_and_pair, none): (&[ChatId], &[ChatId]) = (&[pair, three], &[]);
    let expected = [told(&ann, Some(three_and_pair)), told(&cem, Some(&[three])), told(&dan, Some(none))];
    for most in [3, 100, usize::MAX] {
        assert_eq!(found(&all, 3, most).await, expected, "{most}");
    }
    assert_eq!(found(&all, 2, 100).await, [told(&ann, Some(&[pair])), told(&cem, Some(none)), told(&dan, Some(none))]);
    assert_eq!(found(&all, 3, 1).await, [told(&ann, None), told(&cem, Some(&[three])), told(&dan, Some(none))]);
    assert_eq!(found(&[], 3, 1).await, []);
}
