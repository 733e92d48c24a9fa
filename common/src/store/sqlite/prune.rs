//! Pruning: the log beyond its retention, the texts of deleted chats, sessions long over, old
//! idempotency keys, expired invitations, old networks.

use super::database::{Database, commit, json};
use crate::id::{ChatId, MessageId, Seq};
use crate::store::accounts::{NETWORK_KEPT, REGISTRATION_REPEATED_WITHIN};
use crate::store::fault::Fault;
use crate::store::idempotency::KEY_KEPT;
use crate::store::stored_time::Time;
use sqlx::SqliteConnection;
use sqlx::sqlite::SqliteQueryResult;
use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

/// Characters of texts that are erased in one transaction, and the message that passes them. The
/// index of words overwrites each of their words where it stands (FTS5's `secure-delete`), and
/// nobody writes meanwhile.
const ERASED_CHARACTERS: i64 = 16 * 1024;

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
    let mut done = 0;
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
        done += rows(&gone);
    }
    let left = limit - i64::try_from(done).unwrap_or(limit);
    done += pass_messages(&mut transaction, before, left.max(0)).await?;
    // Sessions that expired more than a day ago: none of their tokens is valid.
    let forgotten = sqlx::query(
        "delete from sessions where id in (select id from sessions where expires_at < $1 order by expires_at limit $2)",
    )
    .bind(database.before(Duration::from_secs(86_400)))
    .bind(limit)
    .execute(&mut *transaction)
    .await?;
    done += rows(&forgotten);
    let forgotten = sqlx::query(
        "delete from idempotency_keys where (user_id, key) in (
             select user_id, key from idempotency_keys where created_at <= $1 order by created_at limit $2
         )",
    )
    .bind(database.before(KEY_KEPT))
    .bind(limit)
    .execute(&mut *transaction)
    .await?;
    done += rows(&forgotten);
    let forgotten = sqlx::query(
        "delete from invites where id in (select id from invites where expires_at < $1 order by expires_at limit $2)",
    )
    .bind(database.before(REGISTRATION_REPEATED_WITHIN))
    .bind(limit)
    .execute(&mut *transaction)
    .await?;
    done += rows(&forgotten);
    let forgotten = sqlx::query(
        "delete from networks where (user_id, network) in (
             select user_id, network from networks where seen_at <= $1 order by seen_at limit $2
         )",
    )
    .bind(database.before(NETWORK_KEPT))
    .bind(limit)
    .execute(&mut *transaction)
    .await?;
    done += rows(&forgotten);
    let done = commit(transaction, done).await?;
    Ok(done + erase_deleted_chats(database, limit).await?)
}

fn rows(done: &SqliteQueryResult) -> usize {
    usize::try_from(done.rows_affected()).unwrap_or(usize::MAX)
}

/// Messages stay, but a replay no longer reaches them. Raises the floors of their chats, from
/// where the last pruning stopped, and answers how many messages it passed.
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

/// Erases the texts of deleted chats, one batch in a transaction of its own. Nobody can read them
/// before that either. Answers how many; a chat that is done counts as one, and 0 means that none
/// is left.
async fn erase_deleted_chats(database: &Database, limit: i64) -> Result<usize, Fault> {
    let mut transaction = database.begin().await?;
    let chat: Option<ChatId> =
        sqlx::query_scalar("select id from chats where deleted_at is not null and not erased order by id limit 1")
            .fetch_optional(&mut *transaction)
            .await?;
    let Some(chat) = chat else { return Ok(0) };
    let batch: Vec<i64> = sqlx::query_scalar(
        "select id from (
             select id, seq, sum(length(text)) over (order by seq) - length(text) as before
             from (
                 select id, seq, text from messages where chat_id = $1 and deleted_at is null order by seq limit $2
             )
         ) where before < $3 order by seq",
    )
    .bind(chat)
    .bind(limit)
    .bind(ERASED_CHARACTERS)
    .fetch_all(&mut *transaction)
    .await?;
    let erased = json(&batch)?;
    // Of a user so many may be there that they are taken in batches. The messages stay until
    // none is left.
    let gone = sqlx::query(
        "delete from mentions where (user_id, chat_id, seq, message_id) in (
             select n.user_id, n.chat_id, n.seq, n.message_id
             from (
                 select distinct u.value as id
                 from json_each($1) e join messages x on x.id = e.value, json_each(x.mentions) u
             ) u cross join mentions n on n.user_id = u.id and n.chat_id = $2
             limit $3
         )",
    )
    .bind(&erased)
    .bind(chat)
    .bind(limit)
    .execute(&mut *transaction)
    .await?
    .rows_affected();
    let gone = usize::try_from(gone).unwrap_or(usize::MAX);
    if i64::try_from(gone).is_ok_and(|gone| gone >= limit) {
        return commit(transaction, gone).await;
    }
    sqlx::query("delete from reactions where message_id in (select value from json_each($1))")
        .bind(&erased)
        .execute(&mut *transaction)
        .await?;
    sqlx::query(
        "update messages set text = '', text_digest = null, reactions = null, mentions = null, deleted_at = $2
         where id in (select value from json_each($1))",
    )
    .bind(&erased)
    .bind(database.now())
    .execute(&mut *transaction)
    .await?;
    if batch.is_empty() {
        for hung in ["delete from pins where chat_id = $1", "delete from invites where chat_id = $1"] {
            sqlx::query(hung).bind(chat).execute(&mut *transaction).await?;
        }
        sqlx::query("update chats set erased = 1, name = '', description = null where id = $1")
            .bind(chat)
            .execute(&mut *transaction)
            .await?;
    }
    commit(transaction, batch.len().max(1)).await
}
