//! `read`: as `POST /chats/{chat_id}/read`.

use crate::conn::Conn;
use crate::protocol::Reply;
use crate::shard::Shard;
use crate::shard::{answered_read, no_read_answered};
use messenger_common::error::{Error, Result};
use messenger_common::id::{ChatId, Seq};
use messenger_common::service::{Fields, FromFields, chats};
use serde_json::{Map, Value};
use std::rc::Rc;

struct Read {
    chat_id: ChatId,
    seq: Seq,
}

impl FromFields for Read {
    fn read(fields: &mut Fields) -> Self {
        Self { chat_id: fields.required("chat_id"), seq: fields.required("seq") }
    }
}

pub(super) async fn read(
    shard: &Rc<Shard>,
    conn: &Rc<Conn>,
    fields: Map<String, Value>,
    request_id: Option<&str>,
) -> Result<()> {
    let Read { chat_id, seq } = super::fields(fields)?;
    if seq < Seq(0) {
        return Err(Error::invalid("seq", "must not be negative"));
    }
    let (ctx, by) = (shard.hub.ctx.clone(), conn.auth.borrow().clone());
    // The telling of it may overtake the answer; this connection is told by the answer alone.
    answered_read(conn, chat_id);
    let work = async move { chats::mark_read(&ctx, &by, chat_id, seq).await };
    let outcome = super::on_the_servers_runtime(shard, work).await;
    if outcome.as_ref().map_or(true, |stands| *stands > seq) {
        // Nothing is told: the next telling is another device's.
        no_read_answered(conn, chat_id);
    }
    conn.answer(Reply::MessageRead { chat_id, user_id: conn.user_id, seq: outcome? }.to_frame(request_id));
    Ok(())
}
