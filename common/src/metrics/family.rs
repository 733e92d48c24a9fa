//! Families over closed label sets: made whole at the start, looked up by index, no hashing on the
//! hot path.

use crate::config::{Program, commit};
use crate::label::Label;
use prometheus::core::Collector;
use prometheus::{Histogram, HistogramOpts, HistogramVec, IntCounter, IntCounterVec, IntGauge, IntGaugeVec, Opts};
use std::marker::PhantomData;

/// Something that the table can make.
pub(super) trait Build: Sized {
    /// Makes it, and what the registry collects.
    fn build(name: &str, help: &str) -> prometheus::Result<(Self, Box<dyn Collector>)>;
}

impl Build for IntCounter {
    fn build(name: &str, help: &str) -> prometheus::Result<(Self, Box<dyn Collector>)> {
        let one = Self::new(name, help)?;
        Ok((one.clone(), Box::new(one)))
    }
}

impl Build for IntGauge {
    fn build(name: &str, help: &str) -> prometheus::Result<(Self, Box<dyn Collector>)> {
        let one = Self::new(name, help)?;
        Ok((one.clone(), Box::new(one)))
    }
}

/// From a quarter of a millisecond to ten seconds: what a delivery or a request may take.
const SECONDS: [f64; 15] =
    [0.000_25, 0.000_5, 0.001, 0.002, 0.003, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.0, 10.0];

impl Build for Histogram {
    fn build(name: &str, help: &str) -> prometheus::Result<(Self, Box<dyn Collector>)> {
        let one = Self::with_opts(HistogramOpts::new(name, help).buckets(SECONDS.to_vec()))?;
        Ok((one.clone(), Box::new(one)))
    }
}

/// A counter for each value of a label.
#[derive(Clone)]
pub struct Counters<L> {
    each: Vec<IntCounter>,
    label: PhantomData<L>,
}

impl<L: Label> Counters<L> {
    /// That value's counter.
    pub fn get(&self, label: impl Into<L>) -> &IntCounter {
        &self.each[label.into().index()]
    }
}

impl<L: Label> Build for Counters<L> {
    fn build(name: &str, help: &str) -> prometheus::Result<(Self, Box<dyn Collector>)> {
        let family = IntCounterVec::new(Opts::new(name, help), &[L::NAME])?;
        let each = L::ALL.iter().map(|label| family.with_label_values(&[label.value()])).collect();
        Ok((Self { each, label: PhantomData }, Box::new(family)))
    }
}

/// A counter for each pair of values of two labels.
#[derive(Clone)]
pub struct Counters2<A, B> {
    each: Vec<IntCounter>,
    labels: PhantomData<(A, B)>,
}

impl<A: Label, B: Label> Counters2<A, B> {
    /// That pair's counter.
    pub fn get(&self, a: A, b: B) -> &IntCounter {
        &self.each[a.index() * B::ALL.len() + b.index()]
    }
}

impl<A: Label, B: Label> Build for Counters2<A, B> {
    fn build(name: &str, help: &str) -> prometheus::Result<(Self, Box<dyn Collector>)> {
        let family = IntCounterVec::new(Opts::new(name, help), &[A::NAME, B::NAME])?;
        let pairs = A::ALL.iter().flat_map(|a| B::ALL.iter().map(move |b| (a, b)));
        let each = pairs.map(|(a, b)| family.with_label_values(&[a.value(), b.value()])).collect();
        Ok((Self { each, labels: PhantomData }, Box::new(family)))
    }
}

/// A gauge for each value of a label.
#[derive(Clone)]
pub struct Gauges<L> {
    each: Vec<IntGauge>,
    label: PhantomData<L>,
}

impl<L: Label> Gauges<L> {
    /// That value's gauge.
    pub fn get(&self, label: L) -> &IntGauge {
        &self.each[label.index()]
    }
}

impl<L: Label> Build for Gauges<L> {
    fn build(name: &str, help: &str) -> prometheus::Result<(Self, Box<dyn Collector>)> {
        let family = IntGaugeVec::new(Opts::new(name, help), &[L::NAME])?;
        let each = L::ALL.iter().map(|label| family.with_label_values(&[label.value()])).collect();
        Ok((Self { each, label: PhantomData }, Box::new(family)))
    }
}

/// Requests by method, matched path and status.
#[derive(Clone)]
pub struct HttpRequests(pub(super) IntCounterVec);

impl Build for HttpRequests {
    fn build(name: &str, help: &str) -> prometheus::Result<(Self, Box<dyn Collector>)> {
        let family = IntCounterVec::new(Opts::new(name, help), &["method", "route", "status"])?;
        Ok((Self(family.clone()), Box::new(family)))
    }
}

/// Time of requests by method and matched path.
#[derive(Clone)]
pub struct HttpDuration(pub(super) HistogramVec);

impl Build for HttpDuration {
    fn build(name: &str, help: &str) -> prometheus::Result<(Self, Box<dyn Collector>)> {
        let family = HistogramVec::new(HistogramOpts::new(name, help).buckets(SECONDS.to_vec()), &["method", "route"])?;
        Ok((Self(family.clone()), Box::new(family)))
    }
}

/// Which build this is: always 1.
#[derive(Clone)]
pub struct BuildInfo(IntGaugeVec);

impl BuildInfo {
    /// Says which program runs here.
    pub(super) fn set(&self, program: Program) {
        let labels = [program.name(), env!("CARGO_PKG_VERSION"), commit().unwrap_or_default()];
        self.0.with_label_values(&labels).set(1);
    }
}

impl Build for BuildInfo {
    fn build(name: &str, help: &str) -> prometheus::Result<(Self, Box<dyn Collector>)> {
        let family = IntGaugeVec::new(Opts::new(name, help), &["program", "version", "commit"])?;
        Ok((Self(family.clone()), Box::new(family)))
    }
}
