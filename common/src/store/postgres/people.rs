//! Profiles and blocks.

use super::PostgresStore;
use crate::error::{Error, Result};
use crate::id::{ChatId, UserId};
use crate::model::{Page, User};
use crate::store::accounts::{AccountRow, account_columns};
use crate::store::people::BLOCKED_IN;
use crate::store::{PageRequest, People, ProfilePatch, UserRow, cursor};
use async_trait::async_trait;

#[async_trait]
impl People for PostgresStore {
    async fn set_profile(&self, user: UserId, patch: ProfilePatch) -> Result<Option<User>> {
        let row: Option<AccountRow> = self
            .row(|| {
                sqlx::query_as(concat!(
                    "update users set display_name = case when $2 then $3 else display_name end,
                         bio = case when $4 then $5 else bio end
                     where id = $1 and is_active
                     returning ",
                    account_columns!()
                ))
                .bind(user)
                .bind(patch.display_name.is_some())
                .bind(patch.display_name.as_ref().and_then(Option::as_ref))
                .bind(patch.bio.is_some())
                .bind(patch.bio.as_ref().and_then(Option::as_ref))
            })
            .await?;
        Ok(row.map(User::from))
    }

    async fn block(&self, user: UserId, blocked: UserId, block: bool) -> Result<()> {
        // The same again changes nothing: to run it twice does no harm.
        let known: Option<(bool,)> = self
            .row(|| {
                sqlx::query_as(if block {
                    "with known as (select id from users where id = $2),
                          done as (
                              insert into blocks (user_id, blocked_id) select $1, id from known
                              on conflict (user_id, blocked_id) do nothing
                          )
                     select true from known"
                } else {
                    "with done as (delete from blocks where user_id = $1 and blocked_id = $2)
                     select true from users where id = $2"
                })
                .bind(user)
                .bind(blocked)
            })
            .await?;
        known.map(drop).ok_or(Error::UserNotFound)
    }

    async fn blocked_in(&self, chat: ChatId, user: UserId) -> Result<Option<bool>> {
        let row: Option<(bool,)> = self.row(|| sqlx::query_as(BLOCKED_IN).bind(chat).bind(user)).await?;
        Ok(row.map(|(blocked,)| blocked))
    }

    async fn blocked(&self, user: UserId, page: &PageRequest) -> Result<Page<UserRow>> {
        let after = cursor::blocked(page.cursor.as_deref())?;
        let rows: Vec<AccountRow> = self
            .listed(|| {
                sqlx::query_as(concat!(
                    "select ",
                    account_columns!(),
                    " from blocks b join users on id = b.blocked_id
                     where b.user_id = $1 and b.blocked_id > $2 order by b.blocked_id limit $3"
                ))
                .bind(user)
                .bind(after)
                .bind(cursor::one_more(page.limit))
            })
            .await?;
        Ok(cursor::page(rows, page.limit, |row: &AccountRow| cursor::of_blocked(row.id)))
    }
}
