//! Messages: sent in batches by one transaction, read by pages; their changes.

use super::SqliteStore;
use super::database::{commit, json};
use super::marks::{insert_mentions, is_blocked_in};
use super::search::{Said, keep_words};
use super::seen::seen_columns;
use super::transaction::insert_outbox;
use crate::error::{Error, Result};
use crate::id::{ChatId, MessageId, Seq, UserId};
use crate::model::{HistoryPage, Message};
use crate::store::changes::messages as changes;
use crate::store::chats::may_read;
use crate::store::cursor::{HistoryBound, one_more};
use crate::store::fault::Fault;
use crate::store::messages::{HistoryRow, MessageRow, OneMessage, one_message, stored_users};
use crate::store::outbox::OutboxPayload;
use crate::store::send::{self, Outcome, Stored, digest};
use crate::store::stored_time::Time;
use crate::store::{Committed, HistoryFrom, Mention, Messages, NewMessage, SentBatch};
use async_trait::async_trait;
use sqlx::{FromRow, SqliteConnection};
use std::collections::BTreeMap;

macro_rules! history {
    ($compare:literal, $order:literal) => {
        concat!(
            "select c.is_group and c.is_public as is_open, c.seq as head, me.user_id is not null as is_member, origin.seq as from_seq, ",
            seen_columns!("$2"),
            " from chats c
             left join members me on me.chat_id = c.id and me.user_id = $2
             left join messages origin on origin.id = $3 and origin.chat_id = c.id
             left join (
                 select * from messages
                 where chat_id = $1 and deleted_at is null
                   and seq ",
            $compare,
            " coalesce((select o.seq from messages o where o.id = $3 and o.chat_id = $1), $4)
                 order by seq ",
            $order,
            " limit $5
             ) x on me.user_id is not null
             left join users a on a.id = x.author_id
             where c.id = $1 and c.deleted_at is null
             order by x.seq ",
            $order
        )
    };
}

#[async_trait]
impl Messages for SqliteStore {
    async fn send(&self, batch: Vec<NewMessage>) -> Result<SentBatch> {
        self.run(async {
            let mut transaction = self.database.begin().await?;
            let now = self.database.now();
            let mut places: BTreeMap<ChatId, Option<Place>> = BTreeMap::new();
            let mut payload = OutboxPayload::default();
            let mut outcomes = Vec::with_capacity(batch.len());
            let mut said: Vec<Said> = Vec::with_capacity(batch.len());
            for entry in &batch {
                let outcome = send_one(&mut transaction, entry, &mut places, now).await?;
                if let Outcome::Stored(stored, _) = &outcome {
                    said.push((stored.id, entry.chat_id, entry.words.clone()));
                    let notified = send::notified(&entry.mentions, entry.author_id, &stored.mentions);
                    if !notified.is_empty() {
                        payload.mentioned.push((entry.chat_id, stored.seq, notified));
                    }
                    match payload.events.iter_mut().find(|(chat, ..)| *chat == entry.chat_id) {
                        Some((_, _, last)) => *last = stored.seq,
                        None => payload.events.push((entry.chat_id, stored.seq, stored.seq)),
                    }
                }
                outcomes.push(outcome);
            }
            let mut outbox = None;
            if !payload.events.is_empty() {
                keep_words(&mut transaction, &said).await?;
                for (chat, _, last) in &payload.events {
                    sqlx::query("update chats set seq = $2, active_at = $3 where id = $1")
                        .bind(chat)
                        .bind(last)
                        .bind(now)
                        .execute(&mut *transaction)
                        .await?;
                }
                outbox = Some(insert_outbox(&mut transaction, &payload, now).await?);
            }
            commit(transaction, send::batch(&batch, outcomes, outbox)).await
        })
        .await
    }

    async fn history(&self, chat: ChatId, by: UserId, from: HistoryFrom, limit: usize) -> Result<HistoryPage> {
        let bound = HistoryBound::new(&from)?;
        let statement = sqlx::query_as(if bound.newer { history!(">", "asc") } else { history!("<", "desc") });
        let statement = statement.bind(chat).bind(by).bind(bound.message).bind(bound.seq).bind(one_more(limit));
        let rows: Vec<HistoryRow> = self.rows(statement).await?;
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
        OneMessage::found(self.row(sqlx::query_as(one_message!(seen_columns!("$2"))).bind(message).bind(by)).await?)
    }

    async fn edit(
        &self,
        message: MessageId,
        by: UserId,
        text: String,
        mentions: Vec<Mention>,
    ) -> Result<(Message, Committed)> {
        self.change(|tx| Box::pin(changes::edit(tx, message, by, &text, &mentions))).await
    }

    async fn chat_of(&self, message: MessageId) -> Result<Option<ChatId>> {
        let found: Option<(ChatId,)> = self
            .row(sqlx::query_as("select chat_id from messages where id = $1 and deleted_at is null").bind(message))
            .await?;
        Ok(found.map(|(chat,)| chat))
    }

    async fn delete(&self, message: MessageId, by: UserId) -> Result<Committed> {
        self.change(|tx| Box::pin(changes::delete(tx, message, by))).await
    }
}

/// A chat as a batch of sends goes on in it.
#[derive(FromRow)]
struct Place {
    is_open: bool,
    seq: Seq,
    pair_low: Option<UserId>,
    pair_high: Option<UserId>,
}

