//! How long files and how wide comments may be.

use std::path::Path;

use super::source::{files, files_of};

const LINES_PER_FILE: usize = 350;
const COLUMNS_PER_COMMENT: usize = 100;

/// Product files that are too long, and comments of the whole repository that are too wide.
pub(super) fn faults(root: &Path, product: &[&str]) -> Vec<String> {
    let mut faults = Vec::new();
    for path in product.iter().flat_map(|name| files(&root.join(name))) {
        let lines = std::fs::read_to_string(&path).unwrap().lines().count();
        if lines > LINES_PER_FILE {
            faults.push(format!("{}: {lines} lines", path.display()));
        }
    }
    for (language, mark) in [("rs", "//"), ("lua", "--")] {
        for path in product.iter().copied().chain(["tests"]).flat_map(|name| files_of(&root.join(name), language)) {
            let text = std::fs::read_to_string(&path).unwrap();
            let wide = wide_comments(&text, mark);
            faults.extend(wide.map(|(line, columns)| format!("{}:{line}: {columns} columns", path.display())));
        }
    }
    faults
}

/// The lines that are nothing but a comment, and their width, where that is too much. The row of a
/// table cannot be wrapped.
fn wide_comments(text: &str, mark: &str) -> impl Iterator<Item = (usize, usize)> {
    let comments = (1..).zip(text.lines()).filter(move |(_, line)| {
        line.trim_start()
            .strip_prefix(mark)
            .is_some_and(|text| !text.trim_start_matches(['/', '!', ' ']).starts_with('|'))
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
        assert_eq!(wide_comments(&row, "//").count(), 0);
        assert_eq!(wide_comments(&text, "//").collect::<Vec<_>>(), [(2, 101)]);
        assert_eq!(wide_comments(&format!("-- {}", "x".repeat(98)), "--").count(), 1);
    }
}
