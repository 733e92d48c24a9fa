//! The statements of a change, in the writer's transaction.

use super::chats::views;
use super::database::{Database, json};
use super::search::keep_missing_words;
use super::seen::seen_columns;
use crate::id::{ChatId, MessageId, Seq, UserId};
use crate::model::{Chat, Member, Message, Role};
use crate::store::changes::{Change, Transaction};
use crate::store::chats::{ChatRow, NewChat, PRIVATE_CHAT_OF};
use crate::store::fault::Fault;
use crate::store::members::{MemberRow, role, role_number};
use crate::store::messages::{MessageRow, stored_users};
use crate::store::outbox::OutboxPayload;
use crate::store::stored_time::Time;
use crate::store::{OutboxId, SettingsPatch};
use crate::words::Words;
use async_trait::async_trait;
use sqlx::{Sqlite, SqliteConnection};

/// The writer's transaction, and the clock that stamps what it stores. Its begin is the lock.
pub(super) struct Writing {
    pub(super) inner: sqlx::Transaction<'static, Sqlite>,
    pub(super) database: Database,
}

#[async_trait]
impl Transaction for Writing {
    async fn lock(&mut self, chat: ChatId, by: UserId) -> Result<(Option<ChatRow>, Option<Role>, Time), Fault> {
        let row = sqlx::query_as(
            "select id, is_group, is_public, name, description, created_at, seq, member_count,
                    deleted_at is not null as is_deleted
             from chats where id = $1",
        )
        .bind(chat)
        .fetch_optional(&mut *self.inner)
        .await?;
        let number: Option<i16> = sqlx::query_scalar("select role from members where chat_id = $1 and user_id = $2")
            .bind(chat)
            .bind(by)
            .fetch_optional(&mut *self.inner)
            .await?;
        Ok((row, number.map(role), self.database.now()))
    }

