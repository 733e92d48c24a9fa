//! The marks on a message: reactions and pins.

use super::{Context, PageQuery, Unchecked, page};
use crate::auth::AuthUser;
use crate::error::{Error, Result};
use crate::id::{ChatId, MessageId};
use crate::model::{Message, Page};

/// Adds the caller's emoji to a message, or takes it back. The same again is no error.
/// `MessageNotFound`, `Blocked`, `TooManyReactions`, `Invalid`.
pub async fn react(ctx: &Context, by: &AuthUser, id: MessageId, emoji: &str, add: bool) -> Result<()> {
    // One emoji has several spellings; one of them is kept.
    let known = emojis::get(emoji).ok_or_else(|| Error::invalid("emoji", "is not one emoji of Unicode's list"))?;
    ctx.publisher.publish(ctx.store.react(id, by.user_id, known.as_str(), add).await?);
    Ok(())
}

/// Pins a message, or takes the pin away. The same again is no error. `ChatNotFound`,
/// `NotAMember`, `NotOwner`, `Blocked`, `MessageNotFound`, `TooManyPins`.
pub async fn pin(ctx: &Context, by: &AuthUser, chat: ChatId, id: MessageId, add: bool) -> Result<()> {
    ctx.publisher.publish(ctx.store.pin(chat, id, by.user_id, add).await?);
    Ok(())
}

/// The pinned messages of a chat, the last pinned first. `ChatNotFound`, `NotAMember`,
/// `Invalid`.
pub async fn pins(
    ctx: &Context,
    by: &AuthUser,
    chat: ChatId,
    query: impl Into<Unchecked<PageQuery>>,
) -> Result<Page<Message>> {
    ctx.store.pins(chat, by.user_id, &page(query)?).await
}

#[cfg(test)]
mod tests {
    #[test]
    fn every_sequence_of_unicodes_list_is_one_emoji_and_nothing_else_is() {
        let spelling = |text: &str| emojis::get(text).map(emojis::Emoji::as_str);
        for emoji in ["👍", "👍🏽", "👩‍💻", "👨‍👩‍👧‍👦", "🏳️‍🌈", "🇳🇱", "🏴󠁧󠁢󠁥󠁮󠁧󠁿", "1️⃣", "👩🏽‍❤️‍👨🏿", "❤️‍🔥"]
        {
            assert_eq!(spelling(emoji), Some(emoji));
        }
        assert_eq!(spelling("❤"), Some("❤️"), "a spelling without its selector is the same emoji");
        for other in ["", "a", "1", "👍👍", "👍 ", "thumbs_up", ":+1:", "🇳", "\u{200d}"] {
            assert_eq!(spelling(other), None, "{other:?}");
        }
    }
}
