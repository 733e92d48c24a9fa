//! A connection's subscriptions: how one begins, and how those that are behind catch up (G2, G7).
//! The rules of the cursor are the feed's ([`crate::feed`]); here is what they read from the
//! store, and whom they answer.

mod begin;
mod catch_up;

pub(crate) use begin::{Place, Subscribing};
pub(crate) use catch_up::{Step, catch_up, read_and_catch_up, readmit};
