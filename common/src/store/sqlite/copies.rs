//! Copies of the file: a backup, also while a process serves from it, and a restore while none
//! does.
//!
//! Each copy is written beside its place, synchronised, and then given its name: a file with that
//! name is whole.

use super::file::{self, FileLock};
use super::{is_ours, migrator, tables};
use crate::error::{Error, Result};
use crate::event::micros;
use crate::store::fault::Fault;
use sqlx::sqlite::{SqliteConnectOptions, SqliteSynchronous};
use sqlx::{ConnectOptions, Connection};
use std::fmt::Display;
use std::fs::{self, File, OpenOptions};
use std::io;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::time::Duration;
use time::OffsetDateTime;
use time::macros::format_description;

/// A reader waits so long for a writer that holds the whole file.
const UNLOCKED_WITHIN: Duration = Duration::from_secs(5);

/// Copies the database to a file of that name, readable by its owner alone. A file that is there
/// already is replaced only with `replace`. Sends go on meanwhile.
pub async fn backup(database: &Path, to: &Path, replace: bool) -> Result<()> {
    let database = fs::canonicalize(database).map_err(|error| unreadable(database, &error))?;
    may_make(&database, to, replace)?;
    // A process that has it knows that the write-ahead log belongs to the file.
    let lock = FileLock::take_or_stand_beside(&database)?;
    let source = options(&database).read_only(lock.is_none());
    let copied = async {
        if let Some(lock) = &lock {
            file::prepare(&database, lock)?;
            // A process that starts now waits for the end of the copy.
            lock.drains();
        }
        let draft = Draft::beside(to, "name another file")?;
        copy(&source, &database, &draft.path).await?;
        // Another backup may have taken the name meanwhile.
        may_make(&database, to, replace)?;
        draft.becomes(to)
    };
    let copied = copied.await;
    if let Some(lock) = lock {
        if let Some(Err(error)) = lock.last_run().map(|run| lock.begin(run)) {
            tracing::debug!(%error, "the lock file cannot be written");
        }
        lock.leave_no_trace(&database);
    }
    copied
}

/// Puts the copy in the place of the database. All sessions are ended and a new epoch begins, so
/// that clients fetch their chats anew. Returns where the database that was there is kept.
/// `Unavailable`: a process serves from it.
pub async fn restore(database: &Path, from: &Path, now: OffsetDateTime) -> Result<Option<PathBuf>> {
    let database = fs::canonicalize(database).unwrap_or_else(|_| database.to_owned());
    let from = fs::canonicalize(from).map_err(|error| unreadable(from, &error))?;
    if is_same(&database, &from) {
        return Err(Error::internal(format!("{} is the database itself; name its backup", from.display())));
    }
    if from.is_dir() {
        return Err(Error::internal(format!("{} is a folder; name a file in it", from.display())));
    }
    let lock = FileLock::take(&database)?;
    let restored = async {
        if database.exists() {
            lock.hold(&database)?;
        }
        let draft = Draft::beside(&database, "name another by DATABASE_URL")?;
        // Without a write-ahead log nothing but the file is read, and nothing is left beside it.
        let logged = fs::metadata(file::beside(&from, "-wal")).is_ok_and(|log| log.len() > 0);
        copy(&options(&from).read_only(true).immutable(!logged), &from, &draft.path).await?;
        begin_anew(&draft.path, now).await?;
        // Long work first: between the two names stand only renames.
        draft.sync(&database)?;
        file::give(&draft.file, &database);
        let kept = set_aside(&database, now)?;
        match (draft.becomes(&database), &kept) {
            (Err(error), Some(kept)) => return Err(put_back(kept, &database, error)),
            (became, _) => became?,
        }
        Ok(kept)
    };
    let restored = restored.await;
    lock.leave_no_trace(&database);
    restored
}

/// A connection that changes nothing of the file but what the connection itself needs.
fn options(path: &Path) -> SqliteConnectOptions {
    SqliteConnectOptions::new().filename(path).busy_timeout(UNLOCKED_WITHIN).disable_statement_logging()
}

/// Copies a sound database of a messenger, without what was deleted from it.
async fn copy(from: &SqliteConnectOptions, shown: &Path, to: &Path) -> Result<()> {
    let to = to.to_str().ok_or_else(|| Error::internal(format!("{} is not UTF-8", to.display())))?;
    let copied = async {
        let mut connection = from.connect().await?;
        let names = tables(&mut connection).await?;
        if !is_ours(&names) {
            return Err(Fault::from(Error::internal("it holds no database of a messenger")));
        }
        let check: String = sqlx::query_scalar("pragma quick_check(1)").fetch_one(&mut connection).await?;
        if check != "ok" {
            return Err(Error::internal(format!("it is damaged: {check}")).into());
        }
        sqlx::query("vacuum into $1").bind(to).execute(&mut connection).await?;
        Ok(connection.close().await?)
    };
    copied.await.map_err(|fault| match fault {
        Fault::Sql(error) => unreadable(shown, &error),
        other => {
            let error = Error::from(other);
            let cause = error.cause();
            unreadable(shown, &cause)
        }
    })
}

