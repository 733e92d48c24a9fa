//! The AsyncAPI 3.0 document of the WebSocket (contract, section 3): every command, its answer, every event and every close code.
//!
//! The shapes of messages, chats and ids are those of the OpenAPI document, from the same types.

use crate::routes::pages::About;
use messenger_common::config::Limits;
use messenger_common::model::Status;
use serde_json::{Map, Value, json};
use utoipa::PartialSchema;

/// A field of a frame: its name, its schema, whether it is always there.
struct Field(&'static str, Value, bool);

fn always(name: &'static str, schema: Value) -> Field {
    Field(name, schema, true)
}

fn maybe(name: &'static str, schema: Value) -> Field {
    Field(name, schema, false)
}

fn shape(name: &str) -> Value {
    json!({ "$ref": format!("#/components/schemas/{name}") })
}

fn string() -> Value {
    json!({"type": "string"})
}

fn time() -> Value {
    json!({"type": "string", "format": "date-time"})
}

fn or_null(mut schema: Value) -> Value {
    schema["type"] = json!([schema["type"], "null"]);
    schema
}

/// What a client sends, and the frames that answer it.
struct Command(&'static str, &'static str, Vec<Field>, &'static [&'static str]);

fn commands(limits: &Limits) -> Vec<Command> {
    let text = json!({"type": "string", "minLength": 1, "maxLength": limits.max_message_chars});
    let key = json!({"type": "string", "minLength": 1, "maxLength": 64});
    vec![
        Command(
            "subscribe_chat",
            "Hear a chat's events, with `after_seq` from there on: what was missed comes first, in order. Subscribing again \
             replays nothing.",
            vec![always("chat_id", shape("ChatId")), maybe("after_seq", shape("Seq"))],
            &["subscribed"],
        ),
        Command(
            "unsubscribe_chat",
            "Hear a chat's events no more.",
            vec![always("chat_id", shape("ChatId"))],
            &["unsubscribed"],
        ),
        Command(
            "private_message",
            "Send a message to a user; the private chat is made if need be.",
            vec![
                always("recipient_id", shape("UserId")),
                always("text", text.clone()),
                maybe("client_message_id", key.clone()),
            ],
            &["message_sent"],
        ),
        Command(
            "send_message",
            "Send a message to a chat, by the rules of `POST /messages/send`.",
            vec![
                always("chat_id", shape("ChatId")),
                always("text", text),
                maybe("client_message_id", key),
                maybe("reply_to_id", shape("MessageId")),
            ],
            &["message_sent"],
        ),
        Command(
            "typing",
            "Tell the chat's other subscribers that one is typing, at most every two seconds; not answered.",
            vec![always("chat_id", shape("ChatId")), maybe("is_typing", json!({"type": "boolean", "default": true}))],
            &[],
        ),
        Command(
            "read",
            "Say how far one has read, by the rules of `POST /chats/{chat_id}/read`.",
            vec![always("chat_id", shape("ChatId")), always("seq", shape("Seq"))],
            &["message_read"],
        ),
        Command(
            "authenticate",
            "Go on under a new token of the same user; with a bad one all stays as it was.",
            vec![always("token", string())],
            &["authenticated"],
        ),
        Command("ping", "Ask whether the connection lives.", vec![], &["pong"]),
    ]
}

/// What a server sends.
struct Event(&'static str, &'static str, Vec<Field>);

fn answers() -> Vec<Event> {
    vec![
        Event(
            "subscribed",
            "The subscription stands at `seq`; `recovered` missed events follow. With `resync` they are no longer kept: fetch by \
             REST.",
            vec![
                always("chat_id", shape("ChatId")),
                always("seq", shape("Seq")),
                always("recovered", json!({"type": "integer", "minimum": 0})),
                always("online_user_ids", json!({"type": ["array", "null"], "items": shape("UserId")})),
                maybe("resync", json!({"type": "boolean"})),
            ],
        ),
        Event(
            "unsubscribed",
            "No event of the chat follows, but notices of a private one.",
            vec![always("chat_id", shape("ChatId"))],
        ),
        Event("message_sent", "The message is committed.", vec![always("message", shape("Message"))]),
        Event("authenticated", "The connection holds until then.", vec![always("expires_at", time())]),
        Event("pong", "It lives.", vec![]),
        Event(
            "error",
            "The command failed; the connection stays open. The codes are those of REST, and `unknown_type`, `not_subscribed`, \
             `too_many_subscriptions`.",
            vec![
                always("code", string()),
                always("detail", string()),
                maybe("errors", json!({"type": "array", "items": shape("FieldError")})),
            ],
        ),
    ]
}

