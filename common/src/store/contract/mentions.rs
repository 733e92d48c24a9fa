//! Mentions.

use super::*;

contract_of_sends!(
    members_are_found_by_their_names,
    a_mention_is_counted_until_it_is_read,
    an_edit_changes_the_mentions,
    a_mention_by_an_edit_is_read_with_its_message,
    a_deleted_message_mentions_nobody,
    mentions_of_a_deleted_chat_are_erased_in_batches,
    a_removal_before_the_send_takes_the_mention_away,
    a_removal_before_the_edit_takes_the_mention_away,
    an_edit_mentions_the_leaving_before_they_left_or_not_at_all,
    a_relay_notifies_no_removed_user,
    a_private_chats_mention_is_relayed,
    an_author_is_not_notified_of_a_mention_of_himself,
);

fn told_of(user: &User) -> Mention {
    Mention { user_id: user.id, notify: true }
}

impl Fixture {
    async fn mention_count(&self, chat: ChatId, user: &User) -> i64 {
        let seen = self.store.chat(chat, user.id).await.unwrap().unwrap().mention_count.unwrap();
        let listed = self.store.chats_of(user.id, &first(100)).await.unwrap().items;
        let listed = listed.into_iter().find(|one| one.id == chat).unwrap();
        assert_eq!(listed.mention_count, Some(seen));
        seen
    }
}

async fn members_are_found_by_their_names(at: Fixture) {
    let (ann, ben, cem, dan) =
        (at.named("Ann").await, at.named("ben").await, at.named("cem").await, at.named("dan").await);
    let chat = at.group(&ann, &[&ben, &cem]).await.id;
    let names: Vec<String> = ["ann", "ben", "cem", "dan", "nobody"].map(str::to_owned).into();
    let mentioned = async || {
        let found = at.store.mentioned(chat, ann.id, &names).await.unwrap();
        let (names, mentions): (Vec<String>, Vec<Mention>) = found.into_iter().unzip();
        assert_eq!(names, ["ann", "ben", "cem"]);
        mentions
    };
    let found = mentioned().await;
    let quiet = Mention { user_id: ann.id, notify: false };
    assert_eq!(found, [quiet, told_of(&ben), told_of(&cem)], "members alone, and the author in silence");
    at.store.block(ben.id, ann.id, true).await.unwrap();
    let muted = SettingsPatch { muted_until: Some(Some(cem.created_at + HOUR)), ..SettingsPatch::default() };
    assert!(at.store.set_settings(chat, cem.id, muted).await.unwrap().is_some());
    let counted = "select cast(size as bigint) from outbox order by id desc limit 1";
    assert_eq!(at.number(counted).await, 1, "a relay counts what it claims");
    let found = mentioned().await;
    assert_eq!(
        found.iter().map(|one| (one.user_id, one.notify)).collect::<Vec<_>>(),
        [(ann.id, false), (ben.id, false), (cem.id, false)]
    );
    let past = SettingsPatch { muted_until: Some(Some(cem.created_at - HOUR)), ..SettingsPatch::default() };
    at.store.set_settings(chat, cem.id, past).await.unwrap();
    assert!(mentioned().await[2].notify);
    assert_eq!(at.store.mentioned(chat, dan.id, &names).await.unwrap(), [], "a stranger learns of no member");
    at.store.leave(chat, ben.id).await.unwrap();
    assert_eq!(at.store.mentioned(chat, ben.id, &names).await.unwrap(), []);
}

