//! How a database's schema compares with a release's.

use sqlx::migrate::Migrator;

/// The migrations that a database lacks, and whether it has more.
#[derive(Debug, PartialEq, Eq)]
pub struct SchemaState {
    /// The numbers of this release's migrations that are not applied.
    pub missing: Vec<i64>,
    /// Whether a newer release's are.
    pub newer: bool,
}

impl SchemaState {
    pub(super) fn of(release: &Migrator, applied: &[i64]) -> Self {
        let ours = || release.iter().map(|migration| migration.version);
        Self {
            missing: ours().filter(|version| !applied.contains(version)).collect(),
            newer: applied.iter().any(|version| ours().all(|our| our != *version)),
        }
    }

    /// The missing ones for people: numbers with commas between.
    pub fn listed(&self) -> String {
        self.missing.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ")
    }
}
