//! Invitations.

use super::PostgresStore;
use super::accounts::insert_user;
use super::connection::ServerConnection;
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
impl Invites for PostgresStore {
    async fn create_invite(&self, chat: ChatId, by: UserId, invite: NewInvite) -> Result<Invite> {
        self.change(|tx| Box::pin(changes::create(tx, chat, by, &invite))).await
    }

    async fn create_host_invite(&self, invite: NewInvite) -> Result<Invite> {
        self.change(|tx| Box::pin(changes::create_of_host(tx, &invite))).await
    }

    async fn invites(&self, chat: ChatId, by: UserId, page: &PageRequest) -> Result<Page<Invite>> {
        let before = cursor::invite(page.cursor.as_deref())?;
        let rows: Vec<ListRow> = self
            .rows(|| {
                sqlx::query_as(list_of_invites!("clock_timestamp()"))
                    .bind(chat)
                    .bind(before)
                    .bind(cursor::one_more(page.limit))
                    .bind(by)
            })
            .await?;
        ListRow::page(rows, chat, page.limit)
    }

    async fn revoke_invite(&self, chat: ChatId, by: UserId, code: &str) -> Result<()> {
        self.change(|tx| Box::pin(changes::revoke(tx, chat, by, code))).await
    }

    async fn invite(&self, code: &str) -> Result<Option<InvitePreview>> {
        self.run(|| async {
            let mut lease = self.pool.lease().await?;
            let now = lease.connection().now().await?;
            let found: Result<Option<PreviewRow>, _> =
                sqlx::query_as(PREVIEW).bind(code).bind(now.0).fetch_optional(lease.connection()).await;
            Ok(lease.end(found).await?.map(InvitePreview::from))
        })
        .await
    }

    async fn accept_invite(&self, code: &str, user: UserId, max_members: i64) -> Result<(Chat, Committed)> {
        self.change(|tx| Box::pin(changes::accept(tx, code, user, max_members))).await
    }

    async fn register(&self, user: NewUser, code: &str, max_members: i64) -> Result<(User, Committed)> {
        self.change(|tx| Box::pin(changes::register(tx, &user, code, max_members))).await
    }
}

#[async_trait]
impl InviteStatements for ServerConnection {
    async fn now(&mut self) -> Result<Time, Fault> {
        Ok(sqlx::query_scalar("select clock_timestamp()").fetch_one(self).await?)
    }

    async fn insert_invite(&mut self, invite: &InviteRow) -> Result<(), Fault> {
        sqlx::query(
            "insert into invites (code, chat_id, created_by, created_at, expires_at, max_uses)
             values ($1, $2, $3, $4, $5, $6)",
        )
        .bind(&invite.code)
        .bind(invite.chat_id)
        .bind(invite.created_by)
        .bind(invite.created_at.0)
        .bind(invite.expires_at.map(|at| at.0))
        .bind(invite.max_uses)
        .execute(self)
        .await?;
        Ok(())
    }

    async fn invite_of(&mut self, code: &str) -> Result<Option<InviteRow>, Fault> {
        let found = sqlx::query_as(concat!("select ", invite_columns!(), " from invites where code = $1"));
        Ok(found.bind(code).fetch_optional(self).await?)
    }

    async fn open_invites(&mut self, chat: ChatId, at: Time, limit: i64) -> Result<i64, Fault> {
        Ok(sqlx::query_scalar(COUNT_OPEN).bind(chat).bind(at.0).bind(limit).fetch_one(self).await?)
    }

    async fn count_use(&mut self, id: i64, at: Time) -> Result<bool, Fault> {
        Ok(sqlx::query(COUNT_USE).bind(id).bind(at.0).execute(self).await?.rows_affected() > 0)
    }

    async fn end_invite(&mut self, chat: ChatId, code: &str, at: Time) -> Result<bool, Fault> {
        Ok(sqlx::query(END).bind(code).bind(chat).bind(at.0).execute(self).await?.rows_affected() > 0)
    }

    async fn insert_user(&mut self, user: &NewUser) -> Result<User, Fault> {
        insert_user(self, user).await
    }
}
