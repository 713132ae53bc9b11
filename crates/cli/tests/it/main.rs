//! Runs the built binary on archives in temporary directories and against a collector of the tests' own.
#![expect(clippy::unwrap_used, reason = "tests panic")]

mod cat;
mod collector;
mod keys;
mod logged;
mod prove;
mod report;
mod run;
mod send;
mod usage;
mod verify;
mod write;
