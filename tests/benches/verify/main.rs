//! `cargo xtask bench verify`: `sidetrail verify` beside `aws cloudtrail validate-logs`, on the same buckets of the same S3
//! server, and beside its own floor.
//!
//! Two buckets. One has 1.3 GB of content in 288 log files, as a day of a busy trail; there time goes into inflating and
//! hashing. The other has 5,000 small ones, and 20 ms are added to each request; there it goes into waiting. Both have a
//! manifest for each log file, which only `sidetrail verify` reads, and 24 or 25 digests. Each is run as a user would, a
//! process from its start to its end, in turns; the fastest of the rounds counts, as what else runs here only makes it slower.

#[path = "../shared.rs"]
mod shared;

mod limit;

use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use clap::Parser;
use jiff::SignedDuration;
use serde_json::{Value, json};
use shared::{round, warn_of_load};
use sidetrail_archive::sign::DigestSigner as _;
use sidetrail_tests::proxy::{Aim, Fate};
use sidetrail_tests::sample::{Objects, Plan, Sample};
use sidetrail_tests::{CloudTrail, Proxy, SeaweedFs, objects, tools};

/// Time that the proxy adds to each request.
const LATENCY: Duration = Duration::from_millis(20);

#[derive(Debug, Parser)]
struct Arguments {
    /// Log files in the bucket of large ones
    #[arg(long, default_value_t = 288)]
    large: u64,
    /// Log files in the bucket of small ones
    #[arg(long, default_value_t = 5_000)]
    small: u64,
    /// How often each is run on the large files
    #[arg(long, default_value_t = 3)]
    rounds: usize,
    /// What cargo adds
    #[arg(long, hide = true)]
    bench: bool,
}

/// An archive in a bucket, and how to ask about it.
struct Site {
    bucket: String,
    sample: Sample,
    cloudtrail: CloudTrail,
    plan: Plan,
    keys: tempfile::NamedTempFile,
    /// Stored bytes of the log files.
    stored: Vec<Vec<u8>>,
}

fn main() -> Result<()> {
    let Arguments { large, small, rounds, .. } = Arguments::parse();
    let load = warn_of_load()?;
    let store = SeaweedFs::start()?;

    let periods = 24;
    let site = Site::make(&store, "large", periods, large / periods, 4_630_000)?;
    let (mut validate, mut verify) = (Duration::MAX, Duration::MAX);
    let mut rss = 0.0_f64;
    let mut report = Value::Null;
    for number in 1..=rounds.max(1) {
        let validated = site.validate(&store, None)?;
        let verified = site.verify(&store, None)?;
        println!("large, round {number}: validate-logs {validated:.2?}, verify {:.2?}", verified.time);
        validate = validate.min(validated);
        verify = verify.min(verified.time);
        rss = rss.max(verified.rss_mib);
        report = verified.report;
    }
    let limit = limit::measure(&site.stored, rounds.max(1))?;
    let content = report["contentBytes"].as_u64().context("no contentBytes")?;
    let megabytes = content as f64 / 1e6;
    println!(
        "large: {} files, {megabytes:.0} MB of content; validate-logs {validate:.2?}, verify {verify:.2?} ({:.0} MB/s, {rss:.0} MiB), {} {:.2?}",
        site.stored.len(),
        megabytes / verify.as_secs_f64(),
        limit.libraries,
        limit.time,
    );
    drop(site);

    let periods = 25;
    let site = Site::make(&store, "small", periods, small / periods, 2_000)?;
    let proxy = Proxy::start(store.address())?;
    proxy.strike(Fate::Delay(LATENCY), Aim::default(), 1);
    let mut small_verify = Duration::MAX;
    for number in 1..=2 {
        let verified = site.verify(&store, Some(&proxy))?;
        println!("small, round {number}: verify {:.2?}", verified.time);
        small_verify = small_verify.min(verified.time);
        rss = rss.max(verified.rss_mib);
    }
    let small_validate = site.validate(&store, Some(&proxy))?;
    println!(
        "small: {} files, {LATENCY:?} added; validate-logs {small_validate:.2?}, verify {small_verify:.2?} ({rss:.0} MiB)",
        site.stored.len()
    );

    let ratio = |one: Duration, other: Duration| round(one.as_secs_f64() / other.as_secs_f64());
    let result = json!({
        "ratio_to_validate_logs": ratio(validate, verify),
        "ratio_to_validate_logs_small_20ms": ratio(small_validate, small_verify),
        "ratio_to_limit": ratio(verify, limit.time),
        "rss_mib": round(rss),
        "content_mb": round(megabytes),
        "validate_logs_s": round(validate.as_secs_f64()),
        "verify_s": round(verify.as_secs_f64()),
        "limit_s": round(limit.time.as_secs_f64()),
        "small_validate_logs_s": round(small_validate.as_secs_f64()),
        "small_verify_s": round(small_verify.as_secs_f64()),
        "load_average": load,
    });
    println!("{result}");
    Ok(())
}

