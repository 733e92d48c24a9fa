//! Members: who is in a chat, as what, and how far they have read.

use super::PostgresStore;
use super::lock::{insert_members, lock, member, record, tell, view};
use super::pool::Pool;
use crate::error::{Error, Result};
use crate::event::EventBody;
use crate::id::{ChatId, Seq, UserId};
use crate::model::{Chat, Member, Role};
use crate::store::change::{Change, may_read};
use crate::store::fault::Fault;
use crate::store::row::{MemberListRow, MemberRow, role, role_number};
use crate::store::{Access, Committed, Members, PageRequest, Rows, cursor};
use async_trait::async_trait;
use sqlx::PgConnection;
use std::collections::HashMap;
use std::sync::Arc;

#[async_trait]
impl Members for PostgresStore {
    async fn join(&self, chat: ChatId, user: UserId, max_members: i64) -> Result<(Chat, Committed)> {
        self.run(|| join(&self.pool, chat, user, max_members)).await
    }

    async fn leave(&self, chat: ChatId, user: UserId) -> Result<Committed> {
        self.run(|| leave(&self.pool, chat, user)).await
    }

    async fn members(&self, chat: ChatId, by: UserId, page: &PageRequest) -> Result<Rows<Member>> {
        self.run(|| members(&self.pool, chat, by, page)).await
    }

    async fn add_members(
        &self,
        chat: ChatId,
        by: UserId,
        ids: &[UserId],
        max: i64,
    ) -> Result<(Vec<Member>, Committed)> {
        self.run(|| add_members(&self.pool, chat, by, ids, max)).await
    }

    async fn set_role(&self, chat: ChatId, by: UserId, user: UserId, role: Role) -> Result<(Member, Committed)> {
        self.run(|| set_role(&self.pool, chat, by, user, role)).await
    }

    async fn remove_member(&self, chat: ChatId, by: UserId, user: UserId) -> Result<Committed> {
        self.run(|| remove_member(&self.pool, chat, by, user)).await
    }

    async fn mark_read(&self, chat: ChatId, user: UserId, seq: Seq) -> Result<Seq> {
        self.run(|| mark_read(&self.pool, chat, user, seq)).await
    }

    async fn access(&self, pairs: &[(ChatId, UserId)]) -> Result<Vec<Option<Access>>> {
        self.run(|| access(&self.pool, pairs)).await
    }

    async fn member_ids(&self, chats: &[ChatId], max: i64) -> Result<Vec<(ChatId, Vec<UserId>)>> {
        self.run(|| member_ids(&self.pool, chats, max)).await
    }

    async fn still_members(&self, chat: ChatId, users: &[UserId]) -> Result<Vec<UserId>> {
        self.run(|| still_members(&self.pool, chat, users)).await
    }

    async fn chats_for_status(&self, users: &[UserId], max: i64) -> Result<Vec<(UserId, Vec<ChatId>)>> {
        self.run(|| chats_for_status(&self.pool, users, max)).await
    }
}

pub(super) async fn join(
    pool: &Arc<Pool>,
    chat: ChatId,
    user: UserId,
    max_members: i64,
) -> Result<(Chat, Committed), Fault> {
    let mut lease = pool.begin().await?;
    let joined = enter(lease.connection(), chat, user, max_members).await;
    lease.end_transaction(joined).await
}

async fn enter(
    connection: &mut PgConnection,
    chat: ChatId,
    user: UserId,
    max_members: i64,
) -> Result<(Chat, Committed), Fault> {
    let mut change = lock(connection, chat, user).await?;
    let is_new = change.role.is_none();
    let seq = change.chat.seq.next();
    if is_new {
        if change.chat.member_count >= max_members {
            return Err(Error::GroupFull.into());
        }
        let newcomer = candidates(connection, &change, &[user]).await?.pop().ok_or(Error::UserNotFound)?;
        change.joined(&newcomer);
        insert_members(connection, &change, &[(newcomer, seq.0)]).await?;
        record(connection, &change).await?;
    }
    let seen = view(connection, chat, user).await?.ok_or(Error::ChatNotFound)?;
    if is_new {
        change.welcome([(user, seq)], &seen);
    }
    Ok((seen, tell(connection, change).await?))
}

