//! Pruning: the log beyond its retention, the texts of deleted chats, sessions long over, old
//! idempotency keys, expired invitations, old networks.
//!
//! Each statement is a transaction of its own, or few are, and they hold their locks for
//! milliseconds. One statement hands its rows to the next as arrays. A join instead would be
//! planned for a tenth of the table, the planner's guess for an unknown limit.

use super::connection::ServerConnection;
use super::pool::Pool;
use crate::id::ChatId;
use crate::store::accounts::{NETWORK_KEPT, REGISTRATION_REPEATED_WITHIN};
use crate::store::fault::Fault;
use crate::store::idempotency::KEY_KEPT;
use crate::store::messages::read_users;
use sqlx::postgres::PgQueryResult;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

pub(super) async fn prune(pool: &Arc<Pool>, older_than: Duration, limit: usize) -> Result<usize, Fault> {
    let limit = i64::try_from(limit).unwrap_or(i64::MAX);
    let mut lease = pool.lease().await?;
    let connection = lease.connection();
    let pruned = async {
        let removed = remove_events(connection, older_than, limit).await?;
        connection.step().await?;
        let mut done = removed + pass_messages(connection, older_than, limit - removed).await?;
        connection.step().await?;
        done += forget_names(connection, limit).await?;
        connection.step().await?;
        done += forget_sessions(connection, limit).await?;
        connection.step().await?;
        done += forget_keys(connection, limit).await?;
        connection.step().await?;
        done += forget_invites(connection, limit).await?;
        connection.step().await?;
        done += forget_networks(connection, limit).await?;
        connection.step().await?;
        done += erase_deleted_chats(connection, limit).await?;
        Ok(usize::try_from(done).unwrap_or_default())
    }
    .await;
    lease.end(pruned).await
}

/// Raises the floors to these numbers, so that no reader waits for an entry that is gone. Skips
/// chats that a writer has locked; the next pruning finds them.
async fn raise_floors(connection: &mut ServerConnection, tops: &BTreeMap<i64, i64>) -> Result<(), sqlx::Error> {
    if tops.is_empty() {
        return Ok(());
    }
    let (chats, seqs): (Vec<i64>, Vec<i64>) = tops.iter().unzip();
    sqlx::query(
        "with free as materialized (
             select id from chats where id = any ($1) order by id for no key update skip locked
         )
         update chats c set floor = t.top
         from unnest($1::bigint[], $2::bigint[]) as t (id, top) join free using (id)
         where c.id = t.id and c.floor < t.top",
    )
    .bind(chats)
    .bind(seqs)
    .execute(&mut *connection)
    .await?;
    // The chats are free again.
    connection.step().await
}

/// Raises the floors, then deletes the entries below them without a lock on any chat. Answers how
/// many.
async fn remove_events(
    connection: &mut ServerConnection,
    older_than: Duration,
    limit: i64,
) -> Result<i64, sqlx::Error> {
    let old: Vec<(i64, i64)> = sqlx::query_as(
        "select chat_id, seq from events
         where created_at < clock_timestamp() - make_interval(secs => $1) order by created_at limit $2",
    )
    .bind(older_than.as_secs_f64())
    .bind(limit)
    .fetch_all(&mut *connection)
    .await?;
    if old.is_empty() {
        return Ok(0);
    }
    let mut tops = BTreeMap::new();
    for (chat, seq) in &old {
        let top = tops.entry(*chat).or_insert(*seq);
        *top = (*top).max(*seq);
    }
    raise_floors(connection, &tops).await?;
    let (chats, seqs): (Vec<i64>, Vec<i64>) = old.into_iter().unzip();
    let removed = sqlx::query(
        "delete from events e
         using unnest($1::bigint[], $2::bigint[]) as o (chat_id, seq), chats c
         where e.chat_id = o.chat_id and e.seq = o.seq and c.id = o.chat_id and o.seq <= c.floor",
    )
    .bind(chats)
    .bind(seqs)
    .execute(connection)
    .await?;
    Ok(i64::try_from(removed.rows_affected()).unwrap_or(i64::MAX))
}

/// Messages stay, but a replay no longer reaches them. Raises the floors of their chats, from
/// where the last pruning stopped, and answers how many messages it passed. Two nodes at once do
/// the same work twice.
async fn pass_messages(
    connection: &mut ServerConnection,
    older_than: Duration,
    limit: i64,
) -> Result<i64, sqlx::Error> {
    let next: Vec<(i64, i64, i64, bool)> = sqlx::query_as(
        "select id, chat_id, seq, created_at < clock_timestamp() - make_interval(secs => $1)
         from messages where id > (select message_id from pruned) order by id limit $2",
    )
    .bind(older_than.as_secs_f64())
    .bind(limit.max(0))
    .fetch_all(&mut *connection)
    .await?;
    let mut tops = BTreeMap::new();
    let (mut passed, mut place) = (0, None);
    for (id, chat, seq, _) in next.into_iter().filter(|(.., old)| *old) {
        tops.insert(chat, seq);
        place = Some(id);
        passed += 1;
    }
    if place.is_some() {
        raise_floors(connection, &tops).await?;
        sqlx::query("update pruned set message_id = $1 where message_id < $1").bind(place).execute(connection).await?;
    }
    Ok(passed)
}

