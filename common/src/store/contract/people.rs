//! Profiles, blocks, and a member's own view of a chat.

use super::*;
use crate::model::ChatSettings;
use time::OffsetDateTime;

contract!(
    a_profile_is_seen_by_all,
    the_blocked_can_neither_write_nor_call_in,
    a_block_is_listed_until_it_is_taken_back,
    a_block_is_known_where_something_would_be_published,
    a_block_and_a_message_at_once_leave_a_whole_log,
    a_members_view_is_their_own,
);

async fn a_profile_is_seen_by_all(at: Fixture) {
    let (ann, ben) = (at.user().await, at.user().await);
    let chat = at.group(&ann, &[&ben]).await.id;
    let before = at.send(chat, &ann, "before").await;
    assert_eq!((ann.display_name.as_deref(), before.author_display_name), (None, None));
    let change = async |name: Option<Option<&str>>, bio: Option<Option<&str>>| {
        let (display_name, bio) = (name.map(|name| name.map(str::to_owned)), bio.map(|bio| bio.map(str::to_owned)));
        let user = at.store.set_profile(ann.id, ProfilePatch { display_name, bio }).await.unwrap().unwrap();
        (user.display_name, user.bio)
    };
    assert_eq!(change(Some(Some("Анна")), None).await, (Some("Анна".into()), None));
    assert_eq!(change(None, Some(Some("about"))).await, (Some("Анна".into()), Some("about".into())));
    let seen = at.store.users(&[ann.id]).await.unwrap().remove(0).user;
    assert_eq!((seen.display_name.as_deref(), seen.bio.as_deref()), (Some("Анна"), Some("about")));
    // Alone, in a batch, as a retry, and in every page.
    let sent = at.send_batch(vec![with_id(chat, &ann, "one", "k")]).await;
    assert_eq!(sent.results[0].as_ref().unwrap().message.author_display_name.as_deref(), Some("Анна"));
    let many = at.send_batch(vec![new(chat, &ann, "two"), new(chat, &ben, "three"), with_id(chat, &ann, "one", "k")]);
    let names: Vec<_> = many.await.results.into_iter().map(|sent| sent.unwrap().message.author_display_name).collect();
    assert_eq!(names, [Some("Анна".into()), None, Some("Анна".into())]);
    let again = at.store.send(vec![with_id(chat, &ann, "one", "k")]).await.unwrap();
    assert_eq!(again.results[0].as_ref().unwrap().message.author_display_name.as_deref(), Some("Анна"));
    assert_eq!(at.history(chat, &ben).await[0].author_display_name.as_deref(), Some("Анна"));
    assert_eq!(change(Some(None), Some(None)).await, (None, None));
    assert_eq!(at.history(chat, &ben).await[0].author_display_name, None);
    at.store.deactivate_user(ben.id).await.unwrap();
    assert_eq!(at.store.set_profile(ben.id, ProfilePatch::default()).await.unwrap(), None);
}

async fn the_blocked_can_neither_write_nor_call_in(at: Fixture) {
    let (ann, ben, cem) = (at.user().await, at.user().await, at.user().await);
    let chat = at.store.private_chat(ann.id, ben.id).await.unwrap().0.id;
    let group = at.group(&ben, &[]).await.id;
    let shared = at.group(&cem, &[&ann, &ben]).await.id;
    let sent = at.store.send(vec![with_id(chat, &ben, "before", "k")]).await.unwrap();
    let before = sent.results.into_iter().next().unwrap().unwrap().message;
    at.store.block(ann.id, ben.id, true).await.unwrap();
    at.store.block(ann.id, ben.id, true).await.unwrap();
    let codes = async |batch: Vec<NewMessage>| -> Vec<_> {
        let sent = at.store.send(batch).await.unwrap().results;
        sent.into_iter().map(|one| one.map_or_else(|error| error.code(), |_| "sent")).collect()
    };
    assert_eq!(codes(vec![new(chat, &ben, "x")]).await, ["blocked"]);
    assert_eq!(
        codes(vec![new(chat, &ben, "x"), new(chat, &ann, "y"), new(shared, &ben, "z")]).await,
        ["blocked", "sent", "sent"]
    );
    assert_eq!(codes(vec![with_id(chat, &ben, "before", "k")]).await, ["sent"], "the answer to an earlier send");
    assert_eq!(code(at.store.edit(before.id, ben.id, "other".into(), Vec::new()).await), "blocked");
    assert_eq!(code(at.store.react(before.id, ben.id, "👍", true).await), "blocked");
    assert_eq!(code(at.store.pin(chat, before.id, ben.id, true).await), "blocked");
    assert_eq!(code(at.store.add_members(group, ben.id, &[cem.id, ann.id], MANY).await), "blocked");
    assert_eq!(at.store.members(group, ben.id, &first(9)).await.unwrap().items.len(), 1, "nobody came in");
    let of_both = NewGroup {
        owner: ben.id,
        name: "group".into(),
        description: None,
        is_public: true,
        member_ids: vec![cem.id, ann.id],
    };
    assert_eq!(code(at.store.create_group(of_both).await), "blocked");
    at.store.delete(before.id, ben.id).await.unwrap();
    let known = at.store.private_chat(ben.id, ann.id).await.unwrap();
    assert_eq!((known.0.id, known.1), (chat, false), "the chat that they have is no secret");
    // The blocker may, and a private chat that there is not yet is not made by the blocked.
    assert_eq!(codes(vec![new(chat, &ann, "x")]).await, ["sent"]);
    at.store.block(cem.id, ben.id, true).await.unwrap();
    assert_eq!(code(at.store.private_chat(ben.id, cem.id).await), "blocked");
    let made = at.store.private_chat(cem.id, ben.id).await.unwrap();
    assert!(made.1);
    at.store.block(ann.id, ben.id, false).await.unwrap();
    assert_eq!(codes(vec![new(chat, &ben, "x")]).await, ["sent"]);
    at.store.add_members(group, ben.id, &[ann.id], MANY).await.unwrap();
}

