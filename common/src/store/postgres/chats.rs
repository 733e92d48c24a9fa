//! Chats: made, listed, changed, deleted.

use super::PostgresStore;
use super::lock::{insert_members, lock, record, tell, view, views};
use super::pool::{Lease, Pool};
use crate::error::{Error, Result};
use crate::id::{ChatId, Seq, UserId};
use crate::model::{Chat, Role};
use crate::store::change::Change;
use crate::store::fault::Fault;
use crate::store::row::{ChatRow, MemberRow, Time, ViewRow, role_number};
use crate::store::{ChatPatch, Chats, Committed, NewGroup, NoticeBody, PageRequest, Rows, cursor};
use async_trait::async_trait;
use sqlx::PgConnection;
use std::sync::Arc;

#[async_trait]
impl Chats for PostgresStore {
    async fn create_group(&self, group: NewGroup) -> Result<(Chat, Committed)> {
        self.run(|| create_group(&self.pool, &group)).await
    }

    async fn private_chat(&self, user: UserId, other: UserId) -> Result<(Chat, bool, Committed)> {
        self.run(|| private_chat(&self.pool, user, other)).await
    }

    async fn chats_of(&self, user: UserId, page: &PageRequest) -> Result<Rows<Chat>> {
        self.run(|| chats_of(&self.pool, user, page)).await
    }

    async fn chat(&self, chat: ChatId, viewer: UserId) -> Result<Option<Chat>> {
        self.run(|| self::chat(&self.pool, chat, viewer)).await
    }

    async fn update_chat(&self, chat: ChatId, by: UserId, patch: ChatPatch) -> Result<(Chat, Committed)> {
        self.run(|| update_chat(&self.pool, chat, by, &patch)).await
    }

    async fn delete_chat(&self, chat: ChatId, by: UserId) -> Result<Committed> {
        self.run(|| delete_chat(&self.pool, chat, by)).await
    }
}

pub(super) async fn create_group(pool: &Arc<Pool>, group: &NewGroup) -> Result<(Chat, Committed), Fault> {
    let mut lease = pool.begin().await?;
    let made = make_group(lease.connection(), group).await;
    lease.end_transaction(made).await
}

async fn make_group(connection: &mut PgConnection, group: &NewGroup) -> Result<(Chat, Committed), Fault> {
    let mut ids = vec![group.owner];
    ids.extend(&group.member_ids);
    let members = active_members(connection, &ids).await?;
    if members.len() != ids.len() {
        return Err(Error::invalid("member_ids", "names a user who does not exist, or one twice, or yourself").into());
    }
    let row = insert_chat(connection, Some((&group.name, group.description.as_deref())), None, ids.len()).await?;
    finish_new(connection, row.expect_made()?, members, Some(group.owner)).await
}

/// The row of a chat that was made now, with the database's time.
struct Made(Option<(ChatRow, Time)>);

impl Made {
    fn expect_made(self) -> Result<(ChatRow, Time), Fault> {
        self.0.ok_or_else(|| Error::internal("a chat was not inserted").into())
    }
}

/// Inserts a group, or the private chat of a pair unless it is there.
async fn insert_chat(
    connection: &mut PgConnection,
    group: Option<(&str, Option<&str>)>,
    pair: Option<(UserId, UserId)>,
    members: usize,
) -> Result<Made, sqlx::Error> {
    let row: Option<ChatRow> = sqlx::query_as(
        "insert into chats (is_group, name, description, created_at, active_at, member_count, pair_low, pair_high)
         select $1, $2, $3, t.now, t.now, $4, $5, $6 from (select clock_timestamp() as now) t
         on conflict (pair_low, pair_high) where pair_low is not null do nothing
         returning id, is_group, name, description, created_at, seq, member_count, false as is_deleted",
    )
    .bind(group.is_some())
    .bind(group.map_or("", |(name, _)| name))
    .bind(group.and_then(|(_, description)| description))
    .bind(i64::try_from(members).unwrap_or(i64::MAX))
    .bind(pair.map(|(low, _)| low))
    .bind(pair.map(|(_, high)| high))
    .fetch_optional(connection)
    .await?;
    Ok(Made(row.map(|row| (row.clone(), row.created_at))))
}

