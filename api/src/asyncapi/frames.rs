//! The frames of the WebSocket, described for those who write clients: one description for each
//! row of the tables in `messenger_common`. A word without a description does not compile.

use crate::openapi::{TIME, every_code};
use messenger_common::config::Limits;
use messenger_common::event::EventKind;
use messenger_common::label::Label;
use messenger_common::wire::CommandType;
use serde_json::{Value, json};

/// A field of a frame: its name, its schema, whether it is always there.
pub(super) struct Field(pub(super) &'static str, pub(super) Value, pub(super) bool);

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
    json!({"type": "string", "format": "date-time", "pattern": TIME})
}

fn or_null(mut schema: Value) -> Value {
    schema["type"] = json!([schema["type"], "null"]);
    schema
}

fn chat_id() -> Field {
    always("chat_id", shape("ChatId"))
}

fn seq() -> Field {
    always("seq", shape("Seq"))
}

/// A frame that the server sends: its type, a summary, its fields.
pub(super) struct Frame(pub(super) &'static str, pub(super) &'static str, pub(super) Vec<Field>);

/// A command, and the types of the frames that answer it.
pub(super) struct Command(pub(super) Frame, pub(super) &'static [&'static str]);

pub(super) fn commands(limits: &Limits) -> Vec<Command> {
    CommandType::ALL.iter().filter_map(|&kind| command(kind, limits)).collect()
}

/// None for what is no command.
fn command(kind: CommandType, limits: &Limits) -> Option<Command> {
    let text = || always("text", json!({"type": "string", "minLength": 1, "maxLength": limits.max_message_chars}));
    let key = || maybe("client_message_id", json!({"type": "string", "minLength": 1, "maxLength": 64}));
    let (summary, fields, answers): (_, _, &[_]) = match kind {
        CommandType::SubscribeChat => (
            "Subscribe to a chat's events. With `after_seq` you first get what you missed after it, in order. Subscribing twice \
             is not an error, and replays nothing.",
            vec![chat_id(), maybe("after_seq", shape("Seq")), maybe("epoch", json!({"type": "string"}))],
            &["subscribed"],
        ),
        CommandType::SubscribeChats => (
            "Subscribe to up to 100 chats at once, as after a reconnect. Each is answered in this order, as if you had asked for it \
             alone: by `subscribed` and what you missed, or by an `error` with its `chat_id`. It counts as one command \
             for each twenty chats.",
            vec![always(
                "chats",
                json!({
                    "type": "array", "minItems": 1, "maxItems": 100,
                    "items": {
                        "type": "object", "required": ["chat_id"],
                        "properties": {
                            "chat_id": shape("ChatId"), "after_seq": shape("Seq"), "epoch": {"type": "string"}
                        }
                    }
                }),
            )],
            &["subscribed"],
        ),
        CommandType::UnsubscribeChat => ("Unsubscribe from a chat's events.", vec![chat_id()], &["unsubscribed"]),
        CommandType::PrivateMessage => (
            "Send a message to a user. The private chat is created if you have none.",
            vec![always("recipient_id", shape("UserId")), text(), key()],
            &["message_sent"],
        ),
        CommandType::SendMessage => (
            "Send a message to a chat, under the rules of `POST /messages/send`.",
            vec![chat_id(), text(), key(), maybe("reply_to_id", shape("MessageId"))],
            &["message_sent"],
        ),
        CommandType::Typing => (
            "Tell the chat's other subscribers that you are typing. Send it at most every two seconds; more are dropped. It \
             has no answer, unless it is refused.",
            vec![chat_id(), maybe("is_typing", json!({"type": "boolean", "default": true}))],
            &[],
        ),
        CommandType::Read => (
            "Mark as read, under the rules of `POST /chats/{chat_id}/read`.",
            vec![chat_id(), seq()],
            &["message_read"],
        ),
        CommandType::Authenticate => (
            "Continue under a new token of the same user. If the token is bad, nothing changes.",
            vec![always("token", string())],
            &["authenticated"],
        ),
        CommandType::Ping => ("Ask whether the connection is alive.", vec![], &["pong"]),
        CommandType::Unknown => return None,
    };
    Some(Command(Frame(kind.value(), summary, fields), answers))
}

