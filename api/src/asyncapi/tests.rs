use super::*;
use crate::openapi;

fn made() -> Value {
    let about = About { name: "M".into(), description: "d".into(), version: "1.2.3".into() };
    document(&about, &Limits::default(), &openapi::tests::made())
}

/// Contract section 3.
const COMMANDS: [&str; 8] =
    ["subscribe_chat", "unsubscribe_chat", "private_message", "send_message", "typing", "read", "authenticate", "ping"];
const EVENTS: [&str; 21] = [
    "welcome",
    "subscribed",
    "unsubscribed",
    "message_sent",
    "authenticated",
    "pong",
    "error",
    "new_message",
    "message_edited",
    "message_deleted",
    "member_joined",
    "member_left",
    "member_updated",
    "chat_updated",
    "chat_deleted",
    "chat_added",
    "chat_removed",
    "user_status",
    "typing",
    "message_read",
    "resync",
];

#[test]
fn every_command_and_event_of_the_contract_is_in_it() {
    let document = made();
    assert_eq!(document["asyncapi"], "3.0.0");
    for command in COMMANDS {
        assert_eq!(document["operations"][command]["action"], "receive", "{command}");
        let message = &document["components"]["messages"][format!("client_{command}")];
        assert_eq!(message["payload"]["properties"]["type"]["const"], command);
        assert!(message["payload"]["properties"]["request_id"].is_object());
    }
    for event in EVENTS {
        assert_eq!(document["components"]["messages"][event]["payload"]["properties"]["type"]["const"], event);
    }
    let messages = document["components"]["messages"].as_object().unwrap();
    assert_eq!(messages.len(), COMMANDS.len() + EVENTS.len());
}

#[test]
fn references_lead_somewhere() {
    let document = made();
    let mut stack = vec![&document];
    let mut seen = 0;
    while let Some(value) = stack.pop() {
        match value {
            Value::Object(object) => {
                if let Some(to) = object.get("$ref").and_then(Value::as_str) {
                    assert!(document.pointer(to.trim_start_matches('#')).is_some_and(|at| !at.is_null()), "{to}");
                    seen += 1;
                }
                stack.extend(object.values());
            }
            Value::Array(array) => stack.extend(array),
            _ => {}
        }
    }
    assert!(seen > 100);
}

#[test]
fn a_sequenced_event_has_its_chat_and_number_first() {
    let document = made();
    let payload = &document["components"]["messages"]["new_message"]["payload"];
    assert_eq!(payload["required"], json!(["type", "chat_id", "seq", "message"]));
    assert_eq!(payload["properties"]["message"], json!({"$ref": "#/components/schemas/Message"}));
}
