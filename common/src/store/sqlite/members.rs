//! Members: their changes, and who is in a chat.

use super::SqliteStore;
use super::database::{commit, json};
use crate::error::{Error, Result};
use crate::id::{ChatId, Seq, UserId};
use crate::model::{Chat, Member, Page, Role};
use crate::store::changes::{heirs, members as changes};
use crate::store::chats::may_read;
use crate::store::members::{MemberListRow, left_without_owner, role};
use crate::store::stored_time::Time;
use crate::store::{Access, Committed, ForStatus, Members, PageRequest, ReadMark, SettingsPatch, cursor};
use async_trait::async_trait;
use std::time::Duration;

#[async_trait]
impl Members for SqliteStore {
    async fn join(&self, chat: ChatId, user: UserId, max_members: i64) -> Result<(Chat, Committed)> {
        self.change(|tx| Box::pin(changes::join(tx, chat, user, max_members))).await
    }

    async fn leave(&self, chat: ChatId, user: UserId) -> Result<Committed> {
        self.change(|tx| Box::pin(changes::remove_member(tx, chat, user, user))).await
    }

    async fn add_members(
        &self,
        chat: ChatId,
        by: UserId,
        ids: &[UserId],
        max_members: i64,
    ) -> Result<(Vec<Member>, Committed)> {
        self.change(|tx| Box::pin(changes::add_members(tx, chat, by, ids, max_members))).await
    }

    async fn set_role(&self, chat: ChatId, by: UserId, user: UserId, role: Role) -> Result<(Member, Committed)> {
        self.change(|tx| Box::pin(changes::set_role(tx, chat, by, user, role))).await
    }

    async fn remove_member(&self, chat: ChatId, by: UserId, user: UserId) -> Result<Committed> {
        self.change(|tx| Box::pin(changes::remove_member(tx, chat, by, user))).await
    }

    async fn left_without_owner(&self, user: UserId, limit: usize) -> Result<Vec<ChatId>> {
        let statement = sqlx::query_as(left_without_owner!()).bind(user).bind(i64::try_from(limit).unwrap_or(i64::MAX));
        let chats: Vec<(ChatId,)> = self.rows(statement).await?;
        Ok(chats.into_iter().map(|(chat,)| chat).collect())
    }

    async fn accounts_with_groups_left(&self, longer_than: Duration, limit: usize) -> Result<Vec<UserId>> {
        let found =
            sqlx::query_as("select user_id from departures where left_at <= $1 order by left_at, user_id limit $2");
        let found = found.bind(self.database.before(longer_than)).bind(i64::try_from(limit).unwrap_or(i64::MAX));
        let found: Vec<(UserId,)> = self.rows(found).await?;
        Ok(found.into_iter().map(|(user,)| user).collect())
    }

    async fn all_groups_passed_on(&self, user: UserId, longer_than: Duration) -> Result<()> {
        self.run(async {
            let mut transaction = self.database.begin().await?;
            let gone = sqlx::query("delete from departures where user_id = $1 and left_at <= $2");
            gone.bind(user).bind(self.database.before(longer_than)).execute(&mut *transaction).await?;
            commit(transaction, ()).await
        })
        .await
    }

    async fn pass_on(&self, chat: ChatId, user: UserId) -> Result<Committed> {
        self.change(|tx| Box::pin(heirs::pass_on(tx, chat, user))).await
    }

    async fn members(&self, chat: ChatId, by: UserId, page: &PageRequest) -> Result<Page<Member>> {
        let after = cursor::member(page.cursor.as_deref())?;
        let statement = sqlx::query_as(
            "select c.is_group and c.is_public as is_open, me.user_id is not null as is_member, x.user_id, u.username, x.role, x.joined_at
             from chats c
             left join members me on me.chat_id = c.id and me.user_id = $2
             left join (
                 select * from members where chat_id = $1 and user_id > $3 order by user_id limit $4
             ) x on me.user_id is not null
             left join users u on u.id = x.user_id
             where c.id = $1 and c.deleted_at is null
             order by x.user_id",
        );
        let statement = statement.bind(chat).bind(by).bind(after).bind(cursor::one_more(page.limit));
        let rows: Vec<MemberListRow> = self.rows(statement).await?;
        let first = rows.first().ok_or(Error::ChatNotFound)?;
        may_read(first.is_open, first.is_member)?;
        let found: Vec<Member> = rows.into_iter().filter_map(MemberListRow::into_member).collect();
        Ok(cursor::page(found, page.limit, |member: &Member| cursor::of_member(member.user_id)))
    }

