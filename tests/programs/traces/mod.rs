//! Traces: one from a request to the sockets of another gateway; what a caller's `traceparent`
//! decides; and a collector that is away, which nobody may notice.

mod collector;

use std::time::{Duration, Instant};

use opentelemetry_proto::tonic::trace::v1::span::SpanKind;
use reqwest::Method;
use tokio::io::AsyncReadExt;
use tokio::net::TcpListener;

use crate::programs::metrics::total;
use crate::support::ws::{Way, Ws, request};
use crate::support::{Answer, Deployment, SOON, User, eventually, json, limited};
use collector::{Collector, Taken};

/// A `traceparent` of that trace.
fn traceparent(trace: &str, sampled: bool) -> String {
    format!("00-{trace}-00f067aa0ba902b7-0{}", u8::from(sampled))
}

const TRACE: &str = "4bf92f3577b34da6a3ce929d0e0e4736";

/// Sends a message as a caller that names its trace.
async fn say(user: &User, chat: i64, trace: &str, sampled: bool) -> Answer {
    let body = json!({"chat_id": chat, "text": "traced"});
    let sending = user.rest.request(Method::POST, "/messages/send").json(&body);
    Answer::of(sending.header("traceparent", traceparent(trace, sampled))).await
}

fn print(trace: &[Taken]) {
    let start = trace.first().map_or(0, |span| span.from);
    for Taken { service, name, kind, id, parent, from, to, attributes, moments, .. } in trace {
        let (at, took) = ((from - start) / 1000, (to - from) / 1000);
        println!(
            "+{at:>6} µs {took:>6} µs  {service:<17} {kind:?} {name:<20} {id} under {parent} {attributes:?} {moments:?}"
        );
    }
}

/// The span of that name, and the only one.
fn only<'a>(trace: &'a [Taken], name: &str) -> &'a Taken {
    let mut found = trace.iter().filter(|span| span.name == name);
    let first = found.next().unwrap_or_else(|| panic!("no {name} in {trace:#?}"));
    assert!(found.next().is_none(), "{name} twice in {trace:#?}");
    first
}

#[tokio::test]
async fn one_trace_leads_from_a_request_to_the_sockets_of_another_gateway() {
    let collector = Collector::start().await;
    let builder = Deployment::cluster(1, 2)
        .env("OTEL_EXPORTER_OTLP_ENDPOINT", collector.url())
        .env("OTEL_EXPORTER_OTLP_HEADERS", "authorization=Bearer%20of-the-tests")
        // Only what callers ask for.
        .env("OTEL_TRACES_SAMPLER_ARG", "0");
    let d = builder.start().await;
    let (ann, bob) = (d.user().await, d.user().await);
    let chat = ann.group_id(&[&bob]).await;
    let (mut first, mut second) = (bob.connect_to(0).await, ann.connect_to(1).await);
    first.subscribe(chat).await;
    second.subscribe(chat).await;

    let sent = say(&ann, chat, TRACE, true).await;
    let request = sent.header("x-request-id").unwrap().to_owned();
    let message = sent.ok(201);
    first.expect("new_message").await;
    second.expect("new_message").await;

    let trace = collector.trace(TRACE, 5).await;
    print(&trace);
    let served = only(&trace, "POST /messages/send");
    assert_eq!((served.kind, served.service.as_str()), (SpanKind::Server, "messenger-api"));
    assert_eq!(
        (served.parent.as_str(), served.attributes["http.response.status_code"].as_str()),
        ("00f067aa0ba902b7", "201")
    );
    assert_eq!(served.attributes["messenger.request.id"], request);
    let commit = only(&trace, "commit");
    assert_eq!((&commit.parent, &commit.moments[..]), (&served.id, &["transaction begins".to_owned()][..]));
    let publish = only(&trace, "publish");
    assert_eq!((publish.kind, &publish.parent), (SpanKind::Producer, &commit.id));
    let delivered: Vec<&Taken> = trace.iter().filter(|span| span.name == "deliver").collect();
    assert_eq!(delivered.len(), 2, "one a gateway");
    for span in delivered {
        assert_eq!((span.kind, span.service.as_str()), (SpanKind::Consumer, "messenger-gateway"));
        assert_eq!((&span.parent, span.attributes["messenger.connections"].as_str()), (&publish.id, "1"));
    }
    for span in trace.iter().filter(|span| span.id != served.id) {
        assert_eq!(span.attributes["messenger.chat.id"], chat.to_string());
        assert_eq!(span.attributes["messenger.seq"], message["seq"].to_string());
    }
    let line = d.api(0).log().since(0).into_iter().find(|line| line.contains(&request));
    assert!(line.is_none_or(|line| line.contains(TRACE)), "a line of the request names its trace");
    let headers = collector.headers();
    assert!(headers.iter().all(|headers| headers["authorization"] == "Bearer of-the-tests"));

    // A caller that is not traced makes no span, nor does one that names no trace.
    let quiet = "0af7651916cd43dd8448eb211c80319c";
    say(&ann, chat, quiet, false).await.ok(201);
    ann.say(chat, "no traceparent").await;
    let last = "11111111111111111111111111111111";
    say(&ann, chat, last, true).await.ok(201);
    collector.trace(last, 5).await;
    assert!(collector.spans().iter().all(|span| [TRACE, last].contains(&span.trace.as_str())));
    for node in d.nodes() {
        assert!(!node.log().since(0).join("\n").contains("of-the-tests"), "{} logged the key", node.name());
    }
}

