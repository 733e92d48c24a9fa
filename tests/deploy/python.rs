//! A Python with the Kubernetes schemas, and with YAML for everything that is shipped as YAML;
//! made once a checkout, in the build folder.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;

use crate::support::{Value, blocking, process};

/// Brings PyYAML along. One release carries the schemas of many Kubernetes versions.
const PACKAGE: &str = "kubernetes-validate==1.37.0";

/// A command that runs that Python.
pub(super) async fn python() -> Command {
    let python = blocking(path).await;
    Command::new(python.unwrap_or_else(|error| panic!("a Python with {PACKAGE}: {error}")))
}

/// Where it is.
pub(super) fn path() -> Result<PathBuf, String> {
    static PYTHON: OnceLock<Result<PathBuf, String>> = OnceLock::new();
    PYTHON.get_or_init(environment).clone()
}

/// Brings a package into it.
pub(super) fn install(arguments: &[&str]) -> Result<(), String> {
    pip(&path()?, arguments)
}

/// The documents of a YAML text, merge keys resolved.
pub(super) async fn documents(yaml: &str) -> Vec<Value> {
    const SCRIPT: &str = "import json, sys, yaml; print(json.dumps(list(yaml.safe_load_all(open(sys.argv[1])))))";
    let dir = process::new_dir("yaml");
    let file = dir.join("text.yaml");
    std::fs::write(&file, yaml).unwrap();
    let mut command = python().await;
    command.args(["-c", SCRIPT]).arg(&file);
    let json = blocking(|| process::run(command)).await.unwrap();
    process::remove_dir(&dir);
    serde_json::from_str(&json).unwrap()
}

/// The one document of a YAML text.
pub(super) async fn document(yaml: &str) -> Value {
    let mut documents = documents(yaml).await;
    assert_eq!(documents.len(), 1, "one document in\n{yaml}");
    documents.remove(0)
}

fn environment() -> Result<PathBuf, String> {
    let dir = Path::new(env!("CARGO_TARGET_TMPDIR")).join("kubernetes-validate");
    let python = dir.join("bin/python");
    let is_complete = || {
        let mut probe = Command::new(&python);
        probe.args(["-c", "import kubernetes_validate, yaml"]);
        process::run(probe).is_ok()
    };
    if !is_complete() {
        if make(&dir).is_err() {
            // Debian ships Python's own `venv` apart.
            process::install("python3-venv")?;
            make(&dir)?;
        }
        pip(&python, &[PACKAGE])?;
    }
    Ok(python)
}

fn pip(python: &Path, arguments: &[&str]) -> Result<(), String> {
    let mut install = Command::new(python);
    install.args(["-m", "pip", "install", "--quiet", "--disable-pip-version-check"]).args(arguments);
    process::run(install).map(drop)
}

fn make(dir: &Path) -> Result<String, String> {
    let mut command = Command::new("python3");
    command.args(["-m", "venv", "--clear"]).arg(dir);
    process::run(command)
}
