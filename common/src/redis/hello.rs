//! The answer to `HELLO`: what a server says of itself.

use redis::{Value, from_redis_value};
use std::collections::HashMap;

/// What a server says of itself. A proxy, or a user without the right, leaves parts out.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Hello {
    /// Its version.
    pub(super) version: Option<String>,
    /// `standalone`, `cluster` or `sentinel`.
    pub(super) mode: Option<String>,
    /// `master` or `replica`.
    pub(super) role: Option<String>,
}

impl Hello {
    /// Reads the answer; one of another shape says nothing.
    pub(super) fn read(answer: Value) -> Self {
        let Ok(fields) = from_redis_value::<HashMap<String, Value>>(answer) else { return Self::default() };
        let word = |name| fields.get(name).and_then(|value| from_redis_value::<String>(value.clone()).ok());
        let role = word("role").map(|role| if role == "slave" { "replica".to_owned() } else { role });
        Self { version: word("version"), mode: word("mode"), role }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_server_says_what_it_is_or_nothing() {
        let text = |text: &str| Value::BulkString(text.as_bytes().to_vec());
        let fields = [(text("proto"), Value::Int(3)), (text("mode"), text("cluster")), (text("role"), text("slave"))];
        let hello = Hello::read(Value::Map(fields.to_vec()));
        assert_eq!(
            (hello.mode.as_deref(), hello.role.as_deref(), hello.version),
            (Some("cluster"), Some("replica"), None)
        );
        assert_eq!(Hello::read(Value::Okay), Hello::default());
    }
}
