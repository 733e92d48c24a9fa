//! The one spelling of an e-mail address, by which accounts are compared. Pure: imports nothing of
//! the crate.
//!
//! - Letters before the `@` are compared without case, as Unicode folds it in full: `ß` is `ss`,
//!   `ς` is `σ`. Composed, decomposed and wide letters are the same (NFKC).
//! - A domain is what the DNS is asked for (UTS 46): `bücher.example` is `xn--bcher-kva.example`.
//!   `ß` is a letter of its own there.

use unicase::UniCase;
use unicode_normalization::UnicodeNormalization;

/// The longest address, in Unicode scalar values (RFC 5321, section 4.5.3.1.3, less the angle
/// brackets, erratum 1690).
pub const LONGEST_CHARS: usize = 254;
/// A few characters stand for twenty. An index of Postgres takes 2,704 bytes.
const MOST_BYTES: usize = 2_000;

/// The spelling of an address, or of what was given in place of one. It depends on the lower-case
/// form alone.
pub fn spelling(address: &str) -> String {
    let lower = address.to_lowercase();
    // A longer address is nobody's, and a domain takes the longer the more labels it has.
    if lower.chars().nth(2 * LONGEST_CHARS).is_some() {
        return lower;
    }
    let Some((local, domain)) = lower.split_once('@') else { return lower };
    let domain = idna::domain_to_ascii(domain).unwrap_or_else(|_| folded(domain));
    let spelled = format!("{}@{domain}", folded(local));
    if spelled.len() > MOST_BYTES { lower } else { spelled }
}

/// Twice: `ﬃ` and `㎒` become letters only when they are taken apart, and these may have a case.
fn folded(text: &str) -> String {
    let once = |text: &str| UniCase::unicode(text.nfkc().collect::<String>()).to_folded_case();
    once(&once(text)).nfkc().collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn spellings_of_one_address_are_one() {
        for (one, other) in [
            ("ΟΔΥΣΣΕΑΣ@example.org", "οδυσσεας@example.org"),
            ("σίσυφος@example.org", "σίσυφοσ@example.org"),
            ("straße@example.org", "STRASSE@example.org"),
            ("straße@example.org", "STRAẞE@example.org"),
            ("caf\u{e9}@example.org", "cafe\u{301}@example.org"),
            ("ann@example.org", "ａＮｎ@ｅｘａｍｐｌｅ．ＯＲＧ"),
            ("ann@example.org", "ann@example。org"),
            ("a@bücher.example", "a@XN--bcher-KVA.example"),
            ("a@bücher.example", "A@BU\u{308}CHER.example"),
            ("ﬃ@example.org", "FFI@example.org"),
            ("㎒@example.org", "mhz@example.org"),
        ] {
            assert_eq!(spelling(one), spelling(other), "{one} {other}");
        }
        for (one, other) in [
            ("ı@example.org", "i@example.org"),
            ("é@example.org", "e@example.org"),
            ("a.b@example.org", "ab@example.org"),
            ("a+b@example.org", "a@example.org"),
            ("a@faß.example", "a@fass.example"),
            ("a@exämple.org", "a@example.org"),
        ] {
            assert_ne!(spelling(one), spelling(other), "{one} {other}");
        }
    }

    #[test]
    fn what_is_no_address_is_lowered() {
        for name in ["", "Ann", "Straße", "ＡＮＮ", "xn--0.", &"É".repeat(300_000)] {
            assert_eq!(spelling(name), name.to_lowercase());
        }
        for odd in ["@", "A@", "@B", "a@b@C", "a@xn--0", "a@xn--zzzzzz", "a@\u{200d}", "a@..", "a@b_c", "a@-b-.org"] {
            assert_eq!(spelling(odd), odd.to_lowercase(), "{odd:?}");
        }
    }

    /// An index of Postgres refuses what is longer than a third of its page.
    #[test]
    fn no_spelling_is_long() {
        for c in ['\u{fdfa}', 'ﷺ', '㋿', '㌖', 'ΐ', '𝕏', '字', '\u{1d160}'] {
            let many = c.to_string().repeat(LONGEST_CHARS - 2);
            let labels = format!("{c}.").repeat(LONGEST_CHARS / 2 - 2);
            for address in [format!("{many}@b"), format!("a@{many}"), format!("a@{labels}b")] {
                let spelled = spelling(&address);
                assert!(spelled.len() <= MOST_BYTES, "{c:?}: {}", spelled.len());
            }
        }
    }

    #[test]
    fn a_character_has_one_spelling_in_each_form() {
        // Those that change at all; a wide `@` becomes one.
        let all = (' '..'\u{20000}').chain('\u{2f800}'..'\u{2fa20}').filter(|c| c.nfkc().all(|c| c != '@'));
        for c in all.filter(|c| spelling(&format!("{c}@b")) != format!("{c}@b")) {
            let address = format!("x{c}y\u{345}\u{301}@b");
            let spelled = spelling(&address);
            for same in [address.nfd().collect(), address.nfc().collect(), spelled.clone()] {
                assert_eq!(spelling(&same), spelled, "{c:?}");
            }
        }
    }

    proptest! {
        #[test]
        fn ordinary_addresses_are_lowered(address in "[A-Za-z0-9._+-]{1,30}@[A-Za-z0-9]{1,9}(\\.[A-Za-z0-9]{1,9}){0,3}") {
            prop_assert_eq!(spelling(&address), address.to_lowercase());
        }

        #[test]
        fn the_spelling_is_of_the_lower_case(address in "\\PC{0,40}@\\PC{0,40}") {
            prop_assert_eq!(spelling(&address.to_lowercase()), spelling(&address));
        }
    }
}
