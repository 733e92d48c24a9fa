//! Chats.

use super::*;

contract!(
    a_group_is_made_and_everyone_is_told,
    a_group_takes_only_known_others,
    a_private_chat_is_one_for_its_two,
    a_private_chat_needs_another_active_user,
    a_chat_is_seen_as_far_as_one_may,
    chats_are_listed_last_active_first,
    chats_are_counted_up_to_a_bound,
    what_is_unread_is_counted,
    unread_messages_are_counted_up_to_a_thousand,
    a_group_is_changed_by_its_owner,
    a_deleted_group_is_gone_but_its_log,
);

async fn a_group_is_made_and_everyone_is_told(at: Fixture) {
    let (ann, ben, cem) = (at.user().await, at.user().await, at.user().await);
    let group = NewGroup {
        owner: ann.id,
        name: "Group".into(),
        description: Some("about".into()),
        is_public: true,
        member_ids: vec![cem.id, ben.id],
    };
    let (chat, committed) = at.store.create_group(group).await.unwrap();
    at.recorded(&committed).await;
    assert_eq!((chat.name.as_str(), chat.description.as_deref(), chat.is_group), ("Group", Some("about"), true));
    assert_eq!((chat.seq, chat.member_count, chat.role), (Seq(0), 3, Some(Role::Owner)));
    assert_eq!((chat.unread_count, &chat.last_message, &chat.peer), (Some(0), &None, &None));
    assert_eq!(committed.events, []);
    assert_eq!(notified(&committed, "chat_added"), ids(&[&ann, &ben, &cem]));
    for notice in &committed.notices {
        let NoticeBody::ChatAdded(found) = &notice.body else { panic!("{notice:?}") };
        let role = if notice.user_id == ann.id { Role::Owner } else { Role::Member };
        assert_eq!((**found).clone(), Chat { role: Some(role), ..chat.clone() });
        assert_eq!((notice.chat_id, notice.seq), (chat.id, Seq(0)));
        assert_eq!(at.store.chat(chat.id, notice.user_id).await.unwrap().as_ref(), Some(&**found));
    }
}

async fn a_group_takes_only_known_others(at: Fixture) {
    let (ann, ben, gone) = (at.user().await, at.user().await, at.user().await);
    at.store.deactivate_user(gone.id).await.unwrap();
    for member_ids in [vec![UserId(0)], vec![ben.id, gone.id], vec![ann.id], vec![ben.id, ben.id]] {
        let group = NewGroup { owner: ann.id, name: "x".into(), description: None, is_public: true, member_ids };
        assert_eq!(field(at.store.create_group(group).await), "member_ids");
    }
    assert_eq!(at.store.chats_of(ann.id, &first(10)).await.unwrap().items, []);
    assert_eq!(at.group(&ann, &[]).await.member_count, 1);
}

async fn a_private_chat_is_one_for_its_two(at: Fixture) {
    let (ann, ben, cem) = (at.user().await, at.user().await, at.user().await);
    let (chat, made, committed) = at.store.private_chat(ben.id, ann.id).await.unwrap();
    at.recorded(&committed).await;
    assert!(made && !chat.is_group);
    assert_eq!(chat.name, ann.username);
    assert_eq!(chat.peer, Some(crate::model::Peer { id: ann.id, username: ann.username.clone() }));
    assert_eq!((chat.role, chat.member_count, chat.unread_count), (Some(Role::Member), 2, Some(0)));
    assert_eq!(notified(&committed, "chat_added"), ids(&[&ann, &ben]));
    for notice in &committed.notices {
        let NoticeBody::ChatAdded(found) = &notice.body else { panic!("{notice:?}") };
        assert_eq!(found.peer.as_ref().unwrap().id, if notice.user_id == ann.id { ben.id } else { ann.id });
    }
    let (again, made, committed) = at.store.private_chat(ann.id, ben.id).await.unwrap();
    assert_eq!((again.id, made, committed), (chat.id, false, Committed::default()));
    assert_eq!(again.name, ben.username);
    // For whoever else asks, it does not exist.
    assert_eq!(at.store.chat(chat.id, cem.id).await.unwrap(), None);
    assert_eq!(code(at.store.members(chat.id, cem.id, &first(9)).await), "chat_not_found");
    assert_eq!(code(at.store.join(chat.id, cem.id, MANY).await), "chat_not_found");
    assert_eq!(code(at.store.leave(chat.id, cem.id).await), "chat_not_found");
    assert_eq!(code(at.store.delete_chat(chat.id, cem.id).await), "chat_not_found");
    assert_eq!(code(at.store.mark_read(chat.id, cem.id, Seq(0)).await), "chat_not_found");
    // And its two neither leave it nor rule it.
    assert_eq!(code(at.store.leave(chat.id, ann.id).await), "private_chat");
    assert_eq!(code(at.store.delete_chat(chat.id, ann.id).await), "private_chat");
    assert_eq!(code(at.store.update_chat(chat.id, ann.id, ChatPatch::default()).await), "private_chat");
    assert_eq!(code(at.store.add_members(chat.id, ann.id, &[cem.id], MANY).await), "private_chat");
    assert_eq!(code(at.store.remove_member(chat.id, ann.id, ben.id).await), "private_chat");
    assert_eq!(code(at.store.set_role(chat.id, ann.id, ben.id, Role::Owner).await), "private_chat");
    let (joined, committed) = at.store.join(chat.id, ann.id, MANY).await.unwrap();
    assert_eq!((joined.id, committed), (chat.id, Committed::default()));
}

