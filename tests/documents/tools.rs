//! Programs of npm and PyPI that read the documents; installed once a checkout, in the build
//! folder.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::{Mutex, OnceLock};

use crate::support::{npm, process};

const GENERATOR: &str = "openapi-python-client==0.29.1";

/// The folder of that package of npm. Blocks.
pub(super) fn package(name: &str, version: &str) -> Result<PathBuf, String> {
    static ONE_AT_A_TIME: Mutex<()> = Mutex::new(());
    let _turn = ONE_AT_A_TIME.lock().map_err(|error| error.to_string())?;
    // Each in a folder of its own: npm takes away what it was not asked for.
    let dir = Path::new(env!("CARGO_TARGET_TMPDIR")).join("documents").join(name.replace('/', "-"));
    npm::package(&dir, name, version)
}

/// Node with this script of a package. Blocks.
pub(super) fn node(package: &Path, script: &str) -> Command {
    let mut node = Command::new("node");
    node.arg(package.join(script));
    node
}

/// A Python with the generator of clients, and what its clients import. Blocks.
pub(super) fn python() -> Result<PathBuf, String> {
    static PYTHON: OnceLock<Result<PathBuf, String>> = OnceLock::new();
    PYTHON.get_or_init(environment).clone()
}

fn environment() -> Result<PathBuf, String> {
    let dir = Path::new(env!("CARGO_TARGET_TMPDIR")).join("openapi-python-client");
    let python = dir.join("bin/python");
    let run = |arguments: &[&str]| {
        let mut command = Command::new(&python);
        command.args(arguments);
        process::run(command)
    };
    if run(&["-c", "import openapi_python_client, httpx, attrs, dateutil"]).is_err() {
        let make = || {
            let mut command = Command::new("python3");
            command.args(["-m", "venv", "--clear"]).arg(&dir);
            process::run(command)
        };
        if make().is_err() {
            // Debian ships Python's own `venv` apart.
            process::install("python3-venv")?;
            make()?;
        }
        run(&["-m", "pip", "install", "--quiet", "--disable-pip-version-check", GENERATOR])?;
    }
    Ok(python)
}
