//! A term of a question in the forms of SQLite: what its FTS5 is asked, and what stands in the line
//! of words that it keeps. Words hold neither quotes nor spaces.

/// Words that stand beside each other, mostly one.
#[derive(Debug)]
pub struct Fts5Term {
    pub(super) words: Vec<String>,
    /// Whether the last word is wanted by its beginning.
    pub(super) is_begun: bool,
}

impl Fts5Term {
    /// The question to FTS5, over that column.
    pub fn whole(&self, column: &str) -> String {
        format!("{column} : {}{}", phrase(&self.words), if self.is_begun { " *" } else { "" })
    }

    /// The same without the last word. `None`: there is no other.
    pub fn rest(&self, column: &str) -> Option<String> {
        let (_, rest) = self.words.split_last()?;
        (!rest.is_empty()).then(|| format!("{column} : {}", phrase(rest)))
    }

    /// How the last word begins in a line that has a space before each word, where it is wanted by
    /// its beginning.
    pub fn beginning(&self) -> Option<String> {
        self.words.last().filter(|_| self.is_begun).map(|word| format!(" {word}"))
    }

    /// How the term begins in such a line.
    pub fn line(&self) -> String {
        format!(" {}", self.words.join(" "))
    }
}

fn phrase(words: &[String]) -> String {
    let words: Vec<_> = words.iter().map(|word| format!("\"{word}\"")).collect();
    words.join(" + ")
}
