//! The file itself: its lock, and whether it and its write-ahead log are this program's.
//!
//! Everything here is a few calls of the file system at the start. Nothing opens the database file
//! while SQLite has it open: closing it would drop SQLite's own locks.

use crate::error::{Error, Result};
use nix::errno::Errno;
use nix::fcntl::OFlag;
#[cfg(target_os = "linux")]
use nix::{
    fcntl::{FcntlArg, fcntl},
    libc,
};
use parking_lot::Mutex;
use std::fs::{File, OpenOptions, TryLockError};
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt, fchown};
use std::path::{Path, PathBuf};

/// The first bytes of every SQLite database.
const MAGIC: &[u8; 16] = b"SQLite format 3\0";
/// Where the header has `user_version`, which names the run that the file was last opened by.
const RUN_AT: std::ops::Range<usize> = 60..64;
/// Where the header says that the file has a write-ahead log.
const WAL_AT: usize = 18;
const DRAINING: &str = "draining";
/// The byte of the database that its process locks: far from those that SQLite locks, since network
/// volumes know locks of bytes only, and far from any that is ever written.
const LOCKED_AT: i64 = i64::MAX - 1;

/// The lock of one process on a database file, held until it is dropped or the process ends. Its
/// file names the run that the write-ahead log belongs to, and says when that run drains.
#[derive(Debug)]
pub(super) struct FileLock {
    file: Mutex<File>,
    /// The database itself, once it is there. Another name of it (a hard link) has another lock
    /// file, and a lock file may be deleted.
    database: Mutex<Option<File>>,
}

impl FileLock {
    /// Takes the lock. `Unavailable`: another process has it; the text says whether it drains.
    pub(super) fn take(database: &Path) -> Result<Self> {
        let path = beside(database, ".lock");
        let fault = |error: io::Error| Error::internal(not_writable(&path, &error));
        let mut options = OpenOptions::new();
        let options = options.read(true).write(true).mode(0o600);
        let mut file = match options.clone().create_new(true).open(&path) {
            Ok(made) => {
                give(&made, database);
                made
            }
            // The folder may belong to another user than the process: a link of theirs could name
            // any file of the machine.
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
                match options.custom_flags(OFlag::O_NOFOLLOW.bits()).open(&path) {
                    Err(error) if error.kind() == io::ErrorKind::NotFound => return Self::take(database),
                    found => found.map_err(fault)?,
                }
            }
            Err(error) => return Err(fault(error)),
        };
        match file.try_lock() {
            // One who was refused took it away meanwhile.
            Ok(()) if !is_at(&file, &path) => Self::take(database),
            Ok(()) => Ok(Self { file: Mutex::new(file), database: Mutex::default() }),
            Err(TryLockError::WouldBlock) => {
                let mut state = String::new();
                let drains = file.read_to_string(&mut state).is_ok() && state.contains(DRAINING);
                Err(in_use(if drains { "is still draining" } else { "is using it" }))
            }
            Err(TryLockError::Error(error)) => Err(fault(error)),
        }
    }

    /// Takes the database's own lock beside, for as long as this lives: before SQLite opens the
    /// file, since closing it would drop SQLite's locks. `Unavailable`: a process has it under
    /// another name, or its lock file was deleted.
    pub(super) fn hold(&self, database: &Path) -> Result<()> {
        let file = OpenOptions::new().read(true).write(true).open(database);
        let file = file.map_err(|error| Error::internal(not_writable(database, &error)))?;
        match lock_bytes(&file, LOCKED_AT, 1) {
            Err(Errno::EAGAIN | Errno::EACCES) => return Err(in_use("is using it")),
            // Some volumes lock no files; the other lock is what they have.
            Err(error) => tracing::debug!(%error, "the database file takes no lock"),
            Ok(()) => {}
        }
        *self.database.lock() = Some(file);
        Ok(())
    }

    /// Both locks, for a task that can also do its work beside the process that has them: then
    /// `None`. `Unavailable`: that process has the file under another name, where SQLite would not
    /// find its log.
    pub(super) fn take_or_stand_beside(database: &Path) -> Result<Option<Self>> {
        let lock = match Self::take(database) {
            Ok(lock) => lock,
            Err(Error::Unavailable(_)) => return Ok(None),
            Err(error) => return Err(error),
        };
        let Err(error) = lock.hold(database) else { return Ok(Some(lock)) };
        lock.leave_no_trace(database);
        // The log says whether only the lock was deleted.
        match error {
            Error::Unavailable(_) if beside(database, "-wal").exists() => Ok(None),
            other => Err(other),
        }
    }

    /// The run that had the file last.
    pub(super) fn last_run(&self) -> Option<u32> {
        let mut text = String::new();
        let mut file = self.file.lock();
        file.seek(SeekFrom::Start(0)).and_then(|_| file.read_to_string(&mut text)).ok()?;
        text.lines().next()?.parse().ok()
    }

    /// Writes down the run that has the file now.
    pub(super) fn begin(&self, run: u32) -> io::Result<()> {
        self.write(&format!("{run}\n"))
    }

    /// From now on a process that waits for the file knows that it will be free soon.
    pub(super) fn drains(&self) {
        let text = self.last_run().map(|run| format!("{run}\n{DRAINING}\n"));
        if let Some(Err(error)) = text.map(|text| self.write(&text)) {
            tracing::debug!(%error, "the lock file cannot be written");
        }
    }

    /// A file that was refused is left as it was found, without a lock beside it.
    pub(super) fn leave_no_trace(&self, database: &Path) {
        if self.last_run().is_none() {
            drop(std::fs::remove_file(beside(database, ".lock")));
        }
    }

    fn write(&self, text: &str) -> io::Result<()> {
        let mut file = self.file.lock();
        file.set_len(0)?;
        file.seek(SeekFrom::Start(0))?;
        file.write_all(text.as_bytes())?;
        file.sync_data()
    }
}