fn events() -> Vec<Event> {
    let sequenced = |fields: Vec<Field>| {
        let mut all = vec![always("chat_id", shape("ChatId")), always("seq", shape("Seq"))];
        all.extend(fields);
        all
    };
    let member = || {
        sequenced(vec![always("user_id", shape("UserId")), always("username", string()), always("role", shape("Role"))])
    };
    vec![
        Event(
            "welcome",
            "The first frame of every connection.",
            vec![
                always("user_id", shape("UserId")),
                always("connection_id", string()),
                always("expires_at", time()),
                always("heartbeat_seconds", json!({"type": "number"})),
            ],
        ),
        Event("new_message", "A message was sent.", sequenced(vec![always("message", shape("Message"))])),
        Event("message_edited", "A message's text was changed.", sequenced(vec![always("message", shape("Message"))])),
        Event("message_deleted", "A message was deleted.", sequenced(vec![always("message_id", shape("MessageId"))])),
        Event("member_joined", "Someone became a member.", member()),
        Event("member_left", "Someone left or was removed.", member()),
        Event("member_updated", "Someone's role changed.", member()),
        Event("chat_updated", "Name or description changed.", sequenced(vec![always("chat", shape("Chat"))])),
        Event("chat_deleted", "The chat is gone: its last event.", sequenced(vec![always("chat", shape("Chat"))])),
        Event(
            "chat_added",
            "One came into a chat; to every connection of the user.",
            vec![always("chat", shape("Chat"))],
        ),
        Event(
            "chat_removed",
            "One came out of a chat, or it was deleted; to every connection of the user.",
            vec![always("chat_id", shape("ChatId"))],
        ),
        Event(
            "user_status",
            "A member of a subscribed chat came online or went.",
            vec![
                always("user_id", shape("UserId")),
                always("username", string()),
                always("status", shape("Status")),
                always("last_seen_at", or_null(time())),
            ],
        ),
        Event(
            "typing",
            "Someone is typing, or has stopped.",
            vec![
                always("chat_id", shape("ChatId")),
                always("user_id", shape("UserId")),
                always("username", string()),
                always("is_typing", json!({"type": "boolean"})),
            ],
        ),
        Event(
            "message_read",
            "Someone has read up to there.",
            vec![always("chat_id", shape("ChatId")), always("user_id", shape("UserId")), always("seq", shape("Seq"))],
        ),
        Event(
            "resync",
            "Events were lost beyond recovery: fetch by REST.",
            vec![always("chat_id", shape("ChatId")), always("seq", shape("Seq"))],
        ),
    ]
}

const ABOUT: &str = "One JSON object a text frame, `type` first. `request_id` (a string of at most 64 characters) may stand on any \
command; the answer to it carries it. Unknown fields are ignored.

Sequenced events (those with a `seq` of their chat: `new_message`, `message_edited`, `message_deleted`, `member_*`, `chat_updated`, \
`chat_deleted`) reach a subscription with consecutive numbers, each once; after a reconnect `subscribe_chat` with `after_seq` goes on \
without a gap.

The token stands in the path, or with `/ws/chat` in `Authorization: Bearer` or in the subprotocols `bearer, <token>` (answered with \
`bearer`).

Close codes. Reconnect after a random wait: 1001, 1006, 1012 (this node is draining; the reason is `{\"reconnect_after_ms\": N}`), 4401 \
token expired (refresh it first), 4408 no pong in time, 4409 nothing read for too long, 4429 too many commands. Do not reconnect: 1003 \
binary frame, 1007 not UTF-8, 1009 frame over the limit, 4501 token missing or bad, 4502 session ended, 4503 account disabled, 4504 too \
many connections of one user.";

