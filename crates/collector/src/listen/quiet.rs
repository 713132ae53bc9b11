//! Peers decide how often they are refused, so that must not decide how much is logged.

use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

/// Refusals that are logged in one period; the metrics have all of them.
const LINES: u32 = 20;
const PERIOD: Duration = Duration::from_secs(10);

/// The lines of this period, and when it began.
static PERIOD_NOW: Mutex<Option<(Instant, u32)>> = Mutex::new(None);

/// Whether one more refusal is logged.
pub(super) fn allows() -> bool {
    let mut period = PERIOD_NOW.lock().unwrap_or_else(PoisonError::into_inner);
    allows_at(&mut period, Instant::now())
}

fn allows_at(period: &mut Option<(Instant, u32)>, now: Instant) -> bool {
    match period {
        Some((began, lines)) if now.saturating_duration_since(*began) < PERIOD => {
            *lines = lines.saturating_add(1);
            *lines <= LINES
        }
        _ => {
            *period = Some((now, 1));
            true
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_period_has_so_many_lines() {
        let (mut period, start) = (None, Instant::now());
        let said = (0..100).filter(|_| allows_at(&mut period, start)).count();
        assert_eq!(said, LINES as usize);
        assert!(allows_at(&mut period, start + PERIOD));
    }
}
