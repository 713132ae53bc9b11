//! `cargo xtask bench collector`: events over the real protocol to a collector process, durable, gzip, signed, in an S3
//! server; what that costs, and what the machine's own limits are in the same run.
//!
//! 1. The collector starts and idles.
//! 2. One source sends 5,000 events a second. The ack is compared to the disk's own fdatasync right after.
//! 3. Two sources send as fast as they get acks. CPU is the collector's own, user and system, until everything is in
//!    the bucket.
//! 4. The bucket is read back and verified: every event exactly once.

mod bucket;
mod events;
mod limits;
mod load;
#[path = "../shared.rs"]
mod shared;
mod usage;

use std::path::PathBuf;
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use clap::{Parser, ValueEnum};
use serde_json::json;
use sidetrail_archive::verify::Outcome;
use sidetrail_tests::collector::Settings;
use sidetrail_tests::{Collector, SeaweedFs, archive, wait_for};

use events::Pool;
use load::{Load, Pace};
use shared::round;
use usage::Usage;

/// Rotation as shipped, but for the age: what is left at the end shall not wait for a minute.
const SETTINGS: Settings =
    Settings { rotate_age: "1s", rotate_size: "16MiB", budget: "1GiB", segment: "16MiB", grace: "30s" };

/// Until the collector has nothing more to do at its start.
const SETTLE: Duration = Duration::from_secs(5);

/// The store may be slow, and others may use the machine.
const PATIENCE: Duration = Duration::from_secs(600);

const POLL: Duration = Duration::from_millis(50);

/// As fast as acks allow: two sources, 500 events a batch, 8 batches on their way.
const FULL: [Load; 2] = [
    Load { source: 1, batch: 500, window: 8, pace: None },
    Load { source: 2, batch: 500, window: 8, pace: None },
];

/// 5,000 events a second for 8 seconds.
const PACED: Load =
    Load { source: 3, batch: 50, window: 64, pace: Some(Pace { batch_every: Duration::from_millis(10) }) };
const PACED_EVENTS: u64 = 40_000;

