//! Reads a request's fields and finds every fault at once: a missing field, a field of the wrong
//! type and one that is too long. A derived `Deserialize` would stop at the first.

mod object;

pub use object::{Object, Twice};

use super::faults::Faults;
use crate::id::{ChatId, MessageId, Seq, SessionId, UserId, number};
use crate::model::Role;
use serde::de::{Deserialize, Deserializer};
use serde_json::{Map, Value};
use time::format_description::well_known::Rfc3339;
use time::{OffsetDateTime, UtcOffset};

/// A request's fields as they came, with the faults found so far. Unreadable fields have their
/// default. The rules add further faults before they refuse the request.
#[derive(Clone, Debug)]
pub struct Unchecked<T> {
    value: T,
    faults: Faults,
}

impl<T> Unchecked<T> {
    /// The fields, and the faults so far.
    pub fn split(self) -> (T, Faults) {
        (self.value, self.faults)
    }
}

impl<T> From<T> for Unchecked<T> {
    fn from(value: T) -> Self {
        Self { value, faults: Faults::default() }
    }
}

impl<T: FromFields> Unchecked<T> {
    /// Reads a JSON object.
    pub fn from_object(object: Object) -> Self {
        Self::from_fields(Fields { object, text: false, faults: Faults::default() })
    }

    fn from_fields(mut fields: Fields) -> Self {
        let value = T::read(&mut fields);
        Self { value, faults: fields.faults }
    }
}

impl<'de, T: FromFields> Deserialize<'de> for Unchecked<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Object::deserialize(deserializer).map(Self::from_object)
    }
}

/// The same of a query string, where every value is text: `limit=20` is an integer there.
#[derive(Clone, Debug)]
pub struct Query<T>(pub Unchecked<T>);

impl<'de, T: FromFields> Deserialize<'de> for Query<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let object = Object::deserialize(deserializer)?;
        Ok(Self(Unchecked::from_fields(Fields { object, text: true, faults: Faults::default() })))
    }
}

impl<T> From<Query<T>> for Unchecked<T> {
    fn from(query: Query<T>) -> Self {
        query.0
    }
}

/// A type that is read from a request's fields.
pub trait FromFields {
    /// Takes each field by the client's name for it.
    fn read(fields: &mut Fields) -> Self;
}

/// A request's fields, while they are read.
#[derive(Debug)]
pub struct Fields {
    object: Object,
    text: bool,
    faults: Faults,
}

impl Fields {
    /// A field that must be there.
    pub fn required<T: FieldType>(&mut self, name: &'static str) -> T {
        if let Some(value) = self.take(name) {
            self.convert(name, &value)
        } else {
            self.faults.add(name, "is required");
            T::default()
        }
    }

    /// A list of objects that must be there. Each is read as one that stands by itself.
    pub fn objects(&mut self, name: &'static str) -> Vec<Object> {
        let objects = self.required(name);
        self.object.listed(name, objects)
    }

    /// A field that may be missing or null.
    pub fn optional<T: FieldType>(&mut self, name: &'static str) -> Option<T> {
        self.take(name).map(|value| self.convert(name, &value))
    }

    /// A field with a default.
    pub fn or<T: FieldType>(&mut self, name: &'static str, default: T) -> T {
        self.optional(name).unwrap_or(default)
    }

    /// A field that null takes away and that stays when missing.
    pub fn change<T: FieldType>(&mut self, name: &'static str) -> Option<Option<T>> {
        match self.given(name)? {
            Value::Null => Some(None),
            value => Some(Some(self.convert(name, &value))),
        }
    }

    fn take(&mut self, name: &str) -> Option<Value> {
        self.given(name).filter(|value| !value.is_null())
    }

    fn given(&mut self, name: &str) -> Option<Value> {
        self.object.take(name).unwrap_or_else(|Twice| {
            self.faults.add(name, Twice::MESSAGE);
            None
        })
    }