/// The frames that answer a command.
pub(super) fn answers() -> Vec<Frame> {
    vec![
        Frame(
            "subscribed",
            "You are subscribed, and the chat is at `seq`. `recovered` missed events follow. With `resync` they are no longer \
             kept: fetch them over REST.",
            vec![
                chat_id(),
                seq(),
                always("epoch", json!({"type": "string"})),
                always("recovered", json!({"type": "integer", "minimum": 0})),
                always("online_user_ids", json!({"type": ["array", "null"], "items": shape("UserId")})),
                maybe("resync", json!({"type": "boolean"})),
            ],
        ),
        Frame("unsubscribed", "No more events of the chat follow; a private chat's notices do.", vec![chat_id()]),
        Frame("message_sent", "The message is committed.", vec![always("message", shape("Message"))]),
        Frame("authenticated", "The connection may continue until then.", vec![always("expires_at", time())]),
        Frame("pong", "The connection is alive.", vec![]),
        Frame(
            "error",
            "The command failed; the connection stays open. The codes are those of REST, and `unknown_type`, `not_subscribed`, \
             `too_many_subscriptions`. With `rate_limited`, wait for `retry_after_ms`.",
            vec![
                maybe("chat_id", shape("ChatId")),
                always("code", json!({"type": "string", "enum": every_code()})),
                always("detail", string()),
                maybe("errors", json!({"type": "array", "items": shape("FieldError")})),
                maybe("retry_after_ms", json!({"type": "integer", "minimum": 0})),
            ],
        ),
    ]
}

/// The frames that no command asks for.
pub(super) fn events() -> Vec<Frame> {
    let welcome = Frame(
        "welcome",
        "The first frame of every connection.",
        vec![
            always("user_id", shape("UserId")),
            always("connection_id", string()),
            always("expires_at", time()),
            always("heartbeat_seconds", json!({"type": "number"})),
        ],
    );
    let resync = Frame(
        "resync",
        "Events of the chat up to `seq` are lost to this connection: fetch them over REST.",
        vec![chat_id(), seq()],
    );
    let events = EventKind::ALL.iter().map(|&kind| event(kind));
    std::iter::once(welcome).chain(events).chain([resync]).collect()
}

fn event(kind: EventKind) -> Frame {
    let member =
        || vec![always("user_id", shape("UserId")), always("username", string()), always("role", shape("Role"))];
    let message = || vec![always("message", shape("Message"))];
    let chat = || vec![always("chat", shape("Chat"))];
    let pin = || vec![always("message_id", shape("MessageId")), always("user_id", shape("UserId"))];
    let reaction = || {
        let mut fields = pin();
        fields.push(always("emoji", string()));
        fields.push(always("count", json!({"type": "integer", "minimum": 0})));
        fields
    };
    let (summary, mut fields) = match kind {
        EventKind::NewMessage => ("A message was sent.", message()),
        EventKind::MessageEdited => ("A message was edited.", message()),
        EventKind::MessageDeleted => ("A message was deleted.", vec![always("message_id", shape("MessageId"))]),
        EventKind::MemberJoined => ("A user became a member.", member()),
        EventKind::MemberLeft => ("A member left or was removed.", member()),
        EventKind::MemberUpdated => ("A member's role changed.", member()),
        EventKind::ChatUpdated => ("The chat's name or description changed.", chat()),
        EventKind::ChatDeleted => ("The chat was deleted. This is its last event.", chat()),
        EventKind::ChatAdded => ("You became a member of a chat. All your connections get it.", chat()),
        EventKind::ChatRemoved => {
            ("You are no longer a member of a chat, or it was deleted. All your connections get it.", vec![chat_id()])
        }
        EventKind::UserStatus => (
            "A member of a chat that you are subscribed to came online or went offline.",
            vec![
                always("user_id", shape("UserId")),
                always("username", string()),
                always("status", shape("Status")),
                always("last_seen_at", or_null(time())),
            ],
        ),
        EventKind::Typing => (
            "A user is typing, or has stopped.",
            vec![
                chat_id(),
                always("user_id", shape("UserId")),
                always("username", string()),
                always("is_typing", json!({"type": "boolean"})),
            ],
        ),
        EventKind::MessageRead => {
            ("A user has read up to `seq`.", vec![chat_id(), always("user_id", shape("UserId")), seq()])
        }
        EventKind::ReactionAdded => ("A user chose an emoji for a message. `count` users have it now.", reaction()),
        EventKind::ReactionRemoved => ("A user took an emoji back. `count` users have it still.", reaction()),
        EventKind::MessagePinned => ("A message was pinned.", pin()),
        EventKind::MessageUnpinned => ("A message is no longer pinned.", pin()),
        EventKind::Mentioned => (
            "A message mentions you. All your connections get it, unless you muted the chat.",
            vec![chat_id(), seq(), always("message", shape("Message"))],
        ),
        EventKind::ChatSettings => (
            "You changed your own view of a chat. All your connections get it.",
            vec![chat_id(), always("settings", shape("ChatSettings"))],
        ),
        EventKind::Unknown(_) => (
            "An event of a newer release, in a replay. Skip it, as you skip every `type` that you do not know, and count its \
             `seq`.",
            vec![],
        ),
    };
    if kind.is_sequenced() {
        fields.splice(0..0, [chat_id(), seq()]);
    }
    Frame(kind.name(), summary, fields)
}
