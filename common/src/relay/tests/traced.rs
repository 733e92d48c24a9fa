//! The trace of an event: before it, on the same topics, and only where there is one.

use super::*;
use crate::event::{TraceContext, Traced};
use crate::relay::encode::Telling;

#[tokio::test]
async fn the_trace_of_an_event_goes_before_it_on_each_of_its_topics() {
    let world = World::new().await;
    let mut committed = world.send("traced").await;
    let event = committed.events[0].clone();
    let (chat_id, seq) = (event.chat_id, event.seq);
    assert_eq!(Telling::of(&committed).count(), 1, "nothing more without a trace");
    let EventBody::NewMessage { message } = event.body else { panic!("{event:?}") };
    let (user_id, body) = (world.other, NoticeBody::NewMessage(Box::new(message)));
    committed.notices.push(UserNotice { user_id, chat_id, seq, body });
    let context = TraceContext { trace_id: [1; 16], span_id: [2; 8], is_sampled: true };
    let traced = Traced { chat_id, seq, context };
    committed.traced.push(traced);
    let (topics, envelopes): (Vec<_>, Vec<_>) = Telling::of(&committed)
        .map(|publication| (publication.topic, Envelope::decode(publication.payload).unwrap()))
        .unzip();
    let of = [Topic::Chat(chat_id), Topic::User(user_id)];
    assert_eq!(topics, [of.clone(), of].concat());
    let before = [None, Some(user_id)].map(|user_id| Envelope::Traced { user_id, traced });
    assert_eq!(envelopes[..2], before);
    assert!(matches!(envelopes[2..], [Envelope::Log { .. }, Envelope::Notice { .. }]));
}
