//! Profiles and blocks.

use super::SqliteStore;
use super::database::commit;
use crate::error::{Error, Result};
use crate::id::{ChatId, UserId};
use crate::model::{Page, User};
use crate::store::accounts::{AccountRow, account_columns};
use crate::store::people::BLOCKED_IN;
use crate::store::{PageRequest, People, ProfilePatch, UserRow, cursor};
use async_trait::async_trait;

#[async_trait]
impl People for SqliteStore {
    async fn set_profile(&self, user: UserId, patch: ProfilePatch) -> Result<Option<User>> {
        self.run(async {
            let mut transaction = self.database.begin().await?;
            let row: Option<AccountRow> = sqlx::query_as(concat!(
                "update users set display_name = case when $2 then $3 else display_name end,
                     bio = case when $4 then $5 else bio end
                 where id = $1 and is_active
                 returning ",
                account_columns!()
            ))
            .bind(user)
            .bind(patch.display_name.is_some())
            .bind(patch.display_name.flatten())
            .bind(patch.bio.is_some())
            .bind(patch.bio.flatten())
            .fetch_optional(&mut *transaction)
            .await?;
            commit(transaction, row.map(User::from)).await
        })
        .await
    }

    async fn block(&self, user: UserId, blocked: UserId, block: bool) -> Result<()> {
        self.run(async {
            let mut transaction = self.database.begin().await?;
            let known: bool = sqlx::query_scalar("select exists (select 1 from users where id = $1)")
                .bind(blocked)
                .fetch_one(&mut *transaction)
                .await?;
            if !known {
                return Err(Error::UserNotFound.into());
            }
            let statement = if block {
                "insert into blocks (user_id, blocked_id) values ($1, $2) on conflict (user_id, blocked_id) do nothing"
            } else {
                "delete from blocks where user_id = $1 and blocked_id = $2"
            };
            sqlx::query(statement).bind(user).bind(blocked).execute(&mut *transaction).await?;
            commit(transaction, ()).await
        })
        .await
    }

    async fn blocked_in(&self, chat: ChatId, user: UserId) -> Result<Option<bool>> {
        let row: Option<(bool,)> = self.row(sqlx::query_as(BLOCKED_IN).bind(chat).bind(user)).await?;
        Ok(row.map(|(blocked,)| blocked))
    }

    async fn blocked(&self, user: UserId, page: &PageRequest) -> Result<Page<UserRow>> {
        let after = cursor::blocked(page.cursor.as_deref())?;
        let statement = sqlx::query_as(concat!(
            "select ",
            account_columns!(),
            " from blocks b join users on id = b.blocked_id
             where b.user_id = $1 and b.blocked_id > $2 order by b.blocked_id limit $3"
        ));
        let rows: Vec<AccountRow> =
            self.rows(statement.bind(user).bind(after).bind(cursor::one_more(page.limit))).await?;
        Ok(cursor::page(rows, page.limit, |row: &AccountRow| cursor::of_blocked(row.id)))
    }
}
