//! `k8s/`: what kustomize makes of it is valid for the Kubernetes versions in use, and keeps what
//! the contract asks for: pods that are probed, unprivileged, ended gently and spread, with
//! secrets by reference.

mod chart;
mod components;
mod job;
mod overlays;
mod scaling;

use std::collections::BTreeSet;

use super::kubectl::kustomize;
use super::python::{documents, python};
use super::{known_variables, root, shipped};
use crate::support::{Value, blocking, process};

const PROGRAMS: [(&str, u64, u64); 2] = [("api", 8000, 9000), ("gateway", 8001, 9001)];
/// The oldest version that knows all the fields used, the newest with a published schema, and one
/// between.
const VERSIONS: [&str; 3] = ["1.30.0", "1.33.0", "1.37.0"];
const FOLDERS: [&str; 3] = ["base", "overlays/small", "overlays/production"];
const SECRETS: [&str; 3] = ["DATABASE_URL", "REDIS_URL", "SECRET_KEY"];

/// The objects that kustomize makes of a folder of `k8s/`, as YAML.
async fn built(folder: &str) -> String {
    let mut command = kustomize().await;
    command.arg(root().join("k8s").join(folder));
    blocking(|| process::run(command)).await.unwrap()
}

async fn base() -> Vec<Value> {
    documents(&built("base").await).await
}

async fn overlay(name: &str) -> Vec<Value> {
    documents(&built(&format!("overlays/{name}")).await).await
}

fn of_kind<'a>(objects: &'a [Value], kind: &str) -> Vec<&'a Value> {
    objects.iter().filter(|object| object["kind"] == kind).collect()
}

fn find<'a>(objects: &'a [Value], kind: &str, name: &str) -> &'a Value {
    of_kind(objects, kind)
        .into_iter()
        .find(|object| object["metadata"]["name"] == name)
        .unwrap_or_else(|| panic!("no {kind} {name}"))
}

fn pod<'a>(objects: &'a [Value], program: &str) -> &'a Value {
    &find(objects, "Deployment", &format!("messenger-{program}"))["spec"]["template"]["spec"]
}

fn container<'a>(objects: &'a [Value], program: &str) -> &'a Value {
    let containers = pod(objects, program)["containers"].as_array().unwrap();
    assert_eq!(containers.len(), 1);
    &containers[0]
}

/// The number of the container's port of that name.
fn port(container: &Value, name: &str) -> Option<u64> {
    let ports = container["ports"].as_array()?;
    ports.iter().find(|port| port["name"] == name)?["containerPort"].as_u64()
}

/// Kind and name of what runs a program of ours, and whether it has the key that signs.
const PODS: [(&str, &str, bool); 3] = [
    ("Deployment", "messenger-api", true),
    ("Deployment", "messenger-gateway", false),
    ("Job", "messenger-migrate", true),
];

/// Each volume of the pods is mounted: files in all of them, the key that signs where it is needed.
fn assert_have_files(objects: &[Value]) {
    let names = |list: &Value| -> BTreeSet<String> {
        let list = list.as_array().unwrap().iter();
        list.map(|one| one["name"].as_str().unwrap().to_owned()).collect()
    };
    for (kind, name, signs) in PODS {
        let pod = &find(objects, kind, name)["spec"]["template"]["spec"];
        let container = &pod["containers"][0];
        let mut expected = BTreeSet::from(["files".to_owned()]);
        if signs {
            expected.insert("signing-key".to_owned());
        }
        assert_eq!(names(&pod["volumes"]), expected, "{name}");
        assert_eq!(names(&container["volumeMounts"]), expected, "{name}");
        assert_eq!(names(&container["env"]).contains("JWT_PRIVATE_KEY_FILE"), signs, "{name}");
    }
}

/// Holds objects, as YAML, against the schemas.
async fn assert_valid(what: &str, yaml: String) {
    let dir = process::new_dir("k8s");
    let file = dir.join("built.yaml");
    std::fs::write(&file, yaml).unwrap();
    for version in VERSIONS {
        let mut command = python().await;
        command.args(["-m", "kubernetes_validate", "--strict", "--kubernetes-version", version]).arg(&file);
        let said = blocking(|| process::run(command)).await;
        assert!(said.is_ok(), "{what} against {version}: {}", said.unwrap_err());
    }
    process::remove_dir(&dir);
}

#[tokio::test]
async fn is_valid_for_the_kubernetes_schemas() {
    for folder in FOLDERS {
        assert_valid(folder, built(folder).await).await;
    }
}

