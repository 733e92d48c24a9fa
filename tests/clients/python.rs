//! A Python into which the client was installed as its users install it, and mypy; made once a
//! checkout, in the build folder. The client's sources run as they are now.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;

use crate::support::{blocking, process};

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("clients/python")
}

/// A command that runs that Python. Blocks.
pub(super) fn command() -> Result<Command, String> {
    static PYTHON: OnceLock<Result<PathBuf, String>> = OnceLock::new();
    let mut command = Command::new(PYTHON.get_or_init(environment).clone()?);
    command.env("PYTHONPATH", folder().join("src")).env("PYTHONDONTWRITEBYTECODE", "1");
    Ok(command)
}

fn environment() -> Result<PathBuf, String> {
    let dir = Path::new(env!("CARGO_TARGET_TMPDIR")).join("python-client");
    let python = dir.join("bin/python");
    let run = |arguments: &[&str]| {
        let mut command = Command::new(&python);
        command.args(arguments);
        process::run(command)
    };
    if run(&["-c", "import messenger_client, mypy"]).is_err() {
        if make(&dir).is_err() {
            // Debian ships Python's own `venv` apart.
            process::install("python3-venv")?;
            make(&dir)?;
        }
        // A build writes beside the sources.
        let copy = process::new_dir("python-client");
        let mut cp = Command::new("cp");
        cp.arg("-r").arg(folder()).arg(&copy);
        process::run(cp)?;
        let copy = copy.join("python").display().to_string();
        run(&["-m", "pip", "install", "--quiet", "--disable-pip-version-check", &copy, "mypy==2.4.1"])?;
    }
    Ok(python)
}

fn make(dir: &Path) -> Result<String, String> {
    let mut command = Command::new("python3");
    command.args(["-m", "venv", "--clear"]).arg(dir);
    process::run(command)
}

#[tokio::test]
async fn its_types_are_whole() {
    let checked = blocking(|| {
        let mut mypy = command()?;
        mypy.args(["-m", "mypy", "--cache-dir", env!("CARGO_TARGET_TMPDIR")]).current_dir(folder());
        process::run(mypy)
    });
    checked.await.unwrap();
}

#[test]
fn it_knows_the_servers_kinds_of_event() {
    let listed = std::fs::read_to_string(folder().join("src/messenger_client/frames.py")).unwrap();
    let (_, rest) = listed.split_once("SEQUENCED = frozenset({").unwrap();
    let mut known: Vec<_> = rest.split_once("})").unwrap().0.split('"').skip(1).step_by(2).collect();
    known.sort_unstable();
    assert_eq!(known, super::sequenced());
}
