//! `.env.example` lists the variables of the programs with their defaults: all of them, and none
//! that there is not.

use std::collections::{BTreeMap, BTreeSet};
use std::process::Command;

use super::{known_variables, shipped};
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

#[tokio::test]
async fn the_example_lists_what_the_programs_read() {
    let told = blocking(|| Program::ALL.map(|program| (program, variables_of(program)))).await;
    let mut all = BTreeSet::new();
    for (program, variables) in told {
        assert!(variables.contains_key("DATABASE_URL"), "{program:?} tells of no variable");
        if program == Program::Api {
            for line in shipped(".env.example").lines() {
                let Some((name, value)) = line.trim_start_matches('#').split_once('=') else { continue };
                let value = value.trim_matches('"');
                if let (Some(default), false) = (variables.get(name), value.is_empty()) {
                    assert_eq!(value, default, "the default of {name}");
                }
            }
        }
        all.extend(variables.into_keys());
    }
    let listed = known_variables();
    let missing: Vec<_> = all.difference(&listed).collect();
    let unknown: Vec<_> = listed.difference(&all).collect();
    assert!(missing.is_empty() && unknown.is_empty(), "not listed: {missing:?}; listed, but read by none: {unknown:?}");
}