/// Refuses everything in use since the copy: the sessions, of which some were logged out, and the
/// numbers that clients know.
async fn begin_anew(database: &Path, now: OffsetDateTime) -> Result<()> {
    let options = options(database).synchronous(SqliteSynchronous::Full).foreign_keys(true);
    let mut connection = options.connect().await.map_err(Fault::Sql)?;
    // A copy of an earlier release has no epoch yet.
    migrator().run_direct(None, &mut connection, false).await.map_err(Error::internal)?;
    let begun = async {
        let mut transaction = connection.begin().await?;
        sqlx::query("update deployment set epoch = lower(hex(randomblob(16)))").execute(&mut *transaction).await?;
        sqlx::query("update sessions set ended_at = $1 where ended_at is null")
            .bind(micros(now))
            .execute(&mut *transaction)
            .await?;
        transaction.commit().await?;
        connection.close().await
    };
    Ok(begun.await.map_err(Fault::Sql)?)
}

/// Gives the database that is there another name, its write-ahead log with it: the database first,
/// since a log without its file is noticed at the start.
fn set_aside(database: &Path, now: OffsetDateTime) -> Result<Option<PathBuf>> {
    let log = file::beside(database, "-wal");
    let log = log.exists().then_some(log);
    if log.is_none() && !fs::metadata(database).is_ok_and(|file| file.len() > 0) {
        return Ok(None);
    }
    let stamp = now.format(format_description!("[year][month][day]T[hour][minute][second].[subsecond digits:6]Z"));
    let kept = file::beside(database, &format!(".before-{}", stamp.map_err(Error::internal)?));
    if kept.exists() {
        return Err(Error::internal(format!("{} exists already", kept.display())));
    }
    let moved = fs::rename(database, &kept)
        .and_then(|()| log.map_or(Ok(()), |log| fs::rename(log, file::beside(&kept, "-wal"))));
    moved.map_err(|error| Error::internal(file::not_writable(database, &error)))?;
    // SQLite makes it anew.
    drop(fs::remove_file(file::beside(database, "-shm")));
    Ok(Some(kept))
}

/// The restore failed at its last step: gives the database its name again, its log first, since a
/// file without its log would lack commits. The error says where it is if that fails too.
fn put_back(kept: &Path, database: &Path, error: Error) -> Error {
    let log = file::beside(kept, "-wal");
    let logged = if log.exists() { fs::rename(log, file::beside(database, "-wal")) } else { Ok(()) };
    match logged.and_then(|()| fs::rename(kept, database)) {
        Ok(()) => error,
        Err(_) => Error::internal(format!("{}; the database is {}", error.cause(), kept.display())),
    }
}

fn may_make(database: &Path, to: &Path, replace: bool) -> Result<()> {
    let shown = to.display();
    match fs::symlink_metadata(to) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        Err(error) => Err(unreadable(to, &error)),
        Ok(_) if is_same(database, to) => {
            Err(Error::internal(format!("{shown} is the database itself; name another file")))
        }
        Ok(there) if there.is_dir() => Err(Error::internal(format!("{shown} is a folder; name a file in it"))),
        Ok(_) if replace => Ok(()),
        Ok(_) => Err(Error::internal(format!("{shown} exists already; name another file, or add --replace"))),
    }
}

fn is_same(one: &Path, other: &Path) -> bool {
    file::identity(one).is_ok_and(|one| file::identity(other).is_ok_and(|other| other == one))
}

fn unreadable(path: &Path, error: &dyn Display) -> Error {
    Error::internal(format!("{} cannot be copied: {error}", path.display()))
}

/// A file that is not whole yet. Dropped, it goes.
struct Draft {
    path: PathBuf,
    /// As it was made. By its name another file could be there meanwhile, if the folder is another
    /// user's.
    file: File,
    /// What helps where it cannot be written.
    otherwise: &'static str,
}

impl Draft {
    /// An empty file, readable by its owner alone, in the folder of the file that it will be.
    fn beside(place: &Path, otherwise: &'static str) -> Result<Self> {
        let path = file::beside(place, &format!(".{:016x}", crate::random::bits()));
        let made = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&path);
        let file = made.map_err(|error| Error::internal(file::not_writable_or(place, &error, otherwise)))?;
        Ok(Self { path, file, otherwise })
    }

    fn fault(&self, place: &Path, error: &io::Error) -> Error {
        Error::internal(file::not_writable_or(place, error, self.otherwise))
    }

    /// Has the whole file on the disk.
    fn sync(&self, place: &Path) -> Result<()> {
        self.file.sync_all().map_err(|error| self.fault(place, &error))
    }

    /// Puts the whole file in its place, on the disk too.
    fn becomes(self, place: &Path) -> Result<()> {
        let folder = place.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
        self.sync(place)?;
        fs::rename(&self.path, place)
            .and_then(|()| File::open(folder)?.sync_all())
            .map_err(|error| self.fault(place, &error))
    }
}

impl Drop for Draft {
    fn drop(&mut self) {
        // A rollback journal, where the process was in the middle of a change.
        for path in [self.path.clone(), file::beside(&self.path, "-journal")] {
            drop(fs::remove_file(path));
        }
    }
}
