//! Coming in: the three ways, the welcome, and what becomes of a token that is no good.

use std::time::Duration;

use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use crate::support::deployment::Builder;
use crate::support::{Deployment, SOON, Way, Ws, json, ws};

both_forms!(
    each_way_in_is_welcomed,
    a_bad_token_is_told_by_a_close_that_a_browser_can_read,
    a_token_that_is_missing_is_told_the_same_way,
    a_browser_that_offers_bearer_gets_it,
    an_address_without_an_upgrade_is_answered,
    a_path_that_is_no_text_is_a_bad_token,
    a_handshake_that_is_none_is_answered_with_what_it_lacks,
    a_handshake_is_answered_alike_however_it_is_written,
    two_connections_have_two_ids,
    authenticate_takes_a_fresh_token_of_the_same_user,
    authenticate_and_a_logout_at_once_end_the_connection,
);

both_forms_alone!(
    an_expired_token_is_told_as_one,
    a_connection_ends_with_its_token_unless_a_fresh_one_came,
    a_foreign_origin_is_refused,
);

const WAYS: [Way; 3] = [Way::Path, Way::Header, Way::Subprotocol];

async fn each_way_in_is_welcomed(d: &Deployment) {
    let user = d.user().await;
    for (n, way) in WAYS.into_iter().enumerate() {
        let mut ws = user.open(n, way).await;
        let protocol = ws.handshake.headers().get("sec-websocket-protocol");
        let wanted = (way == Way::Subprotocol).then_some("bearer");
        assert_eq!(protocol.map(|value| value.to_str().unwrap()), wanted, "{way:?}");
        let welcome = ws.expect_welcome().await;
        assert_eq!(welcome["user_id"], user.id);
        assert!(!welcome["connection_id"].is_null(), "{welcome}");
        assert_eq!(welcome["heartbeat_seconds"], 25);
        let expires = welcome["expires_at"].as_str().expect("a time");
        let expires = OffsetDateTime::parse(expires, &Rfc3339).expect("RFC 3339");
        let left = (expires - OffsetDateTime::now_utc()).whole_seconds();
        assert!((800..=901).contains(&left), "{welcome}");
        ws.round_trip().await;
        ws.close().await;
    }
}

async fn a_bad_token_is_told_by_a_close_that_a_browser_can_read(d: &Deployment) {
    let user = d.user().await;
    let (head, _) = user.access.rsplit_once('.').unwrap();
    let forged = format!("{head}.{}", "A".repeat(43));
    for way in WAYS {
        for token in ["rubbish", &forged, &user.refresh] {
            let mut ws = Ws::open(&d.gateway(0).ws_url(), way, token).await;
            let (code, reason) = ws.expect_close(SOON).await;
            assert_eq!(code, 4501, "{way:?}: {reason}");
            assert_eq!(ws.drain(), [] as [serde_json::Value; 0], "nothing before the close");
            assert!(!reason.contains(token), "{reason}");
        }
    }
}

async fn a_token_that_is_missing_is_told_the_same_way(d: &Deployment) {
    let request = format!("{}/ws/chat", d.gateway(1).ws_url());
    let request = tokio_tungstenite::tungstenite::client::IntoClientRequest::into_client_request(request);
    let mut ws = Ws::handshake(request.unwrap()).await.expect("a handshake that succeeds");
    assert_eq!(ws.expect_close(SOON).await.0, 4501);
}

/// It fails a handshake that takes none of the subprotocols that it offered: no close code is seen.
async fn a_browser_that_offers_bearer_gets_it(d: &Deployment) {
    let user = d.user().await;
    let by_path = format!("/ws/chat/{}", user.access);
    for (path, offered, close) in [
        ("/ws/chat", "bearer".to_owned(), Some(4501)),
        ("/ws/chat", format!("{}, bearer", user.access), Some(4501)),
        ("/ws/chat/rubbish", format!("bearer, {}", user.access), Some(4501)),
        (by_path.as_str(), "bearer, rubbish".to_owned(), None),
        (by_path.as_str(), "chat, bearer".to_owned(), None),
    ] {
        let mut request = ws::request(&d.gateway(0).ws_url(), Way::Path, "");
        *request.uri_mut() = format!("{}{path}", d.gateway(0).ws_url()).parse().unwrap();
        request.headers_mut().insert("sec-websocket-protocol", offered.parse().unwrap());
        let mut ws = Ws::handshake(request).await.unwrap_or_else(|error| panic!("{path} {offered}: {error:?}"));
        assert_eq!(ws.handshake.headers()["sec-websocket-protocol"], "bearer");
        match close {
            Some(code) => assert_eq!(ws.expect_close(SOON).await.0, code, "{path} {offered}"),
            None => assert_eq!(ws.expect_welcome().await["user_id"], user.id),
        }
    }
}

