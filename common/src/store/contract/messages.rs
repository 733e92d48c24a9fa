//! Messages.

use super::*;

contract_of_sends!(
    a_message_is_stored_and_told,
    a_retry_makes_nothing_new,
    a_retry_is_known_after_edit_and_deletion,
    a_batch_is_numbered_and_each_stands_alone,
    a_private_message_is_told_to_both,
    a_reply_names_a_message_of_its_chat,
    history_goes_in_pages_both_ways,
    an_author_edits,
    an_author_or_owner_deletes,
    who_may_not_see_a_message_finds_none,
);

async fn a_message_is_stored_and_told(at: Fixture) {
    let (ann, ben) = (at.user().await, at.user().await);
    let chat = at.group(&ann, &[&ben]).await.id;
    let text = " Grüße \u{1f600}\n\"'\\ ";
    let sent = at.send_batch(vec![with_id(chat, &ben, text, "k")]).await;
    let Sent { message, created } = sent.results.into_iter().next().unwrap().unwrap();
    assert!(created);
    assert_eq!((message.chat_id, message.author_id, &message.author_username), (chat, ben.id, &ben.username));
    assert_eq!((message.text.as_str(), message.seq, message.is_deleted), (text, Seq(1), false));
    assert_eq!((message.is_edited, message.edited_at, message.reply_to_id), (false, None, None));
    assert_eq!(message.client_message_id.as_deref(), Some("k"));
    let [LogEvent { chat_id, seq: Seq(1), committed_at, body: EventBody::NewMessage { message: found } }] =
        &sent.committed.events[..]
    else {
        panic!("{:?}", sent.committed)
    };
    assert_eq!((*chat_id, *committed_at, found), (chat, message.created_at, &message));
    assert_eq!(sent.committed.notices, []);
    assert_eq!(at.history(chat, &ann).await, [message]);
    let asked = [(chat, Seq(1)), (ChatId(0), Seq(1)), (chat, Seq(0)), (chat, Seq(2))];
    let head = |committed_at| Some(LogHead { seq: Seq(1), committed_at });
    assert_eq!(at.store.heads(&asked).await.unwrap(), [head(Some(*committed_at)), None, head(None), head(None)]);
}

async fn refused(at: &Fixture, message: NewMessage) -> Result<Sent> {
    let sent = at.send_batch(vec![message]).await;
    assert_eq!(sent.committed, Committed::default());
    sent.results.into_iter().next().unwrap()
}

async fn a_retry_makes_nothing_new(at: Fixture) {
    let (ann, ben) = (at.user().await, at.user().await);
    let (chat, other) = (at.group(&ann, &[&ben]).await.id, at.group(&ann, &[]).await.id);
    let one = at.send_batch(vec![with_id(chat, &ann, "text", "k")]).await;
    let one = one.results.into_iter().next().unwrap().unwrap().message;
    at.send(chat, &ben, "between").await;
    let again = refused(&at, with_id(chat, &ann, "text", "k")).await.unwrap();
    assert_eq!(again, Sent { message: one, created: false });
    assert_eq!(code(refused(&at, with_id(chat, &ann, "another", "k")).await), "client_message_id_reused");
    // The id is the author's own, and the chat's.
    for fresh in [with_id(chat, &ben, "text", "k"), with_id(other, &ann, "another", "k")] {
        assert!(at.send_batch(vec![fresh]).await.results[0].as_ref().unwrap().created);
    }
    assert_eq!((at.head(chat).await, at.head(other).await), (Seq(3), Seq(1)));
}

async fn a_retry_is_known_after_edit_and_deletion(at: Fixture) {
    let ann = at.user().await;
    let chat = at.group(&ann, &[]).await.id;
    let one = at.send_batch(vec![with_id(chat, &ann, "text", "k")]).await.results.remove(0).unwrap().message;
    let (edited, committed) = at.store.edit(one.id, ann.id, "edited".into(), Vec::new()).await.unwrap();
    at.recorded(&committed).await;
    let again = refused(&at, with_id(chat, &ann, "text", "k")).await.unwrap();
    assert_eq!(again, Sent { message: edited, created: false });
    assert_eq!(code(refused(&at, with_id(chat, &ann, "edited", "k")).await), "client_message_id_reused");
    let committed = at.store.delete(one.id, ann.id).await.unwrap();
    at.recorded(&committed).await;
    let again = refused(&at, with_id(chat, &ann, "text", "k")).await.unwrap();
    assert_eq!((again.message.id, again.message.text.as_str(), again.message.is_deleted), (one.id, "", true));
    assert!(!again.created);
}

