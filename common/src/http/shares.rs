//! What is shared out: so much in all, and so much of it to one address and to one IPv6 /48, so
//! that none takes it all (G9).

use crate::service::network;
use parking_lot::Mutex;
use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::net::IpAddr;
use std::sync::Arc;

/// How much there is.
#[derive(Clone, Copy, Debug)]
pub(super) struct Bounds {
    pub all: usize,
    pub address: usize,
    /// Of IPv6 alone: an IPv4 site is an address.
    pub site: usize,
}

/// What has no room.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Full {
    All,
    /// The address, or its site.
    Address,
}

pub(super) struct Shares {
    bounds: Bounds,
    taken: Mutex<Taken>,
}

#[derive(Default)]
struct Taken {
    all: usize,
    by_address: HashMap<IpAddr, usize>,
    by_site: HashMap<IpAddr, usize>,
}

/// A part that is taken, until it is dropped.
pub(super) struct Share {
    of: Arc<Shares>,
    size: usize,
    holder: Option<IpAddr>,
}

impl Shares {
    pub(super) fn new(bounds: Bounds) -> Arc<Self> {
        Arc::new(Self { bounds, taken: Mutex::default() })
    }

    /// A share of this size. `None` counts for no address.
    pub(super) fn take(self: &Arc<Self>, size: usize, holder: Option<IpAddr>) -> Result<Share, Full> {
        self.add(size, holder)?;
        Ok(Share { of: Arc::clone(self), size, holder })
    }

    fn add(&self, size: usize, holder: Option<IpAddr>) -> Result<(), Full> {
        let mut taken = self.taken.lock();
        let all = taken.all.saturating_add(size);
        if all > self.bounds.all {
            return Err(Full::All);
        }
        if let Some(address) = holder {
            let of_address = of(&taken.by_address, address).saturating_add(size);
            let network = site(address);
            let of_site = network.map_or(0, |network| of(&taken.by_site, network).saturating_add(size));
            if of_address > self.bounds.address || of_site > self.bounds.site {
                return Err(Full::Address);
            }
            taken.by_address.insert(address, of_address);
            if let Some(network) = network {
                taken.by_site.insert(network, of_site);
            }
        }
        taken.all = all;
        Ok(())
    }

    /// Whether nothing is taken, nor remembered of any address.
    #[cfg(test)]
    pub(super) fn are_whole(&self) -> bool {
        let taken = self.taken.lock();
        taken.all == 0 && taken.by_address.is_empty() && taken.by_site.is_empty()
    }
}

impl Share {
    pub(super) fn size(&self) -> usize {
        self.size
    }

    /// Makes it larger.
    pub(super) fn grow(&mut self, by: usize) -> Result<(), Full> {
        self.of.add(by, self.holder)?;
        self.size += by;
        Ok(())
    }
}

impl Drop for Share {
    fn drop(&mut self) {
        let mut taken = self.of.taken.lock();
        taken.all -= self.size;
        if let Some(address) = self.holder {
            give_back(&mut taken.by_address, address, self.size);
            if let Some(site) = site(address) {
                give_back(&mut taken.by_site, site, self.size);
            }
        }
    }
}

fn site(address: IpAddr) -> Option<IpAddr> {
    address.is_ipv6().then(|| network::site(address))
}

fn of(counts: &HashMap<IpAddr, usize>, key: IpAddr) -> usize {
    counts.get(&key).copied().unwrap_or_default()
}

fn give_back(counts: &mut HashMap<IpAddr, usize>, key: IpAddr, size: usize) {
    if let Entry::Occupied(mut count) = counts.entry(key) {
        *count.get_mut() -= size;
        if *count.get() == 0 {
            count.remove();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn neither_an_address_nor_a_site_takes_all() {
        let ip = |text: &str| Some(text.parse::<IpAddr>().expect("an address"));
        let shares = Shares::new(Bounds { all: 10, address: 4, site: 6 });
        let mut held = vec![shares.take(3, ip("2001:db8:1::")).expect("a share")];
        assert_eq!(shares.take(2, ip("2001:db8:1::")).err(), Some(Full::Address));
        assert_eq!(held[0].grow(2), Err(Full::Address));
        assert_eq!(held[0].grow(1), Ok(()));
        assert_eq!(shares.take(3, ip("2001:db8:1:1::")).err(), Some(Full::Address), "the site");
        held.push(shares.take(2, ip("2001:db8:1:1::")).expect("a share"));
        held.push(shares.take(3, ip("192.0.2.1")).expect("a share"));
        assert_eq!(shares.take(2, ip("192.0.2.2")).err(), Some(Full::All));
        assert_eq!(shares.take(2, None).err(), Some(Full::All));
        held.push(shares.take(1, None).expect("a share"));
        drop(held);
        assert!(shares.are_whole(), "an address without a share costs nothing");
    }
}
