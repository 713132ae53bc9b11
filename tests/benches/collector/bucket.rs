//! What has arrived, read back without the collector's code.

use std::io::Read;
use std::ops::ControlFlow;

use anyhow::{Context, Result};
use flate2::bufread::GzDecoder;
use serde::Deserialize;
use sidetrail_archive::key::{Id, LogKey};
use sidetrail_archive::log::{MAX_CONTENT, read_records};
use sidetrail_archive::store::Store;
use sidetrail_tests::Collector;

/// Content that is kept for measuring the machine's limits.
const SAMPLE: usize = 48 << 20;

/// What the bucket holds.
#[derive(Debug, Default)]
pub(crate) struct Found {
    pub(crate) files: u64,
    pub(crate) records: u64,
    pub(crate) stored_bytes: u64,
    pub(crate) content_bytes: u64,
    pub(crate) lost: u64,
    pub(crate) duplicates: u64,
    /// Contents of the first log files.
    pub(crate) sample: Vec<Vec<u8>>,
    pub(crate) details: String,
}

#[derive(Deserialize)]
struct Record {
    #[serde(rename = "additionalEventData")]
    data: Data,
}

#[derive(Deserialize)]
struct Data {
    sidetrail: Mark,
}

#[derive(Deserialize)]
struct Mark {
    source: String,
    sequence: u64,
}

/// Counts each event of each source that sent, and how many.
pub(crate) fn read_back(collector: &Collector, sent: &[(u8, u64)]) -> Result<Found> {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build()?;
    let store = Store::open(&collector.destination(), &|name| collector.variable(name))?;
    let bucket = store.bucket(runtime.handle().clone());
    let mut keys = Vec::new();
    bucket.list("", &mut |entry| {
        if entry.key.parse::<LogKey>().is_ok() {
            keys.push((entry.key.to_owned(), entry.size));
        }
        ControlFlow::Continue(())
    })?;
    let mut found = Found::default();
    let mut counts: Vec<(String, Vec<u8>)> = sent
        .iter()
        .map(|(source, total)| (Id([*source; 16]).to_string(), vec![0; *total as usize + 1]))
        .collect();
    let mut sampled = 0;
    for (key, size) in keys {
        let mut stored = Vec::new();
        bucket.open(&key)?.read_to_end(&mut stored)?;
        let mut content = Vec::new();
        GzDecoder::new(&stored[..]).take(MAX_CONTENT).read_to_end(&mut content)?;
        let read = read_records(&content[..], MAX_CONTENT, |text| match note(text, &mut counts) {
            Ok(()) => ControlFlow::Continue(()),
            Err(error) => ControlFlow::Break(error),
        });
        match read.with_context(|| key.clone())? {
            ControlFlow::Continue(records) => found.records += records,
            ControlFlow::Break(error) => return Err(error).context(key),
        }
        found.files += 1;
        found.stored_bytes += size;
        found.content_bytes += content.len() as u64;
        if sampled < SAMPLE {
            sampled += content.len();
            found.sample.push(content);
        }
    }
    for (source, counts) in &counts {
        let lost = counts.iter().skip(1).filter(|count| **count == 0).count() as u64;
        let doubled: u64 = counts.iter().skip(1).map(|count| u64::from(count.saturating_sub(1))).sum();
        found.lost += lost;
        found.duplicates += doubled;
        found.details += &format!("{source}: {lost} lost, {doubled} twice; ");
    }
    Ok(found)
}

fn note(text: &str, counts: &mut [(String, Vec<u8>)]) -> Result<()> {
    let Record { data: Data { sidetrail: Mark { source, sequence } } } = serde_json::from_str(text)?;
    let (_, counts) =
        counts.iter_mut().find(|(known, _)| *known == source).context("a source that did not send")?;
    let count = counts.get_mut(usize::try_from(sequence)?).context("a sequence that was not sent")?;
    *count = count.saturating_add(1);
    Ok(())
}
