//! The Sidetrail sidecar: takes events over gRPC, makes them durable, and ships them as signed CloudTrail log files.
//!
//! ```text
//!  stream ─▶ intake ─▶ spool (fsync) ─▶ ack        trail: gather ─▶ plan ─▶ log file ─▶ manifest ─▶ cursor
//!            render     ledger                     one thread each, its own cursor, its own bucket
//! ```
//!
//! [`Config`] is what the YAML file says, [`Collector`] what runs. An event is acked once it is on disk; a segment of the
//! spool goes once every trail has its events in the store, confirmed. Whatever is interrupted goes on from what is on
//! disk: see the modules `ledger` and `trail`. A call that was announced and of which nothing came is recorded by the
//! collector itself: see `intake::emitter`.

mod collector;
pub mod config;
mod control;
mod digests;
mod environment;
pub mod explain;
mod flush;
mod gateway;
mod health;
mod identity;
mod intake;
mod ledger;
mod listen;
mod metrics;
mod pressure;
mod reload;
mod selection;
mod serve;
#[cfg(test)]
mod simulation;
mod space;
mod trail;

pub use collector::{Collector, Ended, StartError, check_files};
pub use config::{Config, ConfigError};
pub use control::{AssignmentError, Assignments};
pub use digests::DigestError;
pub use environment::{Environment, System};
#[cfg(feature = "testing")]
pub use gateway::testing;
pub use identity::IdentityError;
pub use ledger::MAX_SOURCES;
pub use reload::{ReloadError, Watch};
pub use sidetrail_archive::causes::chain;
pub use sidetrail_wire::listen::TlsError;

/// Events in one batch from a sender.
pub const MAX_BATCH_EVENTS: usize = 2048;
/// Bytes of one batch from a sender, encoded.
pub const MAX_BATCH_BYTES: usize = 4 << 20;
