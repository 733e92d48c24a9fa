//! Names the commit that a release is built from, for `--version`.
//!
//! `MESSENGER_COMMIT` names it where there is no git, as in an image's builder. Builds for
//! development name none: the workspace would be compiled anew at each commit.

#![allow(clippy::disallowed_methods, reason = "cargo speaks to a build script by its environment")]

use std::path::Path;
use std::process::Command;

fn main() {
    println!("cargo::rerun-if-changed=build.rs");
    println!("cargo::rerun-if-env-changed=MESSENGER_COMMIT");
    let given = std::env::var("MESSENGER_COMMIT").ok().filter(|commit| !commit.trim().is_empty());
    let is_release = std::env::var("PROFILE").is_ok_and(|profile| profile == "release");
    let commit = given.or_else(|| is_release.then(of_checkout).flatten()).unwrap_or_default();
    let commit: String = commit.trim().chars().filter(char::is_ascii_alphanumeric).take(12).collect();
    println!("cargo::rustc-env=MESSENGER_COMMIT={commit}");
}

/// The commit of this repository's checkout. `None`: no git, or another repository around the
/// sources.
fn of_checkout() -> Option<String> {
    let package = std::env::var("CARGO_MANIFEST_DIR").ok()?;
    let root = Path::new(&package).parent()?;
    let git = |arguments: &[&str]| {
        let output = Command::new("git").arg("-C").arg(root).args(arguments).output().ok()?;
        output.status.success().then(|| String::from_utf8_lossy(&output.stdout).trim().to_owned())
    };
    if Path::new(&git(&["rev-parse", "--show-toplevel"])?).canonicalize().ok()? != root.canonicalize().ok()? {
        return None;
    }
    // Each move of the checkout adds a line to this file.
    let moves = git(&["rev-parse", "--git-path", "logs/HEAD"])?;
    println!("cargo::rerun-if-changed={}", root.join(moves).display());
    git(&["rev-parse", "HEAD"])
}
