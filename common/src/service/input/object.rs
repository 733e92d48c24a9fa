//! A JSON object as a client wrote it.

use serde::de::{Deserialize, DeserializeSeed, Deserializer, MapAccess, SeqAccess, Visitor};
use serde_json::map::Entry;
use serde_json::{Map, Value};
use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

/// An object's fields, and the names that stand in it twice: of two values, a proxy or a log may
/// have read the other one.
#[derive(Clone, Debug, Default)]
pub struct Object {
    fields: Map<String, Value>,
    twice: BTreeSet<String>,
    /// The names that stand twice in an object of a list: by the list's name and its place there.
    in_lists: BTreeMap<String, BTreeMap<usize, BTreeSet<String>>>,
}

impl Object {
    /// A field, left in it. None where it stands there twice.
    pub fn peek(&self, name: &str) -> Option<&Value> {
        self.fields.get(name).filter(|_| !self.twice.contains(name))
    }

    /// Takes a field out of it. `Err` where it stands there twice.
    pub fn take(&mut self, name: &str) -> Result<Option<Value>, Twice> {
        if self.twice.contains(name) {
            return Err(Twice);
        }
        Ok(self.fields.remove(name))
    }

    /// The objects of a list that was taken out of it.
    pub(super) fn listed(&mut self, name: &str, objects: Vec<Map<String, Value>>) -> Vec<Self> {
        let mut twice = self.in_lists.remove(name).unwrap_or_default();
        let object = |(n, fields)| Self { fields, twice: twice.remove(&n).unwrap_or_default(), ..Self::default() };
        objects.into_iter().enumerate().map(object).collect()
    }
}

/// The fault of a field that stands in its object twice.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Twice;

impl Twice {
    /// The fault, in words.
    pub const MESSAGE: &'static str = "must not stand there twice";
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
        while let Some(name) = map.next_key::<String>()? {
            let mut in_list = BTreeMap::new();
            let value = map.next_value_seed(Noted::Field(&mut in_list))?;
            if !in_list.is_empty() {
                object.in_lists.insert(name.clone(), in_list);
            }
            match object.fields.entry(name) {
                Entry::Vacant(place) => _ = place.insert(value),
                Entry::Occupied(place) => _ = object.twice.insert(place.key().clone()),
            }
        }
        Ok(object)
    }
}

/// Reads a value as `Value` does, and notes the names that stand twice in an object of its list.
/// No field is an object by itself, or holds one deeper.
enum Noted<'a> {
    Field(&'a mut BTreeMap<usize, BTreeSet<String>>),
    Item(&'a mut BTreeSet<String>),
}

impl<'de> DeserializeSeed<'de> for Noted<'_> {
    type Value = Value;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Value, D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Noted<'_> {
    type Value = Value;

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("a value")
    }

    fn visit_unit<E>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_bool<E>(self, value: bool) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_i64<E>(self, value: i64) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_u64<E>(self, value: u64) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_f64<E>(self, value: f64) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_str<E>(self, value: &str) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_string<E>(self, value: String) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Value, A::Error> {
        let mut items = Vec::new();
        match self {
            Self::Field(in_list) => loop {
                let mut twice = BTreeSet::new();
                let Some(item) = seq.next_element_seed(Noted::Item(&mut twice))? else { break };
                if !twice.is_empty() {
                    in_list.insert(items.len(), twice);
                }
                items.push(item);
            },
            Self::Item(_) => {
                while let Some(item) = seq.next_element()? {
                    items.push(item);
                }
            }
        }
        Ok(Value::Array(items))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Value, A::Error> {
        let (mut fields, mut none) = (Map::new(), BTreeSet::new());
        let twice = match self {
            Self::Field(_) => &mut none,
            Self::Item(twice) => twice,
        };
        while let Some((name, value)) = map.next_entry::<String, Value>()? {
            match fields.entry(name) {
                Entry::Vacant(place) => _ = place.insert(value),
                Entry::Occupied(place) => _ = twice.insert(place.key().clone()),
            }
        }
        Ok(Value::Object(fields))
    }
}
