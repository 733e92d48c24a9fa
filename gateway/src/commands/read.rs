//! `read`: as `POST /chats/{chat_id}/read`.

use super::call::Call;
use crate::protocol::Reply;
use messenger_common::error::Result;
use messenger_common::id::{ChatId, Seq};
use messenger_common::service::{Fields, FromFields, chats};
use std::time::Instant;

struct Read {
    chat_id: ChatId,
    seq: Seq,
}

impl FromFields for Read {
    fn read(fields: &mut Fields) -> Self {
        Self { chat_id: fields.required("chat_id"), seq: fields.required("seq") }
    }
}

pub(super) async fn read(mut call: Call<'_>) -> Result<()> {
    let Read { chat_id, seq } = call.read()?;
    // The publication may overtake the answer; for this connection the answer is enough.
    call.conn.read_answered(chat_id, Instant::now());
    let outcome = call.run(|ctx, by| async move { chats::mark_read(&ctx, &by, chat_id, seq).await }).await;
    if !outcome.as_ref().is_ok_and(|mark| mark.moved) {
        // Nothing is published: the next publication is another device's.
        call.conn.read_unpublished(chat_id);
    }
    call.answer(&Reply::MessageRead { chat_id, user_id: call.by.user_id, seq: outcome?.seq });
    Ok(())
}
