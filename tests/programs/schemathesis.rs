//! Requests that a machine makes up from the OpenAPI document, within its schemas and beside them:
//! each is answered as the document says, and none is a fault of ours.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;

use crate::support::{Deployment, blocking, process};

both_forms!(every_answer_is_one_of_the_document);

const PACKAGE: &str = "schemathesis==4.32.5";
/// Requests of each operation at most, beside the examples and the edges of each field.
const EXAMPLES: &str = "5";
/// Whether a request should have been taken is not asked: the document cannot say every rule.
const CHECKS: &str = "not_a_server_error,status_code_conformance,content_type_conformance,\
     response_headers_conformance,response_schema_conformance,ignored_auth";
/// These end the session that asks.
const ENDS_IT: &str = "/auth/(logout|sessions|me)";

async fn every_answer_is_one_of_the_document(d: &Deployment) {
    let user = d.user().await;
    user.group_id(&[&d.user().await]).await;
    // An api of a cluster describes the gateways' paths too, and serves them not.
    let left_out = if d.is_cluster() { format!("^({ENDS_IT}|/ws/)") } else { format!("^{ENDS_IT}") };
    let (url, bearer) = (format!("{}/openapi.json", d.api(0).url()), format!("Authorization: Bearer {}", user.access));
    let told = blocking(move || {
        let dir = process::new_dir("schemathesis");
        let mut run = Command::new(program()?);
        run.current_dir(&dir).args(["run", &url, "-H", &bearer, "--exclude-path-regex", &left_out]);
        run.args(["--checks", CHECKS, "-n", EXAMPLES, "--seed", "7", "--generation-database", "none"]);
        run.args(["--phases", "examples,coverage,fuzzing", "--continue-on-failure", "--no-color"]);
        let told = process::run(run);
        process::remove_dir(&dir);
        told
    });
    let told = told.await.unwrap();
    let count = told.lines().find(|line| line.contains(" generated, ")).unwrap_or("no count");
    println!("schemathesis:{count}");
}

/// The program, installed once a checkout, in the build folder.
fn program() -> Result<PathBuf, String> {
    static PROGRAM: OnceLock<Result<PathBuf, String>> = OnceLock::new();
    PROGRAM.get_or_init(install).clone()
}

fn install() -> Result<PathBuf, String> {
    let dir = Path::new(env!("CARGO_TARGET_TMPDIR")).join("schemathesis");
    let program = dir.join("bin/schemathesis");
    let is_there = |program: &Path| {
        let mut version = Command::new(program);
        version.arg("--version");
        process::run(version).is_ok()
    };
    if !is_there(&program) {
        let make = || {
            let mut venv = Command::new("python3");
            venv.args(["-m", "venv", "--clear"]).arg(&dir);
            process::run(venv)
        };
        if make().is_err() {
            // Debian ships Python's own `venv` apart.
            process::install("python3-venv")?;
            make()?;
        }
        let mut pip = Command::new(dir.join("bin/python"));
        pip.args(["-m", "pip", "install", "--quiet", "--disable-pip-version-check", PACKAGE]);
        process::run(pip)?;
    }
    Ok(program)
}
