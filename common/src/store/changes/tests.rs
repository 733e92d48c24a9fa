//! The statements of each change, in order: the lock comes first, rights come before the first
//! write, the outbox comes last. The contract suite holds their outcome; this holds their cost.

use super::*;
use crate::store::{ChatPatch, NewGroup};
use time::OffsetDateTime;

const CHAT: ChatId = ChatId(1);
const ANN: UserId = UserId(1);
const BEN: UserId = UserId(2);
const CEM: UserId = UserId(3);
const MESSAGE: MessageId = MessageId(1);
const OWNER: Option<Role> = Some(Role::Owner);
const PLAIN: Option<Role> = Some(Role::Member);
const AT: OffsetDateTime = OffsetDateTime::UNIX_EPOCH;

/// A group of Ann, its owner, and Ben, with a message of Ann's. Answers each statement and notes
/// it.
struct Script {
    /// The role of the user who acts.
    role: Option<Role>,
    statements: Vec<&'static str>,
}

impl Script {
    fn of(role: Option<Role>) -> Self {
        Self { role, statements: Vec::new() }
    }
}

fn row() -> ChatRow {
    ChatRow {
        id: CHAT,
        is_group: true,
        is_public: true,
        name: "group".into(),
        description: None,
        created_at: Time(AT),
        seq: Seq(1),
        member_count: 2,
        is_deleted: false,
    }
}

fn member(user_id: UserId) -> Member {
    let role = if user_id == ANN { Role::Owner } else { Role::Member };
    Member { user_id, username: user_id.to_string(), role, joined_at: AT }
}

#[async_trait]
impl Transaction for Script {
    async fn lock(&mut self, _: ChatId, _: UserId) -> Result<(Option<ChatRow>, Option<Role>, Time), Fault> {
        self.statements.push("lock");
        Ok((Some(row()), self.role, Time(AT)))
    }

    async fn record(&mut self, _: &Change) -> Result<(), Fault> {
        self.statements.push("record");
        Ok(())
    }

    async fn insert_outbox(&mut self, _: &OutboxPayload, _: Time) -> Result<OutboxId, Fault> {
        self.statements.push("insert_outbox");
        Ok(OutboxId(1))
    }

    async fn views(&mut self, pairs: &[(ChatId, UserId)]) -> Result<Vec<(UserId, Chat)>, Fault> {
        self.statements.push("views");
        Ok(pairs.iter().map(|(_, user)| (*user, row().to_shared())).collect())
    }

    async fn insert_chat(&mut self, _: &NewChat<'_>, _: usize) -> Result<Option<ChatRow>, Fault> {
        self.statements.push("insert_chat");
        Ok(Some(row()))
    }

    async fn private_chat_of(&mut self, _: UserId, _: UserId) -> Result<Option<ChatId>, Fault> {
        self.statements.push("private_chat_of");
        Ok(Some(CHAT))
    }

    async fn active_users(&mut self, ids: &[UserId]) -> Result<Vec<(UserId, String)>, Fault> {
        self.statements.push("active_users");
        Ok(ids.iter().map(|user| (*user, user.to_string())).collect())
    }

    async fn members_among(&mut self, _: ChatId, ids: &[UserId]) -> Result<Vec<Member>, Fault> {
        self.statements.push("members_among");
        Ok(ids.iter().filter(|user| **user != CEM).map(|user| member(*user)).collect())
    }

    async fn insert_members(&mut self, _: &Change, _: &[(Member, Seq)]) -> Result<(), Fault> {
        self.statements.push("insert_members");
        Ok(())
    }

    async fn delete_member(&mut self, _: ChatId, _: UserId) -> Result<(), Fault> {
        self.statements.push("delete_member");
        Ok(())
    }

    async fn delete_members(&mut self, _: ChatId) -> Result<Vec<UserId>, Fault> {
        self.statements.push("delete_members");
        Ok(vec![ANN, BEN])
    }

    async fn set_role(&mut self, _: ChatId, _: UserId, _: Role) -> Result<bool, Fault> {
        self.statements.push("set_role");
        Ok(true)
    }

    async fn set_settings(&mut self, _: ChatId, _: UserId, _: SettingsPatch) -> Result<Option<Time>, Fault> {
        self.statements.push("set_settings");
        Ok(self.role.map(|_| Time(AT)))
    }

    async fn has_owner(&mut self, _: ChatId, but: UserId) -> Result<bool, Fault> {
        self.statements.push("has_owner");
        Ok(but != ANN)
    }

    async fn crown_heir(&mut self, _: ChatId, _: UserId) -> Result<Option<Member>, Fault> {
        self.statements.push("crown_heir");
        Ok(Some(member(BEN)))
    }

    async fn stays_active(&mut self, user: UserId) -> Result<bool, Fault> {
        self.statements.push("stays_active");
        Ok(user != ANN)
    }

    async fn chat_of(&mut self, _: MessageId) -> Result<Option<ChatId>, Fault> {
        self.statements.push("chat_of");
        Ok(Some(CHAT))
    }

    async fn message(&mut self, chat: ChatId, id: MessageId, _: UserId) -> Result<Option<Message>, Fault> {
        self.statements.push("message");
        Ok(Some(Message {
            id,
            chat_id: chat,
            author_id: ANN,
            author_username: "ann".into(),
            author_display_name: None,
            text: "text".into(),
            created_at: AT,
            is_edited: false,
            edited_at: None,
            is_deleted: false,
            seq: Seq(1),
            client_message_id: None,
            reply_to_id: None,
            reactions: Vec::new(),
            mentions: Vec::new(),
        }))
    }

