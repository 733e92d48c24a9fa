//! The paths that a source names from its crate's root or from its parent.

/// Every path that begins with `crate`, `super` or `self`, as its words and with its line: of
/// `use crate::a::{b, c::D};` those are `crate a b` and `crate a c D`.
pub(super) fn paths(source: &str) -> Vec<(usize, Vec<String>)> {
    let mut tokens = Tokens { all: tokens(source), at: 0 };
    let mut found = Vec::new();
    while let Some((line, token)) = tokens.next() {
        if matches!(token.as_str(), "crate" | "super" | "self") && tokens.peek() == "::" {
            tokens.follow(vec![token], line, &mut found);
        }
    }
    found
}

struct Tokens {
    all: Vec<(usize, String)>,
    at: usize,
}

impl Tokens {
    fn next(&mut self) -> Option<(usize, String)> {
        self.at += 1;
        self.all.get(self.at - 1).cloned()
    }

    fn peek(&self) -> &str {
        self.all.get(self.at).map_or("", |(_, token)| token)
    }

    /// Reads on after a word: `::word`, or `::{one, another}`, or the end of the path.
    fn follow(&mut self, mut path: Vec<String>, line: usize, found: &mut Vec<(usize, Vec<String>)>) {
        while self.peek() == "::" {
            self.at += 1;
            if self.peek() == "{" {
                self.at += 1;
                return self.group(&path, found);
            }
            match self.next() {
                Some((_, word)) if is_word(&word) => path.push(word),
                _ => break,
            }
        }
        found.push((line, path));
    }

    /// Reads the paths of a group up to its closing brace.
    fn group(&mut self, start: &[String], found: &mut Vec<(usize, Vec<String>)>) {
        while let Some((line, token)) = self.next() {
            match token.as_str() {
                "}" => return,
                "as" => self.at += 1,
                "self" => found.push((line, start.to_vec())),
                word if is_word(word) => self.follow([start, &[token]].concat(), line, found),
                _ => {}
            }
        }
    }
}

fn is_word(token: &str) -> bool {
    token.starts_with(|c: char| c.is_alphabetic() || c == '_')
}

/// Words, `::` and single signs, without comments.
fn tokens(source: &str) -> Vec<(usize, String)> {
    let mut all = Vec::new();
    for (line, text) in (1..).zip(source.lines()) {
        let mut rest = text.split("//").next().unwrap_or_default();
        while let Some(first) = rest.chars().next() {
            let word = rest.find(|c: char| !c.is_alphanumeric() && c != '_').unwrap_or(rest.len());
            let length = match first {
                _ if word > 0 => word,
                _ if rest.starts_with("::") => 2,
                other => other.len_utf8(),
            };
            if !first.is_whitespace() {
                all.push((line, rest[..length].to_owned()));
            }
            rest = &rest[length..];
        }
    }
    all
}

#[cfg(test)]
mod tests {
    use super::paths;

    fn all(source: &str) -> Vec<String> {
        paths(source).into_iter().map(|(line, words)| format!("{line}: {}", words.join(" "))).collect()
    }

    #[test]
    fn a_plain_path_wherever_it_stands() {
        assert_eq!(
            all("use crate::a::B;\nlet x = crate::c::d(super::e);"),
            ["1: crate a B", "2: crate c d", "2: super e"]
        );
        assert_eq!(all("use super::super::a::*;"), ["1: super super a"]);
    }

    #[test]
    fn each_path_of_a_group() {
        let source = "use crate::{\n    a::{self, B as C, d::*},\n    e,\n};\nuse crate::f;";
        assert_eq!(all(source), ["2: crate a", "2: crate a B", "2: crate a d", "3: crate e", "5: crate f"]);
    }

    #[test]
    fn neither_comments_nor_visibility_nor_others_crates() {
        assert!(all("// crate::a\npub(crate) fn f() {} //! [`super::b`]\nuse other::c;\nself.d();").is_empty());
    }
}