async fn a_batch_is_numbered_and_each_stands_alone(at: Fixture) {
    let (ann, ben) = (at.user().await, at.user().await);
    let (one, two) = (at.group(&ann, &[]).await.id, at.group(&ann, &[&ben]).await.id);
    let known = at.send_batch(vec![with_id(two, &ann, "known", "k")]).await.results.remove(0).unwrap().message;
    let reply = NewMessage { reply_to_id: Some(known.id), ..new(one, &ann, "wrong chat") };
    let sent = at
        .send_batch(vec![
            new(one, &ann, "a"),
            new(two, &ben, "b"),
            new(one, &ben, "not a member"),
            new(ChatId(0), &ann, "no chat"),
            with_id(two, &ann, "known", "k"),
            with_id(two, &ann, "reused", "k2"),
            reply,
            new(one, &ann, "nul\0"),
            new(two, &ann, "c"),
            new(one, &ann, "d"),
        ])
        .await;
    let found: Vec<_> = sent
        .results
        .iter()
        .map(|result| match result {
            Ok(sent) => format!("{}:{}:{}", sent.message.text, sent.message.seq, sent.created),
            Err(error) => error.code().to_owned(),
        })
        .collect();
    let expected = [
        "a:1:true",
        "b:2:true",
        "not_a_member",
        "chat_not_found",
        "known:1:false",
        "reused:3:true",
        "invalid",
        "invalid",
        "c:4:true",
        "d:2:true",
    ];
    assert_eq!(found, expected);
    assert_eq!(sent.committed.events.len(), 5);
    assert_eq!((at.head(one).await, at.head(two).await), (Seq(2), Seq(4)));
    // Ids rise as numbers do.
    for chat in [one, two] {
        let history = at.history(chat, &ann).await;
        assert!(history.windows(2).all(|pair| pair[0].id < pair[1].id && pair[0].seq < pair[1].seq));
    }
    let empty = at.store.send(vec![]).await.unwrap();
    assert_eq!((empty.results.len(), empty.committed), (0, Committed::default()));
}

async fn a_private_message_is_told_to_both(at: Fixture) {
    let (ann, ben, cem) = (at.user().await, at.user().await, at.user().await);
    let (chat, _, committed) = at.store.private_chat(ann.id, ben.id).await.unwrap();
    at.recorded(&committed).await;
    let group = at.group(&ann, &[]).await.id;
    let sent =
        at.send_batch(vec![new(chat.id, &ann, "1"), new(group, &ann, "g"), new(chat.id, &ben, "2")]).await.committed;
    assert_eq!(notified(&sent, "new_message"), [ann.id, ann.id, ben.id, ben.id]);
    for notice in &sent.notices {
        let NoticeBody::NewMessage(message) = &notice.body else { panic!("{notice:?}") };
        assert_eq!((notice.chat_id, notice.seq), (chat.id, message.seq));
    }
    assert_eq!(code(refused(&at, new(chat.id, &cem, "x")).await), "chat_not_found");
    assert_eq!(code(at.store.history(chat.id, cem.id, HistoryFrom::Newest, 9).await), "chat_not_found");
}

async fn a_reply_names_a_message_of_its_chat(at: Fixture) {
    let ann = at.user().await;
    let (chat, other) = (at.group(&ann, &[]).await.id, at.group(&ann, &[]).await.id);
    let (here, there, gone) =
        (at.send(chat, &ann, "x").await, at.send(other, &ann, "x").await, at.send(chat, &ann, "x").await);
    let committed = at.store.delete(gone.id, ann.id).await.unwrap();
    at.recorded(&committed).await;
    let reply = |to| NewMessage { reply_to_id: Some(to), ..new(chat, &ann, "re") };
    for wrong in [there.id, gone.id, MessageId(0)] {
        assert_eq!(field(refused(&at, reply(wrong)).await), "reply_to_id");
    }
    let sent = at.send_batch(vec![reply(here.id)]).await.results.remove(0).unwrap();
    assert_eq!(sent.message.reply_to_id, Some(here.id));
    assert_eq!(at.history(chat, &ann).await.last(), Some(&sent.message));
}

