//! How long files and tests in a product's file, and how wide comments may be.

use std::path::Path;

use super::source::{files, files_of};

const LINES_PER_FILE: usize = 350;
/// Longer tests stand in a file of their own beside the file that they test.
const LINES_OF_TESTS_IN_A_FILE: usize = 150;
const COLUMNS_PER_COMMENT: usize = 100;
/// How a line that is a comment begins, by the extension of its file; in Rust those of its SQL too.
/// Files of SQL are not among them: a migration keeps its bytes.
const COMMENTS: [(&str, &[&str]); 14] = [
    ("rs", &["//", "--"]),
    ("lua", &["--"]),
    ("js", &["//", "/*", "* "]),
    ("mjs", &["//", "/*", "* "]),
    ("ts", &["//", "/*", "* "]),
    ("mts", &["//", "/*", "* "]),
    ("sh", &["#"]),
    ("css", &["/*"]),
    ("py", &["#"]),
    ("yaml", &["#"]),
    ("yml", &["#"]),
    ("env", &["#"]),
    ("conf", &["#"]),
    ("cfg", &["#"]),
];
/// The folders with files of ours.
const FOLDERS: [&str; 7] = ["api", "clients", "common", "deploy", "gateway", "k8s", "tests"];

/// Files of Rust and of the clients that are too long, or whose tests are; and comments of the
/// whole repository that are too wide.
pub(super) fn faults(root: &Path, product: &[&str]) -> Vec<String> {
    let mut faults = Vec::new();
    let clients = ["js", "py"].into_iter().flat_map(|language| files_of(&root.join("clients"), language));
    for path in product.iter().chain(&["tests"]).flat_map(|name| files(&root.join(name))).chain(clients) {
        let text = std::fs::read_to_string(&path).unwrap();
        let (lines, of_tests) = (text.lines().count(), lines_of_tests(&text));
        if lines > LINES_PER_FILE {
            faults.push(format!("{}: {lines} lines", path.display()));
        }
        if of_tests > LINES_OF_TESTS_IN_A_FILE {
            faults.push(format!("{}: {of_tests} lines of tests", path.display()));
        }
    }
    for (language, marks) in COMMENTS {
        for path in FOLDERS.iter().flat_map(|name| files_of(&root.join(name), language)) {
            let text = std::fs::read_to_string(&path).unwrap();
            let wide = wide_comments(&text, marks);
            faults.extend(wide.map(|(line, columns)| format!("{}:{line}: {columns} columns", path.display())));
        }
    }
    faults
}

/// The lines of the modules of tests that stand in a file, their first and last with them.
fn lines_of_tests(text: &str) -> usize {
    let mut inside = false;
    let of_tests = text.lines().filter(|line| {
        inside |= line.starts_with("mod ") && line.ends_with("tests {");
        let is_one = inside;
        inside &= *line != "}";
        is_one
    });
    of_tests.count()
}

/// The lines that are nothing but a comment, and their width, where that is too much. The row of a
/// table cannot be wrapped.
fn wide_comments(text: &str, marks: &[&str]) -> impl Iterator<Item = (usize, usize)> {
    let comments = (1..).zip(text.lines()).filter(move |(_, line)| {
        let said = marks.iter().find_map(|mark| line.trim_start().strip_prefix(mark));
        said.is_some_and(|text| !text.trim_start_matches(['/', '!', ' ']).starts_with('|'))
    });
    comments.map(|(line, text)| (line, text.chars().count())).filter(|(_, columns)| *columns > COLUMNS_PER_COMMENT)
}

#[cfg(test)]
mod tests {
    use super::{lines_of_tests, wide_comments};

    #[test]
    fn the_tests_of_a_file_are_counted() {
        assert_eq!(lines_of_tests("fn one() {\n}\n\n#[cfg(test)]\nmod tests {\n    fn one() {\n    }\n}\n"), 4);
        assert_eq!(lines_of_tests("#[cfg(test)]\nmod tests;\n\nfn one() {\n}\n"), 0);
    }

    #[test]
    fn code_may_be_wider_than_a_comment() {
        let text = format!("// {}\n    /// {}\n{}", "ä".repeat(97), "x".repeat(93), "x".repeat(110));
        let row = format!("//! | {} |", "x".repeat(110));
        assert_eq!(wide_comments(&row, &["//"]).count(), 0);
        assert_eq!(wide_comments(&text, &["//"]).collect::<Vec<_>>(), [(2, 101)]);
        let block = format!("/* {}\n * {}", "x".repeat(98), "x".repeat(98));
        assert_eq!(wide_comments(&block, &["/*", "* "]).collect::<Vec<_>>(), [(1, 101), (2, 101)]);
    }
}
