//! Messages: send, history, edit, delete.

mod mentions;
#[cfg(any(test, feature = "fuzz"))]
pub(super) use mentions::fuzz as fuzz_mentions;
mod queue;
mod search;

pub use queue::SendQueue;
pub use search::{SearchQuery, Searches, search};

use super::faults::Faults;
use super::input::{Fields, FromFields, Unchecked};
use super::{Context, DEFAULT_PAGE};
use crate::auth::AuthUser;
use crate::error::{Error, Result};
use crate::id::{ChatId, MessageId, UserId};
use crate::model::{HistoryPage, Message};
use crate::store::{HistoryFrom, NewMessage, Sent};
use crate::words::{self, Words};
use mentions::Names;
use utoipa::ToSchema;

/// Words of a text that cost what a message costs: each is an entry in the index by which search
/// finds it. A text in letters has fewer; one in ideographs has a word for each.
const WORDS_PER_MESSAGE: usize = 1024;

/// A new message.
#[derive(Clone, Debug, Default, ToSchema)]
pub struct SendMessage {
    /// The chat.
    pub chat_id: ChatId,
    /// Kept as sent; Unicode scalar values count; not blank.
    #[schema(min_length = 1, max_length = 4096, example = "Hello!")]
    pub text: String,
    /// The sender's own key. If it is sent again, the answer is the first message, and nothing is
    /// sent twice.
    #[schema(min_length = 1, max_length = 64)]
    pub client_message_id: Option<String>,
    /// A message of the same chat.
    pub reply_to_id: Option<MessageId>,
}

impl FromFields for SendMessage {
    fn read(fields: &mut Fields) -> Self {
        Self {
            chat_id: fields.required("chat_id"),
            text: fields.required("text"),
            client_message_id: fields.optional("client_message_id"),
            reply_to_id: fields.optional("reply_to_id"),
        }
    }
}

/// A new message to a user.
#[derive(Clone, Debug, Default)]
pub struct SendPrivate {
    /// Another user.
    pub recipient_id: UserId,
    /// As of [`SendMessage`].
    pub text: String,
    /// As of [`SendMessage`].
    pub client_message_id: Option<String>,
}

impl FromFields for SendPrivate {
    fn read(fields: &mut Fields) -> Self {
        Self {
            recipient_id: fields.required("recipient_id"),
            text: fields.required("text"),
            client_message_id: fields.optional("client_message_id"),
        }
    }
}

/// A message's new text.
#[derive(Clone, Debug, Default, ToSchema)]
pub struct EditMessage {
    /// As of [`SendMessage`].
    #[schema(min_length = 1, max_length = 4096)]
    pub text: String,
}

impl FromFields for EditMessage {
    fn read(fields: &mut Fields) -> Self {
        Self { text: fields.required("text") }
    }
}

/// The question for a page of a history.
#[derive(Clone, Debug)]
pub struct HistoryQuery {
    /// 1 to 100.
    pub limit: i64,
    /// Older than this message.
    pub before: Option<MessageId>,
    /// Newer than this message; not with `before`.
    pub after: Option<MessageId>,
    /// An earlier page's `next_cursor`. It overrides the other two, so that a client can add it to
    /// its question.
    pub cursor: Option<String>,
}

impl Default for HistoryQuery {
    fn default() -> Self {
        Self { limit: DEFAULT_PAGE, before: None, after: None, cursor: None }
    }
}

impl FromFields for HistoryQuery {
    fn read(fields: &mut Fields) -> Self {
        Self {
            limit: fields.or("limit", DEFAULT_PAGE),
            before: fields.optional("before"),
            after: fields.optional("after"),
            cursor: fields.optional("cursor"),
        }
    }
}

/// Sends a message. `Invalid`, `ChatNotFound`, `NotAMember`, `ClientMessageIdReused`,
/// `Blocked`, `RateLimited`, `Unavailable`.
pub async fn send(ctx: &Context, by: &AuthUser, body: impl Into<Unchecked<SendMessage>>) -> Result<Sent> {
    let (body, mut faults) = body.into().split();
    content(ctx, &mut faults, &body.text, body.client_message_id.as_deref());
    faults.none()?;
    let names = charged(ctx, by, &body.text).await?;
    commit(ctx, by, body, names).await
}

