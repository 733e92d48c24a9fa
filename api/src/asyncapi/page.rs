//! The WebSocket for people: `/asyncapi`, a page of text made from the same frames as the document
//! for programs. It runs nothing and loads nothing from elsewhere.

use super::frames::{self, Command, Field, Frame};
use super::{CLIENT, about};
use messenger_common::config::Limits;
use messenger_common::event::EventKind;
use messenger_common::label::Label;
use messenger_common::wire::CloseCode;
use serde_json::{Map, Value};

/// The reason of a 1012, as the gateway writes it.
const DRAIN_REASON: &str = r#"{"reconnect_after_ms": 1200}"#;

const HEAD: &str = r#"<!doctype html>
<html lang="en">
<head>
  <meta charset="utf-8">
  <meta name="viewport" content="width=device-width, initial-scale=1">
  <title>Messenger API: the WebSocket</title>
  <link rel="icon" href="docs/favicon-32x32.png" type="image/png">
  <link rel="stylesheet" href="docs/documents.css">
</head>
<body class="text">
  <nav class="documents" aria-label="Documents"><a href="docs">Try the calls</a> <a href="redoc">Reference of the calls</a> <a href="asyncapi" aria-current="page">WebSocket</a></nav>
  <main>
"#;

const BEGIN: &str = r#"<h2 id="begin">Begin</h2>
<p>Log in over REST (<a href="docs">Try the calls</a>), and connect with the access token <code>T</code>:</p>
<pre tabindex="0"><code>npx wscat -c "ws://127.0.0.1:8000/ws/chat/$T"</code></pre>
<p>A browser sends the token as a subprotocol, so that it stands in no address:</p>
<pre tabindex="0"><code>const socket = new WebSocket('ws://127.0.0.1:8000/ws/chat', ['bearer', token]);
socket.onmessage = ({ data }) =&gt; console.log(JSON.parse(data));
socket.onopen = () =&gt; socket.send(JSON.stringify({ type: 'subscribe_chat', chat_id: 1, after_seq: 0 }));</code></pre>
<p>Nothing is subscribed at first, and your own messages come back to you too. Remember the <code>seq</code> of the last
<em>event</em> that you finished with, not the one in <code>subscribed</code>, and the <code>epoch</code>. After a reconnect send them
as <code>after_seq</code> and <code>epoch</code>: you receive what you missed, in order, each event once.</p>
<p>An access token expires. Before that, get a new one with <code>POST /auth/refresh</code> and send it as
<code>authenticate</code>: the connection goes on.</p>
"#;

/// The page; `document` has the examples and the shapes.
pub(crate) fn html(document: &Value, limits: &Limits) -> String {
    let (commands, answers, events) = (frames::commands(limits), frames::answers(), frames::events());
    let page = Page { document };
    let mut out = String::from(HEAD);
    out.push_str("<h1>The WebSocket</h1>\n");
    // Close codes have a table below.
    for paragraph in
        about().split("\n\n").filter(|paragraph| !paragraph.starts_with("Close codes:") && !paragraph.starts_with("- "))
    {
        push(&mut out, format_args!("<p>{}</p>\n", prose(paragraph)));
    }
    out.push_str("<p>Programs read the same from <a href=\"asyncapi.json\">asyncapi.json</a>.</p>\n");
    out.push_str(BEGIN);
    let lists = [
        ("commands", "Commands", "You send these.", commands.iter().map(|Command(frame, _)| frame).collect::<Vec<_>>()),
        (
            "answers",
            "Answers",
            "The server answers a command with one of these, with its <code>request_id</code>.",
            answers.iter().collect(),
        ),
        ("events", "Events", "The server sends these by itself.", events.iter().collect()),
    ];
    for (_, title, _, list) in &lists {
        push(&mut out, format_args!("<p><strong>{title}</strong></p>\n<ul class=\"index\">\n"));
        for Frame(name, ..) in list {
            push(&mut out, format_args!("<li><a href=\"#{}\">{name}</a></li>\n", anchor(title, name)));
        }
        out.push_str("</ul>\n");
    }
    out.push_str("<p>Also: <a href=\"#close-codes\">close codes</a>, <a href=\"#shapes\">shapes</a>.</p>\n");
    for (id, title, about, list) in &lists {
        push(&mut out, format_args!("<h2 id=\"{id}\">{title}</h2>\n<p>{about}</p>\n"));
        for frame in list {
            let answered = commands.iter().find(|Command(command, _)| command.0 == frame.0 && *id == "commands");
            page.frame(&mut out, title, frame, answered.map(|Command(_, answers)| *answers));
        }
    }
    close_codes(&mut out);
    page.shapes(&mut out);
    out.push_str("  </main>\n</body>\n</html>\n");
    out
}

