//! Members: their changes, and who is in a chat.

use super::PostgresStore;
use super::join::join;
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
impl Members for PostgresStore {
    async fn join(&self, chat: ChatId, user: UserId, max_members: i64) -> Result<(Chat, Committed)> {
        self.as_one(join(self, chat, user, max_members)).await
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
        let limit = i64::try_from(limit).unwrap_or(i64::MAX);
        let chats: Vec<(ChatId,)> = self.rows(|| sqlx::query_as(left_without_owner!()).bind(user).bind(limit)).await?;
        Ok(chats.into_iter().map(|(chat,)| chat).collect())
    }

    async fn accounts_with_groups_left(&self, longer_than: Duration, limit: usize) -> Result<Vec<UserId>> {
        let found: Vec<(UserId,)> = self
            .rows(|| {
                sqlx::query_as(
                    "select user_id from departures where left_at <= clock_timestamp() - make_interval(secs => $1)
                     order by left_at, user_id limit $2",
                )
                .bind(longer_than.as_secs_f64())
                .bind(i64::try_from(limit).unwrap_or(i64::MAX))
            })
            .await?;
        Ok(found.into_iter().map(|(user,)| user).collect())
    }

    async fn all_groups_passed_on(&self, user: UserId, longer_than: Duration) -> Result<()> {
        let gone = self.row::<(i64,)>(|| {
            sqlx::query_as(
                "delete from departures where user_id = $1 and left_at <= clock_timestamp() - make_interval(secs => $2)
                 returning user_id",
            )
            .bind(user)
            .bind(longer_than.as_secs_f64())
        });
        gone.await.map(drop)
    }

    async fn pass_on(&self, chat: ChatId, user: UserId) -> Result<Committed> {
        self.change(|tx| Box::pin(heirs::pass_on(tx, chat, user))).await
    }

    async fn members(&self, chat: ChatId, by: UserId, page: &PageRequest) -> Result<Page<Member>> {
        let after = cursor::member(page.cursor.as_deref())?;
        let rows: Vec<MemberListRow> = self
            .listed(|| {
                sqlx::query_as(
                    "select c.is_group and c.is_public as is_open, me.user_id is not null as is_member, x.user_id, x.username, x.role, x.joined_at
                     from chats c
                     left join members me on me.chat_id = c.id and me.user_id = $2
                     left join lateral (
                         select m.user_id, u.username, m.role, m.joined_at
                         from members m join users u on u.id = m.user_id
                         where m.chat_id = c.id and m.user_id > $3
                         order by m.user_id limit $4
                     ) x on me.user_id is not null
                     where c.id = $1 and c.deleted_at is null
                     order by x.user_id",
                )
                .bind(chat)
                .bind(by)
                .bind(after)
                .bind(cursor::one_more(page.limit))
            })
            .await?;
        let first = rows.first().ok_or(Error::ChatNotFound)?;
        may_read(first.is_open, first.is_member)?;
        let found: Vec<Member> = rows.into_iter().filter_map(MemberListRow::into_member).collect();
        Ok(cursor::page(found, page.limit, |member: &Member| cursor::of_member(member.user_id)))
    }

