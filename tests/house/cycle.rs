//! Circles of files. A file and those below it in the module tree may know each other both ways: a parent declares
//! its children, and they extend it.

use std::collections::{BTreeMap, BTreeSet};

use super::source::{Module, Source};

/// Every file that can come back to itself, with the way.
pub(super) fn faults(source: &Source) -> Vec<String> {
    let related = |a: &Module, b: &Module| a.starts_with(b) || b.starts_with(a);
    let mut arrows: BTreeMap<&Module, Vec<(&Module, String)>> = BTreeMap::new();
    for file in &source.files {
        for (line, to) in file.names.iter().filter(|(_, to)| !related(&file.module, to)) {
            arrows.entry(&file.module).or_default().push((to, format!("{}:{line}", file.path)));
        }
    }
    let (mut faults, mut told) = (Vec::new(), BTreeSet::new());
    for start in arrows.keys() {
        if let Some(way) = way_back(start, &arrows)
            && way.iter().all(|(module, _)| told.insert(*module))
        {
            let steps: Vec<_> = way.iter().map(|(to, place)| format!("→ {} ({place})", to.join("::"))).collect();
            faults.push(format!("{} {}", start.join("::"), steps.join(" ")));
        }
    }
    faults
}

/// The shortest way from a file back to itself, each step with the line that makes it.
fn way_back<'a>(
    start: &Module,
    arrows: &'a BTreeMap<&Module, Vec<(&'a Module, String)>>,
) -> Option<Vec<(&'a Module, &'a str)>> {
    let mut ways = vec![Vec::new()];
    let mut seen = BTreeSet::new();
    while !ways.is_empty() {
        let mut longer = Vec::new();
        for way in ways {
            let at = way.last().map_or(start, |(module, _)| *module);
            for (to, place) in arrows.get(at).into_iter().flatten() {
                let way = [way.as_slice(), &[(*to, place.as_str())]].concat();
                if *to == start {
                    return Some(way);
                }
                if seen.insert(*to) {
                    longer.push(way);
                }
            }
        }
        ways = longer;
    }
    None
}

#[cfg(test)]
mod tests {
    use super::faults;
    use crate::house::source::Source;

    #[test]
    fn a_circle_is_told_once_with_its_way() {
        let files = [("a.rs", "use crate::b::B;"), ("b.rs", "\nuse crate::c::C;"), ("c.rs", "fn f(_: crate::a::A) {}")];
        assert_eq!(faults(&Source::of(&files)), ["a → b (a.rs:1) → c (b.rs:2) → a (c.rs:1)"]);
        assert!(faults(&Source::of(&files[..2])).is_empty());
    }

    #[test]
    fn siblings_below_one_parent_count_and_parents_do_not() {
        let files = [("a/mod.rs", "use self::b::B;"), ("a/b.rs", "use super::A;"), ("a/c.rs", "use super::b::B;")];
        assert!(faults(&Source::of(&files)).is_empty());
        let files = [("a/b.rs", "use super::c::C;"), ("a/c.rs", "use super::b::B;")];
        assert_eq!(faults(&Source::of(&files)).len(), 1);
    }
}
