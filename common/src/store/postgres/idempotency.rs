//! Idempotency keys.

use super::PostgresStore;
use crate::error::Result;
use crate::store::idempotency::{Claimed, Idempotency, KEY_KEPT, KEY_LEASE, KeptAnswer, KeyClaim, state};
use async_trait::async_trait;

#[async_trait]
impl Idempotency for PostgresStore {
    fn is_shared(&self) -> bool {
        true
    }

    async fn claim_key(&self, claim: &KeyClaim) -> Result<Claimed> {
        // An attempt whose connection was lost finds its own claim.
        let claimed = self.row(|| {
            sqlx::query_as(
                "insert into idempotency_keys as k (user_id, key, request, claim, leased_until)
                 values ($1, $2, $3, $4, clock_timestamp() + make_interval(secs => $5))
                 on conflict (user_id, key) do update
                 set request = excluded.request, claim = excluded.claim, created_at = excluded.created_at,
                     leased_until = excluded.leased_until, status = null, body = null
                 where k.created_at <= clock_timestamp() - make_interval(secs => $6)
                    or (k.status is null and k.request = excluded.request
                        and (k.leased_until <= clock_timestamp() or k.claim = excluded.claim))
                 returning user_id",
            )
            .bind(claim.user)
            .bind(&claim.key)
            .bind(claim.request.as_slice())
            .bind(claim.claim)
            .bind(KEY_LEASE.as_secs_f64())
            .bind(KEY_KEPT.as_secs_f64())
        });
        let claimed: Option<(i64,)> = claimed.await?;
        if claimed.is_some() {
            return Ok(Claimed::Now);
        }
        let row: Option<(Vec<u8>, Option<i32>, Option<Vec<u8>>)> = self
            .row(|| {
                sqlx::query_as("select request, status, body from idempotency_keys where user_id = $1 and key = $2")
                    .bind(claim.user)
                    .bind(&claim.key)
            })
            .await?;
        // No row: released since, and free for the next attempt.
        Ok(row.map_or(Claimed::InProgress, |(request, status, body)| state(claim, &request, status, body)))
    }

    async fn finish_key(&self, claim: &KeyClaim, answer: &KeptAnswer) -> Result<()> {
        let finished = self.row::<(i64,)>(|| {
            sqlx::query_as(
                "update idempotency_keys set status = $4, body = $5
                 where user_id = $1 and key = $2 and claim = $3 returning user_id",
            )
            .bind(claim.user)
            .bind(&claim.key)
            .bind(claim.claim)
            .bind(i32::from(answer.status))
            .bind(&answer.body)
        });
        finished.await.map(drop)
    }

    async fn release_key(&self, claim: &KeyClaim) -> Result<()> {
        let released = self.row::<(i64,)>(|| {
            sqlx::query_as(
                "delete from idempotency_keys
                 where user_id = $1 and key = $2 and claim = $3 and status is null returning user_id",
            )
            .bind(claim.user)
            .bind(&claim.key)
            .bind(claim.claim)
        });
        released.await.map(drop)
    }
}
