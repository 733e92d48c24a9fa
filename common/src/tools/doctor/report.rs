//! The report of `doctor`: lines for people, or JSON for programs.

use crate::config::{Program, commit};
use serde::Serialize;

/// How a thing is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum State {
    /// It will do.
    Ok,
    /// The program runs, and something will be worse than it could be.
    Warning,
    /// The program does not start, or does not serve.
    Fault,
}

/// One thing that was looked at.
#[derive(Debug, PartialEq, Eq, Serialize)]
pub struct Finding {
    /// The thing, a stable word.
    pub check: &'static str,
    /// How it is.
    pub state: State,
    /// The finding.
    pub finding: String,
    /// The remedy.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub remedy: Option<String>,
}

impl Finding {
    /// It will do.
    pub fn ok(check: &'static str, finding: impl Into<String>) -> Self {
        Self { check, state: State::Ok, finding: finding.into(), remedy: None }
    }

    /// It could be better.
    pub fn warning(check: &'static str, finding: impl Into<String>, remedy: impl Into<String>) -> Self {
        Self { check, state: State::Warning, finding: finding.into(), remedy: Some(remedy.into()) }
    }

    /// It will not do.
    pub fn fault(check: &'static str, finding: impl Into<String>, remedy: impl Into<String>) -> Self {
        Self { check, state: State::Fault, finding: finding.into(), remedy: Some(remedy.into()) }
    }

    fn lines(&self) -> String {
        let Self { check, state, finding, remedy } = self;
        let state = match state {
            State::Ok => "ok",
            State::Warning => "warning",
            State::Fault => "FAULT",
        };
        let remedy = remedy.as_ref().map(|remedy| format!("{:22}-> {remedy}\n", ""));
        format!("{state:<8}{check:<14}{finding}\n{}", remedy.unwrap_or_default())
    }
}

/// All that was found.
#[derive(Debug, Serialize)]
pub struct Report {
    program: &'static str,
    version: &'static str,
    commit: Option<&'static str>,
    fit: bool,
    checks: Vec<Finding>,
}

impl Report {
    pub(super) fn new(program: Program, checks: Vec<Finding>) -> Self {
        let fit = checks.iter().all(|found| found.state != State::Fault);
        Self { program: program.name(), version: env!("CARGO_PKG_VERSION"), commit: commit(), fit, checks }
    }

    /// Whether nothing keeps the program from serving.
    pub fn is_fit(&self) -> bool {
        self.fit
    }

    /// A line for each thing, and one for each remedy.
    pub fn text(&self) -> String {
        self.checks.iter().map(Finding::lines).collect()
    }

    /// The same for programs.
    pub fn json(&self) -> String {
        let json = serde_json::to_string_pretty(self).unwrap_or_default();
        format!("{json}\n")
    }
}
