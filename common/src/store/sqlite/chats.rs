//! Chats: made, listed, changed, deleted.

use super::lock::{insert_members, lock, message_columns, record, tell, view, views};
use super::{Database, SqliteStore, commit, json};
use crate::error::{Error, Result};
use crate::id::{ChatId, Seq, UserId};
use crate::model::{Chat, Role};
use crate::store::change::Change;
use crate::store::fault::Fault;
use crate::store::row::{ChatRow, MemberRow, Time, ViewRow, role_number};
use crate::store::{ChatPatch, Chats, Committed, NewGroup, NoticeBody, PageRequest, Rows, cursor};
use async_trait::async_trait;
use sqlx::SqliteConnection;

#[async_trait]
impl Chats for SqliteStore {
    async fn create_group(&self, group: NewGroup) -> Result<(Chat, Committed)> {
        self.run(|| create_group(&self.database, &group)).await
    }

    async fn private_chat(&self, user: UserId, other: UserId) -> Result<(Chat, bool, Committed)> {
        self.run(|| private_chat(&self.database, user, other)).await
    }

    async fn chats_of(&self, user: UserId, page: &PageRequest) -> Result<Rows<Chat>> {
        self.run(|| chats_of(&self.database, user, page)).await
    }

    async fn chat(&self, chat: ChatId, viewer: UserId) -> Result<Option<Chat>> {
        self.run(|| self::chat(&self.database, chat, viewer)).await
    }

    async fn update_chat(&self, chat: ChatId, by: UserId, patch: ChatPatch) -> Result<(Chat, Committed)> {
        self.run(|| update_chat(&self.database, chat, by, &patch)).await
    }

    async fn delete_chat(&self, chat: ChatId, by: UserId) -> Result<Committed> {
        self.run(|| delete_chat(&self.database, chat, by)).await
    }
}

pub(super) async fn create_group(database: &Database, group: &NewGroup) -> Result<(Chat, Committed), Fault> {
    let mut transaction = database.begin().await?;
    let mut ids = vec![group.owner];
    ids.extend(&group.member_ids);
    let members = active_members(&mut transaction, &ids, database.now()).await?;
    if members.len() != ids.len() {
        return Err(Error::invalid("member_ids", "names a user who does not exist, or one twice, or yourself").into());
    }
    let text = (group.name.as_str(), group.description.as_deref());
    let row = insert_chat(&mut transaction, Some(text), None, ids.len(), database.now()).await?;
    let made = finish_new(&mut transaction, row, members, Some(group.owner)).await?;
    commit(transaction, made).await
}

/// Inserts a group, or the private chat of a pair.
async fn insert_chat(
    connection: &mut SqliteConnection,
    group: Option<(&str, Option<&str>)>,
    pair: Option<(UserId, UserId)>,
    members: usize,
    now: Time,
) -> Result<ChatRow, sqlx::Error> {
    sqlx::query_as(
        "insert into chats (is_group, name, description, created_at, active_at, member_count, pair_low, pair_high)
         values ($1, $2, $3, $4, $4, $5, $6, $7)
         returning id, is_group, name, description, created_at, seq, member_count, 0 as is_deleted",
    )
    .bind(group.is_some())
    .bind(group.map_or("", |(name, _)| name))
    .bind(group.and_then(|(_, description)| description))
    .bind(now)
    .bind(i64::try_from(members).unwrap_or(i64::MAX))
    .bind(pair.map(|(low, _)| low))
    .bind(pair.map(|(_, high)| high))
    .fetch_one(connection)
    .await
}

/// The active ones of these users, as members, the owner not yet named.
async fn active_members(connection: &mut SqliteConnection, ids: &[UserId], now: Time) -> Result<Vec<MemberRow>, Fault> {
    Ok(sqlx::query_as(
        "select id as user_id, username, 2 as role, $2 as joined_at
         from users where id in (select value from json_each($1)) and is_active order by id",
    )
    .bind(json(&ids)?)
    .bind(now)
    .fetch_all(connection)
    .await?)
}