#[tokio::test]
async fn the_trace_of_a_handshake_has_the_commands_of_its_connection() {
    let collector = Collector::start().await;
    let builder = Deployment::cluster(1, 2)
        .env("OTEL_EXPORTER_OTLP_ENDPOINT", collector.url())
        .env("OTEL_TRACES_SAMPLER_ARG", "0");
    let d = builder.start().await;
    let (ann, bob) = (d.user().await, d.user().await);
    let mut reader = bob.connect_to(1).await;
    let mut handshake = request(&d.gateway(0).ws_url(), Way::Path, &ann.access);
    handshake.headers_mut().insert("traceparent", traceparent(TRACE, true).parse().unwrap());
    let mut writer = Ws::handshake(handshake).await.unwrap();
    writer.expect_welcome().await;
    let command = json!({"type": "private_message", "recipient_id": bob.id, "text": "hello", "request_id": "r-7"});
    let sent = writer.command(command).await;
    let message = reader.expect("new_message").await;
    assert_eq!(message["message"]["id"], sent["message"]["id"]);

    // The handshake, the command, its two commits' publications, and the notices of both.
    let trace = collector.trace(TRACE, 6).await;
    print(&trace);
    let handshake = trace.iter().find(|span| span.name.starts_with("GET /ws/chat/")).expect("the handshake");
    assert_eq!(handshake.parent, "00f067aa0ba902b7");
    let command = only(&trace, "private_message");
    assert_eq!((&command.parent, command.kind), (&handshake.id, SpanKind::Server));
    assert_eq!(only(&trace, "commit").parent, command.id);
    let notice = trace.iter().filter(|span| span.name == "deliver" && span.attributes["messenger.notice"] == "true");
    assert!(notice.count() >= 1, "{trace:#?}");
    assert!(trace.iter().all(|span| span.attributes.values().all(|value| !value.contains(&ann.access))));
}

/// A collector that takes connections and never answers.
async fn mute() -> String {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    tokio::spawn(async move {
        let mut kept = Vec::new();
        while let Ok((mut socket, _)) = listener.accept().await {
            kept.push(tokio::spawn(async move { while socket.read_u8().await.is_ok() {} }));
        }
    });
    url
}

async fn a_collector_away_is_noticed_by_nobody(url: String, why: &str) {
    let builder =
        Deployment::cluster(1, 1).env("OTEL_EXPORTER_OTLP_ENDPOINT", url).env("OTEL_TRACES_SAMPLER", "always_on");
    let d = builder.start().await;
    let (ann, bob) = (d.user().await, d.user().await);
    let chat = ann.group_id(&[&bob]).await;
    let mut reader = bob.connect().await;
    reader.subscribe(chat).await;
    let begun = Instant::now();
    for number in 0..200 {
        ann.say(chat, &format!("message {number}")).await;
        reader.expect("new_message").await;
    }
    assert!(begun.elapsed() < Duration::from_secs(60), "200 messages took {:?}", begun.elapsed());
    let api = d.api(0).clone();
    eventually("spans that failed", Duration::from_secs(30), || async {
        let failed = total(std::slice::from_ref(&api), "messenger_trace_spans_total", &["result=\"failed\""]).await;
        (failed > 0.0).then_some(())
    })
    .await;
    let lines = || -> Vec<String> {
        api.log().since(0).into_iter().filter(|line| line.contains("collector of traces")).collect()
    };
    let said = eventually("the log's word", SOON, async || Some(lines()).filter(|said| !said.is_empty())).await;
    assert_eq!(said.len(), 1, "{said:#?}");
    assert!(said[0].contains(why), "{}", said[0]);
    // Spans that wait for it hold up the end of no program.
    let stopping = Instant::now();
    api.sigterm();
    assert!(api.wait_exit(Duration::from_secs(20)).await.success());
    assert!(stopping.elapsed() < Duration::from_secs(10), "the end took {:?}", stopping.elapsed());
}

#[tokio::test]
async fn a_collector_that_is_away_holds_up_nothing() {
    let url = "http://127.0.0.1:9".to_owned();
    limited(a_collector_away_is_noticed_by_nobody(url, "onnection refused")).await;
}

#[tokio::test]
async fn a_collector_that_does_not_answer_holds_up_nothing() {
    limited(a_collector_away_is_noticed_by_nobody(mute().await, "elapsed")).await;
}
