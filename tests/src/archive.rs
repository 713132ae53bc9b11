//! Reading back what a collector has written, without its code.

use std::collections::{BTreeMap, HashMap};
use std::io::Read;
use std::ops::ControlFlow;
use std::path::Path;

use anyhow::{Context, Result};
use serde_json::Value;
use sidetrail_archive::digest::{Digest, Opened};
use sidetrail_archive::key::{DigestKey, LogKey};
use sidetrail_archive::log::{MAX_CONTENT, read_records};
use sidetrail_archive::source::Bucket;
use sidetrail_archive::store::Store;
use sidetrail_archive::verify::{self, Options, Report};

use crate::Collector;

/// Every record in the log files of a collector's bucket.
///
/// # Errors
///
/// When the bucket or a log file in it cannot be read.
pub fn records(collector: &Collector) -> Result<Vec<Value>> {
    records_at(collector, &collector.destination())
}

/// The same of another destination of the collector.
///
/// # Errors
///
/// As [`records`].
pub fn records_at(collector: &Collector, destination: &str) -> Result<Vec<Value>> {
    with_store(destination, &|name| collector.variable(name), records_in)
}

/// The eventID of every record in a local directory, in no order.
///
/// # Errors
///
/// As [`records`].
pub fn event_ids_in(directory: &Path) -> Result<Vec<String>> {
    let records = with_store(&directory.display().to_string(), &|_| None, records_in)?;
    let id = |record: Value| Ok(record["eventID"].as_str().context("a record without eventID")?.to_owned());
    records.into_iter().map(id).collect()
}

fn records_in(bucket: &dyn Bucket) -> Result<Vec<Value>> {
    let mut keys = Vec::new();
    bucket.list("", &mut |entry| {
        keys.push(entry.key.to_owned());
        ControlFlow::Continue(())
    })?;
    let mut records = Vec::new();
    for key in keys.iter().filter(|key| key.parse::<LogKey>().is_ok()) {
        let read = read_records(bucket.open(key)?, MAX_CONTENT, |text| {
            match serde_json::from_str(text) {
                Ok(record) => records.push(record),
                Err(error) => return ControlFlow::Break(error),
            }
            ControlFlow::Continue(())
        });
        if let ControlFlow::Break(error) = read.with_context(|| key.clone())? {
            return Err(error).context(key.clone());
        }
    }
    Ok(records)
}

/// The objects of a collector's bucket whose keys are `wanted`.
///
/// # Errors
///
/// When the bucket or an object in it cannot be read.
pub fn objects(collector: &Collector, wanted: impl Fn(&str) -> bool) -> Result<BTreeMap<String, Vec<u8>>> {
    let read = |bucket: &dyn Bucket| {
        let mut objects = BTreeMap::new();
        bucket.list("", &mut |entry| {
            if wanted(entry.key) {
                objects.insert(entry.key.to_owned(), Vec::new());
            }
            ControlFlow::Continue(())
        })?;
        for (key, bytes) in &mut objects {
            bucket.open(key)?.read_to_end(bytes)?;
        }
        Ok(objects)
    };
    with_store(&collector.destination(), &|name| collector.variable(name), read)
}

/// The digests of a collector's bucket that are signed, by their ends. In a directory a signature comes a moment later.
///
/// # Errors
///
/// As [`objects`], and when one is no digest.
pub fn digests(collector: &Collector) -> Result<Vec<Digest>> {
    let local = !collector.destination().contains("://");
    let found = objects(collector, |key| key.contains("/CloudTrail-Digest/"))?;
    let signed = |key: &str| !local || found.contains_key(&format!("{key}.metadata.json"));
    let digests = found.iter().filter(|(key, _)| key.parse::<DigestKey>().is_ok() && signed(key));
    digests.map(|(_, bytes)| Ok(Opened::read(bytes)?.digest)).collect()
}

/// How often each eventID occurs.
///
/// # Errors
///
/// As [`records`].
pub fn event_ids(collector: &Collector) -> Result<HashMap<String, u64>> {
    let mut ids = HashMap::new();
    for record in records(collector)? {
        let id = record["eventID"].as_str().context("a record without eventID")?.to_owned();
        *ids.entry(id).or_default() += 1;
    }
    Ok(ids)
}

/// What the verifier says of a collector's bucket.
///
/// # Errors
///
/// When the bucket cannot be opened.
pub fn verify(collector: &Collector) -> Result<Report> {
    verify_at(collector, &collector.destination())
}

/// The same of another destination of the collector.
///
/// # Errors
///
/// As [`verify()`].
pub fn verify_at(collector: &Collector, destination: &str) -> Result<Report> {
    let check = |bucket: &dyn Bucket| Ok(verify::run(bucket, &Options::default(), &()));
    with_store(destination, &|name| collector.variable(name), check)
}

fn with_store<T>(
    location: &str,
    variable: &dyn Fn(&str) -> Option<String>,
    look: impl FnOnce(&dyn Bucket) -> Result<T>,
) -> Result<T> {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build()?;
    let bucket = Store::open(location, &variable)?.bucket(runtime.handle().clone());
    look(&*bucket)
}
