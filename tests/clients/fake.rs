//! A server whose every answer the test decides: its WebSocket, and its REST calls.

use futures_util::{SinkExt, StreamExt};
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::protocol::CloseFrame;

use crate::support::within;

/// Takes one connection at a time.
pub(super) struct Fake {
    listener: TcpListener,
}

pub(super) struct Link {
    stream: WebSocketStream<TcpStream>,
}

impl Fake {
    pub(super) async fn start() -> Self {
        Self { listener: TcpListener::bind("127.0.0.1:0").await.unwrap() }
    }

    pub(super) fn url(&self) -> String {
        format!("http://{}", self.listener.local_addr().unwrap())
    }

    /// The next connection, not welcomed yet.
    pub(super) async fn next(&self) -> Link {
        let (stream, _) = within("a connection", self.listener.accept()).await.unwrap();
        Link { stream: tokio_tungstenite::accept_async(stream).await.unwrap() }
    }

    /// The next connection, which has to be this call (`get /auth/me`).
    pub(super) async fn call(&self, request: &str) -> Call {
        let (stream, _) = within(request, self.listener.accept()).await.unwrap();
        let call = Call::read(stream).await;
        assert!(call.head.starts_with(&format!("{request} http/1.1")), "{request}: {}", call.head);
        call
    }
}

impl Link {
    pub(super) async fn say(&mut self, frame: Value) {
        self.stream.send(Message::text(frame.to_string())).await.unwrap();
    }

    pub(super) async fn welcome(&mut self) {
        self.say(json!({"type": "welcome", "user_id": 1, "connection_id": "c", "heartbeat_seconds": 25})).await;
    }

    /// The next command of this type, its `request_id` apart.
    pub(super) async fn command(&mut self, kind: &str) -> (Value, Value) {
        loop {
            let Message::Text(text) = within(kind, self.stream.next()).await.unwrap().unwrap() else { continue };
            let mut command: Value = serde_json::from_str(&text).unwrap();
            if command["type"] != "ping" {
                assert_eq!(command["type"], kind, "{command}");
                let id = command["request_id"].take();
                return (command, id);
            }
        }
    }

    /// The chats of the next subscriptions, by one command or several, until they are so many.
    pub(super) async fn subscriptions(&mut self, count: usize) -> Vec<(i64, Option<i64>)> {
        let mut chats = Vec::new();
        while chats.len() < count {
            let Message::Text(text) = within("subscriptions", self.stream.next()).await.unwrap().unwrap() else {
                continue;
            };
            let command: Value = serde_json::from_str(&text).unwrap();
            let asked = match command["type"].as_str().unwrap() {
                "ping" => continue,
                "subscribe_chats" => command["chats"].as_array().unwrap().clone(),
                "subscribe_chat" => vec![command.clone()],
                _ => panic!("{command}"),
            };
            chats.extend(asked.iter().map(|chat| (chat["chat_id"].as_i64().unwrap(), chat["after_seq"].as_i64())));
        }
        chats.sort_unstable();
        chats
    }

    pub(super) async fn close(&mut self, code: u16) {
        self.stream.close(Some(CloseFrame { code: code.into(), reason: "".into() })).await.unwrap();
    }
}

/// A REST call that waits for its answer.
pub(super) struct Call {
    stream: TcpStream,
    /// its lines, in lower case, without the body
    pub(super) head: String,
}

impl Call {
    async fn read(mut stream: TcpStream) -> Self {
        let (mut read, mut piece) = (String::new(), [0; 4096]);
        loop {
            if let Some((head, body)) = read.split_once("\r\n\r\n") {
                let length = head.split("content-length: ").nth(1).and_then(|rest| rest.lines().next());
                if body.len() >= length.map_or(0, |length| length.parse().unwrap()) {
                    return Self { stream, head: head.to_owned() };
                }
            }
            let length = within("a call", stream.read(&mut piece)).await.unwrap();
            assert!(length > 0, "the call ended: {read}");
            read.push_str(&String::from_utf8_lossy(&piece[..length]).to_lowercase());
        }
    }

    pub(super) async fn answer(mut self, status: u16, body: Value) {
        let body = body.to_string();
        let head = format!("HTTP/1.1 {status} So\r\nconnection: close\r\ncontent-length: {}\r\n\r\n", body.len());
        self.stream.write_all((head + &body).as_bytes()).await.unwrap();
    }
}