async fn a_mention_is_counted_until_it_is_read(at: Fixture) {
    let (ann, ben, cem) = (at.user().await, at.user().await, at.user().await);
    let chat = at.group(&ann, &[&ben, &cem]).await.id;
    let quiet = Mention { user_id: cem.id, notify: false };
    let one = NewMessage { mentions: vec![told_of(&ben), quiet], ..new(chat, &ann, "@ben @cem") };
    // Alone, and in a batch.
    let sent = at.send_batch(vec![one.clone()]).await;
    assert_eq!(notified(&sent.committed, "mentioned"), [ben.id]);
    assert_eq!(sent.results[0].as_ref().unwrap().message.mentions, [ben.id, cem.id]);
    let batch = vec![new(chat, &ann, "plain"), one.clone(), NewMessage { client_message_id: Some("k".into()), ..one }];
    let sent = at.send_batch(batch.clone()).await;
    assert_eq!(notified(&sent.committed, "mentioned"), [ben.id, ben.id]);
    let again = at.store.send(vec![batch[2].clone()]).await.unwrap();
    assert_eq!(notified(&again.committed, "mentioned"), [], "a retry notifies nobody");
    assert_eq!(again.results[0].as_ref().unwrap().message.mentions, [ben.id, cem.id]);
    let again = at.store.send(vec![batch[2].clone(), new(chat, &cem, "other")]).await.unwrap();
    assert_eq!(again.results[0].as_ref().unwrap().message.mentions, [ben.id, cem.id]);

    assert_eq!((at.mention_count(chat, &ben).await, at.mention_count(chat, &ann).await), (3, 0));
    let history = at.history(chat, &ben).await;
    assert_eq!(history[0].mentions, [ben.id, cem.id]);
    assert_eq!(history[1].mentions, []);
    at.store.mark_read(chat, ben.id, history[0].seq).await.unwrap();
    assert_eq!(at.mention_count(chat, &ben).await, 2);
    at.store.mark_read(chat, ben.id, Seq(1000)).await.unwrap();
    assert_eq!(at.mention_count(chat, &ben).await, 0);
    at.send(chat, &cem, "reads").await;
    assert_eq!(at.mention_count(chat, &cem).await, 0, "sending reads");
}

async fn an_edit_changes_the_mentions(at: Fixture) {
    let (ann, ben, cem) = (at.user().await, at.user().await, at.user().await);
    let chat = at.group(&ann, &[&ben, &cem]).await.id;
    let sent = at.send_batch(vec![NewMessage { mentions: vec![told_of(&ben)], ..new(chat, &ann, "@ben") }]).await;
    let id = sent.results[0].as_ref().unwrap().message.id;
    let edit = async |text: &str, mentions: Vec<Mention>| {
        let (message, committed) = at.store.edit(id, ann.id, text.into(), mentions).await.unwrap();
        at.recorded(&committed).await;
        (message.mentions, notified(&committed, "mentioned"))
    };
    assert_eq!(edit("@ben @cem", vec![told_of(&ben), told_of(&cem)]).await, (vec![ben.id, cem.id], vec![cem.id]));
    assert_eq!((at.mention_count(chat, &ben).await, at.mention_count(chat, &cem).await), (1, 1));
    assert_eq!(edit("@cem", vec![told_of(&cem)]).await, (vec![cem.id], vec![]));
    assert_eq!((at.mention_count(chat, &ben).await, at.mention_count(chat, &cem).await), (0, 1));
    assert_eq!(edit("nobody", vec![]).await, (vec![], vec![]));
    assert_eq!(at.number("select count(*) from mentions").await, 0);
}

async fn a_deleted_message_mentions_nobody(at: Fixture) {
    let (ann, ben) = (at.user().await, at.user().await);
    let chat = at.group(&ann, &[&ben]).await.id;
    let message = NewMessage { mentions: vec![told_of(&ben)], ..new(chat, &ann, "@ben") };
    let sent = at.send_batch(vec![message.clone()]).await;
    let id = sent.results[0].as_ref().unwrap().message.id;
    assert_eq!(at.mention_count(chat, &ben).await, 1);
    let deleted = at.store.delete(id, ann.id).await.unwrap();
    at.recorded(&deleted).await;
    assert_eq!((at.mention_count(chat, &ben).await, at.number("select count(*) from mentions").await), (0, 0));
    // A relay that comes after the deletion notifies nobody.
    let late = at.store.send(vec![message]).await.unwrap();
    let id = late.results[0].as_ref().unwrap().message.id;
    at.store.delete(id, ann.id).await.unwrap();
    for entry in at.store.outbox_claim(Duration::ZERO, 500).await.unwrap() {
        assert_eq!(notified(&entry, "mentioned"), []);
    }
}

