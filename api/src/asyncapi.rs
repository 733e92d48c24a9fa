//! The AsyncAPI 3.0 document of the WebSocket (contract, section 3): every command, its answer,
//! every event and every close code.
//!
//! The shapes of messages, chats and ids are those of the OpenAPI document, from the same types.

mod frames;
pub(crate) mod page;

use self::frames::{Command, Field, Frame};
use crate::openapi::CONTACT;
use crate::routes::pages::About;
use crate::samples::Samples;
use messenger_common::config::Limits;
use messenger_common::event::EventKind;
use messenger_common::label::Label;
use messenger_common::model::Status;
use messenger_common::wire::CloseCode;
use serde_json::{Map, Value, json};
use utoipa::PartialSchema;

const FRAMES: &str = "Send and read one JSON object in each text frame. You may put a `request_id` (a string of at most 64 \
characters) on any command; its answer carries it. Unknown fields are ignored.";

/// The messages that clients send.
const CLIENT: &str = "client_";

const TOKEN: &str = "Put the token into the path; or connect to `/ws/chat` and send it in `Authorization: Bearer`, or as the \
subprotocols `bearer, <token>` (the server answers `bearer`).";

/// The rules that a client needs beside the frames.
fn about() -> String {
    let sequenced: Vec<_> = EventKind::ALL.iter().filter(|kind| kind.is_sequenced()).map(|kind| kind.name()).collect();
    let sequenced = format!(
        "Sequenced events have a `seq` of their chat: `{}`. A subscription gets them with consecutive numbers, each once. After a \
         reconnect, `subscribe_chat` with `after_seq` continues without a gap. Skip a `type` that you do not know, and count its \
         `seq`: a newer release may send it.",
        sequenced.join("`, `")
    );
    let closes: Vec<_> = CloseCode::ALL
        .iter()
        .map(|code| format!("- {}: {} {}", code.digits(), code.about().trim(), code.advice().words()))
        .collect();
    let ranges = "Other codes from 4000 to 4499: reconnect after a random wait. From 4500 to 4999: do not reconnect.";
    format!("{FRAMES}\n\n{sequenced}\n\n{TOKEN}\n\nClose codes:\n\n{}\n\n{ranges}", closes.join("\n"))
}

/// The document; `openapi` lends its schemas.
pub(crate) fn document(about: &About, limits: &Limits, openapi: &Value) -> Value {
    let commands = frames::commands(limits);
    let (answers, events) = (frames::answers(), frames::events());
    let mut messages = Map::new();
    let mut operations = Map::new();
    for Command(Frame(name, summary, fields), replies) in &commands {
        let id = format!("{CLIENT}{name}");
        messages.insert(id.clone(), message(name, summary, fields, true));
        let mut operation = json!({
            "action": "receive", "channel": channel(), "title": name, "summary": first_sentence(summary),
            "description": summary, "messages": [in_channel(&id)],
        });
        let answers: Vec<_> = replies.iter().copied().chain(["error"]).map(in_channel).collect();
        operation["reply"] = json!({"channel": channel(), "messages": answers});
        operations.insert((*name).to_owned(), operation);
    }
    for (sent, answer) in answers.iter().map(|frame| (frame, true)).chain(events.iter().map(|frame| (frame, false))) {
        let Frame(name, summary, fields) = sent;
        // `message_read` is both.
        let answers = answer || commands.iter().any(|Command(_, replies)| replies.contains(name));
        messages.insert((*name).to_owned(), message(name, summary, fields, answers));
        if !answer {
            operations.insert(
                format!("send_{name}"),
                json!({
                    "action": "send", "channel": channel(), "summary": first_sentence(summary), "description": summary,
                    "messages": [in_channel(name)],
                }),
            );
        }
    }
    let in_channel: Map<_, _> =
        messages.keys().map(|id| (id.clone(), json!({"$ref": format!("#/components/messages/{id}")}))).collect();
    let schemas = lent(&json!(messages), openapi).into();
    for (id, message) in &mut messages {
        exemplify(&Samples { shapes: &schemas }, id.starts_with(CLIENT), message);
    }
    json!({
        "asyncapi": "3.0.0",
        "info": {
            "title": about.name,
            "version": about.version,
            "description": format!("{}\n\n{}", about.description, self::about()),
            "license": {"name": "MIT"},
            "contact": {"name": CONTACT},
            "tags": [{"name": "chat", "description": "Commands and events of chats"}],
        },
        "defaultContentType": "application/json",
        "servers": {"gateway": {
            "host": "{host}", "protocol": "ws", "description": "Any gateway; use `wss` behind TLS",
            "variables": {"host": {"default": "localhost:8000"}},
            "security": [{"$ref": "#/components/securitySchemes/bearer"}],
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
        "components": {"messages": messages, "schemas": schemas, "securitySchemes": {"bearer": {
            "type": "http", "scheme": "bearer", "bearerFormat": "JWT", "description": TOKEN,
        }}},
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

/// A sentence that says what a frame is for.
fn first_sentence(summary: &str) -> &str {
    summary.split_once(". ").map_or(summary, |(first, _)| first).trim_end_matches('.')
}

/// A frame as it stands on the wire. A client's has the fields that it must send and a
/// `request_id`.
fn exemplify(samples: &Samples<'_>, of_client: bool, message: &mut Value) {
    let payload = &message["payload"];
    let name = message["name"].as_str().unwrap_or_default();
    let mut frame = if of_client { samples.least(payload) } else { samples.whole(payload) };
    if let Some(fields) = frame.as_object_mut() {
        let more: &[_] = match name {
            "subscribe_chat" => &[("after_seq", json!(1)), ("epoch", json!("9f86d081884c7d65"))],
            _ if of_client && name != "typing" => &[("request_id", json!("a"))],
            _ => &[],
        };
        fields.extend(more.iter().map(|(name, value)| ((*name).to_owned(), value.clone())));
        // Fields that only some of these frames bear, and others' views of a chat.
        let without: &[_] = match name {
            "error" => &["errors", "retry_after_ms"],
            "subscribed" => &["resync"],
            _ => &[],
        };
        fields.retain(|field, _| !without.contains(&field.as_str()));
        if let Some(chat) = fields.get_mut("chat").filter(|_| name != "chat_added") {
            for own in ["role", "last_message", "unread_count", "mention_count", "settings"] {
                chat[own] = Value::Null;
            }
        }
    }
    message["examples"] = json!([{"name": name, "payload": frame}]);
}

/// The schemas that `document` refers to, and those that they refer to.
fn lent(document: &Value, openapi: &Value) -> Map<String, Value> {
    let mut schemas = Map::new();
    let mut wanted = references(document);
    while let Some(name) = wanted.pop() {
        if schemas.contains_key(&name) {
            continue;
        }
        // No REST call answers a status.
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
