//! Notices after the fact: what a transaction notified users of is found again afterwards.

use super::*;
use std::collections::HashSet;
use time::OffsetDateTime;

contract!(
    every_notice_is_found_again,
    only_what_is_so_now_is_shown,
    pages_cover_the_time_once,
    ids_need_not_rise_as_times_do,
    nothing_of_other_users_or_of_before_is_found,
);

fn mention(user: &User) -> Mention {
    Mention { user_id: user.id, notify: true }
}

fn of(users: &[&User]) -> HashSet<UserId> {
    users.iter().map(|user| user.id).collect()
}

impl Fixture {
    /// All notices to these users from that long ago on.
    async fn past(&self, users: &[&User], ago: Duration) -> Vec<UserNotice> {
        let all = self.past_from(users, NoticesFrom::Ago(ago)).await;
        assert!(all.iter().all(|past| past.ago <= ago));
        all.into_iter().map(|past| past.notice).collect()
    }

    async fn past_from(&self, users: &[&User], mut from: NoticesFrom) -> Vec<PastNotice> {
        let mut all = Vec::new();
        loop {
            let page = self.store.notices(&of(users), from).await.unwrap();
            all.extend(page.notices);
            match page.next {
                Some(next) => from = NoticesFrom::At(next),
                None => return all,
            }
        }
    }

    /// Lets a message be so many microseconds older.
    async fn backdate(&self, chat: ChatId, seq: i64, by: i64) {
        let at = match &self.raw {
            Raw::Sqlite(..) => format!("created_at - {by}"),
            Raw::Postgres(_) => format!("created_at - interval '{by} microseconds'"),
        };
        self.sql(&format!("update messages set created_at = {at} where chat_id = {chat} and seq = {seq}")).await;
    }

    async fn mentions(&self, chat: ChatId, author: &User, user: &User, text: &str) -> SentBatch {
        let entry = NewMessage { mentions: vec![mention(user)], ..new(chat, author, text) };
        self.send_batch(vec![entry]).await
    }
}

async fn every_notice_is_found_again(at: Fixture) {
    let (ann, ben, cleo) = (at.user().await, at.user().await, at.user().await);
    let mut published = Vec::new();
    let group =
        NewGroup { owner: ann.id, name: "group".into(), description: None, is_public: true, member_ids: vec![ben.id] };
    let (chat, created) = at.store.create_group(group).await.unwrap();
    let chat = chat.id;
    published.extend(created.notices);
    let (private, _, made) = at.store.private_chat(ann.id, ben.id).await.unwrap();
    published.extend(made.notices);
    published.extend(at.store.join(chat, cleo.id, MANY).await.unwrap().1.notices);
    published.extend(at.send_batch(vec![new(private.id, &ann, "private")]).await.committed.notices);
    published.extend(at.mentions(chat, &ann, &ben, "@ben").await.committed.notices);
    let text = at.send(chat, &ann, "nobody yet").await;
    let edited = at.store.edit(text.id, ann.id, "@cleo".into(), vec![mention(&cleo)]).await.unwrap();
    published.extend(edited.1.notices);
    published.extend(at.store.remove_member(chat, ann.id, cleo.id).await.unwrap().notices);
    published.extend(at.store.delete_chat(chat, ann.id).await.unwrap().notices);
    let found = at.past(&[&ann, &ben, &cleo], HOUR).await;
    // Of the deleted chat its end is left.
    let of_now = |notice: &UserNotice| notice.chat_id == private.id || notice.body == NoticeBody::ChatRemoved;
    published.retain(of_now);
    let shape = |notice: &UserNotice| (notice.user_id, notice.chat_id, notice.seq, is(&notice.body));
    let mut published: Vec<_> = published.iter().map(shape).collect();
    published.sort();
    let mut shown: Vec<_> = found.iter().map(shape).collect();
    shown.sort();
    assert_eq!(shown, published);
    assert_eq!(shown.iter().filter(|(.., body)| *body == "removed").count(), 3);
}

fn is(body: &NoticeBody) -> &'static str {
    match body {
        NoticeBody::ChatAdded(_) => "added",
        NoticeBody::ChatRemoved => "removed",
        NoticeBody::NewMessage(_) => "message",
        NoticeBody::Mentioned(_) => "mentioned",
        NoticeBody::Settings(_) => "settings",
    }
}

