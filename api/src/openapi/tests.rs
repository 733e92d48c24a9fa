use super::*;
use crate::routes::{api, pages};
use std::collections::BTreeSet;

/// Contract section 2: every call that answers JSON.
const CALLS: [&str; 47] = [
    "POST /auth/register",
    "POST /auth/login",
    "POST /auth/refresh",
    "POST /auth/logout",
    "GET /auth/sessions",
    "DELETE /auth/sessions",
    "DELETE /auth/sessions/{session_id}",
    "GET /auth/me",
    "PATCH /auth/me",
    "DELETE /auth/me",
    "GET /users",
    "GET /users/{user_id}",
    "POST /chats/create",
    "GET /chats",
    "GET /chats/{chat_id}",
    "PATCH /chats/{chat_id}",
    "DELETE /chats/{chat_id}",
    "POST /chats/{chat_id}/join",
    "DELETE /chats/{chat_id}/leave",
    "GET /chats/{chat_id}/members",
    "POST /chats/{chat_id}/members",
    "PATCH /chats/{chat_id}/members/{user_id}",
    "DELETE /chats/{chat_id}/members/{user_id}",
    "POST /chats/{chat_id}/read",
    "GET /chats/{chat_id}/invites",
    "POST /chats/{chat_id}/invites",
    "DELETE /chats/{chat_id}/invites/{code}",
    "GET /invites/{code}",
    "PATCH /chats/{chat_id}/settings",
    "GET /chats/{chat_id}/pins",
    "PUT /chats/{chat_id}/pins/{message_id}",
    "DELETE /chats/{chat_id}/pins/{message_id}",
    "PUT /messages/{message_id}/reactions/{emoji}",
    "DELETE /messages/{message_id}/reactions/{emoji}",
    "GET /users/blocked",
    "PUT /users/{user_id}/block",
    "DELETE /users/{user_id}/block",
    "POST /invites/{code}/accept",
    "POST /messages/send",
    "GET /messages/chat/{chat_id}",
    "GET /messages/search",
    "GET /messages/{message_id}",
    "PUT /messages/edit/{message_id}",
    "DELETE /messages/delete/{message_id}",
    "GET /ws/online-users",
    "GET /ws/chat/{chat_id}/online-users",
    "GET /",
];

pub(crate) fn made() -> Value {
    let about = About { name: "M".into(), description: "d".into(), version: "1.2.3".into() };
    let (_, handlers) = api().split_for_parts();
    let (_, page) = pages::home().split_for_parts();
    let limits = Limits { max_message_chars: 77, ..Limits::default() };
    document(&about, &limits, handlers.merge_from(page))
}

fn operations(document: &Value) -> impl Iterator<Item = (String, &Value)> {
    let paths = document["paths"].as_object().unwrap();
    paths.iter().flat_map(|(path, item)| {
        let methods = item.as_object().unwrap().iter();
        methods.map(move |(method, operation)| (format!("{} {path}", method.to_uppercase()), operation))
    })
}

#[test]
fn every_call_of_the_contract_is_in_it_and_no_other() {
    let document = made();
    assert_eq!(document["openapi"], "3.1.0");
    assert_eq!(document["info"]["version"], "1.2.3");
    let documented: BTreeSet<_> = operations(&document).map(|(call, _)| call).collect();
    let contract: BTreeSet<_> = CALLS.iter().map(|&call| call.to_owned()).collect();
    assert_eq!(documented, contract);
}

#[test]
fn ids_of_operations_are_unique_and_references_lead_somewhere() {
    let document = made();
    let ids: BTreeSet<_> =
        operations(&document).map(|(_, operation)| operation["operationId"].as_str().unwrap()).collect();
    assert_eq!(ids.len(), CALLS.len());
    let mut stack = vec![&document];
    while let Some(value) = stack.pop() {
        match value {
            Value::Object(object) => {
                if let Some(to) = object.get("$ref").and_then(Value::as_str) {
                    assert!(document.pointer(to.trim_start_matches('#')).is_some(), "{to}");
                }
                stack.extend(object.values());
            }
            Value::Array(array) => stack.extend(array),
            _ => {}
        }
    }
}

#[test]
fn every_code_that_a_handler_names_is_one() {
    let (_, handlers) = api().split_for_parts();
    let document = serde_json::to_value(handlers).unwrap();
    let known: BTreeSet<_> = Error::one_of_each().iter().map(Error::code).collect();
    let mut named = 0;
    for (call, operation) in operations(&document) {
        for code in operation["x-problems"].as_array().into_iter().flatten() {
            assert!(known.contains(code.as_str().unwrap()), "{call}: {code}");
            named += 1;
        }
    }
    assert!(named > 30);
}

#[test]
fn the_document_has_every_code_and_every_example_bears_one() {
    let document = made();
    let listed = &document["components"]["schemas"]["Problem"]["properties"]["code"]["enum"];
    let listed: BTreeSet<_> = listed.as_array().unwrap().iter().map(|code| code.as_str().unwrap()).collect();
    let errors = Error::one_of_each();
    let rules: BTreeSet<_> = errors.iter().map(Error::code).collect();
    assert_eq!(listed, rules);
    let mut examples = 0;
    for (call, operation) in operations(&document) {
        for (status, response) in operation["responses"].as_object().unwrap() {
            let problems = response["content"]["application/problem+json"]["examples"].as_object();
            for (code, example) in problems.into_iter().flatten() {
                let value = &example["value"];
                assert!(listed.contains(code.as_str()), "{call}: {code}");
                assert_eq!((&value["code"], &value["status"].to_string()), (&json!(code), status), "{call}");
                examples += 1;
            }
        }
    }
    assert!(examples > 100, "{examples}");
}

