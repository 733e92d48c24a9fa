//! Wrong passwords, counted per account beside the address's own limit: a stranger who guesses
//! slows himself and not the owner (OWASP ASVS 5.0, 6.3.1).
//!
//! An account knows the networks that registered it, logged in to it or refreshed a session of it.
//! Each of them has a limit of its own, twice as wide as the one that all others share. The others
//! are counted by the name that was tried, whether it exists or not: the limit does not say which
//! ones do.

use super::{Context, network};
use crate::address::spelling;
use crate::auth::Asker;
use crate::error::Result;
use crate::id::UserId;
use crate::rate_limit::Limit;
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use sha2::{Digest, Sha256};
use std::net::IpAddr;
use std::time::Duration;

/// How much wider the limit of a known network is: its people mistype.
const KNOWN_RATES: u32 = 2;

/// A user who does not exist: asking after one takes as long as after any other.
const NOBODY: UserId = UserId(0);

/// A try to log in to an account. It counts as wrong until it proves right.
pub(super) struct Guess {
    limit: Limit,
    subject: String,
    from: IpAddr,
    is_known: bool,
}

impl Guess {
    /// One more try from that address. `user` is the account's, if there is one. `RateLimited`.
    pub(super) async fn begin(ctx: &Context, name: &str, user: Option<UserId>, from: IpAddr) -> Result<Self> {
        let network = network::stored(from);
        let user = user.unwrap_or(NOBODY);
        let is_known = ctx.store.knows_network(user, network).await?;
        let strangers = ctx.limits.rate_wrong_passwords_per_hour;
        let (rate, subject) = if is_known {
            (strangers.saturating_mul(KNOWN_RATES), format!("{user}@{network}"))
        } else {
            // Not the name itself: it may be an e-mail address, or very long. All spellings of an
            // address count together. A username and its account's address count apart: together
            // they would say that they are one's.
            (strangers, URL_SAFE_NO_PAD.encode(Sha256::digest(spelling(name))))
        };
        let limit = Limit { name: "passwords", rate, period: Duration::from_hours(1), burst: rate };
        ctx.limited(limit, &subject).await?;
        Ok(Self { limit, subject, from, is_known })
    }

    /// For the queue of passwords: a crowd of strangers does not hold up the known.
    pub(super) fn asker(&self) -> Asker {
        if self.is_known { Asker::Known } else { Asker::Stranger(network::site(self.from)) }
    }

    /// The password was right: the try does not count, and the network is known from now on.
    pub(super) async fn was_right(self, ctx: &Context, user: UserId) {
        ctx.limiter.refund(&self.limit, &self.subject).await;
        remember(ctx, user, self.from).await;
    }
}

/// The account knows that network from now on.
pub(super) async fn remember(ctx: &Context, user: UserId, from: IpAddr) {
    // Later logins and refreshes do it too.
    if let Err(error) = ctx.store.remember_network(user, network::stored(from)).await {
        tracing::debug!(%error, "a network is not remembered");
    }
}
