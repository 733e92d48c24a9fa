//! `subscribe_chat`, `subscribe_chats` and `unsubscribe_chat`.

use super::call::Call;
use crate::protocol::{Reply, error_frame};
use crate::subscription::{Place, Subscribing};
use futures_util::{StreamExt, stream};
use messenger_common::error::{Error, Result};
use messenger_common::id::{ChatId, Seq};
use messenger_common::service::{Fields, FromFields, Object, Unchecked};
use serde_json::Value;
use std::collections::HashSet;

/// Chats of one command at most.
const CHATS_PER_SUBSCRIBE: usize = 100;
/// Chats that cost as much as one command: so the thousand that a connection may follow fit into a
/// second's rate.
const CHATS_PER_COMMAND: usize = 20;
/// Of these so many are looked up at the same time.
const CHATS_AT_ONCE: usize = 32;

struct SubscribeChat {
    chat_id: ChatId,
    after_seq: Option<Seq>,
    epoch: Option<String>,
}

impl FromFields for SubscribeChat {
    fn read(fields: &mut Fields) -> Self {
        Self {
            chat_id: fields.required("chat_id"),
            after_seq: fields.optional("after_seq"),
            epoch: fields.optional("epoch"),
        }
    }
}

impl SubscribeChat {
    fn of<'a>(&self, call: &Call<'a>) -> Subscribing<'a> {
        Subscribing {
            shard: call.shard,
            conn: call.conn,
            user: call.by.user_id,
            chat: self.chat_id,
            after: self.after_seq,
            epoch: self.epoch.clone(),
            request_id: call.request_id,
        }
    }
}

pub(super) async fn subscribe(mut call: Call<'_>) -> Result<()> {
    let asked: SubscribeChat = call.read()?;
    asked.of(&call).begin().await
}

struct SubscribeChats {
    chats: Vec<Object>,
}

impl FromFields for SubscribeChats {
    fn read(fields: &mut Fields) -> Self {
        Self { chats: fields.objects("chats") }
    }
}

/// The commands that the fields of `subscribe_chats` count as. A refused list counts as one.
pub(super) fn price(fields: &Object) -> usize {
    let named = fields.peek("chats").and_then(Value::as_array).map_or(0, Vec::len);
    if named > CHATS_PER_SUBSCRIBE { 1 } else { named.div_ceil(CHATS_PER_COMMAND).max(1) }
}

/// Subscribes to several chats: each is answered by itself, in their order. One that names no chat
/// refuses the whole.
pub(super) async fn subscribe_all(mut call: Call<'_>) -> Result<()> {
    let SubscribeChats { chats } = call.read()?;
    if chats.is_empty() || chats.len() > CHATS_PER_SUBSCRIBE {
        return Err(Error::invalid("chats", "must be 1 to 100 chats"));
    }
    let mut all = Vec::with_capacity(chats.len());
    for object in chats {
        let chat = object.peek("chat_id").and_then(Value::as_i64).map(ChatId);
        let (asked, faults) = Unchecked::<SubscribeChat>::from_object(object).split();
        match (faults.none(), chat) {
            (Err(error), None) => return Err(error),
            (Err(error), Some(chat)) => all.push((chat, Err(error))),
            (Ok(()), _) => all.push((asked.chat_id, Ok(asked))),
        }
    }
    let distinct: HashSet<ChatId> = all.iter().map(|(chat, _)| *chat).collect();
    // One that is named twice is answered from what its first answer made. And near the limit one
    // that is refused would keep a place meanwhile that belongs to a later one.
    let room = call.shard.hub.ctx.limits.max_subscriptions.saturating_sub(call.conn.subs.borrow().len());
    let at_once = if distinct.len() == all.len() && all.len() <= room { CHATS_AT_ONCE } else { 1 };
    let call = &call;
    let finding = all.into_iter().map(|(chat, asked)| async move {
        let found = find(call, asked).await;
        if at_once == 1 {
            answer(call, chat, found);
            return None;
        }
        Some((chat, found))
    });
    let mut found = stream::iter(finding).buffered(at_once);
    while let Some(found) = found.next().await {
        if let Some((chat, found)) = found {
            answer(call, chat, found);
        }
    }
    Ok(())
}

async fn find<'a>(call: &Call<'a>, asked: Result<SubscribeChat>) -> Result<(Subscribing<'a>, Place)> {
    let subscribing = asked?.of(call);
    let place = subscribing.find().await?;
    Ok((subscribing, place))
}

fn answer(call: &Call<'_>, chat: ChatId, found: Result<(Subscribing<'_>, Place)>) {
    if let Err(error) = found.and_then(|(subscribing, place)| subscribing.finish(place)) {
        call.conn.answer(error_frame(&error, call.request_id, Some(chat)));
    }
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

#[cfg(any(test, feature = "fuzz"))]
/// Reads fields as those of both commands.
pub(super) fn fuzz(fields: &Object) {
    drop(Unchecked::<SubscribeChat>::from_object(fields.clone()));
    let (SubscribeChats { chats }, _) = Unchecked::from_object(fields.clone()).split();
    for chat in chats {
        drop(Unchecked::<SubscribeChat>::from_object(chat));
    }
}
