//! The schema by a Job before the roll-out: as a component of kustomize, and as a hook of Helm.

use super::chart::templated;
use super::{assert_valid, find, of_kind};
use crate::deploy::kubectl::kustomize;
use crate::deploy::python::documents;
use crate::deploy::{copy_of, known_variables};
use crate::support::{Value, blocking, process};

/// `production` with these components, as their heads say.
pub(super) async fn with_components(names: &[&str]) -> String {
    let dir = process::new_dir("k8s");
    let overlay = copy_of("k8s", &dir).join("overlays/production");
    let file = overlay.join("kustomization.yaml");
    let text = std::fs::read_to_string(&file).unwrap();
    let last = "  - ../../components/ingress-nginx\n";
    let mut lines = last.to_owned();
    lines.extend(names.iter().map(|name| format!("  - ../../components/{name}\n")));
    let with = text.replace(last, &lines);
    assert_ne!(with, text);
    std::fs::write(file, with).unwrap();
    let mut command = kustomize().await;
    command.arg(&overlay);
    let built = blocking(|| process::run(command)).await.unwrap();
    process::remove_dir(&dir);
    built
}

/// The promises of both ways about the Job: the api's image with a command that there is, the
/// programs' own variables, and no more rights than theirs.
fn assert_migrates(objects: &[Value]) {
    let job = &find(objects, "Job", "messenger-migrate")["spec"]["template"]["spec"];
    let container = &job["containers"][0];
    let api = &find(objects, "Deployment", "messenger-api")["spec"]["template"]["spec"];
    let of_api = &api["containers"][0];
    assert_eq!(container["image"], of_api["image"]);
    assert_eq!(container["args"], serde_json::json!(["migrate"]));
    assert_eq!(job["restartPolicy"], "Never");
    assert_eq!(job["securityContext"], api["securityContext"]);
    assert_eq!(container["securityContext"], of_api["securityContext"]);
    let known = known_variables();
    let environment = container["env"].as_array().unwrap();
    for variable in environment {
        assert!(known.contains(variable["name"].as_str().unwrap()), "{variable}");
    }
    for name in ["DATABASE_URL", "REDIS_URL", "SECRET_KEY"] {
        let variable = |environment: &[Value]| environment.iter().find(|variable| variable["name"] == name).cloned();
        assert!(variable(environment).is_some());
        assert_eq!(variable(environment), variable(of_api["env"].as_array().unwrap()), "{name}");
    }
}

#[tokio::test]
async fn a_component_migrates_and_nodes_wait() {
    let text = with_components(&["migrate-job"]).await;
    assert_valid("the component", text.clone()).await;
    let objects = documents(&text).await;
    assert_migrates(&objects);
    let config = of_kind(&objects, "ConfigMap")[0];
    assert_eq!(config["data"]["MIGRATE"], "off");
    assert_eq!(config["data"]["DEBUG"], "false", "the overlay's own stay");
    let job = find(&objects, "Job", "messenger-migrate");
    let reads = &job["spec"]["template"]["spec"]["containers"][0]["envFrom"][0]["configMapRef"]["name"];
    assert_eq!(*reads, config["metadata"]["name"]);
}

#[tokio::test]
async fn a_hook_of_the_chart_migrates_before_the_roll_out() {
    let none = documents(&templated(&[]).await.unwrap()).await;
    assert!(of_kind(&none, "Job").is_empty());
    let text = templated(&["migrateJob.enabled=true", "config.MIGRATE=off"]).await.unwrap();
    assert_valid("the hook", text.clone()).await;
    let objects = documents(&text).await;
    assert_migrates(&objects);
    let annotations = &find(&objects, "Job", "messenger-migrate")["metadata"]["annotations"];
    assert_eq!(annotations["helm.sh/hook"], "pre-install,pre-upgrade");
}
