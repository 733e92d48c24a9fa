//! The log of every chat and the outbox.

use super::lock::views;
use super::{Database, SqliteStore, commit, json, moved};
use crate::error::Result;
use crate::id::{ChatId, MessageId, Seq, UserId};
use crate::store::change::{OutboxPayload, StoredNoticeKind, rebuilt};
use crate::store::fault::{Fault, is_lost};
use crate::store::row::{LogRow, Time};
use crate::store::{CLAIM_LEASE, Committed, Log, LogPage, OutboxId};
use async_trait::async_trait;
use sqlx::SqliteConnection;
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::time::Duration;

#[async_trait]
impl Log for SqliteStore {
    async fn log_after(&self, chat: ChatId, after: Seq, limit: usize) -> Result<Option<LogPage>> {
        self.run(|| log_after(&self.database, chat, after, limit)).await
    }

    async fn heads(&self, chats: &[ChatId]) -> Result<Vec<(ChatId, Seq)>> {
        self.run(|| heads(&self.database, chats)).await
    }

    async fn outbox_remove(&self, ids: &[OutboxId]) -> Result<()> {
        self.run(|| outbox_remove(&self.database, ids)).await
    }

    async fn outbox_claim(&self, age: Duration, limit: usize) -> Result<Vec<Committed>> {
        self.run(|| outbox_claim(&self.database, age, limit)).await
    }

    async fn outbox_pending(&self) -> Result<i64> {
        self.run(|| outbox_pending(&self.database)).await
    }

    async fn prune(&self, older_than: Duration, limit: usize) -> Result<usize> {
        self.run(|| prune(&self.database, older_than, limit)).await
    }
}

pub(super) async fn ping(database: &Database) -> Result<(), Fault> {
    sqlx::query("select 1").execute(&database.reader).await?;
    // The writer too: it may be ill while the readers are well.
    Ok(database.begin().await?.rollback().await?)
}

/// The versions of the migrations that are applied; none where there is no schema at all.
pub(super) async fn applied_migrations(database: &Database) -> Result<Vec<i64>, Fault> {
    let exists: bool =
        sqlx::query_scalar("select exists (select 1 from sqlite_master where name = '_sqlx_migrations')")
            .fetch_one(&database.reader)
            .await?;
    if !exists {
        return Ok(Vec::new());
    }
    Ok(sqlx::query_scalar("select version from _sqlx_migrations where success").fetch_all(&database.reader).await?)
}

pub(super) async fn log_after(
    database: &Database,
    chat: ChatId,
    after: Seq,
    limit: usize,
) -> Result<Option<LogPage>, Fault> {
    let rows = log_rows(&mut *database.reader.acquire().await?, chat, after, Seq(i64::MAX), limit).await?;
    let Some((head, floor)) = rows.first().map(|row| (row.head, row.floor)) else {
        return Ok(None);
    };
    Ok(Some(LogPage { events: rows.into_iter().filter_map(LogRow::into_event).collect(), head, floor }))
}

/// The events after one number and up to another, joined as they stand now. The texts of a deleted chat are as good as erased.
async fn log_rows(
    connection: &mut SqliteConnection,
    chat: ChatId,
    after: Seq,
    last: Seq,
    limit: usize,
) -> Result<Vec<LogRow>, sqlx::Error> {
    sqlx::query_as(
        "select c.id as chat_id, c.seq as head, c.floor, e.seq, e.kind, e.created_at as committed_at, e.message_id,
                e.user_id, u.username, e.role,
                case when e.kind in (7, 8) then c.name end as chat_name,
                case when e.kind in (7, 8) then c.description end as chat_description,
                case when e.kind in (7, 8) then c.is_group end as chat_is_group,
                case when e.kind in (7, 8) then c.created_at end as chat_created_at,
                case when e.kind in (7, 8) then c.member_count end as chat_member_count,
                x.id as m_id, x.author_id as m_author_id, a.username as m_author_username,
                case when c.deleted_at is null and x.deleted_at is null then x.text else '' end as m_text,
                x.created_at as m_created_at, x.edited_at as m_edited_at,
                (x.deleted_at is not null or c.deleted_at is not null) as m_is_deleted, x.seq as m_seq,
                x.client_message_id as m_client_message_id, x.reply_to_id as m_reply_to_id
         from chats c
         left join (
             select * from (
                 select seq, 1 as kind, id as message_id, null as user_id, null as role, created_at from messages
                 where chat_id = $1 and seq > max($2, (select floor from chats where id = $1)) and seq <= $3
                 order by seq limit $4
             )
             union all
             select * from (
                 select seq, kind, message_id, user_id, role, created_at from events
                 where chat_id = $1 and seq > max($2, (select floor from chats where id = $1)) and seq <= $3
                 order by seq limit $4
             )
             order by seq limit $4
         ) e on true
         left join messages x on x.id = e.message_id and e.kind in (1, 2)
         left join users a on a.id = x.author_id
         left join users u on u.id = e.user_id
         where c.id = $1
         order by e.seq",
    )
    .bind(chat)
    .bind(after)
    .bind(last)
    .bind(i64::try_from(limit).unwrap_or(i64::MAX))
    .fetch_all(connection)
    .await
}

