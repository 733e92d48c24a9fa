use super::*;

fn samples() -> Vec<Envelope> {
    let json = Bytes::from_static(b"{\"type\":\"x\"}");
    let (chat_id, seq, user_id) = (ChatId(7), Seq(i64::MAX), UserId(9));
    let mut all: Vec<_> = [Effect::None, Effect::Joined(user_id), Effect::Left(user_id), Effect::ChatDeleted]
        .into_iter()
        .map(|effect| Envelope::Log {
            chat_id,
            seq,
            kind: EventKind::MemberLeft,
            effect,
            committed_at_micros: -1,
            json: json.clone(),
        })
        .collect();
    for kind in
        [EventKind::Typing, EventKind::ChatAdded, EventKind::Mentioned, EventKind::Unknown(20), EventKind::Unknown(255)]
    {
        let effect = Effect::None;
        all.push(Envelope::Log { chat_id, seq, kind, effect, committed_at_micros: 1, json: json.clone() });
        all.push(Envelope::Ephemeral { chat_id, user_id, kind, json: json.clone() });
        all.push(Envelope::Notice { user_id, chat_id, seq, kind, json: json.clone() });
    }
    all.push(Envelope::LogGrew { chat_id, seq });
    let context = TraceContext { trace_id: [7; 16], span_id: [8; 8], is_sampled: true };
    for user_id in [None, Some(UserId(9))] {
        all.push(Envelope::Traced { user_id, traced: Traced { chat_id, seq, context } });
    }
    for session_id in [None, Some(SessionId(3))] {
        all.push(Envelope::Revoked(Revocation { user_id, session_id, reason: RevocationReason::AccountDisabled }));
    }
    all.push(Envelope::Status(vec![StatusChange {
        user_id,
        username: "ann".into(),
        status: Status::Online,
        last_seen_at: None,
        decided_at_micros: 7,
        chats: vec![chat_id],
    }]));
    all.push(Envelope::Probe(u64::MAX));
    all
}

#[test]
fn what_is_encoded_is_decoded() {
    for envelope in samples() {
        assert_eq!(Envelope::decode(envelope.encode()), Ok(envelope));
    }
}

#[test]
fn an_effect_of_another_release_is_none_and_the_event_is_delivered() {
    let json = Bytes::from_static(b"{}");
    let (chat_id, seq, kind) = (ChatId(7), Seq(1), EventKind::Unknown(99));
    let effect = Effect::Left(UserId(9));
    let envelope = Envelope::Log { chat_id, seq, kind, effect, committed_at_micros: 1, json: json.clone() };
    let mut bytes = envelope.encode().to_vec();
    let tag = bytes.len() - json.len() - 8 - 1;
    bytes[tag] = 4;
    let without = Envelope::Log { chat_id, seq, kind, effect: Effect::None, committed_at_micros: 1, json };
    assert_eq!(Envelope::decode(bytes.into()), Ok(without));
}

#[test]
fn a_truncated_envelope_is_an_error() {
    for envelope in samples() {
        let whole = envelope.encode();
        let fixed = whole.len() - envelope.json_len();
        for len in 0..fixed {
            assert!(Envelope::decode(whole.slice(..len)).is_err(), "{envelope:?} cut at {len}");
        }
    }
}

proptest::proptest! {
    #[test]
    fn any_bytes_are_only_ever_an_error_or_an_envelope(bytes: Vec<u8>) {
        drop(Envelope::decode(Bytes::from(bytes)));
    }
}
