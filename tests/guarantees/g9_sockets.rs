//! G9 on bare sockets: heads that are none, requests hidden behind others, and clients that send
//! slowly or stop half-way. Each port of each program answers, where an answer is possible, with a
//! problem and the end of the connection.

use std::time::{Duration, Instant};

use futures_util::future::join_all;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::support::{Deployment, Program, SOON};

both_forms!(
    a_head_that_is_none_is_answered_and_ends_its_connection,
    a_handshake_with_such_a_head_is_answered_alike,
    nothing_is_hidden_behind_a_body,
    a_target_has_any_form_that_http_knows,
    a_client_that_sends_slowly_is_let_go_of,
    a_client_that_sends_no_more_gets_its_answer,
);

/// The first head of a connection has so long (`FIRST_HEAD`), with what a busy machine adds.
const LET_GO_WITHIN: Duration = Duration::from_secs(15);

/// A port of a program.
struct Port {
    name: String,
    number: u16,
    /// One that is there.
    path: &'static str,
    /// Whether a connection is for one request only.
    is_admin: bool,
}

/// The public and the admin port of each program.
fn ports(d: &Deployment) -> Vec<Port> {
    let mut ports = Vec::new();
    for node in d.nodes() {
        let path = if node.program() == Program::Gateway { "/ws/online-users" } else { "/openapi.json" };
        let admin = url::Url::parse(&node.admin_url()).unwrap().port().unwrap();
        ports.push(Port { name: node.name().to_owned(), number: node.port(), path, is_admin: false });
        ports.push(Port { name: format!("{}, admin", node.name()), number: admin, path: "/healthz", is_admin: true });
    }
    ports
}

async fn connect(port: u16) -> TcpStream {
    TcpStream::connect(("127.0.0.1", port)).await.unwrap()
}

/// All that is answered to these bytes until the connection ends.
async fn answer(port: u16, bytes: &[u8]) -> String {
    let (mut reading, mut writing) = connect(port).await.into_split();
    let mut answer = Vec::new();
    let read = tokio::time::timeout(SOON, reading.read_to_end(&mut answer));
    // It may refuse the rest of them.
    let (read, _) = tokio::join!(read, writing.write_all(bytes));
    let text = String::from_utf8_lossy(&answer).into_owned();
    read.unwrap_or_else(|_| panic!("still open after {text:?}")).unwrap_or_else(|error| panic!("{error}: {text:?}"));
    text
}

fn assert_problem(case: &str, statuses: &[u16], answer: &str) {
    let (head, body) = answer.split_once("\r\n\r\n").unwrap_or_else(|| panic!("{case}: {answer:?}"));
    let head = head.to_lowercase();
    let status: u16 = head[9..12].parse().unwrap();
    assert!(statuses.contains(&status), "{case}: {answer}");
    for header in ["content-type: application/problem+json", "connection: close"] {
        assert!(head.contains(header), "{case}: {header}: {answer}");
    }
    let problem: crate::support::Value =
        serde_json::from_str(body).unwrap_or_else(|error| panic!("{case}: {error}: {answer}"));
    assert_eq!(problem["status"], status, "{case}");
    assert!(problem["code"].is_string() && problem["title"].is_string(), "{case}: {problem}");
}

