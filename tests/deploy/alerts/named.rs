//! The metrics that the alerts and the dashboard name, with their labels, are served by the
//! programs: a rule about nothing never fires, and a panel about nothing stays empty.

use std::collections::{BTreeMap, BTreeSet};

use super::{name, rules, shipped_rules};
use crate::deploy::grafana;
use crate::programs::metrics::scrape;
use crate::support::ws::Way;
use crate::support::{limited, shared};

/// A metric in an expression, and what is asked of its labels: name, sign, text.
#[derive(Debug, PartialEq, Eq)]
struct Selector {
    metric: String,
    labels: Vec<(String, String, String)>,
}

/// Everything in the expression that begins like one of our metrics.
fn selectors(expr: &str) -> Vec<Selector> {
    let is_word = |letter: char| letter.is_ascii_alphanumeric() || letter == '_';
    let mut found = Vec::new();
    let mut rest = expr;
    while let Some(start) = rest.find(is_word) {
        rest = &rest[start..];
        let end = rest.find(|letter| !is_word(letter)).unwrap_or(rest.len());
        let (word, after) = rest.split_at(end);
        rest = after;
        let mut labels = Vec::new();
        if let Some(inside) = after.strip_prefix('{') {
            rest = inside;
            while !rest.starts_with('}') {
                let (label, more) = rest.split_once('"').unwrap();
                let (value, more) = more.split_once('"').unwrap();
                let name: String = label.chars().filter(|letter| is_word(*letter)).collect();
                let sign = label.chars().filter(|letter| "=!~".contains(*letter)).collect();
                labels.push((name, sign, value.to_owned()));
                rest = more.trim_start_matches([',', ' ']);
            }
        }
        if word.starts_with("messenger_") || word.starts_with("process_") {
            found.push(Selector { metric: word.to_owned(), labels });
        }
    }
    found
}

#[test]
fn selectors_are_found_in_an_expression() {
    let expr = r#"sum(rate(messenger_a_total{x="1",y!~"/b/{c}|d"}[5m])) / process_b > 0.5 and up{job="x"} == 1"#;
    let label = |name: &str, sign: &str, value: &str| (name.to_owned(), sign.to_owned(), value.to_owned());
    let a = Selector {
        metric: "messenger_a_total".to_owned(),
        labels: vec![label("x", "=", "1"), label("y", "!~", "/b/{c}|d")],
    };
    assert_eq!(selectors(expr), [a, Selector { metric: "process_b".to_owned(), labels: Vec::new() }]);
}

/// For each metric its labels, and for each of these the values served.
type Served = BTreeMap<String, BTreeMap<String, BTreeSet<String>>>;

fn add(served: &mut Served, series: &str) {
    let (metric, labels) = series.trim_end_matches('}').split_once('{').unwrap_or((series, ""));
    let metric = served.entry(metric.to_owned()).or_default();
    for pair in labels.split("\",") {
        if let Some((label, value)) = pair.split_once("=\"") {
            metric.entry(label.to_owned()).or_default().insert(value.trim_end_matches('"').to_owned());
        }
    }
}

/// Why the programs never serve what the selector asks for, if so.
fn fault(served: &Served, selector: &Selector) -> Option<String> {
    let Some(labels) = served.get(&selector.metric) else { return Some("no such metric".to_owned()) };
    for (label, sign, asked) in &selector.labels {
        // Prometheus's own labels; a pattern is compared with nothing.
        if label == "job" || label == "instance" {
            continue;
        }
        let Some(values) = labels.get(label) else { return Some(format!("no label {label}")) };
        let words: Vec<_> = if sign.contains('~') { asked.split('|').collect() } else { vec![&asked[..]] };
        let unknown = words.into_iter().find(|word| {
            let is_pattern = word.contains('.');
            !is_pattern && !values.contains(*word)
        });
        if let Some(word) = unknown {
            return Some(format!("no {label}=\"{word}\" in {values:?}"));
        }
    }
    None
}

#[tokio::test]
async fn the_programs_serve_what_rules_and_panels_name() {
    limited(async {
        let cluster = shared::cluster().await;
        // The series of a route begin with its first request.
        let user = cluster.user().await;
        let mut sockets = Vec::new();
        for turn in 0..2 {
            user.rest.on(turn).get("/auth/me").await.ok(200);
            for way in [Way::Path, Way::Header] {
                let mut socket = user.open(turn, way).await;
                socket.expect_welcome().await;
                sockets.push(socket);
            }
        }
        let mut served = Served::new();
        for node in cluster.nodes() {
            for (series, _) in scrape(&node).await {
                add(&mut served, &series);
            }
        }
        let mut faults = Vec::new();
        for rule in rules(&shipped_rules().await) {
            let named = selectors(rule["expr"].as_str().unwrap());
            assert!(!named.is_empty(), "{} names no metric of ours", name(rule));
            for selector in named {
                let fault = fault(&served, &selector);
                faults.extend(fault.map(|fault| format!("{}: {}: {fault}", name(rule), selector.metric)));
            }
        }
        for (title, expr) in grafana::expressions() {
            let named = selectors(&expr);
            assert!(!named.is_empty() || title == "Alerts", "{title} names no metric of ours");
            for selector in named {
                let fault = fault(&served, &selector);
                faults.extend(fault.map(|fault| format!("{title}: {}: {fault}", selector.metric)));
            }
        }
        assert!(faults.is_empty(), "{faults:#?}");

        let wrong = |expr: &str| selectors(expr).iter().any(|selector| fault(&served, selector).is_some());
        assert!(wrong("messenger_ws_conections"));
        // No close code has five digits (RFC 6455, section 7.4).
        assert!(wrong(r#"messenger_ws_disconnects_total{code="44090"}"#));
        assert!(wrong(r#"messenger_ws_disconnects_total{reason="4409"}"#));
    })
    .await;
}