pub(super) async fn heads(database: &Database, chats: &[ChatId]) -> Result<Vec<(ChatId, Seq)>, Fault> {
    Ok(sqlx::query_as("select id, seq from chats where id in (select value from json_each($1))")
        .bind(json(&chats)?)
        .fetch_all(&database.reader)
        .await?)
}

pub(super) async fn outbox_remove(database: &Database, ids: &[OutboxId]) -> Result<(), Fault> {
    let ids: Vec<i64> = ids.iter().map(|id| id.0).collect();
    let mut transaction = database.begin().await?;
    sqlx::query("delete from outbox where id in (select value from json_each($1))")
        .bind(json(&ids)?)
        .execute(&mut *transaction)
        .await?;
    commit(transaction, ()).await
}

/// How much a claim takes at once, in events and notices; a single entry may be larger.
const CLAIM_SIZE: i64 = 5_000;

pub(super) async fn outbox_claim(database: &Database, age: Duration, limit: usize) -> Result<Vec<Committed>, Fault> {
    let free: bool = sqlx::query_scalar("select exists (select 1 from outbox)").fetch_one(&database.reader).await?;
    if !free {
        // Nothing to do, and the writer is not disturbed.
        return Ok(Vec::new());
    }
    let mut transaction = database.begin().await?;
    let now = database.now();
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
    .bind(database.after(CLAIM_LEASE))
    .bind(i64::try_from(limit).unwrap_or(i64::MAX))
    .bind(CLAIM_SIZE)
    .fetch_all(&mut *transaction)
    .await?;
    claimed.sort_unstable_by_key(|(id, _)| *id);
    let claimed = commit(transaction, claimed).await?;
    let mut reader = database.reader.acquire().await?;
    let mut rebuilt = Vec::with_capacity(claimed.len());
    for (id, payload) in claimed.iter().filter_map(|(id, payload)| OutboxPayload::read(*id, payload)) {
        match rebuild(&mut reader, id, &payload).await {
            Ok(committed) => rebuilt.push(committed),
            // It shall not hold up the others.
            Err(Fault::Sql(error)) if !is_lost(&error) => {
                tracing::error!(outbox.id = id.0, %error, "an outbox entry cannot be rebuilt");
            }
            Err(fault) => return Err(fault),
        }
    }
    Ok(rebuilt)
}