/// Heads that are none, and the statuses that say so.
fn heads(path: &str) -> Vec<(&'static str, &'static [u16], Vec<u8>)> {
    const BAD: &[u16] = &[400];
    let get = |rest: &str| format!("GET {path} HTTP/1.1\r\n{rest}\r\n").into_bytes();
    let many = "x-a: 1\r\n".repeat(150);
    vec![
        ("no HTTP", BAD, b"nonsense\r\n\r\n".to_vec()),
        ("bytes", BAD, b"\xff\xfe\x00\x01\r\n\r\n".to_vec()),
        ("TLS", BAD, b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\r\n\r\n".to_vec()),
        ("another version", BAD, format!("GET {path} HTTP/9.9\r\nhost: x\r\n\r\n").into_bytes()),
        ("no host", BAD, get("")),
        ("two hosts", BAD, get("host: x\r\nhost: y\r\n")),
        ("one host twice", BAD, get("host: x\r\nhost: x\r\n")),
        ("a host that is none", BAD, get("host: a b\r\n")),
        ("a host with a user", BAD, get("host: u@x\r\n")),
        ("a host with a path", BAD, get("host: x/y\r\n")),
        ("a blank before the colon", BAD, get("host : x\r\n")),
        ("a folded line", BAD, get("host: x\r\nx-a: 1\r\n 2\r\n")),
        ("a NUL in a header", BAD, get("host: x\r\nx-a: 1\0\r\n")),
        ("two lengths", BAD, get("host: x\r\ncontent-length: 1\r\ncontent-length: 2\r\n")),
        ("a length with a sign", BAD, get("host: x\r\ncontent-length: +2\r\n")),
        ("lengths in a list", BAD, get("host: x\r\ncontent-length: 2, 3\r\n")),
        ("a coding that is not chunked", BAD, get("host: x\r\ntransfer-encoding: xchunked\r\n")),
        ("chunked not last", BAD, get("host: x\r\ntransfer-encoding: chunked, identity\r\n")),
        ("a scheme that is not served", BAD, b"GET ftp://x/ HTTP/1.1\r\nhost: x\r\n\r\n".to_vec()),
        ("no path", BAD, b"GET x:80 HTTP/1.1\r\nhost: x\r\n\r\n".to_vec()),
        ("a tunnel", &[405], b"CONNECT x:80 HTTP/1.1\r\nhost: x:80\r\n\r\n".to_vec()),
        ("many headers", &[431], get(&format!("host: x\r\n{many}"))),
        ("a long header", &[431], get(&format!("host: x\r\nx-a: {}\r\n", "a".repeat(600_000)))),
        ("a long path", &[414, 431], format!("GET /{} HTTP/1.1\r\nhost: x\r\n\r\n", "a".repeat(70_000)).into_bytes()),
        ("a long query", &[414, 431], format!("GET {path}?{} HTTP/1.1\r\nhost: x\r\n\r\n", "a".repeat(600_000)).into()),
    ]
}

async fn a_head_that_is_none_is_answered_and_ends_its_connection(d: &Deployment) {
    for Port { name: port, number, path, is_admin } in ports(d) {
        for (name, statuses, bytes) in heads(path) {
            assert_problem(&format!("{port}: {name}"), statuses, &answer(number, &bytes).await);
        }
        // The same behind a request that was served.
        for (name, statuses, bytes) in heads(path) {
            let served = b"GET /nothing HTTP/1.1\r\nhost: x\r\n\r\n".to_vec();
            let answers = answer(number, &[served, bytes].concat()).await;
            let last = answers.rfind("HTTP/1.1 ").unwrap();
            assert!(answers.starts_with("HTTP/1.1 404 ") && (last > 0) != is_admin, "{port}: {name}: {answers}");
            assert_problem(
                &format!("{port}: {name}, second"),
                if is_admin { &[404] } else { statuses },
                &answers[last..],
            );
        }
    }
}

async fn a_handshake_with_such_a_head_is_answered_alike(d: &Deployment) {
    let user = d.user().await;
    let upgrade = "Upgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13\r\n";
    let key = "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n";
    let bearer = format!("Authorization: Bearer {}\r\n", user.access);
    let many = "x-a: 1\r\n".repeat(150);
    for gateway in d.gateways() {
        let ask = async |rest: &str| {
            let head = format!("GET /ws/chat HTTP/1.1\r\n{rest}{upgrade}{bearer}\r\n");
            answer(gateway.port(), head.as_bytes()).await
        };
        for rest in ["", "host: x\r\nhost: y\r\n", "host: a b\r\n", "host: x\r\ncontent-length: x\r\n"] {
            assert_problem(rest, &[400], &ask(&format!("{rest}{key}")).await);
        }
        assert_problem("many", &[431], &ask(&format!("host: x\r\n{many}{key}")).await);
        // These are read whole, so the connection is fit for the next request.
        for (rest, status) in [
            ("host: x\r\n".to_owned(), 422),
            (format!("host: x\r\n{key}{key}"), 422),
            (format!("host: x\r\n{key}origin: http://x\r\norigin: http://y\r\n"), 403),
            (format!("host: x\r\n{key}origin: ftp://x\r\n"), 403),
            (format!("host: x\r\n{key}{bearer}"), 101),
        ] {
            let mut stream = connect(gateway.port()).await;
            let head = format!("GET /ws/chat HTTP/1.1\r\n{rest}{upgrade}{bearer}\r\n");
            stream.write_all(head.as_bytes()).await.unwrap();
            let mut line = [0; 12];
            tokio::time::timeout(SOON, stream.read_exact(&mut line)).await.expect("an answer").unwrap();
            assert_eq!(String::from_utf8_lossy(&line), format!("HTTP/1.1 {status}"), "{rest}");
        }
    }
}

async fn nothing_is_hidden_behind_a_body(d: &Deployment) {
    let hidden = "GET /hidden HTTP/1.1\r\nhost: x\r\n\r\n";
    for Port { name: port_name, number: port, .. } in ports(d) {
        for (name, headers) in [
            ("length first", format!("content-length: {}\r\ntransfer-encoding: chunked\r\n", 5 + hidden.len())),
            ("coding first", format!("transfer-encoding: chunked\r\ncontent-length: {}\r\n", 5 + hidden.len())),
        ] {
            let request = format!("POST /first HTTP/1.1\r\nhost: x\r\n{headers}\r\n0\r\n\r\n{hidden}");
            let answers = answer(port, request.as_bytes()).await;
            assert_eq!(answers.matches("HTTP/1.1 ").count(), 1, "{port_name}: {name}: {answers}");
            assert!(answers.to_lowercase().contains("connection: close"), "{port_name}: {name}: {answers}");
        }
        for (name, body) in [
            ("a chunk that overflows", "fffffffffffffffff\r\n"),
            ("a chunk with a sign", "+5\r\nhello\r\n0\r\n\r\n"),
            ("a chunk that is longer than it says", "2\r\nhello\r\n0\r\n\r\n"),
        ] {
            let request =
                format!("POST /first HTTP/1.1\r\nhost: x\r\ntransfer-encoding: chunked\r\n\r\n{body}{hidden}");
            let answers = answer(port, request.as_bytes()).await;
            assert!(answers.matches("HTTP/1.1 ").count() <= 1, "{port_name}: {name}: {answers}");
        }
        let old = format!("POST /first HTTP/1.0\r\nhost: x\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\n{hidden}");
        let answers = answer(port, old.as_bytes()).await;
        assert!(answers.matches("HTTP/1.").count() <= 1, "{port_name}: {answers}");
    }
}

async fn a_target_has_any_form_that_http_knows(d: &Deployment) {
    for Port { name: port_name, number: port, path, .. } in ports(d) {
        let ask = async |line: &str, host: &str| {
            answer(port, format!("{line} HTTP/1.1\r\n{host}connection: close\r\n\r\n").as_bytes()).await
        };
        let plain = ask(&format!("GET {path}"), "host: x\r\n").await;
        let absolute = ask(&format!("GET http://chat.example:99{path}"), "host: x\r\n").await;
        assert_eq!(plain[..12], absolute[..12], "{port_name}");
        assert!(!plain.starts_with("HTTP/1.1 404"), "{port_name}: {plain}");
        let head = ask(&format!("HEAD {path}"), "host: x\r\n").await;
        assert_eq!(plain[..12], head[..12], "{port_name}");
        assert!(head.ends_with("\r\n\r\n"), "{port_name}: HEAD has no body: {head}");
        for line in [format!("OPTIONS {path}"), "OPTIONS *".to_owned()] {
            let options = ask(&line, "host: x\r\n").await;
            assert!(!options.starts_with("HTTP/1.1 5"), "{port_name}: {line}: {options}");
        }
        for path in ["/%zz", "/%", "/%ff", "/..%2f..", "/%00"] {
            let answer = ask(&format!("GET {path}"), "host: x\r\n").await;
            assert_problem(&format!("{port_name}: {path}"), &[404], &answer);
        }
        let old = answer(port, format!("GET {path} HTTP/1.0\r\n\r\n").as_bytes()).await;
        assert_eq!(plain[9..12], old[9..12], "{port_name}: HTTP/1.0 without a host");
    }
}

async fn a_client_that_sends_slowly_is_let_go_of(d: &Deployment) {
    let handshake = "GET /ws/chat HTTP/1.1\r\nhost: x\r\nupgrade: websocket\r\nconnection: upgrade\r\n";
    let mut clients = Vec::new();
    for Port { name: port, number, path, is_admin } in ports(d) {
        let half = format!("GET {path} HTTP/1.1\r\nhost: x\r\nx-a: ");
        for (name, begin, dripped) in [
            ("nothing", String::new(), ""),
            ("half a line", "GE".to_owned(), ""),
            ("half a head", half.clone(), ""),
            ("a head by drips", half, "a"),
            ("empty lines", String::new(), "\r\n"),
            ("half a handshake", handshake.to_owned(), ""),
            ("a handshake by drips", format!("{handshake}x-a: "), "a"),
        ] {
            let case = format!("{port}: {name}");
            let least = Duration::from_secs(if is_admin { 1 } else { 5 });
            clients.push(async move {
                let mut stream = connect(number).await;
                let began = Instant::now();
                stream.write_all(begin.as_bytes()).await.unwrap();
                let (mut reading, mut writing) = stream.into_split();
                let drip = async {
                    let mut beat = tokio::time::interval(Duration::from_millis(250));
                    loop {
                        beat.tick().await;
                        if dripped.is_empty() || writing.write_all(dripped.as_bytes()).await.is_err() {
                            std::future::pending::<()>().await;
                        }
                    }
                };
                let mut answer = Vec::new();
                tokio::select! {
                    _ = reading.read_to_end(&mut answer) => {}
                    () = drip => {}
                    () = tokio::time::sleep(LET_GO_WITHIN) => panic!("{case}: still open"),
                }
                assert!(began.elapsed() > least, "{case}: {:?}: {answer:?}", began.elapsed());
            });
        }
    }
    join_all(clients).await;
}

async fn a_client_that_sends_no_more_gets_its_answer(d: &Deployment) {
    for Port { name: port_name, number: port, path, .. } in ports(d) {
        let mut stream = connect(port).await;
        stream.write_all(format!("GET {path} HTTP/1.1\r\nhost: x\r\n\r\n").as_bytes()).await.unwrap();
        stream.shutdown().await.unwrap();
        let mut answer = String::new();
        tokio::time::timeout(SOON, stream.read_to_string(&mut answer)).await.expect("an end").unwrap();
        assert!(answer.starts_with("HTTP/1.1 "), "{port_name}: {answer:?}");
        // Half a request ends its connection at once.
        let mut stream = connect(port).await;
        stream.write_all(b"GET / HTTP/1.1\r\nho").await.unwrap();
        stream.shutdown().await.unwrap();
        let ended = tokio::time::timeout(SOON, stream.read_to_string(&mut String::new())).await;
        assert!(ended.is_ok(), "{port_name}: half a request holds its place");
    }
}