struct Verified {
    time: Duration,
    rss_mib: f64,
    report: Value,
}

impl Site {
    fn make(store: &SeaweedFs, purpose: &str, periods: u64, files: u64, content: usize) -> Result<Self> {
        let bucket = store.bucket(purpose)?;
        let plan = Plan {
            bucket: bucket.clone(),
            regions: vec!["eu-central-1"],
            start: "2026-01-15T00:00:00Z".parse()?,
            cadence: SignedDuration::from_hours(1),
            periods,
            files,
            content,
            empty: Vec::new(),
            late: None,
            rotation: None,
        };
        let mut sample = Sample::new(plan.clone())?;
        let (mut made, mut stored) = (Objects::new(), Vec::new());
        let began = Instant::now();
        sample.make(&mut |key, object| {
            if key.contains("/CloudTrail/") {
                stored.push(object.bytes.clone());
            }
            made.insert(key, object);
            Ok(())
        })?;
        objects::upload(store, &bucket, &made)?;
        println!("{purpose}: made and stored {} objects in {:.0?}", made.len(), began.elapsed());
        let keys = tempfile::NamedTempFile::new()?;
        std::fs::write(keys.path(), sample.keys())?;
        let key = sample.digests[0].public_key().clone();
        let cloudtrail = CloudTrail::start(&sample.arn(), &bucket, &[(key, sample.validity(0))])?;
        Ok(Self { bucket, sample, cloudtrail, plan, keys, stored })
    }

    /// `aws cloudtrail validate-logs`: it has to find everything valid.
    fn validate(&self, store: &SeaweedFs, proxy: Option<&Proxy>) -> Result<Duration> {
        let range = (self.plan.start, self.sample.end());
        let arn = self.sample.arn();
        let mut command = self.cloudtrail.validate_logs(store, &arn, self.plan.regions[0], range)?;
        if let Some(proxy) = proxy {
            command.env("AWS_ENDPOINT_URL", proxy.endpoint());
        }
        let began = Instant::now();
        let said = tools::run(command)?.success()?;
        let time = began.elapsed();
        let (digests, files) = (self.plan.periods, self.stored.len());
        for expected in
            [format!("{digests}/{digests} digest files valid"), format!("{files}/{files} log files valid")]
        {
            ensure!(said.contains(&expected), "not {expected:?}: {said}");
        }
        Ok(time)
    }

    /// `sidetrail verify`: likewise.
    fn verify(&self, store: &SeaweedFs, proxy: Option<&Proxy>) -> Result<Verified> {
        let mut command = Command::new(tools::binary("sidetrail")?);
        command.args(["verify", &format!("s3://{}", self.bucket), "--json", "--to"]);
        command.arg(self.sample.end().to_string()).arg("--keys").arg(self.keys.path());
        store.configure(&mut command);
        if let Some(proxy) = proxy {
            command.env("AWS_ENDPOINT_URL", proxy.endpoint());
        }
        let began = Instant::now();
        let mut child = command.stdout(Stdio::piped()).spawn()?;
        let status = format!("/proc/{}/status", child.id());
        let mut peak = 0;
        // The high-water mark only rises: what is missed are the last milliseconds.
        let ended = loop {
            peak = peak.max(high_water(Path::new(&status)));
            match child.try_wait()? {
                Some(ended) => break ended,
                None => std::thread::sleep(Duration::from_millis(2)),
            }
        };
        let time = began.elapsed();
        let said = std::io::read_to_string(child.stdout.take().context("no output")?)?;
        ensure!(ended.success(), "verify ended with {ended}: {said}");
        let report: Value = serde_json::from_str(&said)?;
        let valid = report["validLogFiles"].as_u64();
        ensure!(valid == Some(self.stored.len() as u64), "{valid:?} valid log files");
        ensure!(report["validDigests"].as_u64() == Some(self.plan.periods), "{}", report["validDigests"]);
        Ok(Verified { time, rss_mib: peak as f64 / 1024.0, report })
    }
}

/// KiB of memory that a process has had at most.
fn high_water(status: &Path) -> u64 {
    let status = std::fs::read_to_string(status).unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
    line.and_then(|line| line.trim().trim_end_matches(" kB").parse().ok()).unwrap_or(0)
}
