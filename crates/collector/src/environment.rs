//! Time and randomness, brought in from outside so that tests decide them.

use std::fmt;
use std::time::SystemTime;

/// What the collector takes from its surroundings besides files and sockets.
pub trait Environment: fmt::Debug + Send + Sync + 'static {
    /// Milliseconds since the Unix epoch.
    fn unix_ms(&self) -> i64;

    /// Fills `bytes` with what nobody can guess.
    fn random(&self, bytes: &mut [u8]) -> std::io::Result<()>;
}

/// The system's clock and random numbers.
#[derive(Clone, Copy, Debug, Default)]
pub struct System;

impl Environment for System {
    fn unix_ms(&self) -> i64 {
        let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
        i64::try_from(since.as_millis()).unwrap_or(i64::MAX)
    }

    fn random(&self, bytes: &mut [u8]) -> std::io::Result<()> {
        getrandom::fill(bytes).map_err(std::io::Error::other)
    }
}
