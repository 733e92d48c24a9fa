//! The identity of this database.

use super::PostgresStore;
use crate::error::{Error, Result};
use crate::store::deployment::{Deployment, Identity, SIGN_WITH, SIGNED_WITH};
use async_trait::async_trait;

#[async_trait]
impl Identity for PostgresStore {
    async fn deployment(&self) -> Result<Deployment> {
        // A dump that is restored makes the table anew, a copied server has another identifier: the
        // numbers given out since the copy was made will be given out again. The original may live
        // on beside it, over the same Redis and under the same key of tokens: a copy is a
        // deployment of its own. A promoted standby has the same identifier and stays the one.
        let row: Option<(String, String, String, String)> = self
            .row(|| {
                sqlx::query_as(
                    "select id, history_epoch(), origin,
                         (select system_identifier from pg_control_system())::text
                         || '/' || (select oid from pg_database where datname = current_database())::text
                         || '/' || 'deployment'::regclass::oid::text
                     from deployment",
                )
            })
            .await?;
        let (mut id, mut epoch, origin, here) = row.ok_or_else(|| Error::internal("the table deployment is empty"))?;
        if origin != here {
            let renewed: Option<(String,)> = self
                .row(|| {
                    sqlx::query_as(
                        "update deployment
                         set id = case origin when '' then id else replace(gen_random_uuid()::text, '-', '') end,
                             epoch = case origin when '' then epoch
                                     else replace(gen_random_uuid()::text, '-', '') end, origin = $2
                         where origin = $1 returning id",
                    )
                    .bind(&origin)
                    .bind(&here)
                })
                .await?;
            // Otherwise another node was first, and may not have committed yet.
            (id,) = renewed.ok_or_else(|| Error::unavailable("another node renews the epoch"))?;
            epoch = self.epoch().await?;
        }
        Ok(Deployment { id, epoch })
    }

    async fn begin_epoch(&self, known: &str) -> Result<String> {
        let begin = || {
            sqlx::query_as(
                "update deployment set epoch = replace(gen_random_uuid()::text, '-', '')
                 where epoch = split_part($1, '.', 1) and history_epoch() = $1 returning true",
            )
            .bind(known)
        };
        let _begun: Option<(bool,)> = self.row(begin).await?;
        self.epoch().await
    }

    async fn signed_with(&self) -> Result<Option<String>> {
        let row: Option<(Option<String>,)> = self.row(|| sqlx::query_as(SIGNED_WITH)).await?;
        Ok(row.and_then(|(key,)| key))
    }

    async fn sign_with(&self, known: Option<&str>, key: &str) -> Result<bool> {
        let row: Option<(bool,)> = self.row(|| sqlx::query_as(SIGN_WITH).bind(key).bind(known)).await?;
        Ok(row.is_some())
    }
}

impl PostgresStore {
    /// The present epoch, which a statement that changes it does not see.
    async fn epoch(&self) -> Result<String> {
        let row: Option<(String,)> = self.row(|| sqlx::query_as("select history_epoch() from deployment")).await?;
        row.map(|(epoch,)| epoch).ok_or_else(|| Error::internal("the table deployment is empty"))
    }
}
