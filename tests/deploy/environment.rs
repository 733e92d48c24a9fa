//! `.env.example` and the README's table list the variables of the programs with their defaults:
//! all of them, and none that there is not.

use std::collections::{BTreeMap, BTreeSet};
use std::process::Command;

use messenger_common::config::{self, VARIABLES};

use super::{is_variable, known_variables, shipped};
use crate::support::{Program, blocking, process};

/// The variables that a program's `--help` names, each with its default, as in `[env: PORT]
/// [default: 8000]`.
fn variables_of(program: Program) -> BTreeMap<String, String> {
    let mut help = Command::new(program.path().unwrap());
    help.arg("--help").env_clear();
    let text = process::run(help).unwrap();
    let told = text.split("[env: ").skip(1).map(|rest| {
        let (name, rest) = rest.split_once(']').unwrap();
        let default = rest.split_once("[default: ").and_then(|(_, rest)| rest.split_once(']')).unwrap().0;
        (name.to_owned(), default.to_owned())
    });
    told.collect()
}

/// For each variable the value that `.env.example` has, and the comment above it.
fn example() -> BTreeMap<String, (String, String)> {
    let (mut found, mut comment, mut is_new) = (BTreeMap::new(), String::new(), true);
    for line in shipped(".env.example").lines() {
        let entry = line.trim_start_matches('#').split_once('=').filter(|(name, _)| is_variable(name));
        if let Some((name, value)) = entry {
            found.insert(name.to_owned(), (value.trim_matches('"').to_owned(), comment.clone()));
        } else {
            if is_new {
                comment.clear();
            }
            comment.push_str(line.trim_start_matches('#'));
        }
        is_new = entry.is_some();
    }
    found
}

#[tokio::test]
async fn the_example_lists_what_the_programs_read() {
    let told = blocking(|| Program::ALL.map(|program| (program, variables_of(program)))).await;
    let (example, mut all) = (example(), BTreeSet::new());
    for (program, variables) in told {
        assert!(variables.contains_key("DATABASE_URL"), "{program:?} tells of no variable");
        for (name, (value, comment)) in &example {
            let Some(default) = variables.get(name).filter(|default| !value.is_empty() && *default != value) else {
                continue;
            };
            // One that differs is named: `messenger: 127.0.0.1`.
            let said = format!("{}: {}", program.name(), default.split(',').next().unwrap());
            assert!(comment.contains(&said), "{name}: not {value} but {default:?} of {}: {comment}", program.name());
        }
        all.extend(variables.into_keys());
    }
    let listed = known_variables();
    let missing: Vec<_> = all.difference(&listed).collect();
    let unknown: Vec<_> = listed.difference(&all).collect();
    assert!(missing.is_empty() && unknown.is_empty(), "not listed: {missing:?}; listed, but read by none: {unknown:?}");
}

/// Each default stands in the last cell of its variable's row, as a word.
#[test]
fn the_readme_lists_each_variable_with_its_defaults() {
    let readme = shipped("README.md");
    let (_, table) = readme.split_once("\n| variable | meaning | default |\n|---|---|---|\n").unwrap();
    let (table, _) = table.split_once("\n\n").unwrap();
    let mut rows = BTreeMap::new();
    for row in table.lines() {
        let (names, _) = row.trim_start_matches("| ").split_once(" | ").unwrap();
        let (_, defaults) = row.trim_end_matches(" |").rsplit_once(" | ").unwrap();
        for name in names.split(", ") {
            let before = rows.insert(name.trim_matches('`'), defaults);
            assert!(before.is_none(), "{name} stands in two rows");
        }
    }
    for variable in VARIABLES {
        let name = variable.name;
        let defaults = rows.remove(name).unwrap_or_else(|| panic!("the README's table lacks {name}"));
        let words: Vec<_> = defaults.split([' ', ',', ';', '`', '(', ')']).collect();
        for program in [config::Program::Messenger, config::Program::Api, config::Program::Gateway] {
            let default = variable.default(program).filter(|default| !default.is_empty());
            let is_told = default.is_none_or(|default| words.contains(&default) || words.contains(&"…"));
            assert!(is_told, "{name}: {default:?} of {} is not in {defaults:?}", program.name());
        }
    }
    assert!(rows.is_empty(), "in the README's table, but read by none: {rows:?}");
}
