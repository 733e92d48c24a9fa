//! A WebSocket client that reads on demand and says what it saw last when something does not come.

use std::collections::VecDeque;
use std::time::Duration;

use futures_util::{SinkExt, StreamExt};
use serde_json::{Value, json};
use tokio::net::TcpStream;
use tokio::time::Instant;
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::client::IntoClientRequest;
use tokio_tungstenite::tungstenite::handshake::client::{Request, Response};
use tokio_tungstenite::tungstenite::protocol::frame::Frame;
use tokio_tungstenite::tungstenite::protocol::frame::coding::{Data, OpCode};
use tokio_tungstenite::tungstenite::{Error, Message};

use super::{SOON, documents};

/// How the token is handed over.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Way {
    /// `/ws/chat/{token}`
    Path,
    /// `Authorization: Bearer`
    Header,
    /// the subprotocols `bearer, <token>`
    Subprotocol,
}

/// One connection. Nothing is read but while a test waits for something, so pings are answered
/// only then.
pub struct Ws {
    stream: WebSocketStream<TcpStream>,
    /// read, but not yet asked for
    pending: VecDeque<Value>,
    /// the last frames read, for the text of a failure
    seen: VecDeque<String>,
    /// pings of the server so far
    pub pings: usize,
    /// what the server's pongs bore
    pongs: Vec<Vec<u8>>,
    /// set once the close has come: the code (1006 where the link just ended) and the reason
    pub closed: Option<(u16, String)>,
    next_request: u32,
    /// of the handshake's answer
    pub handshake: Response,
}

/// A request for `way`, to which a test may add headers.
pub fn request(base: &str, way: Way, token: &str) -> Request {
    let path = match way {
        Way::Path => format!("{base}/ws/chat/{token}"),
        Way::Header | Way::Subprotocol => format!("{base}/ws/chat"),
    };
    let mut request = path.into_client_request().unwrap();
    let headers = request.headers_mut();
    match way {
        Way::Path => {}
        Way::Header => {
            let value = format!("Bearer {token}").parse().unwrap();
            headers.insert("authorization", value);
        }
        Way::Subprotocol => {
            let value = format!("bearer, {token}").parse().unwrap();
            headers.insert("sec-websocket-protocol", value);
        }
    }
    request
}

impl Ws {
    /// Connects to the gateway at `base` (`ws://…`); the handshake must succeed.
    pub async fn open(base: &str, way: Way, token: &str) -> Self {
        match Self::handshake(request(base, way, token)).await {
            Ok(ws) => ws,
            Err(error) => panic!("{base} refused the handshake: {error:?}"),
        }
    }

    /// Does the handshake of any request.
    pub async fn handshake(request: Request) -> Result<Self, Box<Error>> {
        let authority = request.uri().authority().unwrap().as_str().to_owned();
        let open = async {
            let stream = TcpStream::connect(authority).await.map_err(Error::Io)?;
            stream.set_nodelay(true).map_err(Error::Io)?;
            tokio_tungstenite::client_async(request, stream).await
        };
        let Ok(opened) = tokio::time::timeout(SOON, open).await else {
            panic!("no answer to the handshake within {SOON:?}");
        };
        let (stream, handshake) = opened?;
        Ok(Self {
            stream,
            pending: VecDeque::new(),
            seen: VecDeque::new(),
            pings: 0,
            pongs: Vec::new(),
            closed: None,
            next_request: 0,
            handshake,
        })
    }

    /// Sends a message of any kind; a link that has ended already shows when something is read.
    pub async fn send_message(&mut self, message: Message) {
        let sent = tokio::time::timeout(SOON, self.stream.send(message)).await;
        assert!(sent.is_ok(), "the server took nothing for {SOON:?}; {}", self.story());
    }

    pub async fn send(&mut self, frame: Value) {
        self.send_text(&frame.to_string()).await;
    }

    pub async fn send_text(&mut self, text: &str) {
        self.send_message(Message::text(text)).await;
    }

