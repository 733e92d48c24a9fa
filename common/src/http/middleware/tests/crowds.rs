//! What one client behind a proxy, or one address, takes of connections and memory.

use super::*;
use crate::http::places::LEAST_REQUESTS;
use crate::http::reading::BYTES_PER_ADDRESS;
use futures_util::future::join_all;

#[tokio::test]
async fn a_body_that_does_not_come_is_408() {
    let server = Server::start(&[]).await;
    let head = format!("POST /echo HTTP/1.1\r\nhost: test\r\n{JSON}\r\ncontent-length: 1000\r\n\r\n{{");
    let answer = Answer(server.raw(head.as_bytes()).await);
    assert_eq!((answer.status(), answer.code().as_str()), (408, "request_timeout"));
    assert_eq!(answer.header("connection"), Some("close"));
    assert_eq!(server.paid.load(Ordering::Relaxed), 1, "it has its price");
}

/// Behind a proxy that is trusted, as the requests of a client.
struct Behind(Server);

impl Behind {
    async fn start() -> Self {
        let variables = [("TRUSTED_PROXIES", "127.0.0.0/8"), ("MAX_CONNECTIONS_PER_ADDRESS", "16")];
        Self(Server::start_with(&variables, Duration::from_secs(20)).await)
    }

    /// A request of that client, of which this is the rest.
    async fn sent(&self, client: &str, request: &str, rest: &str) -> TcpStream {
        let head = format!("{request} HTTP/1.1\r\nhost: test\r\n{JSON}\r\nx-forwarded-for: {client}\r\n{rest}");
        self.0.sent(head.as_bytes()).await
    }

    /// A request whose handler waits for its body.
    async fn waits(&self, client: &str) -> TcpStream {
        let (mut stream, mut answer) = (self.sent(client, "POST /echo", SLOW_BODY).await, [0; 25]);
        stream.read_exact(&mut answer).await.expect("read");
        assert_eq!(&answer, b"HTTP/1.1 100 Continue\r\n\r\n");
        stream
    }

    async fn status(&self, client: &str) -> u16 {
        let mut answer = Vec::new();
        let mut stream = self.sent(client, "GET /users", "connection: close\r\n\r\n").await;
        stream.read_to_end(&mut answer).await.expect("read");
        let answer = Answer(String::from_utf8(answer).expect("UTF-8"));
        if answer.status() == 429 {
            assert_eq!(answer.code(), "rate_limited");
            assert!(answer.header("retry-after").is_some(), "{}", answer.0);
        }
        answer.status()
    }

    async fn eventually(&self, client: &str, status: u16) {
        let answered = async { while self.status(client).await != status {} };
        tokio::time::timeout(Duration::from_secs(10), answered).await.expect("in time");
    }
}

const SLOW_BODY: &str = "expect: 100-continue\r\ncontent-length: 1000\r\n\r\n";

#[tokio::test]
async fn a_client_behind_a_proxy_has_so_many_requests_at_once() {
    let server = Behind::start().await;
    // So many at least, and those of its own /64.
    for clients in [["192.0.2.1", "192.0.2.1", "192.0.2.2"], ["2001:db8::1", "2001:db8::2", "2001:db8:0:1::1"]] {
        let mut held = Vec::new();
        for nth in 0..LEAST_REQUESTS {
            held.push(server.waits(clients[nth % 2]).await);
        }
        assert_eq!(server.status(clients[0]).await, 429);
        assert_eq!(server.status(clients[2]).await, 200, "another client");
        let mut refused = server.sent(clients[1], "POST /echo", SLOW_BODY).await;
        let mut answer = String::new();
        let began = Instant::now();
        refused.read_to_string(&mut answer).await.expect("read");
        assert!(answer.starts_with("HTTP/1.1 429 ") && began.elapsed() < Duration::from_secs(1), "{answer}");
        held.pop();
        server.eventually(clients[0], 200).await;
    }
}

#[tokio::test]
async fn a_request_lasts_until_its_answer_is_taken() {
    let server = Behind::start().await;
    let mut held = Vec::new();
    for _ in 0..LEAST_REQUESTS {
        let mut stream = server.sent("192.0.2.1", "GET /large", "\r\n").await;
        // It has an answer, of which it takes no more for now.
        stream.read_exact(&mut [0; 12]).await.expect("read");
        held.push(stream);
    }
    assert_eq!(server.status("192.0.2.1").await, 429);
    let mut left = 32 * 1024 * 1024;
    while left > 0 {
        left -= held[0].read(&mut vec![0; 1024 * 1024]).await.expect("read").min(left);
    }
    server.eventually("192.0.2.1", 200).await;
    assert_eq!(server.status("192.0.2.1").await, 200, "a connection that is kept is no request");
}

#[tokio::test]
async fn large_bodies_are_read_within_a_budget_of_which_an_address_has_a_part() {
    let server = Server::start_with(
        &[("TRUSTED_PROXIES", "127.0.0.0/8"), ("MAX_CONNECTIONS_PER_ADDRESS", "10000")],
        Duration::from_secs(30),
    )
    .await;
    let begun = |client: &str, bytes: usize| {
        let begin = format!("{{\"name\":\"{}", "x".repeat(bytes));
        format!(
            "POST /echo HTTP/1.1\r\nhost: test\r\n{JSON}\r\nx-forwarded-for: {client}\r\nconnection: close\r\n\
             content-length: {}\r\n\r\n{begin}",
            begin.len() + 2
        )
    };
    let ended = async |mut stream: TcpStream| {
        drop(stream.write_all(b"\"}").await);
        let mut answer = Vec::new();
        drop(stream.read_to_end(&mut answer).await);
        Answer(String::from_utf8_lossy(&answer).into_owned()).status()
    };
    // Each takes 240 KiB less what is free.
    let mut held = Vec::new();
    for _ in 0..BYTES_PER_ADDRESS / (224 * 1024) + 2 {
        held.push(server.sent(begun("192.0.2.1", 240 * 1024).as_bytes()).await);
    }
    // Those that found no room are answered, once the edge has read what came.
    let answers = join_all(held.into_iter().map(async |mut stream| {
        let mut answer = [0; 12];
        let read = tokio::time::timeout(Duration::from_secs(5), stream.read_exact(&mut answer)).await;
        (stream, read.is_ok().then_some(answer))
    }));
    let (refused, mut held): (Vec<_>, Vec<_>) = answers.await.into_iter().partition(|(_, answer)| answer.is_some());
    assert!((1..=2).contains(&refused.len()), "{}", refused.len());
    assert!(refused.iter().all(|(_, answer)| answer.is_some_and(|answer| answer.ends_with(b"429"))));
    let small = server.sent(begun("192.0.2.1", 4000).as_bytes()).await;
    assert_eq!(ended(small).await, 200, "a small one needs no room");
    let others = server.sent(begun("192.0.2.2", 240 * 1024).as_bytes()).await;
    assert_eq!(ended(others).await, 200, "another address has its own part");
    assert_eq!(ended(held.remove(0).0).await, 200, "one that was begun is read");
    drop(held);
    for _ in 0..100 {
        let again = server.sent(begun("192.0.2.1", 240 * 1024).as_bytes()).await;
        if ended(again).await == 200 {
            return;
        }
    }
    panic!("the room was not given back");
}
