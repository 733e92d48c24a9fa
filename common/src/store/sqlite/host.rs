//! The host's own work on accounts.

use super::SqliteStore;
use super::database::commit;
use crate::error::Result;
use crate::id::UserId;
use crate::model::Page;
use crate::store::accounts::{AccountRow, account_columns, fold};
use crate::store::host::ERASED_ADDRESS;
use crate::store::{Erased, Host, PageRequest, UserRow, cursor};
use async_trait::async_trait;

#[async_trait]
impl Host for SqliteStore {
    async fn all_users(&self, prefix: &str, page: &PageRequest) -> Result<Page<UserRow>> {
        let after = cursor::user(page.cursor.as_deref())?;
        let statement = sqlx::query_as(concat!(
            "select ",
            account_columns!(),
            " from users
             where username_lower >= $1 and username_lower < $1 || char(1114111) and username_lower > $2
             order by username_lower limit $3"
        ));
        let statement = statement.bind(fold(prefix)).bind(after).bind(cursor::one_more(page.limit));
        let rows: Vec<AccountRow> = self.rows(statement).await?;
        Ok(cursor::page(rows, page.limit, |row| cursor::of_user(&fold(&row.username))))
    }

    async fn activate_user(&self, user: UserId) -> Result<()> {
        self.run(async {
            let mut transaction = self.database.begin().await?;
            sqlx::query("update users set is_active = 1 where id = $1 and not is_active")
                .bind(user)
                .execute(&mut *transaction)
                .await?;
            commit(transaction, ()).await
        })
        .await
    }

    async fn erase_user(&self, user: UserId, left: Erased) -> Result<()> {
        self.run(async {
            let mut transaction = self.database.begin().await?;
            let taken = sqlx::query_scalar(
                "select exists (
                     select 1 from users
                     where (username_lower = $1 or email_lower = $1 || $3 or email_spelling = $1 || $3) and id <> $2
                 )",
            );
            let taken = taken.bind(&left.names[0]).bind(user).bind(ERASED_ADDRESS);
            let taken: bool = taken.fetch_one(&mut *transaction).await?;
            let name = &left.names[usize::from(taken)];
            let erased = sqlx::query(
                "update users set username = $2, username_lower = $2, email = $2 || $3, email_lower = $2 || $3,
                     password_hash = $4, display_name = null, bio = null
                 where id = $1 and not is_active",
            );
            let erased = erased
                .bind(user)
                .bind(name)
                .bind(ERASED_ADDRESS)
                .bind(left.password_hash)
                .execute(&mut *transaction)
                .await?;
            if erased.rows_affected() > 0 {
                let gone = sqlx::query("delete from networks where user_id = $1");
                gone.bind(user).execute(&mut *transaction).await?;
            }
            commit(transaction, ()).await
        })
        .await
    }
}