/// Whoever is mentioned in all of a long chat holds up neither writers nor what else is pruned.
async fn mentions_of_a_deleted_chat_are_erased_in_batches(at: Fixture) {
    let (ann, ben) = (at.user().await, at.user().await);
    let chat = at.group(&ann, &[&ben]).await.id;
    let one = NewMessage { mentions: vec![told_of(&ben)], ..new(chat, &ann, "@ben") };
    let sent = at.send_batch(vec![one; 25]).await;
    let first = sent.results[0].as_ref().unwrap().message.id;
    at.store.edit(first, ann.id, "nobody".into(), Vec::new()).await.unwrap();
    at.store.edit(first, ann.id, "@ben again".into(), vec![told_of(&ben)]).await.unwrap();
    at.store.delete_chat(chat, ann.id).await.unwrap();
    let mentions = async || at.number("select count(*) from mentions").await;
    let mut left = mentions().await;
    assert_eq!(left, 25);
    while at.store.prune(HOUR, 10).await.unwrap() > 0 {
        let now = mentions().await;
        assert!(left - now <= 10, "{left} and then {now}");
        left = now;
    }
    assert_eq!(left, 0);
    assert_eq!(at.number("select count(*) from messages where text <> ''").await, 0);
}

async fn a_removal_before_the_send_takes_the_mention_away(at: Fixture) {
    let (ann, ben, cem) = (at.user().await, at.user().await, at.user().await);
    let chat = at.group(&ann, &[&ben, &cem]).await.id;
    at.store.leave(chat, ben.id).await.unwrap();
    let quiet = NewMessage { mentions: vec![told_of(&ben)], ..new(chat, &ann, "@ben") };
    let both = NewMessage { mentions: vec![told_of(&ben), told_of(&cem)], ..new(chat, &ann, "@ben @cem") };
    // Alone, and in a batch.
    for batch in [vec![quiet.clone()], vec![both.clone()], vec![quiet, both.clone(), new(chat, &cem, "plain"), both]] {
        let expected = batch.iter().filter(|entry| entry.mentions.len() == 2).count();
        let sent = at.send_batch(batch).await;
        assert_eq!(notified(&sent.committed, "mentioned"), vec![cem.id; expected]);
        for sent in sent.results {
            let message = sent.unwrap().message;
            assert!(!message.mentions.contains(&ben.id));
            assert_eq!(at.store.message(message.id, ann.id).await.unwrap().mentions, message.mentions);
        }
    }
    assert_eq!(at.number("select count(*) from mentions").await, 3);
}

async fn a_removal_before_the_edit_takes_the_mention_away(at: Fixture) {
    let (ann, ben, cem) = (at.user().await, at.user().await, at.user().await);
    let chat = at.group(&ann, &[&ben, &cem]).await.id;
    let id = at.send(chat, &ann, "plain").await.id;
    at.store.leave(chat, ben.id).await.unwrap();
    let mentions = vec![told_of(&ben), told_of(&cem)];
    let (message, committed) = at.store.edit(id, ann.id, "@ben @cem".into(), mentions).await.unwrap();
    at.recorded(&committed).await;
    assert_eq!((message.mentions, notified(&committed, "mentioned")), (vec![cem.id], vec![cem.id]));
    assert_eq!(at.number("select count(*) from mentions").await, 1);
}

/// The order of the log decides.
async fn an_edit_mentions_the_leaving_before_they_left_or_not_at_all(at: Fixture) {
    let (ann, ben, cem) = (at.user().await, at.user().await, at.user().await);
    let chat = at.group(&ann, &[&cem]).await.id;
    for _ in 0..10 {
        at.store.add_members(chat, ann.id, &[ben.id], MANY).await.unwrap();
        let id = at.send(chat, &ann, "plain").await.id;
        let mentions = vec![told_of(&ben), told_of(&cem)];
        let edit = at.store.edit(id, ann.id, "@ben @cem".into(), mentions);
        let (edited, left) = futures_util::join!(edit, at.store.leave(chat, ben.id));
        let ((message, edited), left) = (edited.unwrap(), left.unwrap());
        let mut expected = if edited.events[0].seq < left.events[0].seq { vec![ben.id, cem.id] } else { vec![cem.id] };
        expected.sort_unstable();
        assert_eq!(message.mentions, expected);
        assert_eq!(notified(&edited, "mentioned"), expected);
        assert_eq!(at.mention_count(chat, &cem).await, 1);
        at.store.mark_read(chat, cem.id, at.head(chat).await).await.unwrap();
    }
}

