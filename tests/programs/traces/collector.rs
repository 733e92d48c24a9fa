//! A collector of traces: takes what programs export over OTLP, decoded by the protocol's own
//! crate.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::extract::State;
use axum::routing::post;
use bytes::Bytes;
use http::{HeaderMap, StatusCode};
use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use opentelemetry_proto::tonic::common::v1::{KeyValue, any_value};
use opentelemetry_proto::tonic::trace::v1::{Span, span};
use parking_lot::Mutex;
use prost::Message;
use tokio::net::TcpListener;

use crate::support::eventually;

/// A span as it came.
#[derive(Clone, Debug)]
pub struct Taken {
    pub service: String,
    pub name: String,
    pub kind: span::SpanKind,
    pub trace: String,
    pub id: String,
    pub parent: String,
    pub from: u64,
    pub to: u64,
    pub attributes: BTreeMap<String, String>,
    pub moments: Vec<String>,
}

#[derive(Default)]
struct Received {
    spans: Mutex<Vec<Taken>>,
    headers: Mutex<Vec<HeaderMap>>,
}

/// See the module.
pub struct Collector {
    received: Arc<Received>,
    url: String,
}

impl Collector {
    pub async fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let received = Arc::new(Received::default());
        let router = Router::new().route("/v1/traces", post(take)).with_state(Arc::clone(&received));
        tokio::spawn(async move { axum::serve(listener, router).await.unwrap() });
        Self { received, url }
    }

    /// The value of `OTEL_EXPORTER_OTLP_ENDPOINT`.
    pub fn url(&self) -> &str {
        &self.url
    }

    pub fn spans(&self) -> Vec<Taken> {
        self.received.spans.lock().clone()
    }

    pub fn headers(&self) -> Vec<HeaderMap> {
        self.received.headers.lock().clone()
    }

    /// The spans of a trace in the order of their beginnings, once there are as many as wanted.
    pub async fn trace(&self, id: &str, spans: usize) -> Vec<Taken> {
        eventually(&format!("{spans} spans of {id}"), Duration::from_secs(20), || async {
            let mut of: Vec<Taken> = self.spans().into_iter().filter(|span| span.trace == id).collect();
            of.sort_by_key(|span| span.from);
            (of.len() >= spans).then_some(of)
        })
        .await
    }
}

async fn take(State(received): State<Arc<Received>>, headers: HeaderMap, body: Bytes) -> StatusCode {
    let Ok(request) = ExportTraceServiceRequest::decode(body) else { return StatusCode::BAD_REQUEST };
    received.headers.lock().push(headers);
    for group in request.resource_spans {
        let resource = attributes(&group.resource.unwrap_or_default().attributes);
        let service = resource.get("service.name").cloned().unwrap_or_default();
        let spans = group.scope_spans.into_iter().flat_map(|scope| scope.spans);
        received.spans.lock().extend(spans.map(|span| taken(&service, span)));
    }
    StatusCode::OK
}

fn taken(service: &str, span: Span) -> Taken {
    Taken {
        service: service.to_owned(),
        kind: span.kind(),
        trace: hexadecimal(&span.trace_id),
        id: hexadecimal(&span.span_id),
        parent: hexadecimal(&span.parent_span_id),
        from: span.start_time_unix_nano,
        to: span.end_time_unix_nano,
        attributes: attributes(&span.attributes),
        moments: span.events.iter().map(|event| event.name.clone()).collect(),
        name: span.name,
    }
}

fn hexadecimal(bytes: &[u8]) -> String {
    let digit = |half: u8| char::from_digit(u32::from(half), 16).unwrap();
    bytes.iter().flat_map(|byte| [digit(byte >> 4), digit(byte & 15)]).collect()
}

fn attributes(all: &[KeyValue]) -> BTreeMap<String, String> {
    let text = |value: &KeyValue| match value.value.clone().and_then(|value| value.value) {
        Some(any_value::Value::StringValue(text)) => text,
        Some(any_value::Value::IntValue(number)) => number.to_string(),
        Some(any_value::Value::BoolValue(yes)) => yes.to_string(),
        other => format!("{other:?}"),
    };
    all.iter().map(|one| (one.key.clone(), text(one))).collect()
}
