//! Mentions: `@username` of a member in a text.

use crate::error::Result;
use crate::id::{ChatId, UserId};
use crate::service::Context;
use crate::store::Mention;

/// The most members that one message mentions; the first ones count.
const MAX_MENTIONS: usize = 50;
/// The length of a username, as it registers.
const USERNAME: std::ops::RangeInclusive<usize> = 3..=32;

/// The members that the text mentions. Costs nothing for a text without an `@`.
pub(super) async fn find(ctx: &Context, chat: ChatId, by: UserId, text: &str) -> Result<Vec<Mention>> {
    let names = names(text);
    if names.is_empty() {
        return Ok(Vec::new());
    }
    ctx.store.mentioned(chat, by, &names).await
}

/// The names after an `@`, lowered, each once. A name may end in a dot or a dash, as a sentence
/// does: both readings count.
fn names(text: &str) -> Vec<String> {
    let mut names: Vec<String> = Vec::new();
    let mut found = 0;
    for (at, _) in text.match_indices('@') {
        let follows_a_word = text[..at].chars().next_back().is_some_and(|c| c.is_alphanumeric() || is_of_a_name(c));
        if follows_a_word || found == MAX_MENTIONS {
            continue;
        }
        let rest = &text[at + 1..];
        let name = rest.find(|c| !is_of_a_name(c)).map_or(rest, |end| &rest[..end]).to_ascii_lowercase();
        let plain = name.trim_end_matches(['.', '-']);
        let readings = [name.as_str(), plain].map(str::to_owned);
        let known = names.len();
        for name in readings {
            if USERNAME.contains(&name.len()) && !names.contains(&name) {
                names.push(name);
            }
        }
        found += usize::from(names.len() > known);
    }
    names
}

fn is_of_a_name(c: char) -> bool {
    c.is_ascii_alphanumeric() || matches!(c, '_' | '.' | '-')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_stands_after_an_at_that_begins_a_word() {
        assert_eq!(names("@Ann, and (@ben_2) @ANN"), ["ann", "ben_2"]);
        assert_eq!(names("thanks @ann. @b.c-"), ["ann.", "ann", "b.c-", "b.c"]);
        assert_eq!(names("@ann@ben привет@cem"), ["ann"]);
        let none: [&str; 0] = [];
        for text in ["", "@", "@ab", "ann@example.org", "@@", "@-", &format!("@{}", "x".repeat(33))] {
            assert_eq!(names(text), none, "{text}");
        }
    }

    #[test]
    fn the_first_fifty_count() {
        let text: String =
            (100..200).flat_map(|n| ["@user".to_owned(), n.to_string(), " @user100 ".to_owned()]).collect();
        let found = names(&text);
        assert_eq!((found.len(), found[0].as_str(), found[49].as_str()), (50, "user100", "user149"));
    }
}
