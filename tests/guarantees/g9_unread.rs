//! G9: what many connections do not read takes a bounded part of a gateway's memory.

use std::time::Duration;

use futures_util::future::join_all;

use super::g7_slow_readers::{Link, Reader};
use super::watch::assert_consecutive;
use crate::programs::metrics::total;
use crate::support::{Deployment, eventually, limited};

const READERS: usize = 300;
/// Each may have 1 MiB (`MAX_SEND_QUEUE_BYTES`): 300 MiB of them all.
const MESSAGES: usize = 330;
const CHARS: usize = 4000;
/// What is queued on a gateway at most, and for one connection whatever the others hold.
const TOGETHER: usize = 128 << 20;
const EACH: usize = 64 << 10;

const FILLED: Duration = Duration::from_secs(60);

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn connections_that_read_nothing_share_what_may_be_queued() {
    limited(async {
        let d = Deployment::cluster(1, 1)
            .env("MAX_CONNECTIONS_PER_USER", READERS)
            .env("GATEWAY_SHARDS", 2)
            // No ping comes to what is queued.
            .env("HEARTBEAT_SECONDS", 600)
            .env("IDLE_TIMEOUT_SECONDS", 1200)
            .start()
            .await;
        let (author, stalling) = (d.user().await, d.user().await);
        let chat_id = author.group_id(&[&stalling]).await;
        let first = author.say(chat_id, "first").await["seq"].as_i64().unwrap();
        let text = "x".repeat(CHARS);
        let mut head = first;
        for _ in 0..MESSAGES {
            head = author.say(chat_id, &text).await["seq"].as_i64().unwrap();
        }
        let mut stalled = Vec::new();
        for _ in 0..READERS / 50 {
            let some = (0..50).map(|_| Reader::open_after(&d, &stalling, chat_id, Link::Narrow, Some(first)));
            stalled.extend(join_all(some).await);
        }
        let queued = async || total(d.gateways(), "messenger_ws_queued_bytes", &[]).await;
        let mut before = 0.0;
        let filled = eventually("nothing more is queued", FILLED, async || {
            let now = queued().await;
            let same = now > 0.0 && (now - before).abs() < 1.0;
            before = now;
            tokio::time::sleep(Duration::from_secs(1)).await;
            same.then_some(now)
        })
        .await;
        println!("G9 {READERS} connections that read nothing: {:.0} MiB are queued for them", filled / 1024.0 / 1024.0);
        let most = TOGETHER + READERS * (EACH + 4 * CHARS);
        assert!(filled > (TOGETHER / 2) as f64 && filled < most as f64, "{filled} bytes are queued, {most} at most");
        // The first has a whole queue, the last what was left for it.
        let mut reading = [stalled.remove(0), stalled.remove(READERS / 2), stalled.pop().unwrap()];
        for seqs in join_all(reading.iter_mut().map(|reader| reader.read_up_to(head))).await {
            assert_eq!(seqs[0], first + 1, "from where it began");
            assert_consecutive(&seqs, "a reader that stalled");
        }
    })
    .await;
}
