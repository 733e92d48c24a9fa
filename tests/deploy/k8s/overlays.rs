//! The overlays: `small` brings its Postgres and its Redis, `production` what many users need.

use std::collections::BTreeSet;
use std::process::Command;

use super::super::python::document;
use super::{PROGRAMS, container, find, of_kind, overlay, pod, port};
use crate::deploy::shipped;
use crate::programs::metrics::scrape;
use crate::support::{Redis, Value, blocking, limited, process, shared};

#[tokio::test]
async fn overlays_name_their_own_images_and_host() {
    for name in ["small", "production"] {
        let objects = overlay(name).await;
        for (program, ..) in PROGRAMS {
            assert_eq!(
                container(&objects, program)["image"],
                format!("registry.example.com/messenger-{program}:{}", env!("CARGO_PKG_VERSION"))
            );
        }
        for object in &objects {
            let is_of_cluster = object["kind"] == "Namespace" || object["kind"] == "PriorityClass";
            let namespace = object["metadata"]["namespace"].as_str();
            assert_eq!(namespace, (!is_of_cluster).then_some("messenger"), "{}", object["metadata"]["name"]);
        }
        for ingress in of_kind(&objects, "Ingress") {
            assert_eq!(ingress["spec"]["rules"][0]["host"], ingress["spec"]["tls"][0]["hosts"][0]);
        }
    }
}

/// Every pod keeps the standard that the namespace enforces, other people's images too.
#[tokio::test]
async fn no_pod_has_a_privilege() {
    for name in ["small", "production"] {
        let objects = overlay(name).await;
        let workloads = objects.iter().filter(|object| object["spec"]["template"]["spec"].is_object());
        for workload in workloads {
            let name = &workload["metadata"]["name"];
            let pod = &workload["spec"]["template"]["spec"];
            assert_eq!(pod["securityContext"]["runAsNonRoot"], true, "{name}");
            assert_eq!(pod["securityContext"]["seccompProfile"]["type"], "RuntimeDefault", "{name}");
            assert_eq!(pod["automountServiceAccountToken"], false, "{name}");
            for container in pod["containers"].as_array().unwrap() {
                let own = &container["securityContext"];
                assert_eq!(own["allowPrivilegeEscalation"], false, "{name}");
                assert_eq!(own["readOnlyRootFilesystem"], true, "{name}");
                assert_eq!(own["capabilities"]["drop"], serde_json::json!(["ALL"]), "{name}");
                assert!(container["resources"]["limits"]["memory"].is_string(), "{name}");
                assert!(!container["image"].as_str().unwrap().ends_with(":latest"), "{name}");
                assert!(container["readinessProbe"].is_object(), "{name}");
            }
        }
    }
}

#[tokio::test]
async fn small_brings_its_postgres_and_its_redis() {
    let objects = overlay("small").await;
    let compose = document(&shipped("deploy/compose.yaml")).await;
    for (kind, name) in [("StatefulSet", "postgres"), ("Deployment", "redis")] {
        let full = format!("messenger-{name}");
        let template = &find(&objects, kind, &full)["spec"]["template"];
        let service = &find(&objects, "Service", &full)["spec"];
        for (key, value) in service["selector"].as_object().unwrap() {
            assert_eq!(&template["metadata"]["labels"][key], value);
        }
        let container = &template["spec"]["containers"][0];
        let target = service["ports"][0]["targetPort"].as_str().unwrap();
        assert_eq!(port(container, target), service["ports"][0]["port"].as_u64());
        assert_eq!(container["image"], compose["services"][name]["image"], "one version, tried once");
        for variable in container["env"].as_array().unwrap() {
            let is_secret = variable["valueFrom"]["secretKeyRef"]["name"] == "messenger-secrets";
            assert!(is_secret || !variable["name"].as_str().unwrap().contains("PASSWORD"), "{variable}");
        }
    }
    let options = |words: &Value| -> BTreeSet<String> {
        let words = words.as_array().unwrap().iter().map(|word| word.as_str().unwrap());
        words.filter(|word| word.starts_with("--")).map(str::to_owned).collect()
    };
    let redis = pod(&objects, "redis")["containers"][0]["args"].clone();
    let mut expected = options(&compose["services"]["redis"]["command"]);
    expected.insert("--dir".to_owned());
    assert_eq!(options(&redis), expected, "as compose starts it, which is tried");
    // Postgres counts its connections: all pools fit, and the operator's own sessions too.
    let most: u64 = PROGRAMS
        .iter()
        .map(|(program, ..)| {
            let scaler = find(&objects, "HorizontalPodAutoscaler", &format!("messenger-{program}"));
            scaler["spec"]["maxReplicas"].as_u64().unwrap()
        })
        .sum();
    let config = &of_kind(&objects, "ConfigMap")[0]["data"];
    let pool: u64 = config["DB_POOL_SIZE"].as_str().unwrap().parse().unwrap();
    // a pod that drains is not counted: all of before may, while a roll-out has all new ones
    assert!(2 * most * pool <= 96, "{most} pods with {pool} connections each");
}