    /// Sends these bytes as a text frame, whatever they are.
    pub async fn send_raw_text(&mut self, bytes: impl Into<Vec<u8>>) {
        let frame = Frame::message(bytes.into(), OpCode::Data(Data::Text), true);
        self.send_message(Message::Frame(frame)).await;
    }

    /// Closes from this side and waits until the server has answered the close.
    pub async fn close(mut self) {
        let bye = async {
            self.stream.close(None).await.ok();
            while let Some(Ok(_)) = self.stream.next().await {}
        };
        let answered = tokio::time::timeout(SOON, bye).await.is_ok();
        assert!(answered, "the server did not answer the close; {}", self.story());
    }

    /// The next frame from the wire, or `None` once closed or after `deadline`.
    async fn read(&mut self, deadline: Instant) -> Option<Value> {
        while self.closed.is_none() {
            let Ok(message) = tokio::time::timeout_at(deadline, self.stream.next()).await else {
                return None;
            };
            match message {
                Some(Ok(Message::Text(text))) => {
                    self.note(text.as_str().to_owned());
                    let Ok(frame) = serde_json::from_str::<Value>(&text) else {
                        panic!("a frame that is no JSON: {text}");
                    };
                    assert!(frame["type"].is_string(), "a frame without a type: {text}");
                    let fault = documents::served().await.and_then(|documents| documents.fault_of_frame(&frame));
                    assert!(fault.is_none(), "the server sent {text}, but the document: {}", fault.unwrap());
                    return Some(frame);
                }
                Some(Ok(Message::Ping(_))) => {
                    self.pings += 1;
                    // the answer is queued by the library and written by the next flush
                    self.stream.flush().await.ok();
                }
                Some(Ok(Message::Pong(payload))) => self.pongs.push(payload.to_vec()),
                Some(Ok(Message::Close(frame))) => {
                    let close = frame
                        .map_or((1005, String::new()), |frame| (frame.code.into(), frame.reason.as_str().to_owned()));
                    self.note(format!("<close {close:?}>"));
                    self.closed = Some(close);
                }
                Some(Ok(other)) => panic!("the server sent {other:?}"),
                Some(Err(error)) => {
                    self.note(format!("<{error:?}>"));
                    self.closed = Some((1006, error.to_string()));
                }
                None => self.closed = Some((1006, String::new())),
            }
        }
        None
    }

    fn note(&mut self, what: String) {
        self.seen.push_back(what);
        if self.seen.len() > 30 {
            self.seen.pop_front();
        }
    }

    fn story(&self) -> String {
        let frames: Vec<&str> = self.seen.iter().map(String::as_str).collect();
        format!("the last frames were:\n  {}", frames.join("\n  "))
    }

    /// The next frame, whatever it is, or `None` when none comes within `limit`.
    pub async fn next_within(&mut self, limit: Duration) -> Option<Value> {
        match self.pending.pop_front() {
            Some(frame) => Some(frame),
            None => self.read(Instant::now() + limit).await,
        }
    }

    /// The first frame that `wanted` accepts, what comes before it being kept for later.
    pub async fn expect_where(&mut self, what: &str, limit: Duration, wanted: impl Fn(&Value) -> bool) -> Value {
        if let Some(at) = self.pending.iter().position(&wanted) {
            return self.pending.remove(at).unwrap();
        }
        let deadline = Instant::now() + limit;
        loop {
            match self.read(deadline).await {
                Some(frame) if wanted(&frame) => return frame,
                Some(frame) => self.pending.push_back(frame),
                None => {
                    let closed = &self.closed;
                    panic!("no {what} within {limit:?} (closed: {closed:?}); {}", self.story());
                }
            }
        }
    }

    /// The next frame of this type, what comes before it being kept for later.
    pub async fn expect(&mut self, kind: &str) -> Value {
        self.expect_where(kind, SOON, |frame| frame["type"] == kind).await
    }

    /// The next frame of this type in this chat.
    pub async fn expect_in(&mut self, kind: &str, chat_id: i64) -> Value {
        let wanted = |frame: &Value| frame["type"] == kind && frame["chat_id"] == chat_id;
        self.expect_where(&format!("{kind} in chat {chat_id}"), SOON, wanted).await
    }

