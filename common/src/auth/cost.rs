//! The work that the check of a password costs, so that a hash of other strength says nothing of
//! who exists.

use argon2::password_hash::Error as HashError;
use argon2::{Algorithm, Params, PasswordHash, Version};

/// A stored hash that asks for more memory is not checked: a row of the database must not take the
/// memory of the node.
const MOST_KIB: u32 = 4 * 1024 * 1024;
/// The same for passes and lanes.
const MOST_PASSES: u32 = 64;
const MOST_LANES: u32 = 64;

/// The parameters of a stored hash, within bounds.
pub(super) fn params_of(phc: &str) -> Result<Params, HashError> {
    parsed(phc).map(|(params, _)| params)
}

/// Whether a stored hash costs other memory or passes than one of these parameters, or is of
/// another kind.
pub(super) fn is_outdated(phc: &str, now: &Params) -> bool {
    parsed(phc).is_ok_and(|(params, is_current)| {
        !is_current || params.m_cost() != now.m_cost() || params.t_cost() != now.t_cost()
    })
}

fn parsed(phc: &str) -> Result<(Params, bool), HashError> {
    let hash = PasswordHash::new(phc).map_err(|_| HashError::EncodingInvalid)?;
    let params = Params::try_from(&hash)?;
    if params.m_cost() > MOST_KIB || params.t_cost() > MOST_PASSES || params.p_cost() > MOST_LANES {
        return Err(HashError::OutOfMemory);
    }
    let is_current = hash.algorithm == Algorithm::Argon2id.ident() && hash.version == Some(Version::V0x13.into());
    Ok((params, is_current))
}

/// The work of one computation: passes over KiB.
pub(super) fn work(params: &Params) -> u64 {
    u64::from(params.m_cost()) * u64::from(params.t_cost())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn params(memory_kib: u32, passes: u32) -> Params {
        Params::new(memory_kib, passes, 1, None).expect("parameters")
    }

    fn phc(kind: &str, version: u32, memory_kib: u32) -> String {
        format!(
            "${kind}$v={version}$m={memory_kib},t=2,p=1$AAAAAAAAAAAAAAAAAAAAAA$AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA"
        )
    }

    #[test]
    fn an_outdated_hash_is_known_by_any_of_its_parts() {
        let now = params(64, 2);
        assert!(!is_outdated(&phc("argon2id", 19, 64), &now));
        for outdated in
            [phc("argon2id", 19, 32), phc("argon2id", 19, 128), phc("argon2id", 16, 64), phc("argon2i", 19, 64)]
        {
            assert!(is_outdated(&outdated, &now), "{outdated}");
        }
        assert!(is_outdated(&phc("argon2id", 19, 64), &params(64, 3)));
        assert!(is_outdated(&phc("argon2id", 19, 64), &params(64, 1)));
        assert!(!is_outdated("plain", &now), "nothing fits it, so nothing renews it");
    }

    #[test]
    fn a_row_does_not_take_the_memory_of_the_node() {
        assert!(params_of(&phc("argon2id", 19, MOST_KIB)).is_ok());
        assert!(params_of(&phc("argon2id", 19, MOST_KIB + 1)).is_err());
        assert!(params_of(&phc("argon2id", 19, 64).replace("t=2", "t=65")).is_err());
        assert!(params_of("plain").is_err());
    }
}
