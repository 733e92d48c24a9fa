//! A writer: sends on and on, each message until it is acknowledged, through one api and the other
//! in turn.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use reqwest::Method;
use tokio::sync::watch;
use tokio::time::MissedTickBehavior;

use crate::support::{Answer, Rest, json};

/// Between two messages of one writer.
const SEND_EVERY: Duration = Duration::from_millis(40);
/// Before an unanswered or refused message is sent again, through the other api.
const AGAIN: Duration = Duration::from_millis(25);
/// An answer that takes longer is given up, as a client with a time-out would.
const ANSWER_WITHIN: Duration = Duration::from_secs(4);
/// A message must be acknowledged within this, whatever is broken.
const GIVE_UP: Duration = Duration::from_secs(30);

/// A message that was acknowledged.
pub struct Acknowledged {
    pub chat_id: i64,
    pub client_message_id: String,
    pub text: String,
    /// `id` and `seq` of the Message that was answered
    pub id: i64,
    pub seq: i64,
    /// when the try began that was acknowledged, and when its answer came
    pub asked: Instant,
    pub at: Instant,
}

/// A try that was refused with a 5xx.
pub struct Refused {
    pub took: Duration,
    pub status: u16,
    pub code: String,
}

/// The outcome of all that one writer sent.
#[derive(Default)]
pub struct Written {
    pub acknowledged: Vec<Acknowledged>,
    pub refused: Vec<Refused>,
    /// tries that nobody answered
    pub unanswered: usize,
}

pub struct Writer {
    pub number: usize,
    pub apis: Vec<Rest>,
    pub chats: Vec<i64>,
}

impl Writer {
    /// Writes until told to stop, counting what is acknowledged.
    pub async fn write(self, stop: watch::Receiver<bool>, acknowledged: &AtomicUsize) -> Written {
        let mut written = Written::default();
        let mut ticks = tokio::time::interval(SEND_EVERY);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut turn = self.number;
        while !*stop.borrow() {
            ticks.tick().await;
            turn += 1;
            let chat_id = self.chats[turn % self.chats.len()];
            let message = self.send(chat_id, turn, &mut written).await;
            written.acknowledged.push(message);
            acknowledged.fetch_add(1, Ordering::Relaxed);
        }
        written
    }

    async fn send(&self, chat_id: i64, turn: usize, written: &mut Written) -> Acknowledged {
        let client_message_id = format!("writer-{}-{turn}", self.number);
        let text = format!("number {turn} of writer {}, into chat {chat_id}", self.number);
        let body = json!({"chat_id": chat_id, "text": text, "client_message_id": client_message_id});
        let begun = Instant::now();
        for api in turn.. {
            let asked = Instant::now();
            let request = self.apis[api % self.apis.len()].request(Method::POST, "/messages/send").json(&body);
            match Answer::try_of(request.timeout(ANSWER_WITHIN)).await {
                Ok(answer) if matches!(answer.status, 200 | 201) => {
                    let number = |field: &str| answer.json[field].as_i64().expect("a number");
                    let (id, seq) = (number("id"), number("seq"));
                    return Acknowledged { chat_id, client_message_id, text, id, seq, asked, at: Instant::now() };
                }
                Ok(answer) if answer.status >= 500 => written.refused.push(Refused {
                    took: asked.elapsed(),
                    status: answer.status,
                    code: answer.json["code"].as_str().unwrap_or_default().to_owned(),
                }),
                Ok(answer) => panic!("{} answered {}: {}", answer.request, answer.status, answer.body),
                Err(_) => written.unanswered += 1,
            }
            assert!(begun.elapsed() < GIVE_UP, "{client_message_id} was not acknowledged within {GIVE_UP:?}");
            tokio::time::sleep(AGAIN).await;
        }
        unreachable!("an api's turn always comes")
    }
}
