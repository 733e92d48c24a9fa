//! Addresses: one account each, however they are spelled (`crate::address`).
//!
//! Both back ends keep the spelling in the transaction that stores the address. A trigger forgets
//! it where the address changes, so a node of an older release never leaves that of an earlier
//! one. Accounts without it are given theirs by [`Addresses::spell_addresses`]. Two older accounts
//! may have one address: the older one keeps its spelling, and both are found as they wrote it.

use crate::address;
use crate::error::{Error, Result};
use crate::id::UserId;
use async_trait::async_trait;
use sqlx::FromRow;
use std::collections::HashSet;

/// What became of some accounts whose addresses had no spelling.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Spelled {
    /// The last of them; `None`: there was none.
    pub last: Option<UserId>,
    /// How many have an address that another account has in another spelling.
    pub apart: u64,
}

/// Addresses. See the store's obligations.
#[async_trait]
pub trait Addresses: Send + Sync + 'static {
    /// Gives so many accounts after that one the spelling of their address, the oldest first. One
    /// whose spelling is another account's stays without.
    async fn spell_addresses(&self, after: UserId, limit: usize) -> Result<Spelled>;
}

/// An account whose address has no spelling.
#[derive(FromRow)]
pub(super) struct Unspelled {
    id: UserId,
    email_lower: String,
}

/// The spelling that an account is to be given, as long as that is its address.
pub(super) struct ToSpell {
    pub(super) id: UserId,
    pub(super) email_lower: String,
    pub(super) spelling: String,
    /// Whether none before it is given the same.
    pub(super) is_first: bool,
}

/// What is to be given to these, the oldest first.
pub(super) fn to_spell(found: Vec<Unspelled>) -> Vec<ToSpell> {
    let mut given = HashSet::new();
    let spelled = found.into_iter().map(|Unspelled { id, email_lower }| {
        let spelling = address::spelling(&email_lower);
        let is_first = given.insert(spelling.clone());
        ToSpell { id, email_lower, spelling, is_first }
    });
    spelled.collect()
}

/// An address that an account is to have.
#[derive(Clone, Copy, FromRow)]
pub(super) struct Wanted {
    /// Whether the account has it, but for case.
    is_own: bool,
    /// Whether another has it, in any spelling.
    is_taken: bool,
}

impl Wanted {
    /// Whether it is new to the account, if there is one. `EmailTaken`: another has it.
    pub(super) fn is_new(wanted: Option<Self>) -> Result<bool> {
        match wanted {
            Some(Self { is_own: true, .. }) | None => Ok(false),
            Some(Self { is_taken: true, .. }) => Err(Error::EmailTaken),
            Some(_) => Ok(true),
        }
    }
}

/// A [`Wanted`] of the user $1, of the address $2 in lower case and its spelling $3. An account
/// that has no spelling yet has its address at least.
pub(super) const WANTED: &str = "select u.email_lower = $2 as is_own, exists (
         select 1 from users o where o.id <> u.id and (o.email_lower in ($2, $3) or o.email_spelling = $3)
     ) as is_taken
     from users u where u.id = $1";

/// Gives the user $1 the spelling $2 of an address that it was just given.
pub(super) const KEEP_SPELLING: &str = "update users set email_spelling = $2 where id = $1";
