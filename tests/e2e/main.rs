//! The end-to-end suite: one binary, a module per subject.

mod api_digests;
mod bad_input;
mod crash;
mod demo;
mod digests;
mod failures;
mod gateway;
mod guarded;
mod history;
mod hop;
mod injected;
mod intents;
mod keys;
mod matrix;
mod pod;
mod protection;
mod race;
mod reload;
mod replay;
mod servers;
mod signers;
mod store;
mod suppression;
mod tamper;
mod tls;
mod trails;
