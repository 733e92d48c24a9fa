//! Members: who is in a chat, as what, and how far they have read.

use super::lock::{insert_members, lock, member, record, tell, view};
use super::{Database, SqliteStore, commit, json};
use crate::error::{Error, Result};
use crate::event::EventBody;
use crate::id::{ChatId, Seq, UserId};
use crate::model::{Chat, Member, Role};
use crate::store::change::{Change, may_read};
use crate::store::fault::Fault;
use crate::store::row::{MemberListRow, MemberRow, role, role_number};
use crate::store::{Access, Committed, Members, PageRequest, Rows, cursor};
use async_trait::async_trait;
use sqlx::SqliteConnection;
use std::collections::HashMap;

#[async_trait]
impl Members for SqliteStore {
    async fn join(&self, chat: ChatId, user: UserId, max_members: i64) -> Result<(Chat, Committed)> {
        self.run(|| join(&self.database, chat, user, max_members)).await
    }

    async fn leave(&self, chat: ChatId, user: UserId) -> Result<Committed> {
        self.run(|| leave(&self.database, chat, user)).await
    }

    async fn members(&self, chat: ChatId, by: UserId, page: &PageRequest) -> Result<Rows<Member>> {
        self.run(|| members(&self.database, chat, by, page)).await
    }

    async fn add_members(
        &self,
        chat: ChatId,
        by: UserId,
        ids: &[UserId],
        max: i64,
    ) -> Result<(Vec<Member>, Committed)> {
        self.run(|| add_members(&self.database, chat, by, ids, max)).await
    }

    async fn set_role(&self, chat: ChatId, by: UserId, user: UserId, role: Role) -> Result<(Member, Committed)> {
        self.run(|| set_role(&self.database, chat, by, user, role)).await
    }

    async fn remove_member(&self, chat: ChatId, by: UserId, user: UserId) -> Result<Committed> {
        self.run(|| remove_member(&self.database, chat, by, user)).await
    }

    async fn mark_read(&self, chat: ChatId, user: UserId, seq: Seq) -> Result<Seq> {
        self.run(|| mark_read(&self.database, chat, user, seq)).await
    }

    async fn access(&self, pairs: &[(ChatId, UserId)]) -> Result<Vec<Option<Access>>> {
        self.run(|| access(&self.database, pairs)).await
    }

    async fn member_ids(&self, chats: &[ChatId], max: i64) -> Result<Vec<(ChatId, Vec<UserId>)>> {
        self.run(|| member_ids(&self.database, chats, max)).await
    }

    async fn still_members(&self, chat: ChatId, users: &[UserId]) -> Result<Vec<UserId>> {
        self.run(|| still_members(&self.database, chat, users)).await
    }

    async fn chats_for_status(&self, users: &[UserId], max: i64) -> Result<Vec<(UserId, Vec<ChatId>)>> {
        self.run(|| chats_for_status(&self.database, users, max)).await
    }
}

pub(super) async fn join(
    database: &Database,
    chat: ChatId,
    user: UserId,
    max_members: i64,
) -> Result<(Chat, Committed), Fault> {
    let mut transaction = database.begin().await?;
    let mut change = lock(database, &mut transaction, chat, user).await?;
    let is_new = change.role.is_none();
    let seq = change.chat.seq.next();
    if is_new {
        if change.chat.member_count >= max_members {
            return Err(Error::GroupFull.into());
        }
        let newcomer = candidates(&mut transaction, &change, &[user]).await?.pop().ok_or(Error::UserNotFound)?;
        change.joined(&newcomer);
        insert_members(&mut transaction, &change, &[(newcomer, seq.0)]).await?;
        record(&mut transaction, &change).await?;
    }
    let seen = view(&mut transaction, chat, user).await?.ok_or(Error::ChatNotFound)?;
    if is_new {
        change.welcome([(user, seq)], &seen);
    }
    let committed = tell(&mut transaction, change).await?;
    commit(transaction, (seen, committed)).await
}

/// The active ones of these users as members to be.
async fn candidates(
    connection: &mut SqliteConnection,
    change: &Change,
    ids: &[UserId],
) -> Result<Vec<MemberRow>, Fault> {
    Ok(sqlx::query_as(
        "select id as user_id, username, 2 as role, $2 as joined_at
         from users where id in (select value from json_each($1)) and is_active order by id",
    )
    .bind(json(&ids)?)
    .bind(change.at)
    .fetch_all(connection)
    .await?)
}

pub(super) async fn leave(database: &Database, chat: ChatId, user: UserId) -> Result<Committed, Fault> {
    remove_member(database, chat, user, user).await
}

