//! What goes wrong around a collector is told by its name, and nothing is lost by it.

use std::fs;
use std::time::Duration;

use anyhow::{Result, bail, ensure};
use sidetrail_archive::verify::Outcome;
use sidetrail_tests::collector::Settings;
use sidetrail_tests::sender::{Sender, Stream, batch, hello};
use sidetrail_tests::{Collector, START, STOP, SeaweedFs, archive, tools, wait_for};
use sidetrail_wire::ingest::v1::deliver_response::Message;

const RECORDS: u64 = 50;

#[test]
fn a_second_collector_on_a_spool_refuses_to_start() -> Result<()> {
    let directory = tempfile::tempdir()?;
    let mut first = Collector::new(directory.path(), Settings::default())?;
    first.start()?;
    let mut second = first.spawn()?;
    let status = second.wait(STOP)?;
    let log = second.log()?;
    ensure!(status.code() == Some(1), "{status}: {log}");
    ensure!(log.contains("in use by another writer") && log.contains("lock"), "{log}");
    ensure!(first.probe("/readyz")?.status == 200, "the first one suffers from it");
    first.stop()
}

/// Each failure has its kind, events stay where they are, and arrive once it is over.
#[test]
fn failures_of_the_store_have_names() -> Result<()> {
    let mut store = SeaweedFs::start()?;
    let bucket = store.bucket("names")?;
    let directory = tempfile::tempdir()?;
    let mut collector = Collector::new(directory.path(), Settings::default())?.with_store(&store, &bucket)?;
    let secret = collector.variable("AWS_SECRET_ACCESS_KEY").unwrap_or_default();
    collector.set_env("AWS_SECRET_ACCESS_KEY", "a-wrong-secret-that-nobody-logs");
    collector.start()?;
    send(&collector)?;
    fails_with(&collector, "credentials")?;
    ensure!(!collector.log()?.contains("a-wrong-secret"), "the log holds a secret");
    collector.kill()?;

    collector.set_env("AWS_SECRET_ACCESS_KEY", &secret);
    store.kill()?;
    collector.start()?;
    fails_with(&collector, "unreachable")?;
    store.resume()?;
    wait_for("records in the store", START, || shipped(&collector))?;
    collector.stop()?;
    holds_all(&collector)
}

/// An application goes on with another collector, in the middle of its numbers: nothing is refused, lost or missed.
#[test]
fn a_sender_goes_on_with_another_collector() -> Result<()> {
    const SOURCE: [u8; 16] = [7; 16];
    let directories = [tempfile::tempdir()?, tempfile::tempdir()?];
    let bucket = tempfile::tempdir()?;
    let trails = format!(
        "[{{ name: default, destination: '{}', rotate: {{ age: 100ms }} }}]",
        bucket.path().display()
    );
    for (directory, first) in directories.iter().zip([1, 51]) {
        let mut collector = Collector::new(directory.path(), Settings::default())?;
        collector.set_trails(trails.as_str());
        collector.start()?;
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        runtime.block_on(async {
            let mut stream = Stream::open(&collector.socket(), hello(SOURCE)).await?;
            let Message::Welcome(welcome) = stream.receive().await? else { bail!("no welcome") };
            ensure!(welcome.acked_sequence == 0, "it knows the source");
            let numbered = Sender::new(&collector.socket(), SOURCE, RECORDS, RECORDS, Duration::ZERO);
            let records = (first..first + RECORDS).map(|sequence| numbered.record(sequence));
            stream.send(batch(first, records)).await?;
            let answer = stream.receive().await?;
            ensure!(
                matches!(&answer, Message::Ack(ack) if ack.sequence == first + RECORDS - 1),
                "{answer:?}"
            );
            Ok(())
        })?;
        collector.stop()?;
    }
    let collector = Collector::new(directories[0].path(), Settings::default())?;
    let destination = bucket.path().display().to_string();
    ensure!(archive::records_at(&collector, &destination)?.len() as u64 == 2 * RECORDS, "not all is there");
    let report = archive::verify_at(&collector, &destination)?;
    ensure!(report.outcome() == Outcome::Valid, "{report:?}");
    Ok(())
}

/// A part of the spool is destroyed while the collector is down: the rest arrives, and the bucket says what does not.
#[test]
fn damage_of_the_spool_is_told_in_the_bucket() -> Result<()> {
    let mut store = SeaweedFs::start()?;
    let bucket = store.bucket("damage")?;
    let directory = tempfile::tempdir()?;
    let settings = Settings { segment: "1MiB", ..Settings::default() };
    let mut collector = Collector::new(directory.path(), settings)?.with_store(&store, &bucket)?;
    store.kill()?;
    collector.start()?;
    send(&collector)?;
    collector.kill()?;
    let segments = collector.segments()?;
    let mut bytes = fs::read(&segments[0])?;
    // In the first frames, behind the segment's header.
    let middle = bytes.len().min(4096) / 2;
    bytes[middle..middle + 64].fill(0xff);
    fs::write(&segments[0], bytes)?;

    store.resume()?;
    collector.start()?;
    wait_for("a receipt for the loss", START, || {
        let losses = collector.metrics()?.get("sidetrail_trail_spool_losses_total").copied();
        Ok(losses.filter(|losses| *losses > 0.0).map(|_| ()))
    })?;
    collector.stop()?;
    let report = archive::verify(&collector)?;
    ensure!(report.outcome() == Outcome::ValidWithLosses, "{report:?}");
    let ids = archive::event_ids(&collector)?;
    ensure!(!ids.is_empty() && ids.values().all(|count| *count == 1), "{} records", ids.len());

    let mut verify = std::process::Command::new(tools::binary("sidetrail")?);
    verify.args(["verify", &collector.destination()]);
    collector.configure(&mut verify);
    let ran = tools::run(verify)?;
    ensure!(ran.status.code() == Some(3), "{ran:?}");
    ensure!(ran.stdout.contains("SPOOL-LOSS") && ran.stdout.ends_with("VALID WITH LOSSES\n"), "{ran:?}");
    Ok(())
}

fn send(collector: &Collector) -> Result<()> {
    let sender = Sender::new(&collector.socket(), [9; 16], RECORDS, 1, Duration::from_millis(1));
    tokio::runtime::Runtime::new()?.block_on(sender.run())
}

fn fails_with(collector: &Collector, kind: &str) -> Result<()> {
    let metric = format!("sidetrail_trail_failures_total{{trail=\"default\",kind=\"{kind}\"}}");
    wait_for(&metric, START, || Ok(collector.probe("/metrics")?.body.contains(&metric).then_some(())))
}

fn shipped(collector: &Collector) -> Result<Option<()>> {
    let shipped = collector.metrics()?.get("sidetrail_trail_events_shipped_total").copied();
    Ok(shipped.filter(|count| *count >= RECORDS as f64).map(|_| ()))
}

fn holds_all(collector: &Collector) -> Result<()> {
    let ids = archive::event_ids(collector)?;
    ensure!(ids.len() as u64 == RECORDS && ids.values().all(|count| *count == 1), "{} records", ids.len());
    let report = archive::verify(collector)?;
    ensure!(report.outcome() == Outcome::Valid, "{report:?}");
    Ok(())
}