async fn a_private_chat_needs_another_active_user(at: Fixture) {
    let (ann, ben) = (at.user().await, at.user().await);
    assert_eq!(code(at.store.private_chat(ann.id, ann.id).await), "user_not_found");
    assert_eq!(code(at.store.private_chat(ann.id, UserId(0)).await), "user_not_found");
    at.store.deactivate_user(ben.id).await.unwrap();
    assert_eq!(code(at.store.private_chat(ann.id, ben.id).await), "user_not_found");
}

async fn a_chat_is_seen_as_far_as_one_may(at: Fixture) {
    let (ann, ben) = (at.user().await, at.user().await);
    let chat = at.group(&ann, &[]).await;
    let message = at.send(chat.id, &ann, "hello").await;
    let own = at.store.chat(chat.id, ann.id).await.unwrap().unwrap();
    assert_eq!((own.seq, own.last_message, own.unread_count), (Seq(1), Some(message), Some(0)));
    let others = at.store.chat(chat.id, ben.id).await.unwrap().unwrap();
    assert_eq!((others.role, others.last_message, others.unread_count), (None, None, None));
    assert_eq!((others.seq, others.member_count), (Seq(1), 1));
    assert_eq!(at.store.chat(ChatId(0), ann.id).await.unwrap(), None);
}

async fn chats_are_listed_last_active_first(at: Fixture) {
    let (ann, ben) = (at.user().await, at.user().await);
    let mut chats = Vec::new();
    for _ in 0..5 {
        chats.push(at.group(&ann, &[&ben]).await.id);
    }
    at.group(&ben, &[]).await;
    at.send(chats[1], &ben, "one").await;
    at.send(chats[3], &ben, "two").await;
    let expected = [chats[3], chats[1], chats[4], chats[2], chats[0]];
    let mut listed = Vec::new();
    let mut page = at.store.chats_of(ann.id, &first(2)).await.unwrap();
    loop {
        listed.extend(page.items.iter().map(|chat| chat.id));
        let Some(cursor) = page.next_cursor else { break };
        page = at.store.chats_of(ann.id, &next(Some(cursor), 2)).await.unwrap();
    }
    assert_eq!(listed, expected);
    let top = &at.store.chats_of(ann.id, &first(1)).await.unwrap().items[0];
    assert_eq!(top.last_message.as_ref().unwrap().text, "two");
    assert_eq!((top.role, top.unread_count), (Some(Role::Owner), Some(1)));
    assert_eq!(Some(top.clone()), at.store.chat(top.id, ann.id).await.unwrap());
    let (private, ..) = at.store.private_chat(ann.id, ben.id).await.unwrap();
    let top = &at.store.chats_of(ann.id, &first(1)).await.unwrap().items[0];
    assert_eq!((top.id, top.name.as_str()), (private.id, ben.username.as_str()));
    assert_eq!(field(at.store.chats_of(ann.id, &next(Some("m1".into()), 2)).await), "cursor");
}