pub(super) async fn remove_member(
    database: &Database,
    chat: ChatId,
    by: UserId,
    user: UserId,
) -> Result<Committed, Fault> {
    let mut transaction = database.begin().await?;
    let mut change = lock(database, &mut transaction, chat, by).await?;
    if by == user {
        change.require_member()?;
        change.require_group()?;
    } else {
        change.require_owner()?;
    }
    let leaver = member(&mut transaction, chat, user).await?.ok_or(Error::MemberNotFound)?;
    sqlx::query("delete from members where chat_id = $1 and user_id = $2")
        .bind(chat)
        .bind(user)
        .execute(&mut *transaction)
        .await?;
    change.left(&leaver);
    if role(leaver.role) == Role::Owner
        && let Some(heir) = crown_heir(&mut transaction, &change).await?
    {
        change.push(EventBody::MemberUpdated(heir.change()));
    }
    record(&mut transaction, &change).await?;
    let committed = tell(&mut transaction, change).await?;
    commit(transaction, committed).await
}

/// Where no owner is left, makes one of the longest-standing member, of those whose account is active if there are any.
async fn crown_heir(connection: &mut SqliteConnection, change: &Change) -> Result<Option<MemberRow>, Fault> {
    let chat = change.chat.id;
    if change.chat.is_deleted {
        return Ok(None);
    }
    let heir: Option<UserId> = sqlx::query_scalar(
        "update members set role = 1
         where chat_id = $1 and user_id = (
             select h.user_id from members h join users a on a.id = h.user_id
             where h.chat_id = $1 order by a.is_active desc, h.joined_at, h.user_id limit 1
         ) and not exists (select 1 from members where chat_id = $1 and role = 1)
         returning user_id",
    )
    .bind(chat)
    .fetch_optional(&mut *connection)
    .await?;
    match heir {
        Some(heir) => Ok(member(connection, chat, heir).await?),
        None => Ok(None),
    }
}

pub(super) async fn members(
    database: &Database,
    chat: ChatId,
    by: UserId,
    page: &PageRequest,
) -> Result<Rows<Member>, Fault> {
    let after = cursor::member(page.cursor.as_deref())?;
    let rows: Vec<MemberListRow> = sqlx::query_as(
        "select c.is_group, me.user_id is not null as is_member, x.user_id, u.username, x.role, x.joined_at
         from chats c
         left join members me on me.chat_id = c.id and me.user_id = $2
         left join (
             select * from members where chat_id = $1 and user_id > $3 order by user_id limit $4
         ) x on me.user_id is not null
         left join users u on u.id = x.user_id
         where c.id = $1 and c.deleted_at is null
         order by x.user_id",
    )
    .bind(chat)
    .bind(by)
    .bind(after)
    .bind(cursor::one_more(page.limit))
    .fetch_all(&database.reader)
    .await?;
    let first = rows.first().ok_or(Error::ChatNotFound)?;
    may_read(first.is_group, first.is_member)?;
    let found: Vec<Member> = rows.into_iter().filter_map(MemberListRow::into_member).collect();
    Ok(cursor::page(found, page.limit, |member: &Member| cursor::of_member(member.user_id)))
}

pub(super) async fn add_members(
    database: &Database,
    chat: ChatId,
    by: UserId,
    ids: &[UserId],
    max: i64,
) -> Result<(Vec<Member>, Committed), Fault> {
    let mut transaction = database.begin().await?;
    let mut change = lock(database, &mut transaction, chat, by).await?;
    change.require_owner()?;
    let present = present_members(&mut transaction, chat, ids).await?;
    let absent: Vec<UserId> = ids.iter().copied().filter(|id| !present.contains_key(id)).collect();
    let newcomers = candidates(&mut transaction, &change, &absent).await?;
    let members = change.admit(ids, present, newcomers, max)?;
    if let Some((first, _)) = members.newcomers.first() {
        insert_members(&mut transaction, &change, &members.newcomers).await?;
        record(&mut transaction, &change).await?;
        let seen = view(&mut transaction, chat, first.user_id).await?.ok_or(Error::ChatNotFound)?;
        change.welcome(members.newcomers.iter().map(|(member, seq)| (member.user_id, Seq(*seq))), &seen);
    }
    let committed = tell(&mut transaction, change).await?;
    commit(transaction, (members.asked, committed)).await
}

async fn present_members(
    connection: &mut SqliteConnection,
    chat: ChatId,
    ids: &[UserId],
) -> Result<HashMap<UserId, MemberRow>, Fault> {
    let rows: Vec<MemberRow> = sqlx::query_as(
        "select m.user_id, u.username, m.role, m.joined_at
         from members m join users u on u.id = m.user_id
         where m.chat_id = $1 and m.user_id in (select value from json_each($2))",
    )
    .bind(chat)
    .bind(json(&ids)?)
    .fetch_all(connection)
    .await?;
    Ok(rows.into_iter().map(|row| (row.user_id, row)).collect())
}

