//! Actions that are remembered, by method and template.
//!
//! The table is on the way of every request. It has a fixed number of slots that are written once and never again, so a
//! reader takes no lock and waits for nobody.

use std::sync::{
    Arc, OnceLock,
    atomic::{AtomicUsize, Ordering},
};

use http::Method;

use super::Action;

/// Routes that are remembered. Beyond it names are derived anew each time, and coverage does not know of them.
pub(crate) const MAX_ROUTES: usize = 1024;

/// Half of them stay empty, so that a search is short.
const SLOTS: usize = 2 * MAX_ROUTES;

const _: () = assert!(SLOTS.is_power_of_two());

/// A remembered action.
#[derive(Debug)]
pub(crate) struct Entry {
    hash: u64,
    pub(crate) method: Method,
    pub(crate) template: Box<str>,
    pub(crate) action: Arc<Action>,
}

impl Entry {
    fn is(&self, hash: u64, method: &Method, template: &str) -> bool {
        self.hash == hash && *self.template == *template && self.method == *method
    }
}

/// The table: open addressing, in which a search ends at the first empty slot.
#[derive(Debug)]
pub(crate) struct Actions {
    slots: Box<[OnceLock<Box<Entry>>]>,
    taken: AtomicUsize,
}

impl Default for Actions {
    fn default() -> Self {
        Self { slots: (0..SLOTS).map(|_| OnceLock::new()).collect(), taken: AtomicUsize::new(0) }
    }
}

impl Actions {
    pub(crate) fn get(&self, method: &Method, template: &str) -> Option<Arc<Action>> {
        let hash = hash(method, template);
        let found = self.search(hash).map_while(OnceLock::get).find(|entry| entry.is(hash, method, template));
        found.map(|entry| Arc::clone(&entry.action))
    }

    /// Remembers an action; false if there is one already, or no room.
    pub(crate) fn keep(&self, method: &Method, template: &str, action: &Arc<Action>) -> bool {
        // Threads that are here together may pass the bound, each by one: there are slots enough.
        if self.taken.load(Ordering::Relaxed) >= MAX_ROUTES {
            return false;
        }
        let hash = hash(method, template);
        let (method, template, action) = (method.clone(), Box::from(template), Arc::clone(action));
        let mut new = Box::new(Entry { hash, method, template, action });
        for slot in self.search(hash) {
            new = match slot.set(new) {
                Ok(()) => {
                    self.taken.fetch_add(1, Ordering::Relaxed);
                    if let Some(entry) = slot.get() {
                        entry.action.seen.keep();
                    }
                    return true;
                }
                Err(new) => new,
            };
            // Of two that come at once for one route only the first gets in, and the other finds it here.
            if slot.get().is_some_and(|entry| entry.is(hash, &new.method, &new.template)) {
                return false;
            }
        }
        false
    }

    /// Everything that is remembered.
    pub(crate) fn iter(&self) -> impl Iterator<Item = &Entry> {
        self.slots.iter().filter_map(|slot| slot.get().map(|entry| &**entry))
    }

    /// The slots in the order in which a hash tries them.
    fn search(&self, hash: u64) -> impl Iterator<Item = &OnceLock<Box<Entry>>> {
        // The upper bits of a product are the mixed ones.
        let start = (hash >> 32) as usize % SLOTS;
        self.slots[start..].iter().chain(&self.slots[..start])
    }
}

/// Cheap rather than strong: templates are the application's own, and of paths only those are kept that it answers to.
fn hash(method: &Method, template: &str) -> u64 {
    const FACTOR: u64 = 0x517c_c1b7_2722_0a95;
    let mut hash = 0_u64;
    let mut add = |word: u64| hash = (hash.rotate_left(5) ^ word).wrapping_mul(FACTOR);
    for bytes in [method.as_str().as_bytes(), template.as_bytes()] {
        let (words, rest) = bytes.as_chunks();
        words.iter().for_each(|word| add(u64::from_le_bytes(*word)));
        let last = rest.iter().fold(bytes.len() as u64, |last, byte| last << 8 | u64::from(*byte));
        add(last);
    }
    hash
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Level;

    fn action(name: &str) -> Arc<Action> {
        Arc::new(Action::derived(name.to_owned(), Level::Metadata, &Arc::default()))
    }

    #[test]
    fn what_is_kept_is_found() {
        let actions = Actions::default();
        assert!(actions.get(&Method::GET, "/orders").is_none());
        assert!(actions.keep(&Method::GET, "/orders", &action("ListOrders")));
        assert!(actions.keep(&Method::POST, "/orders", &action("CreateOrder")));
        assert!(!actions.keep(&Method::GET, "/orders", &action("Another")), "the first stays");
        let name = |method| actions.get(&method, "/orders").unwrap().fixed_name().unwrap().to_owned();
        assert_eq!([name(Method::GET), name(Method::POST)], ["ListOrders", "CreateOrder"]);
        assert!(actions.get(&Method::GET, "/orders/").is_none());
        assert!(actions.get(&Method::GET, "/orders").unwrap().seen.is_kept());
    }

    #[test]
    fn the_number_of_routes_is_bounded() {
        let actions = Actions::default();
        let action = action("Any");
        for index in 0..2 * MAX_ROUTES {
            assert_eq!(actions.keep(&Method::GET, &format!("/{index}"), &action), index < MAX_ROUTES);
        }
        assert_eq!(actions.iter().count(), MAX_ROUTES);
        for index in 0..MAX_ROUTES {
            assert!(actions.get(&Method::GET, &format!("/{index}")).is_some());
        }
    }

    #[test]
    fn threads_that_come_at_once_keep_a_route_once() {
        let actions = Actions::default();
        std::thread::scope(|scope| {
            for _ in 0..4 {
                scope.spawn(|| {
                    for index in 0..200 {
                        actions.keep(&Method::GET, &format!("/{index}"), &action("Any"));
                    }
                });
            }
        });
        assert_eq!(actions.iter().count(), 200);
    }

    #[test]
    fn templates_that_differ_little_differ_in_hash() {
        let hashes: std::collections::HashSet<u64> = (0..10_000)
            .flat_map(|index| {
                [hash(&Method::GET, &format!("/a{index}")), hash(&Method::PUT, &format!("/a{index}"))]
            })
            .collect();
        assert_eq!(hashes.len(), 20_000);
        assert_ne!(hash(&Method::GET, "/a"), hash(&Method::GET, "/a\0"));
    }
}
