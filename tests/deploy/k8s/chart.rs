//! `k8s/chart`: by Helm what `overlays/production` is by kustomize.

use std::collections::BTreeMap;

use super::super::kubectl::helm;
use super::super::python::documents;
use super::{PODS, assert_have_files, assert_valid, find, of_kind, overlay};
use crate::deploy::root;
use crate::support::{Value, blocking, process};

/// The objects that Helm makes of the chart with these settings.
pub(super) async fn templated(settings: &[&str]) -> Result<String, String> {
    let mut command = helm().await;
    command.args(["template", "messenger"]).arg(root().join("k8s/chart")).args(["--namespace", "messenger"]);
    for setting in settings {
        command.args(["--set", setting]);
    }
    blocking(|| process::run(command)).await
}

/// The same with a values file.
async fn templated_with(values: &str) -> Result<String, String> {
    let dir = process::new_dir("chart");
    let file = dir.join("my-values.yaml");
    std::fs::write(&file, values).unwrap();
    let mut command = helm().await;
    command.args(["template", "messenger"]).arg(root().join("k8s/chart")).arg("--values").arg(file);
    let objects = blocking(|| process::run(command)).await;
    process::remove_dir(&dir);
    objects
}

/// The objects by kind and name, without what each way says of itself: the hash in the name of
/// kustomize's ConfigMap, Helm's checksum of it, and the namespace, which Helm is told.
fn comparable(objects: Vec<Value>) -> BTreeMap<String, Value> {
    let config = of_kind(&objects, "ConfigMap")[0]["metadata"]["name"].as_str().unwrap().to_owned();
    let plain = objects.into_iter().filter(|object| object["kind"] != "Namespace").map(|object| {
        let text = object.to_string().replace(&format!("\"{config}\""), "\"messenger-config\"");
        let mut object: Value = serde_json::from_str(&text).unwrap();
        object["metadata"].as_object_mut().unwrap().remove("namespace");
        if let Some(template) = object.pointer_mut("/spec/template/metadata/annotations") {
            template.as_object_mut().unwrap().remove("checksum/config");
        }
        let name = format!("{} {}", object["kind"], object["metadata"]["name"]);
        (name, object)
    });
    plain.collect()
}

#[tokio::test]
async fn the_chart_is_the_production_overlay() {
    let chart = comparable(documents(&templated(&[]).await.unwrap()).await);
    let kustomize = comparable(overlay("production").await);
    assert_eq!(chart.keys().collect::<Vec<_>>(), kustomize.keys().collect::<Vec<_>>());
    for (name, object) in &chart {
        assert_eq!(object, &kustomize[name], "{name}");
    }
}

/// Helm reads a number of a values file as a fraction: from a million on it would have an exponent.
#[tokio::test]
async fn numbers_of_a_values_file_are_written_as_they_are() {
    let given = [
        ("REFRESH_TOKEN_TTL_SECONDS", "1209600"),
        ("MAX_SEND_QUEUE_BYTES", "4294967296"),
        ("DRAIN_SECONDS", "40"),
        ("EVENT_RETENTION_DAYS", "0.5"),
        ("OTEL_TRACES_SAMPLER_ARG", "0"),
    ];
    let mut values =
        "tag: 20260101\nmigrateJob: { enabled: true }\nconfig:\n  MIGRATE: off\n  RATE_LIMITS: false\n".to_owned();
    values.extend(given.map(|(name, value)| format!("  {name}: {value}\n")));
    let objects = documents(&templated_with(&values).await.unwrap()).await;
    let config = &of_kind(&objects, "ConfigMap")[0]["data"];
    let job = &find(&objects, "Job", "messenger-migrate")["spec"]["template"]["spec"]["containers"][0];
    let of_job = job["env"].as_array().unwrap();
    for (name, value) in given.into_iter().chain([("RATE_LIMITS", "false")]) {
        assert_eq!(config[name], value, "{name}");
        let variable = of_job.iter().find(|variable| variable["name"] == name).unwrap();
        assert_eq!(variable["value"], value, "{name}");
    }
    for deployment in of_kind(&objects, "Deployment") {
        let image = &deployment["spec"]["template"]["spec"]["containers"][0]["image"];
        assert!(image.as_str().unwrap().ends_with(":20260101"), "{image}");
    }
    assert!(job["image"].as_str().unwrap().ends_with(":20260101"));
}

