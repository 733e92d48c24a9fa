//! The stated order of a crate's rooms, held against what its files name. A room is a module of
//! the root with all that is below it.

use std::collections::BTreeMap;

use super::source::{Module, Source};

/// The rooms that stand on one level; they do not know each other.
pub(super) type Level = Vec<String>;

/// The levels that the docs of a `lib.rs` list after `Rooms, top to bottom`: either as one chain
/// (`` `a → b, c → d` ``) or as a list, a level an item (`` - `b`, `c`: what they are ``).
pub(super) fn levels(lib: &str) -> Option<Vec<Level>> {
    let docs = lib.lines().map_while(|line| line.strip_prefix("//!")).map(str::trim);
    let list = docs.skip_while(|line| !line.contains("Rooms, top to bottom"));
    let list = list.skip_while(|line| !line.contains('→') && !line.starts_with("- "));
    let list: Vec<_> = list.take_while(|line| !line.is_empty()).collect();
    let levels: Vec<Level> = if list.first()?.starts_with("- ") {
        let items = list.iter().filter_map(|line| line.strip_prefix("- "));
        items.map(|item| names(item.split(':').next().unwrap_or_default())).collect()
    } else {
        list.join(" ").trim_start_matches("Rooms, top to bottom:").split('→').map(names).collect()
    };
    Some(levels)
}

fn names(level: &str) -> Level {
    level.split(',').map(|name| name.trim_matches([' ', '`', '.']).to_owned()).collect()
}

/// Rooms that the list lacks or has in excess, and paths that lead up or across.
pub(super) fn faults(source: &Source, levels: &[Level]) -> Vec<String> {
    let level = |name: &String| levels.iter().position(|level| level.contains(name));
    let mut faults = Vec::new();
    let mut rooms = BTreeMap::new();
    for file in source.files.iter().filter(|file| !file.module.is_empty()) {
        rooms.entry(&file.module[0]).or_insert(&file.path);
    }
    for (room, path) in &rooms {
        if level(room).is_none() {
            faults.push(format!("{path}: the list of rooms lacks `{room}`"));
        }
    }
    for name in levels.iter().flatten().filter(|name| !rooms.contains_key(name)) {
        faults.push(format!("the list of rooms has `{name}`, which is no room"));
    }
    for file in &source.files {
        let Some(from) = file.module.first() else { continue };
        for (line, to) in file.names.iter().filter(|(_, to)| to.first() != Some(from)) {
            let what = match (level(from), to.first().map(|to| (to, level(to)))) {
                (_, None) => "leads up to the crate's root",
                (Some(own), Some((_, Some(other)))) if other < own => "leads up",
                (Some(own), Some((_, Some(other)))) if other == own => "leads across",
                _ => continue,
            };
            faults.push(format!("{}:{line}: {from} → {} {what}", file.path, shown(to)));
        }
    }
    faults
}

fn shown(module: &Module) -> String {
    format!("`{}`", module.join("::"))
}

#[cfg(test)]
mod tests {
    use super::{faults, levels};
    use crate::house::source::Source;

    const CHAIN: &str = "//! Rooms, top to bottom: `a → b, c →\n//! d`\n\nmod a;";
    const LIST: &str = "//! # Rooms, top to bottom\n//!\n//! Below only.\n//!\n//! - `a`: one\n//!   lines\n//! - `b`, `c`: of: rules\n//! - `d`\n";

    #[test]
    fn a_chain_and_a_list_say_the_same() {
        let all = [vec!["a"], vec!["b", "c"], vec!["d"]];
        assert_eq!(levels(CHAIN).unwrap(), all);
        assert_eq!(levels(LIST).unwrap(), all);
        assert_eq!(levels("//! Nothing.\n"), None);
    }

    fn found(b: &str) -> Vec<String> {
        let files =
            [("lib.rs", CHAIN), ("a.rs", "use crate::b;"), ("b/mod.rs", ""), ("b/x.rs", b), ("c.rs", ""), ("d.rs", "")];
        faults(&Source::of(&files), &levels(CHAIN).unwrap())
    }

    #[test]
    fn a_path_leads_down_only() {
        assert!(found("use crate::d::D;\nuse super::B;").is_empty());
        assert_eq!(found("\nuse crate::a::A;"), ["b/x.rs:2: b → `a` leads up"]);
        assert_eq!(found("fn f(c: crate::c::C) {}"), ["b/x.rs:1: b → `c` leads across"]);
        assert_eq!(found("use crate::Root;"), ["b/x.rs:1: b → `` leads up to the crate's root"]);
    }

    #[test]
    fn the_list_has_all_rooms_and_no_other() {
        let source = Source::of(&[("a.rs", ""), ("e/mod.rs", "")]);
        let levels = [vec!["a".to_owned()], vec!["f".to_owned()]];
        let both = ["e/mod.rs: the list of rooms lacks `e`", "the list of rooms has `f`, which is no room"];
        assert_eq!(faults(&source, &levels), both);
    }
}
