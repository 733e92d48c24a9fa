//! `.env.example` lists the variables of the programs: all of them, and none that there is not.

use std::collections::BTreeSet;
use std::process::Command;

use super::known_variables;
use crate::support::{Program, blocking, process};

/// The variables that a program's `--help` names, as in `[env: PORT=]`.
fn variables_of(program: Program) -> BTreeSet<String> {
    let mut help = Command::new(program.path().unwrap());
    help.arg("--help").env_clear();
    let text = process::run(help).unwrap();
    text.split("[env: ").skip(1).map(|rest| rest.split([']', '=']).next().unwrap().to_owned()).collect()
}

#[tokio::test]
async fn the_example_lists_what_the_programs_read() {
    let told = blocking(|| Program::ALL.map(|program| (program, variables_of(program)))).await;
    for (program, variables) in &told {
        assert!(variables.contains("DATABASE_URL"), "{program:?} tells of no variable");
    }
    let all: BTreeSet<_> = told.into_iter().flat_map(|(_, variables)| variables).collect();
    let listed = known_variables();
    let missing: Vec<_> = all.difference(&listed).collect();
    let unknown: Vec<_> = listed.difference(&all).collect();
    assert!(missing.is_empty() && unknown.is_empty(), "not listed: {missing:?}; listed, but read by none: {unknown:?}");
}
