//! The marks on messages: reactions, pins, mentions; and the blocks between users.

use super::SqliteStore;
use super::database::json;
use super::seen::seen_columns;
use super::transaction::Writing;
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
use sqlx::SqliteConnection;

#[async_trait]
impl Marks for SqliteStore {
    async fn react(&self, message: MessageId, by: UserId, emoji: &str, add: bool) -> Result<Committed> {
        self.change(|tx| Box::pin(changes::react(tx, message, by, emoji, add))).await
    }

    async fn pin(&self, chat: ChatId, message: MessageId, by: UserId, add: bool) -> Result<Committed> {
        self.change(|tx| Box::pin(changes::pin(tx, chat, message, by, add))).await
    }

    async fn pins(&self, chat: ChatId, by: UserId, page: &PageRequest) -> Result<Page<Message>> {
        let before = cursor::pin(page.cursor.as_deref())?;
        let statement = sqlx::query_as(concat!(
            "select c.is_group and c.is_public as is_open, me.user_id is not null as is_member, p.seq as pin_seq, ",
            seen_columns!("$2"),
            " from chats c
             left join members me on me.chat_id = c.id and me.user_id = $2
             left join (
                 select o.seq, o.message_id from pins o join messages y on y.id = o.message_id
                 where o.chat_id = $1 and o.seq < $3 and y.deleted_at is null order by o.seq desc limit $4
             ) p on me.user_id is not null
             left join messages x on x.id = p.message_id
             left join users a on a.id = x.author_id
             where c.id = $1 and c.deleted_at is null
             order by p.seq desc"
        ));
        let rows: Vec<PinRow> =
            self.rows(statement.bind(chat).bind(by).bind(before).bind(cursor::one_more(page.limit))).await?;
        let first = rows.first().ok_or(Error::ChatNotFound)?;
        may_read(first.is_open, first.is_member)?;
        Ok(PinRow::page(rows, chat, page.limit))
    }

    async fn mentioned(&self, chat: ChatId, by: UserId, names: &[String]) -> Result<Vec<(String, Mention)>> {
        let statement = sqlx::query_as(
            "select u.username_lower, u.id,
                    u.id <> $2 and coalesce(m.muted_until, 0) <= $4 and not exists (
                        select 1 from blocks b where b.user_id = u.id and b.blocked_id = $2
                    )
             from users u join members m on m.chat_id = $1 and m.user_id = u.id
             where u.username_lower in (select value from json_each($3))
                 and exists (select 1 from members me where me.chat_id = $1 and me.user_id = $2)
             order by u.id",
        );
        let statement = statement.bind(chat).bind(by).bind(json(&names)?).bind(self.database.now());
        let rows: Vec<(String, UserId, bool)> = self.rows(statement).await?;
        Ok(rows.into_iter().map(|(name, user_id, notify)| (name, Mention { user_id, notify })).collect())
    }
}

#[async_trait]
impl MarkStatements for Writing {
    async fn is_blocked_by(&mut self, user: UserId, others: &[UserId]) -> Result<bool, Fault> {
        let blocked = sqlx::query_scalar(
            "select exists (
                 select 1 from blocks where user_id in (select value from json_each($2)) and blocked_id = $1
             )",
        );
        Ok(blocked.bind(user).bind(json(&others)?).fetch_one(&mut *self.inner).await?)
    }

    async fn is_blocked_in(&mut self, chat: ChatId, user: UserId) -> Result<bool, Fault> {
        Ok(is_blocked_in(&mut self.inner, chat, user).await?)
    }

    async fn insert_reaction(&mut self, message: MessageId, user: UserId, emoji: &str) -> Result<bool, Fault> {
        let inserted = sqlx::query(
            "insert into reactions (message_id, user_id, emoji) values ($1, $2, $3)
             on conflict (message_id, user_id, emoji) do nothing",
        );
        Ok(inserted.bind(message).bind(user).bind(emoji).execute(&mut *self.inner).await?.rows_affected() > 0)
    }

    async fn delete_reaction(&mut self, message: MessageId, user: UserId, emoji: &str) -> Result<bool, Fault> {
        let deleted = sqlx::query("delete from reactions where message_id = $1 and user_id = $2 and emoji = $3");
        Ok(deleted.bind(message).bind(user).bind(emoji).execute(&mut *self.inner).await?.rows_affected() > 0)
    }

    async fn set_reactions(&mut self, message: MessageId, reactions: &[Reaction]) -> Result<(), Fault> {
        let set = sqlx::query("update messages set reactions = $2 where id = $1");
        set.bind(message).bind(stored_reactions(reactions)).execute(&mut *self.inner).await?;
        Ok(())
    }

    async fn pins_of(&mut self, chat: ChatId, message: MessageId) -> Result<(i64, bool), Fault> {
        let pins = sqlx::query_as(
            "select count(*), coalesce(max(p.message_id = $2), 0)
             from pins p join messages x on x.id = p.message_id
             where p.chat_id = $1 and x.deleted_at is null",
        );
        Ok(pins.bind(chat).bind(message).fetch_one(&mut *self.inner).await?)
    }

    async fn insert_pin(&mut self, chat: ChatId, message: MessageId, seq: Seq) -> Result<(), Fault> {
        let inserted = sqlx::query("insert into pins (chat_id, message_id, seq) values ($1, $2, $3)");
        inserted.bind(chat).bind(message).bind(seq).execute(&mut *self.inner).await?;
        Ok(())
    }

    async fn delete_pin(&mut self, chat: ChatId, message: MessageId) -> Result<(), Fault> {
        let deleted = sqlx::query("delete from pins where chat_id = $1 and message_id = $2");
        deleted.bind(chat).bind(message).execute(&mut *self.inner).await?;
        Ok(())
    }

    async fn insert_mentions(
        &mut self,
        chat: ChatId,
        message: MessageId,
        seq: Seq,
        users: &[UserId],
    ) -> Result<(), Fault> {
        insert_mentions(&mut self.inner, chat, message, seq, users).await
    }

    async fn delete_mentions(&mut self, chat: ChatId, message: MessageId, users: &[UserId]) -> Result<(), Fault> {
        let deleted = sqlx::query(
            "delete from mentions
             where user_id in (select value from json_each($3)) and chat_id = $1 and message_id = $2",
        );
        deleted.bind(chat).bind(message).bind(json(&users)?).execute(&mut *self.inner).await?;
        Ok(())
    }
}

/// Whether the other user of the private chat blocked this one.
pub(super) async fn is_blocked_in(
    connection: &mut SqliteConnection,
    chat: ChatId,
    user: UserId,
) -> Result<bool, sqlx::Error> {
    sqlx::query_scalar(
        "select exists (
             select 1 from chats c
             join blocks b on b.blocked_id = $2
                 and b.user_id = case when c.pair_low = $2 then c.pair_high else c.pair_low end
             where c.id = $1
         )",
    )
    .bind(chat)
    .bind(user)
    .fetch_one(connection)
    .await
}

pub(super) async fn insert_mentions(
    connection: &mut SqliteConnection,
    chat: ChatId,
    message: MessageId,
    seq: Seq,
    users: &[UserId],
) -> Result<(), Fault> {
    let inserted = sqlx::query(
        "insert into mentions (user_id, chat_id, seq, message_id) select value, $1, $2, $3 from json_each($4)",
    );
    inserted.bind(chat).bind(seq).bind(message).bind(json(&users)?).execute(connection).await?;
    Ok(())
}
