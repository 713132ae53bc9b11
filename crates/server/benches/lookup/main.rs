//! `cargo xtask bench lookup`: the newest 50 events by each attribute of `LookupEvents`, of millions in log files.
//!
//! 1. Log files are generated, as collectors write them.
//! 2. History starts on 1,000,000 events with an empty cache, until everything is in its index: `cold_start_s_1m`.
//! 3. History starts on all events, and merges what there is to merge.
//! 4. Each attribute is looked up by values that are frequent, rare, and not there. *Warm* is with whatever the process
//!    and the system keep in memory. *Cold* forgets before each look-up what the process keeps, and has the system
//!    forget the pages of the cache directory.
//! 5. DuckDB looks up the same in the same log files, a few times, since it reads all of them each time.
//!
//! # Figures
//!
//! The last line is a JSON object.
//!
//! | name | what |
//! |---|---|
//! | `events` | in the bucket |
//! | `p50_ms_warm`, `p99_ms_warm`, `p99_ms_cold` | over all attributes and values; `max_…` the slowest |
//! | `rss_mib` | the most that the process ever had, indexing included |
//! | `cold_start_s_1m`, `index_s` | until all is indexed, of 1,000,000 events and of all |
//! | `cache_bytes_per_event`, `segments` | of the index, records included |
//! | `duckdb_s` | DuckDB's fastest look-up; null without it |
//! | `ratio_to_duckdb` | that over the warm p99 |
//! | `load` | the system's load average at the start |

mod generate;

