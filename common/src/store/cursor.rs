//! Page cursors: a letter for the list, then the key of its last row. Clients take them as opaque.
//! `Error::Invalid` where a cursor does not fit its list.

use super::messages::HistoryFrom;
use crate::error::{Error, Result};
use crate::event::micros;
use crate::id::{ChatId, MessageId, Seq, SessionId, UserId};
use crate::model::{HistoryPage, Message, Page};
use std::str::FromStr;
use time::OffsetDateTime;

/// Which page of a list is asked for.
#[derive(Clone, Debug)]
pub struct PageRequest {
    /// An earlier page's `next_cursor`. `Error::Invalid` on `cursor` where this list did not make
    /// it.
    pub cursor: Option<String>,
    /// Rows of the page, 1 to 100.
    pub limit: usize,
}

fn invalid() -> Error {
    Error::invalid("cursor", "is not a cursor of this list")
}

/// Of users by name: the last name, lowered.
pub(super) fn user(cursor: Option<&str>) -> Result<String> {
    match cursor {
        None => Ok(String::new()),
        Some(cursor) => match cursor.strip_prefix('u') {
            Some(name) if name.len() <= 128 && !name.contains('\0') => Ok(name.to_owned()),
            _ => Err(invalid()),
        },
    }
}

pub(super) fn of_user(name: &str) -> String {
    format!("u{name}")
}

/// Of a list by one number: the letter of the list, then the last row's. Without one, `first`.
fn by_key<K: FromStr>(letter: char, first: K, cursor: Option<&str>) -> Result<K> {
    let Some(cursor) = cursor else { return Ok(first) };
    // No row has a lesser one, and a database may reckon with it.
    let key = cursor.strip_prefix(letter).filter(|key| key.parse::<i64>().is_ok_and(|key| key > 0));
    key.and_then(|key| key.parse().ok()).ok_or_else(invalid)
}

/// Of members by user id: the last id.
pub(super) fn member(cursor: Option<&str>) -> Result<UserId> {
    by_key('m', UserId(0), cursor)
}

pub(super) fn of_member(id: UserId) -> String {
    format!("m{id}")
}

/// Of blocked users by id: the last id.
pub(super) fn blocked(cursor: Option<&str>) -> Result<UserId> {
    by_key('b', UserId(0), cursor)
}

pub(super) fn of_blocked(id: UserId) -> String {
    format!("b{id}")
}

/// Of pins, the last pinned first: the number of the last one's event.
pub(super) fn pin(cursor: Option<&str>) -> Result<Seq> {
    by_key('p', Seq(i64::MAX), cursor)
}

pub(super) fn of_pin(seq: Seq) -> String {
    format!("p{seq}")
}

/// Of messages that were found, the newest first: the last one's id.
pub(super) fn found(cursor: Option<&str>) -> Result<MessageId> {
    by_key('f', MessageId(i64::MAX), cursor)
}

pub(super) fn of_found(id: MessageId) -> String {
    format!("f{id}")
}

/// Of sessions, the newest first: the last id. The first page begins above all of them.
pub(super) fn session(cursor: Option<&str>) -> Result<SessionId> {
    by_key('s', SessionId(i64::MAX), cursor)
}

pub(super) fn of_session(id: SessionId) -> String {
    format!("s{id}")
}

/// Of invitations, the newest first: the last row's number.
pub(super) fn invite(cursor: Option<&str>) -> Result<i64> {
    by_key('i', i64::MAX, cursor)
}

pub(super) fn of_invite(id: i64) -> String {
    format!("i{id}")
}

/// Of chats by activity: time in microseconds and id of the last. The first page begins at the end
/// of time.
pub(super) fn chat(cursor: Option<&str>) -> Result<(i64, ChatId)> {
    match cursor {
        None => Ok((MAX_MICROS, ChatId(i64::MAX))),
        Some(cursor) => {
            let (at, id) = cursor.strip_prefix('c').and_then(|rest| rest.split_once('.')).ok_or_else(invalid)?;
            let at = at.parse().ok().filter(|at| (0..=MAX_MICROS).contains(at)).ok_or_else(invalid)?;
            Ok((at, id.parse().map_err(|_| invalid())?))
        }
    }
}

/// The end of the year 9999, the last time that both databases and RFC 3339 can write.
const MAX_MICROS: i64 = 253_402_300_799_000_000;

pub(super) fn of_chat(active_at: OffsetDateTime, id: ChatId) -> String {
    format!("c{}.{id}", micros(active_at))
}

/// Which messages of a chat a history page shows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct HistoryBound {
    /// True: towards newer messages.
    pub(super) newer: bool,
    /// The message whose number is the bound.
    pub(super) message: Option<MessageId>,
    /// The bound, exclusive, where no message gives it.
    pub(super) seq: Seq,
}