/// Runs a probe of the Redis against the one at that port.
async fn probed(probe: &Value, port: u16) -> Result<String, String> {
    let words: Vec<&str> =
        probe["exec"]["command"].as_array().unwrap().iter().map(|word| word.as_str().unwrap()).collect();
    let mut command = Command::new(words[0]);
    command.args(["-p", &port.to_string()]).args(&words[1..]).env("REDISCLI_AUTH", "the-old-password");
    blocking(|| process::run(command)).await
}

/// A container keeps the variables of its start. So after a change of the password the probes have
/// the old one, and Kubernetes would end a Redis that nothing is the matter with.
#[tokio::test]
async fn a_changed_password_does_not_end_the_redis_of_small() {
    limited(async {
        let objects = overlay("small").await;
        let container = &pod(&objects, "redis")["containers"][0];
        let redis = Redis::with_options(&["--requirepass", "the-new-password"]).await;
        for probe in ["readinessProbe", "livenessProbe"] {
            let said = probed(&container[probe], redis.port()).await;
            assert!(said.is_ok(), "{probe}: {said:?}");
        }
        redis.stop().await;
        for probe in ["readinessProbe", "livenessProbe"] {
            assert!(probed(&container[probe], redis.port()).await.is_err(), "{probe} of one that is gone");
        }
    })
    .await;
}

#[tokio::test]
async fn production_lets_nobody_in_by_the_side() {
    let objects = overlay("production").await;
    let policy = |name: &str| &find(&objects, "NetworkPolicy", name)["spec"];
    assert_eq!(policy("messenger-default")["podSelector"], serde_json::json!({}));
    assert_eq!(policy("messenger-default")["policyTypes"], serde_json::json!(["Ingress", "Egress"]));
    assert!(policy("messenger-default")["ingress"].is_null() && policy("messenger-default")["egress"].is_null());
    for (program, ..) in PROGRAMS {
        let labels = &find(&objects, "Deployment", &format!("messenger-{program}"))["spec"]["template"]["metadata"];
        for name in ["messenger-ingress", "messenger-egress"] {
            for (key, value) in policy(name)["podSelector"]["matchLabels"].as_object().unwrap() {
                assert_eq!(&labels["labels"][key], value, "{name} is not about the {program}");
            }
        }
        // Users reach the public port alone, Prometheus the admin port alone.
        let rules = policy("messenger-ingress")["ingress"].as_array().unwrap();
        let ways: Vec<_> = rules
            .iter()
            .map(|rule| {
                assert_eq!((rule["from"].as_array().unwrap().len(), rule["ports"].as_array().unwrap().len()), (1, 1));
                let from = &rule["from"][0]["namespaceSelector"]["matchLabels"]["kubernetes.io/metadata.name"];
                (from.as_str().unwrap(), rule["ports"][0]["port"].as_str().unwrap())
            })
            .collect();
        assert_eq!(ways, [("ingress-nginx", "http"), ("monitoring", "admin")]);
        for (_, name) in ways {
            assert!(port(container(&objects, program), name).is_some());
        }
    }
    // Names, where a cache of each node answers for them: that is no pod.
    let anywhere = &policy("messenger-egress")["egress"][1];
    assert_eq!(anywhere["to"][0]["ipBlock"]["cidr"], "0.0.0.0/0");
    for protocol in ["UDP", "TCP"] {
        let names = serde_json::json!({"port": 53, "protocol": protocol});
        assert!(anywhere["ports"].as_array().unwrap().contains(&names), "{anywhere}");
    }
    // The ingress controller reaches the pods of cert-manager that prove whose the name is.
    let solver = policy("messenger-acme-solver");
    let label = serde_json::json!({"matchLabels": {"acme.cert-manager.io/http01-solver": "true"}});
    assert_eq!(solver["podSelector"], label);
    assert_eq!(solver["policyTypes"], serde_json::json!(["Ingress"]));
    let from = &policy("messenger-ingress")["ingress"][0]["from"];
    assert_eq!(solver["ingress"], serde_json::json!([{"from": from, "ports": [{"port": 8089}]}]));
}