    async fn mark_read(&self, chat: ChatId, user: UserId, seq: Seq) -> Result<ReadMark> {
        // The mark never moves back: to run it again does no harm.
        let place: Option<(bool, i64, bool, Option<i64>, bool, bool)> = self
            .row(|| {
                sqlx::query_as(
                    "with place as (
                         select c.is_group and c.is_public as is_open, c.member_count, least($3, c.seq) as to_seq, m.user_id, m.read_seq,
                                c.pair_low is not null and exists (
                                    select from blocks b where b.blocked_id = $2
                                    and b.user_id = case when c.pair_low = $2 then c.pair_high else c.pair_low end
                                ) as is_blocked
                         from chats c left join members m on m.chat_id = c.id and m.user_id = $2
                         where c.id = $1 and c.deleted_at is null
                     ), moved as (
                         update members m set read_seq = greatest(m.read_seq, p.to_seq)
                         from place p where m.chat_id = $1 and m.user_id = p.user_id and p.read_seq < p.to_seq
                         returning m.read_seq
                     ), seen as (
                         -- An edit mentions at its own number, above that of the message. As many
                         -- are looked at as are counted.
                         delete from mentions where ctid = any (array(
                             select n.ctid from (
                                 select o.ctid, o.message_id from mentions o
                                 where o.user_id = $2 and o.chat_id = $1
                                 and o.seq > greatest($3, (select p.read_seq from place p))
                                 order by o.seq limit 1000
                             ) n where (select x.seq from messages x where x.id = n.message_id) <= $3
                         ))
                     )
                     select p.is_open, p.member_count, p.user_id is not null,
                            coalesce((select read_seq from moved), p.read_seq), exists (select from moved), p.is_blocked
                     from place p",
                )
                .bind(chat)
                .bind(user)
                .bind(seq)
            })
            .await?;
        let (is_open, member_count, is_member, at, moved, is_blocked) = place.ok_or(Error::ChatNotFound)?;
        may_read(is_open, is_member)?;
        Ok(ReadMark { seq: Seq(at.unwrap_or_default()), moved, member_count, is_blocked })
    }

    async fn set_settings(&self, chat: ChatId, user: UserId, patch: SettingsPatch) -> Result<Option<Committed>> {
        self.change(|tx| Box::pin(changes::set_settings(tx, chat, user, patch))).await
    }

    async fn access(&self, pairs: &[(ChatId, UserId)]) -> Result<Vec<Option<Access>>> {
        if pairs.is_empty() {
            return Ok(Vec::new());
        }
        let (chats, users): (Vec<i64>, Vec<i64>) = pairs.iter().map(|(chat, user)| (chat.0, user.0)).unzip();
        let rows: Vec<(i64, ChatId, bool, Option<i16>, Seq, Seq, i64, String)> = self
            .rows(|| {
                sqlx::query_as(
                    "select p.ord, c.id, c.is_group, m.role, c.seq, c.floor, c.member_count,
                            (select history_epoch())
                     from unnest($1::bigint[], $2::bigint[]) with ordinality as p (chat_id, user_id, ord)
                     join chats c on c.id = p.chat_id and c.deleted_at is null
                     left join members m on m.chat_id = c.id and m.user_id = p.user_id
                     where c.is_group and c.is_public or m.user_id is not null",
                )
                .bind(&chats)
                .bind(&users)
            })
            .await?;
        let mut found = vec![None; pairs.len()];
        for (ord, chat_id, is_group, number, head, floor, member_count, epoch) in rows {
            if let Some(place) = usize::try_from(ord - 1).ok().and_then(|index| found.get_mut(index)) {
                let (role, epoch) = (number.map(role), epoch.into());
                *place = Some(Access { chat_id, is_group, role, head, floor, member_count, epoch });
            }
        }
        Ok(found)
    }

    async fn member_ids(&self, chats: &[ChatId], max: i64) -> Result<Vec<(ChatId, Vec<UserId>)>> {
        let chats: Vec<i64> = chats.iter().map(|id| id.0).collect();
        let rows: Vec<(ChatId, Vec<i64>)> = self
            .rows(|| {
                sqlx::query_as(
                    "select m.chat_id, array_agg(m.user_id order by m.user_id)
                     from chats c join members m on m.chat_id = c.id
                     where c.id = any ($1) and c.member_count <= $2
                     group by m.chat_id",
                )
                .bind(&chats)
                .bind(max)
            })
            .await?;
        Ok(rows.into_iter().map(|(chat, users)| (chat, users.into_iter().map(UserId).collect())).collect())
    }

    async fn members_among(&self, chat: ChatId, users: &[UserId]) -> Result<Vec<UserId>> {
        let users: Vec<i64> = users.iter().map(|id| id.0).collect();
        let rows: Vec<(UserId,)> = self
            .rows(|| {
                sqlx::query_as("select user_id from members where chat_id = $1 and user_id = any ($2) order by user_id")
                    .bind(chat)
                    .bind(&users)
            })
            .await?;
        Ok(rows.into_iter().map(|(user,)| user).collect())
    }

    async fn for_status(&self, users: &[UserId], max: i64, most: usize) -> Result<Vec<ForStatus>> {
        let ids: Vec<i64> = users.iter().map(|id| id.0).collect();
        let too_many = i64::try_from(most).unwrap_or(i64::MAX).saturating_add(1);
        let rows: Vec<(UserId, String, Option<Time>, Option<Vec<i64>>)> = self
            .rows(|| {
                sqlx::query_as(
                    "select u.id, u.username, u.last_seen_at, f.chats
                     from users u cross join lateral (
                         select case when count(*) < $3 then
                             coalesce(array_agg(m.chat_id order by m.chat_id) filter (where m.hears), '{}')
                         end as chats
                         from (
                             select o.chat_id, c.hears from members o
                             -- By its key, whatever is known of tables that were never analysed.
                             left join lateral (
                                 select true as hears from chats c
                                 where c.id = o.chat_id and c.member_count <= $2 and c.deleted_at is null limit 1
                             ) c on true
                             where o.user_id = u.id limit $3
                         ) m
                     ) f
                     where u.id = any ($1)",
                )
                .bind(&ids)
                .bind(max)
                .bind(too_many)
            })
            .await?;
        let read = |(user_id, username, seen, chats): (_, _, Option<Time>, Option<Vec<i64>>)| ForStatus {
            user_id,
            username,
            last_seen_at: seen.map(|time| time.0),
            chats: chats.map(|chats| chats.into_iter().map(ChatId).collect()),
        };
        Ok(rows.into_iter().map(read).collect())
    }
}
