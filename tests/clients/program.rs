//! A client as a process of its own, driven by commands over its standard streams.

use std::path::Path;
use std::process::{ExitStatus, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use parking_lot::Mutex;
use serde_json::{Value, json};
use tokio::io::{AsyncBufReadExt, AsyncRead, AsyncWriteExt, BufReader};
use tokio::process::{Child, ChildStdin, Command};

use super::Language;
use crate::support::{SOON, User, blocking, eventually, process};

/// Killed when dropped.
pub(super) struct Client {
    child: Child,
    stdin: ChildStdin,
    said: Arc<Mutex<Vec<Value>>>,
    next: AtomicU64,
}

impl Client {
    /// The conformance program, with a client of `url` that keeps its cursors in `store`.
    pub(super) async fn open(language: Language, url: &str, store: Option<&Path>) -> Self {
        let mut client = Self::start(language).await;
        let store = store.map(|path| path.display().to_string());
        client
            .ok(json!({
                "do": "open", "url": url, "store": store,
                "heartbeat_seconds": 1, "longest_backoff_seconds": 1,
            }))
            .await;
        client
    }

    /// The same, logged in and listening.
    pub(super) async fn of(language: Language, url: &str, user: &User, store: Option<&Path>) -> Self {
        let mut client = Self::open(language, url, store).await;
        client.ok(json!({"do": "login", "username": user.username, "password": user.password})).await;
        client.ok(json!({"do": "listen"})).await;
        client
    }

    /// The conformance program alone.
    pub(super) async fn start(language: Language) -> Self {
        let command = blocking(move || language.command()).await.unwrap();
        let mut bound = process::bound_command(command.get_program(), "KILL");
        bound.envs(command.get_envs().filter_map(|(name, value)| Some((name, value?))));
        bound
            .args(command.get_args())
            .arg(Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/clients").join(language.conformance()));
        let mut child = Command::from(bound)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .unwrap();
        let said = Arc::new(Mutex::new(Vec::new()));
        tokio::spawn(follow(child.stdout.take().unwrap(), Arc::clone(&said)));
        tokio::spawn(follow(child.stderr.take().unwrap(), Arc::clone(&said)));
        Self { stdin: child.stdin.take().unwrap(), child, said, next: AtomicU64::new(1) }
    }

    /// Gives a command without waiting for its answer; the number to ask [`Self::answer`] with.
    pub(super) async fn begin(&mut self, mut command: Value) -> u64 {
        let id = self.next.fetch_add(1, Ordering::Relaxed);
        command["id"] = json!(id);
        self.stdin.write_all(format!("{command}\n").as_bytes()).await.unwrap();
        id
    }

    pub(super) async fn answer(&self, id: u64, limit: Duration) -> Value {
        eventually(&format!("answer {id}"), limit, async || self.find(|line| line["id"] == id)).await
    }

    /// The outcome of the command.
    pub(super) async fn call(&mut self, command: Value) -> Value {
        let id = self.begin(command).await;
        self.answer(id, SOON).await
    }

    /// The value of the command, which must succeed.
    pub(super) async fn ok(&mut self, command: Value) -> Value {
        let answer = self.call(command.clone()).await;
        assert!(answer.get("ok").is_some(), "{command}: {answer}\n{}", self.tail());
        answer["ok"].clone()
    }

    pub(super) async fn subscribe(&mut self, chat_id: i64, after_seq: Option<i64>) {
        self.ok(json!({"do": "subscribe", "chat_id": chat_id, "after_seq": after_seq})).await;
    }

    pub(super) async fn send(&mut self, chat_id: i64, text: &str) -> u64 {
        self.begin(json!({"do": "send", "chat_id": chat_id, "text": text, "client_message_id": null})).await
    }

    fn find(&self, is_it: impl Fn(&Value) -> bool) -> Option<Value> {
        self.said.lock().iter().find(|line| is_it(line)).cloned()
    }

    /// The first line that is so.
    pub(super) async fn until(&self, what: &str, is_it: impl Fn(&Value) -> bool) -> Value {
        for _ in 0..SOON.as_secs() {
            let found =
                tokio::time::timeout(Duration::from_secs(1), eventually(what, SOON * 2, async || self.find(&is_it)));
            if let Ok(line) = found.await {
                return line;
            }
        }
        panic!("{what}: not within {SOON:?}\n{}", self.tail())
    }

    /// Waits for the `n`th time that the connection is open.
    pub(super) async fn until_open(&self, n: usize) {
        let is_open = |line: &&Value| line["state"] == "open";
        let opened = async || (self.said.lock().iter().filter(is_open).count() >= n).then_some(());
        eventually(&format!("open {n} times"), SOON, opened).await;
    }

    pub(super) async fn until_event(&self, what: &str, is_it: impl Fn(&Value) -> bool) -> Value {
        self.until(what, |line| line.get("event").is_some_and(&is_it)).await["event"].clone()
    }

    /// Waits for a message with this text.
    pub(super) async fn until_text(&self, text: &str) -> Value {
        self.until_event(text, |event| event["type"] == "new_message" && event["message"]["text"] == text).await
    }

    pub(super) fn has_event(&self, is_it: impl Fn(&Value) -> bool) -> bool {
        self.find(|line| line.get("event").is_some_and(&is_it)).is_some()
    }

    pub(super) fn states(&self, state: &str) -> Vec<Value> {
        self.said.lock().iter().filter(|line| line["state"] == state).cloned().collect()
    }

    /// The sequenced events of the chat so far, as `(seq, text)`.
    pub(super) fn sequence(&self, chat_id: i64) -> Vec<(i64, String)> {
        let said = self.said.lock();
        let events = said.iter().filter_map(|line| line.get("event"));
        let sequenced = events.filter(|event| {
            let kind = event["type"].as_str().unwrap_or_default();
            event["chat_id"] == chat_id && super::sequenced().contains(&kind)
        });
        let text = |event: &Value| event["message"]["text"].as_str().unwrap_or_default().to_owned();
        sequenced.map(|event| (event["seq"].as_i64().unwrap(), text(event))).collect()
    }

    /// Fails unless the chat's events have the numbers after `after`, each once and in order.
    pub(super) fn assert_whole(&self, chat_id: i64, after: i64) {
        let numbers: Vec<i64> = self.sequence(chat_id).into_iter().map(|(seq, _)| seq).collect();
        let whole: Vec<i64> = (after + 1..).take(numbers.len()).collect();
        assert_eq!(numbers, whole, "{}", self.tail());
    }

    /// Closes the client; its process has to end by itself.
    pub(super) async fn close(mut self) -> ExitStatus {
        self.ok(json!({"do": "close"})).await;
        self.ended().await
    }

    /// The end of the process of a closed client.
    pub(super) async fn ended(mut self) -> ExitStatus {
        let ended = tokio::time::timeout(Duration::from_secs(5), self.child.wait()).await;
        ended.unwrap_or_else(|_| panic!("something of a closed client goes on\n{}", self.tail())).unwrap()
    }

    /// Kills it at once.
    pub(super) async fn kill_9(mut self) {
        self.child.kill().await.unwrap();
    }

    fn tail(&self) -> String {
        let said = self.said.lock();
        let lines: Vec<_> = said[said.len().saturating_sub(40)..].iter().map(Value::to_string).collect();
        lines.join("\n")
    }
}

/// Keeps what is said; a line that is no JSON is a complaint.
async fn follow(stream: impl AsyncRead + Unpin, said: Arc<Mutex<Vec<Value>>>) {
    let mut lines = BufReader::new(stream).lines();
    while let Ok(Some(line)) = lines.next_line().await {
        let value = serde_json::from_str(&line).unwrap_or_else(|_| json!({"complaint": line}));
        said.lock().push(value);
    }
}
