//! What a task of `admin` prints: lines for people, or one JSON object.

use crate::error::{Error, Result};
use crate::id::SessionId;
use crate::model::User;
use crate::store::{OpenSession, UserRow};
use crate::timestamp;
use serde_json::{Value, json};
use time::OffsetDateTime;

pub(super) enum Answer {
    Users { items: Vec<Account>, next_cursor: Option<String> },
    User { account: Account, sessions: Option<Vec<OpenSession>> },
    Password { account: Account, password: String },
    Ended { account: Account, ended: Vec<SessionId> },
}

pub(super) struct Account {
    user: User,
    last_seen_at: Option<OffsetDateTime>,
}

impl Account {
    pub(super) fn of(row: UserRow) -> Self {
        Self { user: row.user, last_seen_at: row.last_seen_at }
    }

    fn json(&self) -> Result<Value> {
        let mut value = serde_json::to_value(&self.user).map_err(Error::internal)?;
        value["last_seen_at"] = self.last_seen_at.map(at).into();
        Ok(value)
    }

    fn line(&self) -> String {
        let User { id, username, email, is_active, created_at, .. } = &self.user;
        let state = if *is_active { "active" } else { "deactivated" };
        format!("{id}\t{username}\t{email}\t{state}\t{}", at(*created_at))
    }
}

impl Answer {
    pub(super) fn json(&self) -> Result<String> {
        let value = match self {
            Self::Users { items, next_cursor } => {
                let items = items.iter().map(Account::json).collect::<Result<Vec<_>>>()?;
                json!({"items": items, "next_cursor": next_cursor})
            }
            Self::User { account, sessions } => {
                let mut value = account.json()?;
                if let Some(sessions) = sessions {
                    value["sessions"] = sessions.iter().map(session).collect();
                }
                value
            }
            Self::Password { account, password } => {
                json!({"id": account.user.id, "username": account.user.username, "password": password})
            }
            Self::Ended { account, ended } => {
                json!({"id": account.user.id, "username": account.user.username, "ended": ended})
            }
        };
        Ok(value.to_string())
    }

    pub(super) fn text(&self) -> String {
        match self {
            Self::Users { items, next_cursor } => {
                let mut lines = vec!["ID\tUSERNAME\tE-MAIL\tSTATE\tCREATED".to_owned()];
                lines.extend(items.iter().map(Account::line));
                lines.extend(next_cursor.iter().map(|cursor| format!("there are more: --cursor {cursor}")));
                lines.join("\n")
            }
            Self::User { account, sessions } => {
                let mut lines = vec![account.line()];
                for one in sessions.iter().flatten() {
                    let program = one.user_agent.as_deref().unwrap_or("unknown");
                    // A client names itself as it likes.
                    let program: String = program.chars().filter(|c| !c.is_control()).collect();
                    lines.push(format!("session {}\tused {}\t{program}", one.id, at(one.last_used_at)));
                }
                lines.join("\n")
            }
            Self::Password { password, .. } => password.clone(),
            Self::Ended { account, ended } => {
                format!("{}: {} sessions ended", account.user.username, ended.len())
            }
        }
    }
}

fn session(one: &OpenSession) -> Value {
    json!({
        "id": one.id,
        "created_at": at(one.created_at),
        "last_used_at": at(one.last_used_at),
        "user_agent": one.user_agent,
    })
}

fn at(time: OffsetDateTime) -> String {
    timestamp::text(time).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::id::UserId;
    use time::macros::datetime;

    #[test]
    fn every_time_has_six_digits_as_in_all_answers() {
        let when = datetime!(2026-11-26 13:28:13.5 UTC);
        let user = User {
            id: UserId(1),
            username: "ann".to_owned(),
            email: "ann@example.org".to_owned(),
            display_name: None,
            bio: None,
            is_active: true,
            created_at: when,
        };
        let session = OpenSession { id: SessionId(2), created_at: when, last_used_at: when, user_agent: None };
        let account = Account { user, last_seen_at: Some(when) };
        let answer = Answer::User { account, sessions: Some(vec![session]) };
        let (json, text) = (answer.json().unwrap(), answer.text());
        assert_eq!(json.matches(r#""2026-11-26T13:28:13.500000Z""#).count(), 4, "{json}");
        assert_eq!(text.matches("2026-11-26T13:28:13.500000Z").count(), 2, "{text}");
    }
}
