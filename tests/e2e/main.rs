//! The end-to-end suite: one binary, a module per subject.

mod bad_input;
mod crash;
mod demo;
mod gateway;
mod guarded;
mod intents;
mod replay;
mod store;
mod tamper;
