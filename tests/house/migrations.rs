//! A migration that was applied somewhere stays as it is, its comments too: a node compares its
//! checksum and does not start with another one (G10).

use std::collections::BTreeMap;
use std::path::Path;

use sqlx::migrate::Migrator;

/// Lines of store, number and the beginning of the checksum.
const LIST: &str = include_str!("migrations.txt");

/// Migrations that changed, went, or are not listed.
pub(super) async fn faults(root: &Path) -> Vec<String> {
    let mut listed: BTreeMap<&str, &str> = LIST.lines().filter_map(|line| line.rsplit_once(' ')).collect();
    let mut faults = Vec::new();
    for store in ["postgres", "sqlite"] {
        let migrations = Migrator::new(root.join("common/migrations").join(store)).await.unwrap();
        for migration in migrations.iter() {
            let name = format!("{store} {:04}", migration.version);
            let first: [u8; 8] = migration.checksum[..8].try_into().unwrap();
            let sum = format!("{:016x}", u64::from_be_bytes(first));
            match listed.remove(name.as_str()) {
                Some(was) if was == sum => {}
                Some(_) => faults.push(format!("{name} was changed: write another one")),
                None => faults.push(format!("{name} is new: add `{name} {sum}` to tests/house/migrations.txt")),
            }
        }
    }
    faults.extend(listed.keys().map(|name| format!("{name} is gone")));
    faults
}