/// The active ones of these users as members to be.
async fn candidates(
    connection: &mut PgConnection,
    change: &Change,
    ids: &[UserId],
) -> Result<Vec<MemberRow>, sqlx::Error> {
    let ids: Vec<i64> = ids.iter().map(|id| id.0).collect();
    sqlx::query_as(
        "select id as user_id, username, 2::smallint as role, $2::timestamptz as joined_at
         from users where id = any ($1) and is_active order by id",
    )
    .bind(ids)
    .bind(change.at.0)
    .fetch_all(connection)
    .await
}

pub(super) async fn leave(pool: &Arc<Pool>, chat: ChatId, user: UserId) -> Result<Committed, Fault> {
    let mut lease = pool.begin().await?;
    let left = go(lease.connection(), chat, user, user).await;
    lease.end_transaction(left).await
}

pub(super) async fn remove_member(
    pool: &Arc<Pool>,
    chat: ChatId,
    by: UserId,
    user: UserId,
) -> Result<Committed, Fault> {
    let mut lease = pool.begin().await?;
    let removed = go(lease.connection(), chat, by, user).await;
    lease.end_transaction(removed).await
}

/// Takes a member out, oneself or by an owner.
async fn go(connection: &mut PgConnection, chat: ChatId, by: UserId, user: UserId) -> Result<Committed, Fault> {
    let mut change = lock(connection, chat, by).await?;
    if by == user {
        change.require_member()?;
        change.require_group()?;
    } else {
        change.require_owner()?;
    }
    let leaver = member(connection, chat, user).await?.ok_or(Error::MemberNotFound)?;
    sqlx::query("delete from members where chat_id = $1 and user_id = $2")
        .bind(chat)
        .bind(user)
        .execute(&mut *connection)
        .await?;
    change.left(&leaver);
    if role(leaver.role) == Role::Owner
        && let Some(heir) = crown_heir(connection, &change).await?
    {
        change.push(EventBody::MemberUpdated(heir.change()));
    }
    record(connection, &change).await?;
    tell(connection, change).await
}

/// Where no owner is left, makes one of the longest-standing member, of those whose account is active if there are any.
async fn crown_heir(connection: &mut PgConnection, change: &Change) -> Result<Option<MemberRow>, sqlx::Error> {
    if change.chat.is_deleted {
        return Ok(None);
    }
    sqlx::query_as(
        "update members m set role = 1
         from users u
         where u.id = m.user_id and m.chat_id = $1 and m.user_id = (
             select h.user_id from members h join users a on a.id = h.user_id
             where h.chat_id = $1 order by a.is_active desc, h.joined_at, h.user_id limit 1
         ) and not exists (select from members where chat_id = $1 and role = 1)
         returning m.user_id, u.username, m.role, m.joined_at",
    )
    .bind(change.chat.id)
    .fetch_optional(connection)
    .await
}

