//! The rules of each field. Lengths count Unicode scalar values.

use super::passwords;
use crate::error::{Error, FieldError, Result};
use crate::id::UserId;
use std::ops::RangeInclusive;

/// The length of a username.
pub(super) const USERNAME: RangeInclusive<usize> = 3..=32;
const PASSWORD: RangeInclusive<usize> = 8..=128;
const NAME: RangeInclusive<usize> = 1..=128;
const MAX_DISPLAY_NAME: usize = 64;
const MAX_BIO: usize = 280;
const MAX_DESCRIPTION: usize = 1024;
/// RFC 5321, section 4.5.3.1.3, less the angle brackets (erratum 1690).
const MAX_EMAIL: usize = 254;
const MAX_CLIENT_MESSAGE_ID: usize = 64;
/// Users that one request may name: its commit notifies all of them at once.
const MAX_USERS: usize = 1000;

/// The faults of a request: one a field, the first that was found.
#[derive(Clone, Debug, Default)]
pub struct Faults(Vec<FieldError>);

impl Faults {
    /// Adds a fault, unless that field has one already.
    pub fn add(&mut self, field: &str, message: impl Into<String>) {
        if !self.0.iter().any(|fault| fault.field == field) {
            self.0.push(FieldError::new(field, message));
        }
    }

    /// `Invalid` with all of them, if there are any.
    pub fn none(self) -> Result<()> {
        if self.0.is_empty() { Ok(()) } else { Err(Error::Invalid(self.0)) }
    }

    pub(super) fn username(&mut self, field: &str, value: &str) {
        let fits = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '.' | '-');
        if !USERNAME.contains(&value.chars().count()) {
            self.add(field, "must have 3 to 32 characters");
        } else if !value.chars().all(fits) {
            self.add(field, "may hold letters A-Z and a-z, digits, '_', '.' and '-' only");
        }
    }

    /// Whether it could be an address. Only a letter to it would show whether it is one.
    pub(super) fn email(&mut self, field: &str, value: &str) {
        let plausible = value.split_once('@').is_some_and(|(local, domain)| {
            !local.is_empty()
                && !domain.is_empty()
                && !domain.contains('@')
                && !domain.starts_with('.')
                && !domain.ends_with('.')
                && !value.chars().any(|c| c.is_whitespace() || c.is_control())
        });
        if value.chars().count() > MAX_EMAIL {
            self.add(field, "must have at most 254 characters");
        } else if !plausible {
            self.add(field, "is not an e-mail address");
        }
    }

    /// A password to be. `names` are the account's own: anybody tries them first.
    pub(super) fn new_password(&mut self, field: &str, value: &str, names: &[&str]) {
        if !PASSWORD.contains(&value.chars().count()) {
            self.add(field, "must have 8 to 128 characters");
        }
        self.no_nul(field, value);
        if let Some(weakness) = passwords::weakness(value, names) {
            self.add(field, weakness);
        }
    }

    pub(super) fn name(&mut self, field: &str, value: &str) {
        if !NAME.contains(&value.chars().count()) {
            self.add(field, "must have 1 to 128 characters");
        }
        self.not_blank(field, value);
    }

    /// Of any script, without the characters that turn or break the line around them.
    pub(super) fn display_name(&mut self, field: &str, value: &str) {
        if value.chars().count() > MAX_DISPLAY_NAME {
            self.add(field, "must have 1 to 64 characters");
        } else if value.chars().any(|c| c.is_control() || is_line_control(c)) {
            self.add(field, "must not hold control characters");
        }
        self.not_blank(field, value);
    }

    pub(super) fn bio(&mut self, field: &str, value: &str) {
        if value.chars().count() > MAX_BIO {
            self.add(field, "must have at most 280 characters");
        }
        self.no_nul(field, value);
    }

    pub(super) fn description(&mut self, field: &str, value: &str) {
        if value.chars().count() > MAX_DESCRIPTION {
            self.add(field, "must have at most 1024 characters");
        }
        self.no_nul(field, value);
    }

    pub(super) fn users(&mut self, field: &str, ids: &[UserId]) {
        if ids.len() > MAX_USERS {
            self.add(field, format!("must name at most {MAX_USERS} users"));
        }
    }

    pub(super) fn text(&mut self, field: &str, value: &str, max: usize) {
        // Bytes first: a text of as many bytes is short enough without counting.
        if value.len() > max && value.chars().count() > max {
            self.add(field, format!("must have at most {max} characters"));
        }
        self.not_blank(field, value);
    }

    pub(super) fn client_message_id(&mut self, field: &str, value: &str) {
        if !(1..=MAX_CLIENT_MESSAGE_ID).contains(&value.chars().count()) {
            self.add(field, "must have 1 to 64 characters");
        }
        self.no_nul(field, value);
    }

    pub(super) fn limit(&mut self, field: &str, value: i64) {
        if !(1..=super::MAX_PAGE).contains(&value) {
            self.add(field, "must be from 1 to 100");
        }
    }

    /// Neither store keeps a NUL in text.
    pub(super) fn no_nul(&mut self, field: &str, value: &str) {
        if value.contains('\0') {
            self.add(field, "must not hold a NUL character");
        }
    }

    fn not_blank(&mut self, field: &str, value: &str) {
        self.no_nul(field, value);
        if value.chars().all(is_blank) {
            self.add(field, "must not be blank");
        }
    }
}

/// Line and paragraph separators, and the controls of direction (Unicode's Bidi_Control).
fn is_line_control(c: char) -> bool {
    matches!(c, '\u{2028}' | '\u{2029}' | '\u{200e}' | '\u{200f}' | '\u{61c}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
}

/// White space and other invisible characters: control characters, and the zero-width ones of
/// Unicode's general category Cf that people use to make a text look empty.
fn is_blank(c: char) -> bool {
    c.is_whitespace() || c.is_control() || matches!(c, '\u{200b}'..='\u{200f}' | '\u{2060}'..='\u{2064}' | '\u{feff}')
}

#[cfg(test)]
mod tests;
