//! Packages of npm that tests run: fetched once, into the build folder.

use crate::process;
use parking_lot::Mutex;
use std::path::{Path, PathBuf};
use std::process::Command;

/// Two installations into one folder at once leave parts of a package.
static INSTALLING: Mutex<()> = Mutex::new(());

/// The folder of `package@version`, installed below `dir` where it is missing. One caller at a
/// time; the others wait. Blocks.
pub fn package(dir: &Path, name: &str, version: &str) -> Result<PathBuf, String> {
    let _one = INSTALLING.lock();
    let installed = dir.join("node_modules").join(name);
    if !installed.join("package.json").is_file() {
        if process::find_program("npm").is_none() {
            process::install("npm")?;
        }
        let mut npm = Command::new("npm");
        npm.args(["install", "--silent", "--no-save", "--no-audit", "--no-fund", "--cache"]);
        npm.arg(dir.join("cache")).arg("--prefix").arg(dir).arg(format!("{name}@{version}"));
        process::run(npm)?;
    }
    Ok(installed)
}
