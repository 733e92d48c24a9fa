//! The statements of reactions, pins, mentions and blocks.

use super::*;
use crate::model::Reaction;
use crate::store::Mention;
use crate::store::changes::marks::{self, MarkStatements};

#[async_trait]
impl MarkStatements for Script {
    async fn is_blocked_by(&mut self, _: UserId, _: &[UserId]) -> Result<bool, Fault> {
        self.statements.push("is_blocked_by");
        Ok(false)
    }

    async fn is_blocked_in(&mut self, _: ChatId, _: UserId) -> Result<bool, Fault> {
        self.statements.push("is_blocked_in");
        Ok(false)
    }

    async fn insert_reaction(&mut self, _: MessageId, user: UserId, _: &str) -> Result<bool, Fault> {
        self.statements.push("insert_reaction");
        Ok(user == ANN)
    }

    async fn delete_reaction(&mut self, _: MessageId, user: UserId, _: &str) -> Result<bool, Fault> {
        self.statements.push("delete_reaction");
        Ok(user == ANN)
    }

    async fn set_reactions(&mut self, _: MessageId, _: &[Reaction]) -> Result<(), Fault> {
        self.statements.push("set_reactions");
        Ok(())
    }

    async fn pins_of(&mut self, _: ChatId, _: MessageId) -> Result<(i64, bool), Fault> {
        self.statements.push("pins_of");
        Ok((49, false))
    }

    async fn insert_pin(&mut self, _: ChatId, _: MessageId, _: Seq) -> Result<(), Fault> {
        self.statements.push("insert_pin");
        Ok(())
    }

    async fn delete_pin(&mut self, _: ChatId, _: MessageId) -> Result<(), Fault> {
        self.statements.push("delete_pin");
        Ok(())
    }

    async fn insert_mentions(&mut self, _: ChatId, _: MessageId, _: Seq, _: &[UserId]) -> Result<(), Fault> {
        self.statements.push("insert_mentions");
        Ok(())
    }

    async fn delete_mentions(&mut self, _: ChatId, _: MessageId, _: &[UserId]) -> Result<(), Fault> {
        self.statements.push("delete_mentions");
        Ok(())
    }
}

#[tokio::test]
async fn a_mark_is_made_under_the_chats_lock() {
    let react = statements!(
        PLAIN,
        marks::react(MESSAGE, ANN, "👍", true) =
            "chat_of lock message insert_reaction set_reactions record insert_outbox"
    );
    react.unwrap();
    let pin = statements!(
        OWNER,
        marks::pin(CHAT, MESSAGE, ANN, true) = "lock chat_of pins_of insert_pin record insert_outbox"
    );
    pin.unwrap();
    let mention = Mention { user_id: BEN, notify: true };
    let edit = statements!(
        PLAIN,
        messages::edit(MESSAGE, ANN, "@ben", &[mention]) =
            "chat_of lock message members_among set_text insert_mentions record insert_outbox"
    );
    edit.unwrap();
}

#[tokio::test]
async fn the_same_mark_again_writes_nothing() {
    let again = statements!(PLAIN, marks::react(MESSAGE, BEN, "👍", true) = "chat_of lock message insert_reaction");
    assert_eq!(again.unwrap(), Committed::default());
    statements!(PLAIN, marks::react(MESSAGE, BEN, "👍", false) = "chat_of lock message delete_reaction").unwrap();
    statements!(OWNER, marks::pin(CHAT, MESSAGE, ANN, false) = "lock chat_of pins_of").unwrap();
}

#[tokio::test]
async fn a_mark_that_is_refused_writes_nothing() {
    statements!(None, marks::react(MESSAGE, CEM, "👍", true) = "chat_of lock message").unwrap_err();
    statements!(PLAIN, marks::pin(CHAT, MESSAGE, BEN, true) = "lock").unwrap_err();
    statements!(None, marks::pin(CHAT, MESSAGE, CEM, true) = "lock").unwrap_err();
}
