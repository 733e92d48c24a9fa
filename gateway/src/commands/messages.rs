//! `send_message` and `private_message`: the same rules as `POST /messages/send`.

use super::call::Call;
use crate::protocol::Reply;
use messenger_common::error::Result;
use messenger_common::service::messages::{self as rules, SendMessage, SendPrivate};

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

pub(super) async fn private(mut call: Call<'_>) -> Result<()> {
    let command = call.unchecked::<SendPrivate>();
    let sent = call
        .run(|ctx, by| async move {
            ctx.charge_message(&by).await?;
            rules::send_private(&ctx, &by, command).await
        })
        .await?;
    call.answer(&Reply::MessageSent { message: &sent.message });
    Ok(())
}
