//! Of two decisions about a user's presence the later one holds (G5): deciders publish in no order,
//! and publish again what was not acknowledged.

use messenger_common::id::UserId;
use std::collections::HashMap;

/// Users of one period whose decisions are remembered at most; beyond it a new period begins.
pub(crate) const USERS_REMEMBERED: usize = 100_000;

/// When the newest change of a user was decided, of the present period and the one before it.
#[derive(Debug, Default)]
pub(crate) struct Decisions([HashMap<UserId, i64>; 2]);

impl Decisions {
    /// Whether this decision, or a later one about the user, came before. If not, it is remembered.
    pub(crate) fn is_outdated(&mut self, user: UserId, decided_at_micros: i64) -> bool {
        let known = self.0.iter().find_map(|of| of.get(&user)).copied();
        let outdated = known.is_some_and(|known| decided_at_micros <= known);
        if !outdated {
            if self.0[0].len() >= USERS_REMEMBERED {
                self.begin_period();
            }
            self.0[0].insert(user, decided_at_micros);
        }
        outdated
    }

    /// Forgets a decision that reaches nobody: it counts once it comes again.
    pub(crate) fn forget(&mut self, user: UserId) {
        for of in &mut self.0 {
            of.remove(&user);
        }
    }

    /// Forgets what is older than the present period.
    pub(crate) fn begin_period(&mut self) {
        self.0[1] = std::mem::take(&mut self.0[0]);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_remembered_is_bounded() {
        let (mut decisions, most) = (Decisions::default(), i64::try_from(USERS_REMEMBERED).expect("small"));
        assert!((0..3 * most).all(|user| !decisions.is_outdated(UserId(user), 1)));
        assert_eq!(decisions.0.each_ref().map(HashMap::len), [USERS_REMEMBERED; 2]);
        assert!(decisions.is_outdated(UserId(3 * most - 1), 1), "the newest are remembered");
        assert!(!decisions.is_outdated(UserId(3 * most - 1), 2));
    }
}
