//! Why a transaction did not end well: a rule, the database before anything was committed, or the database at the commit itself.

use crate::error::Error;

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
            Fault::Sql(error) | Fault::Unknown(error) => {
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
        // Insufficient resources; cancelled by the statement's time-out; a lock not had in time; a deadlock's victim; SQLite's
        // busy, I/O error and full.
        sqlx::Error::Database(_) => {
            is_lost(error)
                || code(error).is_some_and(|code| {
                    code.starts_with("53")
                        || matches!(&*code, "57014" | "55P03" | "40P01" | "40001" | "5" | "261" | "517" | "13")
                })
        }
        other => is_lost(other),
    }
}
