//! Notices after the fact.

use super::PostgresStore;
use crate::error::Result;
use crate::id::UserId;
use crate::store::OutboxId;
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
           null::bigint as message_id, e.created_at as at
    from events e where e.created_at >= $1 and e.created_at < $2 and e.kind in ",
    kinds!(of_coming_and_going),
    "
    union all
    select ",
    reasons!(added),
    ", c.id, 0, m.user_id, null, null, c.created_at
    from chats c
    cross join lateral (
        select x.user_id from members x where x.chat_id = c.id and x.joined_at = c.created_at limit 1000000
    ) m
    where c.id >= $5 and c.created_at >= $1 and c.created_at < $2
    union all
    select ",
    reasons!(message),
    ", x.chat_id, x.seq, null, format('[%s,%s]', c.pair_low, c.pair_high), null, x.created_at
    from messages x
    cross join lateral (
        select y.pair_low, y.pair_high from chats y where y.id = x.chat_id and y.pair_low is not null limit 1
    ) c
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
    from events e
    cross join lateral (
        select y.id, y.author_id, y.mentions from messages y where y.id = e.message_id and y.mentions is not null limit 1
    ) x
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
impl Notices for PostgresStore {
    async fn notices(&self, users: &HashSet<UserId>, from: NoticesFrom) -> Result<NoticesPage> {
        let now: Option<(Time,)> = self.row(|| sqlx::query_as("select clock_timestamp()")).await?;
        let now = now.map_or(Time(time::OffsetDateTime::UNIX_EPOCH), |(now,)| now);
        let window = Window::of(from, now);
        let mut found = Found::of(self.found(&window).await?, users);
        found.mentions = self.notified(&found.mentions).await?;
        let mut made = Vec::new();
        for payload in found.payloads() {
            let entries = [(OutboxId(0), payload)];
            made.extend(self.run(|| self.rebuild(&entries)).await?.into_iter().flat_map(|one| one.notices));
        }
        Ok(found.page(&window, users, made))
    }
}

impl PostgresStore {
    async fn found(&self, window: &Window) -> Result<Vec<FoundRow>> {
        let id = async |statement: &'static str, at| {
            let id: Option<(i64,)> = self.row(|| sqlx::query_as(statement).bind(at)).await?;
            Ok::<_, crate::error::Error>(id.map_or(i64::MAX, |(id,)| id))
        };
        let (Time(since), Time(until)) = window.ids_between();
        let messages = if window.messages {
            (id(first_id!("messages"), since).await?, id(first_id!("messages"), until).await?)
        } else {
            (i64::MAX, i64::MAX)
        };
        let chats = id(first_id!("chats"), since).await?;
        let (since, until) = (window.since.0, window.until.0);
        self.rows(|| sqlx::query_as(FOUND).bind(since).bind(until).bind(messages.0).bind(messages.1).bind(chats)).await
    }

    /// Those of these mentions that are still there, whose user has not muted the chat or blocked
    /// the author.
    async fn notified(&self, mentions: &[FoundMention]) -> Result<Vec<FoundMention>> {
        if mentions.is_empty() {
            return Ok(Vec::new());
        }
        let column = |of: fn(&FoundMention) -> i64| mentions.iter().map(of).collect::<Vec<i64>>();
        let (users, chats) = (column(|one| one.user.0), column(|one| one.chat.0));
        let (seqs, messages, authors) =
            (column(|one| one.seq.0), column(|one| one.message.0), column(|one| one.author.0));
        let kept: Vec<(i64,)> = self
            .rows(|| {
                sqlx::query_as(
                    "select p.ord
                     from unnest($1::bigint[], $2::bigint[], $3::bigint[], $4::bigint[], $5::bigint[]) with ordinality
                          as p (user_id, chat_id, seq, message_id, author_id, ord)
                     where exists (
                         select from mentions n where n.user_id = p.user_id and n.chat_id = p.chat_id and n.seq = p.seq
                             and n.message_id = p.message_id
                     ) and exists (
                         select from members m where m.chat_id = p.chat_id and m.user_id = p.user_id
                             and (m.muted_until is null or m.muted_until <= clock_timestamp())
                     ) and not exists (
                         select from blocks b where b.user_id = p.user_id and b.blocked_id = p.author_id
                     )
                     order by p.ord",
                )
                .bind(&users)
                .bind(&chats)
                .bind(&seqs)
                .bind(&messages)
                .bind(&authors)
            })
            .await?;
        Ok(kept.into_iter().filter_map(|(ord,)| mentions.get(usize::try_from(ord - 1).ok()?).copied()).collect())
    }
}
