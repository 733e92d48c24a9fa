//! A question: words that all must occur, phrases in quotes, a last word by its beginning.

use super::fts5::Fts5Term;
use super::stem::{Language, beginning};
use super::{Word, words};

/// The longest question, in characters.
const LONGEST_QUERY: usize = 256;
/// The most words and phrases of a question.
const MOST_TERMS: usize = 32;

/// The most pieces that are shown of one text.
const MOST_HIGHLIGHTS: usize = 100;

/// A question that is not answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refused {
    /// Nothing but space.
    Blank,
    /// More than 256 characters.
    TooLong,
    /// More than 32 words and phrases.
    TooMany,
}

/// What a search looks for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Query {
    /// All of them must occur.
    terms: Vec<Term>,
    language: Language,
}

/// Words that stand beside each other; mostly one.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Term {
    words: Vec<String>,
    /// Whether the last word is wanted by its beginning.
    is_begun: bool,
    /// Of a single word that may have other endings.
    stem: Option<Stem>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
struct Stem {
    stem: String,
    /// How all words begin that have it.
    beginning: String,
}

impl Stem {
    fn of(word: &str, language: Language) -> Option<Self> {
        let stem = language.stem(word)?;
        Some(Self { beginning: beginning(word, &stem)?, stem })
    }
}

impl Query {
    /// Reads a question. A quote that is not closed begins a phrase that is still written.
    pub fn read(text: &str, language: Language) -> Result<Self, Refused> {
        if text.trim().is_empty() {
            return Err(Refused::Blank);
        }
        if text.chars().nth(LONGEST_QUERY).is_some() {
            return Err(Refused::TooLong);
        }
        let pieces: Vec<&str> = text.split(['"', '\u{201c}', '\u{201d}']).collect();
        let mut terms: Vec<Term> = Vec::new();
        for (number, piece) in pieces.iter().enumerate() {
            let mut found = terms_of(piece, number % 2 == 1, language);
            if let Some(last) = found.last_mut().filter(|_| number + 1 == pieces.len()) {
                last.begin();
            }
            terms.append(&mut found);
        }
        if terms.len() > MOST_TERMS {
            return Err(Refused::TooMany);
        }
        // A word that stands there again asks nothing more.
        let mut distinct: Vec<Term> = Vec::with_capacity(terms.len());
        for term in terms {
            if !distinct.contains(&term) {
                distinct.push(term);
            }
        }
        Ok(Self { terms: distinct, language })
    }

    /// Whether it has no word: it finds nothing.
    pub fn is_empty(&self) -> bool {
        self.terms.is_empty()
    }

    /// In the form of Postgres' `tsquery`, each term by itself. Words hold neither quotes nor
    /// backslashes.
    pub fn tsqueries(&self) -> Vec<String> {
        let term = |term: &Term| {
            let (words, begun) = term.asked();
            let words: Vec<_> = words.iter().map(|word| format!("'{word}'")).collect();
            format!("({}{})", words.join(" <-> "), if begun { ":*" } else { "" })
        };
        self.terms.iter().map(term).collect()
    }

    /// In the form of SQLite's FTS5, each term by itself.
    pub fn fts5(&self) -> Vec<Fts5Term> {
        self.terms.iter().map(Term::asked).map(|(words, is_begun)| Fts5Term { words, is_begun }).collect()
    }

    /// Where a text answers the question: pieces `[start, end)` in Unicode scalar values, in order
    /// and apart, the first hundred. `None`: it does not.
    pub fn highlights(&self, text: &str) -> Option<Vec<[usize; 2]>> {
        let words = words(text);
        // Once for all terms: a stem costs more than a comparison.
        let minds_endings = self.terms.iter().any(|term| term.stem.is_some());
        let stems: Vec<Option<String>> =
            words.iter().filter(|_| minds_endings).map(|word| self.language.stem(&word.folded)).collect();
        let mut found: Vec<[usize; 2]> = Vec::new();
        for term in &self.terms {
            let before = found.len();
            let places = words.windows(term.words.len()).enumerate();
            let places = places.filter(|(at, place)| term.fits(place, stems.get(*at).and_then(Option::as_deref)));
            let places = places.filter_map(|(_, place)| Some([place.first()?.start, place.last()?.end]));
            found.extend(places.take(MOST_HIGHLIGHTS));
            if found.len() == before {
                return None;
            }
        }
        found.sort_unstable();
        let mut apart: Vec<[usize; 2]> = Vec::with_capacity(found.len());
        for [start, end] in found {
            match apart.last_mut().filter(|last| start < last[1]) {
                Some(last) => last[1] = last[1].max(end),
                None => apart.push([start, end]),
            }
        }
        apart.truncate(MOST_HIGHLIGHTS);
        (!apart.is_empty()).then_some(apart)
    }
}

fn terms_of(piece: &str, is_phrase: bool, language: Language) -> Vec<Term> {
    let mut terms: Vec<Term> = Vec::new();
    for word in words(piece) {
        match terms.last_mut().filter(|_| is_phrase || word.glued) {
            Some(term) => term.words.push(word.folded),
            None => terms.push(Term { words: vec![word.folded], is_begun: false, stem: None }),
        }
    }
    // A phrase is wanted as it is written.
    for term in terms.iter_mut().filter(|_| !is_phrase) {
        if let [word] = term.words.as_slice() {
            term.stem = Stem::of(word, language);
        }
    }
    terms
}

impl Term {
    /// Wants the last word by its beginning. One letter of an alphabet begins too much: it is a
    /// word.
    fn begin(&mut self) {
        self.is_begun = self.words.last().is_some_and(|word| word.chars().nth(1).is_some());
    }

    /// The words that the store is asked for, and whether the last one by its beginning.
    fn asked(&self) -> (Vec<String>, bool) {
        match &self.stem {
            Some(stem) => (vec![stem.beginning.clone()], true),
            None => (self.words.clone(), self.is_begun),
        }
    }

    /// `stem` is that of the first word.
    fn fits(&self, place: &[Word], stem: Option<&str>) -> bool {
        let last = self.words.len().saturating_sub(1);
        self.words.iter().zip(place).enumerate().all(|(number, (wanted, word))| {
            *wanted == word.folded
                || (self.is_begun && number == last && word.folded.starts_with(wanted.as_str()))
                || self.stem.as_ref().is_some_and(|wanted| Some(wanted.stem.as_str()) == stem)
        })
    }
}