    async fn record(&mut self, change: &Change) -> Result<(), Fault> {
        let chat = &change.chat;
        for event in change.columns() {
            sqlx::query(
                "insert into events (chat_id, seq, kind, message_id, user_id, role, created_at, emoji, emoji_count,
                                     notified)
                 values ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10)",
            )
            .bind(chat.id)
            .bind(event.seq)
            .bind(event.kind)
            .bind(event.message_id)
            .bind(event.user_id)
            .bind(event.role)
            .bind(change.at)
            .bind(event.emoji)
            .bind(event.emoji_count)
            .bind(event.notified)
            .execute(&mut *self.inner)
            .await?;
        }
        sqlx::query(
            "update chats set seq = $2, name = $3, description = $4, member_count = $5,
                 deleted_at = case when $6 then coalesce(deleted_at, $7) end
             where id = $1",
        )
        .bind(chat.id)
        .bind(chat.seq)
        .bind(&chat.name)
        .bind(&chat.description)
        .bind(chat.member_count)
        .bind(chat.is_deleted)
        .bind(change.at)
        .execute(&mut *self.inner)
        .await?;
        Ok(())
    }

    async fn insert_outbox(&mut self, payload: &OutboxPayload, at: Time) -> Result<OutboxId, Fault> {
        insert_outbox(&mut self.inner, payload, at).await
    }

    async fn views(&mut self, pairs: &[(ChatId, UserId)]) -> Result<Vec<(UserId, Chat)>, Fault> {
        views(&mut self.inner, pairs).await
    }

    async fn insert_chat(&mut self, chat: &NewChat<'_>, members: usize) -> Result<Option<ChatRow>, Fault> {
        let (low, high) = chat.pair();
        Ok(sqlx::query_as(
            "insert into chats (is_group, is_public, name, description, created_at, active_at, member_count, pair_low, pair_high)
             values ($1, $2, $3, $4, $5, $5, $6, $7, $8)
             on conflict (pair_low, pair_high) where pair_low is not null do nothing
             returning id, is_group, is_public, name, description, created_at, seq, member_count, 0 as is_deleted",
        )
        .bind(chat.is_group())
        .bind(chat.is_public())
        .bind(chat.name())
        .bind(chat.description())
        .bind(self.database.now())
        .bind(i64::try_from(members).unwrap_or(i64::MAX))
        .bind(low)
        .bind(high)
        .fetch_optional(&mut *self.inner)
        .await?)
    }

    async fn private_chat_of(&mut self, low: UserId, high: UserId) -> Result<Option<ChatId>, Fault> {
        Ok(sqlx::query_scalar(PRIVATE_CHAT_OF).bind(low).bind(high).fetch_optional(&mut *self.inner).await?)
    }

    async fn active_users(&mut self, ids: &[UserId]) -> Result<Vec<(UserId, String)>, Fault> {
        let users = sqlx::query_as(
            "select id, username from users where id in (select value from json_each($1)) and is_active order by id",
        );
        Ok(users.bind(json(&ids)?).fetch_all(&mut *self.inner).await?)
    }

    async fn members_among(&mut self, chat: ChatId, ids: &[UserId]) -> Result<Vec<Member>, Fault> {
        let rows: Vec<MemberRow> = sqlx::query_as(
            "select m.user_id, u.username, m.role, m.joined_at
             from members m join users u on u.id = m.user_id
             where m.chat_id = $1 and m.user_id in (select value from json_each($2))",
        )
        .bind(chat)
        .bind(json(&ids)?)
        .fetch_all(&mut *self.inner)
        .await?;
        Ok(rows.into_iter().map(Member::from).collect())
    }

    async fn insert_members(&mut self, change: &Change, newcomers: &[(Member, Seq)]) -> Result<(), Fault> {
        for (member, seq) in newcomers {
            sqlx::query(
                "insert into members (chat_id, user_id, role, joined_at, read_seq) values ($1, $2, $3, $4, $5)",
            )
            .bind(change.chat.id)
            .bind(member.user_id)
            .bind(role_number(member.role))
            .bind(change.at)
            .bind(seq)
            .execute(&mut *self.inner)
            .await?;
        }
        Ok(())
    }

    async fn delete_member(&mut self, chat: ChatId, user: UserId) -> Result<(), Fault> {
        let deleted = sqlx::query("delete from members where chat_id = $1 and user_id = $2");
        deleted.bind(chat).bind(user).execute(&mut *self.inner).await?;
        Ok(())
    }

    async fn delete_members(&mut self, chat: ChatId) -> Result<Vec<UserId>, Fault> {
        let deleted = sqlx::query_scalar("delete from members where chat_id = $1 returning user_id");
        Ok(deleted.bind(chat).fetch_all(&mut *self.inner).await?)
    }

    async fn set_role(&mut self, chat: ChatId, user: UserId, role: Role) -> Result<bool, Fault> {
        let changed = sqlx::query(
            "update members set role = $3 where chat_id = $1 and user_id = $2
             and ($3 = 1 or exists (
                 select 1 from members o join users a on a.id = o.user_id
                 where o.chat_id = $1 and o.user_id <> $2 and o.role = 1 and a.is_active
             ))",
        )
        .bind(chat)
        .bind(user)
        .bind(role_number(role))
        .execute(&mut *self.inner)
        .await?;
        Ok(changed.rows_affected() > 0)
    }

    async fn set_settings(&mut self, chat: ChatId, user: UserId, patch: SettingsPatch) -> Result<Option<Time>, Fault> {
        Ok(sqlx::query_scalar(
            "update members set muted_until = case when $3 then $4 else muted_until end,
                 archived = coalesce($5, archived), pinned = coalesce($6, pinned), settings_at = $7
             where chat_id = $1 and user_id = $2 returning settings_at",
        )
        .bind(chat)
        .bind(user)
        .bind(patch.muted_until.is_some())
        .bind(patch.muted_until.flatten().map(Time))
        .bind(patch.archived)
        .bind(patch.pinned)
        .bind(self.database.now())
        .fetch_optional(&mut *self.inner)
        .await?)
    }

    async fn has_owner(&mut self, chat: ChatId, but: UserId) -> Result<bool, Fault> {
        let owned = sqlx::query_scalar(
            "select exists (
                 select 1 from members o join users a on a.id = o.user_id
                 where o.chat_id = $1 and o.user_id <> $2 and o.role = 1 and a.is_active
             )",
        );
        Ok(owned.bind(chat).bind(but).fetch_one(&mut *self.inner).await?)
    }

    async fn crown_heir(&mut self, chat: ChatId, but: UserId) -> Result<Option<Member>, Fault> {
        let heir: Option<UserId> = sqlx::query_scalar(
            "update members set role = 1
             where chat_id = $1 and user_id = (
                 select h.user_id from members h join users a on a.id = h.user_id
                 where h.chat_id = $1 and h.user_id <> $2 and a.is_active
                 order by h.joined_at, h.user_id limit 1
             )
             returning user_id",
        )
        .bind(chat)
        .bind(but)
        .fetch_optional(&mut *self.inner)
        .await?;
        match heir {
            Some(heir) => self.member(chat, heir).await,
            None => Ok(None),
        }
    }

    async fn stays_active(&mut self, user: UserId) -> Result<bool, Fault> {
        let active = sqlx::query_scalar("select exists (select 1 from users where id = $1 and is_active)");
        Ok(active.bind(user).fetch_one(&mut *self.inner).await?)
    }

    async fn chat_of(&mut self, message: MessageId) -> Result<Option<ChatId>, Fault> {
        let chat = sqlx::query_scalar("select chat_id from messages where id = $1 and deleted_at is null");
        Ok(chat.bind(message).fetch_optional(&mut *self.inner).await?)
    }

    async fn message(&mut self, chat: ChatId, message: MessageId, viewer: UserId) -> Result<Option<Message>, Fault> {
        let row: Option<MessageRow> = sqlx::query_as(concat!(
            "select ",
            seen_columns!("$2"),
            " from messages x join users a on a.id = x.author_id where x.id = $1 and x.deleted_at is null"
        ))
        .bind(message)
        .bind(viewer)
        .fetch_optional(&mut *self.inner)
        .await?;
        Ok(row.and_then(|row| row.into_message(chat)))
    }

    async fn set_text(&mut self, message: MessageId, text: &str, mentions: &[UserId], at: Time) -> Result<(), Fault> {
        let set = sqlx::query("update messages set text = $2, edited_at = $3, mentions = $4 where id = $1");
        set.bind(message).bind(text).bind(at).bind(stored_users(mentions)).execute(&mut *self.inner).await?;
        // The trigger forgot the words of the text before.
        let chat = sqlx::query_scalar("select chat_id from messages where id = $1");
        let chat = chat.bind(message).fetch_one(&mut *self.inner).await?;
        keep_missing_words(&mut self.inner, &[(message, chat, Words::of(text))]).await
    }

    async fn erase_text(&mut self, message: MessageId, at: Time) -> Result<(), Fault> {
        // A pin is found by its chat first.
        let pin = "delete from pins where message_id = $1 and chat_id = (select chat_id from messages where id = $1)";
        for hung in ["delete from reactions where message_id = $1", pin] {
            sqlx::query(hung).bind(message).execute(&mut *self.inner).await?;
        }
        let erased = sqlx::query(
            "update messages set text = '', text_digest = null, deleted_at = $2, reactions = null, mentions = null
             where id = $1",
        );
        erased.bind(message).bind(at).execute(&mut *self.inner).await?;
        Ok(())
    }
}

/// Leaves an entry in the outbox.
pub(super) async fn insert_outbox(
    connection: &mut SqliteConnection,
    payload: &OutboxPayload,
    at: Time,
) -> Result<OutboxId, Fault> {
    let id = sqlx::query_scalar("insert into outbox (created_at, size, payload) values ($1, $2, $3) returning id")
        .bind(at)
        .bind(payload.size())
        .bind(payload.to_json()?)
        .fetch_one(connection)
        .await?;
    Ok(OutboxId(id))
}
