//! The statements of invitations.

use super::*;
use crate::model::User;
use crate::store::changes::invites::{self, InviteStatements};
use crate::store::invites::InviteRow;
use crate::store::{NewInvite, NewUser};

fn invite() -> NewInvite {
    NewInvite { code: "code".into(), expires_in: None, max_uses: Some(1) }
}

fn new_user() -> NewUser {
    NewUser { username: "cem".into(), email: "cem@example.org".into(), password_hash: "$".into() }
}

#[async_trait]
impl InviteStatements for Script {
    async fn now(&mut self) -> Result<Time, Fault> {
        self.statements.push("now");
        Ok(Time(AT))
    }

    async fn insert_invite(&mut self, _: &InviteRow) -> Result<(), Fault> {
        self.statements.push("insert_invite");
        Ok(())
    }

    async fn invite_of(&mut self, _: &str) -> Result<Option<InviteRow>, Fault> {
        self.statements.push("invite_of");
        Ok(Some(InviteRow::new(Some((CHAT, ANN)), &invite(), Time(AT))))
    }

    async fn open_invites(&mut self, _: ChatId, _: Time, _: i64) -> Result<i64, Fault> {
        self.statements.push("open_invites");
        Ok(0)
    }

    async fn count_use(&mut self, _: i64, _: Time) -> Result<bool, Fault> {
        self.statements.push("count_use");
        Ok(true)
    }

    async fn end_invite(&mut self, _: ChatId, _: &str, _: Time) -> Result<bool, Fault> {
        self.statements.push("end_invite");
        Ok(true)
    }

    async fn insert_user(&mut self, user: &NewUser) -> Result<User, Fault> {
        self.statements.push("insert_user");
        let (username, email) = (user.username.clone(), user.email.clone());
        Ok(User { id: CEM, username, email, display_name: None, bio: None, is_active: true, created_at: AT })
    }
}

#[tokio::test]
async fn a_use_is_taken_under_the_groups_lock() {
    statements!(OWNER, invites::create(CHAT, ANN, &invite()) = "lock open_invites insert_invite").unwrap();
    statements!(OWNER, invites::revoke(CHAT, ANN, "code") = "lock end_invite").unwrap();
    statements!(OWNER, invites::create_of_host(&invite()) = "now insert_invite").unwrap();
    let accept = statements!(
        None,
        invites::accept("code", CEM, 9) =
            "invite_of lock has_owner active_users insert_members record views insert_outbox count_use"
    );
    accept.unwrap();
    statements!(PLAIN, invites::accept("code", BEN, 9) = "invite_of lock views").unwrap();
    let register = statements!(
        None,
        invites::register(&new_user(), "code", 9) =
            "invite_of insert_user lock has_owner active_users insert_members record views insert_outbox count_use"
    );
    register.unwrap();
    statements!(PLAIN, invites::create(CHAT, BEN, &invite()) = "lock").unwrap_err();
    statements!(None, invites::accept("code", CEM, 2) = "invite_of lock").unwrap_err();
}
