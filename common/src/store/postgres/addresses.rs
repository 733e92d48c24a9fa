//! Addresses, however they are spelled.

use super::PostgresStore;
use super::connection::ServerConnection;
use crate::address::spelling;
use crate::error::{Error, Result};
use crate::id::UserId;
use crate::store::accounts::fold;
use crate::store::addresses::{KEEP_SPELLING, ToSpell, Unspelled, WANTED, Wanted, to_spell};
use crate::store::fault::Fault;
use crate::store::{Addresses, Spelled};
use async_trait::async_trait;

#[async_trait]
impl Addresses for PostgresStore {
    async fn spell_addresses(&self, after: UserId, limit: usize) -> Result<Spelled> {
        let found: Vec<Unspelled> = self
            .rows(|| {
                sqlx::query_as(
                    "select id, email_lower from users where email_spelling is null and id > $1 order by id limit $2",
                )
                .bind(after)
                .bind(i64::try_from(limit).unwrap_or(i64::MAX))
            })
            .await?;
        let found = to_spell(found);
        let Some(last) = found.last().map(|one| one.id) else { return Ok(Spelled::default()) };
        let apart = if self.spell(&found).await? < found.len() { self.apart(&found).await? } else { 0 };
        Ok(Spelled { last: Some(last), apart })
    }
}

impl PostgresStore {
    /// Gives them their spellings, and says how many got one.
    async fn spell(&self, found: &[ToSpell]) -> Result<usize> {
        let (ids, addresses, spellings) = columns(found.iter().filter(|one| one.is_first));
        // In the order of ids, as all who lock several users do. An address that changed meanwhile
        // is not this one. A violated key would write the address to the server's log. The limits
        // and the list of ids keep each question on its index, whatever the statistics say.
        let spelled: Vec<(i64,)> = self
            .rows(|| {
                sqlx::query_as(
                    "with free as materialized (
                         select id from users where id = any ($1) and email_spelling is null
                         order by id for no key update
                     )
                     update users u set email_spelling = s.spelling
                     from unnest($1::bigint[], $2::text[], $3::text[]) as s (id, address, spelling)
                     join free using (id)
                     where u.id = any ($1) and u.id = s.id and u.email_lower = s.address
                         and (select true from users o where o.email_spelling = s.spelling limit 1) is null
                     returning u.id",
                )
                .bind(&ids)
                .bind(&addresses)
                .bind(&spellings)
            })
            .await?;
        Ok(spelled.len())
    }

    /// How many of them have an address that another account has in another spelling.
    async fn apart(&self, found: &[ToSpell]) -> Result<u64> {
        let (ids, addresses, spellings) = columns(found.iter());
        let apart: Option<(i64,)> = self
            .row(|| {
                sqlx::query_as(
                    "select count(*) from unnest($1::bigint[], $2::text[], $3::text[]) as s (id, address, spelling)
                     join users u on u.id = s.id and u.email_lower = s.address
                     where u.id = any ($1) and u.email_spelling is null
                         and (select true from users o where o.email_spelling = s.spelling limit 1)",
                )
                .bind(&ids)
                .bind(&addresses)
                .bind(&spellings)
            })
            .await?;
        Ok(apart.map_or(0, |(count,)| count.unsigned_abs()))
    }
}

fn columns<'a>(found: impl Iterator<Item = &'a ToSpell>) -> (Vec<i64>, Vec<&'a str>, Vec<&'a str>) {
    let (mut ids, mut addresses, mut spellings) = (Vec::new(), Vec::new(), Vec::new());
    for one in found {
        ids.push(one.id.0);
        addresses.push(one.email_lower.as_str());
        spellings.push(one.spelling.as_str());
    }
    (ids, addresses, spellings)
}

/// Whether that address is new to the account. `EmailTaken`: another has it. The constraint decides
/// between two at once; alone it would write the address to the server's log each time.
pub(super) async fn is_new(connection: &mut ServerConnection, user: UserId, email: &str) -> Result<bool, Fault> {
    let wanted = sqlx::query_as(WANTED).bind(user).bind(fold(email)).bind(spelling(email));
    Ok(Wanted::is_new(wanted.fetch_optional(connection).await?)?)
}

/// Keeps the spelling of an account's new address.
pub(super) async fn keep_spelling(
    connection: &mut ServerConnection,
    user: UserId,
    email: &str,
) -> Result<(), sqlx::Error> {
    sqlx::query(KEEP_SPELLING).bind(user).bind(spelling(email)).execute(connection).await.map(drop)
}

/// Names what a unique constraint found taken.
pub(super) fn taken(fault: Fault) -> Fault {
    match fault.constraint() {
        Some("users_username_key") => Error::UsernameTaken.into(),
        Some("users_email_key" | "users_spelling_key") => Error::EmailTaken.into(),
        _ => fault,
    }
}
