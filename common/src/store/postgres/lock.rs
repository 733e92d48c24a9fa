//! A chat under its lock: read, changed, written.

use crate::error::Error;
use crate::id::{ChatId, UserId};
use crate::model::Chat;
use crate::store::change::Change;
use crate::store::fault::Fault;
use crate::store::row::{ChatRow, MemberRow, Time, ViewRow, role};
use crate::store::{Committed, OutboxId};
use sqlx::PgConnection;

/// Locks the chat until the transaction ends, then reads who acts: the second statement sees what was committed before the lock was had.
pub(super) async fn lock(connection: &mut PgConnection, chat: ChatId, by: UserId) -> Result<Change, Fault> {
    let row: Option<ChatRow> = sqlx::query_as(
        "select id, is_group, name, description, created_at, seq, member_count, deleted_at is not null as is_deleted
         from chats where id = $1 for no key update",
    )
    .bind(chat)
    .fetch_optional(&mut *connection)
    .await?;
    let (at, number): (Time, Option<i16>) =
        sqlx::query_as("select clock_timestamp(), (select role from members where chat_id = $1 and user_id = $2)")
            .bind(chat)
            .bind(by)
            .fetch_one(connection)
            .await?;
    Ok(Change::new(row, number.map(role), at)?)
}

/// Writes the chat's row and the change's events.
pub(super) async fn record(connection: &mut PgConnection, change: &Change) -> Result<(), Fault> {
    let chat = &change.chat;
    let (mut seqs, mut kinds, mut messages, mut users, mut roles) = (vec![], vec![], vec![], vec![], vec![]);
    for event in change.columns() {
        seqs.push(event.seq.0);
        kinds.push(event.kind);
        messages.push(event.message_id.map(|id| id.0));
        users.push(event.user_id.map(|id| id.0));
        roles.push(event.role);
    }
    sqlx::query(
        "with logged as (
             insert into events (chat_id, seq, kind, message_id, user_id, role, created_at)
             select $1, e.seq, e.kind, e.message_id, e.user_id, e.role, $7
             from unnest($2::bigint[], $3::smallint[], $4::bigint[], $5::bigint[], $6::smallint[])
                  as e (seq, kind, message_id, user_id, role)
         )
         update chats set seq = $8, name = $9, description = $10, member_count = $11,
             deleted_at = case when $12 then coalesce(deleted_at, $7) end
         where id = $1",
    )
    .bind(chat.id)
    .bind(seqs)
    .bind(kinds)
    .bind(messages)
    .bind(users)
    .bind(roles)
    .bind(change.at.0)
    .bind(chat.seq)
    .bind(&chat.name)
    .bind(&chat.description)
    .bind(chat.member_count)
    .bind(chat.is_deleted)
    .execute(connection)
    .await?;
    Ok(())
}

/// Leaves the outbox entry of a change that was recorded, and says what is to be told once it is committed.
pub(super) async fn tell(connection: &mut PgConnection, change: Change) -> Result<Committed, Fault> {
    if change.is_empty() {
        return Ok(change.into_committed(None));
    }
    let payload = serde_json::to_string(&change.payload()).map_err(Error::internal)?;
    let id: i64 = sqlx::query_scalar("insert into outbox (size, payload) values ($1, $2::json) returning id")
        .bind(change.size())
        .bind(payload)
        .fetch_one(connection)
        .await?;
    Ok(change.into_committed(Some(OutboxId(id))))
}

/// A member of the chat, with the name.
pub(super) async fn member(
    connection: &mut PgConnection,
    chat: ChatId,
    user: UserId,
) -> Result<Option<MemberRow>, sqlx::Error> {
    sqlx::query_as(
        "select m.user_id, u.username, m.role, m.joined_at
         from members m join users u on u.id = m.user_id
         where m.chat_id = $1 and m.user_id = $2",
    )
    .bind(chat)
    .bind(user)
    .fetch_optional(connection)
    .await
}

/// Makes members of them, who have read up to the number that each comes in under.
pub(super) async fn insert_members(
    connection: &mut PgConnection,
    change: &Change,
    newcomers: &[(MemberRow, i64)],
) -> Result<(), sqlx::Error> {
    let users: Vec<i64> = newcomers.iter().map(|(member, _)| member.user_id.0).collect();
    let roles: Vec<i16> = newcomers.iter().map(|(member, _)| member.role).collect();
    let read: Vec<i64> = newcomers.iter().map(|(_, seq)| *seq).collect();
    sqlx::query(
        "insert into members (chat_id, user_id, role, joined_at, read_seq)
         select $1, m.user_id, m.role, $2, m.read_seq
         from unnest($3::bigint[], $4::smallint[], $5::bigint[]) as m (user_id, role, read_seq)",
    )
    .bind(change.chat.id)
    .bind(change.at.0)
    .bind(users)
    .bind(roles)
    .bind(read)
    .execute(connection)
    .await
    .map(drop)
}

/// Chats as these users see them, of those that exist for them; one row a pair.
pub(super) async fn views(
    connection: &mut PgConnection,
    pairs: &[(ChatId, UserId)],
) -> Result<Vec<(UserId, Chat)>, sqlx::Error> {
    let (chats, users): (Vec<i64>, Vec<i64>) = pairs.iter().map(|(chat, user)| (chat.0, user.0)).unzip();
    let rows: Vec<ViewRow> = sqlx::query_as(
        "select asked.user_id as viewer_id, c.id, c.is_group, c.name, c.description, c.created_at, c.active_at, c.seq,
                c.member_count, m.role, p.id as peer_id, p.username as peer_username, unread.count as unread_count, last.*
         from unnest($1::bigint[], $2::bigint[]) as asked (chat_id, user_id)
         join chats c on c.id = asked.chat_id and c.deleted_at is null
         left join members m on m.chat_id = c.id and m.user_id = asked.user_id
         left join users p on p.id = case when c.pair_low = asked.user_id then c.pair_high else c.pair_low end
         left join lateral (
             select x.id as m_id, x.author_id as m_author_id, a.username as m_author_username, x.text as m_text,
                    x.created_at as m_created_at, x.edited_at as m_edited_at, false as m_is_deleted, x.seq as m_seq,
                    x.client_message_id as m_client_message_id, x.reply_to_id as m_reply_to_id
             from messages x join users a on a.id = x.author_id
             where x.chat_id = c.id and x.deleted_at is null
             order by x.seq desc limit 1
         ) last on m.user_id is not null
         left join lateral (
             select count(*) as count from (
                 select from messages x
                 where x.chat_id = c.id and x.seq > m.read_seq and x.author_id <> asked.user_id and x.deleted_at is null
                 limit 1000
             ) counted
         ) unread on m.user_id is not null
         where c.is_group or m.user_id is not null",
    )
    .bind(chats)
    .bind(users)
    .fetch_all(connection)
    .await?;
    Ok(rows.into_iter().map(|row| (row.viewer_id, row.into())).collect())
}

/// A chat as that user sees it.
pub(super) async fn view(
    connection: &mut PgConnection,
    chat: ChatId,
    user: UserId,
) -> Result<Option<Chat>, sqlx::Error> {
    Ok(views(connection, &[(chat, user)]).await?.pop().map(|(_, chat)| chat))
}
