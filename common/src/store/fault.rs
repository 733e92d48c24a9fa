//! Why a transaction did not end well: a rule, the database before anything was committed, or the database at the commit itself.

use crate::error::Error;
use sqlx::sqlite::SqliteError;

/// What ended a transaction.
#[derive(Debug)]
pub(super) enum Fault {
    /// A rule of the contract, or a back end known to be away.
    Rule(Error),
    /// The database erred and nothing was committed: it may be tried again.
    Sql(sqlx::Error),
    /// The database erred while committing: nobody knows whether it did.
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
            // Never an error that says that nothing was committed: it may have been.
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
    /// Whether another try may go well, and can do no harm.
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

fn code(error: &sqlx::Error) -> Option<std::borrow::Cow<'_, str>> {
    error.as_database_error().and_then(sqlx::error::DatabaseError::code)
}

/// Whether the connection is of no more use.
pub(super) fn is_lost(error: &sqlx::Error) -> bool {
    match error {
        sqlx::Error::Io(_) | sqlx::Error::Tls(_) | sqlx::Error::Protocol(_) | sqlx::Error::WorkerCrashed => true,
        sqlx::Error::Database(_) => code(error).is_some_and(|code| {
            // Connection exceptions; shut down by the operator or after a crash; a primary that became a standby.
            code.starts_with("08") || matches!(&*code, "57P01" | "57P02" | "57P03" | "57P05" | "25006" | "25P03")
        }),
        _ => false,
    }
}

/// Whether the database is away, or so busy or so ill that trying later is the answer.
fn is_away(error: &sqlx::Error) -> bool {
    match error {
        sqlx::Error::PoolTimedOut | sqlx::Error::PoolClosed => true,
        sqlx::Error::Database(database) if database.try_downcast_ref::<SqliteError>().is_some() => {
            // Busy, locked, an I/O error, full, cannot be opened; above the primary code's byte stands which kind of it.
            code(error)
                .and_then(|code| code.parse::<u32>().ok())
                .is_some_and(|code| matches!(code & 0xff, 5 | 6 | 10 | 13 | 14))
        }
        // Insufficient resources; cancelled by the statement's time-out; a lock not had in time; a deadlock's victim.
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
        // Whether it was committed is not known, whatever the error was: it must not be taken for one that may be tried again.
        let bad = sqlx::query("select nothing").execute(&mut memory).await.unwrap_err();
        assert_eq!(Error::from(Fault::Unknown(bad)).code(), "unavailable");
    }
}