    async fn set_text(&mut self, _: MessageId, _: &str, _: &[UserId], _: Time) -> Result<(), Fault> {
        self.statements.push("set_text");
        Ok(())
    }

    async fn erase_text(&mut self, _: MessageId, _: Time) -> Result<(), Fault> {
        self.statements.push("erase_text");
        Ok(())
    }
}

/// Runs a change for a user of that role and holds its statements against those listed.
macro_rules! statements {
    ($role:expr, $change:ident::$name:ident($($argument:expr),*) = $statements:literal) => {{
        let mut tx = Script::of($role);
        let done = $change::$name(&mut tx, $($argument),*).await;
        assert_eq!(tx.statements.join(" "), $statements, stringify!($name));
        done
    }};
}

mod invites;
mod marks;

fn named(name: &str) -> ChatPatch {
    ChatPatch { name: Some(name.into()), description: None }
}

#[tokio::test]
async fn each_change_locks_first_and_ends_with_the_outbox() {
    let group =
        NewGroup { owner: ANN, name: "group".into(), description: None, is_public: true, member_ids: vec![BEN] };
    let made = "active_users is_blocked_by insert_chat insert_members views insert_outbox";
    assert_eq!(made, {
        let (mut one, mut two) = (Script::of(None), Script::of(None));
        chats::create_group(&mut one, &group).await.unwrap();
        chats::private_chat(&mut two, ANN, BEN).await.unwrap();
        assert_eq!(one.statements, two.statements);
        one.statements.join(" ")
    });
    statements!(OWNER, chats::update_chat(CHAT, ANN, &named("other")) = "lock record views insert_outbox").unwrap();
    statements!(OWNER, chats::delete_chat(CHAT, ANN) = "lock delete_members record insert_outbox").unwrap();
    let join = statements!(
        None,
        members::join(CHAT, CEM, 9) = "lock has_owner active_users insert_members record views insert_outbox"
    );
    join.unwrap();
    let add = statements!(
        OWNER,
        members::add_members(CHAT, ANN, &[BEN, CEM], 9) =
            "lock members_among active_users is_blocked_by insert_members record views insert_outbox"
    );
    assert_eq!(add.unwrap().0.len(), 2);
    let leave = statements!(
        OWNER,
        members::remove_member(CHAT, ANN, ANN) =
            "lock members_among delete_member has_owner crown_heir record insert_outbox"
    );
    assert_eq!(leave.unwrap().events.len(), 2);
    let pass_on = statements!(
        OWNER,
        heirs::pass_on(CHAT, ANN) =
            "lock stays_active has_owner crown_heir members_among set_role record insert_outbox"
    );
    assert_eq!(pass_on.unwrap().events.len(), 2);
    let remove = statements!(
        OWNER,
        members::remove_member(CHAT, ANN, BEN) = "lock members_among delete_member record insert_outbox"
    );
    remove.unwrap();
    let set = statements!(
        OWNER,
        members::set_role(CHAT, ANN, BEN, Role::Owner) =
            "lock members_among stays_active set_role record insert_outbox"
    );
    set.unwrap();
    let edit = statements!(
        PLAIN,
        messages::edit(MESSAGE, ANN, "other", &[]) = "chat_of lock message set_text record insert_outbox"
    );
    edit.unwrap();
    let delete =
        statements!(PLAIN, messages::delete(MESSAGE, ANN) = "chat_of lock message erase_text record insert_outbox");
    delete.unwrap();
}

#[tokio::test]
async fn a_change_without_effect_writes_nothing() {
    statements!(OWNER, chats::update_chat(CHAT, ANN, &named("group")) = "lock views").unwrap();
    statements!(PLAIN, members::join(CHAT, BEN, 9) = "lock views").unwrap();
    statements!(PLAIN, heirs::pass_on(CHAT, BEN) = "lock stays_active").unwrap();
    let set = statements!(OWNER, members::set_role(CHAT, ANN, BEN, Role::Member) = "lock members_among");
    assert_eq!(set.unwrap().1, Committed::default());
    statements!(PLAIN, messages::edit(MESSAGE, ANN, "text", &[]) = "chat_of lock message").unwrap();
    let settings = statements!(None, members::set_settings(CHAT, CEM, SettingsPatch::default()) = "set_settings");
    assert_eq!(settings.unwrap(), None);
}

#[tokio::test]
async fn a_change_that_is_refused_writes_nothing() {
    statements!(PLAIN, chats::update_chat(CHAT, BEN, &named("other")) = "lock").unwrap_err();
    statements!(PLAIN, chats::delete_chat(CHAT, BEN) = "lock").unwrap_err();
    statements!(None, members::join(CHAT, CEM, 2) = "lock").unwrap_err();
    statements!(PLAIN, members::add_members(CHAT, BEN, &[CEM], 9) = "lock").unwrap_err();
    statements!(None, members::remove_member(CHAT, CEM, CEM) = "lock").unwrap_err();
    statements!(PLAIN, members::remove_member(CHAT, BEN, ANN) = "lock").unwrap_err();
    statements!(PLAIN, members::set_role(CHAT, BEN, BEN, Role::Owner) = "lock").unwrap_err();
    statements!(None, messages::edit(MESSAGE, ANN, "other", &[]) = "chat_of lock message").unwrap_err();
    statements!(PLAIN, messages::delete(MESSAGE, BEN) = "chat_of lock message").unwrap_err();
}
