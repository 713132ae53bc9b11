//! The two servers: webhooks over TLS for the API server, and probes, metrics and the page of unaudited pods.

mod accept;
mod pages;
mod tls;
mod webhook;

pub use accept::{Limits, serve_tls};
pub use pages::{Pages, pages};
pub use tls::{Presented, TlsError, acceptor};
pub use webhook::{Webhooks, webhooks};
