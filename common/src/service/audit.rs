//! Security events: one line of the log each, so that an operator can see who tried what (OWASP
//! ASVS 5.0, 16.3). A line has ids only: no name, no e-mail address, no token. Its request id, and
//! the client's address where `LOG_CLIENT_ADDRESSES` is on, come with the request's span.

use crate::id::{SessionId, UserId};
use crate::label::{Label, label};
use parking_lot::Mutex;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// Lines of one kind in a second; further ones are counted: a flood of logins is no flood of
/// lines.
const LINES_PER_SECOND: u32 = 20;
const SECOND: Duration = Duration::from_secs(1);

label!(
    /// The kind of event.
    SecurityEvent "event" {
        /// An account was made.
        Registered = "registered",
        /// A session was opened.
        LoggedIn = "logged_in",
        /// A login with a wrong password, or for an unknown user.
        LoginFailed = "login_failed",
        /// A login to a deactivated account, with its right password.
        LoginDisabled = "login_disabled",
        /// A login over the rate of its account.
        LoginLimited = "login_limited",
        /// A login over the rate of its address, whatever the account.
        AddressLimited = "address_limited",
        /// A spent refresh token came again: a thief may have it, or had it.
        TokenReused = "token_reused",
        /// A token with a signature that is not ours, or of a session that is not there.
        TokenRefused = "token_refused",
        /// A session was ended by its user.
        SessionEnded = "session_ended",
        /// The current password that a change asks for was wrong.
        PasswordWrong = "password_wrong",
        /// An account has a new password.
        PasswordChanged = "password_changed",
        /// An account has a new e-mail address.
        EmailChanged = "email_changed",
        /// An account was deactivated by its user.
        Deactivated = "deactivated",
        /// A user tried what they may not.
        Refused = "refused",
        /// A connection went on over its rate and was closed with 4429.
        Flooded = "flooded",
    }
);

/// Writes the lines. A clone counts together with its original.
#[derive(Clone)]
pub struct Audit(Arc<Vec<Mutex<Written>>>);

#[derive(Clone, Copy)]
struct Written {
    since: Instant,
    lines: u32,
    dropped: u64,
}

impl Default for Audit {
    fn default() -> Self {
        let none = || Mutex::new(Written { since: Instant::now(), lines: 0, dropped: 0 });
        Self(Arc::new(SecurityEvent::ALL.iter().map(|_| none()).collect()))
    }
}

impl Audit {
    /// Writes a line, unless too many of that kind were written within this second; the next line
    /// says how many were not.
    pub fn note(&self, event: SecurityEvent, user: Option<UserId>, session: Option<SessionId>) {
        self.note_code(event, user, session, None);
    }

    /// The same with the code that was answered.
    pub fn note_code(
        &self,
        event: SecurityEvent,
        user: Option<UserId>,
        session: Option<SessionId>,
        code: Option<&'static str>,
    ) {
        let Some(dropped) = self.turn(event, Instant::now()) else { return };
        let (name, user, session) = (event.value(), user.map(|id| id.0), session.map(|id| id.0));
        let dropped = (dropped > 0).then_some(dropped);
        if matches!(event, SecurityEvent::TokenReused | SecurityEvent::Flooded) {
            tracing::warn!(
                target: "security",
                { security.event = name,
                security.code = code,
                security.not_logged = dropped,
                user.id = user,
                session.id = session },
                "security: {name}"
            );
        } else {
            tracing::info!(
                target: "security",
                { security.event = name,
                security.code = code,
                security.not_logged = dropped,
                user.id = user,
                session.id = session },
                "security: {name}"
            );
        }
    }

    /// How many lines were dropped before this one; `None`: this one is dropped.
    fn turn(&self, event: SecurityEvent, now: Instant) -> Option<u64> {
        let mut written = self.0.get(event.index())?.lock();
        if now.duration_since(written.since) >= SECOND {
            *written = Written { since: now, lines: 0, ..*written };
        }
        if written.lines == LINES_PER_SECOND {
            written.dropped += 1;
            return None;
        }
        written.lines += 1;
        Some(std::mem::take(&mut written.dropped))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_flood_is_no_flood_of_lines_and_says_how_large_it_was() {
        let (audit, start) = (Audit::default(), Instant::now());
        let turns: Vec<_> = (0..100).map(|_| audit.turn(SecurityEvent::LoginFailed, start)).collect();
        assert_eq!(turns.iter().flatten().count(), 20);
        assert_eq!(audit.turn(SecurityEvent::TokenReused, start), Some(0), "other kinds have lines of their own");
        assert_eq!(audit.turn(SecurityEvent::LoginFailed, start + SECOND), Some(80));
        assert_eq!(audit.turn(SecurityEvent::LoginFailed, start + SECOND), Some(0));
    }
}
