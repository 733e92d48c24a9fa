//! Reactions and pins.

use super::*;
use crate::event::{PinChange, ReactionChange};
use crate::model::Reaction;
use futures_util::future::join_all;

contract!(
    a_reaction_is_counted_once_a_user,
    a_message_takes_twenty_kinds,
    reactions_at_once_are_counted_right,
    the_twentieth_kind_is_taken_once,
    who_may_not_see_a_message_reacts_to_none,
    nothing_hangs_on_a_deleted_message,
    nothing_hangs_on_a_deleted_group,
    owners_pin_and_members_see,
    the_fiftieth_pin_is_taken_once,
    both_users_of_a_private_chat_pin,
);

fn of(emoji: &str, count: i64, me: Option<bool>) -> Reaction {
    Reaction { emoji: emoji.into(), count, me }
}

impl Fixture {
    /// Reacts, and checks the event against the log and the outbox.
    async fn reacts(&self, message: &Message, by: &User, emoji: &str, add: bool) -> Option<EventBody> {
        let committed = self.store.react(message.id, by.id, emoji, add).await.unwrap();
        self.recorded(&committed).await;
        committed.events.into_iter().next().map(|event| event.body)
    }

    /// The reactions of the chat's newest message, as that user sees them.
    async fn reactions(&self, chat: ChatId, by: &User) -> Vec<Reaction> {
        self.history(chat, by).await.pop().unwrap().reactions
    }

    async fn pins(&self, chat: ChatId, by: &User) -> Vec<MessageId> {
        let page = self.store.pins(chat, by.id, &first(100)).await.unwrap();
        page.items.into_iter().map(|message| message.id).collect()
    }
}

async fn a_reaction_is_counted_once_a_user(at: Fixture) {
    let (ann, ben) = (at.user().await, at.user().await);
    let chat = at.group(&ann, &[&ben]).await.id;
    let message = at.send(chat, &ann, "text").await;
    assert_eq!(message.reactions, []);
    let change = |by: &User, emoji: &str, count| ReactionChange {
        message_id: message.id,
        user_id: by.id,
        emoji: emoji.into(),
        count,
    };
    let head = at.head(chat).await;
    assert_eq!(at.reacts(&message, &ben, "👍", true).await, Some(EventBody::ReactionAdded(change(&ben, "👍", 1))));
    assert_eq!(at.reacts(&message, &ben, "👍", true).await, None, "the same again");
    assert_eq!(at.reacts(&message, &ann, "🎉", true).await, Some(EventBody::ReactionAdded(change(&ann, "🎉", 1))));
    assert_eq!(at.reacts(&message, &ann, "👍", true).await, Some(EventBody::ReactionAdded(change(&ann, "👍", 2))));
    assert_eq!(at.head(chat).await, Seq(head.0 + 3));
    assert_eq!(at.reactions(chat, &ben).await, [of("👍", 2, Some(true)), of("🎉", 1, Some(false))]);
    let seen = at.store.chat(chat, ben.id).await.unwrap().unwrap();
    assert_eq!(seen.last_message.unwrap().reactions, at.reactions(chat, &ben).await);
    let listed = at.store.chats_of(ann.id, &first(9)).await.unwrap().items.remove(0);
    assert_eq!(listed.last_message.unwrap().reactions, [of("👍", 2, Some(true)), of("🎉", 1, Some(true))]);

    let (edited, committed) = at.store.edit(message.id, ann.id, "edited".into(), Vec::new()).await.unwrap();
    assert_eq!(edited.reactions, [of("👍", 2, Some(true)), of("🎉", 1, Some(true))]);
    let EventBody::MessageEdited { message: shared } = &committed.events[0].body else { panic!("{committed:?}") };
    assert_eq!(shared.reactions, [of("👍", 2, None), of("🎉", 1, None)], "an event is the same for all");
    at.recorded(&committed).await;

    assert_eq!(at.reacts(&message, &ben, "👍", false).await, Some(EventBody::ReactionRemoved(change(&ben, "👍", 1))));
    assert_eq!(at.reacts(&message, &ben, "👍", false).await, None);
    assert_eq!(at.reacts(&message, &ann, "🎉", false).await, Some(EventBody::ReactionRemoved(change(&ann, "🎉", 0))));
    assert_eq!(at.reactions(chat, &ben).await, [of("👍", 1, Some(false))]);
    at.reacts(&message, &ann, "👍", false).await.unwrap();
    assert_eq!(at.reactions(chat, &ann).await, []);
    assert_eq!(at.number("select count(*) from reactions").await, 0);
}

async fn a_message_takes_twenty_kinds(at: Fixture) {
    let (ann, ben) = (at.user().await, at.user().await);
    let chat = at.group(&ann, &[&ben]).await.id;
    let message = at.send(chat, &ann, "text").await;
    for n in 0..20 {
        at.reacts(&message, &ann, &format!("e{n}"), true).await.unwrap();
    }
    assert_eq!(code(at.store.react(message.id, ben.id, "e20", true).await), "too_many_reactions");
    at.reacts(&message, &ben, "e19", true).await.unwrap();
    assert_eq!(at.reacts(&message, &ben, "e20", false).await, None);
    at.reacts(&message, &ann, "e0", false).await.unwrap();
    at.reacts(&message, &ben, "e20", true).await.unwrap();
    assert_eq!(at.reactions(chat, &ann).await.len(), 20);
}

