//! Trails: each reads the spool by its own cursor and fills its own bucket.

mod batch;
mod destination;
mod shipper;
mod state;
mod worker;

pub(crate) use destination::StoreDestination;
#[cfg(test)]
pub(crate) use destination::{Destination, DestinationError};
#[cfg(test)]
pub(crate) use shipper::Step;
pub(crate) use shipper::{Shipped, Shipper, Trail};
pub(crate) use state::{Counts, Progress, StateError};
pub(crate) use worker::{Surroundings, Worker};
