//! The client for JavaScript under Node, and its types under the TypeScript compiler.

use std::path::{Path, PathBuf};
use std::process::Command;

use crate::support::{blocking, npm, process};

const TYPESCRIPT: &str = "5.9.3";

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("clients/js")
}

/// A command that runs Node. Blocks.
pub(super) fn command() -> Result<Command, String> {
    if process::find_program("node").is_none() {
        process::install("nodejs")?;
    }
    Ok(Command::new("node"))
}

/// Makes the package known to the programs of a folder, as `npm install` does.
pub(super) fn install_into(dir: &Path) {
    let modules = dir.join("node_modules");
    std::fs::create_dir_all(&modules).unwrap();
    std::os::unix::fs::symlink(folder(), modules.join("messenger-client")).unwrap();
}

/// The compiler, installed once a checkout in the build folder.
fn tsc() -> Result<PathBuf, String> {
    let dir = Path::new(env!("CARGO_TARGET_TMPDIR")).join("typescript");
    Ok(npm::package(&dir, "typescript", TYPESCRIPT)?.join("bin/tsc"))
}

/// Blocks.
fn compile(dir: &Path, arguments: &[&str]) -> Result<String, String> {
    let mut node = command()?;
    node.arg(tsc()?).current_dir(dir).arg("--noEmit");
    node.args(["--target", "es2022", "--lib", "es2022,dom,dom.iterable", "--module", "nodenext"]).args(arguments);
    process::run(node)
}

#[tokio::test]
async fn its_types_are_whole() {
    let dir = process::new_dir("types");
    install_into(&dir);
    std::fs::copy(Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/clients/types.mts"), dir.join("types.mts"))
        .unwrap();
    blocking(move || compile(&dir, &["--strict", "types.mts"])).await.unwrap();
}

#[tokio::test]
async fn its_sources_keep_their_own_types() {
    blocking(|| compile(&folder(), &["--allowJs", "--checkJs", "src/client.js"])).await.unwrap();
}

#[tokio::test]
async fn it_knows_the_server_of_its_page_and_lets_go_of_a_socket() {
    let run = || {
        let mut node = command()?;
        node.arg(Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/clients/page.mjs"));
        process::run(node)
    };
    blocking(run).await.unwrap();
}