/// The active ones of these users, as members, the owner not yet named.
async fn active_members(connection: &mut PgConnection, ids: &[UserId]) -> Result<Vec<MemberRow>, sqlx::Error> {
    let ids: Vec<i64> = ids.iter().map(|id| id.0).collect();
    sqlx::query_as(
        "select id as user_id, username, 2::smallint as role, clock_timestamp() as joined_at
         from users where id = any ($1) and is_active order by id",
    )
    .bind(ids)
    .fetch_all(connection)
    .await
}

/// Gives a new chat its members, and everyone the word of it. Answers the chat as the last of `members` sees it, or its owner.
async fn finish_new(
    connection: &mut PgConnection,
    (row, at): (ChatRow, Time),
    mut members: Vec<MemberRow>,
    owner: Option<UserId>,
) -> Result<(Chat, Committed), Fault> {
    for member in &mut members {
        member.role = role_number(if Some(member.user_id) == owner { Role::Owner } else { Role::Member });
    }
    let chat_id = row.id;
    let mut change = Change::new(Some(row), Some(Role::Owner), at)?;
    let newcomers: Vec<_> = members.into_iter().map(|member| (member, 0)).collect();
    insert_members(connection, &change, &newcomers).await?;
    // Of a group all members but the owner see the same; of a private chat each sees the other.
    let first = owner.or(newcomers.first().map(|(member, _)| member.user_id)).unwrap_or_default();
    let second = newcomers.iter().map(|(member, _)| member.user_id).find(|user| *user != first);
    let pairs: Vec<_> = [Some(first), second].into_iter().flatten().map(|user| (chat_id, user)).collect();
    let seen = views(connection, &pairs).await?;
    let seen_by = |user: UserId| seen.iter().find(|(viewer, _)| *viewer == user).map(|(_, chat)| chat);
    let missing = || Error::internal("a new chat is not seen by its member");
    let own = seen_by(first).ok_or_else(missing)?;
    change.welcome([(first, Seq(0))], own);
    if let Some(chat) = second.and_then(seen_by) {
        let others = newcomers.iter().map(|(member, _)| member.user_id).filter(|user| *user != first);
        change.welcome(others.map(|user| (user, Seq(0))), chat);
    }
    let own = own.clone();
    Ok((own, tell(connection, change).await?))
}

pub(super) async fn private_chat(
    pool: &Arc<Pool>,
    user: UserId,
    other: UserId,
) -> Result<(Chat, bool, Committed), Fault> {
    if user == other {
        return Err(Error::UserNotFound.into());
    }
    let (low, high) = (user.min(other), user.max(other));
    if let Some(chat) = find_private(&mut pool.lease().await?, low, high, user).await? {
        return Ok((chat, false, Committed::default()));
    }
    let mut lease = pool.begin().await?;
    let made = make_private(lease.connection(), (low, high), user).await;
    lease.end_transaction(made).await
}

async fn find_private(lease: &mut Lease, low: UserId, high: UserId, viewer: UserId) -> Result<Option<Chat>, Fault> {
    let connection = lease.connection();
    let found = async {
        match pair_id(connection, low, high).await? {
            Some(id) => view(connection, id, viewer).await,
            None => Ok(None),
        }
    }
    .await;
    lease.settle(found)
}

async fn pair_id(connection: &mut PgConnection, low: UserId, high: UserId) -> Result<Option<ChatId>, sqlx::Error> {
    sqlx::query_scalar("select id from chats where pair_low = $1 and pair_high = $2 and pair_low is not null")
        .bind(low)
        .bind(high)
        .fetch_optional(connection)
        .await
}

async fn make_private(
    connection: &mut PgConnection,
    (low, high): (UserId, UserId),
    user: UserId,
) -> Result<(Chat, bool, Committed), Fault> {
    let members = active_members(connection, &[low, high]).await?;
    if members.len() != 2 {
        return Err(Error::UserNotFound.into());
    }
    if let Made(Some(made)) = insert_chat(connection, None, Some((low, high)), 2).await? {
        let chat_id = made.0.id;
        let (_, committed) = finish_new(connection, made, members, None).await?;
        let chat = view(connection, chat_id, user).await?.ok_or(Error::ChatNotFound)?;
        return Ok((chat, true, committed));
    }
    // Another transaction made it meanwhile, and has committed it: the index waited for that.
    let id = pair_id(connection, low, high).await?.ok_or(Error::ChatNotFound)?;
    let chat = view(connection, id, user).await?.ok_or(Error::ChatNotFound)?;
    Ok((chat, false, Committed::default()))
}

