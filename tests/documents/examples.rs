//! After the README's walk, every example of the OpenAPI document is taken as it stands.

use reqwest::Method;

use crate::support::rest::Rest;
use crate::support::{Answer, Deployment, Value, json, limited};

/// What the walk leaves behind: ann's calls, her refresh token, and an invitation into the chat.
struct Walked {
    ann: Rest,
    refresh: String,
    code: String,
}

async fn walk(d: &Deployment) -> Walked {
    let rest = d.rest();
    for (username, password) in [("ann", "correct horse"), ("ben", "battery staple")] {
        let body = json!({"username": username, "email": format!("{username}@example.org"), "password": password});
        rest.post("/auth/register", body).await.ok(201);
    }
    let tokens = rest.post("/auth/login", json!({"username": "ann", "password": "correct horse"})).await.ok(200);
    let ann = rest.with_bearer(tokens["access_token"].as_str().unwrap());
    assert_eq!(ann.post("/chats/create", json!({"name": "plans", "member_ids": [2]})).await.ok(201)["id"], 1);
    let message = json!({"chat_id": 1, "text": "hello", "client_message_id": "m-1"});
    assert_eq!(ann.post("/messages/send", message).await.ok(201)["id"], 1);
    let invite = ann.post("/chats/1/invites", json!({})).await.ok(201);
    let code = invite["code"].as_str().unwrap().to_owned();
    Walked { ann, refresh: tokens["refresh_token"].as_str().unwrap().to_owned(), code }
}

/// Whether the call takes away what other examples need.
fn destroys(method: &str, path: &str) -> bool {
    method == "delete" || path == "/auth/logout"
}

/// Sends the operation with its examples, and wants one of the answers that are no problems.
async fn try_it(walked: &Walked, method: &str, path: &str, operation: &Value) {
    let mut address = path.to_owned();
    let mut query = Vec::new();
    for parameter in operation["parameters"].as_array().into_iter().flatten() {
        let name = parameter["name"].as_str().unwrap();
        let example = &parameter["example"];
        let text = example.as_str().map_or_else(|| example.to_string(), str::to_owned);
        match parameter["in"].as_str() {
            // Nobody knows the code of an invitation beforehand.
            Some("path") if name == "code" => address = address.replace("{code}", &walked.code),
            Some("path") => address = address.replace(&format!("{{{name}}}"), &text),
            Some("query") if !example.is_null() => query.push((name.to_owned(), text)),
            _ => {}
        }
    }
    let mut request = walked.ann.request(Method::from_bytes(method.to_uppercase().as_bytes()).unwrap(), &address);
    request = request.query(&query).header("accept", "application/json");
    if let Some(content) = operation["requestBody"]["content"].as_object() {
        let mut body = content["application/json"]["example"].clone();
        if path == "/auth/refresh" {
            body["refresh_token"] = json!(walked.refresh);
        }
        request = request.json(&body);
    }
    let answer = Answer::of(request).await;
    let status = answer.status.to_string();
    assert!(status.starts_with('2'), "{method} {path}: {status} {}", answer.body);
    assert!(operation["responses"].get(&status).is_some(), "{method} {path}: {status} is not in the document");
}

#[tokio::test]
async fn every_example_works_after_the_walk() {
    limited(async {
        let d = Deployment::embedded().start().await;
        let document = d.rest().get("/openapi.json").await.ok(200);
        let walked = walk(&d).await;
        let paths = document["paths"].as_object().unwrap();
        let all: Vec<_> = paths
            .iter()
            .flat_map(|(path, item)| {
                item.as_object().unwrap().iter().map(move |(method, operation)| (path, method, operation))
            })
            .collect();
        assert!(all.len() > 40);
        for (path, method, operation) in all.iter().filter(|(path, method, _)| !destroys(method, path)) {
            try_it(&walked, method, path, operation).await;
        }
        for (path, method, operation) in all.iter().filter(|(path, method, _)| destroys(method, path)) {
            let d = Deployment::embedded().start().await;
            try_it(&walk(&d).await, method, path, operation).await;
        }
    })
    .await;
}