#[tokio::test]
async fn a_wrong_field_would_be_told() {
    let dir = process::new_dir("k8s");
    let file = dir.join("broken.yaml");
    let broken = built("base").await.replace("readOnlyRootFilesystem", "readOnlyRootFileSystem");
    std::fs::write(&file, broken).unwrap();
    let mut command = python().await;
    command.args(["-m", "kubernetes_validate", "--strict"]).arg(&file);
    assert!(blocking(|| process::run(command)).await.is_err());
    process::remove_dir(&dir);
}

#[tokio::test]
async fn pods_are_probed_on_the_admin_port() {
    let objects = base().await;
    for (program, public, admin) in PROGRAMS {
        let container = container(&objects, program);
        assert_eq!(port(container, "http"), Some(public));
        assert_eq!(port(container, "admin"), Some(admin));
        for (probe, path) in
            [("startupProbe", "/healthz"), ("livenessProbe", "/healthz"), ("readinessProbe", "/servez")]
        {
            assert_eq!(container[probe]["httpGet"]["path"], path, "{program} {probe}");
            assert_eq!(container[probe]["httpGet"]["port"], "admin", "{program} {probe}");
        }
        // A program waits a minute for what it needs before it gives up by itself.
        let startup = &container["startupProbe"];
        let patience = startup["periodSeconds"].as_u64().unwrap() * startup["failureThreshold"].as_u64().unwrap();
        assert!(patience > 60, "{program}: {patience} s");

        let annotations = &find(&objects, "Deployment", &format!("messenger-{program}"))["spec"]["template"]["metadata"]
            ["annotations"];
        assert_eq!(annotations["prometheus.io/scrape"], "true");
        assert_eq!(annotations["prometheus.io/port"], admin.to_string());
        assert_eq!(annotations["prometheus.io/path"], "/metrics");
    }
}

#[tokio::test]
async fn pods_are_ended_after_their_drain() {
    let objects = base().await;
    let config = of_kind(&objects, "ConfigMap");
    assert_eq!(config.len(), 1);
    let drain: u64 = config[0]["data"]["DRAIN_SECONDS"].as_str().unwrap().parse().unwrap();
    for (program, ..) in PROGRAMS {
        let pause = container(&objects, program)["lifecycle"]["preStop"]["sleep"]["seconds"].as_u64().unwrap();
        let grace = pod(&objects, program)["terminationGracePeriodSeconds"].as_u64().unwrap();
        assert!(grace >= pause + drain + 10, "{program}: {pause} s and {drain} s do not fit {grace} s");
    }
}

#[tokio::test]
async fn pods_have_no_privilege() {
    let objects = base().await;
    for (program, ..) in PROGRAMS {
        let pod = pod(&objects, program);
        assert_eq!(pod["automountServiceAccountToken"], false);
        let of_pod = &pod["securityContext"];
        assert_eq!(of_pod["runAsNonRoot"], true);
        assert_eq!(of_pod["seccompProfile"]["type"], "RuntimeDefault");
        let user = of_pod["runAsUser"].as_u64().unwrap();
        assert!(
            shipped("deploy/Dockerfile").contains(&format!("\nUSER {user}:")),
            "the image's user is another than {user}"
        );
        let container = container(&objects, program);
        let of_container = &container["securityContext"];
        assert_eq!(of_container["allowPrivilegeEscalation"], false);
        assert_eq!(of_container["readOnlyRootFilesystem"], true);
        assert_eq!(of_container["capabilities"]["drop"], serde_json::json!(["ALL"]));
        for amount in ["cpu", "memory"] {
            assert!(container["resources"]["requests"][amount].is_string(), "{program} {amount}");
        }
        assert!(container["resources"]["limits"]["memory"].is_string(), "{program}");
    }
    for name in ["small", "production"] {
        let namespace = overlay(name).await;
        let labels = &find(&namespace, "Namespace", "messenger")["metadata"]["labels"];
        assert_eq!(labels["pod-security.kubernetes.io/enforce"], "restricted");
    }
}