async fn reactions_at_once_are_counted_right(at: Fixture) {
    let ann = at.user().await;
    let users = join_all((0..8).map(|_| at.user())).await;
    let chat = at.group(&ann, &users.iter().collect::<Vec<_>>()).await.id;
    let message = at.send(chat, &ann, "text").await;
    // Each adds twice, from two nodes as it were, while every second one takes it back.
    let added = join_all(users.iter().chain(&users).map(|user| at.store.react(message.id, user.id, "👍", true))).await;
    let events = added.into_iter().map(|done| done.unwrap().events.len()).sum::<usize>();
    assert_eq!(events, 8);
    let removed = users.iter().step_by(2).map(|user| at.store.react(message.id, user.id, "👍", false));
    let others = users.iter().map(|user| at.store.react(message.id, user.id, "🎉", true));
    let (removed, others) = futures_util::join!(join_all(removed), join_all(others));
    assert!(removed.iter().chain(&others).all(Result::is_ok));
    assert_eq!(at.reactions(chat, &ann).await, [of("👍", 4, Some(false)), of("🎉", 8, Some(false))]);
    assert_eq!(at.number("select count(*) from reactions").await, 12);
}

async fn the_twentieth_kind_is_taken_once(at: Fixture) {
    let ann = at.user().await;
    let chat = at.group(&ann, &[]).await.id;
    let message = at.send(chat, &ann, "text").await;
    let emoji: Vec<String> = (0..30).map(|n| format!("e{n}")).collect();
    let done = join_all(emoji.iter().map(|emoji| at.store.react(message.id, ann.id, emoji, true))).await;
    assert_eq!(done.iter().filter(|done| done.is_ok()).count(), 20);
    for refused in done.into_iter().filter(Result::is_err) {
        assert_eq!(code(refused), "too_many_reactions");
    }
    assert_eq!(at.reactions(chat, &ann).await.len(), 20);
}

async fn who_may_not_see_a_message_reacts_to_none(at: Fixture) {
    let (ann, ben, cem) = (at.user().await, at.user().await, at.user().await);
    let open = at.group(&ann, &[&ben]).await.id;
    let (private, ..) = at.store.private_chat(ann.id, ben.id).await.unwrap();
    for chat in [open, private.id] {
        let message = at.store.send(vec![new(chat, &ann, "x")]).await.unwrap().results.remove(0).unwrap().message;
        for add in [true, false] {
            assert_eq!(code(at.store.react(message.id, cem.id, "👍", add).await), "message_not_found");
        }
    }
    assert_eq!(code(at.store.react(MessageId(0), ann.id, "👍", true).await), "message_not_found");
    assert_eq!(code(at.store.pins(open, cem.id, &first(9)).await), "not_a_member");
    assert_eq!(code(at.store.pins(private.id, cem.id, &first(9)).await), "chat_not_found");
    assert_eq!(code(at.store.pins(ChatId(0), cem.id, &first(9)).await), "chat_not_found");
}

async fn nothing_hangs_on_a_deleted_message(at: Fixture) {
    let ann = at.user().await;
    let chat = at.group(&ann, &[]).await.id;
    let message = at.send(chat, &ann, "text").await;
    at.reacts(&message, &ann, "👍", true).await.unwrap();
    let pinned = at.store.pin(chat, message.id, ann.id, true).await.unwrap();
    at.recorded(&pinned).await;
    let deleted = at.store.delete(message.id, ann.id).await.unwrap();
    at.recorded(&deleted).await;
    assert_eq!(at.pins(chat, &ann).await, []);
    for table in ["reactions", "pins"] {
        assert_eq!(at.number(&format!("select count(*) from {table}")).await, 0);
    }
    assert_eq!(code(at.store.react(message.id, ann.id, "👍", true).await), "message_not_found");
    assert_eq!(code(at.store.react(message.id, ann.id, "👍", false).await), "message_not_found");
    assert_eq!(code(at.store.pin(chat, message.id, ann.id, true).await), "message_not_found");
    // A reaction to a message that is being deleted comes before or not at all.
    for _ in 0..10 {
        let message = at.send(chat, &ann, "text").await;
        let (react, delete) =
            futures_util::join!(at.store.react(message.id, ann.id, "👍", true), at.store.delete(message.id, ann.id));
        delete.unwrap();
        assert!(react.is_ok() || code(react) == "message_not_found");
        assert_eq!(at.number("select count(*) from reactions").await, 0);
    }
}

