//! The pages and documents that the program serves itself.

use messenger_common::event::EventKind;
use messenger_common::label::Label;
use messenger_common::wire::CommandType;
use reqwest::Method;

use crate::support::{Answer, Deployment, Value};

both_forms!(
    the_root_follows_the_accept_header,
    the_openapi_document_names_every_call,
    the_asyncapi_document_names_every_frame,
    no_page_loads_anything_from_elsewhere,
);

async fn accepting(d: &Deployment, path: &str, accept: &str) -> Answer {
    Answer::of(d.rest().request(Method::GET, path).header("accept", accept)).await
}

fn media_type(answer: &Answer) -> String {
    let kind = answer.header("content-type").unwrap_or_default();
    kind.split(';').next().unwrap().trim().to_owned()
}

async fn the_root_follows_the_accept_header(d: &Deployment) {
    let answer = accepting(d, "/", "application/json").await;
    assert_eq!(media_type(&answer), "application/json");
    let about = answer.ok(200);
    assert_eq!(
        (about["name"].as_str(), about["description"].as_str()),
        (Some("MessengerAPI"), Some("API for a messenger"))
    );
    assert!(about["version"].as_str().is_some_and(|version| !version.is_empty()), "{about}");
    assert_eq!(about.as_object().unwrap().len(), 3, "{about}");

    let browser = "text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8";
    let answer = accepting(d, "/", browser).await;
    assert_eq!((answer.status, media_type(&answer).as_str()), (200, "text/html"));
    assert!(answer.body.to_lowercase().starts_with("<!doctype html>"), "{}", answer.body);
    let lines = d.rest().request(Method::GET, "/").header("accept", "image/png").header("accept", "text/html");
    assert_eq!(media_type(&Answer::of(lines).await), "text/html", "two lines are one list");
}

/// Every call of the contract's section 2 that answers JSON.
const CALLS: &[(&str, &[&str])] = &[
    ("/auth/register", &["post"]),
    ("/auth/login", &["post"]),
    ("/auth/refresh", &["post"]),
    ("/auth/logout", &["post"]),
    ("/auth/sessions", &["get", "delete"]),
    ("/auth/sessions/{session_id}", &["delete"]),
    ("/auth/me", &["get", "patch", "delete"]),
    ("/users", &["get"]),
    ("/users/{user_id}", &["get"]),
    ("/chats/create", &["post"]),
    ("/chats", &["get"]),
    ("/chats/{chat_id}", &["get", "patch", "delete"]),
    ("/chats/{chat_id}/join", &["post"]),
    ("/chats/{chat_id}/leave", &["delete"]),
    ("/chats/{chat_id}/members", &["get", "post"]),
    ("/chats/{chat_id}/members/{user_id}", &["patch", "delete"]),
    ("/chats/{chat_id}/read", &["post"]),
    ("/messages/send", &["post"]),
    ("/messages/chat/{chat_id}", &["get"]),
    ("/messages/edit/{message_id}", &["put"]),
    ("/messages/delete/{message_id}", &["delete"]),
    ("/ws/online-users", &["get"]),
    ("/ws/chat/{chat_id}/online-users", &["get"]),
    ("/", &["get"]),
];

async fn the_openapi_document_names_every_call(d: &Deployment) {
    let document = d.rest().get("/openapi.json").await.ok(200);
    assert!(document["openapi"].as_str().unwrap().starts_with("3.1"), "{}", document["openapi"]);
    assert_eq!(document["info"]["title"], "MessengerAPI");
    let about = document["info"]["description"].as_str().unwrap();
    assert!(about.starts_with("API for a messenger\n") && about.contains("](asyncapi)"), "{about}");
    let paths = document["paths"].as_object().unwrap();
    let find = |wanted: &str| {
        let bare = |path: &str| path.trim_end_matches('/').to_owned();
        paths.iter().find(|(path, _)| bare(path) == bare(wanted)).map(|(_, item)| item)
    };
    for (path, methods) in CALLS {
        let item = find(path).unwrap_or_else(|| panic!("{path} is not in the document"));
        for method in *methods {
            let operation = &item[method];
            assert!(operation["responses"].is_object(), "{method} {path}: {operation}");
            assert!(operation["operationId"].is_string(), "{method} {path}: {operation}");
        }
    }
    let schemas = document["components"]["schemas"].as_object().unwrap();
    for model in ["User", "Chat", "Message", "Member"] {
        assert!(schemas.contains_key(model), "{model} is not among {:?}", schemas.keys());
    }
    assert!(document["components"]["securitySchemes"].is_object());
    assert_references_resolve(&document, &document);
}