/// Erases the texts of deleted chats, one batch. Nobody can read them before that either. Answers
/// how many; a chat that is done counts as one, and 0 means that none is left.
async fn erase_deleted_chats(connection: &mut ServerConnection, limit: i64) -> Result<i64, sqlx::Error> {
    let chat: Option<ChatId> =
        sqlx::query_scalar("select id from chats where deleted_at is not null and not erased order by id limit 1")
            .fetch_optional(&mut *connection)
            .await?;
    let Some(chat) = chat else { return Ok(0) };
    let found: Vec<(i64, bool, Option<String>)> = sqlx::query_as(
        "select id, reactions is not null, mentions from messages
         where chat_id = $1 and deleted_at is null and seq + 0 > 0 order by seq limit $2",
    )
    .bind(chat)
    .bind(limit)
    .fetch_all(&mut *connection)
    .await?;
    let users: BTreeSet<i64> = found.iter().flat_map(|(.., of)| read_users(of.as_deref())).map(|user| user.0).collect();
    let ids: Vec<i64> = found.iter().map(|(id, ..)| *id).collect();
    if found.iter().any(|(_, reactions, _)| *reactions) {
        let gone = sqlx::query("delete from reactions where message_id = any ($1)");
        gone.bind(&ids).execute(&mut *connection).await?;
    }
    if !users.is_empty() {
        // Of a user so many may be there that they are taken in batches. The messages stay until
        // none is left.
        let gone = sqlx::query(
            "delete from mentions where ctid = any (array(
                 select n.ctid from unnest($1::bigint[]) as u (id) cross join lateral (
                     select ctid from mentions where user_id = u.id and chat_id = $2 order by seq limit $3
                 ) n limit $3
             ))",
        );
        let users: Vec<i64> = users.into_iter().collect();
        let gone = gone.bind(users).bind(chat).bind(limit).execute(&mut *connection).await?.rows_affected();
        if i64::try_from(gone).is_ok_and(|gone| gone >= limit) {
            return Ok(limit);
        }
    }
    let erased = sqlx::query(
        "update messages set text = '', text_digest = null, reactions = null, mentions = null,
             deleted_at = clock_timestamp()
         where id = any ($1)",
    )
    .bind(ids)
    .execute(&mut *connection)
    .await?;
    if erased.rows_affected() == 0 {
        for hung in ["delete from pins where chat_id = $1", "delete from invites where chat_id = $1"] {
            sqlx::query(hung).bind(chat).execute(&mut *connection).await?;
        }
        sqlx::query("update chats set erased = true, name = '', description = null where id = $1")
            .bind(chat)
            .execute(connection)
            .await?;
    }
    Ok(i64::try_from(erased.rows_affected()).unwrap_or(i64::MAX).max(1))
}

/// Deletes the names of deleted groups whose texts a node of an earlier release erased: it left
/// them. The index of the migration that came with this holds such groups only.
async fn forget_names(connection: &mut ServerConnection, limit: i64) -> Result<i64, sqlx::Error> {
    sqlx::query(
        "update chats set name = '', description = null where id = any (array(
             select id from chats where erased and (name <> '' or description is not null) order by id limit $1
             for update skip locked
         ))",
    )
    .bind(limit)
    .execute(connection)
    .await
    .map(|done| rows(&done))
}

/// Deletes idempotency keys with their answers.
async fn forget_keys(connection: &mut ServerConnection, limit: i64) -> Result<i64, sqlx::Error> {
    sqlx::query(
        "delete from idempotency_keys where ctid = any (array(
             select ctid from idempotency_keys
             where created_at <= clock_timestamp() - make_interval(secs => $1) order by created_at limit $2
         ))",
    )
    .bind(KEY_KEPT.as_secs_f64())
    .bind(limit)
    .execute(connection)
    .await
    .map(|done| rows(&done))
}

/// Deletes invitations that expired, once no registration by them is repeated any more.
async fn forget_invites(connection: &mut ServerConnection, limit: i64) -> Result<i64, sqlx::Error> {
    sqlx::query(
        "delete from invites where id = any (array(
             select id from invites where expires_at < clock_timestamp() - make_interval(secs => $1)
             order by expires_at limit $2
         ))",
    )
    .bind(REGISTRATION_REPEATED_WITHIN.as_secs_f64())
    .bind(limit)
    .execute(connection)
    .await
    .map(|done| rows(&done))
}

async fn forget_networks(connection: &mut ServerConnection, limit: i64) -> Result<i64, sqlx::Error> {
    sqlx::query(
        "delete from networks where ctid = any (array(
             select ctid from networks
             where seen_at <= clock_timestamp() - make_interval(secs => $1) order by seen_at limit $2
         ))",
    )
    .bind(NETWORK_KEPT.as_secs_f64())
    .bind(limit)
    .execute(connection)
    .await
    .map(|done| rows(&done))
}

/// Deletes sessions that expired more than a day ago. None of their tokens is valid.
async fn forget_sessions(connection: &mut ServerConnection, limit: i64) -> Result<i64, sqlx::Error> {
    sqlx::query(
        "delete from sessions where id = any (array(
             select id from sessions where expires_at < clock_timestamp() - interval '1 day' order by expires_at limit $1
         ))",
    )
    .bind(limit)
    .execute(connection)
    .await
    .map(|done| rows(&done))
}

fn rows(done: &PgQueryResult) -> i64 {
    i64::try_from(done.rows_affected()).unwrap_or(i64::MAX)
}
