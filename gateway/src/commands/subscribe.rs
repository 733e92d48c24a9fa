//! `subscribe_chat` and `unsubscribe_chat`.

use super::call::Call;
use crate::protocol::Reply;
use crate::subscription::Subscribing;
use messenger_common::error::{Error, Result};
use messenger_common::id::{ChatId, Seq};
use messenger_common::service::{Fields, FromFields};

struct SubscribeChat {
    chat_id: ChatId,
    after_seq: Option<Seq>,
}

impl FromFields for SubscribeChat {
    fn read(fields: &mut Fields) -> Self {
        Self { chat_id: fields.required("chat_id"), after_seq: fields.optional("after_seq") }
    }
}

pub(super) async fn subscribe(mut call: Call<'_>) -> Result<()> {
    let SubscribeChat { chat_id: chat, after_seq: after } = call.read()?;
    if after.is_some_and(|after| after < Seq(0)) {
        return Err(Error::invalid("after_seq", "must not be negative"));
    }
    let Call { shard, conn, by, request_id, .. } = call;
    Subscribing { shard, conn, user: by.user_id, chat, after, request_id }.begin().await
}

struct UnsubscribeChat {
    chat_id: ChatId,
}

impl FromFields for UnsubscribeChat {
    fn read(fields: &mut Fields) -> Self {
        Self { chat_id: fields.required("chat_id") }
    }
}

pub(super) fn unsubscribe(mut call: Call<'_>) -> Result<()> {
    let UnsubscribeChat { chat_id } = call.read()?;
    if !call.shard.unsubscribe(call.conn, chat_id) {
        return Err(Error::NotSubscribed);
    }
    call.answer(&Reply::Unsubscribed { chat_id });
    Ok(())
}
