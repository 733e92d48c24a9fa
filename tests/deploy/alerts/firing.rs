//! Redis stops: a real Prometheus notices it at the real programs, and a real Alertmanager hears
//! of it, once for the cause and not for what follows from it.

use std::collections::BTreeSet;
use std::time::Duration;

use super::super::watch::{Alertmanager, Prometheus, admin_addresses, hurried};
use crate::support::{Deployment, blocking, eventually, json, limited};

/// Several scrapes, evaluations and messages, on a busy machine.
const HEARD: Duration = Duration::from_secs(60);

/// A consequence is silenced where it follows from its cause, and nowhere else.
#[tokio::test]
async fn an_alert_silences_what_follows_from_it_alone() {
    limited(async {
        let alertmanager = blocking(|| Alertmanager::start(hurried)).await;
        // As a PodMonitor names the job: of both programs alike.
        let of_node = |name: &str, program: &str, node: &str| {
            json!({"labels": {
                "alertname": name, "job": "messenger/messenger", "program": program, "instance": node, "severity": "page",
            }})
        };
        let of_all = |name: &str| json!({"labels": {"alertname": name, "severity": "page"}});
        let mut of_another_deployment = of_node("MessengerNodeDown", "messenger-gateway", "gateway3");
        of_another_deployment["labels"]["namespace"] = "another".into();
        let alerts = json!([
            of_node("MessengerBusLinkDown", "", "api1"),
            of_node("MessengerNodeNotReady", "", "api1"),
            of_node("MessengerNodeNotReady", "", "gateway1"),
            of_node("MessengerNodeDown", "messenger-api", "api2"),
            of_node("MessengerNodeDown", "messenger-gateway", "gateway2"),
            of_node("MessengerNodeDown", "messenger", "both"),
            of_another_deployment,
            of_all("MessengerOutboxGrows"),
            of_all("MessengerNoGateway"),
            of_all("MessengerErrors"),
            of_all("MessengerReconnectStorm"),
        ]);
        alertmanager.hear(&alerts).await;
        let silenced = [
            ("MessengerNodeNotReady", "api1"),
            ("MessengerNodeDown", "gateway2"),
            ("MessengerNodeDown", "both"),
            ("MessengerReconnectStorm", ""),
        ];
        let heard = [
            ("MessengerBusLinkDown", "api1"),
            ("MessengerNodeNotReady", "gateway1"),
            ("MessengerNodeDown", "api2"),
            ("MessengerNodeDown", "gateway3"),
            // One node without a link is no reason for it.
            ("MessengerOutboxGrows", ""),
            ("MessengerNoGateway", ""),
            ("MessengerErrors", ""),
        ];
        eventually("each is where it belongs", HEARD, async || {
            let held = alertmanager.alerts().await?;
            let is = |(alert, node): &(&str, &str), state: &str| {
                held.get(&((*alert).to_owned(), (*node).to_owned())).is_some_and(|held| held == state)
            };
            let is_so = silenced.iter().all(|one| is(one, "suppressed")) && heard.iter().all(|one| is(one, "active"));
            is_so.then_some(())
        })
        .await;
    })
    .await;
}

#[tokio::test]
async fn an_alert_fires_when_redis_stops_and_ends_when_it_is_back() {
    limited(async {
        let cluster = Deployment::cluster(1, 1).start().await;
        let (apis, gateways) = (admin_addresses(cluster.apis()), admin_addresses(cluster.gateways()));
        let nodes: BTreeSet<String> = apis.iter().chain(&gateways).cloned().collect();
        let (alertmanager, prometheus) = blocking(move || {
            let alertmanager = Alertmanager::start(hurried);
            let address = [alertmanager.address()];
            let targets = [("api", &apis[..]), ("gateway", &gateways[..]), ("alertmanager", &address[..])];
            (alertmanager, Prometheus::start(&targets, hurried))
        })
        .await;
        eventually("both nodes are scraped and well", HEARD, async || {
            let up = prometheus.ask("query", &[("query", "messenger_backplane_up == 1")]).await?;
            (up["result"].as_array()?.len() == 2).then_some(())
        })
        .await;
        assert_eq!(prometheus.firing("MessengerBusLinkDown").await, Some(BTreeSet::new()));

        cluster.redis().stop().await;
        eventually("the alert fires for both nodes", HEARD, async || {
            (prometheus.firing("MessengerBusLinkDown").await? == nodes).then_some(())
        })
        .await;
        eventually("Alertmanager holds the cause, and silences what follows", HEARD, async || {
            let alerts = alertmanager.alerts().await?;
            let state = |alert: &str, node: &String| alerts.get(&(alert.to_owned(), node.clone())).cloned();
            let is_so = nodes.iter().all(|node| {
                state("MessengerBusLinkDown", node).as_deref() == Some("active")
                    && state("MessengerNodeNotReady", node).as_deref() == Some("suppressed")
            });
            is_so.then_some(())
        })
        .await;
        // They serve all the same. These alerts would fire as soon as those that are there already.
        let until = tokio::time::Instant::now() + Duration::from_secs(4);
        while tokio::time::Instant::now() < until {
            for alert in ["MessengerNoApi", "MessengerNoGateway"] {
                assert_eq!(prometheus.firing(alert).await, Some(BTreeSet::new()), "{alert}");
            }
            tokio::time::sleep(Duration::from_millis(200)).await;
        }

        cluster.redis().start().await;
        eventually("the alert ends", HEARD, async || {
            let firing = prometheus.firing("MessengerBusLinkDown").await?;
            let held = alertmanager.alerts().await?;
            let is_over = firing.is_empty() && !held.keys().any(|(alert, _)| alert == "MessengerBusLinkDown");
            is_over.then_some(())
        })
        .await;
    })
    .await;
}
