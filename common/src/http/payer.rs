//! The price of a long answer. Its length is known only once it is there: it is served, and the
//! user's next requests wait for it.

use crate::id::UserId;
use crate::service::Context;
use axum::extract::Request;
use http::Extensions;
use std::sync::{Arc, OnceLock};

/// An answer costs a request more for each so many bytes.
const BYTES_PER_REQUEST: u64 = 256 * 1024;

/// Stands on a request until its user is known.
#[derive(Clone, Default)]
pub(super) struct Payer(Arc<OnceLock<(Context, UserId)>>);

impl Payer {
    /// Puts one on a request.
    pub(super) fn of(request: &mut Request) -> Self {
        let payer = Self::default();
        request.extensions_mut().insert(payer.clone());
        payer
    }

    /// That user pays for the request on which it stands.
    pub(super) fn name(on: &Extensions, ctx: &Context, user: UserId) {
        if let Some(payer) = on.get::<Self>() {
            payer.0.get_or_init(|| (ctx.clone(), user));
        }
    }

    /// Counts what an answer of so many bytes costs beyond its request.
    pub(super) async fn pay(self, bytes: u64) {
        let further = further_price(bytes);
        if let (1.., Some((ctx, user))) = (further, self.0.get()) {
            ctx.owe_requests(*user, further).await;
        }
    }
}

fn further_price(bytes: u64) -> u32 {
    u32::try_from(bytes / BYTES_PER_REQUEST).unwrap_or(u32::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_256_kib_cost_a_request_more() {
        assert_eq!([0, 262_143, 262_144, 524_287, 1_700_000].map(further_price), [0, 0, 1, 1, 6]);
    }
}