async fn an_address_without_an_upgrade_is_answered(d: &Deployment) {
    let user = d.user().await;
    for path in [format!("/ws/chat/{}", user.access), "/ws/chat".to_owned()] {
        let answer = user.rest.get(&path).await;
        assert!((400..500).contains(&answer.status), "{}", answer.body);
        assert!(!answer.body.contains(&user.access), "no token in an error");
    }
}

async fn a_path_that_is_no_text_is_a_bad_token(d: &Deployment) {
    for path in ["%ff", "%00", "a%2Fb", "%C3%28"] {
        let request = format!("{}/ws/chat/{path}", d.gateway(0).ws_url());
        let request = tokio_tungstenite::tungstenite::client::IntoClientRequest::into_client_request(request).unwrap();
        let mut ws = Ws::handshake(request).await.unwrap_or_else(|error| panic!("{path}: {error:?}"));
        assert_eq!(ws.expect_close(SOON).await.0, 4501, "{path}");
    }
}

async fn a_handshake_that_is_none_is_answered_with_what_it_lacks(d: &Deployment) {
    let user = d.user().await;
    let ask = async |headers: &[(&str, &str)]| {
        let mut request = user.rest.request(reqwest::Method::GET, "/ws/chat");
        for (name, value) in [("connection", "upgrade"), ("upgrade", "websocket")].iter().chain(headers) {
            request = request.header(*name, *value);
        }
        crate::support::rest::Answer::of(request).await
    };
    let version = ("sec-websocket-version", "13");
    let answer = ask(&[("sec-websocket-version", "8"), ("sec-websocket-key", "dGhlIHNhbXBsZSBub25jZQ==")]).await;
    assert_eq!((answer.header("sec-websocket-version"), answer.header("upgrade")), (Some("13"), Some("websocket")));
    answer.problem(426, "upgrade_required");
    for key in ["", "x", "dGhlIHNhbXBsZSBub25jZQ", &"A".repeat(5000), "AAAAAAAAAAAAAAAAAAAAAAAAAAAA"] {
        let answer = ask(&[version, ("sec-websocket-key", key)]).await;
        assert_eq!(answer.faulty_fields(), ["Sec-WebSocket-Key"]);
    }
    let key = ("sec-websocket-key", "dGhlIHNhbXBsZSBub25jZQ==");
    ask(&[version, key, key]).await.problem(422, "invalid");
    ask(&[version, ("sec-websocket-version", "8"), key]).await.problem(426, "upgrade_required");
    // RFC 6455, section 4.2.1: of HTTP/1.1 or higher.
    let url = url::Url::parse(&d.gateway(0).url()).unwrap();
    let mut stream = tokio::net::TcpStream::connect(url.socket_addrs(|| None).unwrap()[0]).await.unwrap();
    let head = "GET /ws/chat HTTP/1.0\r\nconnection: upgrade\r\nupgrade: websocket\r\nsec-websocket-version: 13\r\n\
                sec-websocket-key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n";
    stream.write_all(head.as_bytes()).await.unwrap();
    let mut answer = String::new();
    tokio::time::timeout(SOON, stream.read_to_string(&mut answer)).await.expect("an answer").unwrap();
    assert!(answer.starts_with("HTTP/1.0 426 "), "{answer}");
    ask(&[version]).await.problem(422, "invalid");
}

