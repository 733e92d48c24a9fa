//! Why a transaction failed: a rule, the database before anything was committed, or the database
//! at the commit.

use crate::error::Error;
use sqlx::sqlite::SqliteError;

/// The reason why a transaction failed.
#[derive(Debug)]
pub(super) enum Fault {
    /// A rule of the contract, or a back end known to be away.
    Rule(Error),
    /// The database failed and nothing was committed: a retry is safe.
    Sql(sqlx::Error),
    /// The database failed during the commit: nobody knows whether it committed.
    Unknown(sqlx::Error),
}

impl From<Error> for Fault {
    fn from(error: Error) -> Self {
        Self::Rule(error)
    }
}

impl From<sqlx::Error> for Fault {
    fn from(error: sqlx::Error) -> Self {
        Self::Sql(error)
    }
}

impl From<Fault> for Error {
    fn from(fault: Fault) -> Self {
        match fault {
            Fault::Rule(error) => error,
            // Never an error that says that nothing was committed: perhaps it was.
            Fault::Unknown(error) => Self::unavailable(error),
            Fault::Sql(error) => {
                if is_away(&error) {
                    Self::unavailable(error)
                } else {
                    Self::internal(error)
                }
            }
        }
    }
}

impl Fault {
    /// Whether the connection is lost.
    pub(super) fn is_lost(&self) -> bool {
        matches!(self, Self::Sql(error) | Self::Unknown(error) if is_lost(error))
    }

    /// Whether a retry may succeed and does no harm.
    pub(super) fn may_retry(&self) -> bool {
        match self {
            Self::Sql(error) => is_lost(error) || matches!(code(error).as_deref(), Some("40P01" | "40001")),
            Self::Rule(_) | Self::Unknown(_) => false,
        }
    }

    /// The name of the constraint that was violated.
    pub(super) fn constraint(&self) -> Option<&str> {
        match self {
            Self::Sql(sqlx::Error::Database(error)) => error.constraint(),
            _ => None,
        }
    }
}

/// The server's code of an error.
pub(super) fn code(error: &sqlx::Error) -> Option<std::borrow::Cow<'_, str>> {
    error.as_database_error().and_then(sqlx::error::DatabaseError::code)
}

/// Whether Postgres refused a value: what it is (class 22), or how much (class 54).
pub(super) fn is_of_the_value(error: &Error) -> bool {
    let Error::Internal(source) = error else { return false };
    let code = source.downcast_ref().and_then(code);
    code.is_some_and(|code| code.starts_with("22") || code.starts_with("54"))
}

/// Whether the connection is lost.
pub(super) fn is_lost(error: &sqlx::Error) -> bool {
    match error {
        sqlx::Error::Io(_) | sqlx::Error::Tls(_) | sqlx::Error::Protocol(_) | sqlx::Error::WorkerCrashed => true,
        sqlx::Error::Database(_) => code(error).is_some_and(|code| {
            // Connection exceptions; a shutdown by the operator or a crash; a primary that became a
            // standby.
            code.starts_with("08") || matches!(&*code, "57P01" | "57P02" | "57P03" | "57P05" | "25006" | "25P03")
        }),
        _ => false,
    }
}

/// Whether the database is away, or in such a state that the client should try later.
fn is_away(error: &sqlx::Error) -> bool {
    match error {
        sqlx::Error::PoolTimedOut | sqlx::Error::PoolClosed => true,
        sqlx::Error::Database(database) if database.try_downcast_ref::<SqliteError>().is_some() => {
            // Busy, locked, read-only, an I/O error, full, cannot be opened. The byte above the
            // primary code names a sub-kind.
            code(error)
                .and_then(|code| code.parse::<u32>().ok())
                .is_some_and(|code| matches!(code & 0xff, 5 | 6 | 8 | 10 | 13 | 14))
        }
        // Insufficient resources; a statement's time-out; a lock not granted in time; the victim of
        // a deadlock.
        sqlx::Error::Database(_) => {
            is_lost(error)
                || code(error).is_some_and(|code| {
                    code.starts_with("53") || matches!(&*code, "57014" | "55P03" | "40P01" | "40001")
                })
        }
        other => is_lost(other),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use sqlx::Connection;

    #[tokio::test]
    async fn a_file_that_cannot_be_opened_is_away_and_a_bad_statement_is_a_fault() {
        let dir = tempfile::tempdir().unwrap();
        let opened = sqlx::SqliteConnection::connect(&format!("sqlite:{}", dir.path().display())).await;
        assert_eq!(Error::from(Fault::Sql(opened.unwrap_err())).code(), "unavailable");
        let mut memory = sqlx::SqliteConnection::connect("sqlite::memory:").await.unwrap();
        let bad = sqlx::query("select nothing").execute(&mut memory).await.unwrap_err();
        assert_eq!(Error::from(Fault::Sql(bad)).code(), "internal");
        // Nobody knows whether it was committed, whatever the error was: a retry is not safe.
        let bad = sqlx::query("select nothing").execute(&mut memory).await.unwrap_err();
        assert_eq!(Error::from(Fault::Unknown(bad)).code(), "unavailable");
    }
}