pub(super) async fn members(
    pool: &Arc<Pool>,
    chat: ChatId,
    by: UserId,
    page: &PageRequest,
) -> Result<Rows<Member>, Fault> {
    let after = cursor::member(page.cursor.as_deref())?;
    let mut lease = pool.lease().await?;
    let rows: Result<Vec<MemberListRow>, _> = sqlx::query_as(
        "select c.is_group, me.user_id is not null as is_member, x.user_id, x.username, x.role, x.joined_at
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
    .fetch_all(lease.connection())
    .await;
    let rows = lease.end(rows)?;
    let first = rows.first().ok_or(Error::ChatNotFound)?;
    may_read(first.is_group, first.is_member)?;
    let found: Vec<Member> = rows.into_iter().filter_map(MemberListRow::into_member).collect();
    Ok(cursor::page(found, page.limit, |member: &Member| cursor::of_member(member.user_id)))
}

pub(super) async fn add_members(
    pool: &Arc<Pool>,
    chat: ChatId,
    by: UserId,
    ids: &[UserId],
    max: i64,
) -> Result<(Vec<Member>, Committed), Fault> {
    let mut lease = pool.begin().await?;
    let added = add(lease.connection(), chat, by, ids, max).await;
    lease.end_transaction(added).await
}

async fn add(
    connection: &mut PgConnection,
    chat: ChatId,
    by: UserId,
    ids: &[UserId],
    max: i64,
) -> Result<(Vec<Member>, Committed), Fault> {
    let mut change = lock(connection, chat, by).await?;
    change.require_owner()?;
    let present = present_members(connection, chat, ids).await?;
    let absent: Vec<UserId> = ids.iter().copied().filter(|id| !present.contains_key(id)).collect();
    let newcomers = candidates(connection, &change, &absent).await?;
    let members = change.admit(ids, present, newcomers, max)?;
    if !members.newcomers.is_empty() {
        insert_members(connection, &change, &members.newcomers).await?;
        record(connection, &change).await?;
        if let Some((first, _)) = members.newcomers.first() {
            let seen = view(connection, chat, first.user_id).await?.ok_or(Error::ChatNotFound)?;
            change.welcome(members.newcomers.iter().map(|(member, seq)| (member.user_id, Seq(*seq))), &seen);
        }
    }
    Ok((members.asked, tell(connection, change).await?))
}

async fn present_members(
    connection: &mut PgConnection,
    chat: ChatId,
    ids: &[UserId],
) -> Result<HashMap<UserId, MemberRow>, sqlx::Error> {
    let ids: Vec<i64> = ids.iter().map(|id| id.0).collect();
    let rows: Vec<MemberRow> = sqlx::query_as(
        "select m.user_id, u.username, m.role, m.joined_at
         from members m join users u on u.id = m.user_id
         where m.chat_id = $1 and m.user_id = any ($2)",
    )
    .bind(chat)
    .bind(ids)
    .fetch_all(connection)
    .await?;
    Ok(rows.into_iter().map(|row| (row.user_id, row)).collect())
}

pub(super) async fn set_role(
    pool: &Arc<Pool>,
    chat: ChatId,
    by: UserId,
    user: UserId,
    role: Role,
) -> Result<(Member, Committed), Fault> {
    let mut lease = pool.begin().await?;
    let set = appoint(lease.connection(), chat, by, user, role).await;
    lease.end_transaction(set).await
}

async fn appoint(
    connection: &mut PgConnection,
    chat: ChatId,
    by: UserId,
    user: UserId,
    to: Role,
) -> Result<(Member, Committed), Fault> {
    let mut change = lock(connection, chat, by).await?;
    change.require_owner()?;
    let mut appointed = member(connection, chat, user).await?.ok_or(Error::MemberNotFound)?;
    if role(appointed.role) != to {
        let changed = sqlx::query(
            "update members set role = $3 where chat_id = $1 and user_id = $2
             and ($3 = 1 or exists (select from members where chat_id = $1 and user_id <> $2 and role = 1))",
        )
        .bind(chat)
        .bind(user)
        .bind(role_number(to))
        .execute(&mut *connection)
        .await?;
        if changed.rows_affected() == 0 {
            return Err(Error::invalid("role", "of the last owner cannot change: name another owner first").into());
        }
        appointed.role = role_number(to);
        change.push(EventBody::MemberUpdated(appointed.change()));
        record(connection, &change).await?;
    }
    Ok((appointed.into(), tell(connection, change).await?))
}

pub(super) async fn mark_read(pool: &Arc<Pool>, chat: ChatId, user: UserId, seq: Seq) -> Result<Seq, Fault> {
    let mut lease = pool.lease().await?;
    let place: Result<Option<(bool, bool, Option<i64>)>, _> = sqlx::query_as(
        "with place as (
             select c.is_group, least($3, c.seq) as to_seq, m.user_id, m.read_seq
             from chats c left join members m on m.chat_id = c.id and m.user_id = $2
             where c.id = $1 and c.deleted_at is null
         ), moved as (
             update members m set read_seq = greatest(m.read_seq, p.to_seq)
             from place p where m.chat_id = $1 and m.user_id = p.user_id and p.read_seq < p.to_seq
             returning m.read_seq
         )
         select p.is_group, p.user_id is not null, coalesce((select read_seq from moved), p.read_seq) from place p",
    )
    .bind(chat)
    .bind(user)
    .bind(seq)
    .fetch_optional(lease.connection())
    .await;
    // Never moves back: to say it again does no harm.
    let (is_group, is_member, at) = lease.end(place)?.ok_or(Error::ChatNotFound)?;
    may_read(is_group, is_member)?;
    Ok(Seq(at.unwrap_or_default()))
}

