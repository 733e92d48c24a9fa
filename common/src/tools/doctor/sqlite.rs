//! `doctor`'s findings on the embedded file.

use super::report::Finding;
use super::schema;
use crate::config::Config;
use crate::error::Error;
use crate::store::Store;
use crate::store::sqlite::SqliteStore;
use std::path::Path;

const CHECK: &str = "database";

/// The findings. A file that is not there is not made.
pub(super) async fn examine(config: &Config, path: &Path) -> Vec<Finding> {
    let shown = path.display();
    if !path.exists() {
        return vec![new_file(path)];
    }
    match SqliteStore::open(path).await {
        Ok(store) => vec![
            Finding::ok(CHECK, format!("{shown} can be written, and no process has it")),
            of_schema(config, store).await,
        ],
        Err(error @ Error::Unavailable(_)) => {
            let mut found = vec![Finding::warning(
                CHECK,
                format!("{shown}: {}", error.cause()),
                "nothing, if it is this program that runs; a second process cannot have the file",
            )];
            if let Ok(store) = SqliteStore::open_beside(path).await {
                found.push(of_schema(config, store).await);
            }
            found
        }
        Err(error) => vec![Finding::fault(
            CHECK,
            format!("{shown}: {}", error.cause()),
            "let the program's user write the file and its folder, or name another file in DATABASE_URL",
        )],
    }
}

async fn of_schema(config: &Config, store: SqliteStore) -> Finding {
    let state = store.schema().await;
    store.close().await;
    match state {
        Ok(state) => schema::finding(config, &state),
        Err(error) => Finding::fault("schema", error.cause(), "restore a backup: `messenger restore FILE`"),
    }
}

/// A file that the first start will make: its folder must take it.
fn new_file(path: &Path) -> Finding {
    let shown = path.display();
    let beside = path.with_file_name(format!(".messenger-doctor-{}", std::process::id()));
    let tried = std::fs::OpenOptions::new().write(true).create_new(true).open(&beside);
    match tried.and_then(|_| std::fs::remove_file(&beside)) {
        Ok(()) => Finding::ok(CHECK, format!("{shown} is made at the first start")),
        Err(error) => Finding::fault(
            CHECK,
            format!("{shown} cannot be made: {error}"),
            "let the program's user write its folder, or name another file in DATABASE_URL",
        ),
    }
}
