//! Whether the schema is this release's, in either database.

use super::report::Finding;
use crate::config::{Config, Program};
use crate::store::SchemaState;

/// The finding about it.
pub(super) fn finding(config: &Config, state: &SchemaState) -> Finding {
    const CHECK: &str = "schema";
    let migrates = config.migrate && config.program != Program::Gateway;
    if !state.missing.is_empty() {
        let found = format!("lacks the migrations {}", state.listed());
        if migrates {
            return Finding::warning(CHECK, found, "nothing: the next start applies them; `migrate` does it before");
        }
        let remedy = "run `messenger-api migrate`, or start an api of this release with MIGRATE=on";
        return Finding::fault(CHECK, found, remedy);
    }
    if state.newer {
        return Finding::ok(CHECK, "a newer release's; this one runs on it");
    }
    Finding::ok(CHECK, "up to date")
}
