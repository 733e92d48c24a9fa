//! redocly and spectral find nothing: no error and no warning.

use std::path::Path;

use super::{saved, tools};
use crate::support::{Value, blocking, json, limited, process};

const REDOCLY: (&str, &str) = ("@redocly/cli", "2.77.0");
const SPECTRAL: (&str, &str) = ("@stoplight/spectral-cli", "6.16.3");
/// A program does not know the e-mail address of its host.
const RULES: &str = r#"{"extends": ["spectral:oas", "spectral:asyncapi"],
    "rules": {"asyncapi-latest-version": "off", "asyncapi-info-contact-properties": "off"}}"#;

/// What redocly has to say of the OpenAPI document.
fn redocly(dir: &Path) -> Result<String, String> {
    let mut lint = tools::node(&tools::package(REDOCLY.0, REDOCLY.1)?, "bin/cli.js");
    lint.args(["lint", "--extends=recommended", "--format=json", "openapi.json"]).current_dir(dir);
    lint.env("REDOCLY_TELEMETRY", "off").env("REDOCLY_SUPPRESS_UPDATE_NOTICE", "true").env("HOME", dir);
    process::run(lint)
}

/// What spectral has to say of that document.
fn spectral(dir: &Path, document: &str) -> Result<String, String> {
    std::fs::write(dir.join("rules.json"), RULES).map_err(|error| error.to_string())?;
    let mut lint = tools::node(&tools::package(SPECTRAL.0, SPECTRAL.1)?, "dist/index.js");
    lint.args(["lint", "--ruleset", "rules.json", "--fail-severity", "hint", document]).current_dir(dir);
    process::run(lint)
}

#[tokio::test]
async fn redocly_finds_nothing() {
    limited(async {
        let d = crate::support::shared::embedded().await;
        let dir = saved(&d).await;
        let of = dir.clone();
        let said = blocking(move || redocly(&of)).await.unwrap();
        let report: Value = serde_json::from_str(&said[said.find('{').unwrap()..]).unwrap();
        assert_eq!((&report["totals"]["errors"], &report["totals"]["warnings"]), (&json!(0), &json!(0)), "{said}");
        process::remove_dir(&dir);
    })
    .await;
}

#[tokio::test]
async fn spectral_finds_nothing() {
    limited(async {
        let d = crate::support::shared::embedded().await;
        let dir = saved(&d).await;
        for document in ["openapi.json", "asyncapi.json"] {
            let of = dir.clone();
            let said = blocking(move || spectral(&of, document)).await;
            said.unwrap_or_else(|error| panic!("{document}: {error}"));
        }
        process::remove_dir(&dir);
    })
    .await;
}
