//! The statements of a change. A connection with a transaction begun is the transaction.

use super::chats::views;
use super::connection::ServerConnection;
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
use crate::words;
use async_trait::async_trait;

#[async_trait]
impl Transaction for ServerConnection {
    async fn lock(&mut self, chat: ChatId, by: UserId) -> Result<(Option<ChatRow>, Option<Role>, Time), Fault> {
        let row = sqlx::query_as(
            "select id, is_group, is_public, name, description, created_at, seq, member_count,
                    deleted_at is not null as is_deleted
             from chats where id = $1 for no key update",
        )
        .bind(chat)
        .fetch_optional(&mut *self)
        .await?;
        // A statement of its own sees what was committed while the first waited for the lock.
        let (at, number): (Time, Option<i16>) =
            sqlx::query_as("select clock_timestamp(), (select role from members where chat_id = $1 and user_id = $2)")
                .bind(chat)
                .bind(by)
                .fetch_one(self)
                .await?;
        Ok((row, number.map(role), at))
    }

    async fn record(&mut self, change: &Change) -> Result<(), Fault> {
        let chat = &change.chat;
        let (mut seqs, mut kinds, mut messages, mut users, mut roles) = (vec![], vec![], vec![], vec![], vec![]);
        let (mut emoji, mut counts, mut notified) = (vec![], vec![], vec![]);
        for event in change.columns() {
            seqs.push(event.seq.0);
            kinds.push(event.kind);
            messages.push(event.message_id.map(|id| id.0));
            users.push(event.user_id.map(|id| id.0));
            roles.push(event.role);
            emoji.push(event.emoji);
            counts.push(event.emoji_count);
            notified.push(event.notified);
        }
        sqlx::query(
            "with logged as (
                 insert into events (chat_id, seq, kind, message_id, user_id, role, created_at, emoji, emoji_count, notified)
                 select $1, e.seq, e.kind, e.message_id, e.user_id, e.role, $7, e.emoji, e.emoji_count, e.notified
                 from unnest($2::bigint[], $3::smallint[], $4::bigint[], $5::bigint[], $6::smallint[], $13::text[], $14::bigint[],
                             $15::text[])
                      as e (seq, kind, message_id, user_id, role, emoji, emoji_count, notified)
             )
             update chats set seq = $8, name = $9, description = $10, member_count = $11,
                 deleted_at = case when $12 then coalesce(deleted_at, $7) end
             where id = $1",
        )
        .bind(chat.id)
        .bind(seqs)
        .bind(kinds)
        .bind(messages)
        .bind(users)
        .bind(roles)
        .bind(change.at.0)
        .bind(chat.seq)
        .bind(&chat.name)
        .bind(&chat.description)
        .bind(chat.member_count)
        .bind(chat.is_deleted)
        .bind(emoji)
        .bind(counts)
        .bind(notified)
        .execute(self)
        .await?;
        Ok(())
    }

    async fn insert_outbox(&mut self, payload: &OutboxPayload, _: Time) -> Result<OutboxId, Fault> {
        // The column's default is the time.
        let id = sqlx::query_scalar("insert into outbox (size, payload) values ($1, $2::json) returning id")
            .bind(payload.size())
            .bind(payload.to_json()?)
            .fetch_one(self)
            .await?;
        Ok(OutboxId(id))
    }

    async fn views(&mut self, pairs: &[(ChatId, UserId)]) -> Result<Vec<(UserId, Chat)>, Fault> {
        Ok(views(self, pairs).await?)
    }

    async fn insert_chat(&mut self, chat: &NewChat<'_>, members: usize) -> Result<Option<ChatRow>, Fault> {
        let (low, high) = chat.pair();
        Ok(sqlx::query_as(
            "insert into chats (is_group, is_public, name, description, created_at, active_at, member_count, pair_low, pair_high)
             select $1, $2, $3, $4, t.now, t.now, $5, $6, $7 from (select clock_timestamp() as now) t
             on conflict (pair_low, pair_high) where pair_low is not null do nothing
             returning id, is_group, is_public, name, description, created_at, seq, member_count, false as is_deleted",
        )
        .bind(chat.is_group())
        .bind(chat.is_public())
        .bind(chat.name())
        .bind(chat.description())
        .bind(i64::try_from(members).unwrap_or(i64::MAX))
        .bind(low)
        .bind(high)
        .fetch_optional(self)
        .await?)
    }

    async fn private_chat_of(&mut self, low: UserId, high: UserId) -> Result<Option<ChatId>, Fault> {
        Ok(sqlx::query_scalar(PRIVATE_CHAT_OF).bind(low).bind(high).fetch_optional(self).await?)
    }

    async fn active_users(&mut self, ids: &[UserId]) -> Result<Vec<(UserId, String)>, Fault> {
        let ids: Vec<i64> = ids.iter().map(|id| id.0).collect();
        let users = sqlx::query_as("select id, username from users where id = any ($1) and is_active order by id");
        Ok(users.bind(ids).fetch_all(self).await?)
    }

    async fn members_among(&mut self, chat: ChatId, ids: &[UserId]) -> Result<Vec<Member>, Fault> {
        let ids: Vec<i64> = ids.iter().map(|id| id.0).collect();
        let rows: Vec<MemberRow> = sqlx::query_as(
            "select m.user_id, u.username, m.role, m.joined_at
             from members m join users u on u.id = m.user_id
             where m.chat_id = $1 and m.user_id = any ($2)",
        )
        .bind(chat)
        .bind(ids)
        .fetch_all(self)
        .await?;
        Ok(rows.into_iter().map(Member::from).collect())
    }

    async fn insert_members(&mut self, change: &Change, newcomers: &[(Member, Seq)]) -> Result<(), Fault> {
        let users: Vec<i64> = newcomers.iter().map(|(member, _)| member.user_id.0).collect();
        let roles: Vec<i16> = newcomers.iter().map(|(member, _)| role_number(member.role)).collect();
        let read: Vec<i64> = newcomers.iter().map(|(_, seq)| seq.0).collect();
        sqlx::query(
            "insert into members (chat_id, user_id, role, joined_at, read_seq)
             select $1, m.user_id, m.role, $2, m.read_seq
             from unnest($3::bigint[], $4::smallint[], $5::bigint[]) as m (user_id, role, read_seq)",
        )
        .bind(change.chat.id)
        .bind(change.at.0)
        .bind(users)
        .bind(roles)
        .bind(read)
        .execute(self)
        .await?;
        Ok(())
    }

    async fn delete_member(&mut self, chat: ChatId, user: UserId) -> Result<(), Fault> {
        let deleted = sqlx::query("delete from members where chat_id = $1 and user_id = $2");
        deleted.bind(chat).bind(user).execute(self).await?;
        Ok(())
    }

    async fn delete_members(&mut self, chat: ChatId) -> Result<Vec<UserId>, Fault> {
        let deleted = sqlx::query_scalar("delete from members where chat_id = $1 returning user_id");
        Ok(deleted.bind(chat).fetch_all(self).await?)
    }

    async fn set_role(&mut self, chat: ChatId, user: UserId, role: Role) -> Result<bool, Fault> {
        let changed = sqlx::query(
            "update members set role = $3 where chat_id = $1 and user_id = $2
             and ($3 = 1 or exists (
                 select from members o join users a on a.id = o.user_id
                 where o.chat_id = $1 and o.user_id <> $2 and o.role = 1 and a.is_active
             ))",
        )
        .bind(chat)
        .bind(user)
        .bind(role_number(role))
        .execute(self)
        .await?;
        Ok(changed.rows_affected() > 0)
    }

    async fn set_settings(&mut self, chat: ChatId, user: UserId, patch: SettingsPatch) -> Result<Option<Time>, Fault> {
        Ok(sqlx::query_scalar(
            "update members set muted_until = case when $3 then $4 else muted_until end,
                 archived = coalesce($5, archived), pinned = coalesce($6, pinned), settings_at = clock_timestamp()
             where chat_id = $1 and user_id = $2 returning settings_at",
        )
        .bind(chat)
        .bind(user)
        .bind(patch.muted_until.is_some())
        .bind(patch.muted_until.flatten())
        .bind(patch.archived)
        .bind(patch.pinned)
        .fetch_optional(self)
        .await?)
    }

    async fn has_owner(&mut self, chat: ChatId, but: UserId) -> Result<bool, Fault> {
        let owned = sqlx::query_scalar(
            "select exists (
                 select from members o join users a on a.id = o.user_id
                 where o.chat_id = $1 and o.user_id <> $2 and o.role = 1 and a.is_active
             )",
        );
        Ok(owned.bind(chat).bind(but).fetch_one(self).await?)
    }

    async fn crown_heir(&mut self, chat: ChatId, but: UserId) -> Result<Option<Member>, Fault> {
        loop {
            let heir: Option<UserId> = sqlx::query_scalar(
                "select h.user_id from members h join users a on a.id = h.user_id
                 where h.chat_id = $1 and h.user_id <> $2 and a.is_active
                 order by h.joined_at, h.user_id limit 1",
            )
            .bind(chat)
            .bind(but)
            .fetch_optional(&mut *self)
            .await?;
            let Some(heir) = heir else { return Ok(None) };
            // An heir who was deactivated meanwhile is not read again.
            if self.stays_active(heir).await? {
                let crowned = sqlx::query("update members set role = 1 where chat_id = $1 and user_id = $2");
                crowned.bind(chat).bind(heir).execute(&mut *self).await?;
                return self.member(chat, heir).await;
            }
        }
    }

    async fn stays_active(&mut self, user: UserId) -> Result<bool, Fault> {
        let active = sqlx::query_scalar("select is_active from users where id = $1 for share");
        Ok(active.bind(user).fetch_optional(self).await?.unwrap_or(false))
    }

    async fn chat_of(&mut self, message: MessageId) -> Result<Option<ChatId>, Fault> {
        let chat = sqlx::query_scalar("select chat_id from messages where id = $1 and deleted_at is null");
        Ok(chat.bind(message).fetch_optional(self).await?)
    }

    async fn message(&mut self, chat: ChatId, message: MessageId, viewer: UserId) -> Result<Option<Message>, Fault> {
        let row: Option<MessageRow> = sqlx::query_as(concat!(
            "select ",
            seen_columns!("$2"),
            " from messages x join users a on a.id = x.author_id where x.id = $1 and x.deleted_at is null"
        ))
        .bind(message)
        .bind(viewer)
        .fetch_optional(self)
        .await?;
        Ok(row.and_then(|row| row.into_message(chat)))
    }

    async fn set_text(&mut self, message: MessageId, text: &str, mentions: &[UserId], at: Time) -> Result<(), Fault> {
        let set = sqlx::query("update messages set text = $2, edited_at = $3, mentions = $4 where id = $1");
        set.bind(message).bind(text).bind(at.0).bind(stored_users(mentions)).execute(&mut *self).await?;
        // The trigger forgot those of the text before.
        let set = sqlx::query("update messages set words = $2::text::tsvector where id = $1");
        set.bind(message).bind(words::vector(text)).execute(self).await?;
        Ok(())
    }

    async fn erase_text(&mut self, message: MessageId, at: Time) -> Result<(), Fault> {
        // A pin is found by its chat first.
        let pin = "delete from pins where message_id = $1 and chat_id = (select chat_id from messages where id = $1)";
        for hung in ["delete from reactions where message_id = $1", pin] {
            sqlx::query(hung).bind(message).execute(&mut *self).await?;
        }
        let erased = sqlx::query(
            "update messages set text = '', text_digest = null, deleted_at = $2, reactions = null, mentions = null
             where id = $1",
        );
        erased.bind(message).bind(at.0).execute(&mut *self).await?;
        Ok(())
    }
}
