//! `send_message` and `private_message`: the same rules as `POST /messages/send`.

use super::call::Call;
use crate::protocol::Reply;
use messenger_common::error::Result;
use messenger_common::id::UserId;
use messenger_common::service::messages::{self as rules, SendMessage};
use messenger_common::service::{Fields, FromFields};

pub(super) async fn send(mut call: Call<'_>) -> Result<()> {
    let command = call.unchecked::<SendMessage>();
    let sent = call
        .run(|ctx, by| async move {
            ctx.charge_message(&by).await?;
            rules::send(&ctx, &by, command).await
        })
        .await?;
    call.answer(&Reply::MessageSent { message: &sent.message });
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

pub(super) async fn private(mut call: Call<'_>) -> Result<()> {
    let PrivateMessage { recipient_id, text, client_message_id } = call.read()?;
    let sent = call
        .run(|ctx, by| async move {
            ctx.charge_message(&by).await?;
            rules::send_private(&ctx, &by, recipient_id, text, client_message_id).await
        })
        .await?;
    call.answer(&Reply::MessageSent { message: &sent.message });
    Ok(())
}