async fn a_block_is_listed_until_it_is_taken_back(at: Fixture) {
    let (ann, ben, cem) = (at.user().await, at.user().await, at.user().await);
    for user in [&cem, &ben] {
        at.store.block(ann.id, user.id, true).await.unwrap();
    }
    assert_eq!(code(at.store.block(ann.id, UserId(0), true).await), "user_not_found");
    assert_eq!(code(at.store.block(ann.id, UserId(0), false).await), "user_not_found");
    let page = at.store.blocked(ann.id, &first(1)).await.unwrap();
    assert_eq!(page.items.iter().map(|row| row.user.id).collect::<Vec<_>>(), [ben.id]);
    let rest = at.store.blocked(ann.id, &next(page.next_cursor, 1)).await.unwrap();
    assert_eq!((rest.items[0].user.id, rest.next_cursor), (cem.id, None));
    assert_eq!(at.store.blocked(ben.id, &first(9)).await.unwrap().items.len(), 0, "the blocked learn nothing");
    for _ in 0..2 {
        at.store.block(ann.id, ben.id, false).await.unwrap();
    }
    let left = at.store.blocked(ann.id, &first(9)).await.unwrap();
    assert_eq!(left.items.iter().map(|row| row.user.id).collect::<Vec<_>>(), [cem.id]);
}

async fn a_block_and_a_message_at_once_leave_a_whole_log(at: Fixture) {
    let (ann, ben) = (at.user().await, at.user().await);
    let chat = at.store.private_chat(ann.id, ben.id).await.unwrap().0.id;
    for n in 0..20 {
        let (blocked, sent) = futures_util::join!(
            at.store.block(ann.id, ben.id, n % 2 == 0),
            at.store.send(vec![new(chat, &ben, "x"), new(chat, &ann, "y")])
        );
        blocked.unwrap();
        let results = sent.unwrap().results;
        assert!(results[1].is_ok());
        assert!(results[0].as_ref().err().is_none_or(|error| error.code() == "blocked"));
    }
    let head = at.head(chat).await;
    assert_eq!(at.number("select (select count(*) from messages) + (select count(*) from events)").await, head.0);
}

async fn a_members_view_is_their_own(at: Fixture) {
    let (ann, ben, cem) = (at.user().await, at.user().await, at.user().await);
    let chat = at.group(&ann, &[&ben]).await.id;
    let head = at.head(chat).await;
    let seen = async |user: &User| at.store.chat(chat, user.id).await.unwrap().unwrap().settings;
    assert_eq!(seen(&ann).await, Some(ChatSettings::default()));
    assert_eq!(seen(&cem).await, None, "no member");
    let until = OffsetDateTime::from_unix_timestamp(4_000_000_000).unwrap();
    let patch = SettingsPatch { muted_until: Some(Some(until)), archived: Some(true), pinned: None };
    let committed = at.store.set_settings(chat, ann.id, patch).await.unwrap().expect("a member");
    assert_eq!(notified(&committed, "chat_settings"), [ann.id]);
    at.recorded(&committed).await;
    let set = ChatSettings { muted_until: Some(until), archived: true, pinned: false };
    assert_eq!((seen(&ann).await, seen(&ben).await), (Some(set), Some(ChatSettings::default())));
    let listed = at.store.chats_of(ann.id, &first(9)).await.unwrap().items.remove(0);
    assert_eq!(listed.settings, Some(set));
    assert!(at.store.set_settings(chat, ann.id, SettingsPatch::default()).await.unwrap().is_some());
    let patch = SettingsPatch { muted_until: Some(None), archived: None, pinned: Some(true) };
    assert!(at.store.set_settings(chat, ann.id, patch).await.unwrap().is_some());
    assert_eq!(seen(&ann).await, Some(ChatSettings { muted_until: None, archived: true, pinned: true }));
    assert_eq!(at.store.set_settings(chat, cem.id, patch).await.unwrap(), None);
    assert_eq!(at.head(chat).await, head, "it is no event of the chat");
    // It goes with the membership.
    at.store.remove_member(chat, ann.id, ben.id).await.unwrap();
    at.store.add_members(chat, ann.id, &[ben.id], MANY).await.unwrap();
    assert_eq!(seen(&ben).await, Some(ChatSettings::default()));
}

async fn a_block_is_known_where_something_would_be_published(at: Fixture) {
    let (ann, ben) = (at.user().await, at.user().await);
    let group = at.group(&ann, &[&ben]).await.id;
    let private = at.store.private_chat(ann.id, ben.id).await.unwrap().0.id;
    at.send(private, &ann, "one").await;
    let known = async |user: &User| {
        let read = at.store.mark_read(private, user.id, Seq(1)).await.unwrap().is_blocked;
        assert_eq!(at.store.blocked_in(private, user.id).await.unwrap(), Some(read));
        assert!(!at.store.mark_read(group, user.id, Seq(1)).await.unwrap().is_blocked);
        assert_eq!(at.store.blocked_in(group, user.id).await.unwrap(), None);
        read
    };
    assert_eq!((known(&ann).await, known(&ben).await), (false, false));
    at.store.block(ann.id, ben.id, true).await.unwrap();
    assert_eq!((known(&ann).await, known(&ben).await), (false, true));
    at.store.block(ann.id, ben.id, false).await.unwrap();
    assert_eq!((known(&ann).await, known(&ben).await), (false, false));
    assert_eq!(at.store.blocked_in(ChatId(0), ann.id).await.unwrap(), None);
}