/// Sends a message to a user; makes their private chat if there is none. `Invalid`,
/// `UserNotFound`, `ClientMessageIdReused`, `Blocked`, `RateLimited`, `Unavailable`.
pub async fn send_private(ctx: &Context, by: &AuthUser, body: impl Into<Unchecked<SendPrivate>>) -> Result<Sent> {
    let (SendPrivate { recipient_id, text, client_message_id }, mut faults) = body.into().split();
    content(ctx, &mut faults, &text, client_message_id.as_deref());
    if recipient_id == by.user_id {
        faults.add("recipient_id", "must not be yourself");
    }
    faults.none()?;
    // Before the chat is made, of which its other member is told.
    let names = charged(ctx, by, &text).await?;
    let (chat, _, committed) = ctx.store.private_chat(by.user_id, recipient_id).await?;
    ctx.publisher.publish(committed);
    commit(ctx, by, SendMessage { chat_id: chat.id, text, client_message_id, reply_to_id: None }, names).await
}

/// A page of a chat's history; members only. `ChatNotFound`, `NotAMember`, `Invalid`.
pub async fn history(
    ctx: &Context,
    by: &AuthUser,
    chat: ChatId,
    query: impl Into<Unchecked<HistoryQuery>>,
) -> Result<HistoryPage> {
    let (query, mut faults) = query.into().split();
    faults.limit("limit", query.limit);
    if query.before.is_some() && query.after.is_some() {
        faults.add("before", "cannot be used together with after");
        faults.add("after", "cannot be used together with before");
    }
    if let Some(cursor) = &query.cursor {
        faults.no_nul("cursor", cursor);
    }
    faults.none()?;
    let from = match (query.cursor, query.before, query.after) {
        (Some(cursor), _, _) => HistoryFrom::Cursor(cursor),
        (None, Some(before), _) => HistoryFrom::Before(before),
        (None, None, Some(after)) => HistoryFrom::After(after),
        (None, None, None) => HistoryFrom::Newest,
    };
    ctx.store.history(chat, by.user_id, from, usize::try_from(query.limit).unwrap_or(0)).await
}

/// A message of a chat of the caller's. `MessageNotFound`.
pub async fn get(ctx: &Context, by: &AuthUser, id: MessageId) -> Result<Message> {
    ctx.store.message(id, by.user_id).await
}

/// Changes the text of the caller's message. `MessageNotFound`, `NotAuthor`, `NotAMember`,
/// `Blocked`, `Invalid`, `RateLimited`.
pub async fn edit(
    ctx: &Context,
    by: &AuthUser,
    id: MessageId,
    body: impl Into<Unchecked<EditMessage>>,
) -> Result<Message> {
    let (body, mut faults) = body.into().split();
    content(ctx, &mut faults, &body.text, None);
    faults.none()?;
    let names = charged(ctx, by, &body.text).await?;
    let mentions = if body.text.contains('@') {
        let chat = ctx.store.chat_of(id).await?.ok_or(Error::MessageNotFound)?;
        mentions::find(ctx, chat, by.user_id, names).await?
    } else {
        Vec::new()
    };
    let (message, committed) = ctx.store.edit(id, by.user_id, body.text, mentions).await?;
    ctx.publisher.publish(committed);
    Ok(message)
}

/// Deletes the caller's message, or any message of a group that the caller owns.
/// `MessageNotFound`, `NotAuthor`.
pub async fn delete(ctx: &Context, by: &AuthUser, id: MessageId) -> Result<()> {
    ctx.publisher.publish(ctx.store.delete(id, by.user_id).await?);
    Ok(())
}

fn content(ctx: &Context, faults: &mut Faults, text: &str, client_message_id: Option<&str>) {
    faults.text("text", text, ctx.limits.max_message_chars);
    if let Some(id) = client_message_id {
        faults.client_message_id("client_message_id", id);
    }
}

async fn commit(ctx: &Context, by: &AuthUser, body: SendMessage, names: Names) -> Result<Sent> {
    let mentions = mentions::find(ctx, body.chat_id, by.user_id, names).await?;
    ctx.sends.send(NewMessage { mentions, ..message(by, body) }).await
}

/// Counts what a text costs beside its message, before anything is done for it. `RateLimited`.
async fn charged(ctx: &Context, by: &AuthUser, text: &str) -> Result<Names> {
    let names = Names::of(text);
    let words = words::count(text).saturating_sub(1) / WORDS_PER_MESSAGE;
    ctx.charge_further(by, names.further_price(&by.username) + words).await?;
    Ok(names)
}

fn message(by: &AuthUser, body: SendMessage) -> NewMessage {
    let words = Words::of(&body.text);
    NewMessage {
        chat_id: body.chat_id,
        author_id: by.user_id,
        author_username: by.username.clone(),
        text: body.text,
        client_message_id: body.client_message_id,
        reply_to_id: body.reply_to_id,
        mentions: Vec::new(),
        words,
    }
}