async fn unread_messages_are_counted_up_to_a_thousand(at: Fixture) {
    let (ann, ben) = (at.user().await, at.user().await);
    let chat = at.group(&ann, &[&ben]).await.id;
    for (more, unread) in [(999, 999), (1, 1000), (500, 1000)] {
        let messages: Vec<_> = (0..more).map(|n| new(chat, &ann, &n.to_string())).collect();
        for batch in messages.chunks(250) {
            at.store.send(batch.to_vec()).await.unwrap();
        }
        assert_eq!(at.store.chat(chat, ben.id).await.unwrap().unwrap().unread_count, Some(unread));
        assert_eq!(at.store.chats_of(ben.id, &first(1)).await.unwrap().items[0].unread_count, Some(unread));
    }
}

async fn chats_are_counted_up_to_a_bound(at: Fixture) {
    let (ann, ben) = (at.user().await, at.user().await);
    for _ in 0..3 {
        at.group(&ann, &[&ben]).await;
    }
    at.group(&ben, &[]).await;
    let users = [at.user().await.id, ben.id, UserId(0), ann.id, ben.id];
    assert_eq!(at.store.count_chats(&users, 100).await.unwrap(), [0, 4, 0, 3, 4]);
    assert_eq!(at.store.count_chats(&users, 3).await.unwrap(), [0, 3, 0, 3, 3]);
    assert!(at.store.count_chats(&[], 3).await.unwrap().is_empty());
}

async fn what_is_unread_is_counted(at: Fixture) {
    let (ann, ben) = (at.user().await, at.user().await);
    let chat = at.group(&ann, &[&ben]).await.id;
    let unread = async |user: &User| {
        let listed = at.store.chats_of(user.id, &first(1)).await.unwrap().items[0].unread_count;
        assert_eq!(listed, at.store.chat(chat, user.id).await.unwrap().unwrap().unread_count);
        listed.unwrap()
    };
    let gone = at.send(chat, &ann, "1").await;
    at.send(chat, &ann, "2").await;
    assert_eq!((unread(&ann).await, unread(&ben).await), (0, 2));
    at.store.delete(gone.id, ann.id).await.unwrap();
    assert_eq!(unread(&ben).await, 1);
    // Sending reads up to what one sent.
    at.send(chat, &ben, "3").await;
    assert_eq!((unread(&ann).await, unread(&ben).await), (1, 0));
    // Neither beyond the head nor back.
    let mark = |moved| ReadMark { seq: Seq(4), moved, member_count: 2, is_blocked: false };
    assert_eq!(at.store.mark_read(chat, ann.id, Seq(99)).await.unwrap(), mark(true));
    for again in [99, 4, 1] {
        assert_eq!(at.store.mark_read(chat, ann.id, Seq(again)).await.unwrap(), mark(false));
    }
    assert_eq!(unread(&ann).await, 0);
    at.send(chat, &ben, "5").await;
    assert_eq!(unread(&ann).await, 1);
    let cem = at.user().await;
    assert_eq!(code(at.store.mark_read(chat, cem.id, Seq(1)).await), "not_a_member");
    assert_eq!(code(at.store.mark_read(ChatId(0), cem.id, Seq(1)).await), "chat_not_found");
    // A newcomer has nothing unread of before.
    at.store.join(chat, cem.id, MANY).await.unwrap();
    assert_eq!(unread(&cem).await, 0);
}

async fn a_group_is_changed_by_its_owner(at: Fixture) {
    let (ann, ben, cem) = (at.user().await, at.user().await, at.user().await);
    let chat = at.group(&ann, &[&ben]).await;
    let name = ChatPatch { name: Some("new".into()), description: None };
    assert_eq!(code(at.store.update_chat(chat.id, ben.id, name.clone()).await), "not_owner");
    assert_eq!(code(at.store.update_chat(chat.id, cem.id, name.clone()).await), "not_a_member");
    assert_eq!(code(at.store.update_chat(ChatId(0), ann.id, name.clone()).await), "chat_not_found");
    let (updated, committed) = at.store.update_chat(chat.id, ann.id, name.clone()).await.unwrap();
    at.recorded(&committed).await;
    assert_eq!((updated.name.as_str(), updated.seq), ("new", Seq(1)));
    let [LogEvent { seq: Seq(1), body: EventBody::ChatUpdated { chat: found }, .. }] = &committed.events[..] else {
        panic!("{committed:?}")
    };
    assert_eq!((found.name.as_str(), found.role, found.unread_count, found.seq), ("new", None, None, Seq(1)));
    let (_, committed) = at.store.update_chat(chat.id, ann.id, name).await.unwrap();
    assert_eq!(committed, Committed::default());
    let about = |text: Option<&str>| ChatPatch { name: None, description: Some(text.map(Into::into)) };
    let (updated, committed) = at.store.update_chat(chat.id, ann.id, about(Some("x"))).await.unwrap();
    at.recorded(&committed).await;
    assert_eq!((updated.name.as_str(), updated.description.as_deref()), ("new", Some("x")));
    let (updated, committed) = at.store.update_chat(chat.id, ann.id, about(None)).await.unwrap();
    at.recorded(&committed).await;
    assert_eq!((updated.description, updated.seq), (None, Seq(3)));
}

