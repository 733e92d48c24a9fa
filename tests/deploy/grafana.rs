//! `deploy/grafana`: no Grafana is to be had for these tests, so the dashboard is read as Grafana
//! reads it, and a real Prometheus answers each of its questions.

use std::collections::BTreeSet;

use super::python::document;
use super::shipped;
use super::walk::walk;
use super::watch::{Prometheus, admin_addresses, hurried};
use crate::support::{Deployment, SOON, Value, blocking, eventually, limited};

const DASHBOARD: &str = "deploy/grafana/dashboards/messenger.json";

fn dashboard() -> Value {
    serde_json::from_str(&shipped(DASHBOARD)).unwrap()
}

fn panels(dashboard: &Value) -> &Vec<Value> {
    dashboard["panels"].as_array().unwrap()
}

/// The dashboard's questions to Prometheus, each with its place.
pub(super) fn expressions() -> Vec<(String, String)> {
    let dashboard = dashboard();
    let text = |value: &Value| value.as_str().unwrap().to_owned();
    let of_panels = panels(&dashboard).iter().flat_map(|panel| {
        let targets = panel["targets"].as_array().into_iter().flatten();
        targets.map(|target| (text(&panel["title"]), text(&target["expr"])))
    });
    let annotations = dashboard["annotations"]["list"].as_array().unwrap();
    let of_annotations = annotations.iter().map(|one| (text(&one["name"]), text(&one["expr"])));
    of_panels.chain(of_annotations).collect()
}

#[test]
fn the_dashboard_answers_four_questions() {
    let dashboard = dashboard();
    let rows: Vec<_> = panels(&dashboard)
        .iter()
        .filter(|panel| panel["type"] == "row")
        .map(|row| row["title"].as_str().unwrap())
        .collect();
    assert_eq!(rows, ["Are messages flowing?", "How fast?", "Who is slow?", "What is full?"]);

    let (mut ids, mut cells) = (BTreeSet::new(), BTreeSet::new());
    for panel in panels(&dashboard) {
        let title = panel["title"].as_str().unwrap();
        assert!(ids.insert(panel["id"].as_u64().unwrap()), "{title}: its id is another's too");
        let [x, y, w, h] = ["x", "y", "w", "h"].map(|side| panel["gridPos"][side].as_u64().unwrap());
        assert!(w > 0 && h > 0 && x + w <= 24, "{title} is off the page");
        for cell in (x..x + w).flat_map(|x| (y..y + h).map(move |y| (x, y))) {
            assert!(cells.insert(cell), "{title} lies over another");
        }
        if panel["type"] == "row" {
            continue;
        }
        assert!(panel["description"].as_str().unwrap().ends_with('.'), "{title}: what does it show?");
        assert!(panel["fieldConfig"]["defaults"]["unit"].is_string(), "{title}: in which unit?");
        let targets = panel["targets"].as_array().unwrap();
        let refs: BTreeSet<_> = targets.iter().map(|target| target["refId"].as_str().unwrap()).collect();
        assert_eq!(refs.len(), targets.len(), "{title}");
        for source in targets.iter().chain([panel]) {
            assert_eq!(source["datasource"]["uid"], "${datasource}", "{title}");
        }
    }
    let variables: BTreeSet<_> = dashboard["templating"]["list"]
        .as_array()
        .unwrap()
        .iter()
        .map(|variable| variable["name"].as_str().unwrap())
        .collect();
    assert_eq!(variables, ["datasource", "instance"].into());
    assert!(!shipped(DASHBOARD).contains("\"value\": \"admin"), "a value of somebody's own installation");
}

/// As Grafana asks for all nodes and an hour.
fn asked(expr: &str) -> String {
    let expr = expr.replace("$__rate_interval", "1m").replace("$instance", ".*");
    assert!(!expr.contains('$'), "{expr}");
    expr
}

#[tokio::test]
async fn prometheus_understands_each_question() {
    limited(async {
        let prometheus = blocking(|| Prometheus::start(&[("api", &[]), ("gateway", &[])], str::to_owned)).await;
        eventually("Prometheus answers", SOON, async || prometheus.ask("query", &[("query", "1")]).await).await;
        for (title, expr) in expressions() {
            let expr = asked(&expr);
            assert!(prometheus.ask("query", &[("query", &expr)]).await.is_some(), "{title}: {expr}");
        }
    })
    .await;
}

/// Of the alerts' own marks `tests/deploy/alerts` sees one fire.
#[tokio::test]
async fn each_panel_draws_something_under_a_load() {
    limited(async {
        let d = Deployment::cluster(1, 2).start().await;
        let (apis, gateways) = (admin_addresses(d.apis()), admin_addresses(d.gateways()));
        let targets = move || Prometheus::start(&[("api", &apis[..]), ("gateway", &gateways[..])], hurried);
        let prometheus = blocking(targets).await;
        eventually("all nodes are scraped", SOON, async || {
            let answer = prometheus.ask("query", &[("query", "sum(up)")]).await?;
            (answer["result"][0]["value"][1] == "3").then_some(())
        })
        .await;
        d.gateway(1).restart().await;
        let mut empty: Vec<_> = expressions().into_iter().filter(|(title, _)| title != "Alerts").collect();
        eventually("each question has figures for an answer", SOON * 4, async || {
            walk(&d.rest(), &d.gateway(0).ws_url()).await.end().await;
            let mut still = Vec::new();
            for (title, expr) in std::mem::take(&mut empty) {
                let answer = prometheus.ask("query", &[("query", &asked(&expr))]).await;
                let result = answer.map_or(Value::Null, |answer| answer["result"].clone());
                let number = |one: &Value| one["value"][1].as_str().and_then(|value| value.parse::<f64>().ok());
                let drawn = result.as_array().is_some_and(|all| all.iter().filter_map(number).any(f64::is_finite));
                if !drawn {
                    println!("nothing yet: {title}: {result}");
                    still.push((title, expr));
                }
            }
            empty = still;
            empty.is_empty().then_some(())
        })
        .await;
    })
    .await;
}

#[tokio::test]
async fn grafana_finds_the_dashboard_and_prometheus() {
    let sources = document(&shipped("deploy/grafana/provisioning/datasources/prometheus.yml")).await;
    let source = &sources["datasources"][0];
    assert_eq!(source["type"], "prometheus");
    assert_eq!(source["url"], "http://prometheus:9090");
    let compose = document(&shipped("deploy/compose.yaml")).await;
    let grafana = &compose["services"]["grafana"];
    let providers = document(&shipped("deploy/grafana/provisioning/dashboards/messenger.yml")).await;
    let folder = providers["providers"][0]["options"]["path"].as_str().unwrap();
    let mounts: Vec<_> = grafana["volumes"].as_array().unwrap().iter().filter_map(Value::as_str).collect();
    assert!(mounts.contains(&format!("./grafana/dashboards:{folder}:ro").as_str()), "{mounts:?}");
    assert!(mounts.contains(&"./grafana/provisioning:/etc/grafana/provisioning:ro"), "{mounts:?}");
}