#[test]
fn the_limits_are_those_of_the_configuration() {
    let schemas = &made()["components"]["schemas"];
    assert_eq!(schemas["SendMessage"]["properties"]["text"]["maxLength"], 77);
    assert_eq!(schemas["EditMessage"]["properties"]["text"]["maxLength"], 77);
}

#[test]
fn problems_are_answers_with_an_example_each() {
    let document = made();
    let register = &document["paths"]["/auth/register"]["post"];
    assert!(register.get("x-problems").is_none());
    let conflict = &register["responses"]["409"]["content"]["application/problem+json"]["examples"];
    assert_eq!(conflict["username_taken"]["value"]["code"], "username_taken");
    assert_eq!(conflict["email_taken"]["value"]["status"], 409);
    assert_eq!(
        register["responses"]["422"]["content"]["application/problem+json"]["examples"]["invalid"]["value"]["errors"]
            [0]["field"],
        "field"
    );
    assert!(register["responses"]["429"]["headers"]["Retry-After"].is_object());
    assert!(register["responses"].get("401").is_none(), "registering is public");
    assert!(document["paths"]["/auth/me"]["get"]["responses"]["401"].is_object());
    assert_eq!(document["paths"]["/auth/me"]["get"]["security"], json!([{"bearer": []}, {"password": []}]));
    let internal = &register["responses"]["500"]["content"]["application/problem+json"]["examples"]["internal"];
    assert!(!internal.to_string().contains("logged, and shown"), "{internal}");
}

/// The examples of the bodies, and of the answers that are no problems, with their schemas.
fn examples(document: &Value) -> Vec<(String, &Value, &Value)> {
    let mut found = Vec::new();
    for (call, operation) in operations(document) {
        let bodies = operation["requestBody"]["content"].as_object().into_iter().flatten();
        let answers = operation["responses"].as_object().unwrap().values();
        let answers = answers.flat_map(|answer| answer["content"].as_object().into_iter().flatten());
        for (kind, content) in bodies.chain(answers) {
            if let Some(example) = content.get("example") {
                found.push((format!("{call} ({kind})"), example, &content["schema"]));
            }
        }
    }
    found
}

fn assert_fits(document: &Value, what: &str, value: &Value, schema: &Value) {
    let faults = crate::samples::tests::faults(&document["components"]["schemas"], schema, value);
    assert!(faults.is_empty(), "{what}: {value}: {faults:?}");
}

#[test]
fn every_body_has_an_example_that_fits() {
    let document = made();
    let all = examples(&document);
    assert!(all.len() > 40, "{}", all.len());
    for (what, example, schema) in all {
        assert_fits(&document, &what, example, schema);
    }
    for (call, operation) in operations(&document) {
        let contents = operation["requestBody"]["content"].as_object().into_iter().flatten();
        assert!(contents.into_iter().all(|(_, content)| content.get("example").is_some()), "{call}");
        for (status, answer) in operation["responses"].as_object().unwrap() {
            let json = &answer["content"]["application/json"];
            assert!(json.is_null() || json.get("example").is_some(), "{call} {status}");
        }
        for parameter in operation["parameters"].as_array().into_iter().flatten().filter(|one| one["in"] == "path") {
            assert!(parameter.get("example").is_some(), "{call}: {parameter}");
        }
    }
}

#[test]
fn what_has_a_default_need_not_be_sent_and_what_is_answered_is_always_there() {
    let schemas = &made()["components"]["schemas"];
    assert!(schemas["CreateChat"].get("required").is_none(), "{}", schemas["CreateChat"]);
    assert_eq!(schemas["SendMessage"]["required"], json!(["chat_id", "text"]));
    for (shape, but) in [
        ("Chat", ""),
        ("Message", ""),
        ("PublicUser", ""),
        ("Page_Chat", ""),
        ("Problem", "errors"),
        ("Reaction", "me"),
    ] {
        let fields = schemas[shape]["properties"].as_object().unwrap().keys();
        let missing: Vec<_> =
            fields.filter(|field| !schemas[shape]["required"].as_array().unwrap().contains(&json!(field))).collect();
        assert_eq!(missing, if but.is_empty() { vec![] } else { vec![but] }, "{shape}");
    }
}

#[test]
fn a_page_has_the_rows_own_shape_and_times_have_six_digits() {
    let schemas = &made()["components"]["schemas"];
    let pages: Vec<_> = schemas.as_object().unwrap().iter().filter(|(name, _)| name.starts_with("Page_")).collect();
    assert!(pages.len() >= 6);
    for (page, shape) in pages {
        let row = page.strip_prefix("Page_").unwrap();
        assert_eq!(shape["properties"]["items"]["items"], json!({"$ref": format!("#/components/schemas/{row}")}));
    }
    assert_eq!(schemas["Message"]["properties"]["created_at"]["pattern"], TIME);
    // A client may write a time as it likes.
    assert!(schemas["UpdateSettings"]["properties"]["muted_until"].get("pattern").is_none());
}
