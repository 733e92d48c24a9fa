//! Notices after the fact.

use super::SqliteStore;
use super::database::json;
use super::log::rebuild;
use crate::error::Result;
use crate::id::UserId;
use crate::store::OutboxId;
use crate::store::fault::Fault;
use crate::store::kinds::{kinds, reasons};
use crate::store::notices::{Found, FoundMention, FoundRow, Notices, NoticesFrom, NoticesPage, Window, first_id};
use crate::store::stored_time::Time;
use async_trait::async_trait;
use std::collections::HashSet;

/// The rows of a window from $1 to $2: of messages by their ids $3 and $4, of new chats from the
/// id $5 on.
const FOUND: &str = concat!(
    "
    select case e.kind when ",
    kinds!(joined),
    " then ",
    reasons!(added),
    " else ",
    reasons!(removed),
    " end as reason, e.chat_id, e.seq, e.user_id, e.notified as users,
           null as message_id, e.created_at as at
    from events e where e.created_at >= $1 and e.created_at < $2 and e.kind in ",
    kinds!(of_coming_and_going),
    "
    union all
    select ",
    reasons!(added),
    ", c.id, 0, m.user_id, null, null, c.created_at
    from chats c join members m on m.chat_id = c.id and m.joined_at = c.created_at
    where c.id >= $5 and c.created_at >= $1 and c.created_at < $2
    union all
    select ",
    reasons!(message),
    ", x.chat_id, x.seq, null, json_array(c.pair_low, c.pair_high), null, x.created_at
    from messages x join chats c on c.id = x.chat_id and c.pair_low is not null
    where x.id >= $3 and x.id < $4 and x.created_at >= $1 and x.created_at < $2 and x.deleted_at is null
    union all
    select ",
    reasons!(mentioned),
    ", x.chat_id, x.seq, x.author_id, x.mentions, x.id, x.created_at
    from messages x
    where x.id >= $3 and x.id < $4 and x.created_at >= $1 and x.created_at < $2 and x.mentions is not null
    union all
    select ",
    reasons!(mentioned),
    ", e.chat_id, e.seq, x.author_id, x.mentions, x.id, e.created_at
    from events e join messages x on x.id = e.message_id and x.mentions is not null
    where e.created_at >= $1 and e.created_at < $2 and e.kind = ",
    kinds!(edited),
    "
    union all
    select ",
    reasons!(settings),
    ", m.chat_id, 0, m.user_id, null, null, m.settings_at
    from members m where m.settings_at >= $1 and m.settings_at < $2"
);

#[async_trait]
impl Notices for SqliteStore {
    async fn notices(&self, users: &HashSet<UserId>, from: NoticesFrom) -> Result<NoticesPage> {
        let window = Window::of(from, self.database.now());
        let mut found = Found::of(self.found(&window).await?, users);
        found.mentions = self.notified(&found.mentions).await?;
        self.run(async {
            let mut reader = self.database.reader.acquire().await?;
            let mut made = Vec::new();
            for payload in found.payloads() {
                made.extend(rebuild(&mut reader, OutboxId(0), &payload).await?.notices);
            }
            Ok(found.page(&window, users, made))
        })
        .await
    }
}

impl SqliteStore {
    async fn found(&self, window: &Window) -> Result<Vec<FoundRow>> {
        let id = async |statement: &'static str, at: Time| {
            let id: Option<(i64,)> = self.row(sqlx::query_as(statement).bind(at)).await?;
            Ok::<_, crate::error::Error>(id.map_or(i64::MAX, |(id,)| id))
        };
        let (since, until) = window.ids_between();
        let messages = if window.messages {
            (id(first_id!("messages"), since).await?, id(first_id!("messages"), until).await?)
        } else {
            (i64::MAX, i64::MAX)
        };
        let chats = id(first_id!("chats"), since).await?;
        let statement = sqlx::query_as(FOUND).bind(window.since).bind(window.until).bind(messages.0).bind(messages.1);
        self.rows(statement.bind(chats)).await
    }

    /// Those of these mentions that are still there, whose user has not muted the chat or blocked
    /// the author.
    async fn notified(&self, mentions: &[FoundMention]) -> Result<Vec<FoundMention>> {
        let asked: Vec<_> = mentions.iter().map(|one| (one.user, one.chat, one.seq, one.message, one.author)).collect();
        let statement = sqlx::query_as(
            "select p.key
             from json_each($1) p
             where exists (
                 select 1 from mentions n where n.user_id = p.value ->> 0 and n.chat_id = p.value ->> 1
                     and n.seq = p.value ->> 2 and n.message_id = p.value ->> 3
             ) and exists (
                 select 1 from members m where m.chat_id = p.value ->> 1 and m.user_id = p.value ->> 0
                     and (m.muted_until is null or m.muted_until <= $2)
             ) and not exists (
                 select 1 from blocks b where b.user_id = p.value ->> 0 and b.blocked_id = p.value ->> 4
             )
             order by p.key",
        );
        let asked = json(&asked).map_err(|fault: Fault| crate::error::Error::from(fault))?;
        let kept: Vec<(i64,)> = self.rows(statement.bind(asked).bind(self.database.now())).await?;
        Ok(kept.into_iter().filter_map(|(at,)| mentions.get(usize::try_from(at).ok()?).copied()).collect())
    }
}
