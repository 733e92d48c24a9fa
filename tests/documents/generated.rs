//! Clients that others' generators make of the OpenAPI document walk through the API.

use std::path::{Path, PathBuf};
use std::process::Command;

use super::{beside, saved, tools};
use crate::support::{Deployment, blocking, limited, process};

const TYPES: (&str, &str) = ("openapi-typescript", "7.13.0");
const FETCH: (&str, &str) = ("openapi-fetch", "0.17.0");
const COMPILER: (&str, &str) = ("typescript", "5.9.3");

/// Generates a client beside the document, and walks with it.
fn walk_in_python(dir: &Path, url: &str) -> Result<String, String> {
    let python = tools::python()?;
    let mut generate = Command::new(python.with_file_name("openapi-python-client"));
    generate.args(["generate", "--path", "openapi.json", "--meta", "none", "--fail-on-warning"]);
    generate.args(["--output-path", "messenger_api_client"]).current_dir(dir);
    // It formats what it wrote by a program beside it.
    let bin = python.parent().map(Path::to_owned).unwrap_or_default();
    generate.env("PATH", format!("{}:{}", bin.display(), std::env::var("PATH").unwrap_or_default()));
    process::run(generate)?;
    let mut walk = Command::new(python);
    walk.arg(beside("walk.py")).arg(url).env("PYTHONPATH", dir).env("PYTHONDONTWRITEBYTECODE", "1");
    process::run(walk)
}

/// Types of the document, under the compiler's strictest rules, and a walk with them.
fn walk_in_typescript(dir: &Path, url: &str) -> Result<String, String> {
    let mut generate = tools::node(&tools::package(TYPES.0, TYPES.1)?, "bin/cli.js");
    generate.args(["openapi.json", "-o", "schema.d.ts"]).current_dir(dir);
    process::run(generate)?;
    let told = |error: std::io::Error| error.to_string();
    std::fs::copy(beside("walk.mts"), dir.join("walk.mts")).map_err(told)?;
    let fetch = tools::package(FETCH.0, FETCH.1)?;
    let modules: PathBuf = fetch.parent().ok_or("no folder of modules")?.to_owned();
    std::os::unix::fs::symlink(modules, dir.join("node_modules")).map_err(told)?;
    let mut compile = tools::node(&tools::package(COMPILER.0, COMPILER.1)?, "bin/tsc");
    compile.args(["--strict", "--noUncheckedIndexedAccess", "--target", "es2022", "--lib", "es2022,dom,dom.iterable"]);
    compile.args(["--module", "nodenext", "--skipLibCheck", "walk.mts"]).current_dir(dir);
    process::run(compile)?;
    let mut walk = Command::new("node");
    walk.arg("walk.mjs").arg(url).current_dir(dir);
    process::run(walk)
}

async fn walks(d: &Deployment, walk: fn(&Path, &str) -> Result<String, String>) {
    let (dir, url) = (saved(d).await, d.api(0).url());
    let of = dir.clone();
    let said = blocking(move || walk(&of, &url)).await.unwrap_or_else(|error| panic!("{error}"));
    assert!(said.contains("walked"), "{said}");
    process::remove_dir(&dir);
}

#[tokio::test]
async fn a_generated_python_client_walks() {
    // Installed once a checkout, however long that takes.
    blocking(tools::python).await.unwrap();
    limited(async { walks(&Deployment::embedded().start().await, walk_in_python).await }).await;
}

#[tokio::test]
async fn generated_typescript_types_walk() {
    limited(async { walks(&Deployment::embedded().start().await, walk_in_typescript).await }).await;
}
