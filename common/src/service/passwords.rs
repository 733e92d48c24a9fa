//! Passwords that are guessed first (OWASP ASVS 5.0, 6.2.4 and 6.2.11): the most used ones, one
//! character over and over, and the account's own names.

use std::collections::HashSet;
use std::sync::LazyLock;

/// Those of the 10,000 most used passwords that have at least 8 characters, in lower case. From
/// the list of zxcvbn (MIT licence, Dropbox and Joshua Holmer), which comes from leaked accounts.
static MOST_USED: LazyLock<HashSet<&str>> = LazyLock::new(|| include_str!("common_passwords.txt").lines().collect());

/// Fewer of one character than this are tried by hand.
const LONGEST_ROW: usize = 32;
/// A name this short is part of many words.
const SHORTEST_NAME: usize = 3;
/// A password that is a name and fewer other characters is as good as the name.
const BESIDE_A_NAME: usize = 4;

/// The reason why a password is easily guessed. `names`: the username, the address.
pub(super) fn weakness(password: &str, names: &[&str]) -> Option<&'static str> {
    let lower = password.to_lowercase();
    let lower = lower.trim();
    let mut characters = lower.chars();
    let first = characters.next();
    if lower.chars().count() < LONGEST_ROW && characters.all(|other| Some(other) == first) {
        return Some("must not be one character over and over");
    }
    if MOST_USED.contains(lower) {
        return Some("is one of the most used passwords");
    }
    let local_parts = names.iter().filter_map(|name| Some(name.split_once('@')?.0));
    let is_a_name = names.iter().copied().chain(local_parts).any(|name| {
        let name = plain(name);
        let rest = plain(lower).replace(&name, "");
        name.chars().count() >= SHORTEST_NAME && rest.chars().count() < BESIDE_A_NAME && rest.len() < plain(lower).len()
    });
    is_a_name.then_some("must be more than your name or your address")
}

/// Letters and digits alone.
fn plain(text: &str) -> String {
    text.to_lowercase().chars().filter(|c| c.is_alphanumeric()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn is_weak(password: &str) -> bool {
        weakness(password, &["ann_lee", "a.lee@example.org"]).is_some()
    }

    #[test]
    fn what_is_guessed_first_is_weak() {
        for weak in [
            "password",
            "12345678",
            "QwertyUiop",
            "Password1",
            "iloveyou",
            " football ",
            "        ",
            "aaaaaaaa",
            "\u{3000}".repeat(8).as_str(),
            "ann_lee1",
            "AnnLeeAnnLee",
            "a.lee@example.org",
            "alee-alee",
            "ann.lee!!!",
            "123annlee",
        ] {
            assert!(is_weak(weak), "{weak:?}");
        }
        for fine in [
            "correct horse",
            "annual leech",
            "ann_lee and more",
            "passwords are words",
            "gr8-alee-pony",
            "дом у моря",
            &"x".repeat(128),
        ] {
            assert!(!is_weak(fine), "{fine:?}");
        }
        assert!(weakness("xy-123456", &["xy", ""]).is_none(), "a short name says nothing");
    }

    #[test]
    fn the_list_is_whole() {
        assert!(MOST_USED.len() > 3000);
        assert!(MOST_USED.iter().all(|one| one.chars().count() >= 8 && *one == one.to_lowercase().trim()));
    }
}
