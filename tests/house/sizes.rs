//! How long files and how wide comments may be.

use std::path::Path;

use super::source::{files, files_of};

const LINES_PER_FILE: usize = 350;
const COLUMNS_PER_COMMENT: usize = 100;
/// How a line that is a comment begins, by the extension of its file; in Rust those of its SQL too.
/// Files of SQL are not among them: a migration keeps its bytes.
const COMMENTS: [(&str, &[&str]); 10] = [
    ("rs", &["//", "--"]),
    ("lua", &["--"]),
    ("js", &["//", "/*", "* "]),
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

/// Files of the product and of its clients that are too long, and comments of the whole repository
/// that are too wide.
pub(super) fn faults(root: &Path, product: &[&str]) -> Vec<String> {
    let mut faults = Vec::new();
    let clients = ["js", "py"].into_iter().flat_map(|language| files_of(&root.join("clients"), language));
    for path in product.iter().flat_map(|name| files(&root.join(name))).chain(clients) {
        let lines = std::fs::read_to_string(&path).unwrap().lines().count();
        if lines > LINES_PER_FILE {
            faults.push(format!("{}: {lines} lines", path.display()));
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
    use super::wide_comments;

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
