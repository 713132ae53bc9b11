//! Notifications: who wants to know hears of each log file and digest that a trail delivered.
//!
//! ```text
//! bucket ─ look ─▶ what is new ─ message ─▶ topic ─▶ webhook | NATS
//!            ▲                                │ delivered
//!            └────────── progress ◀───────────┘   (state, in versions)
//! ```
//!
//! The bucket is the queue: nothing waits in memory, and what a dead endpoint was not told is found again. How far a trail
//! is through is a document in the state's bucket, which also says which of several servers is at it. A message is sent at
//! least once; sent again it has the same bytes and the same id. See "Notifications" in `crates/ARCHITECTURE.md`.

mod failure;
mod host;
mod look;
mod mark;
mod message;
mod nats;
mod progress;
mod topics;
mod webhook;
mod worker;

pub(crate) use host::Host;
pub(crate) use progress::Progress;
pub(crate) use topics::{Topics, arn};
