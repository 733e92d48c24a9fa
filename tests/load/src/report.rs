//! Figures: one row a run, medians and spread over the runs, JSON.

use super::cpu::Times;
use super::tally::Tally;
use hdrhistogram::Histogram;
use serde_json::{Map, Value, json};
use std::fmt::Write as _;

/// The figures of one run of one subject.
#[derive(Debug)]
pub struct Row {
    pub scenario: String,
    /// The subject: `messenger`, `bare write`, `nchan`, …
    pub subject: String,
    /// Under which conditions.
    pub at: String,
    pub run: usize,
    figures: Vec<(String, f64)>,
}

pub fn float(number: u64) -> f64 {
    number as f64
}

impl Row {
    pub fn new(scenario: &str, subject: &str, at: impl Into<String>, run: usize) -> Self {
        Self { scenario: scenario.into(), subject: subject.into(), at: at.into(), run, figures: Vec::new() }
    }

    /// The same under another condition.
    pub fn at(mut self, at: &str) -> Self {
        at.clone_into(&mut self.at);
        self
    }

    /// Adds a figure; its name says the unit.
    pub fn with(mut self, name: impl Into<String>, value: f64) -> Self {
        self.figures.push((name.into(), value));
        self
    }

    /// CPU microseconds an operation of each process and of all.
    pub fn cpu(mut self, times: &Times, operations: u64) -> Self {
        let each = float(operations.max(1)) * 1e3;
        for (name, nanos) in times {
            self = self.with(format!("{name} cpu µs"), float(*nanos) / each);
        }
        let share = |names: &[&str]| names.iter().filter_map(|name| times.get(name)).sum::<u64>();
        if times.contains_key("gateway") && times.contains_key("redis") {
            self = self.with("gateway+redis cpu µs", float(share(&["gateway", "redis"])) / each);
        }
        self.with("all cpu µs", float(times.values().sum()) / each)
    }

    /// Percentiles in milliseconds.
    pub fn latency(mut self, what: &str, histogram: &Histogram<u64>) -> Self {
        if histogram.is_empty() {
            return self;
        }
        for (name, quantile) in [("p50", 0.5), ("p90", 0.9), ("p99", 0.99), ("p99.9", 0.999), ("max", 1.0)] {
            self = self.with(format!("{what} {name} ms"), float(histogram.value_at_quantile(quantile)) / 1e6);
        }
        self
    }

    /// The subscribers' record, with the counts that must be 0.
    pub fn tally(self, tally: &Tally, expected: u64, seconds: f64) -> Self {
        self.with("deliveries/s", float(tally.events) / seconds)
            .with("bytes/event", float(tally.bytes) / float(tally.events.max(1)))
            .order(tally, expected)
            .latency("delivery", &tally.latency)
    }

    /// The counts that must be 0.
    pub fn order(self, tally: &Tally, expected: u64) -> Self {
        self.with("gaps", float(tally.gaps))
            .with("doubles", float(tally.doubles))
            .with("disorder", float(tally.disorder))
            .with("lost", float(expected.saturating_sub(tally.events)))
    }

    fn key(&self) -> (&str, &str, &str) {
        (&self.scenario, &self.subject, &self.at)
    }

    pub fn figure(&self, name: &str) -> Option<f64> {
        self.figures.iter().find(|(of, _)| of == name).map(|(_, value)| *value)
    }

    fn to_json(&self) -> Value {
        let figures: Map<String, Value> =
            self.figures.iter().map(|(name, value)| (name.clone(), json!(value))).collect();
        json!({"scenario": self.scenario, "subject": self.subject, "at": self.at, "run": self.run, "figures": figures})
    }
}

/// All rows of an invocation.
#[derive(Default)]
pub struct Report {
    rows: Vec<Row>,
}

impl Report {
    /// Takes a row and prints it.
    pub fn add(&mut self, row: Row) {
        let figures: Vec<String> =
            row.figures.iter().map(|(name, value)| format!("{name} {}", short(*value))).collect();
        println!("{} · {} · {} · run {}: {}", row.scenario, row.subject, row.at, row.run, figures.join(", "));
        for fault in ["gaps", "doubles", "disorder", "lost", "refused"] {
            if row.figure(fault).is_some_and(|count| count > 0.0) {
                println!("  !! {fault}: {}", short(row.figure(fault).unwrap_or(0.0)));
            }
        }
        self.rows.push(row);
    }

    /// The medians and the spread of what was run several times, as Markdown.
    pub fn summary(&self) -> String {
        let mut out = String::new();
        let mut done: Vec<(&str, &str, &str)> = Vec::new();
        for row in &self.rows {
            let key = row.key();
            if done.contains(&key) {
                continue;
            }
            done.push(key);
            let of: Vec<&Row> = self.rows.iter().filter(|row| row.key() == key).collect();
            let (scenario, subject, at) = key;
            // writing to a string cannot fail
            writeln!(out, "\n{scenario} · {subject} · {at} ({} runs)\n", of.len()).ok();
            writeln!(out, "| figure | median | least | most |\n|---|---|---|---|").ok();
            for (name, _) in &row.figures {
                let mut values: Vec<f64> = of.iter().filter_map(|row| row.figure(name)).collect();
                values.sort_by(f64::total_cmp);
                let (least, most) = (values[0], values[values.len() - 1]);
                let median = short(values[values.len() / 2]);
                writeln!(out, "| {name} | {median} | {} | {} |", short(least), short(most)).ok();
            }
        }
        out
    }

    /// A figure against what the rows of a growth scenario stand at.
    pub fn curve(&self, scenario: &str, figure: &str) -> Vec<(f64, f64)> {
        let rows = self.rows.iter().filter(|row| row.scenario == scenario);
        rows.filter_map(|row| Some((row.at.parse().ok()?, row.figure(figure)?))).collect()
    }

    /// All rows, with the machine they were measured on.
    pub fn to_json(&self) -> Value {
        json!({"machine": machine(), "rows": self.rows.iter().map(Row::to_json).collect::<Vec<_>>()})
    }
}

/// A figure with as many digits as mean something.
fn short(value: f64) -> String {
    match value.abs() {
        0.0 => "0".to_owned(),
        size if size >= 100.0 => format!("{value:.0}"),
        size if size >= 10.0 => format!("{value:.1}"),
        size if size >= 1.0 => format!("{value:.2}"),
        _ => format!("{value:.3}"),
    }
}

/// Processor, cores, memory and kernel.
pub fn machine() -> Value {
    let read = |path: &str| std::fs::read_to_string(path).unwrap_or_default();
    let field = |text: &str, name: &str| {
        text.lines()
            .find(|line| line.starts_with(name))
            .and_then(|line| Some(line.split_once(':')?.1.trim().to_owned()))
    };
    json!({
        "processor": field(&read("/proc/cpuinfo"), "model name"),
        "cores": std::thread::available_parallelism().map_or(0, std::num::NonZero::get),
        "memory": field(&read("/proc/meminfo"), "MemTotal"),
        "kernel": read("/proc/sys/kernel/osrelease").trim(),
    })
}
