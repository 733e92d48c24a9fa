use super::*;

fn masked(first: u8, payload: &[u8]) -> Vec<u8> {
    let mut out = vec![first];
    match payload.len() {
        len @ 0..126 => out.put_u8(0x80 | u8::try_from(len).unwrap()),
        len @ 126..65_536 => {
            out.put_u8(0xFE);
            out.put_u16(u16::try_from(len).unwrap());
        }
        len => {
            out.put_u8(0xFF);
            out.put_u64(len as u64);
        }
    }
    let mask = [1, 2, 3, 4];
    out.put_slice(&mask);
    out.extend(payload.iter().enumerate().map(|(at, byte)| byte ^ mask[at & 3]));
    out
}

#[test]
fn a_frame_is_read_whole_or_not_at_all() {
    for len in [0, 1, 125, 126, 65_535, 65_536] {
        let payload = vec![b'x'; len];
        let bytes = masked(0x81, &payload);
        for cut in [0, 1, 2, 5, bytes.len() - 1] {
            assert_eq!(parse(&mut bytes[..cut].to_vec(), 70_000), Ok(None), "{len} cut at {cut}");
        }
        let mut buffer = bytes.clone();
        buffer.extend_from_slice(b"next");
        let (frame, end) = parse(&mut buffer, 70_000).unwrap().unwrap();
        assert_eq!(end, bytes.len());
        assert_eq!((frame.is_final, frame.kind), (true, Kind::Text));
        assert_eq!(&buffer[frame.payload], &payload[..]);
    }
}

#[test]
fn the_limit_holds_at_its_edge_and_before_the_payload_is_there() {
    assert!(parse(&mut masked(0x81, &[b'x'; 100]), 100).unwrap().is_some());
    assert_eq!(parse(&mut masked(0x81, &[b'x'; 101])[..6].to_vec(), 100), Err(Violation::TooBig));
}

#[test]
fn what_a_server_must_refuse_is_refused() {
    let refused = |mut bytes: Vec<u8>| parse(&mut bytes, 1000).unwrap_err();
    assert_eq!(refused(masked(0x82, b"x")), Violation::Binary);
    assert!(matches!(refused(masked(0xC1, b"x")), Violation::Protocol(_)), "reserved bit");
    assert!(matches!(refused(masked(0x83, b"x")), Violation::Protocol(_)), "reserved data opcode");
    assert!(matches!(refused(masked(0x8B, b"x")), Violation::Protocol(_)), "reserved control opcode");
    assert!(matches!(refused(masked(0x09, b"x")), Violation::Protocol(_)), "fragmented ping");
    assert!(matches!(refused(masked(0x89, &[0; 126])), Violation::Protocol(_)), "long ping");
    assert!(matches!(refused(vec![0x81, 1, b'x']), Violation::Protocol(_)), "unmasked");
}

#[test]
fn a_close_payload_is_checked() {
    assert_eq!(close_answer(&[]), Ok(None));
    assert_eq!(close_answer(&1000_u16.to_be_bytes()), Ok(Some(1000)));
    assert_eq!(close_answer(&4321_u16.to_be_bytes()), Ok(Some(4321)));
    for bad in [&[3][..], &999_u16.to_be_bytes(), &1005_u16.to_be_bytes(), &1006_u16.to_be_bytes()] {
        assert!(matches!(close_answer(bad), Err(Violation::Protocol(_))), "{bad:?}");
    }
    assert_eq!(close_answer(&[3, 232, 0xFF]), Err(Violation::NotUtf8));
}

#[test]
fn a_long_reason_is_cut_between_characters() {
    let frame = close(4401, &"é".repeat(100));
    assert_eq!(frame.len(), 2 + 2 + 122);
    assert!(std::str::from_utf8(&frame[4..]).is_ok());
}

proptest::proptest! {
    #[test]
    fn any_bytes_are_only_ever_refused_or_read(mut bytes: Vec<u8>) {
        if let Ok(Some((frame, end))) = parse(&mut bytes, 1 << 16) {
            assert!(frame.payload.end == end && end <= bytes.len());
        }
    }
}