/// A handshake that comes whole and is nothing special is read before HTTP's layers; any other goes
/// through them.
async fn a_handshake_is_answered_alike_however_it_is_written(d: &Deployment) {
    let user = d.user().await;
    let url = url::Url::parse(&d.gateway(0).url()).unwrap();
    let address = url.socket_addrs(|| None).unwrap()[0];
    let many = "x-further: y\r\n".repeat(60);
    let mut answers = Vec::new();
    for (further, begins_with) in [(String::new(), usize::MAX), (many, usize::MAX), (String::new(), 20)] {
        let head = format!(
            "GET /ws/chat HTTP/1.1\r\nhost: {address}\r\norigin: http://{address}\r\nconnection: keep-alive, Upgrade\r\n\
             upgrade: websocket\r\nsec-websocket-version: 13\r\nsec-websocket-key: dGhlIHNhbXBsZSBub25jZQ==\r\n\
             sec-websocket-protocol: bearer, {}\r\nx-request-id: given\r\n{further}\r\n",
            user.access
        );
        // A ping that the client does not wait with: it belongs to the WebSocket.
        let bytes = [head.as_bytes(), &[0x89, 0x81, 0, 0, 0, 0, b'!']].concat();
        let (first, rest) = bytes.split_at(begins_with.min(bytes.len()));
        let mut stream = tokio::net::TcpStream::connect(address).await.unwrap();
        stream.set_nodelay(true).unwrap();
        stream.write_all(first).await.unwrap();
        if !rest.is_empty() {
            // Long enough to be read by itself; whether it is, the answer is the same.
            tokio::time::sleep(Duration::from_millis(50)).await;
            stream.write_all(rest).await.unwrap();
        }
        let mut read = Vec::new();
        let answer = async {
            while !read.windows(3).any(|frame| frame == [0x8a, 1, b'!']) {
                assert_ne!(stream.read_buf(&mut read).await.unwrap(), 0, "{}", String::from_utf8_lossy(&read));
            }
        };
        tokio::time::timeout(SOON, answer).await.expect("a pong");
        let text = String::from_utf8_lossy(&read).into_owned();
        let (head, frames) = text.split_once("\r\n\r\n").expect("a head");
        assert!(frames.contains("\"welcome\""), "{frames}");
        let mut lines: Vec<_> = head.lines().map(str::to_owned).collect();
        // The router dates its answers.
        let by_router = lines.iter().any(|line| line.starts_with("date:"));
        assert!(by_router == (answers.len() == 1) || answers.len() == 2, "{lines:?}");
        // Of the layers that concern a page's own reading; a browser reads none of an upgrade.
        lines.retain(|line| !["date:", "vary:", "access-control-"].iter().any(|name| line.starts_with(name)));
        lines.sort();
        answers.push(lines);
    }
    assert!(answers[0].contains(&"x-request-id: given".to_owned()), "{:?}", answers[0]);
    assert!(answers[0].contains(&"sec-websocket-accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=".to_owned()), "{:?}", answers[0]);
    assert_eq!(answers[0], answers[1]);
    assert_eq!(answers[0], answers[2]);
}

async fn two_connections_have_two_ids(d: &Deployment) {
    let user = d.user().await;
    let mut ids = Vec::new();
    let mut open = Vec::new();
    for n in 0..4 {
        let mut ws = user.open(n, Way::Path).await;
        ids.push(ws.expect_welcome().await["connection_id"].to_string());
        open.push(ws);
    }
    ids.sort();
    ids.dedup();
    assert_eq!(ids.len(), 4);
}

async fn authenticate_takes_a_fresh_token_of_the_same_user(d: &Deployment) {
    let (user, other) = (d.user().await, d.user().await);
    let fresh = user.second_session().await;
    let mut ws = user.connect().await;
    let answer = ws.command(json!({"type": "authenticate", "token": fresh.access})).await;
    assert_eq!(answer["type"], "authenticated", "{answer}");
    let expires = answer["expires_at"].as_str().expect("a time");
    OffsetDateTime::parse(expires, &Rfc3339).expect("RFC 3339");

    for token in ["rubbish", &other.access, &user.refresh] {
        ws.refused(json!({"type": "authenticate", "token": token}), "token_invalid").await;
    }
    ws.refused(json!({"type": "authenticate"}), "invalid").await;
    ws.round_trip().await;
    let chat_id = user.group_id(&[]).await;
    ws.subscribe(chat_id).await;
}

