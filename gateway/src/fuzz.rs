//! The parsers of a client's bytes, one function each: any bytes are read or refused. `fuzz/`
//! drives them by coverage, the test of this room by mutations of its corpora.

use crate::commands;
use crate::frame::{self, Kind};
use crate::handshake;

/// Each parser under the name of its corpus.
pub const TARGETS: &[(&str, fn(&[u8]))] = &[("commands", commands), ("frames", frames), ("handshakes", handshakes)];

const LIMIT: usize = 4096;

/// The text of a command.
pub fn commands(bytes: &[u8]) {
    if let Ok(text) = std::str::from_utf8(bytes) {
        commands::fuzz(text);
    }
}

/// The first bytes of a connection.
pub fn handshakes(bytes: &[u8]) {
    handshake::fuzz(bytes);
}

/// Frames, one behind the other, as they stand in a read buffer.
pub fn frames(bytes: &[u8]) {
    let whole = frame::parse(&mut bytes.to_vec(), LIMIT);
    for cut in 0..bytes.len().min(32) {
        let part = frame::parse(&mut bytes[..cut].to_vec(), LIMIT);
        assert!(part == Ok(None) || part == whole, "cut at {cut}: {part:?}, not {whole:?}");
    }
    let (mut buffer, mut at) = (bytes.to_vec(), 0);
    while let Ok(Some((frame, end))) = frame::parse(&mut buffer[at..], LIMIT) {
        assert!(frame.payload.end == end && (1..=buffer.len() - at).contains(&end), "{frame:?} ends at {end}");
        if frame.kind == Kind::Close {
            let answer = frame::close_answer(&buffer[at..][frame.payload]);
            assert!(!matches!(answer, Ok(Some(..1000 | 1005 | 1006))), "{answer:?} is not for the wire");
        }
        at += end;
    }
    if frame::parse(&mut buffer[at..], LIMIT) == Ok(None) {
        assert!(buffer.len() - at < LIMIT + frame::MAX_HEADER_BYTES, "more is kept than one frame");
    }
}

#[cfg(test)]
mod tests {
    use messenger_testing::mutate;

    #[test]
    fn any_bytes_are_only_ever_read_or_refused() {
        mutate::drive(super::TARGETS);
    }
}
