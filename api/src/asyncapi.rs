//! The AsyncAPI 3.0 document of the WebSocket (contract, section 3): every command, its answer,
//! every event and every close code.
//!
//! The shapes of messages, chats and ids are those of the OpenAPI document, from the same types.

mod frames;

use self::frames::{Command, Field, Frame};
use crate::routes::pages::About;
use messenger_common::config::Limits;
use messenger_common::event::EventKind;
use messenger_common::label::Label;
use messenger_common::model::Status;
use messenger_common::wire::CloseCode;
use serde_json::{Map, Value, json};
use utoipa::PartialSchema;

const FRAMES: &str = "Send and read one JSON object in each text frame. You may put a `request_id` (a string of at most 64 \
characters) on any command; its answer carries it. Unknown fields are ignored.";

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
        let id = format!("client_{name}");
        messages.insert(id.clone(), message(name, summary, fields, true));
        let mut operation = json!({"action": "receive", "channel": channel(), "title": name, "summary": summary, "messages": [in_channel(&id)]});
        if !replies.is_empty() {
            let messages: Vec<_> = replies.iter().copied().chain(["error"]).map(in_channel).collect();
            operation["reply"] = json!({"channel": channel(), "messages": messages});
        }
        operations.insert((*name).to_owned(), operation);
    }
    for (sent, answer) in answers.iter().map(|frame| (frame, true)).chain(events.iter().map(|frame| (frame, false))) {
        let Frame(name, summary, fields) = sent;
        messages.insert((*name).to_owned(), message(name, summary, fields, answer));
        if !answer {
            operations.insert(
                format!("send_{name}"),
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
            "description": format!("{}\n\n{}", about.description, self::about()),
            "license": {"name": "MIT"},
        },
        "defaultContentType": "application/json",
        "servers": {"gateway": {
            "host": "{host}", "protocol": "ws", "description": "Any gateway; use `wss` behind TLS",
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
