//! The check tried on itself: it proves nothing where it takes a wrong answer.

use super::*;

fn documents() -> Documents {
    let user = json!({
        "type": "object", "required": ["id", "since"],
        "properties": {
            "id": {"type": "integer", "minimum": 1},
            "since": {"type": "string", "format": "date-time"},
            "peer": {"oneOf": [{"$ref": "#/components/schemas/User"}, {"type": "null"}]},
        },
    });
    let answered = |schema: Value| {
        json!({"responses": {
            "200": {"content": {"application/json": {"schema": schema}}}, "204": {"description": "done"},
        "404": {"content": {"application/problem+json": {
            "schema": {"$ref": "#/components/schemas/Problem"}, "examples": {"user_not_found": {}},
        }}},
        }})
    };
    let row = json!({"$ref": "#/components/schemas/User"});
    let problem = json!({"type": "object", "required": ["code"], "properties": {"code": {"enum": ["not_found", "user_not_found"]}}});
    let schemas = json!({"User": user, "Problem": problem});
    let openapi = json!({
        "paths": {
            "/users/{id}": {"get": answered(row.clone())},
            "/users/1/named": {"get": answered(json!({"allOf": [
                row, {"type": "object", "required": ["name"], "properties": {"name": {"type": "string"}}},
            ]}))},
            "/users/me": {"get": answered(json!({"type": "object", "properties": {"me": {"type": "boolean"}}}))},
        },
        "components": {"schemas": schemas},
    });
    let hello =
        json!({"type": "object", "required": ["user"], "properties": {"type": {"const": "hello"}, "user": row}});
    let asyncapi = json!({
        "components": {"schemas": schemas, "messages": {"hello": {"payload": hello}}},
        "operations": {"greet": {"reply": {"messages": [{"$ref": "#/channels/chat/messages/hello"}]}}, "wave": {}},
    });
    Documents::new(openapi, asyncapi)
}

fn user(id: Value) -> Value {
    json!({"id": id, "since": "2026-01-01T00:00:00.000000Z"})
}

fn takes(path: &str, status: u16, media_type: &str, body: &str) -> bool {
    documents().fault_of_answer(&Answered { method: "GET", path, status, media_type, body }).is_none()
}

fn takes_json(path: &str, body: &Value) -> bool {
    takes(path, 200, "application/json", &body.to_string())
}

#[test]
fn an_answer_that_the_document_does_not_describe_is_a_fault() {
    let with = |field: &str, value: Value| {
        let mut user = user(json!(1));
        user[field] = value;
        user
    };
    assert!(takes_json("/users/1", &user(json!(1))) && takes_json("/users/1/", &user(json!(1))));
    assert!(takes_json("/users/1", &with("peer", user(json!(2)))));
    assert!(takes_json("/users/me", &json!({"me": true})), "the path without a parameter comes first");
    assert!(takes("/users/1", 204, "", ""));
    assert!(takes_json("/users/1/named", &with("name", json!("ann"))), "two parts are one object");

    assert!(!takes_json("/users/1", &user(json!("1"))), "another type");
    assert!(!takes_json("/users/1", &json!({"id": 1})), "a field is missing");
    assert!(!takes_json("/users/1/named", &user(json!(1))), "a field of the second part is missing");
    assert!(!takes_json("/users/1/named", &json!({"name": "ann"})), "fields of the first part are missing");
    assert!(!takes_json("/users/1", &with("more", json!(1))), "a field that nobody named");
    assert!(!takes_json("/users/1", &with("peer", user(json!(0)))), "a fault inside");
    assert!(!takes_json("/users/1", &with("since", json!("yesterday"))), "no time");
    assert!(!takes_json("/users/me", &user(json!(1))));
    assert!(!takes("/users/1", 201, "application/json", "{}"), "another status");
    assert!(!takes("/users/1", 200, "text/plain", "hello"), "another media type");
    assert!(!takes("/users/1", 200, "application/json", "{"), "no JSON");
    assert!(!takes("/users/1", 204, "text/plain", "hello"), "a body where none is");
}

#[test]
fn a_problem_is_checked_at_any_path() {
    let answers = |body| takes("/nowhere", 404, PROBLEM, body);
    assert!(answers(r#"{"code": "not_found"}"#));
    assert!(!answers(r#"{"code": "lost"}"#));
    assert!(takes("/users/1", 404, PROBLEM, r#"{"code": "user_not_found"}"#));
    assert!(!takes("/users/1", 404, PROBLEM, r#"{"code": "not_found"}"#), "not a code of this call");
    assert!(takes("/nowhere", 200, "text/plain", "hello"), "another program's");
    assert!(takes("/users/1", 502, "text/html", "away"), "a load balancer's");
}

#[test]
fn a_frame_that_the_document_does_not_describe_is_a_fault() {
    let takes = |frame: Value| documents().fault_of_frame(&frame).is_none();
    assert!(takes(json!({"type": "hello", "user": user(json!(1))})));
    assert!(!takes(json!({"type": "hello"})));
    assert!(!takes(json!({"type": "hello", "user": user(json!(1)), "more": 1})));
    assert!(!takes(json!({"type": "bye"})), "a type that nobody named");
}

#[test]
fn a_reply_of_another_type_is_a_fault() {
    let takes = |command: &str, kind: &str| {
        documents().fault_of_reply(&json!({"type": command}), &json!({"type": kind})).is_none()
    };
    assert!(takes("greet", "hello") && takes("greet", "error") && takes("wave", "error"));
    assert!(takes("unheard", "hello"), "not a command of the document");
    assert!(!takes("greet", "bye") && !takes("wave", "hello"));
}
