//! WebSocket frames (RFC 6455, section 5) as a server writes and reads them.
//!
//! Written once a node: a frame from the server is not masked, so the same bytes go to every
//! subscriber. Read from a buffer that a whole shard shares: an idle connection keeps none. The
//! header's layout is tungstenite's; what a server must refuse is here.

use bytes::{BufMut, Bytes, BytesMut};
use std::io::Cursor;
use std::ops::Range;
use tokio_tungstenite::tungstenite::protocol::frame::FrameHeader;
use tokio_tungstenite::tungstenite::protocol::frame::coding::{CloseCode, Control, Data, OpCode};

/// The longest header of a client's frame: 2 bytes, an 8-byte length, a 4-byte mask.
pub(crate) const MAX_HEADER_BYTES: usize = 14;

/// A text frame around a client's JSON.
pub(crate) fn text(payload: &[u8]) -> Bytes {
    framed(OpCode::Data(Data::Text), payload)
}

/// An empty ping.
pub(crate) fn ping() -> Bytes {
    Bytes::from_static(&[0x89, 0])
}

/// The answer to a ping; `payload` has at most 125 bytes.
pub(crate) fn pong(payload: &[u8]) -> Bytes {
    framed(OpCode::Control(Control::Pong), payload)
}

/// A close frame; the reason is cut to the 123 bytes that fit.
pub(crate) fn close(code: u16, reason: &str) -> Bytes {
    let mut end = reason.len().min(123);
    while !reason.is_char_boundary(end) {
        end -= 1;
    }
    let mut payload = Vec::with_capacity(2 + end);
    payload.put_u16(code);
    payload.put_slice(&reason.as_bytes()[..end]);
    framed(OpCode::Control(Control::Close), &payload)
}

fn framed(opcode: OpCode, payload: &[u8]) -> Bytes {
    let header = FrameHeader { opcode, ..FrameHeader::default() };
    let length = payload.len() as u64;
    let mut out = BytesMut::with_capacity(header.len(length) + payload.len()).writer();
    // Writing to memory cannot fail.
    drop(header.format(length, &mut out));
    let mut out = out.into_inner();
    out.put_slice(payload);
    out.freeze()
}

/// A whole frame in a buffer, its payload unmasked in place.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Frame {
    /// Whether its message ends here.
    pub(crate) is_final: bool,
    /// Its kind.
    pub(crate) kind: Kind,
    /// Where in the buffer the payload stands.
    pub(crate) payload: Range<usize>,
}

/// The kinds of a client's frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    /// A text message or its first part.
    Text,
    /// A further part.
    Continue,
    /// To be answered with a pong.
    Ping,
    /// A sign of life.
    Pong,
    /// The client closes.
    Close,
}

/// The violations that end a connection: a close code each.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Violation {
    /// 1002: not this protocol.
    Protocol(&'static str),
    /// 1003: binary frames are not taken.
    Binary,
    /// 1007: text that is not UTF-8.
    NotUtf8,
    /// 1009: over `MAX_FRAME_BYTES`.
    TooBig,
}

/// The frame at the start of `buffer`, and where the next begins; `None` while it is not whole. A
/// frame that announces more than `limit` bytes of payload is refused before it is read.
pub(crate) fn parse(buffer: &mut [u8], limit: usize) -> Result<Option<(Frame, usize)>, Violation> {
    let mut cursor = Cursor::new(&*buffer);
    let (header, length) = match FrameHeader::parse(&mut cursor) {
        Ok(Some(parsed)) => parsed,
        Ok(None) => return Ok(None),
        Err(_) => return Err(Violation::Protocol("reserved opcode")),
    };
    let start = usize::try_from(cursor.position()).map_err(|_| Violation::TooBig)?;
    if header.rsv1 || header.rsv2 || header.rsv3 {
        return Err(Violation::Protocol("reserved bits without an extension"));
    }
    let Some(mask) = header.mask else { return Err(Violation::Protocol("a client's frame must be masked")) };
    let kind = match header.opcode {
        OpCode::Data(Data::Text) => Kind::Text,
        OpCode::Data(Data::Continue) => Kind::Continue,
        OpCode::Data(Data::Binary) => return Err(Violation::Binary),
        OpCode::Control(Control::Ping) => Kind::Ping,
        OpCode::Control(Control::Pong) => Kind::Pong,
        OpCode::Control(Control::Close) => Kind::Close,
        OpCode::Data(Data::Reserved(_)) | OpCode::Control(Control::Reserved(_)) => {
            return Err(Violation::Protocol("reserved opcode"));
        }
    };
    let is_control = matches!(kind, Kind::Ping | Kind::Pong | Kind::Close);
    if is_control && (length > 125 || !header.is_final) {
        return Err(Violation::Protocol("a control frame is whole and has at most 125 bytes"));
    }
    let length = usize::try_from(length).ok().filter(|length| *length <= limit).ok_or(Violation::TooBig)?;
    let end = start + length;
    if buffer.len() < end {
        return Ok(None);
    }
    for (at, byte) in buffer[start..end].iter_mut().enumerate() {
        *byte ^= mask[at & 3];
    }
    Ok(Some((Frame { is_final: header.is_final, kind, payload: start..end }, end)))
}

/// Whether a client's close payload is well formed (RFC 6455, section 7.4): what to answer it
/// with.
pub(crate) fn close_answer(payload: &[u8]) -> Result<Option<u16>, Violation> {
    match payload {
        [] => Ok(None),
        [_] => Err(Violation::Protocol("a close code has two bytes")),
        [high, low, reason @ ..] => {
            let code = u16::from_be_bytes([*high, *low]);
            if !CloseCode::from(code).is_allowed() {
                return Err(Violation::Protocol("this close code is not for the wire"));
            }
            std::str::from_utf8(reason).map_err(|_| Violation::NotUtf8)?;
            Ok(Some(code))
        }
    }
}

#[cfg(test)]
mod tests;
