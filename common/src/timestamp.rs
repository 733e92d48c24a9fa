//! How times are written for clients: RFC 3339 in UTC, always with six digits of a second's
//! fraction (contract, section 2). Some parsers take no other number of digits than three or six.
//!
//! Imports nothing of this crate. Use it as `#[serde(with = "crate::timestamp")]`.

pub mod option;

use serde::{Deserializer, Serializer};
use time::format_description::StaticFormatDescription;
use time::macros::format_description;
use time::{OffsetDateTime, UtcOffset};

const SIX_DIGITS: StaticFormatDescription =
    format_description!("[year]-[month]-[day]T[hour]:[minute]:[second].[subsecond digits:6]Z");

fn written<E: serde::ser::Error>(time: OffsetDateTime) -> Result<String, E> {
    text(time).map_err(E::custom)
}

/// The same for text that is no JSON.
pub(crate) fn text(time: OffsetDateTime) -> Result<String, time::error::Format> {
    time.to_offset(UtcOffset::UTC).format(SIX_DIGITS)
}

/// Writes six digits.
pub fn serialize<S: Serializer>(time: &OffsetDateTime, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_str(&written(*time)?)
}

/// Reads any number of digits, as nodes of another release may write them.
pub fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<OffsetDateTime, D::Error> {
    time::serde::rfc3339::deserialize(deserializer)
}

#[cfg(test)]
mod tests {
    use serde::{Deserialize, Serialize};
    use time::OffsetDateTime;
    use time::macros::datetime;

    #[derive(Serialize, Deserialize, PartialEq, Debug)]
    struct Times {
        #[serde(with = "super")]
        at: OffsetDateTime,
        #[serde(with = "super::option")]
        then: Option<OffsetDateTime>,
    }

    #[test]
    fn every_time_has_six_digits() {
        for (at, text) in [
            (datetime!(2026-11-26 13:28:13 UTC), "2026-11-26T13:28:13.000000Z"),
            (datetime!(2026-11-26 13:28:13.47377 UTC), "2026-11-26T13:28:13.473770Z"),
            (datetime!(2026-11-26 13:28:13.999_999_999 UTC), "2026-11-26T13:28:13.999999Z"),
            (datetime!(2026-11-26 15:28:13.5 +2), "2026-11-26T13:28:13.500000Z"),
        ] {
            for then in [None, Some(at)] {
                let json = serde_json::to_value(Times { at, then }).unwrap();
                assert_eq!((&json["at"], json["then"].as_str()), (&text.into(), then.map(|_| text)));
            }
        }
    }

    #[test]
    fn fewer_digits_are_read() {
        let read: Times = serde_json::from_str(r#"{"at": "2026-11-26T13:28:13Z", "then": null}"#).unwrap();
        assert_eq!(read, Times { at: datetime!(2026-11-26 13:28:13 UTC), then: None });
        let read: Times =
            serde_json::from_str(r#"{"at": "2026-11-26T13:28:13.25Z", "then": "2026-11-26T13:28:13.1Z"}"#).unwrap();
        assert_eq!(read.then, Some(datetime!(2026-11-26 13:28:13.1 UTC)));
    }
}
