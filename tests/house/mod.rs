//! The house keeps its own order: which room may import which, how long a file is, how wide a
//! comment, which files stay as they are. It reads the sources and starts nothing.

mod cycle;
mod migrations;
mod paths;
mod rooms;
mod sizes;
pub(crate) mod source;

use std::path::Path;

use source::{Source, files};

/// The crates whose `lib.rs` lists their rooms from top to bottom.
const CRATES: [&str; 3] = ["api", "common", "gateway"];

/// The crates that go into a program.
const PRODUCT: [&str; 4] = ["api", "common", "deploy/embedded", "gateway"];

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// Fails with all faults, each on a line of its own.
fn none(faults: &[String]) {
    assert!(faults.is_empty(), "{} faults:\n{}", faults.len(), faults.join("\n"));
}

#[test]
fn a_room_imports_only_rooms_below_it() {
    for name in CRATES {
        let source = Source::read(&root().join(name).join("src"));
        let levels = rooms::levels(&source.lib).unwrap_or_else(|| panic!("{name}/src/lib.rs lists no rooms"));
        none(&rooms::faults(&source, &levels));
    }
}

#[test]
fn no_files_import_each_other_in_a_circle() {
    for name in CRATES {
        none(&cycle::faults(&Source::read(&root().join(name).join("src"))));
    }
}

#[test]
fn no_crate_includes_anothers_file() {
    for file in PRODUCT.iter().flat_map(|name| files(&root().join(name))) {
        let text = std::fs::read_to_string(&file).unwrap();
        assert!(!text.lines().any(|line| line.trim_start().starts_with("#[path")), "{}", file.display());
    }
}

#[tokio::test]
async fn migrations_keep_their_bytes() {
    none(&migrations::faults(root()).await);
}

#[test]
fn files_are_short_and_comments_narrow() {
    none(&sizes::faults(root(), &PRODUCT));
}
