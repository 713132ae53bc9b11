//! Trails: each reads the spool by its own cursor and fills its own bucket.

mod batch;
mod destination;
mod forward;
mod open;
mod shipper;
mod state;
mod window;
mod worker;

pub(crate) use destination::{Destination, DestinationError, StoreDestination};
pub(crate) use open::{Opener, forget_others};
pub(crate) use shipper::{MAX_STORED_LOG, Shipped};
pub(crate) use state::Counts;
pub(crate) use worker::Worker;
