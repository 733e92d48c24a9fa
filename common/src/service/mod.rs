//! The rules: one function a use case. They decide what a caller may do, and where others race,
//! the store's transaction does.
//!
//! They know neither HTTP nor SQL, and import `auth`, `store`, `relay`, `presence`, `rate_limit`
//! and the rooms below them. REST handlers and WebSocket commands call the same functions, so that
//! both have the same rules (and guarantee G4 holds across them).
//!
//! A function's docs end with the codes by which it fails. A function that asks a back end may also
//! fail by `Unavailable` or `Internal`.

pub mod accounts;
pub mod audit;
pub mod chats;
mod context;
mod faults;
mod guesses;
pub mod input;
pub mod invites;
pub mod marks;
pub mod members;
pub mod messages;
pub mod network;
pub mod online;
mod passwords;
pub mod sessions;

pub use audit::{Audit, SecurityEvent};
pub use chats::ChatCounts;
pub use context::{Context, KNOWN_GROUPS, Parts};
pub use faults::Faults;
pub use input::{FieldType, Fields, FromFields, Object, Query, Twice, Unchecked};
pub use messages::{Searches, SendQueue};
pub use online::OnlineReads;
#[cfg(any(test, feature = "fuzz"))]
pub(crate) use online::fuzz_cursor as fuzz_online_cursor;

use crate::error::{Error, Result};
use crate::store::PageRequest;

/// The longest page of a list.
pub const MAX_PAGE: i64 = 100;
/// The length of a page without `limit`.
pub const DEFAULT_PAGE: i64 = 50;

/// The question for a page of a list.
#[derive(Clone, Debug)]
pub struct PageQuery {
    /// 1 to 100.
    pub limit: i64,
    /// An earlier page's `next_cursor`.
    pub cursor: Option<String>,
}

impl Default for PageQuery {
    fn default() -> Self {
        Self { limit: DEFAULT_PAGE, cursor: None }
    }
}

impl FromFields for PageQuery {
    fn read(fields: &mut Fields) -> Self {
        Self { limit: fields.or("limit", DEFAULT_PAGE), cursor: fields.optional("cursor") }
    }
}

impl PageQuery {
    fn check(self, faults: &mut Faults) -> PageRequest {
        faults.limit("limit", self.limit);
        // The maker of a cursor judges its content. No statement takes a NUL, so it is refused
        // here.
        if self.cursor.as_deref().is_some_and(|cursor| cursor.contains('\0')) {
            faults.add("cursor", "is not a cursor that this list gave out");
        }
        PageRequest { cursor: self.cursor, limit: usize::try_from(self.limit).unwrap_or(0) }
    }
}

/// The page that is asked for, or the faults of the question.
fn page(query: impl Into<Unchecked<PageQuery>>) -> Result<PageRequest> {
    let (query, mut faults) = query.into().split();
    let page = query.check(&mut faults);
    faults.none()?;
    Ok(page)
}

/// An error of the store about a field that has another name for the client.
fn on_field(error: Error, field: &str, message: &str) -> Error {
    match error {
        Error::UserNotFound => Error::invalid(field, message),
        other => other,
    }
}

#[cfg(any(test, feature = "fuzz"))]
/// Looks for what the rules look for in texts.
pub(crate) fn fuzz_texts(text: &str) {
    let mut faults = Faults::default();
    faults.username("username", text);
    faults.email("email", text);
    faults.new_password("password", text, &["ann", text]);
    faults.name("name", text);
    faults.display_name("display_name", text);
    faults.bio("bio", text);
    faults.description("description", text);
    faults.text("text", text, 4096);
    faults.client_message_id("client_message_id", text);
    drop(faults.none());
    messages::fuzz_mentions(text);
}
