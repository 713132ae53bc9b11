//! `--outage`: the store goes away, the spool fills, the collector starts again with all that.
//!
//! The store stays away, so of the backlog nothing is shipped and nothing verified: that is for the end-to-end suite.
//!
//! # Figures
//!
//! | name | what |
//! |---|---|
//! | `events`, `spooled_bytes`, `filled_s` | what was sent, what the spool's files take, how long that took at full speed |
//! | `ready_s` | from the start of a process on that spool until it says that it is ready |
//! | `rss_idle_mib` | at first |
//! | `rss_1000_mib` | the most seen at 1,000 events/s with the store there, after a burst at full speed |
//! | `rss_outage_1000_mib` | the same with the store away and the spool full; `rss_outage_over_before` is their ratio |
//! | `rss_outage_peak_mib` | the most that the system has seen since the start, the fill at full speed included |
//! | `rss_ready_mib`, `rss_ready_peak_mib` | of the process that was started on that spool, five seconds later |

use std::path::Path;
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Result, ensure};
use serde_json::json;
use sidetrail_tests::collector::Settings;
use sidetrail_tests::{Collector, SeaweedFs};

use crate::events::Pool;
use crate::load::{self, Load, Pace};
use crate::usage::{self, Usage};
use crate::{SETTLE, SHIPPED, shared::round, start, stored};

/// Room for any backlog that can be asked for.
const SETTINGS: Settings = Settings { budget: "64GiB", ..SHIPPED };

/// Events that are sent between two looks at the spool, and how often at most: each time by sources of their own.
const ROUND: u64 = 400_000;
const MAX_ROUNDS: u8 = 120;
/// The sources below it are others.
const FIRST_ROUND: u8 = 2;

/// 1,000 events a second for 5 seconds.
const SLOW_EVENTS: u64 = 5_000;

pub(crate) fn run(pool: &Pool, directory: &Path, backlog: u64, hold: Duration) -> Result<()> {
    let mut store = SeaweedFs::start()?;
    let mut collector = Collector::new(directory, SETTINGS)?.with_store(&store, &store.bucket("bench")?)?;
    let id = start(&mut collector)?;
    thread::sleep(SETTLE);
    let idle = Usage::of(id)?;
    // As full a speed as is to come, or its traces in the allocator would pass for those of the outage.
    load::send(&collector.socket(), pool, &full(FIRST_ROUND), ROUND)?;
    stored(&collector, ROUND)?;
    let (before, _) = usage::most_while(id, || slow(&collector, pool, 1))?;
    store.stop()?;

    eprintln!("1. no store; {backlog} bytes into the spool");
    let began = Instant::now();
    let mut events = ROUND + 2 * SLOW_EVENTS;
    for round in FIRST_ROUND + 1..MAX_ROUNDS {
        if spooled(&collector)? >= backlog {
            break;
        }
        load::send(&collector.socket(), pool, &full(round), ROUND)?;
        events += ROUND;
    }
    let spooled = spooled(&collector)?;
    ensure!(spooled >= backlog, "{spooled} bytes are all that {MAX_ROUNDS} rounds make");
    let filled = began.elapsed();

    eprintln!("2. {hold:?} at 1,000/s with {spooled} bytes in the spool");
    let peak = Usage::of(id)?.peak_mib();
    thread::sleep(hold);
    let (during, _) = usage::most_while(id, || slow(&collector, pool, 2))?;

    eprintln!("3. killed, and started again");
    collector.kill()?;
    let began = Instant::now();
    let id = start(&mut collector)?;
    let ready = began.elapsed();
    thread::sleep(SETTLE);
    let again = Usage::of(id)?;
    collector.kill()?;

    println!(
        "{}",
        json!({
            "events": events,
            "spooled_bytes": spooled,
            "filled_s": round(filled.as_secs_f64()),
            "ready_s": round(ready.as_secs_f64()),
            "rss_idle_mib": idle.rss_mib(),
            "rss_1000_mib": before,
            "rss_outage_peak_mib": peak,
            "rss_outage_1000_mib": during,
            "rss_outage_over_before": round(during / before),
            "rss_ready_mib": again.rss_mib(),
            "rss_ready_peak_mib": again.peak_mib(),
        })
    );
    Ok(())
}

/// The two sources of a round.
fn full(round: u8) -> [Load; 2] {
    [2 * round, 2 * round + 1].map(|source| Load { source, batch: 500, window: 8, pace: None })
}

fn slow(collector: &Collector, pool: &Pool, source: u8) -> Result<Vec<Duration>> {
    let pace = Some(Pace { batch_every: Duration::from_millis(20) });
    let load = Load { source, batch: 20, window: 64, pace };
    load::send(&collector.socket(), pool, &[load], SLOW_EVENTS)
}

fn spooled(collector: &Collector) -> Result<u64> {
    Ok(collector.metrics()?.get("sidetrail_spool_bytes").copied().unwrap_or_default() as u64)
}
