//! `.env`, read as python-dotenv 1.2 reads it: an old program's file keeps its meaning. A line
//! that it would pass over with a warning is a fault here.

use super::ConfigError;
use std::collections::HashMap;
use std::io::ErrorKind;
use std::path::Path;

/// Bytes of all values together at most: `${NAME}` can make them twice as long line by line.
const MAX_BYTES: usize = 1 << 20;

/// The values of `.env` in that directory; none without the file. Of a name that stands there
/// twice, the last counts. `${NAME}` is what the environment has, else an earlier line.
pub(super) fn read(
    directory: &Path,
    environment: impl Fn(&str) -> Option<String>,
) -> Result<HashMap<String, String>, ConfigError> {
    let path = directory.join(".env");
    if !path.is_file() {
        return Ok(HashMap::new());
    }
    let text = std::fs::read_to_string(&path).map_err(|error| match error.kind() {
        ErrorKind::InvalidData => bad("cannot be read as UTF-8"),
        _ => bad(&format!("cannot be read: {error}")),
    })?;
    parse(&text, environment)
}

fn bad(fault: &str) -> ConfigError {
    ConfigError::new(".env", fault, "PORT=8000, or NAME='a value with blanks or a #'")
}

/// The values of the text of such a file.
pub(super) fn parse(
    text: &str,
    environment: impl Fn(&str) -> Option<String>,
) -> Result<HashMap<String, String>, ConfigError> {
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    let mut values = HashMap::new();
    let (mut reader, mut room) = (Reader { text, at: 0 }, MAX_BYTES);
    loop {
        reader.skip(char::is_whitespace);
        if reader.rest().is_empty() {
            return Ok(values);
        }
        let begin = reader.at;
        // The line may hold a secret, so no fault quotes it.
        let line = || text[..begin].split('\n').count();
        let entry = reader.entry().ok_or_else(|| bad(&format!("line {} is not NAME=value", line())))?;
        if let Some(value) = entry.value {
            let known = |name: &str| environment(name).or_else(|| values.get(name).cloned());
            let value = expanded(&value, room, known);
            let value = value.ok_or_else(|| bad(&format!("line {} makes its values longer than 1 MiB", line())))?;
            room -= value.len();
            values.insert(entry.name.to_owned(), value);
        }
    }
}

/// A name with its value, or a comment or a name alone.
struct Entry<'a> {
    name: &'a str,
    value: Option<String>,
}

struct Reader<'a> {
    text: &'a str,
    at: usize,
}

impl<'a> Reader<'a> {
    fn rest(&self) -> &'a str {
        &self.text[self.at..]
    }

    fn peek(&self) -> Option<char> {
        self.rest().chars().next()
    }

    /// Takes the characters that fit.
    fn skip(&mut self, fits: impl Fn(char) -> bool) -> &'a str {
        let rest = self.rest();
        let end = rest.find(|c| !fits(c)).unwrap_or(rest.len());
        self.at += end;
        &rest[..end]
    }

    fn blanks(&mut self) -> &'a str {
        self.skip(|c| c.is_whitespace() && !is_newline(c))
    }

    /// `None`: the line is no entry.
    fn entry(&mut self) -> Option<Entry<'a>> {
        if let Some(rest) = self.rest().strip_prefix("export")
            && rest.starts_with(|c: char| c.is_whitespace() && !is_newline(c))
        {
            self.at += "export".len();
            self.blanks();
        }
        let name = match self.peek() {
            Some('#') => "",
            Some('\'') => {
                let (name, rest) = self.rest()[1..].split_once('\'').filter(|(name, _)| !name.is_empty())?;
                self.at = self.text.len() - rest.len();
                name
            }
            _ => Some(self.skip(|c| !c.is_whitespace() && c != '=' && c != '#')).filter(|name| !name.is_empty())?,
        };
        self.blanks();
        let mut value = None;
        if self.peek() == Some('=') {
            self.at += 1;
            let apart = !self.blanks().is_empty();
            value = Some(match self.peek() {
                Some('#') if apart => String::new(),
                Some(quote @ ('\'' | '"')) => self.quoted(quote)?,
                _ => self.bare().to_owned(),
            });
        }
        self.blanks();
        if self.peek() == Some('#') {
            self.skip(|c| !is_newline(c));
        }
        let at_end = self.peek().is_none_or(is_newline);
        at_end.then_some(Entry { name, value })
    }

    /// Up to the end of the line or a comment, which begins after a blank.
    fn bare(&mut self) -> &'a str {
        let line = self.skip(|c| !is_newline(c));
        let mark = line.match_indices('#').find(|(at, _)| line[..*at].ends_with(char::is_whitespace));
        line[..mark.map_or(line.len(), |(at, _)| at)].trim_end()
    }

    fn quoted(&mut self, quote: char) -> Option<String> {
        let mut value = String::new();
        let rest = &self.rest()[1..];
        let mut chars = rest.char_indices();
        while let Some((at, c)) = chars.next() {
            if c == quote {
                self.at = self.text.len() - rest.len() + at + 1;
                return Some(value);
            }
            if c != '\\' {
                value.push(c);
                continue;
            }
            let (_, escaped) = chars.next()?;
            match meaning(escaped, quote) {
                Some(meant) => value.push(meant),
                None => value.extend([c, escaped]),
            }
        }
        None
    }
}

fn is_newline(c: char) -> bool {
    c == '\r' || c == '\n'
}

/// The character that an escape stands for.
fn meaning(escaped: char, quote: char) -> Option<char> {
    match (escaped, quote) {
        ('\\' | '\'', _) | ('"', '"') => Some(escaped),
        ('a', '"') => Some('\u{7}'),
        ('b', '"') => Some('\u{8}'),
        ('f', '"') => Some('\u{c}'),
        ('n', '"') => Some('\n'),
        ('r', '"') => Some('\r'),
        ('t', '"') => Some('\t'),
        ('v', '"') => Some('\u{b}'),
        _ => None,
    }
}

/// Each `${NAME}` and `${NAME:-default}` replaced, between quotes of any kind too. Any other `$`
/// stands for itself. `None`: it takes more than the room.
fn expanded(value: &str, room: usize, known: impl Fn(&str) -> Option<String>) -> Option<String> {
    let mut expanded = String::with_capacity(value.len());
    let mut rest = value;
    while let Some((before, after)) = rest.split_once("${") {
        expanded.push_str(before);
        let found = after.find(['}', ':']).and_then(|end| {
            let (name, tail) = after.split_at(end);
            match tail.strip_prefix(":-") {
                Some(tail) => tail.split_once('}').map(|(default, tail)| (name, default, tail)),
                None => tail.strip_prefix('}').map(|tail| (name, "", tail)),
            }
        });
        rest = if let Some((name, default, tail)) = found {
            expanded.push_str(&known(name).unwrap_or_else(|| default.to_owned()));
            tail
        } else {
            expanded.push_str("${");
            after
        };
        if expanded.len() > room {
            return None;
        }
    }
    expanded.push_str(rest);
    (expanded.len() <= room).then_some(expanded)
}

#[cfg(test)]
mod tests;