struct Page<'a> {
    document: &'a Value,
}

impl Page<'_> {
    fn frame(&self, out: &mut String, list: &str, Frame(name, summary, fields): &Frame, answers: Option<&[&str]>) {
        let id = anchor(list, name);
        push(out, format_args!("<h3 id=\"{id}\"><a href=\"#{id}\">{name}</a></h3>\n<p>{}</p>\n", prose(summary)));
        if EventKind::ALL.iter().any(|kind| kind.name() == *name && kind.is_sequenced()) {
            out.push_str("<p class=\"note\">Sequenced: it has a number of its chat.</p>\n");
        }
        if !fields.is_empty() {
            out.push_str("<table><tr><th>Field</th><th>Type</th><th>Sent</th></tr>\n");
            for Field(name, schema, always) in fields {
                let always = if *always { "always" } else { "not always" };
                push(
                    out,
                    format_args!("<tr><td><code>{name}</code></td><td>{}</td><td>{always}</td></tr>\n", kind(schema)),
                );
            }
            out.push_str("</table>\n");
        }
        let arrow = if answers.is_some() { "→" } else { "←" };
        let key = if answers.is_some() { format!("{CLIENT}{name}") } else { (*name).to_owned() };
        let mut lines = format!("{arrow} {}", self.example(&key));
        for answer in answers.into_iter().flatten() {
            push(&mut lines, format_args!("\n← {}", self.example(answer)));
        }
        push(out, format_args!("<pre tabindex=\"0\"><code>{}</code></pre>\n", escaped(&lines)));
    }

    /// The example of a frame as it stands on the wire: `type` first, then in the declared order.
    fn example(&self, key: &str) -> String {
        let message = &self.document["components"]["messages"][key];
        self.written(&message["examples"][0]["payload"], &message["payload"])
    }

    fn written(&self, value: &Value, schema: &Value) -> String {
        let schema = match schema["$ref"].as_str() {
            Some(to) => self.document.pointer(to.trim_start_matches('#')).unwrap_or(schema),
            None => schema,
        };
        match value {
            Value::Object(fields) => {
                let parts = in_order(fields, schema)
                    .map(|(name, field)| format!("\"{name}\":{}", self.written(field, &schema["properties"][name])));
                format!("{{{}}}", parts.collect::<Vec<_>>().join(","))
            }
            Value::Array(items) => {
                let parts = items.iter().map(|item| self.written(item, &schema["items"]));
                format!("[{}]", parts.collect::<Vec<_>>().join(","))
            }
            plain => plain.to_string(),
        }
    }

    fn shapes(&self, out: &mut String) {
        out.push_str(
            "<h2 id=\"shapes\">Shapes</h2>\n<p>They are those of the calls. A field without a value is null.</p>\n",
        );
        for (name, shape) in self.document["components"]["schemas"].as_object().into_iter().flatten() {
            let about = shape["description"].as_str().unwrap_or_default();
            push(
                out,
                format_args!(
                    "<h3 id=\"shape-{name}\"><a href=\"#shape-{name}\">{name}</a></h3>\n<p>{}</p>\n",
                    prose(about)
                ),
            );
            let Some(fields) = shape["properties"].as_object() else {
                push(out, format_args!("<p class=\"note\">{}</p>\n", kind(shape)));
                continue;
            };
            out.push_str("<table><tr><th>Field</th><th>Type</th><th>Meaning</th></tr>\n");
            for (name, field) in in_order(fields, shape) {
                let about = prose(field["description"].as_str().unwrap_or_default());
                push(
                    out,
                    format_args!("<tr><td><code>{name}</code></td><td>{}</td><td>{about}</td></tr>\n", kind(field)),
                );
            }
            out.push_str("</table>\n");
        }
    }
}

