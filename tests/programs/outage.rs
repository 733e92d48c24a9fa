//! The log while a back end is away: a line a cause, however many requests and commands fail.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use futures_util::future::join_all;

use crate::support::{Deployment, Postgres, eventually, json, limited};

/// Lines of one program in an outage: each names a cause, or what the program does about it.
const LINES: usize = 12;
const LASTS: Duration = Duration::from_secs(6);

/// The lines without their time, with what differs between them taken out: how often each came.
fn kinds(lines: &[String]) -> BTreeMap<String, usize> {
    let mut kinds = BTreeMap::new();
    for line in lines {
        let kind: String = line.chars().filter(|c| !c.is_ascii_digit()).take(160).collect();
        *kinds.entry(kind).or_default() += 1;
    }
    kinds
}

#[tokio::test]
async fn an_outage_of_postgres_is_a_few_lines_however_many_requests_fail() {
    limited(async {
        let postgres = Postgres::private().await;
        let d = Deployment::cluster(1, 1).postgres(&postgres).start().await;
        let ann = d.user().await;
        let mut chats = Vec::new();
        for _ in 0..5 {
            chats.push(ann.group_id(&[]).await);
        }
        let mut ws = ann.connect().await;
        for chat_id in &chats {
            ws.subscribe(*chat_id).await;
        }
        let marks: Vec<usize> = d.nodes().iter().map(|node| node.log().mark()).collect();
        postgres.stop().await;
        let (begun, mut failed) = (Instant::now(), 0);
        while begun.elapsed() < LASTS {
            let answers = join_all(chats.iter().map(async |chat_id| {
                let send = json!({"chat_id": chat_id, "text": "x"});
                let history = format!("/messages/chat/{chat_id}");
                let (sent, listed) = tokio::join!(ann.rest.post("/messages/send", send), ann.rest.get(&history));
                usize::from(sent.status == 503) + usize::from(listed.status == 503)
            }));
            failed += answers.await.into_iter().sum::<usize>();
            let answer = ws.command(json!({"type": "send_message", "chat_id": chats[0], "text": "x"})).await;
            failed += usize::from(answer["code"] == "unavailable");
        }
        postgres.start().await;
        eventually("everything works again", Duration::from_secs(30), || async {
            let sent = ann.rest.post("/messages/send", json!({"chat_id": chats[0], "text": "back"})).await;
            (sent.status == 201).then_some(())
        })
        .await;
        assert!(failed > 100, "only {failed} requests met the outage");
        for (node, mark) in d.nodes().iter().zip(marks) {
            let lines = node.log().since(mark);
            println!("{}: {} lines for {failed} failed requests and commands", node.name(), lines.len());
            assert!((1..=LINES).contains(&lines.len()), "{}: {:#?}", node.name(), kinds(&lines));
        }
    })
    .await;
}