/// The session of the token ends while the connection goes over to it.
async fn authenticate_and_a_logout_at_once_end_the_connection(d: &Deployment) {
    let user = d.user().await;
    for round in 0..20 {
        let fresh = user.second_session().await;
        let mut ws = user.connect_to(round % 2).await;
        let command = json!({"type": "authenticate", "token": fresh.access, "request_id": "over"});
        let (out, ()) = tokio::join!(fresh.rest.post_nothing("/auth/logout"), ws.send(command));
        out.ok(204);
        let answer = ws.expect_where("the answer", SOON, |frame| frame["request_id"] == "over");
        let refused = tokio::select! {
            answer = answer => answer["type"] == "error",
            () = tokio::time::sleep(SOON) => panic!("no answer"),
        };
        if refused {
            ws.round_trip().await;
        } else {
            assert_eq!(ws.expect_close(Duration::from_secs(1)).await.0, 4502, "round {round}");
        }
    }
}

async fn an_expired_token_is_told_as_one(builder: Builder) {
    let d = builder.env("ACCESS_TOKEN_TTL_SECONDS", 1).start().await;
    let user = d.user().await;
    crate::support::eventually("an expired token", SOON, || async {
        (user.rest.get("/auth/me").await.status == 401).then_some(())
    })
    .await;
    for way in WAYS {
        let mut ws = user.open(1, way).await;
        assert_eq!(ws.expect_close(SOON).await.0, 4401, "{way:?}");
    }
}

async fn a_connection_ends_with_its_token_unless_a_fresh_one_came(builder: Builder) {
    let d = builder.env("ACCESS_TOKEN_TTL_SECONDS", 4).start().await;
    let user = d.user().await;
    let parse = |frame: &serde_json::Value| {
        OffsetDateTime::parse(frame["expires_at"].as_str().expect("a time"), &Rfc3339).unwrap()
    };
    let (mut short, mut long) = (user.open(0, Way::Path).await, user.open(1, Way::Path).await);
    let first = parse(&short.expect_welcome().await);
    long.expect_welcome().await;
    // a second later there is a token that lasts a second longer
    let second = crate::support::eventually("a token that lasts longer", SOON, async || {
        let fresh = user.second_session().await.access;
        let answer = long.command(json!({"type": "authenticate", "token": fresh})).await;
        let expires = parse(&answer);
        (expires > first + Duration::from_secs(1)).then_some(expires)
    })
    .await;
    for (ws, expires) in [(&mut short, first), (&mut long, second)] {
        assert_eq!(ws.expect_close(Duration::from_secs(8)).await.0, 4401);
        let late = OffsetDateTime::now_utc() - expires;
        assert!(late.whole_milliseconds().abs() < 1500, "closed {late} after its time");
    }
}

async fn a_foreign_origin_is_refused(builder: Builder) {
    let d = builder.env("ALLOWED_ORIGINS", "https://chat.example.org").start().await;
    let user = d.user().await;
    let connect = async |origin: Option<&str>| {
        let mut request = ws::request(&d.gateway(0).ws_url(), Way::Path, &user.access);
        if let Some(origin) = origin {
            request.headers_mut().insert("origin", origin.parse().unwrap());
        }
        Ws::handshake(request).await
    };
    let own = d.gateway(0).url();
    for origin in [None, Some("https://chat.example.org"), Some(own.as_str())] {
        let mut ws = connect(origin).await.unwrap_or_else(|error| panic!("{origin:?}: {error}"));
        ws.expect_welcome().await;
    }
    let foreign = ["https://evil.example", "https://chat.example.org.evil.example", "http://chat.example.org", "null"];
    for origin in foreign {
        // refused at the handshake or by a close at once, but never welcomed
        if let Ok(mut ws) = connect(Some(origin)).await {
            ws.expect_close(SOON).await;
            assert!(ws.drain().is_empty(), "{origin}");
        }
    }
}