    fn convert<T: FieldType>(&mut self, name: &'static str, value: &Value) -> T {
        let read = match value {
            Value::String(text) if self.text => T::from_text(text),
            value => T::from_value(value),
        };
        read.unwrap_or_else(|| {
            self.faults.add(name, T::EXPECTED);
            T::default()
        })
    }
}

/// The type of a field.
pub trait FieldType: Default {
    /// The message for a client that sent another type.
    const EXPECTED: &'static str;
    /// From JSON.
    fn from_value(value: &Value) -> Option<Self>;
    /// From a query string.
    fn from_text(text: &str) -> Option<Self>;
}

impl FieldType for Vec<Map<String, Value>> {
    const EXPECTED: &'static str = "must be an array of objects";
    fn from_value(value: &Value) -> Option<Self> {
        value.as_array()?.iter().map(|one| one.as_object().cloned()).collect()
    }
    fn from_text(_: &str) -> Option<Self> {
        None
    }
}

impl FieldType for String {
    const EXPECTED: &'static str = "must be a string";
    fn from_value(value: &Value) -> Option<Self> {
        value.as_str().map(str::to_owned)
    }
    fn from_text(text: &str) -> Option<Self> {
        Some(text.to_owned())
    }
}

impl FieldType for bool {
    const EXPECTED: &'static str = "must be true or false";
    fn from_value(value: &Value) -> Option<Self> {
        value.as_bool()
    }
    fn from_text(text: &str) -> Option<Self> {
        text.parse().ok()
    }
}

impl FieldType for i64 {
    const EXPECTED: &'static str = "must be an integer";
    fn from_value(value: &Value) -> Option<Self> {
        value.as_i64()
    }
    fn from_text(text: &str) -> Option<Self> {
        number(text)
    }
}

macro_rules! integer {
    ($($id:ident),*) => {$(
        impl FieldType for $id {
            const EXPECTED: &'static str = i64::EXPECTED;
            fn from_value(value: &Value) -> Option<Self> {
                i64::from_value(value).map($id)
            }
            fn from_text(text: &str) -> Option<Self> {
                i64::from_text(text).map($id)
            }
        }
    )*};
}
integer!(ChatId, MessageId, SessionId, UserId);

impl FieldType for Seq {
    const EXPECTED: &'static str = "must be an integer of at least 0";
    fn from_value(value: &Value) -> Option<Self> {
        i64::from_value(value).filter(|&seq| seq >= 0).map(Seq)
    }
    fn from_text(text: &str) -> Option<Self> {
        i64::from_text(text).filter(|&seq| seq >= 0).map(Seq)
    }
}

impl FieldType for Vec<UserId> {
    const EXPECTED: &'static str = "must be a list of integers";
    fn from_value(value: &Value) -> Option<Self> {
        value.as_array()?.iter().map(UserId::from_value).collect()
    }
    fn from_text(_: &str) -> Option<Self> {
        None
    }
}

impl FieldType for Option<OffsetDateTime> {
    const EXPECTED: &'static str = "must be a time of RFC 3339, as 2026-12-24T18:00:00Z";
    fn from_value(value: &Value) -> Option<Self> {
        Self::from_text(value.as_str()?)
    }
    fn from_text(text: &str) -> Option<Self> {
        let time = OffsetDateTime::parse(text, &Rfc3339).ok()?.checked_to_offset(UtcOffset::UTC)?;
        // Both databases keep microseconds.
        (0..=9999).contains(&time.year()).then(|| Some(time.replace_microsecond(time.microsecond()).unwrap_or(time)))
    }
}

impl FieldType for Option<Role> {
    const EXPECTED: &'static str = "must be \"owner\" or \"member\"";
    fn from_value(value: &Value) -> Option<Self> {
        Self::from_text(value.as_str()?)
    }
    fn from_text(text: &str) -> Option<Self> {
        match text {
            "owner" => Some(Some(Role::Owner)),
            "member" => Some(Some(Role::Member)),
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests;
