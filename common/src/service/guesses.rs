//! Wrong passwords, counted per account beside the address's own limit: a stranger who guesses
//! slows himself and not the owner (OWASP ASVS 5.0, 6.3.1).
//!
//! All who guess an account's password from networks that never logged in to it share one limit. A
//! network that did has only the limits of its address. An account is counted by the name that was
//! tried, whether it exists or not: the limit does not say which ones do.

use super::{Context, network};
use crate::auth::Asker;
use crate::error::Result;
use crate::id::UserId;
use crate::rate_limit::Limit;
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use sha2::{Digest, Sha256};
use std::net::IpAddr;
use std::time::Duration;

/// A try to log in to an account. It counts as wrong until it proves right.
pub(super) struct Guess {
    account: String,
    site: IpAddr,
    is_known: bool,
}

impl Guess {
    /// One more try from that address. `user` is the account's, if there is one. `RateLimited`.
    pub(super) async fn begin(ctx: &Context, name: &str, user: Option<UserId>, from: IpAddr) -> Result<Self> {
        let site = network::site(from);
        let user = user.unwrap_or(network::NOBODY);
        let is_known = ctx.store.knows_network(user, network::stored(site)).await?;
        // Not the name itself: it may be an e-mail address, or very long.
        let digest = Sha256::digest(name.to_lowercase());
        let account = URL_SAFE_NO_PAD.encode(digest);
        let guess = Self { account, site, is_known };
        if !is_known {
            ctx.limited(limit(ctx), &guess.account).await?;
        }
        Ok(guess)
    }

    /// For the queue of passwords: a crowd of strangers does not hold up the known.
    pub(super) fn asker(&self) -> Asker {
        if self.is_known { Asker::Known } else { Asker::Stranger(self.site) }
    }

    /// The password was right: the try does not count, and the network is known from now on.
    pub(super) async fn was_right(self, ctx: &Context, user: UserId) {
        if !self.is_known {
            ctx.limiter.refund(&limit(ctx), &self.account).await;
        }
        // Later logins do it too.
        if let Err(error) = ctx.store.remember_network(user, network::stored(self.site)).await {
            tracing::debug!(%error, "the network of a login is not remembered");
        }
    }
}

fn limit(ctx: &Context) -> Limit {
    let rate = ctx.limits.rate_wrong_passwords_per_hour;
    Limit { name: "passwords", rate, period: Duration::from_hours(1), burst: rate }
}
