//! The end-to-end suite: one binary, a module per subject.

mod store;