/// Whether the file still has that name.
fn is_at(file: &File, path: &Path) -> bool {
    let own = file.metadata().map(|file| (file.dev(), file.ino()));
    own.is_ok_and(|own| identity(path).is_ok_and(|there| there == own))
}

/// Locks bytes of a file until this description of it is closed; a length of 0 is to the end and
/// beyond.
#[cfg(target_os = "linux")]
fn lock_bytes(file: &File, at: i64, length: i64) -> nix::Result<()> {
    let [l_type, l_whence] = [libc::F_WRLCK, libc::SEEK_SET].map(|word| i16::try_from(word).unwrap_or_default());
    let lock = libc::flock { l_type, l_whence, l_start: at, l_len: length, l_pid: 0 };
    fcntl(file, FcntlArg::F_OFD_SETLK(&lock)).map(drop)
}

/// Elsewhere the lock file alone is held.
#[cfg(not(target_os = "linux"))]
fn lock_bytes(_: &File, _: i64, _: i64) -> nix::Result<()> {
    Err(Errno::ENOTSUP)
}

fn in_use(doing: &str) -> Error {
    Error::unavailable(format!("another process {doing}; one file serves one process"))
}

/// The place of an open database: the file that its name leads to.
#[derive(Debug)]
pub(super) struct Place {
    path: PathBuf,
    /// Its device and number.
    file: (u64, u64),
}

impl Place {
    /// Of a file that was just opened.
    pub(super) fn of(path: &Path) -> io::Result<Self> {
        let path = std::path::absolute(path)?;
        let file = identity(&path)?;
        Ok(Self { path, file })
    }

    /// `Unavailable`: the file was moved, deleted or replaced since. It comes back with the file.
    pub(super) fn check(&self) -> Result<()> {
        if identity(&self.path).is_ok_and(|now| now == self.file) {
            return Ok(());
        }
        let path = self.path.display();
        Err(Error::unavailable(format!(
            "{path} was moved, deleted or replaced while the program runs: put it back, or start the program anew"
        )))
    }
}

/// The device and the number of a file. It is not opened for that.
pub(super) fn identity(path: &Path) -> io::Result<(u64, u64)> {
    std::fs::metadata(path).map(|file| (file.dev(), file.ino()))
}

/// Makes the file where it is missing, readable by its owner alone: it will hold accounts. Answers
/// whether it holds a database already. A write-ahead log that is another file's is refused.
pub(super) fn prepare(database: &Path, lock: &FileLock) -> Result<bool> {
    let fault = |error: io::Error| Error::internal(not_writable(database, &error));
    let opened = OpenOptions::new().read(true).append(true).create(true).mode(0o600).open(database);
    let mut header = Vec::new();
    opened.map_err(fault)?.take(100).read_to_end(&mut header).map_err(fault)?;
    let logged = std::fs::metadata(beside(database, "-wal")).is_ok_and(|log| log.len() > 0);
    if header.is_empty() {
        return if logged { Err(Error::internal(stray_log(database))) } else { Ok(false) };
    }
    if !header.starts_with(MAGIC) || header.len() < RUN_AT.end {
        return Err(Error::internal(
            "is no SQLite database; name another file, for example DATABASE_URL=sqlite:chat.db",
        ));
    }
    let run = header.get(RUN_AT).and_then(|run| run.first_chunk()).map_or(0, |bytes| u32::from_be_bytes(*bytes));
    // A file of an earlier release names no run.
    let known = lock.last_run().filter(|_| logged);
    if known.is_some_and(|known| known != run) || (logged && header[WAL_AT] != 2) {
        return Err(Error::internal(stray_log(database)));
    }
    Ok(true)
}

/// Gives what root just made beside the database, as a command of the host's does, to the owner of
/// the database, or of its folder where there is none: the program may run as that user.
pub(super) fn give(file: &File, database: &Path) {
    let folder = database.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let owner = std::fs::metadata(database).or_else(|_| std::fs::metadata(folder));
    let Ok((owner, made)) = owner.and_then(|owner| Ok((owner, file.metadata()?))) else { return };
    if made.uid() != 0 || owner.uid() == 0 {
        return;
    }
    // One that may not stays the owner, and the error of the program's start names the user.
    if let Err(error) = fchown(file, Some(owner.uid()), Some(owner.gid())) {
        tracing::debug!(%error, "a file stays root's");
    }
}

/// The path of a file that belongs to the database.
pub(super) fn beside(database: &Path, ending: &str) -> PathBuf {
    let mut path = database.as_os_str().to_owned();
    path.push(ending);
    path.into()
}

/// Why the database's file cannot be used, and what helps.
pub(super) fn not_writable(path: &Path, error: &dyn std::fmt::Display) -> String {
    not_writable_or(path, error, "name another by DATABASE_URL")
}

/// The same of any file.
pub(super) fn not_writable_or(path: &Path, error: &dyn std::fmt::Display, otherwise: &str) -> String {
    let user = std::fs::metadata("/proc/self").map_or_else(|_| String::new(), |me| format!(" by user {}", me.uid()));
    format!(
        "{} cannot be written{user}: {error}; give that user the file and its folder, or {otherwise}",
        path.display()
    )
}

fn stray_log(database: &Path) -> String {
    let log = beside(database, "-wal");
    format!(
        "{} belongs to another state of the file: it was replaced after a crash. Put back the state that it belongs \
         to, or move it away together with the -shm file to go on without it",
        log.display()
    )
}

#[cfg(test)]
mod tests;
