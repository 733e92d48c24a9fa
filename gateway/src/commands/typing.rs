//! `typing`: published to the chat's other subscribers, at a bounded rate of each connection and
//! chat.

use super::call::Call;
use messenger_common::error::{Error, Result};
use messenger_common::id::ChatId;
use messenger_common::service::{Fields, FromFields, chats};
use std::time::Instant;

struct Typing {
    chat_id: ChatId,
    is_typing: bool,
}

impl FromFields for Typing {
    fn read(fields: &mut Fields) -> Self {
        Self { chat_id: fields.required("chat_id"), is_typing: fields.or("is_typing", true) }
    }
}

pub(super) async fn typing(mut call: Call<'_>) -> Result<()> {
    let Typing { chat_id, is_typing } = call.read()?;
    if !call.shard.listens(call.conn, chat_id) {
        return Err(Error::NotSubscribed);
    }
    if !call.conn.typing_is_due(chat_id, Instant::now()) {
        return Ok(());
    }
    if chats::typing_in_group(&call.shard.hub.ctx, &call.by, chat_id, is_typing) {
        return Ok(());
    }
    // It may be lost: a store that is away is no fault of this command.
    call.run(move |ctx, by| async move {
        chats::typing(&ctx, &by, chat_id, is_typing).await.unwrap_or_default();
        Ok(())
    })
    .await
}
