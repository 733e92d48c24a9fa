//! Events of a later release: this one passes on what it cannot read, and counts its number
//! (guarantees G2, G10).

use std::time::{Duration, Instant};

use messenger_common::bus::Topic;
use messenger_common::event::{Effect, Envelope, EventKind};
use messenger_common::id::{ChatId, Seq};
use messenger_common::redis::Namespace;
use sqlx::{Connection, PgConnection};

use super::subscribe::numbered;
use crate::programs::metrics::total;
use crate::support::deployment::Builder;
use crate::support::{Deployment, Value, Ws, json};

both_forms_alone!(
    a_replay_has_a_stand_in_for_an_event_of_a_later_release,
    a_live_subscription_goes_on_past_an_event_of_a_later_release,
    what_a_later_release_did_not_live_to_publish_moves_the_chat_on,
);

/// Commits an entry of that kind under the chat's next number, as a later release does it. Nobody
/// is told.
async fn later_event(d: &Deployment, chat_id: i64, kind: u8) {
    let statements = format!(
        "update chats set seq = seq + 1 where id = {chat_id};
         insert into events (chat_id, seq, kind, created_at)
             select id, seq, {kind}, active_at from chats where id = {chat_id}"
    );
    d.execute(&statements).await;
}

fn stand_in(chat_id: i64, seq: i64) -> Value {
    json!({"type": "unknown", "chat_id": chat_id, "seq": seq})
}

/// Every gateway's other connections go on as if nothing was, and the log is not read without an
/// end.
async fn nothing_spins(d: &Deployment, others: &mut [Ws]) {
    for _ in 0..20 {
        for other in &mut *others {
            let asked = Instant::now();
            other.round_trip().await;
            assert!(asked.elapsed() < Duration::from_millis(800), "{:?}", asked.elapsed());
        }
    }
    let reads = total(d.gateways(), "messenger_gap_fills_total", &[]).await;
    assert!(reads < 300.0, "{reads} reads of the log");
}

async fn a_replay_has_a_stand_in_for_an_event_of_a_later_release(builder: Builder) {
    let d = builder.start().await;
    let (ann, bob) = (d.user().await, d.user().await);
    let mut others = [bob.connect_to(0).await, bob.connect_to(1).await];
    let chat_id = ann.group_id(&[]).await;
    let head = ann.say(chat_id, "first").await["seq"].as_i64().unwrap();
    later_event(&d, chat_id, 99).await;
    ann.say(chat_id, "between").await;
    later_event(&d, chat_id, 255).await;
    let mut sockets = Vec::new();
    // Before both, between them, and before the one at the end; several at once, on each gateway.
    for n in 0..12 {
        let missed = [4, 2, 1][n % 3];
        let mut ws = ann.connect_to(n / 3).await;
        let subscribed = ws.subscribe_after(chat_id, head + 3 - missed).await;
        assert_eq!((&subscribed["seq"], &subscribed["recovered"]), (&json!(head + 3), &json!(missed)));
        let events = numbered(&mut ws, chat_id, head + 4 - missed, missed).await;
        assert_eq!(events.last(), Some(&stand_in(chat_id, head + 3)));
        if missed == 4 {
            assert_eq!(events[1], stand_in(chat_id, head + 1));
        }
        sockets.push(ws);
    }
    nothing_spins(&d, &mut others).await;
    ann.say(chat_id, "live").await;
    for ws in &mut sockets {
        let live = numbered(ws, chat_id, head + 4, 1).await;
        assert_eq!(live[0]["message"]["text"], "live");
        ws.none_of(&["new_message", "unknown", "resync"]).await;
    }
    let counted = total(d.gateways(), "messenger_ws_deliveries_total", &["type=\"unknown\""]).await;
    assert!((counted - 16.0).abs() < 0.5, "{counted}");
}

