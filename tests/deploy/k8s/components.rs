//! The components that give the pods files, a key that signs, and a login at their registry.

use super::job::with_components;
use super::{PODS, assert_have_files, assert_valid, find};
use crate::deploy::python::documents;

#[tokio::test]
async fn pods_get_files_a_key_and_a_login() {
    let text = with_components(&["migrate-job", "files", "signing-key", "registry"]).await;
    assert_valid("the components", text.clone()).await;
    let objects = documents(&text).await;
    assert_have_files(&objects);
    let account = find(&objects, "ServiceAccount", "messenger");
    assert_eq!(account["imagePullSecrets"], serde_json::json!([{"name": "messenger-registry"}]));
    for (kind, name, _) in PODS {
        let pod = &find(&objects, kind, name)["spec"]["template"]["spec"];
        assert_eq!(pod["serviceAccountName"], "messenger", "{name} has no login");
    }
}

/// The components' patches of the Job are about nothing then.
#[tokio::test]
async fn they_need_no_job() {
    let objects = documents(&with_components(&["files", "signing-key"]).await).await;
    let volumes = |name: &str| find(&objects, "Deployment", name)["spec"]["template"]["spec"]["volumes"].clone();
    assert_eq!(volumes("messenger-api").as_array().unwrap().len(), 2);
    assert_eq!(volumes("messenger-gateway").as_array().unwrap().len(), 1);
}
