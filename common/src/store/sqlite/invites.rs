//! Invitations.

use super::SqliteStore;
use super::accounts::insert_user;
use super::transaction::Writing;
use crate::error::Result;
use crate::id::{ChatId, UserId};
use crate::model::{Chat, Invite, InvitePreview, Page, User};
use crate::store::changes::invites::{self as changes, InviteStatements};
use crate::store::fault::Fault;
use crate::store::invites::{
    COUNT_OPEN, COUNT_USE, END, InviteRow, ListRow, PREVIEW, PreviewRow, invite_columns, list_of_invites,
};
use crate::store::stored_time::Time;
use crate::store::{Committed, Invites, NewInvite, NewUser, PageRequest, cursor};
use async_trait::async_trait;

#[async_trait]
impl Invites for SqliteStore {
    async fn create_invite(&self, chat: ChatId, by: UserId, invite: NewInvite) -> Result<Invite> {
        self.change(|tx| Box::pin(changes::create(tx, chat, by, &invite))).await
    }

    async fn create_host_invite(&self, invite: NewInvite) -> Result<Invite> {
        self.change(|tx| Box::pin(changes::create_of_host(tx, &invite))).await
    }

    async fn invites(&self, chat: ChatId, by: UserId, page: &PageRequest) -> Result<Page<Invite>> {
        let before = cursor::invite(page.cursor.as_deref())?;
        let statement = sqlx::query_as(list_of_invites!("$5"));
        let statement = statement.bind(chat).bind(before).bind(cursor::one_more(page.limit)).bind(by);
        ListRow::page(self.rows(statement.bind(self.database.now())).await?, chat, page.limit)
    }

    async fn revoke_invite(&self, chat: ChatId, by: UserId, code: &str) -> Result<()> {
        self.change(|tx| Box::pin(changes::revoke(tx, chat, by, code))).await
    }

    async fn invite(&self, code: &str) -> Result<Option<InvitePreview>> {
        let found: Option<PreviewRow> =
            self.row(sqlx::query_as(PREVIEW).bind(code.to_owned()).bind(self.database.now())).await?;
        Ok(found.map(InvitePreview::from))
    }

    async fn accept_invite(&self, code: &str, user: UserId, max_members: i64) -> Result<(Chat, Committed)> {
        self.change(|tx| Box::pin(changes::accept(tx, code, user, max_members))).await
    }

    async fn register(&self, user: NewUser, code: &str, max_members: i64) -> Result<(User, Committed)> {
        self.change(|tx| Box::pin(changes::register(tx, &user, code, max_members))).await
    }
}

#[async_trait]
impl InviteStatements for Writing {
    async fn now(&mut self) -> Result<Time, Fault> {
        Ok(self.database.now())
    }

    async fn insert_invite(&mut self, invite: &InviteRow) -> Result<(), Fault> {
        sqlx::query(
            "insert into invites (code, chat_id, created_by, created_at, expires_at, max_uses)
             values ($1, $2, $3, $4, $5, $6)",
        )
        .bind(&invite.code)
        .bind(invite.chat_id)
        .bind(invite.created_by)
        .bind(invite.created_at)
        .bind(invite.expires_at)
        .bind(invite.max_uses)
        .execute(&mut *self.inner)
        .await?;
        Ok(())
    }

    async fn invite_of(&mut self, code: &str) -> Result<Option<InviteRow>, Fault> {
        let found = sqlx::query_as(concat!("select ", invite_columns!(), " from invites where code = $1"));
        Ok(found.bind(code).fetch_optional(&mut *self.inner).await?)
    }

    async fn open_invites(&mut self, chat: ChatId, at: Time, limit: i64) -> Result<i64, Fault> {
        Ok(sqlx::query_scalar(COUNT_OPEN).bind(chat).bind(at).bind(limit).fetch_one(&mut *self.inner).await?)
    }

    async fn count_use(&mut self, id: i64, at: Time) -> Result<bool, Fault> {
        Ok(sqlx::query(COUNT_USE).bind(id).bind(at).execute(&mut *self.inner).await?.rows_affected() > 0)
    }

    async fn end_invite(&mut self, chat: ChatId, code: &str, at: Time) -> Result<bool, Fault> {
        Ok(sqlx::query(END).bind(code).bind(chat).bind(at).execute(&mut *self.inner).await?.rows_affected() > 0)
    }

    async fn insert_user(&mut self, user: &NewUser) -> Result<User, Fault> {
        insert_user(&mut self.inner, user, self.database.now()).await
    }
}