async fn a_live_subscription_goes_on_past_an_event_of_a_later_release(builder: Builder) {
    let d = builder.start().await;
    let (ann, bob) = (d.user().await, d.user().await);
    let mut others = [bob.connect_to(0).await, bob.connect_to(1).await];
    let chat_id = ann.group_id(&[]).await;
    let mut sockets = [ann.connect_to(0).await, ann.connect_to(1).await];
    let mut seq = 0;
    for ws in &mut sockets {
        seq = ws.subscribe(chat_id).await["seq"].as_i64().unwrap();
    }
    // Nobody published it: the next event shows the gap.
    for kind in [99, 255] {
        later_event(&d, chat_id, kind).await;
        ann.say(chat_id, "after it").await;
        for ws in &mut sockets {
            let events = numbered(ws, chat_id, seq + 1, 2).await;
            assert_eq!(events[0], stand_in(chat_id, seq + 1));
            assert_eq!(events[1]["message"]["text"], "after it");
        }
        seq += 2;
    }
    if d.is_cluster() {
        // The later release publishes it: its own frame is passed on.
        for kind in [99, 255] {
            later_event(&d, chat_id, kind).await;
            seq += 1;
            let frame = json!({
                "type": "reaction_added", "chat_id": chat_id, "seq": seq, "message_id": 1, "user_id": 1, "emoji": "👍",
                "count": 1,
            });
            publish(&d, chat_id, seq, kind, &frame).await;
            for ws in &mut sockets {
                assert_eq!(numbered(ws, chat_id, seq, 1).await, [frame.clone()]);
            }
        }
    }
    ann.say(chat_id, "last").await;
    for ws in &mut sockets {
        assert_eq!(numbered(ws, chat_id, seq + 1, 1).await[0]["message"]["text"], "last");
        ws.none_of(&["new_message", "unknown", "resync"]).await;
    }
    nothing_spins(&d, &mut others).await;
}

async fn publish(d: &Deployment, chat_id: i64, seq: i64, kind: u8, frame: &Value) {
    let envelope = Envelope::Log {
        chat_id: ChatId(chat_id),
        seq: Seq(seq),
        kind: EventKind::from_byte(kind),
        effect: Effect::None,
        committed_at_micros: 0,
        json: frame.to_string().into(),
    };
    let mut link = PgConnection::connect(d.database_url()).await.unwrap();
    let id: String = sqlx::query_scalar("select id from deployment").fetch_one(&mut link).await.unwrap();
    let topic = Namespace::new(&id).name(Topic::Chat(ChatId(chat_id)));
    let mut command = redis::cmd("PUBLISH");
    command.arg(topic).arg(&envelope.encode()[..]);
    let heard: i64 = command.query_async(&mut d.redis().connect().await.unwrap()).await.unwrap();
    assert_eq!(heard, 2, "both gateways are subscribed");
}

async fn what_a_later_release_did_not_live_to_publish_moves_the_chat_on(builder: Builder) {
    let d = builder.start().await;
    let ann = d.user().await;
    let chat_id = ann.group_id(&[]).await;
    let mut sockets = [ann.connect_to(0).await, ann.connect_to(1).await];
    let mut seq = 0;
    for ws in &mut sockets {
        seq = ws.subscribe(chat_id).await["seq"].as_i64().unwrap();
    }
    for kind in [99, 255] {
        seq += 1;
        let payload = format!(r#"{{"events":[[{chat_id},{seq},{seq}]],"notices":[]}}"#);
        d.execute(&format!(
            "update chats set seq = {seq} where id = {chat_id};
             insert into events (chat_id, seq, kind, created_at)
                 select id, seq, {kind}, active_at from chats where id = {chat_id};
             insert into outbox (created_at, size, payload)
                 select active_at, 1, '{payload}' from chats where id = {chat_id}"
        ))
        .await;
        let committed = Instant::now();
        for ws in &mut sockets {
            assert_eq!(numbered(ws, chat_id, seq, 1).await, [stand_in(chat_id, seq)]);
        }
        let took = committed.elapsed();
        assert!(took < Duration::from_secs(2), "{took:?}");
    }
}
