//! Search: the words of messages, and who finds them.

use super::SqliteStore;
use super::database::{commit, json};
use super::seen::seen_columns;
use crate::error::Result;
use crate::id::{ChatId, MessageId, UserId};
use crate::model::{Message, Page};
use crate::store::search::{FoundRow, Wordless};
use crate::store::{PageRequest, Search, SearchFor, cursor};
use crate::words;
use async_trait::async_trait;
use sqlx::SqliteConnection;
use std::time::Duration;

/// Up to so many chats are part of the question to the index. The messages of more are a good part
/// of all, and are told apart one by one.
const CHATS_ASKED: usize = 200;

#[async_trait]
impl Search for SqliteStore {
    async fn search(&self, by: UserId, wanted: &SearchFor, page: &PageRequest) -> Result<Page<Message>> {
        let before = cursor::found(page.cursor.as_deref())?;
        let chats = sqlx::query_as(
            "select m.chat_id from members m join chats c on c.id = m.chat_id and c.deleted_at is null
             where m.user_id = $1 and ($2 is null or m.chat_id = $2) limit $3",
        );
        // One more shows whether there are too many; a user may be in any number.
        let chats: Vec<(ChatId,)> =
            self.rows(chats.bind(by).bind(wanted.chat).bind(cursor::one_more(CHATS_ASKED))).await?;
        if chats.is_empty() {
            return Ok(Page { items: Vec::new(), next_cursor: None });
        }
        let mut asked = wanted.query.fts5("words");
        if chats.len() <= CHATS_ASKED {
            let chats: Vec<_> = chats.iter().map(|(chat,)| format!("c{chat}")).collect();
            asked = format!("{asked} AND chat : ({})", chats.join(" OR "));
        }
        let statement = sqlx::query_as(concat!(
            "select x.chat_id, ",
            seen_columns!("$1"),
            " from message_words w
             cross join messages x on x.id = w.rowid and x.deleted_at is null
             cross join members me on me.chat_id = x.chat_id and me.user_id = $1
             cross join chats c on c.id = x.chat_id and c.deleted_at is null
             cross join users a on a.id = x.author_id
             where w.message_words match $2 and w.rowid < $3
               and ($4 is null or x.chat_id = $4) and ($5 is null or x.author_id = $5)
             order by w.rowid desc limit $6"
        ));
        let statement = statement.bind(by).bind(asked).bind(before).bind(wanted.chat).bind(wanted.author);
        Ok(FoundRow::page(self.rows(statement.bind(cursor::one_more(page.limit))).await?, page.limit))
    }

    async fn fill_words(&self, limit: usize) -> Result<usize> {
        let found = sqlx::query_as(
            "select id, chat_id, text from messages where worded is null and deleted_at is null
             order by id desc limit $1",
        );
        let found: Vec<Wordless> = self.rows(found.bind(i64::try_from(limit).unwrap_or(i64::MAX))).await?;
        if found.is_empty() {
            return Ok(0);
        }
        self.run(async {
            let mut transaction = self.database.begin().await?;
            // A text that changed meanwhile is not this one.
            let same = sqlx::query_scalar(
                "select m.id from json_each($1) j join messages m on m.id = j.value ->> 0
                 where m.worded is null and m.deleted_at is null and m.text = j.value ->> 1",
            );
            let pairs: Vec<_> = found.iter().map(|one| (one.id, &one.text)).collect();
            let same: Vec<MessageId> = same.bind(json(&pairs)?).fetch_all(&mut *transaction).await?;
            for one in found.iter().filter(|one| same.contains(&one.id)) {
                keep_missing_words(&mut transaction, one.id, one.chat_id, &one.text).await?;
            }
            commit(transaction, found.len()).await
        })
        .await
    }

    /// Its index merges by itself, a little with each write.
    async fn words_written(&self) {
        std::future::pending::<()>().await;
    }

    async fn merge_words(&self, _written: Duration) -> Result<bool> {
        Ok(false)
    }
}

/// Keeps the words of a message that is stored as one that has them.
pub(super) async fn keep_words(
    connection: &mut SqliteConnection,
    message: MessageId,
    chat: ChatId,
    text: &str,
) -> Result<(), sqlx::Error> {
    sqlx::query("insert into message_words (rowid, words, chat) values ($1, $2, $3)")
        .bind(message)
        .bind(words::line(text))
        .bind(format!("c{chat}"))
        .execute(connection)
        .await
        .map(drop)
}

/// Keeps the words of a text that is stored since longer.
pub(super) async fn keep_missing_words(
    connection: &mut SqliteConnection,
    message: MessageId,
    chat: ChatId,
    text: &str,
) -> Result<(), sqlx::Error> {
    keep_words(connection, message, chat, text).await?;
    let kept = sqlx::query("update messages set worded = 1 where id = $1");
    kept.bind(message).execute(connection).await.map(drop)
}