async fn a_relay_notifies_no_removed_user(at: Fixture) {
    let (ann, ben, cem) = (at.user().await, at.user().await, at.user().await);
    let chat = at.group(&ann, &[&ben, &cem]).await.id;
    let message = NewMessage { mentions: vec![told_of(&ben), told_of(&cem)], ..new(chat, &ann, "@ben @cem") };
    let sent = at.store.send(vec![message]).await.unwrap();
    let id = sent.results[0].as_ref().unwrap().message.id;
    at.store.leave(chat, ben.id).await.unwrap();
    at.store.edit(id, ann.id, "news".into(), vec![]).await.unwrap();
    let claimed = at.store.outbox_claim(Duration::ZERO, 500).await.unwrap();
    let entry = claimed.iter().find(|entry| entry.outbox == sent.committed.outbox).unwrap();
    assert_eq!(notified(entry, "mentioned"), [cem.id]);
}

async fn a_private_chats_mention_is_relayed(at: Fixture) {
    let (ann, ben) = (at.user().await, at.user().await);
    let chat = at.store.private_chat(ann.id, ben.id).await.unwrap().0.id;
    let sent = at.send_batch(vec![NewMessage { mentions: vec![told_of(&ben)], ..new(chat, &ann, "@ben") }]).await;
    assert_eq!(notified(&sent.committed, "mentioned"), [ben.id]);
}

async fn an_author_is_not_notified_of_a_mention_of_himself(at: Fixture) {
    let (ann, ben) = (at.user().await, at.user().await);
    let chat = at.group(&ann, &[&ben]).await.id;
    let mention = NewMessage { mentions: vec![told_of(&ann), told_of(&ben)], ..new(chat, &ann, "@ann @ben") };
    for batch in [vec![mention.clone()], vec![mention.clone(), mention]] {
        let count = batch.len();
        let sent = at.send_batch(batch).await;
        assert_eq!(notified(&sent.committed, "mentioned"), vec![ben.id; count]);
        assert_eq!(sent.results[0].as_ref().unwrap().message.mentions, [ann.id, ben.id]);
    }
    let id = at.send(chat, &ann, "plain").await.id;
    let (message, committed) = at.store.edit(id, ann.id, "@ann".into(), vec![told_of(&ann)]).await.unwrap();
    at.recorded(&committed).await;
    assert_eq!((message.mentions, notified(&committed, "mentioned")), (vec![ann.id], vec![]));
    assert_eq!(at.mention_count(chat, &ann).await, 0);
    assert_eq!(at.number("select count(*) from mentions").await, 3);
}

/// The edit has a number above those of the messages, which is what a reader names.
async fn a_mention_by_an_edit_is_read_with_its_message(at: Fixture) {
    let (ann, ben) = (at.user().await, at.user().await);
    let chat = at.group(&ann, &[&ben]).await.id;
    let (one, two) = (at.send(chat, &ann, "one").await, at.send(chat, &ann, "two").await);
    at.store.mark_read(chat, ben.id, two.seq).await.unwrap();
    for id in [one.id, two.id] {
        at.store.edit(id, ann.id, "@ben".into(), vec![told_of(&ben)]).await.unwrap();
    }
    assert_eq!(at.mention_count(chat, &ben).await, 2);
    // As far as the first one: the other stays.
    let mark = at.store.mark_read(chat, ben.id, one.seq).await.unwrap();
    assert_eq!((mark.seq, mark.moved, at.mention_count(chat, &ben).await), (two.seq, false, 1));
    let mark = at.store.mark_read(chat, ben.id, two.seq).await.unwrap();
    assert_eq!((mark.seq, mark.moved, at.mention_count(chat, &ben).await), (two.seq, false, 0));
    assert_eq!(at.store.message(one.id, ben.id).await.unwrap().mentions, [ben.id]);
}
