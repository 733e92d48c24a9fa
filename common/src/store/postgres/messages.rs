//! Messages: sent in batches by one round trip, read by pages; their changes.

use super::PostgresStore;
use super::seen::seen_columns;
use crate::error::{Error, Result};
use crate::id::{ChatId, MessageId, Seq, UserId};
use crate::model::{HistoryPage, Message};
use crate::store::changes::messages as changes;
use crate::store::chats::may_read;
use crate::store::cursor::{HistoryBound, one_more};
use crate::store::messages::{HistoryRow, OneMessage, one_message, read_reactions, read_users, stored_users};
use crate::store::send::{self, Outcome, Stored, digest};
use crate::store::stored_time::Time;
use crate::store::{Committed, HistoryFrom, Mention, Messages, NewMessage, OutboxId, SentBatch};
use crate::words;
use async_trait::async_trait;
use sqlx::FromRow;

macro_rules! history {
    ($compare:literal, $order:literal) => {
        concat!(
            "select c.is_group and c.is_public as is_open, c.seq as head, me.user_id is not null as is_member, origin.seq as from_seq, page.*
             from chats c
             left join members me on me.chat_id = c.id and me.user_id = $2
             left join lateral (select o.seq from messages o where o.id = $3 and o.chat_id + 0 = c.id) origin on true
             left join lateral (
                 select ",
            seen_columns!("$2"),
            "    from messages x join users a on a.id = x.author_id
                 where x.chat_id = c.id and x.deleted_at is null and x.seq + 0 > 0 and x.seq ",
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

macro_rules! send_by {
    ($function:literal) => {
        concat!(
            "select outcome, message_id, seq, created_at, text, edited_at, is_deleted, reply_to_id, pair_low,
                    pair_high, outbox_id, display_name, reactions, mentions, mine
             from ",
            $function,
            "($1, $2, $3, $4, $5, $6, $7, $8, $9)"
        )
    };
}

#[async_trait]
impl Messages for PostgresStore {
    async fn send(&self, batch: Vec<NewMessage>) -> Result<SentBatch> {
        self.run(|| async {
            let refused: Vec<Option<Error>> = batch.iter().map(send::refuse).collect();
            let accepted = batch.iter().zip(&refused).filter(|(_, refused)| refused.is_none()).map(|(entry, _)| entry);
            let (mut chats, mut authors, mut texts) = (Vec::new(), Vec::new(), Vec::new());
            let (mut clients, mut digests, mut replies) = (Vec::new(), Vec::new(), Vec::new());
            let (mut mentions, mut notified, mut worded) = (Vec::new(), Vec::new(), Vec::new());
            for entry in accepted {
                chats.push(entry.chat_id.0);
                authors.push(entry.author_id.0);
                texts.push(entry.text.as_str());
                worded.push(entry.words.vector());
                clients.push(entry.client_message_id.as_deref());
                digests.push(entry.client_message_id.as_ref().map(|_| digest(&entry.text)));
                replies.push(entry.reply_to_id.map(|id| id.0));
                let members = send::mentioned(&entry.mentions);
                notified.push(stored_users(&send::notified(&entry.mentions, entry.author_id, &members)));
                mentions.push(stored_users(&members));
            }
            let mut rows = Vec::new();
            if !chats.is_empty() {
                let mut lease = self.pool.lease().await?;
                let statement = if chats.len() <= self.few {
                    send_by!("messenger_send_few_v3")
                } else {
                    send_by!("messenger_send_v3")
                };
                let sent: Result<Vec<SentRow>, _> = sqlx::query_as(statement)
                    .bind(chats)
                    .bind(authors)
                    .bind(texts)
                    .bind(clients)
                    .bind(digests)
                    .bind(replies)
                    .bind(mentions)
                    .bind(notified)
                    .bind(worded)
                    .fetch_all(lease.connection())
                    .await;
                rows = lease.end_written(sent).await?;
                self.wrote_words(batch.iter().map(|entry| entry.words.count()).sum());
            }
            let outbox = rows.iter().find_map(|row| row.outbox_id).map(OutboxId);
            let mut rows = rows.into_iter();
            let mut outcomes = Vec::with_capacity(batch.len());
            for (entry, refused) in batch.iter().zip(refused) {
                outcomes.push(match refused {
                    Some(error) => Outcome::Refused(error),
                    None => rows
                        .next()
                        .and_then(|row| outcome(entry, row))
                        .ok_or_else(|| Error::internal("the send function left out a message"))?,
                });
            }
            Ok(send::batch(&batch, outcomes, outbox))
        })
        .await
    }

    async fn history(&self, chat: ChatId, by: UserId, from: HistoryFrom, limit: usize) -> Result<HistoryPage> {
        let bound = HistoryBound::new(&from)?;
        let rows: Vec<HistoryRow> = self
            .listed(|| {
                sqlx::query_as(if bound.newer { history!(">", "asc") } else { history!("<", "desc") })
                    .bind(chat)
                    .bind(by)
                    .bind(bound.message)
                    .bind(bound.seq)
                    .bind(one_more(limit))
            })
            .await?;
        let first = rows.first().ok_or(Error::ChatNotFound)?;
        may_read(first.is_open, first.is_member)?;
        if bound.message.is_some() && first.from_seq.is_none() {
            return Err(bound.unknown());
        }
        let head = first.head;
        let found = rows.into_iter().filter_map(|row| row.message.into_message(chat)).collect();
        Ok(bound.page(found, limit, head))
    }

    async fn message(&self, message: MessageId, by: UserId) -> Result<Message> {
        OneMessage::found(self.row(|| sqlx::query_as(one_message!(seen_columns!("$2"))).bind(message).bind(by)).await?)
    }

    async fn edit(
        &self,
        message: MessageId,
        by: UserId,
        text: String,
        mentions: Vec<Mention>,
    ) -> Result<(Message, Committed)> {
        let edited = self.change(|tx| Box::pin(changes::edit(tx, message, by, &text, &mentions))).await?;
        self.wrote_words(words::count(&text));
        Ok(edited)
    }

    async fn chat_of(&self, message: MessageId) -> Result<Option<ChatId>> {
        let found: Option<(ChatId,)> = self
            .row(|| sqlx::query_as("select chat_id from messages where id = $1 and deleted_at is null").bind(message))
            .await?;
        Ok(found.map(|(chat,)| chat))
    }

    async fn delete(&self, message: MessageId, by: UserId) -> Result<Committed> {
        self.change(|tx| Box::pin(changes::delete(tx, message, by))).await
    }
}

/// A row of `messenger_send_v3` and `messenger_send_few_v3`.
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
    display_name: Option<String>,
    reactions: Option<String>,
    mentions: Option<String>,
    mine: Option<String>,
}

/// Reads the function's code. `None`: the row does not fit its code.
fn outcome(entry: &NewMessage, row: SentRow) -> Option<Outcome> {
    Some(match row.outcome {
        0 => Outcome::Stored(
            Stored {
                id: row.message_id?,
                seq: row.seq?,
                at: row.created_at.0,
                mentions: read_users(row.mentions.as_deref()),
                display_name: row.display_name,
            },
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
            author_display_name: row.display_name,
            text: row.text?,
            created_at: row.created_at.0,
            is_edited: row.edited_at.is_some(),
            edited_at: row.edited_at.map(|at| at.0),
            is_deleted: row.is_deleted,
            seq: row.seq?,
            client_message_id: entry.client_message_id.clone(),
            reply_to_id: row.reply_to_id,
            reactions: read_reactions(row.reactions.as_deref(), row.mine.as_deref().or(Some("[]"))),
            mentions: read_users(row.mentions.as_deref()),
        })),
        6 => Outcome::Refused(Error::Blocked),
        _ => return None,
    })
}
