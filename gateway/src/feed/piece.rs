//! A piece of a chat's log, as one read brought it.

use super::Event;
use messenger_common::id::Seq;

/// The events after some number, with the head and the floor of the same snapshot.
#[derive(Clone, Debug)]
pub struct Piece {
    /// Read after this number.
    after: Seq,
    /// All numbers from `after` up to here were read: one that is not among the events does not
    /// exist, or cannot be read.
    through: Seq,
    events: Vec<Event>,
    head: Seq,
    /// The last number that the log no longer keeps.
    floor: Seq,
}

/// A piece's answer on the number after a cursor.
#[derive(Debug)]
pub enum Next<'a> {
    /// It and those behind it, without a hole.
    Events(&'a [Event]),
    /// The log no longer keeps it.
    Pruned,
    /// The log has gone past it and cannot give it.
    Hole,
    /// Nothing: it was not read.
    Unknown,
}

impl Piece {
    /// The result of a read after `after` that asked for `asked` events.
    pub fn new(after: Seq, asked: usize, events: Vec<Event>, head: Seq, floor: Seq) -> Self {
        let asked = i64::try_from(asked).unwrap_or(i64::MAX);
        let read = Seq(after.max(floor).0.saturating_add(asked)).min(head);
        let through = events.last().map_or(read, |last| last.seq.max(read));
        Self { after, through, events, head, floor }
    }

    /// The head in the same snapshot.
    pub fn head(&self) -> Seq {
        self.head
    }

    /// Its answer on the number after `cursor`.
    pub fn next_after(&self, cursor: Seq) -> Next<'_> {
        if self.floor > cursor {
            return Next::Pruned;
        }
        if self.after > cursor {
            return Next::Unknown;
        }
        let rest = &self.events[self.events.partition_point(|event| event.seq <= cursor)..];
        let mut next = cursor;
        let run = rest.iter().take_while(|event| {
            next = next.next();
            event.seq == next
        });
        match run.count() {
            0 if self.through > cursor => Next::Hole,
            0 => Next::Unknown,
            count => Next::Events(&rest[..count]),
        }
    }

    /// Whether it says something of what comes after that number.
    pub fn reaches(&self, after: Seq) -> bool {
        !matches!(self.next_after(after), Next::Unknown)
    }

    /// How much memory it takes, about.
    pub fn memory_bytes(&self) -> usize {
        let frames: usize = self.events.iter().map(|event| event.frame.len()).sum();
        frames + size_of_val(self.events.as_slice()) + size_of::<Self>()
    }
}

#[cfg(test)]
mod tests {
    use super::super::testing::event;
    use super::*;

    fn piece(after: i64, numbers: &[i64], head: i64, floor: i64) -> Piece {
        let events = numbers.iter().map(|number| event(*number)).collect();
        Piece::new(Seq(after), 4, events, Seq(head), Seq(floor))
    }

    fn says(piece: &Piece, cursor: i64) -> Result<Vec<i64>, &'static str> {
        match piece.next_after(Seq(cursor)) {
            Next::Events(events) => Ok(events.iter().map(|event| event.seq.0).collect()),
            Next::Pruned => Err("pruned"),
            Next::Hole => Err("hole"),
            Next::Unknown => Err("unknown"),
        }
    }

    #[test]
    fn a_whole_piece_gives_what_follows_a_cursor() {
        let piece = piece(2, &[3, 4, 5, 6], 9, 0);
        assert_eq!(says(&piece, 2), Ok(vec![3, 4, 5, 6]));
        assert_eq!(says(&piece, 5), Ok(vec![6]));
        assert_eq!(says(&piece, 6), Err("unknown"), "7 was not read");
        assert_eq!(says(&piece, 1), Err("unknown"), "it was read for another place");
    }

    #[test]
    fn a_number_that_was_read_and_is_not_there_is_a_hole() {
        let middle = piece(0, &[1, 3, 4], 4, 0);
        assert_eq!(says(&middle, 0), Ok(vec![1]));
        assert_eq!(says(&middle, 1), Err("hole"));
        assert_eq!(says(&middle, 2), Ok(vec![3, 4]));
        assert_eq!(says(&piece(0, &[], 1, 0), 0), Err("hole"), "at the end");
        assert_eq!(says(&piece(0, &[2, 3, 4], 9, 0), 0), Err("hole"), "at the beginning");
        assert_eq!(says(&piece(0, &[1, 2, 3], 9, 0), 3), Err("hole"), "at the end of a page");
        assert_eq!(says(&piece(0, &[1, 2, 3], 9, 0), 4), Err("unknown"), "beyond a page");
    }

    #[test]
    fn what_is_pruned_is_no_hole() {
        let piece = piece(0, &[4, 5], 5, 3);
        assert_eq!(says(&piece, 2), Err("pruned"));
        assert_eq!(says(&piece, 3), Ok(vec![4, 5]));
    }

    #[test]
    fn a_piece_that_is_older_than_a_commit_says_nothing_of_it() {
        assert_eq!(says(&piece(5, &[], 5, 0), 5), Err("unknown"));
        assert!(!piece(5, &[], 5, 0).reaches(Seq(5)) && piece(5, &[6], 6, 0).reaches(Seq(5)));
    }
}
