//! Taking connections: a Unix socket, a TCP port, or both; who comes, and how many.
//!
//! ```text
//!  accept ─▶ place (total, per peer) ─▶ who is it ─▶ Connection ─▶ tonic
//!                                       uid, or TLS     idle and expiry timers, closed when no longer allowed
//! ```

mod accept;
mod connection;
mod places;
mod quiet;
mod socket;

pub(crate) use accept::Gate;
pub(crate) use connection::Link;
pub(crate) use socket::{SocketFile, bind_socket};