#[tokio::test]
async fn secrets_are_referred_to_and_variables_are_known() {
    let known = known_variables();
    for folder in FOLDERS {
        let text = built(folder).await;
        assert!(
            !text.contains("://messenger:") && !text.contains("postgresql://"),
            "{folder}: an address with a secret"
        );
        let objects = documents(&text).await;
        assert!(of_kind(&objects, "Secret").is_empty(), "{folder}: a Secret with values in a file");
        let config = of_kind(&objects, "ConfigMap")[0];
        for name in config["data"].as_object().unwrap().keys() {
            assert!(known.contains(name), "{folder}: {name} is no variable of ours");
            assert!(!SECRETS.contains(&name.as_str()), "{folder}: {name} stands in the ConfigMap");
        }
        for (program, ..) in PROGRAMS {
            let container = container(&objects, program);
            assert_eq!(container["envFrom"][0]["configMapRef"]["name"], config["metadata"]["name"]);
            let environment = container["env"].as_array().unwrap();
            for variable in environment {
                assert!(known.contains(variable["name"].as_str().unwrap()), "{folder}: {variable}");
            }
            for secret in SECRETS {
                let variable = environment.iter().find(|variable| variable["name"] == secret).unwrap();
                assert!(variable["value"].is_null(), "{folder}: {variable}");
                let reference = &variable["valueFrom"]["secretKeyRef"];
                // A file may take its place.
                let expected = serde_json::json!({"name": "messenger-secrets", "key": secret, "optional": true});
                assert_eq!(*reference, expected);
            }
        }
    }
}

#[tokio::test]
async fn services_find_their_pods() {
    let objects = base().await;
    for (program, ..) in PROGRAMS {
        let name = format!("messenger-{program}");
        let labels = &find(&objects, "Deployment", &name)["spec"]["template"]["metadata"]["labels"];
        for (service, target) in [(name.clone(), "http"), (format!("{name}-admin"), "admin")] {
            let spec = &find(&objects, "Service", &service)["spec"];
            for (key, value) in spec["selector"].as_object().unwrap() {
                assert_eq!(&labels[key], value, "{service}");
            }
            assert_eq!(spec["ports"].as_array().unwrap().len(), 1);
            assert_eq!(spec["ports"][0]["targetPort"], target, "{service}");
        }
        let admin = &find(&objects, "Service", &format!("{name}-admin"))["spec"];
        assert_eq!(admin["clusterIP"], "None");
        assert_eq!(admin["publishNotReadyAddresses"], true);
    }
}

#[tokio::test]
async fn sockets_go_to_the_gateways_and_all_else_to_the_apis() {
    for objects in [base().await, overlay("small").await, overlay("production").await] {
        let mut routes = Vec::new();
        for ingress in of_kind(&objects, "Ingress") {
            for rule in ingress["spec"]["rules"].as_array().unwrap() {
                for path in rule["http"]["paths"].as_array().unwrap() {
                    assert_eq!(path["pathType"], "Prefix");
                    let service = &path["backend"]["service"];
                    // The admin port has a Service of its own, and no route.
                    assert_eq!(service["port"]["name"], "http");
                    routes.push((path["path"].as_str().unwrap(), service["name"].as_str().unwrap()));
                }
            }
        }
        routes.sort_unstable();
        assert_eq!(routes, [("/", "messenger-api"), ("/ws", "messenger-gateway")]);
    }
    let objects = overlay("production").await;
    let gateway = &find(&objects, "Ingress", "messenger-gateway")["metadata"]["annotations"];
    assert_eq!(gateway["nginx.ingress.kubernetes.io/enable-access-log"], "false", "a token would be logged");
    assert_eq!(gateway["nginx.ingress.kubernetes.io/proxy-read-timeout"], "3600");
}

#[tokio::test]
async fn some_pods_always_stay() {
    let objects = base().await;
    for (program, ..) in PROGRAMS {
        let name = format!("messenger-{program}");
        let deployment = &find(&objects, "Deployment", &name)["spec"];
        let selector = &deployment["selector"];
        assert!(deployment["replicas"].is_null(), "the autoscaler's to say");
        assert_eq!(deployment["strategy"]["rollingUpdate"]["maxUnavailable"], 0);

        let budget = &find(&objects, "PodDisruptionBudget", &name)["spec"];
        assert_eq!(&budget["selector"], selector);
        assert_eq!(budget["maxUnavailable"], 1);

        let scaler = &find(&objects, "HorizontalPodAutoscaler", &name)["spec"];
        assert_eq!(scaler["scaleTargetRef"]["kind"], "Deployment");
        assert_eq!(scaler["scaleTargetRef"]["name"], name);
        assert!(scaler["minReplicas"].as_u64().unwrap() >= 2);
        assert!(scaler["maxReplicas"].as_u64() > scaler["minReplicas"].as_u64());

        let spread = pod(&objects, program)["topologySpreadConstraints"].as_array().unwrap();
        let keys: Vec<_> = spread.iter().map(|constraint| constraint["topologyKey"].as_str().unwrap()).collect();
        assert_eq!(keys, ["kubernetes.io/hostname", "topology.kubernetes.io/zone"]);
        assert!(spread.iter().all(|constraint| constraint["labelSelector"] == *selector));
    }
}
