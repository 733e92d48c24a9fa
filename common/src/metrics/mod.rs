//! The metrics of the contract's section 6: one table, whose doc comments are the help texts.
//!
//! Each program registers those that belong to it; the others count into the void. Labels come
//! from closed sets or the matched path.

mod family;
mod label;

pub use crate::label::Label;
pub use crate::wire::CommandType;
pub use family::{BuildInfo, Counters, Counters2, Gauges, HttpDuration, HttpRequests};
pub use label::{AuthResult, CommandResult, Ended, GapCause, PoolUse, PublishResult, RateLimit, SpanResult};
pub use prometheus::IntGauge;

use crate::config::Program;
use crate::event::EventKind;
use family::Build;
use prometheus::process_collector::ProcessCollector;
use prometheus::{Histogram, IntCounter, Registry, TextEncoder};
use std::borrow::Cow;
use std::ops::Deref;
use std::sync::Arc;
use std::time::Duration;

/// The program that has the metric; `messenger` has them all.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Of {
    Both,
    Api,
    Gateway,
}

impl Of {
    fn has(self, program: Program) -> bool {
        match program {
            Program::Messenger => true,
            Program::Api => self != Self::Gateway,
            Program::Gateway => self != Self::Api,
        }
    }
}

macro_rules! table {
    ($($(#[doc = $help:literal])+ $field:ident: $kind:ty = $name:literal, $of:ident;)+) => {
        /// The table's metrics, as fields of [`Metrics`].
        pub struct Table {
            registry: Registry,
            $($(#[doc = $help])+ pub $field: $kind,)+
        }

        impl Table {
            fn new(program: Program) -> prometheus::Result<Self> {
                let registry = Registry::new();
                $(
                    let help = concat!($($help),+).trim();
                    let ($field, collector) = <$kind as Build>::build($name, help)?;
                    if Of::$of.has(program) {
                        registry.register(collector)?;
                    }
                )+
                registry.register(Box::new(ProcessCollector::for_self()))?;
                Ok(Self { registry, $($field,)+ })
            }
        }

        /// Names and help texts, in the table's order.
        pub const HELP: &[(&str, &str)] = &[$(($name, concat!($($help),+)),)+];
    };
}

/// The program's metrics; clones count into the same.
#[derive(Clone)]
pub struct Metrics(Arc<Table>);

impl Deref for Metrics {
    type Target = Table;
    fn deref(&self) -> &Table {
        &self.0
    }
}

table! {
    /// The build that runs here; always 1.
    build_info: BuildInfo = "messenger_build_info", Both;
    /// Whether the node is ready: what `/readyz` answers.
    ready: IntGauge = "messenger_ready", Both;
    /// Whether the node serves requests: it has started, does not drain, and its database answers.
    /// Redis may be away.
    serving: IntGauge = "messenger_serving", Both;
    /// HTTP requests answered, by method, matched path and status.
    http_requests: HttpRequests = "messenger_http_requests_total", Both;
    /// Seconds from an HTTP request's head to its answer's head, by method and matched path.
    http_duration: HttpDuration = "messenger_http_request_duration_seconds", Both;
    /// Connections that the public port may hold at once, within the limit of open files.
    places: IntGauge = "messenger_places", Both;
    /// Connections that the public port holds, of HTTP and WebSocket.
    places_taken: IntGauge = "messenger_places_taken", Both;
    /// Connections of the public port that may speak HTTP at once.
    http_places: IntGauge = "messenger_http_places", Both;
    /// Connections of the public port that speak HTTP.
    http_places_taken: IntGauge = "messenger_http_places_taken", Both;
    /// Connections refused since the node held all that it may, or all that may speak HTTP.
    connections_refused: IntCounter = "messenger_connections_refused_total", Both;
    /// WebSocket connections open here.
    ws_connections: IntGauge = "messenger_ws_connections", Gateway;
    /// Subscriptions of the WebSocket connections open here.
    ws_subscriptions: IntGauge = "messenger_ws_subscriptions", Gateway;
    /// Bytes that wait for the sockets of WebSocket connections, as of the last half second.
    ws_queued_bytes: IntGauge = "messenger_ws_queued_bytes", Gateway;
    /// WebSocket commands answered, by type and what came of them.
    ws_command_counters: Counters2<CommandType, CommandResult> = "messenger_ws_commands_total", Gateway;
    /// Events handed to WebSocket connections, by type.
    ws_delivery_counters: Counters<EventKind> = "messenger_ws_deliveries_total", Gateway;
    /// WebSocket connections ended, by close code.
    ws_disconnect_counters: Counters<Ended> = "messenger_ws_disconnects_total", Gateway;
    /// WebSocket connections closed with 1012 for their clients to come back to a gateway with
    /// fewer.
    ws_handed_over: IntCounter = "messenger_ws_handed_over_total", Gateway;
    /// Seconds from an event's commit, by the database's clock, to its hand-over to the sockets
    /// here: to the first 512 of a thread, where one event goes to more.
    delivery_latency: Histogram = "messenger_delivery_latency_seconds", Gateway;
    /// Publications handed to the bus, by what came of them.
    backplane_published_counters: Counters<PublishResult> = "messenger_backplane_published_total", Both;
    /// Publications received from the bus.
    backplane_received: IntCounter = "messenger_backplane_received_total", Both;
    /// Whether the bus link carries: connected, and its own probe came back lately.
    backplane_up: IntGauge = "messenger_backplane_up", Both;
    /// Times that the bus link was made anew.
    backplane_reconnects: IntCounter = "messenger_backplane_reconnects_total", Both;
    /// Reads of the log to fill what subscriptions missed, by cause.
    gap_fill_counters: Counters<GapCause> = "messenger_gap_fills_total", Gateway;
    /// Transactions whose events nobody is known to have published yet, counted up to 10,000.
    outbox_pending: IntGauge = "messenger_outbox_pending", Api;
    /// Users with a connection anywhere.
    presence_online_users: IntGauge = "messenger_presence_online_users", Gateway;
    /// Changes of presence that wait here to be registered or announced.
    presence_pending: IntGauge = "messenger_presence_pending", Gateway;
    /// Connections that the database pool may have open at once.
    db_pool_size: IntGauge = "messenger_db_pool_size", Both;
    /// Connections of the database pool, by state.
    db_pool_gauges: Gauges<PoolUse> = "messenger_db_pool_connections", Both;
    /// Whether the replica for reads answers them; 0 where there is none.
    db_replica_up: IntGauge = "messenger_db_replica_up", Both;
    /// Bytes of the log that the replica had not replayed when it was looked at last, after half a
    /// second in which it might.
    db_replica_lag: IntGauge = "messenger_db_replica_lag_bytes", Both;
    /// Merges of new messages' words into the index of search that failed.
    word_merge_failures: IntCounter = "messenger_word_merge_failures_total", Both;
    /// Messages stored by this process.
    messages_stored: IntCounter = "messenger_messages_stored_total", Both;
    /// Attempts to log in, to refresh, to confirm one's password or to come in with a token that
    /// was refused, by what came of them.
    auth_attempt_counters: Counters<AuthResult> = "messenger_auth_attempts_total", Both;
    /// Requests and commands refused for their rate, by limit.
    rate_limited_counters: Counters<RateLimit> = "messenger_rate_limited_total", Both;
    /// Spans of sampled traces, by what became of them.
    trace_span_counters: Counters<SpanResult> = "messenger_trace_spans_total", Both;
}

impl Metrics {
    /// The metrics of that program, all at 0.
    #[expect(clippy::expect_used, reason = "the table is fixed: a test makes it for every program")]
    pub fn new(program: Program) -> Self {
        let table = Table::new(program).expect("the table of metrics is sound");
        table.build_info.set(program);
        Self(Arc::new(table))
    }

    /// All that is registered, in Prometheus's text format 0.0.4.
    pub fn render(&self) -> String {
        TextEncoder::new().encode_to_string(&self.0.registry.gather()).unwrap_or_default()
    }

    /// Counts an answered request.
    pub fn http_request(&self, method: &str, route: &str, status: u16, took: Duration) {
        self.0.http_requests.0.with_label_values(&[method, route, status_text(status).as_ref()]).inc();
        self.0.http_duration.0.with_label_values(&[method, route]).observe(took.as_secs_f64());
    }

    /// A command's counter.
    pub fn ws_commands(&self, command: CommandType, result: CommandResult) -> &IntCounter {
        self.0.ws_command_counters.get(command, result)
    }

    /// An event's counter.
    pub fn ws_deliveries(&self, kind: EventKind) -> &IntCounter {
        self.0.ws_delivery_counters.get(kind)
    }

    /// A close code's counter; 1006 for a connection that went without a close.
    pub fn ws_disconnects(&self, code: u16) -> &IntCounter {
        self.0.ws_disconnect_counters.get(code)
    }

    /// A publication's counter.
    pub fn backplane_published(&self, result: PublishResult) -> &IntCounter {
        self.0.backplane_published_counters.get(result)
    }

    /// A cause's counter.
    pub fn gap_fills(&self, cause: GapCause) -> &IntCounter {
        self.0.gap_fill_counters.get(cause)
    }

    /// The gauge of a use of the pool's connections.
    pub fn db_pool(&self, state: PoolUse) -> &IntGauge {
        self.0.db_pool_gauges.get(state)
    }

    /// An attempt's counter.
    pub fn auth_attempts(&self, result: AuthResult) -> &IntCounter {
        self.0.auth_attempt_counters.get(result)
    }

    /// A limit's counter, by the limit's name.
    pub fn rate_limited(&self, limit: &str) -> &IntCounter {
        self.0.rate_limited_counters.get(RateLimit::named(limit))
    }

    /// The counter of what became of spans.
    pub fn trace_spans(&self, result: SpanResult) -> &IntCounter {
        self.0.trace_span_counters.get(result)
    }
}

impl std::fmt::Debug for Metrics {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Metrics")
    }
}

/// Raises a gauge while it lives.
pub struct Held(IntGauge);

impl Held {
    /// Raises it by one until dropped.
    pub fn new(gauge: &IntGauge) -> Self {
        gauge.inc();
        Self(gauge.clone())
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        self.0.dec();
    }
}

/// The common ones without an allocation.
fn status_text(status: u16) -> Cow<'static, str> {
    match status {
        200 => "200".into(),
        201 => "201".into(),
        204 => "204".into(),
        other => other.to_string().into(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_program_has_its_own_and_nothing_else() {
        let api = Metrics::new(Program::Api).render();
        let gateway = Metrics::new(Program::Gateway).render();
        let all = Metrics::new(Program::Messenger).render();
        assert!(api.contains("messenger_outbox_pending 0") && !gateway.contains("messenger_outbox_pending"));
        assert!(gateway.contains("messenger_ws_connections 0") && !api.contains("messenger_ws_connections"));
        for (name, help) in HELP {
            if !name.starts_with("messenger_http_") {
                assert!(all.contains(&format!("# HELP {name} {}", help.trim())), "{name}");
            }
        }
        assert!(all.contains("process_resident_memory_bytes"));
        assert!(gateway.contains(r#"program="messenger-gateway""#) && all.contains(r#"program="messenger""#));
    }

    #[test]
    fn known_labels_stand_at_0() {
        let all = Metrics::new(Program::Messenger).render();
        for line in [
            r#"messenger_ws_deliveries_total{type="new_message"} 0"#,
            r#"messenger_ws_commands_total{result="ok",type="subscribe_chat"} 0"#,
            r#"messenger_ws_disconnects_total{code="4409"} 0"#,
            r#"messenger_gap_fills_total{cause="replay"} 0"#,
            r#"messenger_auth_attempts_total{result="bad_credentials"} 0"#,
            r#"messenger_rate_limited_total{limit="messages"} 0"#,
            r#"messenger_db_pool_connections{state="idle"} 0"#,
            r#"messenger_backplane_published_total{result="error"} 0"#,
        ] {
            assert!(all.contains(line), "{line}");
        }
    }

    #[test]
    fn a_held_gauge_falls_when_dropped() {
        let metrics = Metrics::new(Program::Gateway);
        let held = Held::new(&metrics.ws_connections);
        metrics.ws_disconnects(4409).inc();
        metrics.rate_limited("no such limit").inc();
        assert!(metrics.render().contains("messenger_ws_connections 1"));
        drop(held);
        let text = metrics.render();
        assert!(text.contains("messenger_ws_connections 0"));
        assert!(text.contains(r#"messenger_ws_disconnects_total{code="4409"} 1"#));
        assert!(text.contains(r#"messenger_rate_limited_total{limit="other"} 1"#));
    }
}
