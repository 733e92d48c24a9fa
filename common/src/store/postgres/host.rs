//! The host's own work on accounts.

use super::PostgresStore;
use crate::error::Result;
use crate::id::UserId;
use crate::model::Page;
use crate::store::accounts::{AccountRow, account_columns, fold};
use crate::store::host::ERASED_ADDRESS;
use crate::store::{Erased, Host, PageRequest, UserRow, cursor};
use async_trait::async_trait;

#[async_trait]
impl Host for PostgresStore {
    async fn all_users(&self, prefix: &str, page: &PageRequest) -> Result<Page<UserRow>> {
        let after = cursor::user(page.cursor.as_deref())?;
        let rows: Vec<AccountRow> = self
            .rows(|| {
                sqlx::query_as(concat!(
                    "select ",
                    account_columns!(),
                    " from users
                     where username_lower >= $1 and username_lower < $1 || chr(1114111) and username_lower > $2
                     order by username_lower limit $3"
                ))
                .bind(fold(prefix))
                .bind(&after)
                .bind(cursor::one_more(page.limit))
            })
            .await?;
        Ok(cursor::page(rows, page.limit, |row| cursor::of_user(&fold(&row.username))))
    }

    async fn activate_user(&self, user: UserId) -> Result<()> {
        let done = self.row::<(i64,)>(|| {
            sqlx::query_as("update users set is_active = true where id = $1 and not is_active returning id").bind(user)
        });
        done.await.map(drop)
    }

    async fn erase_user(&self, user: UserId, left: Erased) -> Result<()> {
        let erased = self.row::<(i64,)>(|| {
            sqlx::query_as(
                "with named as (
                     select case when exists (
                         select from users
                         where (username_lower = $2 or email_lower = $2 || $4 or email_spelling = $2 || $4)
                             and id <> $1
                     ) then $3 else $2 end as name
                 ), gone as (
                     delete from networks where user_id = $1
                         and exists (select from users where id = $1 and not is_active)
                 )
                 update users set username = n.name, username_lower = n.name, email = n.name || $4,
                     email_lower = n.name || $4, password_hash = $5, display_name = null, bio = null
                 from named n where id = $1 and not is_active returning id",
            )
            .bind(user)
            .bind(&left.names[0])
            .bind(&left.names[1])
            .bind(ERASED_ADDRESS)
            .bind(&left.password_hash)
        });
        erased.await.map(drop)
    }
}
