//! Trails: each reads the spool by its own cursor and fills its own bucket.

mod batch;
mod conflict;
mod destination;
mod open;
mod protection;
mod quarantine;
mod receipts;
mod roster;
mod shipper;
mod state;
mod worker;

#[cfg(test)]
pub(crate) use destination::{Destination, DestinationError};
pub(crate) use open::{Opener, forget_others};
pub(crate) use roster::{Roster, Wakers};
pub(crate) use shipper::{Shipped, failure_kinds};
#[cfg(test)]
pub(crate) use shipper::{Shipper, Step, Trail};
pub(crate) use state::Counts;
#[cfg(test)]
pub(crate) use state::Progress;
pub(crate) use worker::Worker;
