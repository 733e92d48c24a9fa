//! A JSON object as a client wrote it.

use serde::de::{Deserialize, Deserializer, MapAccess, Visitor};
use serde_json::map::Entry;
use serde_json::{Map, Value};
use std::collections::BTreeSet;
use std::fmt;

/// An object's fields, and the names that stand in it twice: of two values, a proxy or a log may
/// have read the other one.
#[derive(Clone, Debug, Default)]
pub struct Object {
    fields: Map<String, Value>,
    twice: BTreeSet<String>,
}

impl Object {
    /// A field, left in it.
    pub fn peek(&self, name: &str) -> Option<&Value> {
        self.fields.get(name)
    }

    /// Takes a field out of it. `Err` where it stands there twice.
    pub fn take(&mut self, name: &str) -> Result<Option<Value>, Twice> {
        if self.twice.contains(name) {
            return Err(Twice);
        }
        Ok(self.fields.remove(name))
    }
}

/// The fault of a field that stands in its object twice.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Twice;

impl Twice {
    /// The fault, in words.
    pub const MESSAGE: &'static str = "must not stand there twice";
}

impl From<Map<String, Value>> for Object {
    fn from(fields: Map<String, Value>) -> Self {
        Self { fields, twice: BTreeSet::new() }
    }
}

impl<'de> Deserialize<'de> for Object {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_map(Fields)
    }
}

struct Fields;

impl<'de> Visitor<'de> for Fields {
    type Value = Object;

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("an object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Object, A::Error> {
        let mut object = Object::default();
        while let Some((name, value)) = map.next_entry::<String, Value>()? {
            match object.fields.entry(name) {
                Entry::Vacant(place) => {
                    place.insert(value);
                }
                Entry::Occupied(place) => {
                    object.twice.insert(place.key().clone());
                }
            }
        }
        Ok(object)
    }
}
