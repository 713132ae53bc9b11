//! Records that are kept out of the bucket on their way there: the verifier names the source and the exact range.

use std::collections::BTreeSet;
use std::fs;
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use bytes::Bytes;
use sidetrail_archive::key::Id;
use sidetrail_archive::verify::{Kind, Outcome, Report};
use sidetrail_tests::collector::Settings;
use sidetrail_tests::sender::{Sender, Stream, batch, event_id, hello};
use sidetrail_tests::{Collector, START, SeaweedFs, archive, wait_for};
use sidetrail_wire::ingest::v1::deliver_response::Message;

const SOURCE: [u8; 16] = [0x5a; 16];

/// Somebody between the application and its collector takes a batch, acks it, and the collector never hears of it: what the
/// source sends next goes on behind the hole.
#[test]
fn a_batch_that_is_dropped_on_the_way_is_named() -> Result<()> {
    const EACH: u64 = 40;
    let bucket = tempfile::tempdir()?;
    let elsewhere = tempfile::tempdir()?;
    let directories = [tempfile::tempdir()?, tempfile::tempdir()?, tempfile::tempdir()?];
    // The second of three batches ends in a collector of the thief's.
    for (number, directory) in (0..).zip(&directories) {
        let destination = if number == 1 { elsewhere.path() } else { bucket.path() };
        let mut collector = Collector::new(directory.path(), Settings::default())?;
        let trails = format!(
            "[{{ name: default, destination: '{}', rotate: {{ age: 100ms }} }}]",
            destination.display()
        );
        collector.set_trails(trails);
        collector.start()?;
        let first = number * EACH + 1;
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        runtime.block_on(async {
            let mut stream = Stream::open(&collector.socket(), hello(SOURCE)).await?;
            let Message::Welcome(_) = stream.receive().await? else { bail!("no welcome") };
            let numbered = Sender::new(&collector.socket(), SOURCE, EACH, EACH, Duration::ZERO);
            stream
                .send(batch(first, (first..first + EACH).map(|sequence| numbered.record(sequence))))
                .await?;
            let answer = stream.receive().await?;
            let acked = matches!(&answer, Message::Ack(ack) if ack.sequence == first + EACH - 1);
            ensure!(acked, "{answer:?}");
            Ok(())
        })?;
        collector.stop()?;
    }
    let collector = Collector::new(directories[0].path(), Settings::default())?;
    let report = archive::verify_at(&collector, &bucket.path().display().to_string())?;
    let gap = Kind::Gap { source: Id(SOURCE), from: EACH + 1, to: 2 * EACH };
    ensure!(report.outcome() == Outcome::Invalid && kinds(&report) == [&gap], "{:?}", report.findings);
    Ok(())
}

/// A segment of the spool is removed while the collector is down: the bucket says itself which events were in it.
#[test]
fn a_segment_that_is_removed_from_the_spool_is_named() -> Result<()> {
    const RECORDS: u64 = 6_000;
    let mut store = SeaweedFs::start()?;
    let bucket = store.bucket("segment")?;
    let directory = tempfile::tempdir()?;
    let settings = Settings { segment: "1MiB", ..Settings::default() };
    let mut collector = Collector::new(directory.path(), settings)?.with_store(&store, &bucket)?;
    store.kill()?;
    collector.start()?;
    let sender =
        Sender::new(&collector.socket(), SOURCE, RECORDS, 100, Duration::ZERO).with_records(incompressible);
    tokio::runtime::Runtime::new()?.block_on(sender.run())?;
    collector.kill()?;
    let segments = collector.segments()?;
    ensure!(segments.len() > 2, "{segments:?}");
    fs::remove_file(&segments[1])?;

    store.resume()?;
    collector.start()?;
    let last = event_id(SOURCE, RECORDS);
    wait_for("the last record", START, || {
        Ok(archive::event_ids(&collector).ok().filter(|ids| ids.contains_key(&last)).map(|_| ()))
    })?;
    collector.stop()?;

    let there: BTreeSet<String> = archive::event_ids(&collector)?.into_keys().collect();
    let missing: Vec<_> =
        (1..=RECORDS).filter(|sequence| !there.contains(&event_id(SOURCE, *sequence))).collect();
    let (from, to) = (*missing.first().context("nothing is lost")?, *missing.last().context("nothing")?);
    ensure!(missing.len() as u64 == to - from + 1, "more than one range is lost");
    let report = archive::verify(&collector)?;
    let lost = Kind::Lost { source: Id(SOURCE), from, to };
    ensure!(report.outcome() == Outcome::ValidWithLosses, "{:?}", report.findings);
    ensure!(kinds(&report).contains(&&lost), "not {lost:?}: {:?}", report.findings);
    let others = kinds(&report).into_iter().filter(|kind| !matches!(kind, Kind::SpoolLoss { .. })).count();
    ensure!(others == 1, "{:?}", report.findings);
    println!("events {from} to {to} of {RECORDS} were in the segment, and are named");
    Ok(())
}

fn kinds(report: &Report) -> Vec<&Kind> {
    report.findings.iter().map(|finding| &finding.kind).collect()
}

/// A record that takes room in the spool, which compresses.
fn incompressible(source: [u8; 16], sequence: u64) -> Bytes {
    let mut state = sequence.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    let mut noise = String::new();
    for _ in 0..64 {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        noise.push_str(&format!("{state:016x}"));
    }
    let id = event_id(source, sequence);
    Bytes::from(format!(
        r#"{{"eventVersion":"1.11","eventTime":"2026-01-15T10:41:17Z","eventName":"Load","eventID":"{id}","requestParameters":{{"noise":"{noise}"}}}}"#
    ))
}