async fn history_goes_in_pages_both_ways(at: Fixture) {
    let (ann, ben) = (at.user().await, at.user().await);
    let chat = at.group(&ann, &[]).await.id;
    let mut sent = Vec::new();
    for n in 0..7 {
        sent.push(at.send(chat, &ann, &n.to_string()).await);
    }
    let committed = at.store.delete(sent[3].id, ann.id).await.unwrap();
    at.recorded(&committed).await;
    let page = async |from| at.store.history(chat, ann.id, from, 2).await.unwrap();
    let texts = |page: &HistoryPage| page.items.iter().map(|message| message.text.clone()).collect::<String>();
    let newest = page(HistoryFrom::Newest).await;
    assert_eq!((texts(&newest).as_str(), newest.seq), ("56", Seq(8)));
    let older = page(HistoryFrom::Cursor(newest.next_cursor.unwrap())).await;
    assert_eq!(texts(&older), "24");
    let oldest = page(HistoryFrom::Cursor(older.next_cursor.unwrap())).await;
    assert_eq!((texts(&oldest).as_str(), oldest.next_cursor), ("01", None));
    assert_eq!(texts(&page(HistoryFrom::Before(sent[2].id)).await), "01");
    // A deleted message still says where to go on from.
    assert_eq!(texts(&page(HistoryFrom::Before(sent[3].id)).await), "12");
    let newer = page(HistoryFrom::After(sent[1].id)).await;
    assert_eq!(texts(&newer), "24");
    let last = page(HistoryFrom::Cursor(newer.next_cursor.unwrap())).await;
    assert_eq!((texts(&last).as_str(), last.next_cursor), ("56", None));
    let end = page(HistoryFrom::After(sent[6].id)).await;
    assert_eq!((end.items, end.next_cursor, end.seq), (vec![], None, Seq(8)));
    let elsewhere = at.group(&ann, &[]).await.id;
    let other = at.send(elsewhere, &ann, "x").await;
    let history = async |from| at.store.history(chat, ann.id, from, 2).await;
    assert_eq!(field(history(HistoryFrom::Before(other.id)).await), "before");
    assert_eq!(field(history(HistoryFrom::After(MessageId(0))).await), "after");
    assert_eq!(field(history(HistoryFrom::Cursor("x".into())).await), "cursor");
    assert_eq!(code(at.store.history(chat, ben.id, HistoryFrom::Newest, 2).await), "not_a_member");
    assert_eq!(code(at.store.history(ChatId(0), ben.id, HistoryFrom::Newest, 2).await), "chat_not_found");
    // one message, to members only
    let one = async |id, by: &User| at.store.message(id, by.id).await;
    assert_eq!(one(sent[2].id, &ann).await.unwrap(), page(HistoryFrom::Before(sent[3].id)).await.items[1]);
    assert_eq!(one(other.id, &ann).await.unwrap(), other);
    for (id, by) in [(sent[3].id, &ann), (sent[2].id, &ben), (MessageId(0), &ann)] {
        assert_eq!(code(one(id, by).await), "message_not_found", "{id:?}");
    }
    let fresh = at.group(&ann, &[]).await.id;
    let nothing = at.store.history(fresh, ann.id, HistoryFrom::Newest, 2).await.unwrap();
    assert_eq!(nothing, HistoryPage { items: vec![], next_cursor: None, seq: Seq(0) });
}

