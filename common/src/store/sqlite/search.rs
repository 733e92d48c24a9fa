//! Search: the words of messages, and who finds them.

use super::SqliteStore;
use super::database::{commit, json};
use super::seen::seen_columns;
use crate::error::Result;
use crate::id::{ChatId, MessageId, UserId};
use crate::model::{Message, Page};
use crate::store::fault::Fault;
use crate::store::search::{FoundRow, Wordless};
use crate::store::{PageRequest, Search, SearchFor, cursor};
use crate::words::{Fts5Term, Query, Words};
use async_trait::async_trait;
use sqlx::query::QueryAs;
use sqlx::{AssertSqlSafe, SqliteConnection};
use std::time::Duration;

/// Up to so many chats are part of the question to the index. The messages of more are a good part
/// of all, and are told apart one by one.
const CHATS_ASKED: usize = 200;
/// Messages that one page reads.
const READ: i64 = 8_000;
/// Entries of beginnings that one page merges. A small server's core merges ten thousand in a
/// millisecond.
const MERGED: i64 = 100_000;
/// Messages that are looked at to say how frequent a beginning is, and how many of them stand
/// together.
const SAMPLE: i64 = 512;
const TOGETHER: i64 = 8;
/// The parameter of the first line that is compared.
const FIRST_COMPARED: usize = 8;

/// What FTS5 is asked, and what is compared with each line of words that it finds.
#[derive(Debug, Default)]
struct Question {
    asked: Vec<String>,
    compared: Vec<String>,
}

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
        let Question { mut asked, compared } = self.question(&wanted.query).await?;
        if chats.len() <= CHATS_ASKED {
            let chats: Vec<_> = chats.iter().map(|(chat,)| format!("c{chat}")).collect();
            asked.push(format!("chat : ({})", chats.join(" OR ")));
        }
        // FTS5 gives the newest first and no more than are wanted. The last one that a page may
        // read is answered even where it is not found.
        let places = (FIRST_COMPARED..).take(compared.len());
        let statement = format!(
            concat!(
                "with walked as (
                     select f.id, f.words, row_number() over () as n
                     from (
                         select w.rowid as id, w.words from message_words w
                         where {matching} w.rowid < $3 order by w.rowid desc limit $2
                     ) f
                 )
                 select case when w.n = $2 then w.id end as below, w.id, x.chat_id, ",
                seen_columns!("$1"),
                " from walked w
                 left join messages x on x.id = w.id and x.deleted_at is null
                     and ($4 is null or x.chat_id = $4) and ($5 is null or x.author_id = $5) {compared}
                     and exists (
                         select 1 from members me join chats c on c.id = me.chat_id and c.deleted_at is null
                         where me.chat_id = x.chat_id and me.user_id = $1
                     )
                 left join users a on a.id = x.author_id
                 where x.id is not null or w.n = $2
                 limit $6"
            ),
            matching = if asked.is_empty() { "" } else { "w.message_words match $7 and" },
            compared = places.map(|n| format!("and instr(' ' || w.words, ${n}) > 0 ")).collect::<Vec<_>>().concat(),
        );
        let statement = sqlx::query_as(AssertSqlSafe(statement)).bind(by).bind(READ).bind(before);
        let statement = statement.bind(wanted.chat).bind(wanted.author).bind(cursor::one_more(page.limit));
        let statement = statement.bind(asked.join(" AND "));
        let statement = compared.into_iter().fold(statement, QueryAs::bind);
        Ok(FoundRow::page(self.rows(statement).await?, page.limit))
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
            let same = found.iter().filter(|one| same.contains(&one.id));
            let same: Vec<Said> = same.map(|one| (one.id, one.chat_id, Words::of(&one.text))).collect();
            keep_missing_words(&mut transaction, &same).await?;
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

impl SqliteStore {
    /// FTS5 gives the messages of a word newest first, and as few as are wanted. For a beginning it
    /// merges the entries of all words that begin so, wherever they are, before it gives one. So it
    /// is not asked for beginnings of very many messages: reading the newest soon finds these.
    async fn question(&self, query: &Query) -> Result<Question> {
        let terms = query.fts5();
        let beginnings: Vec<_> = terms.iter().map(Fts5Term::beginning).collect();
        let likely = if beginnings.iter().any(Option::is_some) { self.likely(&beginnings).await? } else { Vec::new() };
        let mut question = Question::default();
        let mut merged = 0;
        for (term, likely) in terms.iter().zip(likely.into_iter().chain(std::iter::repeat(0))) {
            if merged + likely > MERGED {
                question.asked.extend(term.rest("words"));
                question.compared.push(term.line());
            } else {
                merged += likely;
                question.asked.push(term.whole("words"));
            }
        }
        Ok(question)
    }

    /// How many messages are likely to have words that begin so; none where nothing is asked.
    async fn likely(&self, beginnings: &[Option<String>]) -> Result<Vec<i64>> {
        let counts = sqlx::query_as(
            "with recursive place (n) as (select 1 union all select n + 1 from place where n < $2 / $3),
                  last (id) as (select max(id) from messages),
                  sample as materialized (
                      select ' ' || w.words as line from last cross join place p cross join message_words w
                      where w.rowid in (
                          select s.rowid from message_words s where s.rowid <= last.id * p.n * $3 / $2
                          order by s.rowid desc limit $3
                      )
                  )
             select (select count(*) from sample s where instr(s.line, t.value) > 0) * last.id / $2
             from json_each($1) t cross join last order by t.key",
        );
        let counts = counts.bind(json(&beginnings)?).bind(SAMPLE).bind(TOGETHER);
        let counts: Vec<(Option<i64>,)> = self.rows(counts).await?;
        Ok(counts.into_iter().map(|(count,)| count.unwrap_or(0)).collect())
    }
}

/// A message whose words are to be kept.
pub(super) type Said = (MessageId, ChatId, Words);

/// Keeps the words of messages that are stored as ones that have them. One statement: each costs a
/// turn between two threads.
pub(super) async fn keep_words(connection: &mut SqliteConnection, said: &[Said]) -> Result<(), Fault> {
    let rows: Vec<_> = said.iter().map(|(id, chat, words)| (id, words.line(), format!("c{chat}"))).collect();
    let kept = sqlx::query(
        "insert into message_words (rowid, words, chat)
         select value ->> 0, value ->> 1, value ->> 2 from json_each($1)",
    );
    kept.bind(json(&rows)?).execute(connection).await?;
    Ok(())
}

/// Keeps the words of texts that are stored since longer.
pub(super) async fn keep_missing_words(connection: &mut SqliteConnection, said: &[Said]) -> Result<(), Fault> {
    keep_words(connection, said).await?;
    let ids: Vec<_> = said.iter().map(|(id, ..)| id).collect();
    let kept = sqlx::query("update messages set worded = 1 where id in (select value from json_each($1))");
    kept.bind(json(&ids)?).execute(connection).await?;
    Ok(())
}

#[cfg(test)]
mod tests;