/// Values for clusters whose pods need more, and for a Prometheus that asks for a label.
const MORE: &str = "\
imagePullSecrets: [{ name: my-registry }]
migrateJob: { enabled: true }
extraEnv: [{ name: OTEL_EXPORTER_OTLP_HEADERS, valueFrom: { secretKeyRef: { name: traces, key: HEADERS } } }]
extraVolumes: [{ name: files, secret: { secretName: messenger-files } }]
extraVolumeMounts: [{ name: files, mountPath: /etc/messenger, readOnly: true }]
config: { TLS_CA_FILE: /etc/messenger/ca.pem }
api:
  extraEnv: [{ name: JWT_PRIVATE_KEY_FILE, value: /etc/messenger-key/jwt-private.pem }]
  extraVolumes: [{ name: signing-key, secret: { secretName: messenger-signing-key } }]
  extraVolumeMounts: [{ name: signing-key, mountPath: /etc/messenger-key, readOnly: true }]
podMonitor: { labels: { release: kube-prometheus-stack } }
";

#[tokio::test]
async fn pods_get_variables_files_and_a_login_of_values() {
    let text = templated_with(MORE).await.unwrap();
    assert_valid("the chart with more", text.clone()).await;
    let objects = documents(&text).await;
    assert_have_files(&objects);
    for (kind, name, _) in PODS {
        let pod = &find(&objects, kind, name)["spec"]["template"]["spec"];
        assert_eq!(pod["imagePullSecrets"], serde_json::json!([{"name": "my-registry"}]), "{name}");
        let variables = pod["containers"][0]["env"].as_array().unwrap();
        let headers = variables.iter().find(|variable| variable["name"] == "OTEL_EXPORTER_OTLP_HEADERS").unwrap();
        assert_eq!(headers["valueFrom"]["secretKeyRef"]["name"], "traces", "{name}");
    }
    let monitor = find(&objects, "PodMonitor", "messenger");
    assert_eq!(monitor["metadata"]["labels"]["release"], "kube-prometheus-stack");
}

#[tokio::test]
async fn the_chart_is_sound_and_its_values_are_heeded() {
    let mut lint = helm().await;
    lint.args(["lint", "--strict"]).arg(root().join("k8s/chart"));
    blocking(|| process::run(lint)).await.unwrap();

    let settings = [
        "host=talk.example.net",
        "tag=9.9.9",
        "secret=other",
        "config.DRAIN_SECONDS=40",
        "podMonitor.enabled=false",
        "networkPolicy.enabled=false",
    ];
    let text = templated(&settings).await.unwrap();
    assert_valid("the chart", text.clone()).await;
    let objects = documents(&text).await;
    assert!(of_kind(&objects, "PodMonitor").is_empty() && of_kind(&objects, "NetworkPolicy").is_empty());
    for deployment in of_kind(&objects, "Deployment") {
        let pod = &deployment["spec"]["template"]["spec"];
        assert_eq!(pod["terminationGracePeriodSeconds"], 65, "5 before the drain of 40, 20 after it");
        assert!(pod["containers"][0]["image"].as_str().unwrap().ends_with(":9.9.9"));
        let reference = r#""secretKeyRef":{"key":"SECRET_KEY","name":"other","optional":true}"#;
        assert!(deployment.to_string().contains(reference));
    }
    for ingress in of_kind(&objects, "Ingress") {
        assert_eq!(ingress["spec"]["rules"][0]["host"], "talk.example.net");
        assert_eq!(ingress["spec"]["tls"][0]["hosts"][0], "talk.example.net");
    }
}

/// A cluster has one class of that name, and its controller may be another.
#[tokio::test]
async fn a_second_release_stands_beside_the_first() {
    let settings = ["priorityClass.create=false", "ingress.className=traefik", "config.DRAIN_SECONDS=90.5"];
    let text = templated(&settings).await.unwrap();
    assert_valid("a second release", text.clone()).await;
    let objects = documents(&text).await;
    assert!(of_kind(&objects, "PriorityClass").is_empty());
    for deployment in of_kind(&objects, "Deployment") {
        let pod = &deployment["spec"]["template"]["spec"];
        assert_eq!(pod["priorityClassName"], "messenger");
        assert_eq!(pod["terminationGracePeriodSeconds"], 116, "the end of a drain of 90.5 is waited for");
    }
    for ingress in of_kind(&objects, "Ingress") {
        assert_eq!(ingress["spec"]["ingressClassName"], "traefik");
    }
    let none = documents(&templated(&["ingress.enabled=false", "priorityClass.create=false"]).await.unwrap()).await;
    assert!(of_kind(&none, "Ingress").is_empty());
}