/// What an entry must tell, as it stands now.
async fn rebuild(connection: &mut SqliteConnection, id: OutboxId, payload: &OutboxPayload) -> Result<Committed, Fault> {
    let mut events = Vec::new();
    let mut pairs = HashMap::new();
    for (chat, first, last) in &payload.events {
        let rows = log_rows(connection, *chat, Seq(first.0 - 1), *last, usize::MAX >> 1).await?;
        events.extend(rows.into_iter().filter_map(LogRow::into_event));
        if let Some(pair) = pair_of(connection, *chat).await? {
            pairs.insert(*chat, pair);
        }
    }
    let added: Vec<(ChatId, UserId)> = payload
        .notices
        .iter()
        .filter(|notice| notice.kind == StoredNoticeKind::Added)
        .flat_map(|notice| notice.users.iter().map(|user| (notice.chat, *user)))
        .collect();
    let seen = if added.is_empty() { Vec::new() } else { views(connection, &added).await? };
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

pub(super) async fn outbox_pending(database: &Database) -> Result<i64, Fault> {
    Ok(sqlx::query_scalar("select count(*) from (select 1 from outbox limit 10000)")
        .fetch_one(&database.reader)
        .await?)
}

pub(super) async fn prune(database: &Database, older_than: Duration, limit: usize) -> Result<usize, Fault> {
    let limit = i64::try_from(limit).unwrap_or(i64::MAX);
    let before = database.before(older_than);
    let mut transaction = database.begin().await?;
    let old: Vec<(ChatId, Seq)> =
        sqlx::query_as("select chat_id, seq from events where created_at < $1 order by created_at limit $2")
            .bind(before)
            .bind(limit)
            .fetch_all(&mut *transaction)
            .await?;
    let chats: BTreeSet<ChatId> = old.iter().map(|(chat, _)| *chat).collect();
    let mut removed = 0;
    for chat in chats {
        let top = old.iter().filter(|(id, _)| *id == chat).map(|(_, seq)| *seq).max().unwrap_or_default();
        sqlx::query("update chats set floor = max(floor, $2) where id = $1")
            .bind(chat)
            .bind(top)
            .execute(&mut *transaction)
            .await?;
        let gone = sqlx::query("delete from events where chat_id = $1 and seq <= $2")
            .bind(chat)
            .bind(top)
            .execute(&mut *transaction)
            .await?;
        removed += usize::try_from(gone.rows_affected()).unwrap_or(usize::MAX);
    }
    let left = limit - i64::try_from(removed).unwrap_or(limit);
    removed += pass_messages(&mut transaction, before, left.max(0)).await?;
    removed += erase_deleted_chats(&mut transaction, limit, database.now()).await?;
    // Sessions that expired more than a day ago: no token of theirs lives.
    sqlx::query(
        "delete from sessions where id in (select id from sessions where expires_at < $1 order by expires_at limit $2)",
    )
    .bind(database.before(Duration::from_secs(86_400)))
    .bind(limit)
    .execute(&mut *transaction)
    .await?;
    commit(transaction, removed).await
}

/// Messages stay, but a replay no longer reaches them: raises the floors of their chats, going on where the last pruning left off,
/// and says how many it passed.
async fn pass_messages(connection: &mut SqliteConnection, before: Time, limit: i64) -> Result<usize, sqlx::Error> {
    let next: Vec<(MessageId, ChatId, Seq, Time)> = sqlx::query_as(
        "select id, chat_id, seq, created_at from messages
         where id > (select message_id from pruned) order by id limit $1",
    )
    .bind(limit)
    .fetch_all(&mut *connection)
    .await?;
    let mut tops: BTreeMap<ChatId, Seq> = BTreeMap::new();
    let (mut passed, mut place) = (0, None);
    for (id, chat, seq, _) in next.into_iter().filter(|(.., created_at)| *created_at < before) {
        tops.insert(chat, seq);
        place = Some(id);
        passed += 1;
    }
    for (chat, top) in tops {
        sqlx::query("update chats set floor = max(floor, $2) where id = $1")
            .bind(chat)
            .bind(top)
            .execute(&mut *connection)
            .await?;
    }
    if let Some(place) = place {
        sqlx::query("update pruned set message_id = $1").bind(place).execute(connection).await?;
    }
    Ok(passed)
}

/// Erases the texts of deleted chats, a batch at a time; until then nobody can read them any more either. Says how many, a chat that is
/// done counting as one: 0 when none is left.
async fn erase_deleted_chats(connection: &mut SqliteConnection, limit: i64, now: Time) -> Result<usize, sqlx::Error> {
    let chat: Option<ChatId> =
        sqlx::query_scalar("select id from chats where deleted_at is not null and not erased order by id limit 1")
            .fetch_optional(&mut *connection)
            .await?;
    let Some(chat) = chat else { return Ok(0) };
    let erased = sqlx::query(
        "update messages set text = '', text_digest = null, deleted_at = $3
         where id in (select id from messages where chat_id = $1 and deleted_at is null order by seq limit $2)",
    )
    .bind(chat)
    .bind(limit)
    .bind(now)
    .execute(&mut *connection)
    .await?;
    if erased.rows_affected() == 0 {
        sqlx::query("update chats set erased = 1 where id = $1").bind(chat).execute(connection).await?;
    }
    Ok(usize::try_from(erased.rows_affected()).unwrap_or(usize::MAX).max(1))
}
