//! The log of every chat and the outbox.

use super::SqliteStore;
use super::chats::views;
use super::database::{commit, json, moved};
use super::prune::prune;
use crate::error::Result;
use crate::id::{ChatId, Seq, UserId};
use crate::store::entry::{LogRow, log_columns, page};
use crate::store::fault::{Fault, is_lost};
use crate::store::kinds::kinds;
use crate::store::log::{TAIL, in_the_order_asked};
use crate::store::outbox::{EVENTS_PER_CLAIM, OutboxPayload, rebuilt};
use crate::store::stored_time::Time;
use crate::store::{CLAIM_LEASE, Committed, Log, LogAfter, LogHead, LogPage, OutboxId, Tail, TailMark};
use async_trait::async_trait;
use sqlx::SqliteConnection;
use std::collections::{BTreeSet, HashMap};
use std::time::Duration;

#[async_trait]
impl Log for SqliteStore {
    async fn logs_after(&self, asked: &[LogAfter]) -> Result<Vec<Option<LogPage>>> {
        self.run(async {
            let mut reader = self.database.reader.acquire().await?;
            let mut pages = Vec::with_capacity(asked.len());
            for LogAfter { chat_id, after, limit } in asked {
                pages.push(page(log_rows(&mut reader, *chat_id, *after, Seq(i64::MAX), *limit).await?));
            }
            Ok(pages)
        })
        .await
    }

    async fn heads(&self, asked: &[(ChatId, Seq)]) -> Result<Vec<Option<LogHead>>> {
        let statement = sqlx::query_as(
            "select p.key + 1, c.seq,
                    coalesce(
                        (select x.created_at from messages x where x.chat_id = c.id and x.seq = p.value ->> 1),
                        (select x.created_at from events x where x.chat_id = c.id and x.seq = p.value ->> 1)
                    )
             from json_each($1) p join chats c on c.id = p.value ->> 0",
        );
        let rows: Vec<(i64, Seq, Option<Time>)> = self.rows(statement.bind(json(&asked)?)).await?;
        Ok(in_the_order_asked(asked.len(), rows))
    }

    async fn tail(&self, since: Option<TailMark>, within: Duration) -> Result<Tail> {
        let given: Option<(i64,)> = self.row(sqlx::query_as("select coalesce(max(id), 0) from messages")).await?;
        let mark = TailMark(given.map_or(0, |(id,)| id));
        let Some(since) = since else { return Ok(Tail { mark, moved: Some(Vec::new()) }) };
        if !(0..=TAIL).contains(&(mark.0 - since.0)) {
            return Ok(Tail { mark, moved: None });
        }
        let statement = sqlx::query_as(
            "select chat_id, max(seq) from (
                 select chat_id, seq from messages where id > $1 and id <= $2
                 union all
                 select chat_id, seq from events where created_at >= $3
             ) group by chat_id",
        );
        let moved = self.rows(statement.bind(since.0).bind(mark.0).bind(self.database.before(within))).await?;
        Ok(Tail { mark, moved: Some(moved) })
    }

    async fn outbox_remove(&self, ids: &[OutboxId]) -> Result<()> {
        let ids: Vec<i64> = ids.iter().map(|id| id.0).collect();
        self.run(async {
            let mut transaction = self.database.begin().await?;
            sqlx::query("delete from outbox where id in (select value from json_each($1))")
                .bind(json(&ids)?)
                .execute(&mut *transaction)
                .await?;
            commit(transaction, ()).await
        })
        .await
    }

    async fn outbox_claim(&self, age: Duration, limit: usize) -> Result<Vec<Committed>> {
        self.run(async {
            let free: bool =
                sqlx::query_scalar("select exists (select 1 from outbox)").fetch_one(&self.database.reader).await?;
            if !free {
                // Nothing to do, and the writer is not disturbed.
                return Ok(Vec::new());
            }
            let mut transaction = self.database.begin().await?;
            let now = self.database.now();
            let mut claimed: Vec<(i64, String)> = sqlx::query_as(
                "update outbox set claimed_until = $3
                 where id in (
                     select id from (
                         select id, sum(size) over (order by id) - size as before from (
                             select id, size from outbox
                             where created_at < $1 and (claimed_until is null or claimed_until < $2)
                             order by id limit $4
                         )
                     ) where before < $5
                 )
                 returning id, payload",
            )
            .bind(moved(now, -i64::try_from(age.as_micros()).unwrap_or(i64::MAX)))
            .bind(now)
            .bind(self.database.after(CLAIM_LEASE))
            .bind(i64::try_from(limit).unwrap_or(i64::MAX))
            .bind(EVENTS_PER_CLAIM)
            .fetch_all(&mut *transaction)
            .await?;
            claimed.sort_unstable_by_key(|(id, _)| *id);
            let claimed = commit(transaction, claimed).await?;
            let mut reader = self.database.reader.acquire().await?;
            let mut rebuilt = Vec::with_capacity(claimed.len());
            for (id, payload) in claimed.iter().filter_map(|(id, payload)| OutboxPayload::read(*id, payload)) {
                match rebuild(&mut reader, id, &payload).await {
                    Ok(committed) => rebuilt.push(committed),
                    // It must not hold up the others.
                    Err(Fault::Sql(error)) if !is_lost(&error) => {
                        tracing::error!(outbox.id = id.0, %error, "an outbox entry cannot be rebuilt");
                    }
                    Err(fault) => return Err(fault),
                }
            }
            Ok(rebuilt)
        })
        .await
    }

    async fn outbox_pending(&self) -> Result<i64> {
        let statement = sqlx::query_as("select count(*) from (select 1 from outbox limit 10000)");
        let count: Option<(i64,)> = self.row(statement).await?;
        Ok(count.map_or(0, |(count,)| count))
    }

    async fn prune(&self, older_than: Duration, limit: usize) -> Result<usize> {
        self.run(async {
            let pruned = prune(&self.database, older_than, limit).await?;
            self.database.checkpoint().await?;
            Ok(pruned)
        })
        .await
    }
}

