//! The ways to run the messenger, as they are shipped: what stands in `deploy/`, `k8s/` and
//! `.env.example` is checked against the schemas and programs that will read it, and against the
//! messenger's own programs.

mod alerts;
mod balancer;
mod compose;
mod environment;
mod grafana;
mod handbook;
mod images;
mod k8s;
mod kubectl;
mod pages;
mod prometheus;
mod python;
mod rights;
mod selfhost;
mod walk;
mod watch;

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

/// The root of the repository.
fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// The text of a file of the repository.
fn shipped(file: &str) -> String {
    std::fs::read_to_string(root().join(file)).unwrap_or_else(|error| panic!("{file}: {error}"))
}

/// The names of the variables that `.env.example` lists.
fn known_variables() -> BTreeSet<String> {
    shipped(".env.example")
        .lines()
        .filter_map(|line| line.trim_start_matches('#').split_once('='))
        .map(|(name, _)| name.to_owned())
        .filter(|name| is_variable(name))
        .collect()
}

fn is_variable(name: &str) -> bool {
    !name.is_empty() && name.bytes().all(|byte| byte.is_ascii_uppercase() || byte.is_ascii_digit() || byte == b'_')
}

/// Copies a folder of the repository, so that a test may put its own addresses into the copy.
fn copy_of(folder: &str, to: &Path) -> PathBuf {
    fn copy(from: &Path, to: &Path) {
        std::fs::create_dir_all(to).unwrap();
        for entry in std::fs::read_dir(from).unwrap() {
            let entry = entry.unwrap();
            let target = to.join(entry.file_name());
            if entry.file_type().unwrap().is_dir() {
                copy(&entry.path(), &target);
            } else {
                std::fs::copy(entry.path(), &target).unwrap();
            }
        }
    }
    let target = to.join(Path::new(folder).file_name().unwrap());
    copy(&root().join(folder), &target);
    target
}
