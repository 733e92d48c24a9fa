//! `send_message` and `private_message`: the same rules as `POST /messages/send`.

use crate::conn::Conn;
use crate::protocol::Reply;
use crate::shard::Shard;
use messenger_common::error::Result;
use messenger_common::id::UserId;
use messenger_common::service::messages::{self as rules, SendMessage};
use messenger_common::service::{Fields, FromFields, Unchecked};
use serde_json::{Map, Value};
use std::rc::Rc;

pub(super) async fn send(
    shard: &Rc<Shard>,
    conn: &Rc<Conn>,
    fields: Map<String, Value>,
    request_id: Option<&str>,
) -> Result<()> {
    let command = Unchecked::<SendMessage>::from_object(fields);
    let (ctx, by) = (shard.hub.ctx.clone(), conn.auth.borrow().clone());
    let sent = super::on_the_servers_runtime(shard, async move { rules::send(&ctx, &by, command).await }).await?;
    conn.answer(Reply::MessageSent { message: &sent.message }.to_frame(request_id));
    Ok(())
}

struct PrivateMessage {
    recipient_id: UserId,
    text: String,
    client_message_id: Option<String>,
}

impl FromFields for PrivateMessage {
    fn read(fields: &mut Fields) -> Self {
        Self {
            recipient_id: fields.required("recipient_id"),
            text: fields.required("text"),
            client_message_id: fields.optional("client_message_id"),
        }
    }
}

pub(super) async fn private(
    shard: &Rc<Shard>,
    conn: &Rc<Conn>,
    fields: Map<String, Value>,
    request_id: Option<&str>,
) -> Result<()> {
    let PrivateMessage { recipient_id, text, client_message_id } = super::fields(fields)?;
    let (ctx, by) = (shard.hub.ctx.clone(), conn.auth.borrow().clone());
    let work = async move { rules::send_private(&ctx, &by, recipient_id, text, client_message_id).await };
    let sent = super::on_the_servers_runtime(shard, work).await?;
    conn.answer(Reply::MessageSent { message: &sent.message }.to_frame(request_id));
    Ok(())
}
