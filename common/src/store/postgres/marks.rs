//! The marks on messages: reactions, pins, mentions; and the blocks between users.

use super::PostgresStore;
use super::connection::ServerConnection;
use super::seen::seen_columns;
use crate::error::{Error, Result};
use crate::id::{ChatId, MessageId, Seq, UserId};
use crate::model::{Message, Page, Reaction};
use crate::store::changes::marks::{self as changes, MarkStatements};
use crate::store::chats::may_read;
use crate::store::fault::Fault;
use crate::store::marks::PinRow;
use crate::store::messages::stored_reactions;
use crate::store::{Committed, Marks, Mention, PageRequest, cursor};
use async_trait::async_trait;

#[async_trait]
impl Marks for PostgresStore {
    async fn react(&self, message: MessageId, by: UserId, emoji: &str, add: bool) -> Result<Committed> {
        self.change(|tx| Box::pin(changes::react(tx, message, by, emoji, add))).await
    }

    async fn pin(&self, chat: ChatId, message: MessageId, by: UserId, add: bool) -> Result<Committed> {
        self.change(|tx| Box::pin(changes::pin(tx, chat, message, by, add))).await
    }

    async fn pins(&self, chat: ChatId, by: UserId, page: &PageRequest) -> Result<Page<Message>> {
        let before = cursor::pin(page.cursor.as_deref())?;
        let rows: Vec<PinRow> = self
            .listed(|| {
                sqlx::query_as(concat!(
                    "select c.is_group and c.is_public as is_open, me.user_id is not null as is_member, page.*
                     from chats c
                     left join members me on me.chat_id = c.id and me.user_id = $2
                     left join lateral (
                         select p.seq as pin_seq, ",
                    seen_columns!("$2"),
                    "    from pins p
                         join messages x on x.id = p.message_id and x.deleted_at is null
                         join users a on a.id = x.author_id
                         where p.chat_id = c.id and p.seq < $3
                         order by p.seq desc limit $4
                     ) page on me.user_id is not null
                     where c.id = $1 and c.deleted_at is null
                     order by page.pin_seq desc"
                ))
                .bind(chat)
                .bind(by)
                .bind(before)
                .bind(cursor::one_more(page.limit))
            })
            .await?;
        let first = rows.first().ok_or(Error::ChatNotFound)?;
        may_read(first.is_open, first.is_member)?;
        Ok(PinRow::page(rows, chat, page.limit))
    }

    async fn mentioned(&self, chat: ChatId, by: UserId, names: &[String]) -> Result<Vec<(String, Mention)>> {
        let rows: Vec<(String, UserId, bool)> = self
            .rows(|| {
                sqlx::query_as(
                    "select u.username_lower, u.id,
                            u.id <> $2 and not m.muted and not exists (
                                select from blocks b where b.user_id = u.id and b.blocked_id = $2
                            )
                     from users u
                     -- By its key, whatever is known of tables that were never analysed.
                     cross join lateral (
                         select coalesce(x.muted_until > clock_timestamp(), false) as muted
                         from members x where x.chat_id = $1 and x.user_id = u.id limit 1
                     ) m
                     where u.username_lower = any ($3)
                         and exists (select from members me where me.chat_id = $1 and me.user_id = $2)
                     order by u.id",
                )
                .bind(chat)
                .bind(by)
                .bind(names)
            })
            .await?;
        Ok(rows.into_iter().map(|(name, user_id, notify)| (name, Mention { user_id, notify })).collect())
    }
}

#[async_trait]
impl MarkStatements for ServerConnection {
    async fn is_blocked_by(&mut self, user: UserId, others: &[UserId]) -> Result<bool, Fault> {
        let others: Vec<i64> = others.iter().map(|id| id.0).collect();
        let blocked =
            sqlx::query_scalar("select exists (select from blocks where user_id = any ($2) and blocked_id = $1)");
        Ok(blocked.bind(user).bind(others).fetch_one(self).await?)
    }

    async fn is_blocked_in(&mut self, chat: ChatId, user: UserId) -> Result<bool, Fault> {
        let blocked = sqlx::query_scalar(
            "select exists (
                 select from chats c
                 join blocks b on b.blocked_id = $2
                     and b.user_id = case when c.pair_low = $2 then c.pair_high else c.pair_low end
                 where c.id = $1
             )",
        );
        Ok(blocked.bind(chat).bind(user).fetch_one(self).await?)
    }

    async fn insert_reaction(&mut self, message: MessageId, user: UserId, emoji: &str) -> Result<bool, Fault> {
        let inserted = sqlx::query(
            "insert into reactions (message_id, user_id, emoji) values ($1, $2, $3)
             on conflict (message_id, user_id, emoji) do nothing",
        );
        Ok(inserted.bind(message).bind(user).bind(emoji).execute(self).await?.rows_affected() > 0)
    }

    async fn delete_reaction(&mut self, message: MessageId, user: UserId, emoji: &str) -> Result<bool, Fault> {
        let deleted = sqlx::query("delete from reactions where message_id = $1 and user_id = $2 and emoji = $3");
        Ok(deleted.bind(message).bind(user).bind(emoji).execute(self).await?.rows_affected() > 0)
    }

    async fn set_reactions(&mut self, message: MessageId, reactions: &[Reaction]) -> Result<(), Fault> {
        let set = sqlx::query("update messages set reactions = $2 where id = $1");
        set.bind(message).bind(stored_reactions(reactions)).execute(self).await?;
        Ok(())
    }

    async fn pins_of(&mut self, chat: ChatId, message: MessageId) -> Result<(i64, bool), Fault> {
        let pins = sqlx::query_as(
            "select count(*), coalesce(bool_or(p.message_id = $2), false)
                 from pins p join messages x on x.id = p.message_id
                 where p.chat_id = $1 and x.deleted_at is null",
        );
        Ok(pins.bind(chat).bind(message).fetch_one(self).await?)
    }

    async fn insert_pin(&mut self, chat: ChatId, message: MessageId, seq: Seq) -> Result<(), Fault> {
        let inserted = sqlx::query("insert into pins (chat_id, message_id, seq) values ($1, $2, $3)");
        inserted.bind(chat).bind(message).bind(seq).execute(self).await?;
        Ok(())
    }

    async fn delete_pin(&mut self, chat: ChatId, message: MessageId) -> Result<(), Fault> {
        let deleted = sqlx::query("delete from pins where chat_id = $1 and message_id = $2");
        deleted.bind(chat).bind(message).execute(self).await?;
        Ok(())
    }

    async fn insert_mentions(
        &mut self,
        chat: ChatId,
        message: MessageId,
        seq: Seq,
        users: &[UserId],
    ) -> Result<(), Fault> {
        let users: Vec<i64> = users.iter().map(|id| id.0).collect();
        let inserted = sqlx::query(
            "insert into mentions (user_id, chat_id, seq, message_id)
             select u.id, $1, $2, $3 from unnest($4::bigint[]) as u (id)",
        );
        inserted.bind(chat).bind(seq).bind(message).bind(users).execute(self).await?;
        Ok(())
    }

    async fn delete_mentions(&mut self, chat: ChatId, message: MessageId, users: &[UserId]) -> Result<(), Fault> {
        let users: Vec<i64> = users.iter().map(|id| id.0).collect();
        let deleted = sqlx::query("delete from mentions where user_id = any ($3) and chat_id = $1 and message_id = $2");
        deleted.bind(chat).bind(message).bind(users).execute(self).await?;
        Ok(())
    }
}
