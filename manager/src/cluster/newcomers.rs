//! Newcomers: connected peers whose first frame has not come yet, counted by source address.
//!
//! Keys cost nothing, but addresses do: one machine cannot take all places for newcomers, however many keys it has.

use std::collections::HashMap;
use std::net::{IpAddr, Ipv6Addr, SocketAddr};
use std::sync::Arc;

use parking_lot::{Mutex, MutexGuard};

/// Newcomers at a time: each may take 128 KiB of window for five seconds, all together 128 MiB.
const NEWCOMERS_MAX: usize = 1024;

/// Those of one source: a room of machines behind one address may start together; the rest try again.
const NEWCOMERS_OF_A_SOURCE_MAX: usize = 256;

/// The source of a connection: an IPv4 address, or the upper 64 bits of an IPv6 address, because one machine has all
/// addresses below them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) struct PeerSource(IpAddr);

impl PeerSource {
    pub(crate) fn of(address: SocketAddr) -> Self {
        Self(match address.ip().to_canonical() {
            IpAddr::V6(ip) => IpAddr::V6(Ipv6Addr::from_bits(ip.to_bits() >> 64 << 64)),
            ip @ IpAddr::V4(_) => ip,
        })
    }
}

/// Counts the newcomers of each source. Clones share the counts.
#[derive(Debug, Clone, Default)]
pub(crate) struct Newcomers(Arc<Mutex<HashMap<PeerSource, usize>>>);

/// A counted newcomer; dropping it removes it from the count.
#[derive(Debug)]
pub(crate) struct Newcomer {
    all: Newcomers,
    source: PeerSource,
}

impl Newcomers {
    /// Counts a newcomer; `None` if there are too many in all, or of its source.
    pub(crate) fn come(&self, address: SocketAddr) -> Option<Newcomer> {
        let source = PeerSource::of(address);
        let mut sources = self.lock();
        let all: usize = sources.values().sum();
        let count = sources.get(&source).copied().unwrap_or_default();
        if all >= NEWCOMERS_MAX || count >= NEWCOMERS_OF_A_SOURCE_MAX {
            return None;
        }
        sources.insert(source, count + 1);
        Some(Newcomer { all: self.clone(), source })
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<PeerSource, usize>> {
        self.0.lock()
    }
}

impl Drop for Newcomer {
    fn drop(&mut self) {
        let mut sources = self.all.lock();
        if let Some(count) = sources.get_mut(&self.source) {
            *count -= 1;
            if *count == 0 {
                sources.remove(&self.source);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_source_takes_a_part_of_the_room_and_gives_it_back() {
        let newcomers = Newcomers::default();
        let from = |address: &str| newcomers.come(address.parse().unwrap());
        let mut held: Vec<_> = (0..NEWCOMERS_OF_A_SOURCE_MAX)
            .map(|port| from(&format!("192.0.2.1:{}", port + 1)).unwrap())
            .collect();
        assert!(from("192.0.2.1:1").is_none());
        assert!(from("[::ffff:192.0.2.1]:1").is_none(), "the same address, written otherwise");
        let other = from("192.0.2.2:1");
        assert!(other.is_some());
        held.pop();
        assert!(from("192.0.2.1:1").is_some());
        drop((held, other));
        assert!(newcomers.lock().is_empty());
    }

    #[test]
    fn a_machine_is_one_source_with_all_its_addresses_and_all_sources_together_have_an_end() {
        let newcomers = Newcomers::default();
        let from = |address: String| newcomers.come(address.parse().unwrap());
        let one: Vec<_> = (0..300).filter_map(|host| from(format!("[2001:db8::{host:x}]:1"))).collect();
        assert_eq!(one.len(), NEWCOMERS_OF_A_SOURCE_MAX);
        let others: Vec<_> =
            (1..2000).filter_map(|network| from(format!("[2001:db8:0:{network:x}::1]:1"))).collect();
        assert_eq!(one.len() + others.len(), NEWCOMERS_MAX);
    }
}