/// The events after one number and up to another, joined as they stand now.
async fn log_rows(
    connection: &mut SqliteConnection,
    chat: ChatId,
    after: Seq,
    last: Seq,
    limit: usize,
) -> Result<Vec<LogRow>, sqlx::Error> {
    sqlx::query_as(concat!(
        "select ",
        log_columns!(),
        " from chats c
         left join (
             select * from (
                 select seq, ",
        kinds!(sent),
        " as kind, id as message_id, null as user_id, null as role, created_at,
                        null as emoji, null as emoji_count
                 from messages
                 where chat_id = $1 and seq > max($2, (select floor from chats where id = $1)) and seq <= $3
                 order by seq limit $4
             )
             union all
             select * from (
                 select seq, kind, message_id, user_id, role, created_at, emoji, emoji_count from events
                 where chat_id = $1 and seq > max($2, (select floor from chats where id = $1)) and seq <= $3
                 order by seq limit $4
             )
             order by seq limit $4
         ) e on true
         left join messages x on x.id = e.message_id and e.kind in ",
        kinds!(of_a_message),
        "
         left join users a on a.id = x.author_id
         left join users u on u.id = e.user_id
         where c.id = $1
         order by e.seq"
    ))
    .bind(chat)
    .bind(after)
    .bind(last)
    .bind(i64::try_from(limit).unwrap_or(i64::MAX))
    .fetch_all(connection)
    .await
}

/// Rebuilds what an entry stands for, as it is now.
pub(super) async fn rebuild(
    connection: &mut SqliteConnection,
    id: OutboxId,
    payload: &OutboxPayload,
) -> Result<Committed, Fault> {
    let mut events = Vec::new();
    let mut pairs = HashMap::new();
    for (chat, first, last) in &payload.events {
        let rows = log_rows(connection, *chat, Seq(first.0 - 1), *last, usize::MAX >> 1).await?;
        events.extend(rows.into_iter().filter_map(LogRow::into_event));
        if let Some(pair) = pair_of(connection, *chat).await? {
            pairs.insert(*chat, pair);
        }
    }
    let shown: BTreeSet<_> = payload.shown().collect();
    let shown: Vec<_> = shown.into_iter().collect();
    let seen = if shown.is_empty() { Vec::new() } else { views(connection, &shown).await? };
    let seen = seen.into_iter().map(|(user, chat)| ((chat.id, user), chat)).collect();
    Ok(rebuilt(id, payload, events, &seen, &pairs))
}

/// The users of a private chat.
async fn pair_of(connection: &mut SqliteConnection, chat: ChatId) -> Result<Option<[UserId; 2]>, sqlx::Error> {
    let row: Option<(UserId, UserId)> =
        sqlx::query_as("select pair_low, pair_high from chats where id = $1 and pair_low is not null")
            .bind(chat)
            .fetch_optional(connection)
            .await?;
    Ok(row.map(|(low, high)| [low, high]))
}
