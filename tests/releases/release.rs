//! The release before this one, built from the repository's own history.

use std::path::{Path, PathBuf};
use std::process::Command;

use crate::support::{Program, process};

/// Its commit, or its tag. Whoever makes a release names the one before here.
const BEFORE: &str = "64ecb0bed077e8fe78c1f226ad531b643ab19a32";

/// The folder of its executables: built once, and kept in the target folder. Blocks for minutes
/// the first time.
pub fn before() -> Result<PathBuf, String> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let commit = git(root, &["rev-parse", "--verify", "--quiet", &format!("{BEFORE}^{{commit}}")]);
    let commit = commit.map_err(|_| {
        format!(
            "{BEFORE}, the release before, is not in this repository: fetch the whole history (git fetch --unshallow)"
        )
    })?;
    let here = releases()?.join(commit.trim());
    let programs = here.join("programs");
    if Program::ALL.iter().all(|program| programs.join(program.name()).is_file()) {
        return Ok(programs);
    }
    println!("building {BEFORE}, the release before: this takes minutes, once");
    let (source, target) = (here.join("source"), here.join("target"));
    std::fs::create_dir_all(&source).map_err(|error| error.to_string())?;
    let archive = here.join("source.tar");
    git(root, &["archive", "--output", path(&archive)?, commit.trim()])?;
    let mut unpack = Command::new("tar");
    unpack.args(["-xf", path(&archive)?, "-C", path(&source)?]);
    process::run(unpack)?;
    let mut cargo = process::cargo();
    cargo.args(["build", "--locked", "--bins", "-p", "messenger", "-p", "messenger-api", "-p", "messenger-gateway"]);
    cargo.args(["--target-dir", path(&target)?]).current_dir(&source);
    process::run(cargo)?;
    std::fs::create_dir_all(&programs).map_err(|error| error.to_string())?;
    for program in Program::ALL {
        let copied = std::fs::copy(target.join("debug").join(program.name()), programs.join(program.name()));
        copied.map_err(|error| error.to_string())?;
    }
    // Gigabytes that nothing asks for again.
    std::fs::remove_dir_all(&target).map_err(|error| error.to_string())?;
    Ok(programs)
}

/// `target/releases`.
fn releases() -> Result<PathBuf, String> {
    let test_binary = std::env::current_exe().map_err(|error| error.to_string())?;
    let target = test_binary.ancestors().nth(3).ok_or("the test binary lies outside a target folder")?;
    Ok(target.join("releases"))
}

fn git(root: &Path, arguments: &[&str]) -> Result<String, String> {
    let mut command = Command::new("git");
    command.arg("-C").arg(root).args(arguments);
    process::run(command)
}

fn path(path: &Path) -> Result<&str, String> {
    path.to_str().ok_or_else(|| format!("{} is not UTF-8", path.display()))
}
