//! Mentions: `@username` of a member in a text.

use crate::error::Result;
use crate::id::{ChatId, UserId};
use crate::service::Context;
use crate::service::faults::USERNAME;
use crate::store::Mention;
use std::collections::HashSet;

/// The most members that one message mentions; the first ones count.
const MAX_MENTIONS: usize = 50;
/// The most members, besides the author, that are mentioned at the price of one message.
const MENTIONS_A_MESSAGE: usize = 10;

/// A name after an `@`, lowered. A name may end in a dot or a dash, as a sentence does: the longer
/// reading comes first.
type Readings = Vec<String>;

/// The names that a text may mention, each once.
pub(super) struct Names(Vec<Readings>);

impl Names {
    /// Those of that text.
    pub(super) fn of(text: &str) -> Self {
        Self(names(text))
    }

    /// Further messages that they cost: each may be notified with the whole message, so every ten
    /// after the first ten and the author cost one. Whether they are members, or are notified, is
    /// not asked: a lower price would say who muted the chat or blocked the author, and nothing is
    /// looked up for who cannot pay.
    pub(super) fn further_price(&self, author: &str) -> usize {
        let author = author.to_ascii_lowercase();
        self.0.iter().filter(|readings| !readings.contains(&author)).count().saturating_sub(1) / MENTIONS_A_MESSAGE
    }
}

/// The members that are mentioned.
pub(super) async fn find(ctx: &Context, chat: ChatId, by: UserId, Names(names): Names) -> Result<Vec<Mention>> {
    if names.is_empty() {
        return Ok(Vec::new());
    }
    Ok(meant(&names, ctx.store.mentioned(chat, by, &names.concat()).await?))
}

/// One member a name: the longest reading that is one's.
fn meant(names: &[Readings], mut found: Vec<(String, Mention)>) -> Vec<Mention> {
    let known: HashSet<String> = found.iter().map(|(name, _)| name.clone()).collect();
    let meant: HashSet<&String> =
        names.iter().filter_map(|readings| readings.iter().find(|name| known.contains(*name))).collect();
    found.retain(|(name, _)| meant.contains(name));
    found.into_iter().map(|(_, mention)| mention).collect()
}

/// The names of the text, each once.
fn names(text: &str) -> Vec<Readings> {
    let mut names: Vec<Readings> = Vec::new();
    for (at, _) in text.match_indices('@') {
        let follows_a_word = text[..at].chars().next_back().is_some_and(|c| c.is_alphanumeric() || is_of_a_name(c));
        if follows_a_word || names.len() == MAX_MENTIONS {
            continue;
        }
        let rest = &text[at + 1..];
        let name = rest.find(|c| !is_of_a_name(c)).map_or(rest, |end| &rest[..end]).to_ascii_lowercase();
        let plain = name.trim_end_matches(['.', '-']);
        let mut readings: Readings = [name.as_str(), plain].map(str::to_owned).into();
        readings.retain(|name| USERNAME.contains(&name.len()));
        readings.dedup();
        if !readings.is_empty() && !names.contains(&readings) {
            names.push(readings);
        }
    }
    names
}

fn is_of_a_name(c: char) -> bool {
    c.is_ascii_alphanumeric() || matches!(c, '_' | '.' | '-')
}

#[cfg(any(test, feature = "fuzz"))]
/// Looks for names in a text.
pub(in crate::service) fn fuzz(text: &str) {
    let found = names(text);
    assert!(found.len() <= MAX_MENTIONS);
    assert!(found.iter().flatten().all(|name| USERNAME.contains(&name.len()) && name.chars().all(is_of_a_name)));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_stands_after_an_at_that_begins_a_word() {
        assert_eq!(names("@Ann, and (@ben_2) @ANN"), [["ann"], ["ben_2"]]);
        assert_eq!(names("thanks @ann. @b.c-"), [["ann.", "ann"], ["b.c-", "b.c"]]);
        assert_eq!(names("@ann@ben привет@cem"), [["ann"]]);
        let none: [Readings; 0] = [];
        for text in ["", "@", "@ab", "ann@example.org", "@@", "@-", &format!("@{}", "x".repeat(33))] {
            assert_eq!(names(text), none, "{text}");
        }
    }

    #[test]
    fn the_first_fifty_count() {
        let text: String =
            (100..200).flat_map(|n| ["@user".to_owned(), n.to_string(), " @user100 ".to_owned()]).collect();
        let found = names(&text);
        assert_eq!((found.len(), found[0][0].as_str(), found[49][0].as_str()), (50, "user100", "user149"));
    }

    #[test]
    fn every_ten_who_are_mentioned_cost_a_message() {
        let price = |names: usize, author: &str| {
            let text: Vec<_> = (0..names).map(|n| format!("@user{n}")).collect();
            Names::of(&text.join(" ")).further_price(author)
        };
        assert_eq!([0, 1, 10, 11, 20, 21, 50, 60].map(|names| price(names, "ann")), [0, 0, 0, 1, 1, 2, 4, 4]);
        assert_eq!(price(11, "User3"), 0, "authors mention themselves for nothing");
    }

    #[test]
    fn the_longest_reading_that_a_member_has_is_meant() {
        let mention = |id| Mention { user_id: UserId(id), notify: true };
        let all = || vec![("ann".to_owned(), mention(1)), ("ann.".to_owned(), mention(2))];
        assert_eq!(meant(&names("thanks @ann."), all()), [mention(2)]);
        assert_eq!(meant(&names("thanks @ann"), all()), [mention(1)]);
        assert_eq!(meant(&names("@ann. @ann"), all()), [mention(1), mention(2)]);
        assert_eq!(meant(&names("thanks @ann."), all()[..1].to_vec()), [mention(1)]);
        let dotted = (100..160).fold(String::new(), |text, n| text + "@user" + &n.to_string() + ". ");
        let both = |n: i64| [(format!("user{n}"), mention(n)), (format!("user{n}."), mention(1000 + n))];
        let meant = meant(&names(&dotted), (100..160).flat_map(both).collect());
        assert_eq!(meant, (1100..1150).map(mention).collect::<Vec<_>>());
    }
}
