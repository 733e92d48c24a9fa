//! A chat in the writer's transaction: read, changed, written.

use super::{Database, json};
use crate::error::Error;
use crate::id::{ChatId, UserId};
use crate::model::Chat;
use crate::store::change::Change;
use crate::store::fault::Fault;
use crate::store::row::{ChatRow, MemberRow, ViewRow, role};
use crate::store::{Committed, OutboxId};
use sqlx::SqliteConnection;

/// Reads the chat and who acts. The writer's transaction is the lock.
pub(super) async fn lock(
    database: &Database,
    connection: &mut SqliteConnection,
    chat: ChatId,
    by: UserId,
) -> Result<Change, Fault> {
    let row: Option<ChatRow> = sqlx::query_as(
        "select id, is_group, name, description, created_at, seq, member_count, deleted_at is not null as is_deleted
         from chats where id = $1",
    )
    .bind(chat)
    .fetch_optional(&mut *connection)
    .await?;
    let number: Option<i16> = sqlx::query_scalar("select role from members where chat_id = $1 and user_id = $2")
        .bind(chat)
        .bind(by)
        .fetch_optional(connection)
        .await?;
    Ok(Change::new(row, number.map(role), database.now())?)
}

/// Writes the chat's row and the change's events.
pub(super) async fn record(connection: &mut SqliteConnection, change: &Change) -> Result<(), Fault> {
    let chat = &change.chat;
    for event in change.columns() {
        sqlx::query(
            "insert into events (chat_id, seq, kind, message_id, user_id, role, created_at)
             values ($1, $2, $3, $4, $5, $6, $7)",
        )
        .bind(chat.id)
        .bind(event.seq)
        .bind(event.kind)
        .bind(event.message_id)
        .bind(event.user_id)
        .bind(event.role)
        .bind(change.at)
        .execute(&mut *connection)
        .await?;
    }
    sqlx::query(
        "update chats set seq = $2, name = $3, description = $4, member_count = $5,
             deleted_at = case when $6 then coalesce(deleted_at, $7) end
         where id = $1",
    )
    .bind(chat.id)
    .bind(chat.seq)
    .bind(&chat.name)
    .bind(&chat.description)
    .bind(chat.member_count)
    .bind(chat.is_deleted)
    .bind(change.at)
    .execute(connection)
    .await?;
    Ok(())
}

/// Leaves the outbox entry of a change that was recorded, and says what is to be told once it is committed.
pub(super) async fn tell(connection: &mut SqliteConnection, change: Change) -> Result<Committed, Fault> {
    if change.is_empty() {
        return Ok(change.into_committed(None));
    }
    let payload = serde_json::to_string(&change.payload()).map_err(Error::internal)?;
    let id: i64 = sqlx::query_scalar("insert into outbox (created_at, size, payload) values ($1, $2, $3) returning id")
        .bind(change.at)
        .bind(change.size())
        .bind(payload)
        .fetch_one(connection)
        .await?;
    Ok(change.into_committed(Some(OutboxId(id))))
}

/// A member of the chat, with the name.
pub(super) async fn member(
    connection: &mut SqliteConnection,
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
    connection: &mut SqliteConnection,
    change: &Change,
    newcomers: &[(MemberRow, i64)],
) -> Result<(), sqlx::Error> {
    for (member, seq) in newcomers {
        sqlx::query("insert into members (chat_id, user_id, role, joined_at, read_seq) values ($1, $2, $3, $4, $5)")
            .bind(change.chat.id)
            .bind(member.user_id)
            .bind(member.role)
            .bind(change.at)
            .bind(seq)
            .execute(&mut *connection)
            .await?;
    }
    Ok(())
}

// A message's columns beside another row's, and the newest message of a chat `c` that a member `m` sees.
macro_rules! message_columns {
    () => {
        "x.id as m_id, x.author_id as m_author_id, a.username as m_author_username, x.text as m_text,
         x.created_at as m_created_at, x.edited_at as m_edited_at, x.deleted_at is not null as m_is_deleted, x.seq as m_seq,
         x.client_message_id as m_client_message_id, x.reply_to_id as m_reply_to_id"
    };
}
pub(super) use message_columns;

/// Chats as these users see them, of those that exist for them; one row a pair.
pub(super) async fn views(
    connection: &mut SqliteConnection,
    pairs: &[(ChatId, UserId)],
) -> Result<Vec<(UserId, Chat)>, Fault> {
    let rows: Vec<ViewRow> = sqlx::query_as(concat!(
        "select asked.user_id as viewer_id, c.id, c.is_group, c.name, c.description, c.created_at, c.active_at, c.seq,
                c.member_count, m.role, p.id as peer_id, p.username as peer_username,
                case when m.user_id is not null then (
                    select count(*) from (
                        select 1 from messages y
                        where y.chat_id = c.id and y.seq > m.read_seq and y.author_id <> asked.user_id
                          and y.deleted_at is null
                        limit 1000
                    )
                ) end as unread_count, ",
        message_columns!(),
        " from (select value ->> 0 as chat_id, value ->> 1 as user_id from json_each($1)) asked
         join chats c on c.id = asked.chat_id and c.deleted_at is null
         left join members m on m.chat_id = c.id and m.user_id = asked.user_id
         left join users p on p.id = case when c.pair_low = asked.user_id then c.pair_high else c.pair_low end
         left join messages x on m.user_id is not null and x.id = (
             select y.id from messages y where y.chat_id = c.id and y.deleted_at is null order by y.seq desc limit 1
         )
         left join users a on a.id = x.author_id
         where c.is_group or m.user_id is not null"
    ))
    .bind(json(&pairs)?)
    .fetch_all(connection)
    .await?;
    Ok(rows.into_iter().map(|row| (row.viewer_id, row.into())).collect())
}

/// A chat as that user sees it.
pub(super) async fn view(connection: &mut SqliteConnection, chat: ChatId, user: UserId) -> Result<Option<Chat>, Fault> {
    Ok(views(connection, &[(chat, user)]).await?.pop().map(|(_, chat)| chat))
}
