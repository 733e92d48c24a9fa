//! Addresses, however they are spelled.

use super::SqliteStore;
use super::database::{commit, json};
use crate::address::spelling;
use crate::error::Result;
use crate::id::UserId;
use crate::store::accounts::fold;
use crate::store::addresses::{KEEP_SPELLING, Unspelled, WANTED, Wanted, to_spell};
use crate::store::fault::Fault;
use crate::store::{Addresses, Spelled};
use async_trait::async_trait;
use sqlx::SqliteConnection;

#[async_trait]
impl Addresses for SqliteStore {
    async fn spell_addresses(&self, after: UserId, limit: usize) -> Result<Spelled> {
        let found = sqlx::query_as(
            "select id, email_lower from users where email_spelling is null and id > $1 order by id limit $2",
        );
        let found: Vec<Unspelled> = self.rows(found.bind(after).bind(i64::try_from(limit).unwrap_or(i64::MAX))).await?;
        let found = to_spell(found);
        let Some(last) = found.last().map(|one| one.id) else { return Ok(Spelled::default()) };
        self.run(async {
            let mut transaction = self.database.begin().await?;
            // An address that changed meanwhile is not this one.
            let spelled = sqlx::query(
                "update users set email_spelling = s.value ->> 2 from json_each($1) s
                 where users.id = s.value ->> 0 and email_lower = s.value ->> 1 and email_spelling is null
                     and not exists (select 1 from users o where o.email_spelling = s.value ->> 2)",
            );
            let rows: Vec<_> = found.iter().map(|one| (one.id, &one.email_lower, &one.spelling)).collect();
            let first: Vec<_> = found.iter().zip(&rows).filter(|(one, _)| one.is_first).map(|(_, row)| row).collect();
            spelled.bind(json(&first)?).execute(&mut *transaction).await?;
            let apart = sqlx::query_scalar(
                "select count(*) from json_each($1) s
                 join users u on u.id = s.value ->> 0 and u.email_lower = s.value ->> 1 and u.email_spelling is null
                 where exists (select 1 from users o where o.email_spelling = s.value ->> 2)",
            );
            let apart: i64 = apart.bind(json(&rows)?).fetch_one(&mut *transaction).await?;
            commit(transaction, Spelled { last: Some(last), apart: apart.unsigned_abs() }).await
        })
        .await
    }
}

/// Whether that address is new to the account. `EmailTaken`: another has it.
pub(super) async fn is_new(connection: &mut SqliteConnection, user: UserId, email: &str) -> Result<bool, Fault> {
    let wanted = sqlx::query_as(WANTED).bind(user).bind(fold(email)).bind(spelling(email));
    Ok(Wanted::is_new(wanted.fetch_optional(connection).await?)?)
}

/// Keeps the spelling of an account's new address.
pub(super) async fn keep_spelling(
    connection: &mut SqliteConnection,
    user: UserId,
    email: &str,
) -> Result<(), sqlx::Error> {
    sqlx::query(KEEP_SPELLING).bind(user).bind(spelling(email)).execute(connection).await.map(drop)
}