impl HistoryBound {
    pub(super) fn new(from: &HistoryFrom) -> Result<Self> {
        Ok(match from {
            HistoryFrom::Newest => Self { newer: false, message: None, seq: Seq(i64::MAX) },
            HistoryFrom::Before(id) => Self { newer: false, message: Some(*id), seq: Seq(0) },
            HistoryFrom::After(id) => Self { newer: true, message: Some(*id), seq: Seq(0) },
            HistoryFrom::Cursor(cursor) => {
                let (newer, seq) = match (cursor.strip_prefix("hb"), cursor.strip_prefix("ha")) {
                    (Some(seq), _) => (false, seq),
                    (_, Some(seq)) => (true, seq),
                    _ => return Err(invalid()),
                };
                Self { newer, message: None, seq: seq.parse().map_err(|_| invalid())? }
            }
        })
    }

    /// The error where the message is not in the chat.
    pub(super) fn unknown(&self) -> Error {
        Error::invalid(if self.newer { "after" } else { "before" }, "is not a message of this chat")
    }

    /// Makes a page of the rows found in the bound's direction: one more than `limit`, where there
    /// are more.
    pub(super) fn page(&self, mut found: Vec<Message>, limit: usize, head: Seq) -> HistoryPage {
        let more = found.len() > limit;
        found.truncate(limit);
        let direction = if self.newer { "ha" } else { "hb" };
        let next_cursor = found.last().filter(|_| more).map(|message| format!("{direction}{}", message.seq));
        if !self.newer {
            found.reverse();
        }
        HistoryPage { items: found, next_cursor, seq: head }
    }
}

/// Makes a page of the rows found: one more than `limit`, where there are more.
pub(super) fn page<R, T: From<R>>(mut found: Vec<R>, limit: usize, cursor: impl Fn(&R) -> String) -> Page<T> {
    let more = found.len() > limit;
    found.truncate(limit);
    let next_cursor = found.last().filter(|_| more).map(cursor);
    Page { items: found.into_iter().map(T::from).collect(), next_cursor }
}

/// One row more than the page has, which says whether there is a next page.
pub(super) fn one_more(limit: usize) -> i64 {
    i64::try_from(limit).unwrap_or(i64::MAX - 1) + 1
}

#[cfg(any(test, feature = "fuzz"))]
/// Reads a text as a cursor of each list.
pub(crate) fn fuzz(text: &str) {
    let given = Some(text);
    if let Ok(id) = member(given) {
        assert_eq!(member(Some(&of_member(id))).ok(), Some(id));
    }
    if let Ok((at, id)) = chat(given) {
        let time = OffsetDateTime::from_unix_timestamp_nanos(i128::from(at) * 1000).expect("a time of both databases");
        assert_eq!(chat(Some(&of_chat(time, id))).ok(), Some((at, id)));
    }
    drop((user(given), blocked(given), found(given), pin(given), session(given), invite(given)));
    drop(HistoryBound::new(&HistoryFrom::Cursor(text.to_owned())));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_list_gave_it_reads() {
        let at = OffsetDateTime::from_unix_timestamp(1_800_000_000).unwrap();
        assert_eq!(chat(Some(&of_chat(at, ChatId(7)))).unwrap(), (micros(at), ChatId(7)));
        assert_eq!(user(Some(&of_user("ann"))).unwrap(), "ann");
        assert_eq!(member(Some(&of_member(UserId(7)))).unwrap(), UserId(7));
        assert_eq!(session(Some(&of_session(SessionId(7)))).unwrap(), SessionId(7));
    }

    #[test]
    fn what_it_did_not_give_is_invalid() {
        for cursor in [
            "",
            "x",
            "c",
            "c1",
            "c1.",
            "c.1",
            "c-1.1",
            "c99999999999999999999.1",
            "m",
            "mx",
            "m0",
            "s",
            "sx",
            "s-1",
            "f",
            "f0",
            "f-9223372036854775808",
            "f9223372036854775808",
            "ü",
            "hb",
            "hax",
        ] {
            assert!(matches!(chat(Some(cursor)), Err(Error::Invalid(_))), "{cursor}");
            assert!(matches!(member(Some(cursor)), Err(Error::Invalid(_))), "{cursor}");
            assert!(matches!(session(Some(cursor)), Err(Error::Invalid(_))), "{cursor}");
            assert!(matches!(found(Some(cursor)), Err(Error::Invalid(_))), "{cursor}");
            assert!(matches!(user(Some(cursor)), Err(Error::Invalid(_))), "{cursor}");
            assert!(
                matches!(HistoryBound::new(&HistoryFrom::Cursor(cursor.into())), Err(Error::Invalid(_))),
                "{cursor}"
            );
        }
    }
}