async fn nothing_hangs_on_a_deleted_group(at: Fixture) {
    let (ann, ben) = (at.user().await, at.user().await);
    let (kept, gone) = (at.group(&ann, &[&ben]).await.id, at.group(&ann, &[&ben]).await.id);
    for chat in [kept, gone] {
        let mentions = vec![Mention { user_id: ben.id, notify: true }];
        let sent = at.send_batch(vec![NewMessage { mentions, ..new(chat, &ann, "@ben") }]).await;
        let message = sent.results.into_iter().next().unwrap().unwrap().message;
        at.reacts(&message, &ben, "👍", true).await.unwrap();
        at.store.pin(chat, message.id, ann.id, true).await.unwrap();
    }
    at.store.delete_chat(gone, ann.id).await.unwrap();
    while at.number("select count(*) from chats where deleted_at is not null and not erased").await > 0 {
        at.store.prune(HOUR, 10).await.unwrap();
    }
    for table in ["reactions", "pins", "mentions"] {
        assert_eq!(at.number(&format!("select count(*) from {table}")).await, 1, "{table}");
    }
    assert_eq!(at.number("select count(*) from messages where reactions is not null").await, 1);
}

async fn owners_pin_and_members_see(at: Fixture) {
    let (ann, ben, cem) = (at.user().await, at.user().await, at.user().await);
    let chat = at.group(&ann, &[&ben]).await.id;
    let other = at.group(&ann, &[]).await.id;
    let elsewhere = at.send(other, &ann, "elsewhere").await;
    let (one, two, three) =
        (at.send(chat, &ben, "one").await, at.send(chat, &ann, "two").await, at.send(chat, &ann, "three").await);
    assert_eq!(code(at.store.pin(chat, one.id, ben.id, true).await), "not_owner");
    assert_eq!(code(at.store.pin(chat, one.id, cem.id, true).await), "not_a_member");
    assert_eq!(code(at.store.pin(ChatId(0), one.id, ann.id, true).await), "chat_not_found");
    assert_eq!(code(at.store.pin(chat, elsewhere.id, ann.id, true).await), "message_not_found");
    for message in [&two, &one, &three] {
        let committed = at.store.pin(chat, message.id, ann.id, true).await.unwrap();
        at.recorded(&committed).await;
        let pin = PinChange { message_id: message.id, user_id: ann.id };
        assert_eq!(committed.events[0].body, EventBody::MessagePinned(pin));
    }
    assert_eq!(at.store.pin(chat, one.id, ann.id, true).await.unwrap(), Committed::default(), "the same again");
    assert_eq!(at.pins(chat, &ben).await, [three.id, one.id, two.id], "the last pinned first");
    let page = at.store.pins(chat, ben.id, &first(2)).await.unwrap();
    assert_eq!(page.items.len(), 2);
    let rest = at.store.pins(chat, ben.id, &next(page.next_cursor, 2)).await.unwrap();
    assert_eq!((rest.items.len(), rest.items[0].id, rest.next_cursor), (1, two.id, None));

    assert_eq!(code(at.store.pin(chat, one.id, ben.id, false).await), "not_owner");
    let committed = at.store.pin(chat, one.id, ann.id, false).await.unwrap();
    at.recorded(&committed).await;
    assert_eq!(kinds(&committed), ["message_unpinned"]);
    assert_eq!(at.store.pin(chat, one.id, ann.id, false).await.unwrap(), Committed::default());
    assert_eq!(at.pins(chat, &ben).await, [three.id, two.id]);
}

async fn the_fiftieth_pin_is_taken_once(at: Fixture) {
    let ann = at.user().await;
    let chat = at.group(&ann, &[]).await.id;
    let sent = at.store.send((0..54).map(|n| new(chat, &ann, &n.to_string())).collect()).await.unwrap();
    let ids: Vec<MessageId> = sent.results.into_iter().map(|sent| sent.unwrap().message.id).collect();
    for id in &ids[..48] {
        at.store.pin(chat, *id, ann.id, true).await.unwrap();
    }
    let done = join_all(ids[48..].iter().map(|id| at.store.pin(chat, *id, ann.id, true))).await;
    assert_eq!(done.iter().filter(|done| done.is_ok()).count(), 2);
    for refused in done.into_iter().filter(Result::is_err) {
        assert_eq!(code(refused), "too_many_pins");
    }
    assert_eq!(at.pins(chat, &ann).await.len(), 50);
    at.store.delete(ids[0], ann.id).await.unwrap();
    let left = *ids.last().unwrap();
    let pinned = at.store.pin(chat, left, ann.id, true).await.unwrap();
    assert!(pinned.events.len() == 1 || at.pins(chat, &ann).await.contains(&left));
}

async fn both_users_of_a_private_chat_pin(at: Fixture) {
    let (ann, ben, cem) = (at.user().await, at.user().await, at.user().await);
    let chat = at.store.private_chat(ann.id, ben.id).await.unwrap().0.id;
    let message = at.store.send(vec![new(chat, &ann, "x")]).await.unwrap().results.remove(0).unwrap().message;
    assert_eq!(kinds(&at.store.pin(chat, message.id, ben.id, true).await.unwrap()), ["message_pinned"]);
    assert_eq!(kinds(&at.store.pin(chat, message.id, ann.id, false).await.unwrap()), ["message_unpinned"]);
    assert_eq!(code(at.store.pin(chat, message.id, cem.id, true).await), "chat_not_found");
}