    /// The next frame, which must be the `welcome`.
    pub async fn expect_welcome(&mut self) -> Value {
        match self.next_within(SOON).await {
            Some(frame) if frame["type"] == "welcome" => frame,
            other => panic!("in place of a welcome: {other:?} (closed: {:?})", self.closed),
        }
    }

    /// Sends a command under a new `request_id` and gives the frame that answers it.
    pub async fn command(&mut self, mut command: Value) -> Value {
        self.next_request += 1;
        let request_id = format!("r{}", self.next_request);
        command["request_id"] = json!(request_id);
        let what = format!("answer to {command}");
        self.send(command.clone()).await;
        let answer = self.expect_where(&what, SOON, |frame| frame["request_id"] == request_id.as_str()).await;
        let fault = documents::served().await.and_then(|documents| documents.fault_of_reply(&command, &answer));
        assert!(fault.is_none(), "{command} was answered {answer}, but the document: {}", fault.unwrap());
        answer
    }

    /// Sends a command that must be answered by this error.
    pub async fn refused(&mut self, command: Value, code: &str) -> Value {
        let shown = command.to_string();
        let answer = self.command(command).await;
        assert_eq!(
            (answer["type"].as_str(), answer["code"].as_str()),
            (Some("error"), Some(code)),
            "{shown} was answered {answer}"
        );
        assert!(answer["detail"].is_string(), "{answer}");
        answer
    }

    /// Subscribes; the `subscribed` frame.
    pub async fn subscribe(&mut self, chat_id: i64) -> Value {
        let command = json!({"type": "subscribe_chat", "chat_id": chat_id});
        self.subscribed(command).await
    }

    /// Subscribes after a number; the `subscribed` frame.
    pub async fn subscribe_after(&mut self, chat_id: i64, after_seq: i64) -> Value {
        let command = json!({"type": "subscribe_chat", "chat_id": chat_id, "after_seq": after_seq});
        self.subscribed(command).await
    }

    async fn subscribed(&mut self, command: Value) -> Value {
        let answer = self.command(command).await;
        assert_eq!(answer["type"], "subscribed", "{answer}");
        answer
    }

    /// Sends a `ping` and reads until its `pong`, all else being kept for later.
    pub async fn round_trip(&mut self) {
        let pong = self.command(json!({"type": "ping"})).await;
        assert_eq!(pong["type"], "pong", "{pong}");
    }

    /// Reads until a pong of the protocol itself has come that bears `payload`; the server answers
    /// in order, so that it is there before the answer of a command sent now.
    pub async fn expect_pong(&mut self, payload: &[u8]) {
        self.round_trip().await;
        let pongs = &self.pongs;
        assert!(pongs.iter().any(|pong| pong == payload), "only {pongs:?}; {}", self.story());
    }

    /// Asserts that no frame of these types came, up to the answer of a `ping` sent now. What
    /// another node or client causes must be known to have passed before, by another frame that
    /// came after it.
    pub async fn none_of(&mut self, kinds: &[&str]) {
        self.round_trip().await;
        let forbidden = |frame: &&Value| kinds.iter().any(|kind| frame["type"] == *kind);
        if let Some(frame) = self.pending.iter().find(forbidden) {
            panic!("there should be none of {kinds:?}: {frame}; {}", self.story());
        }
    }

    /// The frames read and not asked for so far, taken away.
    pub fn drain(&mut self) -> Vec<Value> {
        self.pending.drain(..).collect()
    }

    /// Reads until the connection is closed, which must be within `limit`; the code and the reason.
    pub async fn expect_close(&mut self, limit: Duration) -> (u16, String) {
        let deadline = Instant::now() + limit;
        while let Some(frame) = self.read(deadline).await {
            self.pending.push_back(frame);
        }
        match &self.closed {
            Some(close) => close.clone(),
            None => panic!("no close within {limit:?}; {}", self.story()),
        }
    }
}
