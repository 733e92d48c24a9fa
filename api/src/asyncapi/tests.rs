use super::*;
use crate::{openapi, samples};
use messenger_common::wire::{Advice, CommandType};

fn made() -> Value {
    let about = About { name: "M".into(), description: "d".into(), version: "1.2.3".into() };
    document(&about, &Limits::default(), &openapi::tests::made())
}

/// Contract section 3: the frames that are no events of [`EventKind`].
const OTHERS: [&str; 8] =
    ["welcome", "subscribed", "unsubscribed", "message_sent", "authenticated", "pong", "error", "resync"];

#[test]
fn every_command_and_event_of_the_contract_is_in_it() {
    let document = made();
    assert_eq!(document["asyncapi"], "3.0.0");
    let commands: Vec<_> = CommandType::ALL.iter().filter(|kind| **kind != CommandType::Unknown).collect();
    for command in &commands {
        let command = command.value();
        assert_eq!(document["operations"][command]["action"], "receive", "{command}");
        let message = &document["components"]["messages"][format!("client_{command}")];
        assert_eq!(message["payload"]["properties"]["type"]["const"], command);
        assert!(message["payload"]["properties"]["request_id"].is_object());
    }
    let events: Vec<_> = EventKind::ALL.iter().map(|kind| kind.name()).chain(OTHERS).collect();
    for &event in &events {
        assert_eq!(document["components"]["messages"][event]["payload"]["properties"]["type"]["const"], event);
    }
    let messages = document["components"]["messages"].as_object().unwrap();
    assert_eq!(messages.len(), commands.len() + events.len());
}

#[test]
fn every_close_code_says_what_to_do() {
    let document = made();
    let about = document["info"]["description"].as_str().unwrap();
    for line in [
        "- 4401: The access token has expired. Refresh the token, then reconnect.",
        "- 4409: The client read nothing for too long. Reconnect after a random wait.",
        "- 4503: The account is disabled. Do not reconnect.",
    ] {
        assert!(about.contains(line), "{line}\n{about}");
    }
    assert_eq!(about.matches("\n- ").count(), CloseCode::ALL.len());
}

/// The words between two marks of the page's client.
fn words<'a>(script: &'a str, from: &str, to: &str) -> Vec<&'a str> {
    let list = script.split(from).nth(1).and_then(|rest| rest.split(to).next()).unwrap();
    list.split([',', '\n']).map(|word| word.trim().trim_matches('\'')).filter(|word| !word.is_empty()).collect()
}

/// The page is served as it stands, so it has lists of its own: they are those of the tables.
#[test]
fn the_pages_client_has_the_same_events_and_close_codes() {
    let script = include_str!("../../../clients/js/src/subscriptions.js");
    let sequenced: Vec<_> = EventKind::ALL.iter().filter(|kind| kind.is_sequenced()).map(|kind| kind.name()).collect();
    assert_eq!(words(script, "SEQUENCED = new Set([", "])"), sequenced);
    let closing = include_str!("../../../clients/js/src/close.js");
    let rows = closing.split("CLOSE_CODES = Object.freeze({").nth(1).and_then(|rest| rest.split("});").next()).unwrap();
    let listed: Vec<_> = rows.lines().filter_map(|row| row.split_once(':')).map(|(code, _)| code.trim()).collect();
    assert_eq!(listed, CloseCode::ALL.iter().map(|code| code.digits()).collect::<Vec<_>>());
    let stops = words(closing, "const final = [", "]");
    for code in CloseCode::ALL {
        let stop = code.number() >= 4500 || stops.contains(&code.digits());
        assert_eq!(stop, code.advice() == Advice::Stop, "{code:?}");
    }
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

#[test]
fn every_frame_has_an_example_that_fits() {
    let document = made();
    let messages = document["components"]["messages"].as_object().unwrap();
    for (id, message) in messages {
        let example = &message["examples"][0]["payload"];
        assert_eq!(example["type"], message["name"], "{id}");
        let shapes = &document["components"]["schemas"];
        let faults = samples::tests::faults(shapes, &message["payload"], example);
        assert!(faults.is_empty(), "{id}: {example}: {faults:?}");
    }
}

#[test]
fn the_page_for_people_has_every_frame_and_every_close_code() {
    let document = made();
    let page = page::html(&document, &Limits::default());
    for message in document["components"]["messages"].as_object().unwrap().values() {
        let name = message["name"].as_str().unwrap();
        assert!(page.contains(&format!("-{name}\">")), "{name}");
        assert!(page.contains(&format!("{{&quot;type&quot;:&quot;{name}&quot;")), "an example of {name}");
    }
    for code in CloseCode::ALL {
        let row = page.split_once(&format!("id=\"close-{}\"", code.digits())).unwrap().1.split_once("</tr>").unwrap().0;
        assert!(row.contains(code.advice().words()), "{row}");
    }
    for link in page.split("href=\"").skip(1).map(|rest| rest.split('"').next().unwrap()) {
        let within = link.strip_prefix('#').is_some_and(|id| page.contains(&format!("id=\"{id}\"")));
        let beside = ["docs", "redoc", "asyncapi", "asyncapi.json", "docs/documents.css", "docs/favicon-32x32.png"];
        assert!(within || beside.contains(&link), "{link} leads nowhere");
    }
    assert!(!page.contains("<script") && !page.contains("style=") && !page.contains("://cdn"));
}
