//! An example of each shape of the documents, made from its schema, so that it always fits. Ids
//! and names are those of the README's walk: what is sent as printed works after it.

use serde_json::{Map, Value, json};

/// The name under which a document keeps its shapes.
const SHAPES: &str = "#/components/schemas/";

/// Makes examples of schemas; these are the shapes that they refer to.
pub(crate) struct Samples<'a> {
    pub(crate) shapes: &'a Value,
}

impl Samples<'_> {
    /// An example with every field, as the server sends it.
    pub(crate) fn whole(&self, schema: &Value) -> Value {
        self.of(schema, "", &|_, _| true)
    }

    /// An example with the fields that a client has to send, and those that bear an example.
    pub(crate) fn least(&self, schema: &Value) -> Value {
        let needed = |object: &Value, name: &str| {
            object["required"].as_array().is_some_and(|all| all.iter().any(|one| one == name))
                || object["properties"][name].get("example").is_some()
        };
        self.of(schema, "", &needed)
    }

    fn of(&self, schema: &Value, name: &str, takes: &dyn Fn(&Value, &str) -> bool) -> Value {
        if let Some(fixed) = schema.get("const").or_else(|| schema.get("example")) {
            return fixed.clone();
        }
        if let Some(words) = schema["enum"].as_array() {
            let wanted = words.iter().find(|word| **word == "not_a_member");
            return wanted.or(words.first()).cloned().unwrap_or_default();
        }
        if let Some(known) = known(name) {
            return known;
        }
        if let Some(to) = schema["$ref"].as_str().and_then(|to| to.strip_prefix(SHAPES)) {
            return self.of(&self.shapes[to], to, takes);
        }
        if let Some(parts) = schema["allOf"].as_array() {
            let parts = parts.iter().filter_map(|part| self.of(part, name, takes).as_object().cloned());
            return parts.flatten().collect::<Map<_, _>>().into();
        }
        if let Some(first) = schema["oneOf"].as_array().and_then(|all| all.first()) {
            return self.of(first, name, takes);
        }
        let kind = schema["type"].as_array().and_then(|all| all.first()).unwrap_or(&schema["type"]);
        match kind.as_str() {
            Some("object") => {
                let fields = schema["properties"].as_object().into_iter().flatten();
                let chosen = fields.filter(|(name, _)| takes(schema, name));
                chosen.map(|(name, field)| (name.clone(), self.of(field, name, takes))).collect::<Map<_, _>>().into()
            }
            Some("array") => json!([self.of(&schema["items"], name, takes)]),
            Some("string") => json!("…"),
            Some("boolean") => json!(false),
            Some("integer" | "number") => json!(1),
            _ => Value::Null,
        }
    }
}

/// What a field of that name holds in the walk.
pub(crate) fn known(name: &str) -> Option<Value> {
    Some(match name {
        "username" | "author_username" | "invited_by" => json!("ann"),
        "display_name" | "author_display_name" => json!("Ann"),
        "email" => json!("ann@example.org"),
        "text" | "q" => json!("hello"),
        "name" => json!("plans"),
        "detail" => json!("you are not a member of this chat"),
        "created_at" | "joined_at" | "last_used_at" | "since" | "last_seen_at" => json!("2026-11-26T13:28:13.473770Z"),
        "expires_at" => json!("2026-12-03T13:28:13.473770Z"),
        "client_message_id" => json!("m-1"),
        "access_token" | "refresh_token" | "token" => json!("eyJhbGciOiJIUzI1NiJ9.e30.c2lnbmF0dXJl"),
        "token_type" => json!("bearer"),
        "expires_in" => json!(900),
        "code" => json!("zQP-pZKH9hEd_Q39P7lguw"),
        "url" => json!("http://127.0.0.1:8000/invite/zQP-pZKH9hEd_Q39P7lguw"),
        "emoji" => json!("👍"),
        "epoch" | "connection_id" => json!("9f86d081884c7d65"),
        "request_id" => json!("a"),
        "user_agent" => json!("curl/7.88.1"),
        "heartbeat_seconds" => json!(25),
        "retry_after_ms" => json!(250),
        "online_user_ids" => json!([1, 2]),
        // The other user of the walk.
        "recipient_id" | "member_count" => json!(2),
        "user_ids" | "member_ids" => json!([2]),
        "highlights" => json!([[0, 5]]),
        "is_active" | "is_public" | "is_group" | "is_typing" | "online" | "is_current" | "me" => json!(true),
        "reactions" | "mentions" => json!([]),
        "uses" | "unread_count" | "mention_count" => json!(0),
        "bio" | "description" | "edited_at" | "reply_to_id" | "last_message" | "peer" | "muted_until" | "max_uses"
        | "next_cursor" => Value::Null,
        _ => return None,
    })
}

#[cfg(test)]
pub(crate) mod tests;
