//! `SECRET_KEY`: how strong it must be, and the key that the embedded form makes for itself.

use super::ConfigError;
use secrecy::{ExposeSecret, SecretString};
use std::fs::{self, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

const NAME: &str = "SECRET_KEY";
const MIN_BYTES: usize = 32;
/// A key that repeats so few bytes is as good as one of them.
const LONGEST_PIECE: usize = 16;
/// Neighbours of a key that do not follow each other as in the alphabet: nearly all of a random
/// one.
const MOST_BREAKS: usize = 3;

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
    let fault = if key.len() < MIN_BYTES {
        format!("is shorter than {MIN_BYTES} bytes")
    } else if PLACEHOLDERS.iter().any(|word| lower.contains(word)) {
        "is a known placeholder".to_owned()
    } else if (1..=LONGEST_PIECE).any(|piece| lower.bytes().zip(lower.bytes().skip(piece)).all(|(a, b)| a == b)) {
        "is a character or a short text over and over".to_owned()
    } else if lower.as_bytes().windows(2).filter(|two| two[0].abs_diff(two[1]) != 1).count() <= MOST_BREAKS {
        "is the alphabet or a row of digits".to_owned()
    } else {
        return Ok(());
    };
    if !debug {
        return Err(ConfigError::of(NAME, fault));
    }
    warnings.push(format!("{NAME} {fault}: accepted because DEBUG is on"));
    Ok(())
}

/// The shared secret of the tokens.
#[derive(Clone, Debug)]
pub enum SecretKey {
    /// A key that was given and judged, or read from its file.
    Given(SecretString),
    /// The file that a key will be made in.
    Missing(PathBuf),
    /// There is none: tokens are signed with an Ed25519 key.
    None,
}

impl SecretKey {
    /// The key that is kept beside that database.
    pub(super) fn beside(database: &Path) -> Result<Self, ConfigError> {
        let path = path_beside(database);
        Ok(read(&path)?.map_or(Self::Missing(path), Self::Given))
    }

    /// The key, made if there is none yet and one is needed.
    pub fn load(&self) -> Result<Option<SecretString>, ConfigError> {
        match self {
            Self::Given(key) => Ok(Some(key.clone())),
            Self::Missing(path) => read_or_make(path).map(Some),
            Self::None => Ok(None),
        }
    }
}

/// Where the key of that database is kept.
pub(super) fn path_beside(database: &Path) -> PathBuf {
    let mut name = database.file_name().unwrap_or_default().to_owned();
    name.push(".secret-key");
    database.with_file_name(name)
}

fn fault(path: &Path, error: &io::Error) -> ConfigError {
    let user = fs::metadata("/proc/self").map_or_else(|_| String::new(), |me| format!(" by user {}", me.uid()));
    // The key lies beside the database, whose variable names the folder.
    ConfigError::new(
        NAME,
        format!(
            "cannot be kept in {}{user}: {error}; give that user the file and its folder, or name another folder",
            path.display()
        ),
        "DATABASE_URL=sqlite:/var/lib/messenger/messenger.db",
    )
}

/// Reads the key that is kept in `path`.
fn read(path: &Path) -> Result<Option<SecretString>, ConfigError> {
    match fs::read_to_string(path) {
        Ok(key) if key.trim().len() >= MIN_BYTES => Ok(Some(key.trim().into())),
        Ok(_) => Err(ConfigError::of(NAME, format!("kept in {} is damaged", path.display()))),
        Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(e) => Err(fault(path, &e)),
    }
}

/// Reads the key that is kept in `path`, or makes one there, readable by its owner alone.
fn read_or_make(path: &Path) -> Result<SecretString, ConfigError> {
    if let Some(key) = read(path)? {
        return Ok(key);
    }
    make(path).map_err(|e| fault(path, &e))?;
    read(path)?.ok_or_else(|| fault(path, &io::ErrorKind::NotFound.into()))
}

/// Makes the file whole or not at all. One process does: the one that holds the database's lock. A
/// volume need not know hard links.
fn make(path: &Path) -> io::Result<()> {
    let key = [(); 4].map(|()| format!("{:016x}", crate::random::bits())).concat();
    let mut draft = path.as_os_str().to_owned();
    draft.push(format!(".{:016x}", crate::random::bits()));
    let draft = PathBuf::from(draft);
    let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&draft)?;
    let made = file.write_all(key.as_bytes()).and_then(|()| file.sync_all()).and_then(|()| fs::rename(&draft, path));
    if made.is_err() {
        drop(fs::remove_file(&draft));
    }
    made
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_of_a_repeated_piece_is_refused() {
        let judged = |key: &str| judge(&key.into(), false, &mut Vec::new());
        for weak in [
            "x".repeat(40),
            "ü".repeat(20),
            "ab".repeat(20),
            "password".repeat(5),
            "PassWord".repeat(4) + "passw",
            "12345678".repeat(4),
            "0123456789abcdef".repeat(2),
            "abcdefghijklmnopqrstuvwxyz0123456789".to_owned(),
            "zyxwvutsrqponmlkjihgfedcba987654321".to_owned(),
        ] {
            let line = judged(&weak).expect_err(&weak).to_string();
            assert!(line.starts_with("SECRET_KEY: is ") && !line.contains(&weak), "{line}");
        }
        let repeated_once = "correct horse battery staple".repeat(2);
        for fine in ["5f2b8c0de19a473605f2b8c0de19a4736", &repeated_once, "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAB9"] {
            assert!(judged(fine).is_ok(), "{fine}");
        }
    }
}