async fn send_one(
    connection: &mut SqliteConnection,
    entry: &NewMessage,
    places: &mut BTreeMap<ChatId, Option<Place>>,
    now: Time,
) -> Result<Outcome, Fault> {
    if let Some(error) = send::refuse(entry) {
        return Ok(Outcome::Refused(error));
    }
    #[expect(clippy::map_entry, reason = "an entry cannot be held while its value is awaited")]
    if !places.contains_key(&entry.chat_id) {
        places.insert(entry.chat_id, place(connection, entry.chat_id).await?);
    }
    let Some(Some(place)) = places.get_mut(&entry.chat_id) else {
        return Ok(Outcome::Refused(Error::ChatNotFound));
    };
    let member: Option<(Option<String>,)> = sqlx::query_as(
        "select u.display_name from members m join users u on u.id = m.user_id where m.chat_id = $1 and m.user_id = $2",
    )
    .bind(entry.chat_id)
    .bind(entry.author_id)
    .fetch_optional(&mut *connection)
    .await?;
    if let Err(error) = may_read(place.is_open, member.is_some()) {
        return Ok(Outcome::Refused(error));
    }
    if let Some((earlier, text_digest)) = earlier(connection, entry).await? {
        let same = earlier.is_deleted || text_digest == Some(digest(&entry.text));
        return Ok(if same {
            Outcome::Retry(Box::new(earlier))
        } else {
            Outcome::Refused(Error::ClientMessageIdReused)
        });
    }
    if place.pair_low.is_some() && is_blocked_in(connection, entry.chat_id, entry.author_id).await? {
        return Ok(Outcome::Refused(Error::Blocked));
    }
    if !reply_fits(connection, entry).await? {
        return Ok(Outcome::Refused(send::bad_reply()));
    }
    place.seq = place.seq.next();
    let seq = place.seq;
    let mentions = present(connection, entry).await?;
    let id = insert_message(connection, entry, &mentions, seq, now).await?;
    let counted = send::counted(&mentions, entry.author_id);
    if !counted.is_empty() {
        insert_mentions(connection, entry.chat_id, id, seq, &counted).await?;
    }
    let display_name = member.and_then(|(name,)| name);
    Ok(Outcome::Stored(
        Stored { id, seq, at: now.0, mentions, display_name },
        place.pair_low.zip(place.pair_high).map(|(low, high)| [low, high]),
    ))
}

async fn place(connection: &mut SqliteConnection, chat: ChatId) -> Result<Option<Place>, sqlx::Error> {
    sqlx::query_as("select is_group and is_public as is_open, seq, pair_low, pair_high from chats where id = $1 and deleted_at is null")
        .bind(chat)
        .fetch_optional(connection)
        .await
}

/// A message that was sent under the same id before, and the digest of its first text.
async fn earlier(
    connection: &mut SqliteConnection,
    entry: &NewMessage,
) -> Result<Option<(Message, Option<i64>)>, sqlx::Error> {
    #[derive(FromRow)]
    struct Row {
        text_digest: Option<i64>,
        #[sqlx(flatten)]
        message: MessageRow,
    }
    let Some(client_message_id) = &entry.client_message_id else { return Ok(None) };
    let row: Option<Row> = sqlx::query_as(concat!(
        "select x.text_digest, ",
        seen_columns!("$2"),
        " from messages x join users a on a.id = x.author_id
         where x.chat_id = $1 and x.author_id = $2 and x.client_message_id = $3"
    ))
    .bind(entry.chat_id)
    .bind(entry.author_id)
    .bind(client_message_id)
    .fetch_optional(connection)
    .await?;
    Ok(row.and_then(|row| Some((row.message.into_message(entry.chat_id)?, row.text_digest))))
}

async fn reply_fits(connection: &mut SqliteConnection, entry: &NewMessage) -> Result<bool, sqlx::Error> {
    let Some(target) = entry.reply_to_id else { return Ok(true) };
    sqlx::query_scalar("select exists (select 1 from messages where id = $1 and chat_id = $2 and deleted_at is null)")
        .bind(target)
        .bind(entry.chat_id)
        .fetch_one(connection)
        .await
}

/// Those of the mentioned who are members: they were looked up before this transaction.
async fn present(connection: &mut SqliteConnection, entry: &NewMessage) -> Result<Vec<UserId>, Fault> {
    let mut mentions = send::mentioned(&entry.mentions);
    if !mentions.is_empty() {
        let members = sqlx::query_scalar(
            "select user_id from members where chat_id = $1 and user_id in (select value from json_each($2))",
        );
        let members: Vec<UserId> = members.bind(entry.chat_id).bind(json(&mentions)?).fetch_all(connection).await?;
        mentions.retain(|user| members.contains(user));
    }
    Ok(mentions)
}

async fn insert_message(
    connection: &mut SqliteConnection,
    entry: &NewMessage,
    mentions: &[UserId],
    seq: Seq,
    now: Time,
) -> Result<MessageId, sqlx::Error> {
    let id = sqlx::query_scalar(
        "insert into messages (chat_id, seq, author_id, text, created_at, client_message_id, text_digest, reply_to_id,
                               mentions, worded)
         values ($1, $2, $3, $4, $5, $6, $7, $8, $9, 1) returning id",
    )
    .bind(entry.chat_id)
    .bind(seq)
    .bind(entry.author_id)
    .bind(&entry.text)
    .bind(now)
    .bind(&entry.client_message_id)
    .bind(entry.client_message_id.as_ref().map(|_| digest(&entry.text)))
    .bind(entry.reply_to_id)
    .bind(stored_users(mentions))
    .fetch_one(&mut *connection)
    .await?;
    sqlx::query("update members set read_seq = $3 where chat_id = $1 and user_id = $2")
        .bind(entry.chat_id)
        .bind(entry.author_id)
        .bind(seq)
        .execute(connection)
        .await?;
    Ok(id)
}
