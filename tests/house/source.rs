//! The files of one crate, as modules that name one another.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use super::paths::paths;

/// The place of a module below its crate's root: `store::postgres` is `["store", "postgres"]`.
pub(super) type Module = Vec<String>;

/// A crate without its tests.
pub(super) struct Source {
    /// the text of `lib.rs`
    pub lib: String,
    pub files: Vec<File>,
}

/// One file and the files that it names.
pub(super) struct File {
    pub path: String,
    pub module: Module,
    /// the line, and the module of the file named there; the crate's root is the empty one
    pub names: Vec<(usize, Module)>,
}

impl Source {
    pub(super) fn read(src: &Path) -> Self {
        let read = |path: PathBuf| {
            let text = std::fs::read_to_string(&path).unwrap();
            let place = path.strip_prefix(src).unwrap().to_str().unwrap().to_owned();
            (format!("{}/{place}", src.display()), module(&place), text)
        };
        let mut lib = String::new();
        let mut texts: Vec<_> = files(src).into_iter().map(read).collect();
        texts.retain(|(path, _, _)| !path.ends_with("src/main.rs"));
        if let Some((_, _, text)) = texts.iter().find(|(_, module, _)| module.is_empty()) {
            lib.clone_from(text);
        }
        Self { lib, files: connect(texts) }
    }

    /// The crate of these files, for tests of the rules.
    #[cfg(test)]
    pub(super) fn of(texts: &[(&str, &str)]) -> Self {
        let lib = texts.iter().find(|(path, _)| *path == "lib.rs").map_or("", |(_, text)| text).to_owned();
        let texts = texts.iter().map(|(path, text)| ((*path).to_owned(), module(path), (*text).to_owned()));
        Self { lib, files: connect(texts.collect()) }
    }
}

/// All sources below a folder, in order.
pub(crate) fn files(folder: &Path) -> Vec<PathBuf> {
    files_of(folder, "rs")
}

/// The same of another language, by its files' extension.
pub(super) fn files_of(folder: &Path, language: &str) -> Vec<PathBuf> {
    let mut all = Vec::new();
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            all.extend(files_of(&path, language));
        } else if path.extension().is_some_and(|extension| extension == language) {
            all.push(path);
        }
    }
    all.sort();
    all
}

/// `store/mod.rs` is `store`, `store/row.rs` is `store::row`, `lib.rs` is the root.
fn module(place: &str) -> Module {
    let words = place.trim_end_matches(".rs").split('/').map(str::to_owned);
    words.filter(|word| !["mod", "lib"].contains(&word.as_str())).collect()
}

/// Takes the tests away and looks up the file of every path that is left.
fn connect(texts: Vec<(String, Module, String)>) -> Vec<File> {
    let mut tests = BTreeSet::new();
    let mut kept = Vec::new();
    for (path, module, text) in texts {
        let (text, test_modules) = without_tests(&text);
        tests.extend(test_modules.into_iter().map(|name| [module.as_slice(), &[name]].concat()));
        kept.push((path, module, text));
    }
    kept.retain(|(_, module, _)| !tests.iter().any(|test| module.starts_with(test)));
    let modules: BTreeSet<Module> = kept.iter().map(|(_, module, _)| module.clone()).collect();
    let file = |(path, module, text): (String, Module, String)| {
        let names = paths(&text).into_iter().map(|(line, words)| (line, resolve(&module, &words, &modules)));
        File { names: names.collect(), path, module }
    };
    kept.into_iter().map(file).collect()
}

/// The module of the file that a path leads to: the longest beginning of it that is a file.
fn resolve(from: &Module, words: &[String], modules: &BTreeSet<Module>) -> Module {
    let mut at = if words[0] == "crate" { Vec::new() } else { from.clone() };
    for word in words {
        match word.as_str() {
            "crate" | "self" => {}
            "super" => drop(at.pop()),
            _ => at.push(word.clone()),
        }
    }
    while !at.is_empty() && !modules.contains(&at) {
        at.pop();
    }
    at
}

/// The text with every item under `#[cfg(test)]` blanked, and the names of the modules among them.
/// An item ends where rustfmt puts its end: with a `;` in its first line or a `}` in its own
/// column.
fn without_tests(text: &str) -> (String, Vec<String>) {
    let (mut kept, mut modules) = (String::new(), Vec::new());
    let mut lines = text.lines();
    while let Some(line) = lines.next() {
        if line.trim_start() == "#[cfg(test)]" {
            let end = format!("{}}}", &line[..line.len() - line.trim_start().len()]);
            kept.push('\n');
            for line in lines.by_ref() {
                kept.push('\n');
                if let Some((_, name)) = line.trim_end_matches(';').split_once("mod ") {
                    modules.push(name.to_owned());
                }
                if line == end || line.ends_with(';') && !line.starts_with(&format!("{} ", &end[..end.len() - 1])) {
                    break;
                }
            }
            continue;
        }
        kept.push_str(line);
        kept.push('\n');
    }
    (kept, modules)
}

#[cfg(test)]
mod tests {
    use super::Source;

    #[test]
    fn a_path_leads_to_a_file() {
        let source = Source::of(&[
            ("lib.rs", ""),
            ("a/mod.rs", "use crate::b::C;\nuse self::d::E;"),
            ("a/d.rs", "use super::A;\nuse super::super::b;\nuse crate::Root;"),
            ("b.rs", ""),
        ]);
        let names = |n: usize| source.files[n].names.iter().map(|(line, to)| format!("{line} {}", to.join("::")));
        assert_eq!(names(1).collect::<Vec<_>>(), ["1 b", "2 a::d"]);
        assert_eq!(names(2).collect::<Vec<_>>(), ["1 a", "2 b", "3 "]);
    }

    #[test]
    fn tests_do_not_count() {
        let inline = "#[cfg(test)]\nmod tests {\n    use crate::b::C;\n}\nuse crate::c::D;";
        let source = Source::of(&[
            ("a.rs", inline),
            ("b.rs", "#[cfg(test)]\nmod testing;"),
            ("b/testing.rs", "use crate::a::A;"),
            ("c.rs", ""),
        ]);
        assert_eq!(source.files.iter().map(|file| file.path.as_str()).collect::<Vec<_>>(), ["a.rs", "b.rs", "c.rs"]);
        assert_eq!(source.files[0].names, [(5, vec!["c".to_owned()])]);
    }
}
