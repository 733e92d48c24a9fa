//! Which server of a Redis Cluster serves which slot (Redis Cluster specification, "Key
//! distribution model").

use redis::{ConnectionAddr, ConnectionInfo, Value};

/// The slots of a cluster.
const SLOTS: u16 = 16_384;

/// A run of slots and the primary that serves it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Range {
    pub(super) first: u16,
    pub(super) last: u16,
    pub(super) host: String,
    pub(super) port: u16,
}

impl Range {
    pub(super) fn holds(&self, slot: u16) -> bool {
        (self.first..=self.last).contains(&slot)
    }
}

/// Reads the answer to `CLUSTER SLOTS`. A server that does not know its own host is the one that
/// was asked. `None` for another answer, or one in which slots are missing.
pub(super) fn read(answer: &Value, asked: &ConnectionInfo) -> Option<Vec<Range>> {
    let Value::Array(entries) = answer else { return None };
    let mut ranges = entries.iter().map(|entry| range(entry, asked)).collect::<Option<Vec<_>>>()?;
    ranges.sort_by_key(|range| range.first);
    let mut next = 0;
    for range in &ranges {
        if range.first != next || range.last < range.first {
            return None;
        }
        next = range.last.checked_add(1)?;
    }
    (next == SLOTS).then_some(ranges)
}

fn range(entry: &Value, asked: &ConnectionInfo) -> Option<Range> {
    let Value::Array(fields) = entry else { return None };
    let [Value::Int(first), Value::Int(last), Value::Array(primary), ..] = fields.as_slice() else { return None };
    let [host, Value::Int(port), ..] = primary.as_slice() else { return None };
    let host = match host {
        Value::BulkString(host) => String::from_utf8(host.clone()).ok()?,
        Value::SimpleString(host) => host.clone(),
        _ => String::new(),
    };
    let host = if host.is_empty() || host == "?" { host_of(asked)?.to_owned() } else { host };
    Some(Range {
        first: u16::try_from(*first).ok()?,
        last: u16::try_from(*last).ok()?,
        host,
        port: u16::try_from(*port).ok()?,
    })
}

fn host_of(info: &ConnectionInfo) -> Option<&str> {
    match info.addr() {
        ConnectionAddr::Tcp(host, _) | ConnectionAddr::TcpTls { host, .. } => Some(host),
        _ => None,
    }
}

/// The slot of a channel without a hash tag: CRC-16/XMODEM modulo 16384.
pub(super) fn slot(channel: &str) -> u16 {
    let crc = channel.bytes().fold(0_u16, |crc, byte| {
        (0..8)
            .fold(crc ^ (u16::from(byte) << 8), |crc, _| if crc & 0x8000 == 0 { crc << 1 } else { (crc << 1) ^ 0x1021 })
    });
    crc % SLOTS
}

#[cfg(test)]
mod tests {
    use super::*;
    use redis::IntoConnectionInfo;

    #[test]
    fn a_slot_is_that_of_the_specification() {
        // Its own example: CRC16("123456789") = 31C3.
        assert_eq!(slot("123456789"), 0x31C3 % SLOTS);
        assert_eq!(slot(""), 0);
    }

    fn entry(first: i64, last: i64, host: &str, port: i64) -> Value {
        let primary = vec![Value::BulkString(host.into()), Value::Int(port), Value::BulkString("id".into())];
        Value::Array(vec![Value::Int(first), Value::Int(last), Value::Array(primary)])
    }

    #[test]
    fn an_answer_without_gaps_is_read_and_any_other_is_not() {
        let asked = "redis://seed:1".into_connection_info().unwrap();
        let whole = Value::Array(vec![entry(8192, 16383, "b", 2), entry(0, 8191, "", 1)]);
        let ranges = read(&whole, &asked).unwrap();
        assert_eq!((ranges[0].host.as_str(), ranges[0].port), ("seed", 1));
        assert!(ranges[1].holds(16383) && !ranges[1].holds(8191));
        for broken in [
            Value::Nil,
            Value::Array(vec![]),
            Value::Array(vec![entry(0, 8191, "a", 1)]),
            Value::Array(vec![entry(0, 8191, "a", 1), entry(8193, 16383, "b", 2)]),
            Value::Array(vec![entry(0, 99_999, "a", 1)]),
            Value::Array(vec![entry(-1, 16383, "a", 1)]),
            Value::Array(vec![entry(0, 16383, "a", -1)]),
            Value::Array(vec![Value::Array(vec![Value::Int(0)])]),
        ] {
            assert_eq!(read(&broken, &asked), None, "{broken:?}");
        }
    }
}