pub(super) async fn set_role(
    database: &Database,
    chat: ChatId,
    by: UserId,
    user: UserId,
    to: Role,
) -> Result<(Member, Committed), Fault> {
    let mut transaction = database.begin().await?;
    let mut change = lock(database, &mut transaction, chat, by).await?;
    change.require_owner()?;
    let mut appointed = member(&mut transaction, chat, user).await?.ok_or(Error::MemberNotFound)?;
    if role(appointed.role) != to {
        let changed = sqlx::query(
            "update members set role = $3 where chat_id = $1 and user_id = $2
             and ($3 = 1 or exists (select 1 from members where chat_id = $1 and user_id <> $2 and role = 1))",
        )
        .bind(chat)
        .bind(user)
        .bind(role_number(to))
        .execute(&mut *transaction)
        .await?;
        if changed.rows_affected() == 0 {
            return Err(Error::invalid("role", "of the last owner cannot change: name another owner first").into());
        }
        appointed.role = role_number(to);
        change.push(EventBody::MemberUpdated(appointed.change()));
        record(&mut transaction, &change).await?;
    }
    let committed = tell(&mut transaction, change).await?;
    commit(transaction, (appointed.into(), committed)).await
}

pub(super) async fn mark_read(database: &Database, chat: ChatId, user: UserId, seq: Seq) -> Result<Seq, Fault> {
    let mut transaction = database.begin().await?;
    let place: Option<(bool, bool, Option<Seq>, Seq)> = sqlx::query_as(
        "select c.is_group, m.user_id is not null, m.read_seq, min($3, c.seq)
         from chats c left join members m on m.chat_id = c.id and m.user_id = $2
         where c.id = $1 and c.deleted_at is null",
    )
    .bind(chat)
    .bind(user)
    .bind(seq)
    .fetch_optional(&mut *transaction)
    .await?;
    let (is_group, is_member, at, to) = place.ok_or(Error::ChatNotFound)?;
    may_read(is_group, is_member)?;
    let at = at.unwrap_or_default();
    if to <= at {
        return Ok(at);
    }
    sqlx::query("update members set read_seq = $3 where chat_id = $1 and user_id = $2")
        .bind(chat)
        .bind(user)
        .bind(to)
        .execute(&mut *transaction)
        .await?;
    commit(transaction, to).await
}

pub(super) async fn access(database: &Database, pairs: &[(ChatId, UserId)]) -> Result<Vec<Option<Access>>, Fault> {
    let rows: Vec<(i64, ChatId, bool, Option<i16>, Seq, Seq, i64)> = sqlx::query_as(
        "select p.ord, c.id, c.is_group, m.role, c.seq, c.floor, c.member_count
         from (select key as ord, value ->> 0 as chat_id, value ->> 1 as user_id from json_each($1)) p
         join chats c on c.id = p.chat_id and c.deleted_at is null
         left join members m on m.chat_id = c.id and m.user_id = p.user_id
         where c.is_group or m.user_id is not null",
    )
    .bind(json(&pairs)?)
    .fetch_all(&database.reader)
    .await?;
    let mut found = vec![None; pairs.len()];
    for (ord, chat_id, is_group, number, head, floor, member_count) in rows {
        if let Some(place) = usize::try_from(ord).ok().and_then(|index| found.get_mut(index)) {
            *place = Some(Access { chat_id, is_group, role: number.map(role), head, floor, member_count });
        }
    }
    Ok(found)
}

pub(super) async fn member_ids(
    database: &Database,
    chats: &[ChatId],
    max: i64,
) -> Result<Vec<(ChatId, Vec<UserId>)>, Fault> {
    let rows: Vec<(ChatId, UserId)> = sqlx::query_as(
        "select m.chat_id, m.user_id
         from chats c join members m on m.chat_id = c.id
         where c.id in (select value from json_each($1)) and c.member_count <= $2
         order by m.chat_id, m.user_id",
    )
    .bind(json(&chats)?)
    .bind(max)
    .fetch_all(&database.reader)
    .await?;
    let mut found: Vec<(ChatId, Vec<UserId>)> = Vec::new();
    for (chat, user) in rows {
        match found.last_mut() {
            Some((last, users)) if *last == chat => users.push(user),
            _ => found.push((chat, vec![user])),
        }
    }
    Ok(found)
}

pub(super) async fn still_members(database: &Database, chat: ChatId, users: &[UserId]) -> Result<Vec<UserId>, Fault> {
    Ok(sqlx::query_scalar(
        "select user_id from members where chat_id = $1 and user_id in (select value from json_each($2))",
    )
    .bind(chat)
    .bind(json(&users)?)
    .fetch_all(&database.reader)
    .await?)
}

pub(super) async fn chats_for_status(
    database: &Database,
    users: &[UserId],
    max: i64,
) -> Result<Vec<(UserId, Vec<ChatId>)>, Fault> {
    let rows: Vec<(UserId, ChatId)> = sqlx::query_as(
        "select m.user_id, m.chat_id
         from members m join chats c on c.id = m.chat_id
         where m.user_id in (select value from json_each($1)) and c.member_count <= $2 and c.deleted_at is null
         order by m.user_id, m.chat_id",
    )
    .bind(json(&users)?)
    .bind(max)
    .fetch_all(&database.reader)
    .await?;
    let mut found: HashMap<UserId, Vec<ChatId>> = HashMap::new();
    for (user, chat) in rows {
        found.entry(user).or_default().push(chat);
    }
    Ok(users.iter().map(|user| (*user, found.remove(user).unwrap_or_default())).collect())
}
