//! Search: the words of messages, and who finds them.

use super::PostgresStore;
use super::seen::seen_columns;
use crate::error::Result;
use crate::id::UserId;
use crate::model::{Message, Page};
use crate::store::fault::is_of_the_value;
use crate::store::search::{FoundRow, Wordless};
use crate::store::{PageRequest, Search, SearchFor, cursor};
use crate::words;
use async_trait::async_trait;
use std::time::Duration;

#[async_trait]
impl Search for PostgresStore {
    async fn search(&self, by: UserId, wanted: &SearchFor, page: &PageRequest) -> Result<Page<Message>> {
        let before = cursor::found(page.cursor.as_deref())?;
        // In one statement: two could see two states, of two servers.
        let newest = self
            .listed(|| {
                sqlx::query_as(concat!(
                    "select s.below, f.id, x.chat_id, ",
                    seen_columns!("$1"),
                    " from messenger_search_v2($1, $2::text[]::tsquery[], $3, $4, $5, $6) s
                     left join lateral unnest(s.ids) with ordinality as f (id, ord) on true
                     left join lateral (
                         select m.* from messages m where m.id = f.id and m.deleted_at is null limit 1
                     ) x on true
                     left join lateral (
                         select u.username, u.display_name from users u where u.id = x.author_id limit 1
                     ) a on true
                     order by f.ord"
                ))
                .bind(by)
                .bind(wanted.query.tsqueries())
                .bind(wanted.chat)
                .bind(wanted.author)
                .bind(before)
                .bind(cursor::one_more(page.limit))
            })
            .await?;
        Ok(FoundRow::page(newest, page.limit))
    }

    async fn fill_words(&self, limit: usize) -> Result<usize> {
        let found: Vec<Wordless> = self
            .rows(|| {
                sqlx::query_as(
                    "select id, chat_id, text from messages where words is null and deleted_at is null
                     order by id desc limit $1",
                )
                .bind(i64::try_from(limit).unwrap_or(i64::MAX))
            })
            .await?;
        match self.fill(&found, words::vector).await {
            Err(error) if is_of_the_value(&error) => {}
            done => return done.map(|()| found.len()),
        }
        // One text whose words are refused would stop all behind it.
        for one in found.chunks(1) {
            match self.fill(one, words::vector).await {
                Err(error) if is_of_the_value(&error) => {
                    tracing::warn!(message.id = one[0].id.0, cause = %error.cause(), "the database refuses the words of a message");
                    self.fill(one, |_| String::new()).await?;
                }
                done => done?,
            }
        }
        Ok(found.len())
    }

    async fn words_written(&self) {
        self.written.notified().await;
    }

    async fn merge_words(&self, written: Duration) -> Result<bool> {
        self.merge(written).await
    }
}

impl PostgresStore {
    /// Gives these messages their words.
    async fn fill(&self, found: &[Wordless], words_of: impl Fn(&str) -> String + Send) -> Result<()> {
        if found.is_empty() {
            return Ok(());
        }
        let ids: Vec<i64> = found.iter().map(|one| one.id.0).collect();
        let texts: Vec<&str> = found.iter().map(|one| one.text.as_str()).collect();
        let words: Vec<String> = texts.iter().map(|text| words_of(text)).collect();
        // A row that another node fills, or a writer holds, is the next turn's. A text that changed
        // meanwhile is not this one.
        let _: Vec<(bool,)> = self
            .rows(|| {
                sqlx::query_as(
                    "with free as materialized (
                         select id from messages where id = any ($1) and words is null and deleted_at is null
                         order by id for no key update skip locked
                     ), filled as (
                         update messages m set words = w.words::tsvector
                         from unnest($1::bigint[], $2::text[], $3::text[]) as w (id, text, words) join free using (id)
                         where m.id = w.id and m.text = w.text
                     )
                     select true",
                )
                .bind(&ids)
                .bind(&texts)
                .bind(&words)
            })
            .await?;
        self.wrote_words(texts.iter().map(|text| words::count(text)).sum());
        Ok(())
    }
}