pub(super) async fn access(pool: &Arc<Pool>, pairs: &[(ChatId, UserId)]) -> Result<Vec<Option<Access>>, Fault> {
    if pairs.is_empty() {
        return Ok(Vec::new());
    }
    let (chats, users): (Vec<i64>, Vec<i64>) = pairs.iter().map(|(chat, user)| (chat.0, user.0)).unzip();
    let mut lease = pool.lease().await?;
    let rows: Result<Vec<(i64, ChatId, bool, Option<i16>, Seq, Seq, i64)>, _> = sqlx::query_as(
        "select p.ord, c.id, c.is_group, m.role, c.seq, c.floor, c.member_count
         from unnest($1::bigint[], $2::bigint[]) with ordinality as p (chat_id, user_id, ord)
         join chats c on c.id = p.chat_id and c.deleted_at is null
         left join members m on m.chat_id = c.id and m.user_id = p.user_id
         where c.is_group or m.user_id is not null",
    )
    .bind(chats)
    .bind(users)
    .fetch_all(lease.connection())
    .await;
    let mut found = vec![None; pairs.len()];
    for (ord, chat_id, is_group, number, head, floor, member_count) in lease.end(rows)? {
        if let Some(place) = usize::try_from(ord - 1).ok().and_then(|index| found.get_mut(index)) {
            *place = Some(Access { chat_id, is_group, role: number.map(role), head, floor, member_count });
        }
    }
    Ok(found)
}

pub(super) async fn member_ids(
    pool: &Arc<Pool>,
    chats: &[ChatId],
    max: i64,
) -> Result<Vec<(ChatId, Vec<UserId>)>, Fault> {
    let chats: Vec<i64> = chats.iter().map(|id| id.0).collect();
    let mut lease = pool.lease().await?;
    let rows: Result<Vec<(ChatId, Vec<i64>)>, _> = sqlx::query_as(
        "select m.chat_id, array_agg(m.user_id order by m.user_id)
         from chats c join members m on m.chat_id = c.id
         where c.id = any ($1) and c.member_count <= $2
         group by m.chat_id",
    )
    .bind(chats)
    .bind(max)
    .fetch_all(lease.connection())
    .await;
    let rows = lease.end(rows)?;
    Ok(rows.into_iter().map(|(chat, users)| (chat, users.into_iter().map(UserId).collect())).collect())
}

pub(super) async fn still_members(pool: &Arc<Pool>, chat: ChatId, users: &[UserId]) -> Result<Vec<UserId>, Fault> {
    let users: Vec<i64> = users.iter().map(|id| id.0).collect();
    let mut lease = pool.lease().await?;
    let rows = sqlx::query_scalar("select user_id from members where chat_id = $1 and user_id = any ($2)")
        .bind(chat)
        .bind(users)
        .fetch_all(lease.connection())
        .await;
    lease.end(rows)
}

pub(super) async fn chats_for_status(
    pool: &Arc<Pool>,
    users: &[UserId],
    max: i64,
) -> Result<Vec<(UserId, Vec<ChatId>)>, Fault> {
    let ids: Vec<i64> = users.iter().map(|id| id.0).collect();
    let mut lease = pool.lease().await?;
    let rows: Result<Vec<(i64, Vec<i64>)>, _> = sqlx::query_as(
        "select m.user_id, array_agg(m.chat_id order by m.chat_id)
         from members m join chats c on c.id = m.chat_id
         where m.user_id = any ($1) and c.member_count <= $2 and c.deleted_at is null
         group by m.user_id",
    )
    .bind(ids)
    .bind(max)
    .fetch_all(lease.connection())
    .await;
    let mut found: HashMap<i64, Vec<i64>> = lease.end(rows)?.into_iter().collect();
    Ok(users
        .iter()
        .map(|user| (*user, found.remove(&user.0).unwrap_or_default().into_iter().map(ChatId).collect()))
        .collect())
}
