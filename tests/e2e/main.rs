//! The end-to-end suite: one binary, a module per subject.

mod bad_input;
mod crash;
mod replay;
mod store;
