//! Requests that do not fit, and the one form in which that is told.

use std::time::Duration;

use reqwest::{Body, Method};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::support::{Answer, Deployment, SOON, json};

both_forms!(
    every_answer_bears_a_request_id,
    an_unknown_path_is_not_found,
    a_number_has_one_spelling,
    a_method_that_is_not_there_is_not_allowed,
    json_that_is_none_is_told,
    another_media_type_is_refused,
    a_body_that_is_too_large_is_refused,
    a_public_body_is_short,
    an_early_answer_leaves_the_connection_fit_for_the_next_request,
    a_path_is_the_same_with_and_without_its_trailing_slash,
    an_id_that_is_no_number_is_told,
    hostile_paths_and_queries_are_answered,
    hostile_cursors_are_answered,
    fields_that_nobody_knows_are_ignored,
);

async fn every_answer_bears_a_request_id(d: &Deployment) {
    let user = d.user().await;
    let mut ids = Vec::new();
    for path in ["/", "/auth/me", "/chats/", "/nowhere", "/openapi.json", "/ws/online-users"] {
        for rest in [&user.rest, &d.rest()] {
            let answer = rest.get(path).await;
            let id = answer.header("x-request-id").unwrap_or_default().to_owned();
            assert!(!id.is_empty(), "{path}: {:?}", answer.headers);
            ids.push(id);
        }
    }
    let total = ids.len();
    ids.sort();
    ids.dedup();
    assert_eq!(ids.len(), total, "each its own");
}

async fn an_unknown_path_is_not_found(d: &Deployment) {
    let user = d.user().await;
    for path in ["/nowhere", "/auth", "/auth/nowhere", "/chats/1/nowhere", "/ws/nowhere", "/metrics"] {
        user.rest.get(path).await.problem(404, "not_found");
        d.rest().get(path).await.problem(404, "not_found");
    }
    for path in ["/healthz", "/servez", "/readyz"] {
        d.rest().get(path).await.problem(404, "not_found");
    }
}

