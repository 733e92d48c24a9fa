//! Identifiers: a newtype each, so that a chat's id is never taken for a user's.
//!
//! Imports nothing of this crate.

use serde::{Deserialize, Serialize};
use std::fmt;

/// A number in its one spelling, in which we write it: what a proxy or a log compares is what is
/// served. `+1` and `01` are none.
pub fn number(text: &str) -> Option<i64> {
    text.parse().ok().filter(|number: &i64| number.to_string() == text)
}

/// The text is no number.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NoNumber;

macro_rules! id {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(
            Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, sqlx::Type,
            utoipa::ToSchema,
        )]
        #[serde(transparent)]
        #[sqlx(transparent)]
        pub struct $name(pub i64);

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.0.fmt(f)
            }
        }

        impl std::str::FromStr for $name {
            type Err = NoNumber;
            fn from_str(text: &str) -> Result<Self, NoNumber> {
                number(text).map(Self).ok_or(NoNumber)
            }
        }
    };
}

id!(
    /// A user.
    UserId
);
id!(
    /// A chat, private or group.
    ChatId
);
id!(
    /// A message; within a chat ids rise as sequence numbers do.
    MessageId
);
id!(
    /// A login session: one refresh-token family.
    SessionId
);
id!(
    /// A place in a chat's sequence of events: 1, 2, 3, … without a gap; 0 stands before the first.
    Seq
);

impl Seq {
    /// The number after this one.
    #[must_use]
    pub fn next(self) -> Self {
        Self(self.0 + 1)
    }
}

/// A running process of the cluster: random at each start, so that a restarted node is a new one.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct NodeId(pub String);

impl NodeId {
    /// A fresh id from 64 random bits.
    pub fn from_random(bits: u64) -> Self {
        Self(format!("{bits:016x}"))
    }
}

impl fmt::Display for NodeId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}