    async fn mark_read(&self, chat: ChatId, user: UserId, seq: Seq) -> Result<ReadMark> {
        self.run(async {
            let mut transaction = self.database.begin().await?;
            let place: Option<(bool, i64, bool, Option<Seq>, Seq, bool)> = sqlx::query_as(
                "select c.is_group and c.is_public, c.member_count, m.user_id is not null, m.read_seq, min($3, c.seq),
                        c.pair_low is not null and exists (
                            select 1 from blocks b where b.blocked_id = $2
                            and b.user_id = case when c.pair_low = $2 then c.pair_high else c.pair_low end
                        )
                 from chats c left join members m on m.chat_id = c.id and m.user_id = $2
                 where c.id = $1 and c.deleted_at is null",
            )
            .bind(chat)
            .bind(user)
            .bind(seq)
            .fetch_optional(&mut *transaction)
            .await?;
            let (is_open, member_count, is_member, at, to, is_blocked) = place.ok_or(Error::ChatNotFound)?;
            may_read(is_open, is_member)?;
            let at = at.unwrap_or_default();
            // An edit mentions at its own number, above that of the message that is read. As many
            // are looked at as are counted.
            sqlx::query(
                "delete from mentions where (user_id, chat_id, seq, message_id) in (
                     select $1, $2, n.seq, n.message_id from (
                         select seq, message_id from mentions
                         where user_id = $1 and chat_id = $2 and seq > max($3, $4) order by seq limit 1000
                     ) n join messages x on x.id = n.message_id where x.seq <= $3
                 )",
            )
            .bind(user)
            .bind(chat)
            .bind(seq)
            .bind(at)
            .execute(&mut *transaction)
            .await?;
            if to <= at {
                return commit(transaction, ReadMark { seq: at, moved: false, member_count, is_blocked }).await;
            }
            sqlx::query("update members set read_seq = $3 where chat_id = $1 and user_id = $2")
                .bind(chat)
                .bind(user)
                .bind(to)
                .execute(&mut *transaction)
                .await?;
            commit(transaction, ReadMark { seq: to, moved: true, member_count, is_blocked }).await
        })
        .await
    }

    async fn set_settings(&self, chat: ChatId, user: UserId, patch: SettingsPatch) -> Result<Option<Committed>> {
        self.change(|tx| Box::pin(changes::set_settings(tx, chat, user, patch))).await
    }

    async fn access(&self, pairs: &[(ChatId, UserId)]) -> Result<Vec<Option<Access>>> {
        let statement = sqlx::query_as(
            "select p.ord, c.id, c.is_group, m.role, c.seq, c.floor, c.member_count,
                    (select epoch from deployment)
             from (select key as ord, value ->> 0 as chat_id, value ->> 1 as user_id from json_each($1)) p
             join chats c on c.id = p.chat_id and c.deleted_at is null
             left join members m on m.chat_id = c.id and m.user_id = p.user_id
             where c.is_group and c.is_public or m.user_id is not null",
        );
        let rows: Vec<(i64, ChatId, bool, Option<i16>, Seq, Seq, i64, String)> =
            self.rows(statement.bind(json(&pairs)?)).await?;
        let mut found = vec![None; pairs.len()];
        for (ord, chat_id, is_group, number, head, floor, member_count, epoch) in rows {
            if let Some(place) = usize::try_from(ord).ok().and_then(|index| found.get_mut(index)) {
                let (role, epoch) = (number.map(role), epoch.into());
                *place = Some(Access { chat_id, is_group, role, head, floor, member_count, epoch });
            }
        }
        Ok(found)
    }

    async fn member_ids(&self, chats: &[ChatId], max: i64) -> Result<Vec<(ChatId, Vec<UserId>)>> {
        let statement = sqlx::query_as(
            "select m.chat_id, m.user_id
             from chats c join members m on m.chat_id = c.id
             where c.id in (select value from json_each($1)) and c.member_count <= $2
             order by m.chat_id, m.user_id",
        );
        let rows: Vec<(ChatId, UserId)> = self.rows(statement.bind(json(&chats)?).bind(max)).await?;
        let mut found: Vec<(ChatId, Vec<UserId>)> = Vec::new();
        for (chat, user) in rows {
            match found.last_mut() {
                Some((last, users)) if *last == chat => users.push(user),
                _ => found.push((chat, vec![user])),
            }
        }
        Ok(found)
    }

    async fn members_among(&self, chat: ChatId, users: &[UserId]) -> Result<Vec<UserId>> {
        let statement = sqlx::query_as(
            "select user_id from members where chat_id = $1 and user_id in (select value from json_each($2))
             order by user_id",
        );
        let rows: Vec<(UserId,)> = self.rows(statement.bind(chat).bind(json(&users)?)).await?;
        Ok(rows.into_iter().map(|(user,)| user).collect())
    }

    async fn for_status(&self, users: &[UserId], max: i64, most: usize) -> Result<Vec<ForStatus>> {
        let statement = sqlx::query_as(
            "select u.id, u.username, u.last_seen_at,
                    case when (select count(*) from (select 1 from members m where m.user_id = u.id limit $3)) < $3 then (
                        select json_group_array(m.chat_id) from (
                            select m.chat_id from members m join chats c on c.id = m.chat_id
                            where m.user_id = u.id and c.member_count <= $2 and c.deleted_at is null
                            order by m.chat_id
                        ) m
                    ) end
             from users u where u.id in (select value from json_each($1))",
        );
        let too_many = i64::try_from(most).unwrap_or(i64::MAX).saturating_add(1);
        let rows: Vec<(UserId, String, Option<Time>, Option<String>)> =
            self.rows(statement.bind(json(&users)?).bind(max).bind(too_many)).await?;
        let read = |(user_id, username, seen, chats): (_, _, Option<Time>, Option<String>)| {
            let chats = chats.map(|chats| serde_json::from_str(&chats)).transpose().map_err(Error::internal)?;
            Ok(ForStatus { user_id, username, last_seen_at: seen.map(|time| time.0), chats })
        };
        rows.into_iter().map(read).collect()
    }
}
