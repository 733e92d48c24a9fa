//! Who counts as one caller of a public request, by the address.

use sha2::{Digest, Sha256};
use std::net::{IpAddr, Ipv6Addr};

/// The unit that a limit counts: an IPv4 address, or the /64 that one IPv6 subscriber has.
pub fn subscriber(address: IpAddr) -> IpAddr {
    masked(address, 64)
}

/// The same as the subject of a limit.
pub fn subject(address: IpAddr) -> String {
    match subscriber(address) {
        IpAddr::V4(address) => address.to_string(),
        IpAddr::V6(network) => format!("{network}/64"),
    }
}

/// The public requests of a whole IPv6 /48, in shares of one subscriber.
pub const SITE_SHARES: u32 = 8;

/// The unit that one owner may have: an IPv4 address, or an IPv6 /48 with its 65,536 subscribers.
pub fn site(address: IpAddr) -> IpAddr {
    masked(address, 48)
}

/// The address's [`site`] as the store keeps it: a number, so that nobody reads addresses there.
pub(super) fn stored(address: IpAddr) -> i64 {
    let bytes = match site(address) {
        IpAddr::V4(address) => address.to_ipv6_mapped().octets(),
        IpAddr::V6(address) => address.octets(),
    };
    let digest = Sha256::digest(bytes);
    digest.iter().take(8).fold(0, |number, byte| number << 8 | i64::from(*byte))
}

fn masked(address: IpAddr, prefix: u32) -> IpAddr {
    match address {
        IpAddr::V4(address) => IpAddr::V4(address),
        IpAddr::V6(address) => IpAddr::V6(Ipv6Addr::from_bits(address.to_bits() & (u128::MAX << (128 - prefix)))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn address(text: &str) -> IpAddr {
        text.parse().expect("an address")
    }

    #[test]
    fn one_subscriber_is_one_subject_and_one_site_may_have_many() {
        assert_eq!(subject(address("1.2.3.4")), "1.2.3.4");
        let (one, other) = (address("2001:db8:1:2:3::4"), address("2001:db8:1:9::1"));
        assert_eq!(subject(one), "2001:db8:1:2::/64");
        assert_ne!(subject(one), subject(other));
        assert_eq!(site(one), site(other));
        assert_ne!(site(one), site(address("2001:db8:2::1")));
        assert_eq!(site(address("1.2.3.4")), address("1.2.3.4"));
    }

    #[test]
    fn sites_are_kept_apart() {
        assert_ne!(stored(address("1.2.3.4")), stored(address("1.2.3.5")));
        assert_eq!(stored(address("2001:db8:1:2::")), stored(address("2001:db8:1:9::")));
    }
}
