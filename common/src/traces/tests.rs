use super::*;
use crate::config::{Config, Program};
use crate::metrics::SpanResult;
use std::net::TcpListener;
use std::time::Instant;

fn traces(url: &str, sampler: &str, metrics: &Metrics) -> Traces {
    let variables = [("OTEL_EXPORTER_OTLP_ENDPOINT", url), ("OTEL_TRACES_SAMPLER", sampler)];
    let config = Config::for_tests(Program::Api, &variables);
    Traces::start(config.traces.as_ref(), None, metrics).expect("starts")
}

fn headers(traceparent: &str) -> HeaderMap {
    [(http::HeaderName::from_static("traceparent"), traceparent.parse().expect("a value"))].into_iter().collect()
}

const ASKED: &str = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";
const NOT_SAMPLED: &str = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-00";

#[tokio::test]
async fn off_it_makes_nothing() {
    let off = Traces::default();
    assert!(off.asked(&headers(ASKED)).is_none() && off.current().is_none());
    assert!(off.begin(Part::Served, "request", None).is_none());
    assert_eq!(off.carried(async { 1 }).await, 1);
    off.shut_down().await;
}

#[tokio::test]
async fn a_caller_decides_for_its_own_requests_where_it_may() {
    let metrics = Metrics::new(Program::Api);
    for (sampler, follows) in [("parentbased_always_off", true), ("always_off", false)] {
        let traces = traces("http://127.0.0.1:9", sampler, &metrics);
        let asked = traces.asked(&headers(ASKED)).expect("a trace");
        let span = traces.begin(Part::Served, "request", Some(asked));
        assert_eq!(span.is_some(), follows, "{sampler}");
        assert!(span.is_none_or(|span| span.context().trace_id == asked.trace_id && span.context().is_sampled));
    }
    let traces = traces("http://127.0.0.1:9", "parentbased_always_on", &metrics);
    let asked = traces.asked(&headers(NOT_SAMPLED)).expect("a trace");
    assert!(traces.begin(Part::Served, "request", Some(asked)).is_none());
    assert!(traces.begin(Part::Served, "request", None).is_some());
    for wrong in ["", "00-0-0-01", "00-00000000000000000000000000000000-0000000000000000-01", "garbage"] {
        assert!(traces.asked(&headers(wrong)).is_none(), "{wrong}");
    }
}

#[tokio::test]
async fn a_task_of_its_own_works_for_the_trace_of_its_caller() {
    let traces = traces("http://127.0.0.1:9", "always_on", &Metrics::new(Program::Api));
    let span = traces.begin(Part::Served, "request", None).expect("sampled");
    let (within, carried) = (traces.clone(), traces.clone());
    let seen = span.scope(async move {
        let seen = within.current();
        let task = within.carried(async move { carried.current() });
        (seen, tokio::spawn(task).await.expect("ends"))
    });
    assert_eq!(seen.await, (Some(span.context()), Some(span.context())));
    assert!(traces.current().is_none());
}

#[tokio::test]
async fn a_collector_that_hangs_costs_a_bounded_memory_and_no_time() {
    // Connections wait in the listener's queue for ever.
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let url = format!("http://{}", listener.local_addr().expect("an address"));
    let metrics = Metrics::new(Program::Api);
    let traces = traces(&url, "always_on", &metrics);
    let begun = Instant::now();
    for _ in 0..20_000 {
        drop(traces.begin(Part::Inner, "work", None));
    }
    assert!(begun.elapsed().as_secs() < 5, "20,000 spans took {:?}", begun.elapsed());
    let dropped = metrics.trace_spans(SpanResult::Dropped).get();
    assert!(dropped >= 15_000, "{dropped} spans were dropped: the others wait");
    let stopping = Instant::now();
    traces.shut_down().await;
    assert!(stopping.elapsed() < LAST_EXPORT_WITHIN * 2, "the end took {:?}", stopping.elapsed());
}
