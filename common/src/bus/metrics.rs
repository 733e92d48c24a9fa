//! The metrics of a bus. The handles come from the program's table, or belong to no registry.

use crate::metrics::{Metrics, PublishResult};
use prometheus::{IntCounter, IntGauge};

/// The `messenger_backplane_*` metrics.
#[derive(Clone, Debug)]
pub struct BusMetrics {
    /// `messenger_backplane_published_total{result="ok"}`.
    pub published_ok: IntCounter,
    /// `messenger_backplane_published_total{result="error"}`.
    pub published_error: IntCounter,
    /// `messenger_backplane_received_total`.
    pub received: IntCounter,
    /// `messenger_backplane_up`.
    pub up: IntGauge,
    /// `messenger_backplane_reconnects_total`.
    pub reconnects: IntCounter,
}

impl BusMetrics {
    /// The program's own.
    pub fn of(metrics: &Metrics) -> Self {
        Self {
            published_ok: metrics.backplane_published(PublishResult::Ok).clone(),
            published_error: metrics.backplane_published(PublishResult::Error).clone(),
            received: metrics.backplane_received.clone(),
            up: metrics.backplane_up.clone(),
            reconnects: metrics.backplane_reconnects.clone(),
        }
    }

    /// Handles that belong to no registry.
    pub fn unregistered() -> Self {
        let counter = |name| IntCounter::new(name, name).expect("a plain name is a sound one");
        Self {
            published_ok: counter("published_ok"),
            published_error: counter("published_error"),
            received: counter("received"),
            up: IntGauge::new("up", "up").expect("a plain name is a sound one"),
            reconnects: counter("reconnects"),
        }
    }

    pub(super) fn published<E>(&self, count: usize, result: &Result<(), E>) {
        let counter = if result.is_ok() { &self.published_ok } else { &self.published_error };
        counter.inc_by(count as u64);
    }
}