/// The document; `openapi` lends its schemas.
pub(crate) fn document(about: &About, limits: &Limits, openapi: &Value) -> Value {
    let commands = commands(limits);
    let (answers, events) = (answers(), events());
    let mut messages = Map::new();
    let mut operations = Map::new();
    for Command(name, summary, fields, replies) in &commands {
        let id = format!("client_{name}");
        messages.insert(id.clone(), message(name, summary, fields, true));
        let mut operation = json!({"action": "receive", "channel": channel(), "title": name, "summary": summary, "messages": [in_channel(&id)]});
        if !replies.is_empty() {
            let messages: Vec<_> = replies.iter().copied().chain(["error"]).map(in_channel).collect();
            operation["reply"] = json!({"channel": channel(), "messages": messages});
        }
        operations.insert((*name).to_owned(), operation);
    }
    for (told, answer) in answers.iter().map(|event| (event, true)).chain(events.iter().map(|event| (event, false))) {
        let Event(name, summary, fields) = told;
        messages.insert((*name).to_owned(), message(name, summary, fields, answer));
        if !answer {
            operations.insert(
                format!("tell_{name}"),
                json!({"action": "send", "channel": channel(), "summary": summary, "messages": [in_channel(name)]}),
            );
        }
    }
    let in_channel: Map<_, _> =
        messages.keys().map(|id| (id.clone(), json!({"$ref": format!("#/components/messages/{id}")}))).collect();
    let schemas = lent(&json!(messages), openapi);
    json!({
        "asyncapi": "3.0.0",
        "info": {
            "title": about.name,
            "version": about.version,
            "description": format!("{}\n\n{ABOUT}", about.description),
            "license": {"name": "MIT"},
        },
        "defaultContentType": "application/json",
        "servers": {"gateway": {
            "host": "{host}", "protocol": "ws", "description": "Any gateway; `wss` behind TLS",
            "variables": {"host": {"default": "localhost:8000"}},
        }},
        "channels": {
            "chat": {
                "address": "/ws/chat/{token}",
                "title": "Events and commands of one user",
                "parameters": {"token": {"description": "An access token"}},
                "messages": in_channel,
                "bindings": {"ws": {"method": "GET"}},
            },
            "chat_without_token": {
                "address": "/ws/chat",
                "title": "The same, with the token in a header or a subprotocol",
                "messages": in_channel,
                "bindings": {"ws": {"method": "GET", "headers": {"type": "object", "properties": {
                    "Authorization": {"type": "string", "description": "`Bearer <access token>`"},
                    "Sec-WebSocket-Protocol": {"type": "string", "description": "`bearer, <access token>`"},
                }}}},
            },
        },
        "operations": operations,
        "components": {"messages": messages, "schemas": schemas},
    })
}

fn channel() -> Value {
    json!({"$ref": "#/channels/chat"})
}

fn in_channel(id: &str) -> Value {
    json!({"$ref": format!("#/channels/chat/messages/{id}")})
}

fn message(name: &str, summary: &str, fields: &[Field], with_request_id: bool) -> Value {
    let mut properties = Map::new();
    properties.insert("type".to_owned(), json!({"type": "string", "const": name}));
    let mut required = vec!["type"];
    for Field(name, schema, always) in fields {
        properties.insert((*name).to_owned(), schema.clone());
        if *always {
            required.push(name);
        }
    }
    if with_request_id {
        properties.insert("request_id".to_owned(), json!({"type": "string", "maxLength": 64}));
    }
    let payload = json!({"type": "object", "properties": properties, "required": required});
    json!({"name": name, "title": name, "summary": summary, "contentType": "application/json", "payload": payload})
}

/// The schemas that `document` refers to, and those that they refer to.
fn lent(document: &Value, openapi: &Value) -> Map<String, Value> {
    let mut schemas = Map::new();
    let mut wanted = references(document);
    while let Some(name) = wanted.pop() {
        if schemas.contains_key(&name) {
            continue;
        }
        // No REST call speaks of a status.
        let schema = match name.as_str() {
            "Status" => json!(Status::schema()),
            name => openapi["components"]["schemas"][name].clone(),
        };
        wanted.extend(references(&schema));
        schemas.insert(name, schema);
    }
    schemas
}

fn references(value: &Value) -> Vec<String> {
    match value {
        Value::Object(object) => {
            let own =
                object.get("$ref").and_then(Value::as_str).and_then(|to| to.strip_prefix("#/components/schemas/"));
            own.map(str::to_owned).into_iter().chain(object.values().flat_map(references)).collect()
        }
        Value::Array(array) => array.iter().flat_map(references).collect(),
        _ => Vec::new(),
    }
}

#[cfg(test)]
mod tests;
