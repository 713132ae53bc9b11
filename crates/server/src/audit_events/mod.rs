//! Events that `PutAuditEvents` brings: made records of, and left to a collector, by the protocol that applications have.
//! What is answered as taken is on that collector's disk.

mod delivery;
pub(crate) mod otlp;
mod record;

pub(crate) use delivery::{Delivery, Undelivered};
pub(crate) use record::{Channel, record};
