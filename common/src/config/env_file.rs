//! `.env`, read as python-dotenv reads it: an old program's file keeps its meaning.

use super::ConfigError;
use std::collections::HashMap;
use std::path::Path;

/// The values of `.env` in that directory; none without the file. Of a name that stands there
/// twice, the last counts.
pub(super) fn read(directory: &Path) -> Result<HashMap<String, String>, ConfigError> {
    let path = directory.join(".env");
    if !path.is_file() {
        return Ok(HashMap::new());
    }
    let bad = |fault: &str| ConfigError::new(".env", fault, "PORT=8000, or NAME='a value with blanks or a #'");
    let text = std::fs::read_to_string(&path).map_err(|_| bad("cannot be read as UTF-8"))?;
    let mut values = HashMap::new();
    for (index, entry) in dotenvy::from_read_iter(as_quoted(&text).as_bytes()).enumerate() {
        // The library's error quotes the line, and the line may hold a secret.
        let (name, value) = entry.map_err(|_| bad(&format!("entry {} is not NAME=value", index + 1)))?;
        values.insert(name, value);
    }
    Ok(values)
}

/// The same file with each bare value in quotes. The library takes bare blanks, backslashes,
/// quotes and `$name` otherwise than python-dotenv does, which expands `${name}` alone.
fn as_quoted(text: &str) -> String {
    let mut quoted = String::with_capacity(text.len());
    let mut open = None;
    for line in text.strip_prefix('\u{feff}').unwrap_or(text).lines() {
        if let Some(quote) = open {
            if closes(line, quote) {
                open = None;
            }
            quoted.push_str(&kept(line, quote));
        } else {
            let Some((name, value)) = line.split_once('=').filter(|_| !line.trim_start().starts_with('#')) else {
                // A comment, or a name without a value: python-dotenv passes over both.
                continue;
            };
            let (name, value) = (name.trim(), value.trim_start());
            quoted.push_str(name);
            quoted.push('=');
            match value.chars().next() {
                Some(quote @ ('"' | '\'')) => {
                    if !closes(&value[1..], quote) {
                        open = Some(quote);
                    }
                    quoted.push_str(&kept(value, quote));
                }
                _ => quoted.push_str(&kept(&format!("\"{}\"", escape(bare(value))), '"')),
            }
        }
        quoted.push('\n');
    }
    quoted
}

fn closes(rest: &str, quote: char) -> bool {
    let mut escaped = false;
    rest.chars().any(|c| {
        let closes = c == quote && !escaped;
        escaped = c == '\\' && !escaped;
        closes
    })
}

/// A bare value ends at a comment.
fn bare(value: &str) -> &str {
    if value.starts_with('#') {
        return "";
    }
    let end = [" #", "\t#"].iter().filter_map(|mark| value.find(mark)).min().unwrap_or(value.len());
    value[..end].trim_end()
}

fn escape(value: &str) -> String {
    value.replace('\\', "\\\\").replace('"', "\\\"")
}

/// A `$` that begins no `${name}` stands for itself. Between single quotes every one does, for the
/// library too.
fn kept(line: &str, quote: char) -> String {
    if quote == '\'' {
        return line.to_owned();
    }
    let mut kept = String::with_capacity(line.len());
    let (mut escaped, mut chars) = (false, line.chars().peekable());
    while let Some(c) = chars.next() {
        if c == '$' && !escaped && chars.peek() != Some(&'{') {
            kept.push('\\');
        }
        escaped = c == '\\' && !escaped;
        kept.push(c);
    }
    kept
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_means_what_it_means_to_python_dotenv() {
        let dir = tempfile::tempdir().unwrap();
        let text = "\u{feff}FIRST=1\r\nDOLLAR=a$PATHx\nDOUBLE=\"a$x b\"\nPAIR=pa$$word1\nTWICE=old\nTWICE=new\nexport WORDS=two words # a comment\n\
            BACK=a\\b\nQUOTE=it's\nNOTHING\n# COMMENT=1\nSINGLE='a$x \"b\" #c'\nBASE=ann\nNESTED=${BASE}$1\nEMPTY=\nHASH=a#b\n\
            LINES=\"one\ntwo\"\nAPART = 'a$x b'\nLAST = 9\n";
        std::fs::write(dir.path().join(".env"), text).unwrap();
        let values = read(dir.path()).unwrap();
        for (name, value) in [
            ("FIRST", "1"),
            ("DOLLAR", "a$PATHx"),
            ("DOUBLE", "a$x b"),
            ("PAIR", "pa$$word1"),
            ("TWICE", "new"),
            ("WORDS", "two words"),
            ("BACK", "a\\b"),
            ("QUOTE", "it's"),
            ("SINGLE", "a$x \"b\" #c"),
            ("NESTED", "ann$1"),
            ("EMPTY", ""),
            ("HASH", "a#b"),
            ("LINES", "one\ntwo"),
            ("APART", "a$x b"),
            ("LAST", "9"),
        ] {
            assert_eq!(values.get(name).map(String::as_str), Some(value), "{name}");
        }
        assert!(!values.contains_key("NOTHING") && !values.contains_key("COMMENT"));
    }
}
