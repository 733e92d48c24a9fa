//! The autoscaler's own metric: the adapter's rule, asked of a real Prometheus as the adapter
//! asks.

use std::collections::BTreeMap;
use std::time::Duration;

use super::super::python::document;
use super::super::watch::{Prometheus, admin_addresses, hurried};
use crate::deploy::shipped;
use crate::support::{Deployment, Value, blocking, eventually, limited};

/// The labels that a PodMonitor adds; here a pod is an address.
fn as_pods(text: &str) -> String {
    let job = "  - job_name: messenger-gateway\n";
    let labels = "    relabel_configs:\n      - { target_label: namespace, replacement: messenger }\n      \
                  - { source_labels: [__address__], target_label: pod }\n";
    hurried(text).replace(job, &format!("{job}{labels}"))
}

/// The query that the adapter makes of its rule for these pods.
fn query(rule: &Value, series: &str, pods: &[String]) -> String {
    let matchers = format!("namespace=\"messenger\",pod=~\"{}\"", pods.join("|"));
    let template = rule["metricsQuery"].as_str().unwrap();
    let query = template.replace("<<.Series>>", series).replace("<<.LabelMatchers>>", &matchers);
    let query = query.replace("<<.GroupBy>>", "pod");
    assert!(!query.contains("<<"), "{query}: does the adapter know that word?");
    query
}

#[tokio::test]
async fn the_adapters_rule_gives_the_connections_of_each_pod() {
    limited(async {
        let d = Deployment::cluster(1, 2).start().await;
        let ann = d.user().await;
        let mut sockets = Vec::new();
        for gateway in [0, 0, 0, 1] {
            let mut socket = ann.connect_to(gateway).await;
            socket.round_trip().await;
            sockets.push(socket);
        }
        let pods = admin_addresses(d.gateways());
        let prometheus = {
            let pods = pods.clone();
            blocking(move || Prometheus::start(&[("gateway", &pods[..])], as_pods)).await
        };
        let adapter = document(&shipped("k8s/overlays/production/prometheus-adapter.yaml")).await;
        let rule = &adapter["rules"]["custom"][0];
        let discovered = rule["seriesQuery"].as_str().unwrap();
        let (series, _) = discovered.split_once('{').unwrap();
        let query = query(rule, series, &pods);
        let wanted: BTreeMap<String, String> = pods.iter().cloned().zip(["3".to_owned(), "1".to_owned()]).collect();
        eventually("the rule's figures", Duration::from_secs(60), async || {
            let found = prometheus.ask("series", &[("match[]", discovered)]).await?;
            let answer = prometheus.ask("query", &[("query", &query)]).await?;
            let one = |one: &Value| {
                let word = |value: &Value| value.as_str().unwrap_or_default().to_owned();
                (word(&one["metric"]["pod"]), word(&one["value"][1]))
            };
            let figures: BTreeMap<String, String> = answer["result"].as_array()?.iter().map(one).collect();
            (found.as_array()?.len() == 2 && figures == wanted).then_some(())
        })
        .await;
    })
    .await;
}
