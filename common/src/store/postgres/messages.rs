//! Messages: sent in batches by one round trip, read by pages, edited, deleted.

use super::PostgresStore;
use super::lock::{lock, record, tell};
use super::pool::Pool;
use crate::error::{Error, Result};
use crate::event::EventBody;
use crate::id::{ChatId, MessageId, Seq, UserId};
use crate::model::{HistoryPage, Message, Role};
use crate::store::change::{Change, may_read};
use crate::store::cursor::{HistoryBound, one_more};
use crate::store::fault::Fault;
use crate::store::row::{HistoryRow, MessageRow, Time, digest};
use crate::store::send::{self, Outcome, Stored};
use crate::store::{Committed, HistoryFrom, Messages, NewMessage, OutboxId, SentBatch};
use async_trait::async_trait;
use sqlx::{FromRow, PgConnection};
use std::sync::Arc;

#[async_trait]
impl Messages for PostgresStore {
    async fn send(&self, batch: Vec<NewMessage>) -> Result<SentBatch> {
        self.run(|| send(&self.pool, &batch)).await
    }

    async fn history(&self, chat: ChatId, by: UserId, from: HistoryFrom, limit: usize) -> Result<HistoryPage> {
        self.run(|| history(&self.pool, chat, by, &from, limit)).await
    }

    async fn edit(&self, message: MessageId, by: UserId, text: String) -> Result<(Message, Committed)> {
        self.run(|| edit(&self.pool, message, by, &text)).await
    }

    async fn delete(&self, message: MessageId, by: UserId) -> Result<Committed> {
        self.run(|| delete(&self.pool, message, by)).await
    }
}

/// A row of `messenger_send_v1`.
#[derive(FromRow)]
struct SentRow {
    outcome: i32,
    message_id: Option<MessageId>,
    seq: Option<Seq>,
    created_at: Time,
    text: Option<String>,
    edited_at: Option<Time>,
    is_deleted: bool,
    reply_to_id: Option<MessageId>,
    pair_low: Option<UserId>,
    pair_high: Option<UserId>,
    outbox_id: Option<i64>,
}

pub(super) async fn send(pool: &Arc<Pool>, batch: &[NewMessage]) -> Result<SentBatch, Fault> {
    let (mut chats, mut authors, mut texts) = (Vec::new(), Vec::new(), Vec::new());
    let (mut clients, mut digests, mut replies) = (Vec::new(), Vec::new(), Vec::new());
    let refused: Vec<Option<Error>> = batch.iter().map(send::refuse).collect();
    for (entry, _) in batch.iter().zip(&refused).filter(|(_, refused)| refused.is_none()) {
        chats.push(entry.chat_id.0);
        authors.push(entry.author_id.0);
        texts.push(entry.text.as_str());
        clients.push(entry.client_message_id.as_deref());
        digests.push(entry.client_message_id.as_ref().map(|_| digest(&entry.text)));
        replies.push(entry.reply_to_id.map(|id| id.0));
    }
    let mut rows = Vec::new();
    if !chats.is_empty() {
        let mut lease = pool.lease().await?;
        let sent: Result<Vec<SentRow>, _> = sqlx::query_as(
            "select outcome, message_id, seq, created_at, text, edited_at, is_deleted, reply_to_id, pair_low, pair_high,
                    outbox_id
             from messenger_send_v1($1, $2, $3, $4, $5, $6)",
        )
        .bind(chats)
        .bind(authors)
        .bind(texts)
        .bind(clients)
        .bind(digests)
        .bind(replies)
        .fetch_all(lease.connection())
        .await;
        rows = lease.end_written(sent)?;
    }
    let outbox = rows.first().and_then(|row| row.outbox_id).map(OutboxId);
    let mut rows = rows.into_iter();
    let mut outcomes = Vec::with_capacity(batch.len());
    for (entry, refused) in batch.iter().zip(refused) {
        outcomes.push(match refused {
            Some(error) => Outcome::Refused(error),
            None => {
                rows.next().and_then(|row| outcome(entry, row)).ok_or_else(|| Error::internal("a send told nothing"))?
            }
        });
    }
    Ok(send::batch(batch, outcomes, outbox))
}

/// Reads the function's code; `None` where it does not keep its word.
fn outcome(entry: &NewMessage, row: SentRow) -> Option<Outcome> {
    Some(match row.outcome {
        0 => Outcome::Stored(
            Stored { id: row.message_id?, seq: row.seq?, at: row.created_at.0 },
            row.pair_low.zip(row.pair_high).map(|(low, high)| [low, high]),
        ),
        1 => Outcome::Refused(Error::ChatNotFound),
        2 => Outcome::Refused(Error::NotAMember),
        3 => Outcome::Refused(Error::ClientMessageIdReused),
        4 => Outcome::Refused(send::bad_reply()),
        5 => Outcome::Retry(Box::new(Message {
            id: row.message_id?,
            chat_id: entry.chat_id,
            author_id: entry.author_id,
            author_username: entry.author_username.clone(),
            text: row.text?,
            created_at: row.created_at.0,
            is_edited: row.edited_at.is_some(),
            edited_at: row.edited_at.map(|at| at.0),
            is_deleted: row.is_deleted,
            seq: row.seq?,
            client_message_id: entry.client_message_id.clone(),
            reply_to_id: row.reply_to_id,
        })),
        _ => return None,
    })
}

