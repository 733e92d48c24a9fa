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

use std::sync::Arc;
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

/// The words of a text, in their order.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Words {
    /// With a space between. A word holds none.
    line: Arc<str>,
    count: usize,
}

impl Words {
    /// Those of that text.
    pub fn of(text: &str) -> Self {
        let words: Vec<String> = words(text).into_iter().map(|word| word.folded).collect();
        Self { line: words.join(" ").into(), count: words.len() }
    }

    /// How many they are.
    pub fn count(&self) -> usize {
        self.count
    }

    /// With a space between.
    pub fn line(&self) -> &str {
        &self.line
    }

    /// In the form of Postgres' `tsvector`, with their places. Where they are more than Postgres
    /// keeps, the first ones.
    pub fn vector(&self) -> String {
        let mut vector = String::with_capacity(self.line.len() * 2);
        let mut bytes = 0;
        let words = self.line.split(' ').take(self.count);
        for (word, place) in words.zip(1..=PLACES_PER_TEXT) {
            bytes += word.len() + PLACE_BYTES;
            if bytes > BYTES_PER_TEXT {
                break;
            }
            if place > 1 {
                vector.push(' ');
            }
            // A word holds neither a quote nor a backslash.
            vector.push('\'');
            vector.push_str(word);
            vector.push_str("':");
            vector.push_str(&place.to_string());
        }
        vector
    }
}

/// [`Words::vector`] of a text.
pub fn vector(text: &str) -> String {
    Words::of(text).vector()
}

/// How many words a text has, or a few more: counted without folding a letter.
pub fn count(text: &str) -> usize {
    let mut count = 0;
    scan(text, |_, _, part| {
        count += usize::from(matches!(part, Part::Begins { .. }));
        true
    });
    count
}

fn words(text: &str) -> Vec<Word> {
    let mut words: Vec<Word> = Vec::new();
    scan(text, |c, place, part| match (part, words.last_mut()) {
        (Part::GoesOn, Some(word)) => {
            push(&mut word.folded, c);
            word.end = place + 1;
            true
        }
        (Part::GoesOn, None) => false,
        (Part::Begins { glued }, _) => {
            let mut folded = String::new();
            push(&mut folded, c);
            let is_word = !folded.is_empty();
            if is_word {
                words.push(Word { folded, start: place, end: place + 1, glued });
            }
            is_word
        }
    });
    words
}

/// What a character is to the words of its text.
enum Part {
    /// The first of a word. `glued`: nothing stands between it and the word before.
    Begins { glued: bool },
    /// One more of the last word.
    GoesOn,
}

/// Tells of each character that is part of a word, with its place. The answer says whether it is
/// one: a letter that folds to nothing is none.
fn scan(text: &str, mut is_part: impl FnMut(char, usize, Part) -> bool) {
    // Whether the next letter goes on with the last word, and where that ends.
    let (mut open, mut end) = (false, None);
    for (place, c) in text.chars().enumerate() {
        let glued = end == Some(place);
        let part = if script::is_spaceless(c) || script::is_emoji(c) {
            open = false;
            Some(Part::Begins { glued })
        } else if is_combining_mark(c) || script::joins(c) {
            // It belongs to the letter before it; alone it is nothing.
            glued.then_some(Part::GoesOn)
        } else if c.is_alphanumeric() {
            let goes_on = std::mem::replace(&mut open, true) && glued;
            Some(if goes_on { Part::GoesOn } else { Part::Begins { glued } })
        } else {
            open = false;
            None
        };
        if part.is_some_and(|part| is_part(c, place, part)) {
            end = Some(place + 1);
        }
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