async fn an_author_edits(at: Fixture) {
    let (ann, ben) = (at.user().await, at.user().await);
    let chat = at.group(&ann, &[&ben]).await.id;
    let message = at.send(chat, &ben, "before").await;
    let edit = async |user: &User, text: &str| at.store.edit(message.id, user.id, text.into(), Vec::new()).await;
    assert_eq!(code(edit(&ann, "x").await), "not_author");
    assert_eq!(field(edit(&ben, "x\0").await), "text");
    assert_eq!(code(at.store.edit(MessageId(0), ben.id, "x".into(), Vec::new()).await), "message_not_found");
    let (same, committed) = edit(&ben, "before").await.unwrap();
    assert_eq!((same, committed), (message.clone(), Committed::default()));
    let (edited, committed) = edit(&ben, "after").await.unwrap();
    at.recorded(&committed).await;
    assert_eq!((edited.text.as_str(), edited.is_edited, edited.edited_at.is_some()), ("after", true, true));
    assert_eq!((edited.seq, edited.created_at), (message.seq, message.created_at));
    assert_eq!((kinds(&committed), committed.events[0].seq), (vec!["message_edited"], Seq(2)));
    assert_eq!(at.history(chat, &ann).await, [edited.clone()]);
    // The log has it as it stands now, and never what it was.
    let page = at.log_after(chat, Seq(0), 9).await.unwrap().unwrap();
    assert_eq!(page.events[0].body, EventBody::NewMessage { message: edited.clone() });
    assert_eq!(page.events[1].body, EventBody::MessageEdited { message: edited });
    at.store.leave(chat, ben.id).await.unwrap();
    assert_eq!(code(edit(&ben, "gone").await), "not_a_member");
}

async fn an_author_or_owner_deletes(at: Fixture) {
    let (ann, ben, cem) = (at.user().await, at.user().await, at.user().await);
    let chat = at.group(&ann, &[&ben, &cem]).await.id;
    let (one, two) = (at.send(chat, &ben, "1").await, at.send(chat, &ben, "2").await);
    assert_eq!(code(at.store.delete(one.id, cem.id).await), "not_author");
    for (message, by) in [(&one, &ben), (&two, &ann)] {
        let committed = at.store.delete(message.id, by.id).await.unwrap();
        at.recorded(&committed).await;
        assert_eq!(kinds(&committed), ["message_deleted"]);
        assert_eq!(committed.events[0].body, EventBody::MessageDeleted { message_id: message.id });
        assert_eq!(code(at.store.delete(message.id, by.id).await), "message_not_found");
        assert_eq!(code(at.store.edit(message.id, ben.id, "x".into(), Vec::new()).await), "message_not_found");
    }
    assert_eq!(at.history(chat, &ann).await, []);
    assert_eq!(at.store.chat(chat, ann.id).await.unwrap().unwrap().last_message, None);
    assert_eq!(at.number("select count(*) from messages where text <> '' or text_digest is not null").await, 0);
    let page = at.log_after(chat, Seq(0), 1).await.unwrap().unwrap();
    let EventBody::NewMessage { message } = &page.events[0].body else { panic!("{page:?}") };
    assert_eq!((message.id, message.text.as_str(), message.is_deleted), (one.id, "", true));
    // In a private chat nobody rules: only the author.
    let (private, ..) = at.store.private_chat(ann.id, ben.id).await.unwrap();
    let sent = at.store.send(vec![new(private.id, &ann, "x")]).await.unwrap().results.remove(0).unwrap().message;
    assert_eq!(code(at.store.delete(sent.id, ben.id).await), "not_author");
    assert_eq!(kinds(&at.store.delete(sent.id, ann.id).await.unwrap()), ["message_deleted"]);
}

async fn who_may_not_see_a_message_finds_none(at: Fixture) {
    let (ann, ben, cem) = (at.user().await, at.user().await, at.user().await);
    let group = at.group(&ann, &[]).await.id;
    let (private, ..) = at.store.private_chat(ann.id, ben.id).await.unwrap();
    for chat in [group, private.id] {
        let message = at.store.send(vec![new(chat, &ann, "x")]).await.unwrap().results.remove(0).unwrap().message;
        assert_eq!(code(at.store.edit(message.id, cem.id, "y".into(), Vec::new()).await), "message_not_found");
        assert_eq!(code(at.store.delete(message.id, cem.id).await), "message_not_found");
    }
}