async fn a_deleted_group_is_gone_but_its_log(at: Fixture) {
    let (ann, ben, cem) = (at.user().await, at.user().await, at.user().await);
    let chat = at.group(&ann, &[&ben]).await.id;
    let message = at.send(chat, &ann, "secret").await;
    let invite = NewInvite { code: "for ever".into(), expires_in: None, max_uses: None };
    at.store.create_invite(chat, ann.id, invite).await.unwrap();
    assert_eq!(code(at.store.delete_chat(chat, ben.id).await), "not_owner");
    assert_eq!(code(at.store.delete_chat(chat, cem.id).await), "not_a_member");
    let committed = at.store.delete_chat(chat, ann.id).await.unwrap();
    at.recorded(&committed).await;
    assert_eq!(kinds(&committed), ["chat_deleted"]);
    assert_eq!(notified(&committed, "chat_removed"), ids(&[&ann, &ben]));
    assert!(committed.notices.iter().all(|notice| notice.seq == Seq(2)));
    for user in [&ann, &ben, &cem] {
        assert_eq!(at.store.chat(chat, user.id).await.unwrap(), None);
        assert_eq!(at.store.chats_of(user.id, &first(9)).await.unwrap().items, []);
        assert_eq!(at.store.access(&[(chat, user.id)]).await.unwrap(), [None]);
        assert_eq!(code(at.store.history(chat, user.id, HistoryFrom::Newest, 9).await), "chat_not_found");
        assert_eq!(code(at.store.join(chat, user.id, MANY).await), "chat_not_found");
        assert_eq!(code(at.store.delete_chat(chat, user.id).await), "chat_not_found");
        assert_eq!(code(at.store.edit(message.id, user.id, "x".into(), Vec::new()).await), "message_not_found");
        let sent = at.store.send(vec![new(chat, user, "x")]).await.unwrap();
        assert_eq!(code(sent.results.into_iter().next().unwrap()), "chat_not_found");
    }
    let page = at.log_after(chat, Seq(0), 10).await.unwrap().unwrap();
    assert_eq!(page.head, Seq(2));
    let EventBody::NewMessage { message } = &page.events[0].body else { panic!("{page:?}") };
    assert_eq!((message.text.as_str(), message.is_deleted), ("", true));
    assert_eq!(page.events[1], committed.events[0]);
    // The text itself is erased with the next pruning.
    while at.number("select count(*) from chats where deleted_at is not null and not erased").await > 0 {
        at.store.prune(HOUR, 10).await.unwrap();
    }
    assert_eq!(at.number("select count(*) from messages where text <> ''").await, 0);
    assert_eq!(at.number("select count(*) from invites").await, 0);
    assert_eq!(at.number("select count(*) from chats where name <> '' or description is not null").await, 0);
}

/// The writer of SQLite is one, and nobody sends while it erases.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn long_texts_of_a_deleted_chat_are_erased_few_at_a_time() {
    let at = Fixture::sqlite().await;
    let ann = at.user().await;
    let chat = at.group(&ann, &[]).await.id;
    let text = |n: usize| (0..500).map(|word| format!("w{n}x{word}")).collect::<Vec<_>>().join(" ");
    for n in 0..20 {
        at.store.send(vec![new(chat, &ann, &text(n))]).await.unwrap().results.remove(0).unwrap();
    }
    at.store.delete_chat(chat, ann.id).await.unwrap();
    let left = async || at.number("select count(*) from messages where text <> ''").await;
    let mut before = left().await;
    while before > 0 {
        at.store.prune(HOUR, 1000).await.unwrap();
        let after = left().await;
        assert!((1..=6).contains(&(before - after)), "{before} to {after}");
        before = after;
    }
}
