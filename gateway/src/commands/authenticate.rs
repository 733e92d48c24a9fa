//! `authenticate`: a live connection goes on under a new token of the same user.

use crate::conn::Conn;
use crate::protocol::Reply;
use crate::shard::Shard;
use messenger_common::error::{Error, Result};
use messenger_common::service::{Fields, FromFields};
use serde_json::{Map, Value};
use std::rc::Rc;

struct Authenticate {
    token: String,
}

impl FromFields for Authenticate {
    fn read(fields: &mut Fields) -> Self {
        Self { token: fields.required("token") }
    }
}

pub(super) fn authenticate(
    shard: &Shard,
    conn: &Rc<Conn>,
    fields: Map<String, Value>,
    request_id: Option<&str>,
) -> Result<()> {
    let Authenticate { token } = super::fields(fields)?;
    // However it is bad, all stays as it was.
    let auth = shard.hub.ctx.authenticate(&token).map_err(|_| Error::TokenInvalid)?;
    if auth.user_id != conn.user_id {
        return Err(Error::TokenInvalid);
    }
    let expires_at = auth.expires_at;
    *conn.auth.borrow_mut() = std::sync::Arc::new(auth);
    conn.answer(Reply::Authenticated { expires_at }.to_frame(request_id));
    Ok(())
}
