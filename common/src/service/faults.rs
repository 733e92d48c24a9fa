//! The rules of each field. Lengths count Unicode scalar values.

use super::passwords;
use crate::address;
use crate::error::{Error, FieldError, Result};
use crate::id::UserId;
use crate::store::ERASED_ADDRESS;
use icu_properties::props::DefaultIgnorableCodePoint;
use icu_properties::{CodePointSetData, CodePointSetDataBorrowed};
use std::ops::RangeInclusive;

const IGNORABLE: CodePointSetDataBorrowed<'static> = CodePointSetData::new::<DefaultIgnorableCodePoint>();
const CONTROLS: &str = "must not hold line breaks or control characters";
const CONTROLS_IN_TEXT: &str = "must not hold control characters";

/// The length of a username.
pub(super) const USERNAME: RangeInclusive<usize> = 3..=32;
const PASSWORD: RangeInclusive<usize> = 8..=128;
const NAME: RangeInclusive<usize> = 1..=128;
const MAX_DISPLAY_NAME: usize = 64;
const MAX_BIO: usize = 280;
const MAX_DESCRIPTION: usize = 1024;
/// Without quotes no address holds these (RFC 5322, section 3.2.3).
const NEVER_IN_EMAIL: &str = "<>()[],:;\\\"";
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
                && !domain.contains("..")
                && !value.chars().any(|c| is_blank(c) || NEVER_IN_EMAIL.contains(c))
        });
        if value.chars().count() > address::LONGEST_CHARS {
            self.add(field, "must have at most 254 characters");
        } else if !plausible {
            self.add(field, "is not an e-mail address");
        } else if address::spelling(value).ends_with(ERASED_ADDRESS) {
            self.add(field, "is kept for deleted accounts");
        }
    }

    /// A password to be. `names` are the account's own: anybody tries them first.
    pub(super) fn new_password(&mut self, field: &str, value: &str, names: &[&str]) {
        if !PASSWORD.contains(&value.chars().count()) {
            return self.add(field, "must have 8 to 128 characters");
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
        self.one_line(field, value);
        self.not_blank(field, value);
    }

    /// Of any script.
    pub(super) fn display_name(&mut self, field: &str, value: &str) {
        if value.chars().count() > MAX_DISPLAY_NAME {
            self.add(field, "must have 1 to 64 characters");
        }
        self.one_line(field, value);
        self.not_blank(field, value);
    }

    pub(super) fn bio(&mut self, field: &str, value: &str) {
        if value.chars().count() > MAX_BIO {
            self.add(field, "must have at most 280 characters");
        }
        self.lines(field, value);
    }

    pub(super) fn description(&mut self, field: &str, value: &str) {
        if value.chars().count() > MAX_DESCRIPTION {
            self.add(field, "must have at most 1024 characters");
        }
        self.lines(field, value);
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

    fn one_line(&mut self, field: &str, value: &str) {
        self.no_nul(field, value);
        if value.chars().any(leaves_line) {
            self.add(field, CONTROLS);
        }
    }

    fn lines(&mut self, field: &str, value: &str) {
        self.no_nul(field, value);
        if leaves_text(value) {
            self.add(field, CONTROLS_IN_TEXT);
        }
    }

    fn not_blank(&mut self, field: &str, value: &str) {
        self.no_nul(field, value);
        if value.chars().all(is_blank) {
            self.add(field, "must not be blank");
        }
    }
}

/// White space and other invisible characters: control characters, those that Unicode lets a
/// display ignore, and the few that have a glyph without ink.
fn is_blank(c: char) -> bool {
    c.is_whitespace()
        || c.is_control()
        || IGNORABLE.contains(c)
        || matches!(c, '\u{2800}' | '\u{fff9}'..='\u{fffb}' | '\u{16fe4}' | '\u{1d159}')
}

/// Characters that let a name leave its line, or turn the direction of what stands around it.
/// Hebrew and Arabic need the marks `U+200E`, `U+200F` and `U+061C`: these turn nothing.
pub(super) fn leaves_line(c: char) -> bool {
    c.is_control() || matches!(c, '\u{2028}' | '\u{2029}') || turns_direction(c)
}

/// The embeddings, overrides and isolates of Unicode's bidirectional algorithm, and their ends.
fn turns_direction(c: char) -> bool {
    matches!(c, '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
}

/// Whether a text of several lines holds a control that is no white space, or turns a direction
/// that it does not turn back on the same line.
fn leaves_text(text: &str) -> bool {
    let breaks = |c: char| matches!(c, '\n' | '\r' | '\u{2028}' | '\u{2029}');
    text.chars().any(|c| c.is_control() && !c.is_whitespace()) || text.split(breaks).any(|line| !turns_back(line))
}

/// Whether each embedding and isolate of a line is closed by its own end, and nothing else is.
fn turns_back(line: &str) -> bool {
    let mut open = Vec::new();
    line.chars().filter(|&c| turns_direction(c)).all(|c| match c {
        '\u{202c}' => open.pop() == Some('\u{202c}'),
        '\u{2069}' => open.pop() == Some('\u{2069}'),
        '\u{2066}'..='\u{2068}' => {
            open.push('\u{2069}');
            true
        }
        _ => {
            open.push('\u{202c}');
            true
        }
    }) && open.is_empty()
}

#[cfg(test)]
mod tests;
