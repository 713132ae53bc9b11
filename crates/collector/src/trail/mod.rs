//! Trails: each reads the spool by its own cursor and fills its own bucket.

mod batch;
mod conflict;
mod destination;
mod forward;
mod open;
mod protection;
mod quarantine;
mod receipts;
mod retired;
mod roster;
mod shipper;
mod state;
mod window;
mod worker;

pub(crate) use batch::Unpacker;
pub(crate) use destination::{Destination, DestinationError, StoreDestination};
pub(crate) use open::{Opener, forget_others, open_store};
pub(crate) use protection::Wanted;
pub(crate) use retired::Retired;
pub(crate) use roster::{Roster, Wakers};
pub(crate) use shipper::{MAX_STORED_LOG, Shipped, failure_kinds};
#[cfg(test)]
pub(crate) use shipper::{Shipper, Step, Trail};
pub(crate) use state::Counts;
#[cfg(test)]
pub(crate) use state::Progress;
pub(crate) use worker::{Worker, step_back};
