//! The spool against a file system that loses power, fills up and lies, and once against a real one.
#![expect(clippy::unwrap_used, clippy::panic, reason = "tests panic")]

mod committer;
mod damage;
mod driver;
mod faults;
mod model;
mod real;
mod space;

use sidetrail_spool::testing as memory;
