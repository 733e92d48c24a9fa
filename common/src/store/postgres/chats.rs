//! Chats: their changes, and how they are read.

use super::PostgresStore;
use super::connection::ServerConnection;
use super::seen::seen_columns;
use crate::error::{Error, Result};
use crate::id::{ChatId, UserId};
use crate::model::{Chat, Page};
use crate::store::changes::chats as changes;
use crate::store::chats::{PRIVATE_CHAT_OF, ViewRow, unread_mentions, unread_messages};
use crate::store::stored_time::Time;
use crate::store::{ChatPatch, Chats, Committed, NewGroup, PageRequest, cursor};
use async_trait::async_trait;

// The newest message of a chat `c`. `x.seq + 0 > 0`, here and wherever a run of deleted messages is
// skipped, is what the index `messages_undeleted` asks for: other questions would read all of it by
// plans that were made while the tables were small. Of `x.seq > 0` alone the planner would think
// that the index of all messages reads fewer.
macro_rules! newest_message {
    ($viewer:literal) => {
        concat!(
            "select ",
            seen_columns!($viewer),
            " from messages x join users a on a.id = x.author_id
              where x.chat_id = c.id and x.deleted_at is null and x.seq + 0 > 0
              order by x.seq desc limit 1"
        )
    };
}

#[async_trait]
impl Chats for PostgresStore {
    async fn create_group(&self, group: NewGroup) -> Result<(Chat, Committed)> {
        self.change(|tx| Box::pin(changes::create_group(tx, &group))).await
    }

    async fn private_chat(&self, user: UserId, other: UserId) -> Result<(Chat, bool, Committed)> {
        let (low, high) = changes::pair(user, other)?;
        self.as_one(async {
            // Without a transaction: the chat is nearly always there.
            let found: Option<(ChatId,)> = self.row(|| sqlx::query_as(PRIVATE_CHAT_OF).bind(low).bind(high)).await?;
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
        let active_at = Time::from_micros(active_at).ok_or_else(|| Error::invalid("cursor", "is out of range"))?;
        let rows: Vec<ViewRow> = self
            .listed(|| {
                sqlx::query_as(concat!(
                    "select $1::bigint as viewer_id, c.id, c.is_group, c.is_public, c.name, c.description, c.created_at, c.active_at,
                            c.seq, c.member_count, c.role, p.id as peer_id, p.username as peer_username,
                            unread.count as unread_count,
                            mentioned.count as mention_count, c.muted_until, c.archived, c.pinned, last.*
                     from (
                         select c.*, m.role, m.read_seq, m.muted_until, m.archived, m.pinned
                         from members m join chats c on c.id = m.chat_id
                         where m.user_id = $1 and c.deleted_at is null and (c.active_at, c.id) < ($2, $3)
                         order by c.active_at desc, c.id desc limit $4
                     ) c
                     left join lateral (
                         select u.id, u.username from users u
                         where u.id = case when c.pair_low = $1 then c.pair_high else c.pair_low end limit 1
                     ) p on true
                     left join lateral (",
                    newest_message!("$1"),
                    ") last on true
                     left join lateral (",
                    unread_messages!("$1", "c"),
                    ") unread on true
                     left join lateral (",
                    unread_mentions!("$1", "c"),
                    ") mentioned on true
                     order by c.active_at desc, c.id desc"
                ))
                .bind(user)
                .bind(active_at.0)
                .bind(id)
                .bind(cursor::one_more(page.limit))
            })
            .await?;
        Ok(cursor::page(rows, page.limit, |row: &ViewRow| cursor::of_chat(row.active_at.0, row.id)))
    }

    async fn count_chats(&self, users: &[UserId], most: usize) -> Result<Vec<usize>> {
        let ids: Vec<i64> = users.iter().map(|id| id.0).collect();
        let most = i64::try_from(most).unwrap_or(i64::MAX);
        let counted: Vec<(i64,)> = self
            .listed(|| {
                sqlx::query_as(
                    "select (select count(*) from (select from members where user_id = u.id limit $2) counted)
                     from unnest($1) with ordinality u (id, place) order by u.place",
                )
                .bind(&ids)
                .bind(most)
            })
            .await?;
        Ok(counted.into_iter().map(|(count,)| usize::try_from(count).unwrap_or_default()).collect())
    }

    async fn chat(&self, chat: ChatId, viewer: UserId) -> Result<Option<Chat>> {
        self.run(|| async {
            let mut lease = self.pool.lease().await?;
            let seen = views(lease.connection(), &[(chat, viewer)]).await;
            Ok(lease.end(seen).await?.pop().map(|(_, chat)| chat))
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
    connection: &mut ServerConnection,
    pairs: &[(ChatId, UserId)],
) -> Result<Vec<(UserId, Chat)>, sqlx::Error> {
    let (chats, users): (Vec<i64>, Vec<i64>) = pairs.iter().map(|(chat, user)| (chat.0, user.0)).unzip();
    let rows: Vec<ViewRow> = sqlx::query_as(concat!(
        "select asked.user_id as viewer_id, c.id, c.is_group, c.is_public, c.name, c.description, c.created_at,
                c.active_at, c.seq, c.member_count, m.role, p.id as peer_id, p.username as peer_username, unread.count as unread_count,
                mentioned.count as mention_count, m.muted_until, m.archived, m.pinned, last.*
         from unnest($1::bigint[], $2::bigint[]) as asked (chat_id, user_id)
         join chats c on c.id = asked.chat_id and c.deleted_at is null
         left join members m on m.chat_id = c.id and m.user_id = asked.user_id
         left join lateral (
             select u.id, u.username from users u
             where u.id = case when c.pair_low = asked.user_id then c.pair_high else c.pair_low end limit 1
         ) p on true
         left join lateral (",
        newest_message!("asked.user_id"),
        ") last on m.user_id is not null
         left join lateral (",
        unread_messages!("asked.user_id", "m"),
        ") unread on m.user_id is not null
         left join lateral (",
        unread_mentions!("asked.user_id", "m"),
        ") mentioned on m.user_id is not null
         where c.is_group and c.is_public or m.user_id is not null"
    ))
    .bind(chats)
    .bind(users)
    .fetch_all(connection)
    .await?;
    Ok(rows.into_iter().map(|row| (row.viewer_id, row.into())).collect())
}
