//! `authenticate`: a live connection goes on under a new token of the same user.

use super::call::Call;
use crate::protocol::Reply;
use messenger_common::error::{Error, Result};
use messenger_common::service::{Fields, FromFields};

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
    call.conn.authenticate(auth);
    call.answer(&Reply::Authenticated { expires_at });
    Ok(())
}
