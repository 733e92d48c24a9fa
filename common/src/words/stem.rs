//! The language whose endings a search does not mind.
//!
//! The stores keep whole words, whatever the language. A question for a word asks them for all
//! that begins as its stem does, and then compares the stems. So the language may change at any
//! time, and nodes with different ones work side by side.

use rust_stemmers::{Algorithm, Stemmer};

/// A language of `SEARCH_LANGUAGE`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Language(Option<Algorithm>);

const LANGUAGES: [(&str, Algorithm); 18] = [
    ("arabic", Algorithm::Arabic),
    ("danish", Algorithm::Danish),
    ("dutch", Algorithm::Dutch),
    ("english", Algorithm::English),
    ("finnish", Algorithm::Finnish),
    ("french", Algorithm::French),
    ("german", Algorithm::German),
    ("greek", Algorithm::Greek),
    ("hungarian", Algorithm::Hungarian),
    ("italian", Algorithm::Italian),
    ("norwegian", Algorithm::Norwegian),
    ("portuguese", Algorithm::Portuguese),
    ("romanian", Algorithm::Romanian),
    ("russian", Algorithm::Russian),
    ("spanish", Algorithm::Spanish),
    ("swedish", Algorithm::Swedish),
    ("tamil", Algorithm::Tamil),
    ("turkish", Algorithm::Turkish),
];

impl Language {
    /// Words as they are written: `simple`.
    pub const SIMPLE: Self = Self(None);

    /// The language of that name. `None`: there is none.
    pub fn named(name: &str) -> Option<Self> {
        if name == "simple" {
            return Some(Self::SIMPLE);
        }
        LANGUAGES.iter().find(|(known, _)| *known == name).map(|(_, algorithm)| Self(Some(*algorithm)))
    }

    /// The names that there are.
    pub fn names() -> impl Iterator<Item = &'static str> {
        std::iter::once("simple").chain(LANGUAGES.iter().map(|(name, _)| *name))
    }

    /// A folded word without its endings. `None`: endings count.
    pub(super) fn stem(self, word: &str) -> Option<String> {
        self.0.map(|algorithm| Stemmer::create(algorithm).stem(word).into_owned())
    }
}

/// How all words with this stem begin. Some languages change the last letter of a stem (`happy`,
/// `happi`); of a short one where it is `i` or `y` (`fli`, `fly`). `None`: the language cuts the
/// beginning too, as Arabic does, so that no beginning finds them all.
pub(super) fn beginning(word: &str, stem: &str) -> Option<String> {
    let common = word.chars().zip(stem.chars()).take_while(|(a, b)| a == b).count();
    let length = stem.chars().count();
    let changes = length > 3 || (length == 3 && stem.ends_with(['i', 'y']));
    let kept = if changes { common.min(length - 1) } else { common };
    (kept > 0).then(|| word.chars().take(kept).collect())
}