use std::fs::{self, File};
use std::io::{BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use clap::Parser;
use generate::Facts;
use jiff::Timestamp;
use sidetrail_archive::store::Store;
use sidetrail_server::history::{Class, Condition, Event, Field, History, Query, Settings};

/// CloudTrail's largest page.
const PAGE: usize = 50;
const POLL: Duration = Duration::from_millis(20);
/// The machine may be busy.
const PATIENCE: Duration = Duration::from_secs(3600);

#[derive(Debug, Parser)]
#[command(name = "cargo xtask bench lookup --")]
struct Arguments {
    /// Events in the bucket
    #[arg(long, default_value_t = 10_000_000, value_parser = clap::value_parser!(u64).range(100_000..))]
    events: u64,
    /// Directory for the buckets and the caches: some 250 bytes an event, twice; one of its own in the system's temporary
    /// directory by default
    #[arg(long)]
    dir: Option<PathBuf>,
    /// Values that each attribute is looked up by, warm; a tenth of them cold
    #[arg(long, default_value_t = 100)]
    values: u64,
    /// A Python with the package duckdb; without it that is left out
    #[arg(long)]
    python: Option<PathBuf>,
    /// Of DuckDB: look-ups
    #[arg(long, default_value_t = 2)]
    duckdb: usize,
    /// For the bench itself: fill the directory and end
    #[arg(long, hide = true)]
    fill: bool,
    /// `cargo bench` says so.
    #[arg(long, hide = true)]
    bench: bool,
}

/// One look-up: of which field, by what, and how DuckDB is asked for it.
struct LookUp {
    field: Field,
    value: String,
    sql: String,
}

fn main() -> Result<()> {
    let arguments = Arguments::parse();
    let end: Timestamp = "2026-01-15T12:00:00Z".parse()?;
    if arguments.fill {
        let directory = arguments.dir.context("--dir")?;
        return generate::fill(&directory, arguments.events, end);
    }
    let load = load()?;
    let temporary = tempdir(&arguments)?;
    let base = temporary.path().to_owned();
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build()?;

    let million = 1_000_000.min(arguments.events);
    let (small, cold_start) = start(&runtime, &base, "1m", million)?;
    println!("{million} events: indexed after {cold_start:.1} s");
    drop(small);
    let (history, index) = if arguments.events == million {
        start(&runtime, &base, "1m-again", million)?
    } else {
        start(&runtime, &base, "all", arguments.events)?
    };
    println!("{} events: indexed after {index:.1} s", arguments.events);
    settle(&history)?;
    let status = history.status();
    ensure!(status.events == arguments.events && status.faulty == 0, "{status:?}");

    let cache = base.join(if arguments.events == million { "cache-1m-again" } else { "cache-all" });
    let look_ups = look_ups(arguments.events, arguments.values, end);
    runtime.block_on(check(&history, &look_ups))?;
    let warm = runtime.block_on(times(&history, look_ups.iter(), None))?;
    let cold = runtime.block_on(times(&history, look_ups.iter().step_by(10), Some(&cache)))?;
    let rss = peak_mib()?;
    let duckdb = match &arguments.python {
        Some(python) => Some(duckdb(python, &base, &arguments, &history, &runtime, &look_ups)?),
        None => None,
    };
    let bytes: u64 = fs::read_dir(&cache)?.map(|entry| Ok(entry?.metadata()?.len())).sum::<Result<u64>>()?;
    let round = |value: f64| (value * 1000.0).round() / 1000.0;
    let p99_warm = percentile(&warm, 99);
    println!(
        "{}",
        serde_json::json!({
            "events": arguments.events,
            "p50_ms_warm": round(percentile(&warm, 50)),
            "p99_ms_warm": round(p99_warm),
            "max_ms_warm": round(percentile(&warm, 100)),
            "p50_ms_cold": round(percentile(&cold, 50)),
            "p99_ms_cold": round(percentile(&cold, 99)),
            "max_ms_cold": round(percentile(&cold, 100)),
            "look_ups_warm": warm.len(),
            "look_ups_cold": cold.len(),
            "rss_mib": round(rss),
            "cold_start_s_1m": round(cold_start),
            "index_s": round(index),
            "cache_bytes_per_event": bytes / arguments.events,
            "segments": status.segments,
            "duckdb_s": duckdb.map(round),
            "ratio_to_duckdb": duckdb.map(|seconds| round(seconds * 1000.0 / p99_warm)),
            "load": load,
        })
    );
    Ok(())
}

/// The directory of the bench, which is removed at its end.
fn tempdir(arguments: &Arguments) -> Result<tempfile::TempDir> {
    match &arguments.dir {
        Some(directory) => {
            fs::create_dir_all(directory)?;
            Ok(tempfile::tempdir_in(directory)?)
        }
        None => Ok(tempfile::tempdir()?),
    }
}

/// Fills a bucket, in a process of its own so that its memory does not count, and starts history on it.
fn start(runtime: &tokio::runtime::Runtime, base: &Path, name: &str, events: u64) -> Result<(History, f64)> {
    let bucket = base.join(format!("bucket-{}", name.trim_end_matches("-again")));
    if !bucket.exists() {
        let began = Instant::now();
        let mut fill = Command::new(std::env::current_exe()?);
        fill.args(["--fill", "--events"]).arg(events.to_string()).arg("--dir").arg(&bucket);
        ensure!(fill.status()?.success(), "could not fill the bucket");
        println!("{events} events: generated in {:.1} s", began.elapsed().as_secs_f64());
    }
    let store = Store::open(bucket.to_str().context("a path")?, &|_| None)?;
    let settings =
        Settings { window: None, patience: PATIENCE, ..Settings::new(base.join(format!("cache-{name}"))) };
    let began = Instant::now();
    let history = History::start(settings, vec![Arc::new(store)], runtime.handle().clone())?;
    while !history.status().complete {
        ensure!(began.elapsed() < PATIENCE, "history is never complete: {:?}", history.status());
        std::thread::sleep(POLL);
    }
    Ok((history, began.elapsed().as_secs_f64()))
}

/// Waits until nothing is merged any more.
fn settle(history: &History) -> Result<()> {
    let began = Instant::now();
    let (mut segments, mut since) = (history.status().segments, Instant::now());
    // A merge of the largest takes some seconds.
    while since.elapsed() < Duration::from_secs(30) {
        ensure!(began.elapsed() < PATIENCE, "segments are merged for ever");
        std::thread::sleep(Duration::from_millis(200));
        let now = history.status().segments;
        if now != segments {
            (segments, since) = (now, Instant::now());
        }
    }
    println!("{segments} segments, after {:.0} s", began.elapsed().as_secs_f64());
    Ok(())
}

/// What to look up: values of events from all of history, so frequent values come often, and some that no event has.
fn look_ups(events: u64, values: u64, end: Timestamp) -> Vec<LookUp> {
    let mut look_ups = Vec::new();
    let mut text = String::new();
    for number in 0..values {
        let of = (number * 7_919_777 + 13) % events;
        let Facts { id, name, source, user, key, kind, resource, read_only } =
            generate::record(of, generate::time(of, events, end), &mut text);
        let absent = number % 10 == 9;
        let mut push = |field: Field, value: String, column: &str| {
            let value = if absent { format!("{value}-absent") } else { value };
            let sql = match column {
                "readOnly" => format!("r.readOnly = {}", value == "true"),
                "type" => format!("len(list_filter(r.resources, lambda x: x.type = '{value}')) > 0"),
                "ARN" => format!("len(list_filter(r.resources, lambda x: x.ARN LIKE '%/{value}')) > 0"),
                column => format!("r.{column} = '{value}'"),
            };
            look_ups.push(LookUp { field, value, sql });
        };
        push(Field::EventId, id, "eventID");
        push(Field::EventName, name, "eventName");
        push(Field::ReadOnly, read_only.to_string(), "readOnly");
        push(Field::Username, user, "userIdentity.userName");
        push(Field::ResourceType, kind, "type");
        push(Field::ResourceName, resource, "ARN");
        push(Field::EventSource, source, "eventSource");
        push(Field::AccessKeyId, key, "userIdentity.accessKeyId");
    }
    look_ups
}

fn query(LookUp { field, value, .. }: &LookUp) -> Query {
    Query {
        accounts: vec![generate::ACCOUNT.to_owned()],
        regions: vec![generate::REGION.to_owned()],
        classes: vec![Class::Management],
        conditions: vec![Condition::is(*field, value)],
        ..Query::default()
    }
}

/// Every event that is found is one that was asked for, and they come newest first.
async fn check(history: &History, look_ups: &[LookUp]) -> Result<()> {
    let mut found = 0;
    for look_up in look_ups {
        let page = history.find(query(look_up), None, PAGE).await?;
        let mut before = None;
        for event in &page.events {
            let read = Event::read(&event.record);
            ensure!(
                query(look_up).matches(&read) && read.class() == Class::Management,
                "another event was found"
            );
            ensure!(before.is_none_or(|before| before > event.key), "events are out of order");
            before = Some(event.key);
        }
        let absent = look_up.value.ends_with("-absent");
        ensure!(!absent || page.events.is_empty(), "what is not there was found");
        found += page.events.len();
    }
    println!("{} look-ups found {found} events", look_ups.len());
    Ok(())
}

/// Milliseconds of each look-up; cold ones if there is a cache to forget.
async fn times(
    history: &History,
    look_ups: impl Iterator<Item = &LookUp>,
    cache: Option<&Path>,
) -> Result<Vec<f64>> {
    let mut times = Vec::new();
    for look_up in look_ups {
        if let Some(cache) = cache {
            forget(cache)?;
            history.forget_pages();
        }
        let query = query(look_up);
        let began = Instant::now();
        history.find(query, None, PAGE).await?;
        times.push(began.elapsed().as_secs_f64() * 1000.0);
    }
    times.sort_by(f64::total_cmp);
    Ok(times)
}

/// Has the system forget what it keeps of the files in a directory.
fn forget(directory: &Path) -> Result<()> {
    for entry in fs::read_dir(directory)? {
        let file = File::open(entry?.path())?;
        // Only pages that are on disk can be forgotten.
        rustix::fs::fdatasync(&file)?;
        rustix::fs::fadvise(&file, 0, None, rustix::fs::Advice::DontNeed)?;
    }
    Ok(())
}

/// The time of the fastest of DuckDB's look-ups. Each must find what history finds.
fn duckdb(
    python: &Path,
    base: &Path,
    arguments: &Arguments,
    history: &History,
    runtime: &tokio::runtime::Runtime,
    look_ups: &[LookUp],
) -> Result<f64> {
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("benches/lookup/rival.py");
    let bucket = if arguments.events <= 1_000_000 { "bucket-1m" } else { "bucket-all" };
    let files = base.join(bucket).join("AWSLogs/*/CloudTrail/*/*/*/*/*.json.gz");
    let mut duckdb = Command::new(python)
        .args([&script, &files, &base.join("duckdb")])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()?;
    let (mut ask, answers) = (duckdb.stdin.take().context("stdin")?, duckdb.stdout.take().context("stdout")?);
    let mut answers = BufReader::new(answers).lines();
    let mut best = f64::INFINITY;
    // A user, then a resource: neither is frequent, so whoever has no index reads everything.
    for look_up in look_ups.iter().skip(3).step_by(10).take(arguments.duckdb) {
        writeln!(ask, "{}", look_up.sql)?;
        let Some(answer) = answers.next() else { bail!("DuckDB ended") };
        let answer: serde_json::Value = serde_json::from_str(&answer?)?;
        let seconds = answer["seconds"].as_f64().context("seconds")?;
        let page = runtime.block_on(history.find(query(look_up), None, PAGE))?;
        let ids = answer["ids"].as_array().context("ids")?.len();
        ensure!(ids == page.events.len(), "DuckDB found {ids} events, history {}", page.events.len());
        println!("DuckDB: {seconds:.1} s for {} ({ids} events)", look_up.sql);
        best = best.min(seconds);
    }
    drop(ask);
    duckdb.wait()?;
    Ok(best)
}

fn percentile(sorted: &[f64], percent: usize) -> f64 {
    sorted.get((sorted.len() * percent).div_ceil(100).max(1) - 1).copied().unwrap_or(f64::NAN)
}

fn peak_mib() -> Result<f64> {
    let status = fs::read_to_string("/proc/self/status").context("the bench needs Linux")?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).context("VmHWM")?;
    let kilobytes: f64 = line.split_whitespace().next().context("a number")?.parse()?;
    Ok(kilobytes / 1024.0)
}

/// Says so when something else runs.
fn load() -> Result<f64> {
    let text = fs::read_to_string("/proc/loadavg").context("the bench needs Linux")?;
    let load = text.split(' ').next().and_then(|load| load.parse().ok()).context("a load average")?;
    if load > 1.0 {
        eprintln!("WARNING: the load average is {load}. Something else runs here; times will be too long.");
    }
    Ok(load)
}
