//! What the injector makes of pods: captured and made-up ones, judged by what a server and Pod Security would say.

#![expect(clippy::unwrap_used, clippy::panic, reason = "helpers of tests fail as tests do")]

mod api;
mod caller;
mod golden;
mod judge;
mod leases;
mod pods;
mod property;
mod questions;
mod rotation;
mod shapes;
mod together;
mod unaudited;
