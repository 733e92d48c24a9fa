//! `subscribe_chat` and `unsubscribe_chat`.

use crate::conn::Conn;
use crate::protocol::Reply;
use crate::shard::Shard;
use crate::subscription;
use messenger_common::error::{Error, Result};
use messenger_common::id::{ChatId, Seq};
use messenger_common::service::{Faults, Fields, FromFields};
use serde_json::{Map, Value};
use std::rc::Rc;

struct SubscribeChat {
    chat_id: ChatId,
    after_seq: Option<Seq>,
}

impl FromFields for SubscribeChat {
    fn read(fields: &mut Fields) -> Self {
        Self { chat_id: fields.required("chat_id"), after_seq: fields.optional("after_seq") }
    }
}

pub(super) async fn subscribe(
    shard: &Rc<Shard>,
    conn: &Rc<Conn>,
    fields: Map<String, Value>,
    request_id: Option<&str>,
) -> Result<()> {
    let command: SubscribeChat = super::fields(fields)?;
    if command.after_seq.is_some_and(|after| after < Seq(0)) {
        let mut faults = Faults::default();
        faults.add("after_seq", "must not be negative");
        faults.none()?;
    }
    subscription::begin(shard, conn, command.chat_id, command.after_seq, request_id).await
}

struct UnsubscribeChat {
    chat_id: ChatId,
}

impl FromFields for UnsubscribeChat {
    fn read(fields: &mut Fields) -> Self {
        Self { chat_id: fields.required("chat_id") }
    }
}

pub(super) fn unsubscribe(
    shard: &Rc<Shard>,
    conn: &Rc<Conn>,
    fields: Map<String, Value>,
    request_id: Option<&str>,
) -> Result<()> {
    let command: UnsubscribeChat = super::fields(fields)?;
    shard.close_sub(command.chat_id, conn).ok_or(Error::NotSubscribed)?;
    conn.answer(Reply::Unsubscribed { chat_id: command.chat_id }.to_frame(request_id));
    Ok(())
}