/// Every `$ref` of `part` points at something in `document`.
fn assert_references_resolve(document: &Value, part: &Value) {
    match part {
        Value::Object(fields) => {
            if let Some(Value::String(reference)) = fields.get("$ref") {
                let pointer = reference.strip_prefix('#').expect("nothing from elsewhere");
                let target = document.pointer(pointer);
                assert!(target.is_some(), "{reference} points at nothing");
            }
            for value in fields.values() {
                assert_references_resolve(document, value);
            }
        }
        Value::Array(items) => {
            for value in items {
                assert_references_resolve(document, value);
            }
        }
        _ => {}
    }
}

async fn the_asyncapi_document_names_every_frame(d: &Deployment) {
    let document = d.rest().get("/asyncapi.json").await.ok(200);
    assert!(document["asyncapi"].as_str().unwrap().starts_with("3."), "{}", document["asyncapi"]);
    assert!(document["channels"].is_object() && document["operations"].is_object());
    let commands = CommandType::ALL.iter().filter(|kind| **kind != CommandType::Unknown).map(|kind| kind.value());
    let events = EventKind::ALL.iter().map(|kind| kind.name());
    let others = ["welcome", "subscribed", "unsubscribed", "message_sent", "authenticated", "pong", "error", "resync"];
    let text = document.to_string();
    for frame in commands.chain(events).chain(others) {
        assert!(text.contains(&format!("\"{frame}\"")), "{frame} is not in the document");
    }
    assert_references_resolve(&document, &document);
}

/// The targets of the attributes `src` and `href` of a page that make a browser load something.
fn loads(page: &str) -> Vec<String> {
    let mut found = Vec::new();
    for tag in page.split('<').skip(1).map(|part| part.split('>').next().unwrap()) {
        let name = tag.split_whitespace().next().unwrap_or_default().to_lowercase();
        if !["script", "link", "img", "iframe", "source", "audio", "video"].contains(&name.as_str()) {
            continue;
        }
        for attribute in ["src=", "href="] {
            if let Some((_, value)) = tag.split_once(attribute) {
                let quote = value.chars().next().filter(|c| ['"', '\''].contains(c));
                let target = match quote {
                    Some(quote) => value[1..].split(quote).next(),
                    None => value.split_whitespace().next(),
                };
                found.push(target.unwrap().to_owned());
            }
        }
    }
    found
}

async fn no_page_loads_anything_from_elsewhere(d: &Deployment) {
    // with a slash behind, what a page loads would not be beside it
    for path in ["/docs", "/redoc", "/asyncapi", "/websocket_test.html", "/websocket_test_new.html"] {
        let answer = d.rest().get(&format!("{path}/")).await;
        assert_eq!((answer.status, answer.header("location")), (308, Some(&*format!("..{path}"))), "{path}/");
    }
    for path in ["/", "/docs", "/redoc", "/asyncapi", "/websocket_test.html", "/websocket_test_new.html"] {
        let (mut at, mut answer) = (path.to_owned(), accepting(d, path, "text/html").await);
        // a page may lie a step aside
        if (300..400).contains(&answer.status) {
            at = answer.header("location").unwrap().to_owned();
            answer = accepting(d, &at, "text/html").await;
        }
        assert_eq!((answer.status, media_type(&answer).as_str()), (200, "text/html"), "{path}");
        for target in loads(&answer.body) {
            if target.starts_with("data:") {
                continue;
            }
            assert!(!target.contains("//"), "{path} loads {target}");
            let base = url::Url::parse("http://here").unwrap().join(&at).unwrap();
            let joined = base.join(&target).unwrap();
            let loaded = d.rest().get(joined.path()).await;
            assert_eq!(loaded.status, 200, "{path} loads {target}");
            assert_ne!(media_type(&loaded), "text/html", "{path} loads {target}");
            for word in ["@import url(http", "url(http", "url(//", "importScripts(\"http"] {
                assert!(!loaded.body.contains(word), "{target} of {path} has {word}");
            }
        }
        for word in ["@import url(http", "url(http", "url(//", "from \"http", "import(\"http"] {
            assert!(!answer.body.contains(word), "{path} has {word}");
        }
    }
}