async fn only_what_is_so_now_is_shown(at: Fixture) {
    let (ann, ben) = (at.user().await, at.user().await);
    let group = at.group(&ann, &[&ben]).await.id;
    let private = at.store.private_chat(ann.id, ben.id).await.unwrap().0.id;
    let (gone, kept) = (at.send(private, &ann, "gone").await, at.send(private, &ann, "as sent").await);
    at.store.delete(gone.id, ann.id).await.unwrap();
    at.store.edit(kept.id, ann.id, "as edited".into(), Vec::new()).await.unwrap();
    let sent = at.mentions(group, &ann, &ben, "@ben one").await.results.remove(0).unwrap().message;
    at.mentions(group, &ann, &ben, "@ben two").await;
    at.store.edit(sent.id, ann.id, "nobody".into(), Vec::new()).await.unwrap();
    let patch = SettingsPatch { archived: Some(true), ..SettingsPatch::default() };
    for _ in 0..2 {
        assert!(at.store.set_settings(private, ben.id, patch).await.unwrap().is_some());
    }
    let texts = async || {
        let found = at.past(&[&ben], HOUR).await;
        let text = |notice: UserNotice| match notice.body {
            NoticeBody::NewMessage(message) | NoticeBody::Mentioned(message) => Some(message.text),
            NoticeBody::Settings(settings) => Some(format!("archived {}", settings.archived)),
            NoticeBody::ChatAdded(_) | NoticeBody::ChatRemoved => None,
        };
        found.into_iter().filter_map(text).collect::<Vec<_>>()
    };
    assert_eq!(texts().await, ["as edited", "@ben two", "archived true"]);
    // A user who muted the chat is not notified, nor is one who left of anything in it.
    let patch = SettingsPatch {
        muted_until: Some(Some(OffsetDateTime::from_unix_timestamp(4_000_000_000).unwrap())),
        ..SettingsPatch::default()
    };
    at.store.set_settings(group, ben.id, patch).await.unwrap();
    assert_eq!(texts().await, ["as edited", "archived true", "archived false"]);
    at.store.remove_member(group, ann.id, ben.id).await.unwrap();
    assert_eq!(texts().await, ["as edited", "archived true"]);
    let last = at.past(&[&ben], HOUR).await.into_iter().rfind(|notice| notice.chat_id == group);
    assert_eq!(last.map(|notice| notice.body), Some(NoticeBody::ChatRemoved));
}

async fn pages_cover_the_time_once(at: Fixture) {
    let (ann, ben) = (at.user().await, at.user().await);
    let private = at.store.private_chat(ann.id, ben.id).await.unwrap().0.id;
    for n in 0..6 {
        at.send(private, &ann, &n.to_string()).await;
    }
    for (seq, seconds) in [(1, 3000), (2, 500), (3, 35), (4, 34), (5, 14)] {
        at.backdate(private, seq, seconds * 1_000_000).await;
    }
    let seqs = async |ago: u64| {
        let found = at.past(&[&ben], Duration::from_secs(ago)).await;
        let messages = found.iter().filter(|notice| matches!(notice.body, NoticeBody::NewMessage(_)));
        messages.map(|notice| notice.seq.0).collect::<Vec<_>>()
    };
    assert_eq!(seqs(5).await, [6]);
    assert_eq!(seqs(20).await, [5, 6]);
    assert_eq!(seqs(60).await, [3, 4, 5, 6]);
    // Older ones are counted as unread instead.
    assert_eq!(seqs(7200).await, [2, 3, 4, 5, 6]);
}

/// Of two that send at once, the later id may bear the earlier time.
async fn ids_need_not_rise_as_times_do(at: Fixture) {
    let (ann, ben) = (at.user().await, at.user().await);
    let private = at.store.private_chat(ann.id, ben.id).await.unwrap().0.id;
    let seconds = [36, 38, 31, 33, 26, 28, 21, 23, 16, 18, 11, 13];
    let mut first = None;
    for (seq, seconds) in (1..).zip(seconds) {
        let sent = at.send(private, &ann, "one of several").await;
        let first = *first.get_or_insert(sent.created_at);
        let elapsed = (sent.created_at - first).whole_microseconds();
        at.backdate(private, seq, seconds * 1_000_000 + i64::try_from(elapsed).unwrap()).await;
    }
    for ago in 10..40 {
        let found = at.past_from(&[&ben], NoticesFrom::At(first.unwrap() - Duration::from_secs(ago))).await;
        let found = found.iter().filter(|past| matches!(past.notice.body, NoticeBody::NewMessage(_))).count();
        let of_that_time = seconds.iter().filter(|seconds| **seconds <= i64::try_from(ago).unwrap()).count();
        assert_eq!(found, of_that_time, "of the last {ago} seconds");
    }
}

async fn nothing_of_other_users_or_of_before_is_found(at: Fixture) {
    let (ann, ben, cleo) = (at.user().await, at.user().await, at.user().await);
    let private = at.store.private_chat(ann.id, ben.id).await.unwrap().0.id;
    at.send(private, &ann, "not cleo's").await;
    assert_eq!(at.past(&[&cleo], HOUR).await, []);
    assert_eq!(at.past(&[], HOUR).await, []);
    assert_eq!(at.past(&[&ben], HOUR).await.len(), 2);
    assert_eq!(at.past(&[&ben], Duration::ZERO).await, []);
}
