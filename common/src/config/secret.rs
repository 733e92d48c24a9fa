//! `SECRET_KEY`: how strong it must be, and the key that the embedded form makes for itself.

use super::ConfigError;
use secrecy::{ExposeSecret, SecretString};
use std::fs::{self, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

const NAME: &str = "SECRET_KEY";
const MIN_BYTES: usize = 32;

/// Words that stand in examples and never sign anything in earnest.
const PLACEHOLDERS: [&str; 12] = [
    "change-me",
    "changeme",
    "change_me",
    "change this",
    "change-this",
    "your-secret",
    "your_secret",
    "secret-key-here",
    "replace-me",
    "placeholder",
    "example",
    "insecure",
];

/// Judges a key that was given. Weak: a warning with `debug`, else an error.
pub(super) fn judge(key: &SecretString, debug: bool, warnings: &mut Vec<String>) -> Result<(), ConfigError> {
    let key = key.expose_secret();
    let lower = key.to_ascii_lowercase();
    let first = lower.chars().next();
    let fault = if key.len() < MIN_BYTES {
        format!("is shorter than {MIN_BYTES} bytes")
    } else if PLACEHOLDERS.iter().any(|word| lower.contains(word)) {
        "is a known placeholder".to_owned()
    } else if lower.chars().all(|c| Some(c) == first) {
        "is one character repeated".to_owned()
    } else {
        return Ok(());
    };
    if !debug {
        return Err(ConfigError::of(NAME, fault));
    }
    warnings.push(format!("{NAME} {fault}: accepted because DEBUG is on"));
    Ok(())
}

/// Where the key of that database is kept.
pub(super) fn path_beside(database: &Path) -> PathBuf {
    let mut name = database.file_name().unwrap_or_default().to_owned();
    name.push(".secret-key");
    database.with_file_name(name)
}

/// Reads the key that is kept in `path`, or makes one there, readable by its owner alone.
pub(super) fn read_or_make(path: &Path) -> Result<SecretString, ConfigError> {
    let fault = |e: io::Error| ConfigError::of(NAME, format!("cannot be kept in {}: {e}", path.display()));
    for _ in 0..2 {
        match fs::read_to_string(path) {
            Ok(key) if key.trim().len() >= MIN_BYTES => return Ok(key.trim().into()),
            Ok(_) => return Err(ConfigError::of(NAME, format!("kept in {} is damaged", path.display()))),
            Err(e) if e.kind() == io::ErrorKind::NotFound => make(path).map_err(fault)?,
            Err(e) => return Err(fault(e)),
        }
    }
    Err(fault(io::ErrorKind::NotFound.into()))
}

/// Makes the file whole or not at all: of two programs that start at once, one makes it and both
/// read the same.
fn make(path: &Path) -> io::Result<()> {
    let key = [(); 4].map(|()| format!("{:016x}", crate::random::bits())).concat();
    let mut draft = path.as_os_str().to_owned();
    draft.push(format!(".{:016x}", crate::random::bits()));
    let draft = PathBuf::from(draft);
    let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&draft)?;
    let made = file.write_all(key.as_bytes()).and_then(|()| file.sync_all()).and_then(|()| fs::hard_link(&draft, path));
    fs::remove_file(&draft)?;
    match made {
        Err(e) if e.kind() == io::ErrorKind::AlreadyExists => Ok(()),
        other => other,
    }
}
