//! The words of a text, as search compares them.
//!
//! Both stores keep these words and no others, so that both find the same. A database's own parser
//! folds letters by the locale that it was set up with. Pure: imports nothing of the crate.
//!
//! - Case and accents are folded: `É` is `e`, `Ё` is `е`. `й` is a letter of its own.
//! - A letter or a digit goes on with the word, everything else ends it. An emoji is a word.
//! - A script that writes no spaces has a word for each character. Neighbours of a question are
//!   looked for as neighbours, so any piece of such a text is found.

mod fts5;
mod query;
mod script;
mod stem;
#[cfg(test)]
mod tests;

pub use self::fts5::Fts5Term;
pub use self::query::{Query, Refused};
pub use self::stem::Language;

use unicode_normalization::UnicodeNormalization;
use unicode_normalization::char::is_combining_mark;

/// The longest word, in characters; what is longer is cut.
const LONGEST_WORD: usize = 64;
/// Postgres numbers no more places in a text than these.
const PLACES_PER_TEXT: usize = 16_383;
/// Postgres keeps no more bytes of a text's words than these, their places with them.
const BYTES_PER_TEXT: usize = (1 << 20) - 1;
/// The most that a place adds to the bytes of its word: the number, its count and what aligns
/// them.
const PLACE_BYTES: usize = 5;
const BREVE: char = '\u{306}';

/// A word of a text.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Word {
    folded: String,
    /// Where it begins in the text, in Unicode scalar values.
    start: usize,
    /// Where it ends, exclusive.
    end: usize,
    /// Whether nothing stands between it and the word before.
    glued: bool,
}

/// The words of a text in the form of Postgres' `tsvector`, with their places. Of a text with more
/// than Postgres keeps, the first ones.
pub fn vector(text: &str) -> String {
    let mut vector = String::with_capacity(text.len() * 2);
    let mut bytes = 0;
    for (word, place) in words(text).iter().zip(1..=PLACES_PER_TEXT) {
        bytes += word.folded.len() + PLACE_BYTES;
        if bytes > BYTES_PER_TEXT {
            break;
        }
        if place > 1 {
            vector.push(' ');
        }
        // A word holds neither a quote nor a backslash.
        vector.push('\'');
        vector.push_str(&word.folded);
        vector.push_str("':");
        vector.push_str(&place.to_string());
    }
    vector
}

/// The words of a text with a space between.
pub fn line(text: &str) -> String {
    let words: Vec<_> = words(text).into_iter().map(|word| word.folded).collect();
    words.join(" ")
}

fn words(text: &str) -> Vec<Word> {
    let mut words: Vec<Word> = Vec::new();
    // Whether the next letter goes on with the last word.
    let mut open = false;
    for (place, c) in text.chars().enumerate() {
        let glued = words.last().is_some_and(|word| word.end == place);
        if script::is_spaceless(c) || script::is_emoji(c) {
            open = false;
            begin(&mut words, c, place, glued);
        } else if is_combining_mark(c) || script::joins(c) {
            // It belongs to the letter before it; alone it is nothing.
            if let Some(word) = words.last_mut().filter(|word| word.end == place) {
                push(&mut word.folded, c);
                word.end = place + 1;
            }
        } else if c.is_alphanumeric() {
            match words.last_mut().filter(|_| open && glued) {
                Some(word) => {
                    push(&mut word.folded, c);
                    word.end = place + 1;
                }
                None => begin(&mut words, c, place, glued),
            }
            open = true;
        } else {
            open = false;
        }
    }
    words
}

fn begin(words: &mut Vec<Word>, c: char, place: usize, glued: bool) {
    let mut folded = String::new();
    push(&mut folded, c);
    if !folded.is_empty() {
        words.push(Word { folded, start: place, end: place + 1, glued });
    }
}

/// Counts characters only where there may be enough of them.
fn is_full(word: &str) -> bool {
    word.len() >= LONGEST_WORD && word.chars().nth(LONGEST_WORD - 1).is_some()
}

/// Adds a character to a word, folded.
fn push(word: &mut String, c: char) {
    // One character may stand for eighteen, and a whole text for one word.
    if is_full(word) && c != BREVE {
        return;
    }
    if c.is_ascii_alphanumeric() {
        return word.push(c.to_ascii_lowercase());
    }
    for c in std::iter::once(c).nfkd().flat_map(char::to_lowercase) {
        if c == BREVE && word.ends_with('и') {
            word.pop();
            word.push('й');
        } else if c == 'ς' {
            word.push('σ');
        } else if !is_full(word)
            && !script::is_accent(c)
            && (c.is_alphanumeric() || is_combining_mark(c) || script::is_emoji(c))
        {
            word.push(c);
        }
    }
}