/// Gives a new chat its members, and everyone the word of it. Answers the chat as its owner sees it, or as the first of the pair.
async fn finish_new(
    connection: &mut SqliteConnection,
    row: ChatRow,
    mut members: Vec<MemberRow>,
    owner: Option<UserId>,
) -> Result<(Chat, Committed), Fault> {
    for member in &mut members {
        member.role = role_number(if Some(member.user_id) == owner { Role::Owner } else { Role::Member });
    }
    let (chat_id, at) = (row.id, row.created_at);
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
    database: &Database,
    user: UserId,
    other: UserId,
) -> Result<(Chat, bool, Committed), Fault> {
    if user == other {
        return Err(Error::UserNotFound.into());
    }
    let (low, high) = (user.min(other), user.max(other));
    let mut reader = database.reader.acquire().await?;
    if let Some(chat) = find_private(&mut reader, low, high, user).await? {
        return Ok((chat, false, Committed::default()));
    }
    drop(reader);
    let mut transaction = database.begin().await?;
    // The writer's lock decides the race.
    if let Some(chat) = find_private(&mut transaction, low, high, user).await? {
        return Ok((chat, false, Committed::default()));
    }
    let members = active_members(&mut transaction, &[low, high], database.now()).await?;
    if members.len() != 2 {
        return Err(Error::UserNotFound.into());
    }
    let row = insert_chat(&mut transaction, None, Some((low, high)), 2, database.now()).await?;
    let chat_id = row.id;
    let (_, committed) = finish_new(&mut transaction, row, members, None).await?;
    let chat = view(&mut transaction, chat_id, user).await?.ok_or(Error::ChatNotFound)?;
    commit(transaction, (chat, true, committed)).await
}

async fn find_private(
    connection: &mut SqliteConnection,
    low: UserId,
    high: UserId,
    viewer: UserId,
) -> Result<Option<Chat>, Fault> {
    let id: Option<ChatId> =
        sqlx::query_scalar("select id from chats where pair_low = $1 and pair_high = $2 and pair_low is not null")
            .bind(low)
            .bind(high)
            .fetch_optional(&mut *connection)
            .await?;
    match id {
        Some(id) => view(connection, id, viewer).await,
        None => Ok(None),
    }
}

pub(super) async fn chats_of(database: &Database, user: UserId, page: &PageRequest) -> Result<Rows<Chat>, Fault> {
    let (active_at, id) = cursor::chat(page.cursor.as_deref())?;
    let rows: Vec<ViewRow> = sqlx::query_as(concat!(
        "select $1 as viewer_id, c.id, c.is_group, c.name, c.description, c.created_at, c.active_at, c.seq,
                c.member_count, c.role, p.id as peer_id, p.username as peer_username,
                (
                    select count(*) from (
                        select 1 from messages y
                        where y.chat_id = c.id and y.seq > c.read_seq and y.author_id <> $1 and y.deleted_at is null
                        limit 1000
                    )
                ) as unread_count, ",
        message_columns!(),
        " from (
             select c.*, m.role, m.read_seq
             from members m join chats c on c.id = m.chat_id
             where m.user_id = $1 and c.deleted_at is null and (c.active_at, c.id) < ($2, $3)
             order by c.active_at desc, c.id desc limit $4
         ) c
         left join users p on p.id = case when c.pair_low = $1 then c.pair_high else c.pair_low end
         left join messages x on x.id = (
             select y.id from messages y where y.chat_id = c.id and y.deleted_at is null order by y.seq desc limit 1
         )
         left join users a on a.id = x.author_id
         order by c.active_at desc, c.id desc"
    ))
    .bind(user)
    .bind(active_at)
    .bind(id)
    .bind(cursor::one_more(page.limit))
    .fetch_all(&database.reader)
    .await?;
    Ok(cursor::page(rows, page.limit, |row: &ViewRow| cursor::of_chat(row.active_at.0, row.id)))
}

pub(super) async fn chat(database: &Database, chat: ChatId, viewer: UserId) -> Result<Option<Chat>, Fault> {
    view(&mut *database.reader.acquire().await?, chat, viewer).await
}

pub(super) async fn update_chat(
    database: &Database,
    chat: ChatId,
    by: UserId,
    patch: &ChatPatch,
) -> Result<(Chat, Committed), Fault> {
    let mut transaction = database.begin().await?;
    let mut change = lock(database, &mut transaction, chat, by).await?;
    change.require_owner()?;
    if change.patch(patch) {
        record(&mut transaction, &change).await?;
    }
    let seen = view(&mut transaction, chat, by).await?.ok_or(Error::ChatNotFound)?;
    let committed = tell(&mut transaction, change).await?;
    commit(transaction, (seen, committed)).await
}

pub(super) async fn delete_chat(database: &Database, chat: ChatId, by: UserId) -> Result<Committed, Fault> {
    let mut transaction = database.begin().await?;
    let mut change = lock(database, &mut transaction, chat, by).await?;
    change.require_owner()?;
    let members: Vec<UserId> = sqlx::query_scalar("delete from members where chat_id = $1 returning user_id")
        .bind(chat)
        .fetch_all(&mut *transaction)
        .await?;
    change.deleted();
    for user in members {
        change.notify(user, NoticeBody::ChatRemoved);
    }
    record(&mut transaction, &change).await?;
    let committed = tell(&mut transaction, change).await?;
    commit(transaction, committed).await
}
