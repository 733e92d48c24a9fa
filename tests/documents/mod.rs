//! The documents, by those who read them: the linters find nothing, generated clients walk through
//! the API, and every example is taken as it stands.

mod examples;
mod generated;
mod lint;
mod strict;
mod tools;

use std::path::{Path, PathBuf};

use crate::support::{Deployment, process};

/// A folder with the documents of that deployment.
async fn saved(d: &Deployment) -> PathBuf {
    let dir = process::new_dir("documents");
    for name in ["openapi.json", "asyncapi.json"] {
        let document = d.rest().get(&format!("/{name}")).await.ok(200);
        std::fs::write(dir.join(name), document.to_string()).unwrap();
    }
    dir
}

/// A file beside these tests.
fn beside(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/documents").join(name)
}
