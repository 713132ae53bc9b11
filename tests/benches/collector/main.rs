//! `cargo xtask bench collector`: events over the real protocol to a collector process, durable, gzip, signed, in an S3
//! server; what that costs, and what the machine's own limits are in the same run.
//!
//! 1. The collector starts and idles, with the configuration that it has by itself.
//! 2. One source sends 1,000 events a second, then 5,000. The ack is compared to the disk's own fdatasync three times: at
//!    the load's pace while the load goes on and the store writes to the same disk, at that pace alone, and alone without
//!    a pause.
//! 3. The collector starts again. Two sources send as fast as they get acks. CPU is the collector's own, user and system,
//!    until everything is in the bucket.
//! 4. The bucket is read back and verified: every event exactly once. Each stage's own function is run on the same
//!    events, alone, and so is what nobody can avoid on this machine.
//!
//! `--outage` is another run: see `outage`.
//!
//! # Figures
//!
//! The last line is a JSON object. CPU is in seconds per million events (`…_s_per_million`), memory in MiB.
//!
//! | name | what |
//! |---|---|
//! | `cpu_s_per_million` | the collector's CPU in step 3, of it `cpu_user_…` and `cpu_system_…` |
//! | `cpu_s_per_million_scaled` | the same on the machine of the baseline, by the limits below |
//! | `limit_cpu_s_per_million` | gzip level 3 of zlib-rs and SHA-256 of the content, nothing else; `limit_…` each alone |
//! | `stage_…_s_per_million` | receive (all else of taking events), decode, render, pack (zstd), spool (append and sync), unpack, gzip, hash, ship (all else of shipping) |
//! | `rss_idle_mib`, `rss_1000_mib`, `rss_5000_mib` | resident memory in steps 1 and 2, the last two the most that was seen |
//! | `rss_peak_mib` | the most that the system has seen in step 3 |
//! | `paced_ack_…_ms` | step 2 at 5,000/s, beside the disk being measured |
//! | `fdatasync_…_ms` | the disk alone, asked as the spool asks it at 5,000/s: an append of 8 KiB each 10 ms, and its fdatasync |
//! | `fdatasync_unpaced_…_ms` | the disk alone and kept awake: 64 KiB at a time, without a pause |
//! | `fdatasync_during_…_ms` | the same while step 2 sends 5,000/s: what collector, store and system do to the disk and the cores is in it |
//! | `ack_p99_over_fdatasync_…p99` | the ack's p99 over each of the three |
//! | `ack_p50_ms`, `ack_p99_ms` | step 3, at the window's depth |
//! | `bytes_per_event`, `stored_ratio` | content; stored bytes per byte of content |
//! | `binary_stripped_mib` | the executable without symbols, null without `strip` |
//! | `lost`, `duplicates` | events that are not in the bucket, and how often one is there again |
//! | `load` | the system's load average at the start |

mod bucket;
mod events;
mod limits;
mod load;
mod outage;
#[path = "../shared.rs"]
mod shared;
mod stages;
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

/// As shipped, with room for what step 3 may queue.
const SHIPPED: Settings =
    Settings { rotate_age: "60s", rotate_size: "16MiB", budget: "1GiB", segment: "16MiB", grace: "30s" };

/// What is left at the end of step 3 shall not wait for a minute.
const HASTY: Settings = Settings { rotate_age: "1s", ..SHIPPED };

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

/// 1,000 events a second for 10 seconds.
const SLOW: Load =
    Load { source: 4, batch: 20, window: 64, pace: Some(Pace { batch_every: Duration::from_millis(20) }) };
const SLOW_EVENTS: u64 = 10_000;

/// 5,000 events a second for 20 seconds.
const PACED: Load = Load { source: 3, batch: 50, window: 64, pace: Some(Pace { batch_every: BEAT }) };
const PACED_EVENTS: u64 = 100_000;
const BEAT: Duration = Duration::from_millis(10);

