//! Idempotency keys.

use super::SqliteStore;
use super::database::commit;
use crate::error::Result;
use crate::store::idempotency::{Claimed, Idempotency, KEY_KEPT, KEY_LEASE, KeptAnswer, KeyClaim, state};
use async_trait::async_trait;

#[async_trait]
impl Idempotency for SqliteStore {
    fn is_shared(&self) -> bool {
        false
    }

    async fn claim_key(&self, claim: &KeyClaim) -> Result<Claimed> {
        self.run(async {
            let mut transaction = self.database.begin().await?;
            let claimed: Option<i64> = sqlx::query_scalar(
                "insert into idempotency_keys (user_id, key, request, claim, created_at, leased_until)
                 values ($1, $2, $3, $4, $5, $6)
                 on conflict (user_id, key) do update
                 set request = excluded.request, claim = excluded.claim, created_at = excluded.created_at,
                     leased_until = excluded.leased_until, status = null, body = null
                 where idempotency_keys.created_at <= $7
                    or (idempotency_keys.status is null and idempotency_keys.request = excluded.request
                        and (idempotency_keys.leased_until <= $5 or idempotency_keys.claim = excluded.claim))
                 returning user_id",
            )
            .bind(claim.user)
            .bind(claim.key.clone())
            .bind(claim.request.to_vec())
            .bind(claim.claim)
            .bind(self.database.now())
            .bind(self.database.after(KEY_LEASE))
            .bind(self.database.before(KEY_KEPT))
            .fetch_optional(&mut *transaction)
            .await?;
            if claimed.is_some() {
                return commit(transaction, Claimed::Now).await;
            }
            let (request, status, body): (Vec<u8>, Option<i32>, Option<Vec<u8>>) =
                sqlx::query_as("select request, status, body from idempotency_keys where user_id = $1 and key = $2")
                    .bind(claim.user)
                    .bind(claim.key.clone())
                    .fetch_one(&mut *transaction)
                    .await?;
            commit(transaction, state(claim, &request, status, body)).await
        })
        .await
    }

    async fn finish_key(&self, claim: &KeyClaim, answer: &KeptAnswer) -> Result<()> {
        self.run(async {
            let mut transaction = self.database.begin().await?;
            sqlx::query(
                "update idempotency_keys set status = $4, body = $5 where user_id = $1 and key = $2 and claim = $3",
            )
            .bind(claim.user)
            .bind(claim.key.clone())
            .bind(claim.claim)
            .bind(i32::from(answer.status))
            .bind(answer.body.clone())
            .execute(&mut *transaction)
            .await?;
            commit(transaction, ()).await
        })
        .await
    }

    async fn release_key(&self, claim: &KeyClaim) -> Result<()> {
        self.run(async {
            let mut transaction = self.database.begin().await?;
            sqlx::query(
                "delete from idempotency_keys where user_id = $1 and key = $2 and claim = $3 and status is null",
            )
            .bind(claim.user)
            .bind(claim.key.clone())
            .bind(claim.claim)
            .execute(&mut *transaction)
            .await?;
            commit(transaction, ()).await
        })
        .await
    }
}
