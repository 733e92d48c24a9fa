//! Chats: their changes, and how they are read.

use super::SqliteStore;
use super::database::json;
use super::seen::seen_columns;
use crate::error::Result;
use crate::id::{ChatId, UserId};
use crate::model::{Chat, Page};
use crate::store::changes::chats as changes;
use crate::store::chats::{PRIVATE_CHAT_OF, ViewRow, unread_mentions, unread_messages};
use crate::store::fault::Fault;
use crate::store::{ChatPatch, Chats, Committed, NewGroup, PageRequest, cursor};
use async_trait::async_trait;
use sqlx::SqliteConnection;

#[async_trait]
impl Chats for SqliteStore {
    async fn create_group(&self, group: NewGroup) -> Result<(Chat, Committed)> {
        self.change(|tx| Box::pin(changes::create_group(tx, &group))).await
    }

    async fn private_chat(&self, user: UserId, other: UserId) -> Result<(Chat, bool, Committed)> {
        let (low, high) = changes::pair(user, other)?;
        self.as_one(async {
            // Without the writer: the chat is nearly always there.
            let found: Option<(ChatId,)> = self.row(sqlx::query_as(PRIVATE_CHAT_OF).bind(low).bind(high)).await?;
            if let Some((id,)) = found
                && let Some(chat) = self.chat(id, user).await?
            {
                return Ok((chat, false, Committed::default()));
            }
            self.change(|tx| Box::pin(changes::private_chat(tx, user, other))).await
        })
        .await
    }

    async fn chats_of(&self, user: UserId, page: &PageRequest) -> Result<Page<Chat>> {
        let (active_at, id) = cursor::chat(page.cursor.as_deref())?;
        let statement = sqlx::query_as(concat!(
            "select $1 as viewer_id, c.id, c.is_group, c.is_public, c.name, c.description, c.created_at,
                    c.active_at, c.seq, c.member_count, c.role, p.id as peer_id, p.username as peer_username,
                    (",
            unread_messages!("$1", "c"),
            ") as unread_count,
                    (",
            unread_mentions!("$1", "c"),
            ") as mention_count, c.muted_until, c.archived, c.pinned, ",
            seen_columns!("$1"),
            " from (
                 select c.*, m.role, m.read_seq, m.muted_until, m.archived, m.pinned
                 from members m join chats c on c.id = m.chat_id
                 where m.user_id = $1 and c.deleted_at is null and (c.active_at, c.id) < ($2, $3)
                 order by c.active_at desc, c.id desc limit $4
             ) c
             left join users p on p.id = case when c.pair_low = $1 then c.pair_high else c.pair_low end
             left join messages x on x.id = (
                 select y.id from messages y where y.chat_id = c.id and y.deleted_at is null order by y.seq desc limit 1
             )
             left join users a on a.id = x.author_id
             order by c.active_at desc, c.id desc"
        ));
        let statement = statement.bind(user).bind(active_at).bind(id).bind(cursor::one_more(page.limit));
        let rows: Vec<ViewRow> = self.rows(statement).await?;
        Ok(cursor::page(rows, page.limit, |row: &ViewRow| cursor::of_chat(row.active_at.0, row.id)))
    }

    async fn count_chats(&self, users: &[UserId], most: usize) -> Result<Vec<usize>> {
        let most = i64::try_from(most).unwrap_or(i64::MAX);
        let statement = sqlx::query_as(
            "select (select count(*) from (select 1 from members where user_id = u.value limit $2))
             from json_each($1) u order by u.key",
        );
        let counted: Vec<(i64,)> = self.rows(statement.bind(json(&users)?).bind(most)).await?;
        Ok(counted.into_iter().map(|(count,)| usize::try_from(count).unwrap_or_default()).collect())
    }

    async fn chat(&self, chat: ChatId, viewer: UserId) -> Result<Option<Chat>> {
        self.run(async {
            let mut reader = self.database.reader.acquire().await?;
            Ok(views(&mut reader, &[(chat, viewer)]).await?.pop().map(|(_, chat)| chat))
        })
        .await
    }

    async fn update_chat(&self, chat: ChatId, by: UserId, patch: ChatPatch) -> Result<(Chat, Committed)> {
        self.change(|tx| Box::pin(changes::update_chat(tx, chat, by, &patch))).await
    }

    async fn delete_chat(&self, chat: ChatId, by: UserId) -> Result<Committed> {
        self.change(|tx| Box::pin(changes::delete_chat(tx, chat, by))).await
    }
}

/// Chats as these users see them, of those that exist for them; one row a pair.
pub(super) async fn views(
    connection: &mut SqliteConnection,
    pairs: &[(ChatId, UserId)],
) -> Result<Vec<(UserId, Chat)>, Fault> {
    let rows: Vec<ViewRow> = sqlx::query_as(concat!(
        "select asked.user_id as viewer_id, c.id, c.is_group, c.is_public, c.name, c.description, c.created_at,
                c.active_at, c.seq, c.member_count, m.role, p.id as peer_id, p.username as peer_username,
                case when m.user_id is not null then (",
        unread_messages!("asked.user_id", "m"),
        ") end as unread_count,
                case when m.user_id is not null then (",
        unread_mentions!("asked.user_id", "m"),
        ") end as mention_count, m.muted_until, m.archived, m.pinned, ",
        seen_columns!("asked.user_id"),
        " from (select value ->> 0 as chat_id, value ->> 1 as user_id from json_each($1)) asked
         join chats c on c.id = asked.chat_id and c.deleted_at is null
         left join members m on m.chat_id = c.id and m.user_id = asked.user_id
         left join users p on p.id = case when c.pair_low = asked.user_id then c.pair_high else c.pair_low end
         left join messages x on m.user_id is not null and x.id = (
             select y.id from messages y where y.chat_id = c.id and y.deleted_at is null order by y.seq desc limit 1
         )
         left join users a on a.id = x.author_id
         where c.is_group and c.is_public or m.user_id is not null"
    ))
    .bind(json(&pairs)?)
    .fetch_all(connection)
    .await?;
    Ok(rows.into_iter().map(|row| (row.viewer_id, row.into())).collect())
}