macro_rules! history {
    ($compare:literal, $order:literal) => {
        concat!(
            "select c.is_group, c.seq as head, me.user_id is not null as is_member, origin.seq as from_seq, page.*
             from chats c
             left join members me on me.chat_id = c.id and me.user_id = $2
             left join lateral (select o.seq from messages o where o.id = $3 and o.chat_id + 0 = c.id) origin on true
             left join lateral (
                 select x.id as m_id, x.author_id as m_author_id, a.username as m_author_username, x.text as m_text,
                        x.created_at as m_created_at, x.edited_at as m_edited_at, false as m_is_deleted, x.seq as m_seq,
                        x.client_message_id as m_client_message_id, x.reply_to_id as m_reply_to_id
                 from messages x join users a on a.id = x.author_id
                 where x.chat_id = c.id and x.deleted_at is null and x.seq ",
            $compare,
            " coalesce(origin.seq, $4)
                 order by x.seq ",
            $order,
            " limit $5
             ) page on me.user_id is not null
             where c.id = $1 and c.deleted_at is null
             order by page.m_seq ",
            $order
        )
    };
}

pub(super) async fn history(
    pool: &Arc<Pool>,
    chat: ChatId,
    by: UserId,
    from: &HistoryFrom,
    limit: usize,
) -> Result<HistoryPage, Fault> {
    let bound = HistoryBound::new(from)?;
    let mut lease = pool.lease().await?;
    let rows: Result<Vec<HistoryRow>, _> =
        sqlx::query_as(if bound.newer { history!(">", "asc") } else { history!("<", "desc") })
            .bind(chat)
            .bind(by)
            .bind(bound.message)
            .bind(bound.seq)
            .bind(one_more(limit))
            .fetch_all(lease.connection())
            .await;
    let rows = lease.end(rows)?;
    let first = rows.first().ok_or(Error::ChatNotFound)?;
    may_read(first.is_group, first.is_member)?;
    if bound.message.is_some() && first.from_seq.is_none() {
        return Err(bound.unknown().into());
    }
    let head = first.head;
    let found = rows.into_iter().filter_map(|row| row.message.into_message(chat)).collect();
    Ok(bound.page(found, limit, head))
}

pub(super) async fn edit(
    pool: &Arc<Pool>,
    message: MessageId,
    by: UserId,
    text: &str,
) -> Result<(Message, Committed), Fault> {
    if text.contains('\0') {
        return Err(Error::invalid("text", "must not contain a NUL character").into());
    }
    let mut lease = pool.begin().await?;
    let edited = rewrite(lease.connection(), message, by, text).await;
    lease.end_transaction(edited).await
}

async fn rewrite(
    connection: &mut PgConnection,
    id: MessageId,
    by: UserId,
    text: &str,
) -> Result<(Message, Committed), Fault> {
    let (mut change, mut row) = lock_message(connection, id, by).await?;
    change.require_author(&row, by)?;
    if row.text == text {
        return Ok((row.into(), Committed::default()));
    }
    sqlx::query("update messages set text = $2, edited_at = $3 where id = $1")
        .bind(id)
        .bind(text)
        .bind(change.at.0)
        .execute(&mut *connection)
        .await?;
    text.clone_into(&mut row.text);
    row.edited_at = Some(change.at);
    let message = Message::from(row);
    change.push(EventBody::MessageEdited { message: message.clone() });
    record(connection, &change).await?;
    Ok((message, tell(connection, change).await?))
}

/// Locks the message's chat, then reads the message. `MessageNotFound` also for who may not see it.
async fn lock_message(connection: &mut PgConnection, id: MessageId, by: UserId) -> Result<(Change, MessageRow), Fault> {
    let chat: Option<ChatId> = sqlx::query_scalar("select chat_id from messages where id = $1 and deleted_at is null")
        .bind(id)
        .fetch_optional(&mut *connection)
        .await?;
    let chat = chat.ok_or(Error::MessageNotFound)?;
    let change = lock(connection, chat, by).await.map_err(|fault| match fault {
        Fault::Rule(Error::ChatNotFound) => Error::MessageNotFound.into(),
        other => other,
    })?;
    let row: Option<MessageRow> = sqlx::query_as(
        "select x.id, x.chat_id, x.author_id, a.username as author_username, x.text, x.created_at, x.edited_at, x.seq,
                x.client_message_id, x.reply_to_id
         from messages x join users a on a.id = x.author_id
         where x.id = $1 and x.deleted_at is null",
    )
    .bind(id)
    .fetch_optional(connection)
    .await?;
    Ok((change, row.ok_or(Error::MessageNotFound)?))
}

pub(super) async fn delete(pool: &Arc<Pool>, message: MessageId, by: UserId) -> Result<Committed, Fault> {
    let mut lease = pool.begin().await?;
    let deleted = erase(lease.connection(), message, by).await;
    lease.end_transaction(deleted).await
}

async fn erase(connection: &mut PgConnection, id: MessageId, by: UserId) -> Result<Committed, Fault> {
    let (mut change, row) = lock_message(connection, id, by).await?;
    if !(change.chat.is_group && change.role == Some(Role::Owner)) {
        change.require_author(&row, by)?;
    }
    sqlx::query("update messages set text = '', text_digest = null, deleted_at = $2 where id = $1")
        .bind(id)
        .bind(change.at.0)
        .execute(&mut *connection)
        .await?;
    change.push(EventBody::MessageDeleted { message_id: id });
    record(connection, &change).await?;
    tell(connection, change).await
}
