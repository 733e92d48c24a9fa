//! Traces: what a sampled request does, followed from the request over commit and bus to the
//! sockets of other nodes, and exported over OTLP (OpenTelemetry).
//!
//! Off unless an endpoint is configured: [`Traces`] is then an empty option, and each call one
//! comparison. A span is made only where its trace is sampled.

mod client;
mod export;

use crate::config::{Authorities, TracesConfig};
use crate::event::TraceContext;
use crate::id::{ChatId, Seq};
use crate::metrics::Metrics;
use futures_util::future::Either;
use http::HeaderMap;
use opentelemetry::context::{FutureExt, WithContext};
use opentelemetry::propagation::TextMapPropagator;
use opentelemetry::trace::{
    Span as _, SpanContext, SpanId, SpanKind, Status, TraceContextExt, TraceFlags, TraceId, TraceState, Tracer,
};
use opentelemetry::{Context, KeyValue, Value};
use opentelemetry_http::HeaderExtractor;
use opentelemetry_sdk::propagation::TraceContextPropagator;
use opentelemetry_sdk::trace::{SdkTracer, SdkTracerProvider};
use std::borrow::Cow;
use std::fmt;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

/// The last spans leave within this when the program ends.
const LAST_EXPORT_WITHIN: Duration = Duration::from_secs(2);

/// The way to make spans; clones export to the same collector. The default is off.
#[derive(Clone, Default)]
pub struct Traces(Option<Arc<On>>);

struct On {
    tracer: SdkTracer,
    provider: SdkTracerProvider,
}

impl fmt::Debug for Traces {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(if self.0.is_some() { "Traces(on)" } else { "Traces(off)" })
    }
}

/// The part of a span in its trace.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Part {
    /// A request or a command of a client.
    Served,
    /// Work within a process.
    Inner,
    /// Handing something to the bus.
    Published,
    /// Taking something from the bus.
    Delivered,
}

impl From<Part> for SpanKind {
    fn from(part: Part) -> Self {
        match part {
            Part::Served => Self::Server,
            Part::Inner => Self::Internal,
            Part::Published => Self::Producer,
            Part::Delivered => Self::Consumer,
        }
    }
}

/// A span of a sampled trace. It ends when it is dropped.
pub struct Span(Box<opentelemetry_sdk::trace::Span>);

impl fmt::Debug for Span {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Span").field(&self.context()).finish()
    }
}

impl Traces {
    /// Starts the export that the configuration names; off without one. The error is one line.
    pub fn start(
        config: Option<&TracesConfig>,
        authorities: Option<&Authorities>,
        metrics: &Metrics,
    ) -> Result<Self, String> {
        let Some(config) = config else { return Ok(Self::default()) };
        let (tracer, provider) = export::start(config, authorities, metrics)?;
        Ok(Self(Some(Arc::new(On { tracer, provider }))))
    }

    /// Whether spans are exported at all.
    pub fn is_on(&self) -> bool {
        self.0.is_some()
    }

    /// The trace that a caller names in `traceparent` (W3C Trace Context).
    pub fn asked(&self, headers: &HeaderMap) -> Option<TraceContext> {
        self.0.as_ref()?;
        let context = TraceContextPropagator::new().extract_with_context(&Context::new(), &HeaderExtractor(headers));
        let span = context.span();
        let asked = span.span_context();
        asked.is_valid().then(|| named(asked))
    }

    /// The sampled trace that the running task works for.
    pub fn current(&self) -> Option<TraceContext> {
        self.0.as_ref()?;
        Context::map_current(|context| {
            let span = context.span();
            let current = span.span_context();
            (current.is_valid() && current.is_sampled()).then(|| named(current))
        })
    }

    /// Begins a span under `parent`, or a new trace. `None` where it is not sampled.
    pub fn begin(&self, part: Part, name: impl Into<Cow<'static, str>>, parent: Option<TraceContext>) -> Option<Span> {
        self.begin_at(part, name, parent, None)
    }

    /// The same for a span that began at that time.
    pub fn begin_at(
        &self,
        part: Part,
        name: impl Into<Cow<'static, str>>,
        parent: Option<TraceContext>,
        at: Option<SystemTime>,
    ) -> Option<Span> {
        let on = self.0.as_ref()?;
        let parent = parent.map_or_else(Context::new, |parent| Context::new().with_remote_span_context(remote(parent)));
        let mut builder = on.tracer.span_builder(name).with_kind(part.into());
        builder.start_time = at;
        let span = on.tracer.build_with_context(builder, &parent);
        span.is_recording().then(|| Span(Box::new(span)))
    }

    /// Lets a future that runs in a task of its own work for the running task's trace.
    pub fn carried<F: Future>(&self, work: F) -> Either<F, WithContext<F>> {
        match self.current() {
            None => Either::Left(work),
            Some(_) => Either::Right(work.with_current_context()),
        }
    }

    /// Exports what waits, for a moment at most, and ends.
    pub async fn shut_down(self) {
        let Some(on) = self.0 else { return };
        let provider = on.provider.clone();
        // Spans that the collector does not take by then are lost, and were counted.
        drop(tokio::task::spawn_blocking(move || provider.shutdown_with_timeout(LAST_EXPORT_WITHIN)).await);
    }
}

impl Span {
    /// Its place, for the spans under it.
    pub fn context(&self) -> TraceContext {
        named(self.0.span_context())
    }

    /// The trace's id in hexadecimal, for the log.
    pub fn trace_id(&self) -> String {
        self.0.span_context().trace_id().to_string()
    }

    /// Runs work for its trace.
    pub fn scope<F: Future>(&self, work: F) -> WithContext<F> {
        work.with_context(Context::new().with_remote_span_context(self.0.span_context().clone()))
    }

    /// Adds an attribute.
    pub fn set(&mut self, name: &'static str, value: impl Into<Value>) {
        self.0.set_attribute(KeyValue::new(name, value));
    }

    /// Names the event that it is about.
    pub fn of_event(&mut self, chat: ChatId, seq: Seq) {
        self.set("messenger.chat.id", chat.0);
        self.set("messenger.seq", seq.0);
    }

    /// Marks a moment.
    pub fn moment(&mut self, name: &'static str) {
        self.0.add_event(name, Vec::new());
    }

    /// Gives it another name.
    pub fn rename(&mut self, name: impl Into<Cow<'static, str>>) {
        self.0.update_name(name);
    }

    /// Marks it as failed, with the code of the fault.
    pub fn failed(&mut self, code: &'static str) {
        self.0.set_attribute(KeyValue::new("error.type", code));
        self.0.set_status(Status::error(code));
    }
}

fn named(context: &SpanContext) -> TraceContext {
    TraceContext {
        trace_id: context.trace_id().to_bytes(),
        span_id: context.span_id().to_bytes(),
        is_sampled: context.is_sampled(),
    }
}

fn remote(context: TraceContext) -> SpanContext {
    let flags = TraceFlags::default().with_sampled(context.is_sampled);
    let (trace, span) = (TraceId::from_bytes(context.trace_id), SpanId::from_bytes(context.span_id));
    SpanContext::new(trace, span, flags, true, TraceState::default())
}

#[cfg(test)]
mod tests;
