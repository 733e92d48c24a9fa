//! `authenticate`: a live connection goes on under a new token of the same user.

use super::call::Call;
use crate::protocol::Reply;
use messenger_common::error::{Error, Result};
use messenger_common::service::{Fields, FromFields};
use messenger_common::wire::CloseCode;

struct Authenticate {
    token: String,
}

impl FromFields for Authenticate {
    fn read(fields: &mut Fields) -> Self {
        Self { token: fields.required("token") }
    }
}

pub(super) async fn authenticate(mut call: Call<'_>) -> Result<()> {
    let Authenticate { token } = call.read()?;
    // However it is bad, all stays as it was.
    let checked = call.run(|ctx, _| async move { ctx.authenticate(&token).await }).await;
    let auth = checked.map_err(|error| if error.status() < 500 { Error::TokenInvalid } else { error })?;
    if auth.user_id != call.by.user_id {
        return Err(Error::TokenInvalid);
    }
    let expires_at = auth.expires_at;
    let revocations = &call.shard.hub.ctx.revocations;
    call.conn.authenticate(auth);
    // The new session may have ended between its check and this moment, while a revocation was
    // compared with the session of before.
    let ended = call.conn.auth().and_then(|auth| revocations.is_revoked(&auth));
    call.answer(&Reply::Authenticated { expires_at });
    if let Some(reason) = ended {
        call.shard.close(call.conn, CloseCode::from(reason));
    }
    Ok(())
}
