//! The export: a bounded queue of ended spans, and one thread that sends them in batches.
//!
//! A span beyond the queue is dropped and counted, so a collector that is away costs a bounded
//! memory and no time of a request. The log names the fault once a minute.

use super::client::CollectorClient;
use crate::config::{Authorities, TracesConfig};
use crate::error::chain;
use crate::metrics::{Metrics, SpanResult};
use crate::once::OncePerCause;
use opentelemetry::trace::TracerProvider;
use opentelemetry::{Context, KeyValue};
use opentelemetry_http::{Bytes, HttpClient, HttpError, Request, Response};
use opentelemetry_otlp::{WithExportConfig, WithHttpConfig};
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::error::OTelSdkResult;
use opentelemetry_sdk::resource::TelemetryResourceDetector;
use opentelemetry_sdk::trace::{
    BatchConfigBuilder, BatchSpanProcessor, Sampler, SdkTracer, SdkTracerProvider, Span, SpanData, SpanExporter,
    SpanProcessor,
};
use secrecy::ExposeSecret;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

/// Ended spans that wait or are on their way. Further ones are dropped and counted.
const SPANS_WAITING: usize = 4096;
/// Spans of one request to the collector, and the pause between requests.
const BATCH: usize = 512;
const EXPORT_EVERY: Duration = Duration::from_secs(2);
/// A request to the collector, its retries included, ends within this.
const REQUEST_WITHIN: Duration = Duration::from_secs(5);

/// Starts the thread and returns what makes spans for it.
pub(super) fn start(
    config: &TracesConfig,
    authorities: Option<&Authorities>,
    metrics: &Metrics,
) -> Result<(SdkTracer, SdkTracerProvider), String> {
    let waiting = Arc::new(AtomicUsize::new(0));
    let client = Logged { client: CollectorClient::new(authorities, REQUEST_WITHIN)?, logged: OncePerCause::default() };
    let headers = config.headers.iter().map(|(name, value)| (name.clone(), value.expose_secret().to_owned()));
    let exporter = opentelemetry_otlp::SpanExporter::builder()
        .with_http()
        .with_http_client(client)
        .with_endpoint(&config.endpoint)
        .with_timeout(REQUEST_WITHIN)
        .with_headers(headers.collect())
        .build()
        .map_err(|error| error.to_string())?;
    let exporter = Counted { exporter, waiting: waiting.clone(), metrics: metrics.clone() };
    let batches = BatchConfigBuilder::default()
        .with_max_queue_size(SPANS_WAITING)
        .with_max_export_batch_size(BATCH)
        .with_scheduled_delay(EXPORT_EVERY)
        .build();
    let processor = BatchSpanProcessor::builder(exporter).with_batch_config(batches).build();
    let provider = SdkTracerProvider::builder()
        .with_sampler(sampler(config))
        .with_resource(resource(config))
        .with_span_processor(Bounded { processor, waiting, metrics: metrics.clone() })
        .build();
    Ok((provider.tracer("messenger"), provider))
}

fn sampler(config: &TracesConfig) -> Sampler {
    let own = Sampler::TraceIdRatioBased(config.ratio);
    if config.follows_parent { Sampler::ParentBased(Box::new(own)) } else { own }
}

fn resource(config: &TracesConfig) -> Resource {
    let instance = format!("{:016x}", crate::random::bits());
    let named = config.attributes.iter().map(|(name, value)| KeyValue::new(name.clone(), value.clone()));
    Resource::builder_empty()
        .with_detector(Box::new(TelemetryResourceDetector))
        .with_attribute(KeyValue::new("service.version", env!("CARGO_PKG_VERSION")))
        .with_attribute(KeyValue::new("service.instance.id", instance))
        .with_attributes(named)
        .with_attribute(KeyValue::new("service.name", config.service.clone()))
        .build()
}

/// Lets no more than [`SPANS_WAITING`] spans through to the thread.
#[derive(Debug)]
struct Bounded {
    processor: BatchSpanProcessor,
    waiting: Arc<AtomicUsize>,
    metrics: Metrics,
}

impl SpanProcessor for Bounded {
    fn on_start(&self, span: &mut Span, context: &Context) {
        self.processor.on_start(span, context);
    }

    fn on_end(&self, span: SpanData) {
        if self.waiting.fetch_add(1, Ordering::Relaxed) >= SPANS_WAITING {
            self.waiting.fetch_sub(1, Ordering::Relaxed);
            self.metrics.trace_spans(SpanResult::Dropped).inc();
            return;
        }
        self.processor.on_end(span);
    }

    fn force_flush(&self) -> OTelSdkResult {
        self.processor.force_flush()
    }

    fn shutdown_with_timeout(&self, timeout: Duration) -> OTelSdkResult {
        self.processor.shutdown_with_timeout(timeout)
    }

    fn set_resource(&mut self, resource: &Resource) {
        self.processor.set_resource(resource);
    }
}

/// Counts what the collector took.
#[derive(Debug)]
struct Counted {
    exporter: opentelemetry_otlp::SpanExporter,
    waiting: Arc<AtomicUsize>,
    metrics: Metrics,
}

impl SpanExporter for Counted {
    async fn export(&self, batch: Vec<SpanData>) -> OTelSdkResult {
        let count = batch.len();
        let outcome = self.exporter.export(batch).await;
        self.waiting.fetch_sub(count, Ordering::Relaxed);
        let result = if outcome.is_ok() { SpanResult::Exported } else { SpanResult::Failed };
        self.metrics.trace_spans(result).inc_by(count as u64);
        outcome
    }

    fn shutdown_with_timeout(&self, timeout: Duration) -> OTelSdkResult {
        self.exporter.shutdown_with_timeout(timeout)
    }

    fn set_resource(&mut self, resource: &Resource) {
        self.exporter.set_resource(resource);
    }
}

/// Names in the log why the collector takes nothing: the exporter's own error does not.
#[derive(Debug)]
struct Logged {
    client: CollectorClient,
    logged: OncePerCause,
}

impl Logged {
    fn warn(&self, cause: &str) {
        if self.logged.is_news(cause, Instant::now()) {
            tracing::warn!(error = cause, "the collector of traces takes no spans (OTEL_EXPORTER_OTLP_ENDPOINT)");
        }
    }
}

#[async_trait::async_trait]
impl HttpClient for Logged {
    async fn send_bytes(&self, request: Request<Bytes>) -> Result<Response<Bytes>, HttpError> {
        let answer = self.client.send_bytes(request).await;
        match &answer {
            Ok(answer) if answer.status().is_success() => {}
            Ok(answer) => self.warn(&format!("it answers {}", answer.status())),
            Err(error) => self.warn(&chain(error.as_ref())),
        }
        answer
    }
}