/// How long the disk is then measured at the same pace without the load.
const ALONE: Duration = Duration::from_secs(10);

/// CPU seconds per million events that gzip level 3 of zlib-rs and SHA-256 took on the machine of the baseline, on
/// records of 1,153 bytes (`baseline.md`, section 5, the slower of its two runs and the only one).
const BASELINE_LIMIT: f64 = 5.5 + 0.64;

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
    /// Measure an outage of the store instead of the above
    #[arg(long)]
    outage: bool,
    /// Of the outage: what the spool shall hold, bytes
    #[arg(long, default_value_t = 5_000_000_000, requires = "outage")]
    backlog: u64,
    /// Of the outage: how long it goes on with the spool as full as that, seconds
    #[arg(long, default_value_t = 10, requires = "outage")]
    hold: u64,
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
    let pool = Pool::generate()?;
    if arguments.outage {
        return outage::run(&pool, directory.path(), arguments.backlog, Duration::from_secs(arguments.hold));
    }
    let store = (arguments.store == Kind::S3).then(SeaweedFs::start).transpose()?;
    let bucket = store.as_ref().map(|store| store.bucket("bench")).transpose()?;
    let collector = |settings| {
        let collector = Collector::new(directory.path(), settings)?;
        match store.as_ref().zip(bucket.as_ref()) {
            Some((store, bucket)) => collector.with_store(store, bucket),
            None => Ok(collector),
        }
    };

    eprintln!("1. idle for {SETTLE:?}");
    let mut shipped = collector(SHIPPED)?;
    let id = start(&mut shipped)?;
    let binary = usage::stripped_mib(id)?;
    thread::sleep(SETTLE);
    let idle = Usage::of(id)?;

    eprintln!("2. {SLOW_EVENTS} events at 1,000/s, {PACED_EVENTS} at 5,000/s");
    let (slow, _) = usage::most_while(id, || load::send(&shipped.socket(), &pool, &[SLOW], SLOW_EVENTS))?;
    let (paced, (fdatasync_during, paced_acks)) = usage::most_while(id, || {
        limits::fdatasync_while(directory.path(), BEAT, || {
            load::send(&shipped.socket(), &pool, &[PACED], PACED_EVENTS)
        })
    })?;
    let (fdatasync_paced, ()) = limits::fdatasync_while(directory.path(), BEAT, || {
        thread::sleep(ALONE);
        Ok(())
    })?;
    let fdatasync = limits::fdatasync(directory.path())?;
    shipped.stop()?;

    let events = arguments.events;
    let mut collector = collector(HASTY)?;
    let id = start(&mut collector)?;
    eprintln!("3. {events} events as fast as it goes, collector {id}");
    thread::sleep(Duration::from_secs(arguments.attach));
    let before = Usage::of(id)?;
    let began = Instant::now();
    let acks = load::send(&collector.socket(), &pool, &FULL, events)?;
    let acked = began.elapsed();
    stored(&collector, SLOW_EVENTS + PACED_EVENTS + events)?;
    let took = began.elapsed();
    let after = Usage::of(id)?;
    collector.stop()?;

    eprintln!("4. reading back");
    let mut sent: Vec<(u8, u64)> = vec![(SLOW.source, SLOW_EVENTS), (PACED.source, PACED_EVENTS)];
    sent.extend(FULL.iter().map(|load| (load.source, events / FULL.len() as u64)));
    let found = bucket::read_back(&collector, &sent)?;
    let report = archive::verify(&collector)?;
    ensure!(report.outcome() == Outcome::Valid, "the bucket does not verify: {report:?}");
    let stages = stages::alone(&pool, &found.sample)?;
    let limits = limits::of_content(&found.sample, found.content_bytes as f64 / found.records as f64)?;

    let per_million = |seconds: f64| seconds * 1e6 / events as f64;
    let cpu = after.cpu() - before.cpu();
    let threads = |name: &str| per_million(after.thread(name) - before.thread(name));
    let (intake, commit, trail) = (threads("tokio-rt-worker"), threads("spool-commit"), threads("trail"));
    let stages = stages.within(intake, commit, trail);
    eprintln!(
        "CPU-s per million by thread: intake {intake:.2}, spool {commit:.2}, trail {trail:.2}; by stage:"
    );
    for (name, seconds) in &stages {
        eprintln!("  {name:<20} {seconds:.2}");
    }
    limits.print();
    let milliseconds = |duration: Duration| round(duration.as_secs_f64() * 1000.0);
    let paced_p99 = quantile(&paced_acks, 0.99);
    let ack_over =
        |fdatasync: &[Duration]| round(paced_p99.as_secs_f64() / quantile(fdatasync, 0.99).as_secs_f64());
    let mut figures = json!({
        "events": events,
        "store": format!("{:?}", arguments.store).to_lowercase(),
        "cpu_s_per_million": round(per_million(cpu)),
        "cpu_user_s_per_million": round(per_million(after.user - before.user)),
        "cpu_system_s_per_million": round(per_million(after.system - before.system)),
        "cpu_s_per_million_scaled": round(per_million(cpu) * BASELINE_LIMIT / (limits.gzip3 + limits.sha256)),
        "limit_cpu_s_per_million": round(limits.gzip3 + limits.sha256),
        "limit_gzip3_s_per_million": round(limits.gzip3),
        "limit_sha256_s_per_million": round(limits.sha256),
        "wall_acked_s": round(acked.as_secs_f64()),
        "wall_stored_s": round(took.as_secs_f64()),
        "ack_p50_ms": milliseconds(quantile(&acks, 0.5)),
        "ack_p99_ms": milliseconds(quantile(&acks, 0.99)),
        "paced_ack_p50_ms": milliseconds(quantile(&paced_acks, 0.5)),
        "paced_ack_p99_ms": milliseconds(paced_p99),
        "fdatasync_p50_ms": milliseconds(quantile(&fdatasync_paced, 0.5)),
        "fdatasync_p99_ms": milliseconds(quantile(&fdatasync_paced, 0.99)),
        "ack_p99_over_fdatasync_p99": ack_over(&fdatasync_paced),
        "fdatasync_during_p50_ms": milliseconds(quantile(&fdatasync_during, 0.5)),
        "fdatasync_during_p99_ms": milliseconds(quantile(&fdatasync_during, 0.99)),
        "ack_p99_over_fdatasync_during_p99": ack_over(&fdatasync_during),
        "fdatasync_unpaced_p50_ms": milliseconds(quantile(&fdatasync, 0.5)),
        "fdatasync_unpaced_p99_ms": milliseconds(quantile(&fdatasync, 0.99)),
        "ack_p99_over_fdatasync_unpaced_p99": ack_over(&fdatasync),
        "rss_idle_mib": idle.rss_mib(),
        "rss_1000_mib": slow,
        "rss_5000_mib": paced,
        "rss_peak_mib": after.peak_mib(),
        "bytes_per_event": round(found.content_bytes as f64 / found.records as f64),
        "stored_bytes_per_event": round(found.stored_bytes as f64 / found.records as f64),
        "stored_ratio": round(found.stored_bytes as f64 / found.content_bytes as f64),
        "binary_stripped_mib": binary,
        "log_files": found.files,
        "lost": found.lost,
        "duplicates": found.duplicates,
        "load": load_average,
    });
    if let Some(figures) = figures.as_object_mut() {
        figures.extend(
            stages.iter().map(|(name, value)| (format!("stage_{name}_s_per_million"), round(*value).into())),
        );
    }
    println!("{figures}");
    ensure!(found.lost == 0 && found.duplicates == 0, "not exactly once: {}", found.details);
    Ok(())
}

/// Starts it and gives its process id.
fn start(collector: &mut Collector) -> Result<u32> {
    collector.start()?;
    Ok(collector.process().context("it runs")?.id())
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
