//! The three programs, built once a run, from the sources as they are.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::{Arc, OnceLock};

use super::process::{self, Log, Process};

/// One of the programs that the workspace builds.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Program {
    /// api and gateway in one process
    Messenger,
    /// the REST instance
    Api,
    /// the WebSocket node
    Gateway,
}

impl Program {
    pub const ALL: [Self; 3] = [Self::Messenger, Self::Api, Self::Gateway];

    pub fn name(self) -> &'static str {
        match self {
            Self::Messenger => "messenger",
            Self::Api => "messenger-api",
            Self::Gateway => "messenger-gateway",
        }
    }

    /// The executable, built if need be. Blocks.
    pub fn path(self) -> Result<PathBuf, String> {
        Ok(built()?.join(self.name()))
    }
}

/// Starts `program` in `dir` with these variables alone, so that no file and no variable of the
/// machine has a say. Its end follows that of the test binary. Blocks while the programs are
/// built.
pub fn launch(
    program: Program,
    dir: &Path,
    env: &BTreeMap<String, String>,
    arguments: &[&str],
    log: &Arc<Log>,
) -> Result<Process, String> {
    launch_from(built()?, program, dir, env, arguments, log)
}

/// The same from a folder of executables: those of another release.
pub fn launch_from(
    programs: &Path,
    program: Program,
    dir: &Path,
    env: &BTreeMap<String, String>,
    arguments: &[&str],
    log: &Arc<Log>,
) -> Result<Process, String> {
    let mut command = process::bound_command(programs.join(program.name()), "KILL");
    command.args(arguments).current_dir(dir).env_clear().env("HOME", dir).envs(env);
    Process::start(command, log)
}

/// The folder of the executables: that of `MESSENGER_TEST_BIN_DIR` as it is, else the one beside
/// the test binary, brought up to date by cargo first.
fn built() -> Result<&'static Path, String> {
    static BUILT: OnceLock<Result<PathBuf, String>> = OnceLock::new();
    match BUILT.get_or_init(build) {
        Ok(dir) => Ok(dir),
        Err(error) => Err(error.clone()),
    }
}

fn build() -> Result<PathBuf, String> {
    if let Some(dir) = std::env::var_os("MESSENGER_TEST_BIN_DIR") {
        return Ok(dir.into());
    }
    // target/<profile>/deps/messenger-0123
    let test_binary = std::env::current_exe().map_err(|error| error.to_string())?;
    let profile_dir =
        test_binary.parent().and_then(Path::parent).ok_or("the test binary lies outside a target folder")?;
    let target_dir = profile_dir.parent().ok_or("the test binary lies outside a target folder")?;
    let profile = match profile_dir.file_name().and_then(|name| name.to_str()) {
        Some("debug") | None => "dev",
        Some(other) => other,
    };
    let mut cargo = process::cargo();
    // the test target with them: dependencies then get the same features as under `cargo test`, and
    // nothing is built a second time
    cargo
        .args(["build", "--workspace", "--bins", "--test", "messenger"])
        .args(["--profile", profile, "--target-dir"])
        .arg(target_dir)
        .current_dir(env!("CARGO_MANIFEST_DIR"));
    process::run(cargo)?;
    Ok(profile_dir.to_owned())
}