fn close_codes(out: &mut String) {
    out.push_str(
        "<h2 id=\"close-codes\">Close codes</h2>\n<p>The range of a code says what to do. From 4000 to 4499: reconnect after a random \
         wait. From 4500 to 4999: do not reconnect. Wait longer after each try that fails.</p>\n\
         <table><tr><th>Code</th><th>Meaning</th><th>What to do</th><th>Reason in the frame</th></tr>\n",
    );
    for code in CloseCode::ALL {
        let reason = if *code == CloseCode::Draining { DRAIN_REASON } else { code.reason() };
        let reason = if reason.is_empty() { String::new() } else { format!("<code>{}</code>", escaped(reason)) };
        let (number, about, advice) = (code.digits(), prose(code.about().trim()), code.advice().words());
        push(
            out,
            format_args!(
                "<tr id=\"close-{number}\"><td><code>{number}</code></td><td>{about}</td><td>{advice}</td><td>{reason}</td></tr>\n"
            ),
        );
    }
    out.push_str("</table>\n");
}

/// `type` first, then the fields that are always there in their declared order, then the others.
fn in_order<'a>(fields: &'a Map<String, Value>, schema: &Value) -> impl Iterator<Item = (&'a String, &'a Value)> {
    let required: Vec<&str> = schema["required"].as_array().into_iter().flatten().filter_map(Value::as_str).collect();
    let mut ordered: Vec<_> = fields.iter().collect();
    ordered.sort_by_key(|(name, _)| required.iter().position(|one| one == name).unwrap_or(usize::MAX));
    ordered.into_iter()
}

/// The type of a field in words; a shape of its own is a link.
fn kind(schema: &Value) -> String {
    if let Some(name) = schema["$ref"].as_str().and_then(|to| to.rsplit('/').next()) {
        return format!("<a href=\"#shape-{name}\">{name}</a>");
    }
    if let Some(choices) = schema["oneOf"].as_array() {
        return choices.iter().map(kind).collect::<Vec<_>>().join(" or ");
    }
    if let Some(words) = schema["enum"].as_array() {
        let shown =
            words.iter().take(4).filter_map(Value::as_str).map(|word| format!("<code>{}</code>", escaped(word)));
        let more = if words.len() > 4 { ", …" } else { "" };
        return format!("{}{more}", shown.collect::<Vec<_>>().join(", "));
    }
    let types: Vec<&str> = match &schema["type"] {
        Value::Array(all) => all.iter().filter_map(Value::as_str).collect(),
        one => one.as_str().into_iter().collect(),
    };
    let named = types.iter().map(|&one| match one {
        "array" => format!("list of {}", kind(&schema["items"])),
        "string" if schema["format"] == "date-time" => "time".to_owned(),
        "object" if schema["properties"].is_object() => {
            let fields = schema["properties"].as_object().into_iter().flatten();
            let fields: Vec<_> = fields.map(|(name, field)| format!("<code>{name}</code> ({})", kind(field))).collect();
            format!("objects with {}", fields.join(", "))
        }
        other => other.to_owned(),
    });
    named.collect::<Vec<_>>().join(" or ")
}

/// An id of its own for each frame: `message_read` is an event and an answer.
fn anchor(list: &str, name: &str) -> String {
    format!("{}-{name}", list.to_lowercase().trim_end_matches('s'))
}

/// Text with `code` in it.
fn prose(text: &str) -> String {
    let parts = text.split('`').enumerate();
    parts
        .map(|(at, part)| if at % 2 == 1 { format!("<code>{}</code>", escaped(part)) } else { escaped(part) })
        .collect()
}

fn escaped(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;")
}

fn push(out: &mut String, what: std::fmt::Arguments<'_>) {
    out.push_str(&what.to_string());
}
