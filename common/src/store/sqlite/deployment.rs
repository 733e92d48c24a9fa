//! The identity of this database.

use super::SqliteStore;
use super::database::commit;
use crate::error::{Error, Result};
use crate::store::deployment::{Deployment, Identity, SIGN_WITH, SIGNED_WITH};
use async_trait::async_trait;

#[async_trait]
impl Identity for SqliteStore {
    async fn deployment(&self) -> Result<Deployment> {
        let row: Option<(String, String)> = self.row(sqlx::query_as("select id, epoch from deployment")).await?;
        let (id, epoch) = row.ok_or_else(|| Error::internal("the table deployment is empty"))?;
        Ok(Deployment { id, epoch })
    }

    async fn begin_epoch(&self, known: &str) -> Result<String> {
        let known = known.to_owned();
        self.run(async {
            let mut transaction = self.database.begin().await?;
            sqlx::query("update deployment set epoch = lower(hex(randomblob(16))) where epoch = $1")
                .bind(known)
                .execute(&mut *transaction)
                .await?;
            let epoch = sqlx::query_scalar("select epoch from deployment").fetch_one(&mut *transaction).await?;
            commit(transaction, epoch).await
        })
        .await
    }

    async fn signed_with(&self) -> Result<Option<String>> {
        let row: Option<(Option<String>,)> = self.row(sqlx::query_as(SIGNED_WITH)).await?;
        Ok(row.and_then(|(key,)| key))
    }

    async fn sign_with(&self, known: Option<&str>, key: &str) -> Result<bool> {
        let (known, key) = (known.map(str::to_owned), key.to_owned());
        self.run(async {
            let mut transaction = self.database.begin().await?;
            let row = sqlx::query(SIGN_WITH).bind(key).bind(known).fetch_optional(&mut *transaction).await?;
            commit(transaction, row.is_some()).await
        })
        .await
    }
}