#[derive(Debug, Parser)]
#[command(name = "cargo xtask bench collector --")]
struct Arguments {
    /// Events that are sent as fast as possible
    #[arg(long, default_value_t = 200_000, value_parser = clap::value_parser!(u64).range(1_000..))]
    events: u64,
    /// Where it ships to
    #[arg(long, value_enum, default_value_t = Kind::S3)]
    store: Kind,
    /// Directory for spool and bucket; one of its own in the system's temporary directory by default
    #[arg(long)]
    dir: Option<PathBuf>,
    /// Sleep so long before step 3, for attaching a profiler to the process that is named then
    #[arg(long, default_value_t = 0)]
    attach: u64,
    /// Cargo says so
    #[arg(long, hide = true)]
    bench: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Kind {
    /// SeaweedFS on this machine
    S3,
    /// A local directory
    Dir,
}

fn main() -> Result<()> {
    let arguments = Arguments::parse();
    let load_average = shared::warn_of_load()?;
    let directory = match &arguments.dir {
        Some(dir) => tempfile::tempdir_in(dir)?,
        None => tempfile::tempdir()?,
    };
    let store = (arguments.store == Kind::S3).then(SeaweedFs::start).transpose()?;
    let mut collector = Collector::new(directory.path(), SETTINGS)?;
    if let Some(store) = &store {
        collector = collector.with_store(store, &store.bucket("bench")?)?;
    }
    let pool = Pool::generate()?;

    eprintln!("1. idle for {SETTLE:?}");
    collector.start()?;
    let id = collector.process().context("it runs")?.id();
    thread::sleep(SETTLE);
    let idle = Usage::of(id)?;

    eprintln!("2. {PACED_EVENTS} events at 5,000/s");
    let paced_acks = load::send(&collector.socket(), &pool, &[PACED], PACED_EVENTS)?;
    stored(&collector, PACED_EVENTS)?;
    let paced = Usage::of(id)?;
    let fdatasync = limits::fdatasync(directory.path())?;

    let events = arguments.events;
    eprintln!("3. {events} events as fast as it goes, collector {id}");
    thread::sleep(Duration::from_secs(arguments.attach));
    let before = Usage::of(id)?;
    let began = Instant::now();
    let acks = load::send(&collector.socket(), &pool, &FULL, events)?;
    let acked = began.elapsed();
    stored(&collector, PACED_EVENTS + events)?;
    let took = began.elapsed();
    let after = Usage::of(id)?;
    collector.stop()?;

    eprintln!("4. reading back");
    let mut sent: Vec<(u8, u64)> = vec![(PACED.source, PACED_EVENTS)];
    sent.extend(FULL.iter().map(|load| (load.source, events / FULL.len() as u64)));
    let found = bucket::read_back(&collector, &sent)?;
    let report = archive::verify(&collector)?;
    ensure!(report.outcome() == Outcome::Valid, "the bucket does not verify: {report:?}");
    let limits = limits::of_content(&found.sample, found.content_bytes as f64 / found.records as f64)?;

    let per_million = |seconds: f64| seconds * 1e6 / events as f64;
    let cpu = after.cpu() - before.cpu();
    eprintln!("CPU-s per million by thread:");
    for (name, seconds) in after.threads_since(&before) {
        eprintln!("  {name:<20} {:.2}", per_million(seconds));
    }
    limits.print();
    let milliseconds = |duration: Duration| round(duration.as_secs_f64() * 1000.0);
    let paced_p99 = quantile(&paced_acks, 0.99);
    let fdatasync_p99 = quantile(&fdatasync, 0.99);
    let figures = json!({
        "events": events,
        "store": format!("{:?}", arguments.store).to_lowercase(),
        "cpu_s_per_million": round(per_million(cpu)),
        "cpu_user_s_per_million": round(per_million(after.user - before.user)),
        "cpu_system_s_per_million": round(per_million(after.system - before.system)),
        "limit_cpu_s_per_million": round(limits.gzip3 + limits.sha256),
        "limit_gzip3_s_per_million": round(limits.gzip3),
        "limit_sha256_s_per_million": round(limits.sha256),
        "wall_acked_s": round(acked.as_secs_f64()),
        "wall_stored_s": round(took.as_secs_f64()),
        "ack_p50_ms": milliseconds(quantile(&acks, 0.5)),
        "ack_p99_ms": milliseconds(quantile(&acks, 0.99)),
        "paced_ack_p50_ms": milliseconds(quantile(&paced_acks, 0.5)),
        "paced_ack_p99_ms": milliseconds(paced_p99),
        "fdatasync_p50_ms": milliseconds(quantile(&fdatasync, 0.5)),
        "fdatasync_p99_ms": milliseconds(fdatasync_p99),
        "ack_p99_over_fdatasync_p99": round(paced_p99.as_secs_f64() / fdatasync_p99.as_secs_f64()),
        "rss_idle_mib": idle.rss_mib(),
        "rss_paced_mib": paced.rss_mib(),
        "rss_peak_mib": after.peak_mib(),
        "bytes_per_event": round(found.content_bytes as f64 / found.records as f64),
        "stored_bytes_per_event": round(found.stored_bytes as f64 / found.records as f64),
        "stored_ratio": round(found.stored_bytes as f64 / found.content_bytes as f64),
        "log_files": found.files,
        "lost": found.lost,
        "duplicates": found.duplicates,
        "load": load_average,
    });
    println!("{figures}");
    ensure!(found.lost == 0 && found.duplicates == 0, "not exactly once: {}", found.details);
    Ok(())
}

/// Waits until this many events are in the store.
fn stored(collector: &Collector, events: u64) -> Result<()> {
    wait_for("the last event in the store", PATIENCE, || {
        thread::sleep(POLL);
        let shipped = collector.metrics()?.get("sidetrail_trail_events_shipped_total").copied();
        Ok(shipped.filter(|count| *count >= events as f64).map(|_| ()))
    })
}

/// Of sorted values, the one that `share` of them do not exceed.
fn quantile(sorted: &[Duration], share: f64) -> Duration {
    let last = sorted.len().saturating_sub(1);
    sorted.get((last as f64 * share).round() as usize).copied().unwrap_or_default()
}