/// A pod that is no ingress controller would be a trusted proxy, and its connections would take the
/// admin ports' places.
#[tokio::test]
async fn small_lets_nobody_in_by_the_side_either() {
    let (small, production) = (overlay("small").await, overlay("production").await);
    let policy = |objects: &[Value]| find(objects, "NetworkPolicy", "messenger-ingress")["spec"].clone();
    assert_eq!(policy(&small), policy(&production));
}

#[tokio::test]
async fn production_serves_users_first_and_survives_a_zone() {
    let objects = overlay("production").await;
    let class = find(&objects, "PriorityClass", "messenger");
    assert!((1..1_000_000_000).contains(&class["value"].as_i64().unwrap()), "above batch, below the cluster's own");
    for (program, ..) in PROGRAMS {
        let pod = pod(&objects, program);
        assert_eq!(pod["priorityClassName"], "messenger");
        let zones = &pod["topologySpreadConstraints"][1];
        assert_eq!(zones["topologyKey"], "topology.kubernetes.io/zone");
        assert_eq!(
            zones["whenUnsatisfiable"], "ScheduleAnyway",
            "a zone that is away, or none, keeps no pod from starting"
        );
        let scaler = &find(&objects, "HorizontalPodAutoscaler", &format!("messenger-{program}"))["spec"];
        assert!(scaler["minReplicas"].as_u64().unwrap() >= 3, "two stay when a zone is lost");
    }
    let monitor = &find(&objects, "PodMonitor", "messenger")["spec"];
    assert_eq!(monitor["podMetricsEndpoints"][0]["port"], "admin");
    assert_eq!(monitor["podMetricsEndpoints"][0]["path"], "/metrics");
}

/// The autoscaler's own metric is served by the program, and the adapter's rule is about it.
#[tokio::test]
async fn gateways_are_scaled_by_a_metric_that_there_is() {
    limited(async {
        let objects = overlay("production").await;
        let scaler = &find(&objects, "HorizontalPodAutoscaler", "messenger-gateway")["spec"];
        let metrics = scaler["metrics"].as_array().unwrap();
        let custom = metrics.iter().find(|metric| metric["type"] == "Pods").unwrap();
        let name = custom["pods"]["metric"]["name"].as_str().unwrap();
        let cluster = shared::cluster().await;
        let served = scrape(cluster.gateway(0)).await;
        assert!(served.iter().any(|(series, _)| series == name), "{name}");
        let adapter = document(&shipped("k8s/overlays/production/prometheus-adapter.yaml")).await;
        let rule = &adapter["rules"]["custom"][0];
        assert!(rule["seriesQuery"].as_str().unwrap().starts_with(&format!("{name}{{")), "{rule}");
    })
    .await;
}
