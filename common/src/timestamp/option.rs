//! The same for a time that may be missing: null.

use super::written;
use serde::{Deserializer, Serialize, Serializer};
use time::OffsetDateTime;

/// Writes six digits, or null.
pub fn serialize<S: Serializer>(time: &Option<OffsetDateTime>, serializer: S) -> Result<S::Ok, S::Error> {
    time.map(written).transpose()?.serialize(serializer)
}

/// Reads any number of digits, or null.
pub fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<OffsetDateTime>, D::Error> {
    time::serde::rfc3339::option::deserialize(deserializer)
}
