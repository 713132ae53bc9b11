//! How many connections there may be, and which there are.

use std::collections::HashMap;
use std::net::{IpAddr, Ipv6Addr};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::connection::Link;

/// Whom connections are counted by.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum Origin {
    User(u32),
    Address(IpAddr),
}

impl Origin {
    /// An IPv6 host has a network of 64 bits to choose addresses from, so that counts as one.
    pub(super) fn of(address: IpAddr) -> Self {
        Self::Address(match address.to_canonical() {
            IpAddr::V6(v6) => {
                let [a, b, c, d, ..] = v6.segments();
                Ipv6Addr::new(a, b, c, d, 0, 0, 0, 0).into()
            }
            v4 @ IpAddr::V4(_) => v4,
        })
    }
}

/// Why there is no place. The words are labels of a metric.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Full {
    Total,
    PerPeer,
}

/// The connections there are.
#[derive(Debug, Default)]
pub(super) struct Places(Mutex<State>);

#[derive(Debug, Default)]
struct State {
    next: u64,
    per_origin: HashMap<Origin, u32>,
    /// Those that are past their handshake, for who has to close them.
    links: HashMap<u64, Arc<Link>>,
    taken: u32,
}

/// A place for one connection, given up when dropped.
#[derive(Debug)]
pub(super) struct Place {
    places: Arc<Places>,
    origin: Origin,
    id: u64,
}

impl Places {
    /// Takes a place if fewer than `total` are taken, and fewer than `per_peer` by this origin.
    pub(super) fn enter(self: &Arc<Self>, origin: Origin, total: u32, per_peer: u32) -> Result<Place, Full> {
        let mut state = self.lock();
        if state.taken >= total {
            return Err(Full::Total);
        }
        let of_origin = state.per_origin.entry(origin).or_insert(0);
        if *of_origin >= per_peer {
            return Err(Full::PerPeer);
        }
        *of_origin += 1;
        state.taken += 1;
        state.next += 1;
        Ok(Place { places: Arc::clone(self), origin, id: state.next })
    }

    /// Closes the connections that `stays` does not hold for. How many.
    pub(super) fn close_unless(&self, stays: impl Fn(&Link) -> bool) -> usize {
        let state = self.lock();
        let mut closed = 0;
        for link in state.links.values().filter(|link| !stays(link)) {
            link.close();
            closed += 1;
        }
        closed
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Place {
    /// Who has this place.
    pub(super) fn hold(&self, link: Arc<Link>) {
        self.places.lock().links.insert(self.id, link);
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut state = self.places.lock();
        state.taken -= 1;
        state.links.remove(&self.id);
        if let Some(of_origin) = state.per_origin.get_mut(&self.origin) {
            *of_origin -= 1;
            if *of_origin == 0 {
                state.per_origin.remove(&self.origin);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places_are_bounded_in_all_and_for_each() {
        let places = Arc::new(Places::default());
        let enter = |uid| places.enter(Origin::User(uid), 3, 2);
        let (one, two) = (enter(1).unwrap(), enter(1).unwrap());
        assert_eq!(enter(1).unwrap_err(), Full::PerPeer);
        let other = enter(2).unwrap();
        assert_eq!(enter(3).unwrap_err(), Full::Total);
        drop(one);
        let again = enter(1).unwrap();
        drop((two, other, again));
        assert_eq!(places.lock().taken, 0);
        assert!(places.lock().per_origin.is_empty(), "what is counted is forgotten");
    }

    #[test]
    fn one_ipv6_network_is_one_peer() {
        let origin = |text: &str| Origin::of(text.parse().unwrap());
        assert_eq!(origin("2001:db8:1:2::1"), origin("2001:db8:1:2:ffff::9"));
        assert_ne!(origin("2001:db8:1:2::1"), origin("2001:db8:1:3::1"));
        assert_ne!(origin("192.0.2.1"), origin("192.0.2.2"));
        assert_eq!(origin("::ffff:192.0.2.1"), origin("192.0.2.1"));
    }
}