/// A proxy or a log compares the path that is served.
async fn a_number_has_one_spelling(d: &Deployment) {
    let user = d.user().await;
    let chat_id = user.group_id(&[]).await;
    for spelt in [format!("+{chat_id}"), format!("0{chat_id}"), format!("%2B{chat_id}"), format!("{chat_id}%20")] {
        for path in [format!("/chats/{spelt}"), format!("/chats/{chat_id}/members/{spelt}")] {
            let call = user.rest.request(if path.contains("members") { Method::DELETE } else { Method::GET }, &path);
            Answer::of(call).await.problem(404, "not_found");
        }
        user.rest.get(&format!("/ws/chat/{spelt}/online-users")).await.problem(404, "not_found");
    }
    for spelt in ["%2B1", "01", "1.0", "%201", "-0"] {
        let refused = user.rest.get(&format!("/messages/chat/{chat_id}?limit=1&before={spelt}")).await;
        assert_eq!(refused.faulty_fields(), ["before"], "{spelt}");
        let refused = user.rest.get(&format!("/chats/?limit={spelt}")).await;
        assert_eq!(refused.faulty_fields(), ["limit"], "{spelt}");
    }
    for spelt in ["1.0", "1e0", "-0", "\"1\""] {
        let body = format!(r#"{{"seq": {spelt}}}"#);
        let call = user.rest.request(Method::POST, &format!("/chats/{chat_id}/read"));
        let refused = Answer::of(call.header("content-type", "application/json").body(body)).await;
        assert_eq!(refused.faulty_fields(), ["seq"], "{spelt}");
    }
}

async fn a_method_that_is_not_there_is_not_allowed(d: &Deployment) {
    let user = d.user().await;
    let calls = [
        (Method::DELETE, "/auth/login", "POST"),
        (Method::GET, "/auth/register", "POST"),
        (Method::PUT, "/chats/", "GET"),
        (Method::GET, "/messages/send", "POST"),
        (Method::POST, "/ws/online-users", "GET"),
    ];
    for (method, path, allowed) in calls {
        let answer = Answer::of(user.rest.request(method, path)).await;
        let allow = answer.header("allow").unwrap_or_default().to_owned();
        answer.problem(405, "method_not_allowed");
        assert!(allow.split(',').any(|one| one.trim() == allowed), "{path}: {allow:?}");
    }
}

async fn json_that_is_none_is_told(d: &Deployment) {
    let user = d.user().await;
    let deep = "[".repeat(50_000);
    let bodies: [&[u8]; 7] =
        [b"", b"{", b"{\"a\": }", b"nonsense", b"{\"text\": \"\xff\xfe\"}", b"{} {}", deep.as_bytes()];
    for body in bodies {
        let request = user
            .rest
            .request(Method::POST, "/messages/send")
            .header("content-type", "application/json")
            .body(body.to_vec());
        Answer::of(request).await.problem(400, "bad_json");
    }
    // JSON, but not an object
    for body in ["[]", "null", "7", "\"text\""] {
        let request =
            user.rest.request(Method::POST, "/messages/send").header("content-type", "application/json").body(body);
        let answer = Answer::of(request).await;
        assert!([400, 422].contains(&answer.status), "{body}: {}", answer.body);
    }
}

async fn another_media_type_is_refused(d: &Deployment) {
    let user = d.user().await;
    let text = json!({"chat_id": 1, "text": "x"}).to_string();
    for kind in ["text/plain", "application/xml", "application/x-www-form-urlencoded", "json"] {
        let request = user.rest.request(Method::POST, "/messages/send").header("content-type", kind).body(text.clone());
        Answer::of(request).await.problem(415, "unsupported_media_type");
    }
    let nameless = user.rest.request(Method::POST, "/messages/send").body(text.clone());
    Answer::of(nameless).await.problem(415, "unsupported_media_type");
    let login = d.rest().request(Method::POST, "/auth/login").header("content-type", "text/plain");
    Answer::of(login.body("x")).await.problem(415, "unsupported_media_type");
    // a parameter is no other type
    let request = user
        .rest
        .request(Method::POST, "/messages/send")
        .header("content-type", "application/json; charset=utf-8")
        .body(json!({"chat_id": 999_999_999, "text": "x"}).to_string());
    Answer::of(request).await.problem(404, "chat_not_found");
}

async fn a_public_body_is_short(d: &Deployment) {
    for path in ["/auth/login", "/auth/register", "/auth/refresh"] {
        let fits = json!({"username": "x", "password": "x".repeat(16_000)});
        assert!([401, 422].contains(&d.rest().post(path, fits).await.status), "{path}");
        let large = json!({"username": "x", "password": "x".repeat(17_000)});
        d.rest().post(path, large).await.problem(413, "too_large");
    }
}

async fn a_body_that_is_too_large_is_refused(d: &Deployment) {
    let user = d.user().await;
    let send = async |body: Body| {
        let request =
            user.rest.request(Method::POST, "/messages/send").header("content-type", "application/json").body(body);
        Answer::of(request).await
    };
    let of_size = |size: usize| {
        let rest = json!({"chat_id": 999_999_999, "text": "x", "more": ""}).to_string();
        let filled = rest.replace("\"more\":\"\"", &format!("\"more\":\"{}\"", "x".repeat(size - rest.len())));
        assert_eq!(filled.len(), size);
        filled
    };
    send(of_size(262_144).into()).await.problem(404, "chat_not_found");
    send(of_size(262_145).into()).await.problem(413, "too_large");
    // and where nothing announces the size
    let url = url::Url::parse(&d.rest().url("/messages/send")).unwrap();
    let address = url.socket_addrs(|| None).unwrap()[0];
    let mut stream = TcpStream::connect(address).await.unwrap();
    let head = format!(
        "POST /messages/send HTTP/1.1\r\nhost: {address}\r\nauthorization: Bearer {}\r\n\
         content-type: application/json\r\ntransfer-encoding: chunked\r\nconnection: close\r\n\r\n",
        user.access
    );
    let body = of_size(262_145);
    let chunked = format!("{head}{:x}\r\n{body}\r\n0\r\n\r\n", body.len());
    let mut answer = Vec::new();
    let exchange = async {
        stream.write_all(chunked.as_bytes()).await.ok();
        stream.read_to_end(&mut answer).await.ok();
    };
    tokio::time::timeout(SOON, exchange).await.expect("an answer");
    let answer = String::from_utf8_lossy(&answer).into_owned();
    assert!(answer.starts_with("HTTP/1.1 413 "), "{answer}");
    assert!(answer.contains("\"too_large\""), "{answer}");
}

async fn an_early_answer_leaves_the_connection_fit_for_the_next_request(d: &Deployment) {
    let user = d.user().await;
    let url = url::Url::parse(&d.rest().url("/messages/send")).unwrap();
    let address = url.socket_addrs(|| None).unwrap()[0];
    let body = json!({"chat_id": 999_999_999, "text": "x"}).to_string();
    let expired = "authorization: Bearer expired\r\ncontent-type: application/json";
    let valid = format!("authorization: Bearer {}", user.access);
    let text = format!("{valid}\r\ncontent-type: text/plain");
    let cases = [
        ("POST /messages/send", expired, "401"),
        ("POST /nothing", &valid, "404"),
        ("DELETE /messages/send", &valid, "405"),
        ("POST /messages/send", &text, "415"),
    ];
    for (line, headers, status) in cases.iter().cycle().take(40) {
        let mut stream = TcpStream::connect(address).await.unwrap();
        let head = format!("{line} HTTP/1.1\r\nhost: x\r\n{headers}\r\ncontent-length: {}\r\n\r\n", body.len());
        let next = format!("GET /auth/me HTTP/1.1\r\nhost: x\r\n{valid}\r\nconnection: close\r\n\r\n");
        let exchange = async {
            stream.write_all(head.as_bytes()).await.unwrap();
            // the head is answered before the body is here
            tokio::time::sleep(Duration::from_millis(2)).await;
            stream.write_all(format!("{body}{next}").as_bytes()).await.unwrap();
            let mut answers = String::new();
            stream.read_to_string(&mut answers).await.map(|_| answers)
        };
        let answers = tokio::time::timeout(SOON, exchange).await.expect("answers").expect("no reset");
        assert!(answers.starts_with(&format!("HTTP/1.1 {status} ")), "{answers}");
        assert!(answers.contains("HTTP/1.1 200 OK") && answers.contains(&user.username), "{answers}");
    }
}

async fn a_path_is_the_same_with_and_without_its_trailing_slash(d: &Deployment) {
    let user = d.user().await;
    let chat_id = user.group_id(&[]).await;
    let paths = [
        "/auth/me".to_owned(),
        "/chats".to_owned(),
        format!("/chats/{chat_id}"),
        format!("/chats/{chat_id}/members"),
        format!("/messages/chat/{chat_id}"),
        format!("/users/{}", user.id),
        format!("/ws/chat/{chat_id}/online-users"),
    ];
    for path in paths {
        let bare = user.rest.get(&path).await.ok(200);
        let slashed = user.rest.get(&format!("{path}/")).await.ok(200);
        assert_eq!(bare, slashed, "{path}");
    }
    let queried = user.rest.get("/chats/?limit=1").await.ok(200);
    assert_eq!(queried, user.rest.get("/chats?limit=1").await.ok(200));
    user.rest.post("/chats/create/", json!({"name": "slash"})).await.ok(201);
    let body = json!({"chat_id": chat_id, "text": "slash"});
    user.rest.post("/messages/send/", body).await.ok(201);
    user.rest.get("/ws/online-users/").await.ok(200);
}

async fn an_id_that_is_no_number_is_told(d: &Deployment) {
    let user = d.user().await;
    for id in ["x", "1.5", "99999999999999999999", "%00", "1%20or%201"] {
        for path in [format!("/chats/{id}"), format!("/messages/chat/{id}"), format!("/users/{id}")] {
            let answer = user.rest.get(&path).await;
            assert!([404, 422].contains(&answer.status), "{path}: {} {}", answer.status, answer.body);
            let code = answer.json["code"].as_str().unwrap().to_owned();
            answer.problem(if code == "invalid" { 422 } else { 404 }, &code);
        }
    }
}

async fn hostile_paths_and_queries_are_answered(d: &Deployment) {
    let user = d.user().await;
    for path in ["/%ff%fe", "/..%2f..%2fetc%2fpasswd", "//chats//", "/chats/%00", "/users?q=%ff%00"] {
        let answer = user.rest.get(path).await;
        assert!((400..500).contains(&answer.status), "{path}: {} {}", answer.status, answer.body);
    }
    let long = format!("/users?q={}", "x".repeat(6000));
    let answer = user.rest.get(&long).await;
    assert!(answer.status < 500, "{}", answer.body);
}

/// Each letter begins some list's cursors (`common/src/store/cursor.rs`).
async fn hostile_cursors_are_answered(d: &Deployment) {
    let user = d.user().await;
    let chat = user.group_id(&[]).await;
    let lists = [
        "/chats/?".to_owned(),
        format!("/chats/{chat}/members?"),
        format!("/chats/{chat}/pins?"),
        format!("/chats/{chat}/invites?"),
        format!("/messages/chat/{chat}?"),
        "/messages/search?q=x&".to_owned(),
        "/users?q=x&".to_owned(),
        "/users/blocked?".to_owned(),
        "/auth/sessions?".to_owned(),
        "/ws/online-users?".to_owned(),
    ];
    for list in lists {
        for letter in ["b", "c", "f", "h", "ha", "hb", "i", "m", "p", "s", "u", ""] {
            for key in ["0", "-1", "-9223372036854775808", "9223372036854775807", "-9223372036854775808.1", "1.0"] {
                let answer = user.rest.get(&format!("{list}cursor={letter}{key}")).await;
                assert!([200, 422].contains(&answer.status), "{list}{letter}{key}: {} {}", answer.status, answer.body);
            }
        }
    }
    for key in ["f0", "f-9223372036854775808"] {
        assert_eq!(user.rest.get(&format!("/messages/search?q=x&cursor={key}")).await.faulty_fields(), ["cursor"]);
    }
}

async fn fields_that_nobody_knows_are_ignored(d: &Deployment) {
    let user = d.user().await;
    let chat_id = user.group_id(&[]).await;
    let body = json!({"chat_id": chat_id, "text": "x", "author_id": 1, "seq": 7, "surprise": [{}]});
    let sent = user.rest.post("/messages/send", body).await.ok(201);
    assert_eq!(sent["author_id"], user.id);
}
