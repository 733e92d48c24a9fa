//! `typing`: told to the chat's other subscribers, at most once in two seconds a connection and chat.

use crate::conn::Conn;
use crate::shard::Shard;
use messenger_common::error::{Error, Result};
use messenger_common::id::ChatId;
use messenger_common::service::{Fields, FromFields, chats};
use serde_json::{Map, Value};
use std::rc::Rc;
use std::time::{Duration, Instant};

/// More often is dropped in silence.
const EVERY: Duration = Duration::from_secs(2);

struct Typing {
    chat_id: ChatId,
    is_typing: bool,
}

impl FromFields for Typing {
    fn read(fields: &mut Fields) -> Self {
        Self { chat_id: fields.required("chat_id"), is_typing: fields.or("is_typing", true) }
    }
}

pub(super) fn typing(shard: &Shard, conn: &Rc<Conn>, fields: Map<String, Value>) -> Result<()> {
    let Typing { chat_id, is_typing } = super::fields(fields)?;
    if !shard.listens(conn, chat_id) {
        return Err(Error::NotSubscribed);
    }
    if !is_due(conn, chat_id) {
        return Ok(());
    }
    chats::typing(&shard.hub.ctx, &conn.auth.borrow(), chat_id, is_typing);
    Ok(())
}

fn is_due(conn: &Conn, chat: ChatId) -> bool {
    let mut rare = conn.rare.borrow_mut();
    let told = &mut rare.get_or_insert_default().typing;
    told.retain(|(_, at)| at.elapsed() < EVERY);
    let due = told.iter().all(|(of, _)| *of != chat);
    if due {
        told.push((chat, Instant::now()));
    }
    due
}