pub(super) async fn chats_of(pool: &Arc<Pool>, user: UserId, page: &PageRequest) -> Result<Rows<Chat>, Fault> {
    let (active_at, id) = cursor::chat(page.cursor.as_deref())?;
    let active_at = Time::from_micros(active_at).ok_or_else(|| Error::invalid("cursor", "is out of range"))?;
    let mut lease = pool.lease().await?;
    let rows: Result<Vec<ViewRow>, _> = sqlx::query_as(
        "select $1::bigint as viewer_id, c.id, c.is_group, c.name, c.description, c.created_at, c.active_at, c.seq,
                c.member_count, c.role, p.id as peer_id, p.username as peer_username, unread.count as unread_count, last.*
         from (
             select c.*, m.role, m.read_seq
             from members m join chats c on c.id = m.chat_id
             where m.user_id = $1 and c.deleted_at is null and (c.active_at, c.id) < ($2, $3)
             order by c.active_at desc, c.id desc limit $4
         ) c
         left join lateral (
             select u.id, u.username from users u
             where u.id = case when c.pair_low = $1 then c.pair_high else c.pair_low end limit 1
         ) p on true
         left join lateral (
             select x.id as m_id, x.author_id as m_author_id, a.username as m_author_username, x.text as m_text,
                    x.created_at as m_created_at, x.edited_at as m_edited_at, false as m_is_deleted, x.seq as m_seq,
                    x.client_message_id as m_client_message_id, x.reply_to_id as m_reply_to_id
             from messages x join users a on a.id = x.author_id
             where x.chat_id = c.id and x.deleted_at is null
             order by x.seq desc limit 1
         ) last on true
         left join lateral (
             select count(*) as count from (
                 select from messages x
                 where x.chat_id = c.id and x.seq > c.read_seq and x.author_id <> $1 and x.deleted_at is null
                 limit 1000
             ) counted
         ) unread on true
         order by c.active_at desc, c.id desc",
    )
    .bind(user)
    .bind(active_at.0)
    .bind(id)
    .bind(cursor::one_more(page.limit))
    .fetch_all(lease.connection())
    .await;
    Ok(cursor::page(lease.end(rows)?, page.limit, |row: &ViewRow| cursor::of_chat(row.active_at.0, row.id)))
}

pub(super) async fn chat(pool: &Arc<Pool>, chat: ChatId, viewer: UserId) -> Result<Option<Chat>, Fault> {
    let mut lease = pool.lease().await?;
    let seen = view(lease.connection(), chat, viewer).await;
    lease.end(seen)
}

pub(super) async fn update_chat(
    pool: &Arc<Pool>,
    chat: ChatId,
    by: UserId,
    patch: &ChatPatch,
) -> Result<(Chat, Committed), Fault> {
    let mut lease = pool.begin().await?;
    let updated = update(lease.connection(), chat, by, patch).await;
    lease.end_transaction(updated).await
}

async fn update(
    connection: &mut PgConnection,
    chat: ChatId,
    by: UserId,
    patch: &ChatPatch,
) -> Result<(Chat, Committed), Fault> {
    let mut change = lock(connection, chat, by).await?;
    change.require_owner()?;
    if change.patch(patch) {
        record(connection, &change).await?;
    }
    let seen = view(connection, chat, by).await?.ok_or(Error::ChatNotFound)?;
    Ok((seen, tell(connection, change).await?))
}

pub(super) async fn delete_chat(pool: &Arc<Pool>, chat: ChatId, by: UserId) -> Result<Committed, Fault> {
    let mut lease = pool.begin().await?;
    let deleted = delete(lease.connection(), chat, by).await;
    lease.end_transaction(deleted).await
}

async fn delete(connection: &mut PgConnection, chat: ChatId, by: UserId) -> Result<Committed, Fault> {
    let mut change = lock(connection, chat, by).await?;
    change.require_owner()?;
    let members: Vec<UserId> = sqlx::query_scalar("delete from members where chat_id = $1 returning user_id")
        .bind(chat)
        .fetch_all(&mut *connection)
        .await?;
    change.deleted();
    for user in members {
        change.notify(user, NoticeBody::ChatRemoved);
    }
    record(connection, &change).await?;
    tell(connection, change).await
}
