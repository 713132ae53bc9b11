//! Bad input gets an answer that names what and where; nothing acked is lost; the process stays up where it can.

use std::fs;
use std::io::Write;
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::process::Command;

use anyhow::{Context, Result, bail, ensure};
use bytes::Bytes;
use sidetrail_archive::verify::Outcome;
use sidetrail_tests::collector::Settings;
use sidetrail_tests::sender::{Stream, batch, event_id, hello};
use sidetrail_tests::{Collector, START, STOP, SeaweedFs, archive, tools, wait_for};
use sidetrail_wire::ingest::v1::{Hello, deliver_request, deliver_response};

const SOURCE: [u8; 16] = [1; 16];

fn runtime() -> Result<tokio::runtime::Runtime> {
    Ok(tokio::runtime::Builder::new_current_thread().enable_all().build()?)
}

fn record(sequence: u64) -> Bytes {
    Bytes::from(format!(r#"{{"eventID":"{}"}}"#, event_id(SOURCE, sequence)))
}

/// Sends one record and waits for its ack: the proof that the collector still works.
async fn deliver(socket: &Path, sequence: u64) -> Result<()> {
    let mut stream = Stream::open(socket, hello(SOURCE)).await?;
    let deliver_response::Message::Welcome(welcome) = stream.receive().await? else { bail!("no welcome") };
    ensure!(welcome.acked_sequence == sequence - 1, "welcome says {}", welcome.acked_sequence);
    stream.send(batch(sequence, [record(sequence)])).await?;
    match stream.receive().await? {
        deliver_response::Message::Ack(ack) if ack.sequence == sequence => Ok(()),
        other => bail!("{other:?}"),
    }
}

#[test]
fn whatever_comes_over_the_socket_the_collector_goes_on() -> Result<()> {
    let directory = tempfile::tempdir()?;
    let mut collector = Collector::new(directory.path(), Settings::default())?;
    collector.start()?;
    let socket = collector.socket();
    runtime()?.block_on(async {
        deliver(&socket, 1).await?;

        // No HTTP/2 at all.
        UnixStream::connect(&socket)?.write_all(&[0xff; 4096])?;

        // No hello, a version of the future, a source that is none, a name that is too long.
        refused(&socket, batch(1, []), "the first message must be hello").await?;
        let spoiled = |spoil: fn(&mut Hello)| match hello(SOURCE) {
            deliver_request::Message::Hello(mut hello) => {
                spoil(&mut hello);
                deliver_request::Message::Hello(hello)
            }
            other => other,
        };
        let version = spoiled(|hello| hello.protocol_version = 7);
        refused(&socket, version, "hello.protocol_version is 7, this collector speaks 1").await?;
        let source = spoiled(|hello| hello.source = Bytes::from_static(b"short"));
        refused(&socket, source, "hello.source is 5 bytes, not 16").await?;
        let service = spoiled(|hello| hello.service = "x".repeat(300));
        refused(&socket, service, "hello.service is 300 bytes, the limit is 256").await?;

        // A gap, and a batch with too many events.
        let mut stream = Stream::open(&socket, hello(SOURCE)).await?;
        stream.receive().await?;
        stream.send(batch(7, [record(7)])).await?;
        ended(&mut stream, "event 7 came where 2 was due").await?;
        let mut stream = Stream::open(&socket, hello(SOURCE)).await?;
        stream.receive().await?;
        stream.send(batch(2, (2..2 + 2049).map(|_| Bytes::from_static(b"{}")))).await?;
        ended(&mut stream, "batch.events has 2049 entries, allowed are 2048").await?;

        // A message over the limit.
        let mut stream = Stream::open(&socket, hello(SOURCE)).await?;
        stream.receive().await?;
        stream.send(batch(2, [Bytes::from(vec![b' '; 5 << 20])])).await?;
        ended(&mut stream, "decoded message length too large").await?;

        // Records that cannot be recorded are refused by name; their neighbours are not.
        let mut stream = Stream::open(&socket, hello(SOURCE)).await?;
        stream.receive().await?;
        let too_large = Bytes::from(format!(r#"{{"a":"{}"}}"#, "x".repeat(256 << 10)));
        stream.send(batch(2, [record(2), too_large, Bytes::from_static(b"not json"), record(5)])).await?;
        for (sequence, reason) in [(3, "the limit is 262144"), (4, "is not a JSON object")] {
            let deliver_response::Message::Refusal(refusal) = stream.receive().await? else {
                bail!("no refusal")
            };
            ensure!(refusal.sequence == sequence && refusal.field == "record", "{refusal:?}");
            ensure!(refusal.reason.contains(reason), "{refusal:?}");
        }
        ensure!(matches!(stream.receive().await?, deliver_response::Message::Ack(ack) if ack.sequence == 5));
        drop(stream);

        deliver(&socket, 6).await
    })?;
    collector.stop()?;

    let ids = archive::event_ids(&collector)?;
    ensure!(ids.len() == 4 && ids.values().all(|count| *count == 1), "{ids:?}");
    let report = archive::verify(&collector)?;
    ensure!(report.outcome() == Outcome::Valid, "{report:?}");
    Ok(())
}

async fn refused(socket: &Path, first: deliver_request::Message, reason: &str) -> Result<()> {
    let mut stream = Stream::open(socket, first).await?;
    ended(&mut stream, reason).await
}

async fn ended(stream: &mut Stream, reason: &str) -> Result<()> {
    match stream.receive().await {
        Ok(answer) => bail!("{answer:?} instead of {reason:?}"),
        Err(error) => {
            ensure!(format!("{error:#}").contains(reason), "{error:#} does not say {reason:?}");
            Ok(())
        }
    }
}

/// A configuration that cannot be used ends with 64 before anything is opened, and says which key.
#[test]
fn a_wrong_configuration_names_the_key() -> Result<()> {
    let directory = tempfile::tempdir()?;
    let config = Collector::new(directory.path(), Settings::default())?.config();
    for (from, to, expected) in [
        ("account: '111122223333'", "account: '1111'", "12 digits"),
        ("region: eu-central-1", "region: eu-central-1\nregoin: x", "regoin"),
        ("age: 200ms", "age: 2h", "trails[0].rotate.age"),
        ("budget: 256MiB", "budget: 1MiB", "spool.budget"),
    ] {
        let path = directory.path().join("wrong.yaml");
        fs::write(&path, config.replace(from, to))?;
        let mut command = Command::new(tools::binary("sidetrail-collector")?);
        command.arg("--config").arg(&path);
        let ran = tools::run(command)?;
        ensure!(ran.status.code() == Some(64), "{ran:?}");
        ensure!(ran.stderr.contains(expected), "{:?} does not say {expected:?}", ran.stderr);
    }
    ensure!(!directory.path().join("spool").exists(), "something was opened");
    Ok(())
}

/// A second collector on the same spool does not start, and the first one does not notice.
#[test]
fn one_spool_has_one_collector() -> Result<()> {
    let directory = tempfile::tempdir()?;
    let mut collector = Collector::new(directory.path(), Settings::default())?;
    collector.start()?;
    let mut second = collector.spawn()?;
    ensure!(!second.wait(STOP)?.success());
    ensure!(collector.log()?.contains("in use by another writer"), "{}", collector.log()?);
    runtime()?.block_on(deliver(&collector.socket(), 1))?;
    collector.stop()
}

/// A spool that cannot be written to: the collector does not start, and says which path.
#[test]
fn a_spool_that_cannot_be_made_is_named() -> Result<()> {
    let directory = tempfile::tempdir()?;
    let collector = Collector::new(directory.path(), Settings::default())?;
    // A file where the directory should be: root, who runs this in CI, may write to any directory.
    fs::write(collector.spool(), "in the way")?;
    let mut process = collector.spawn()?;
    ensure!(process.wait(STOP)?.code() == Some(1));
    let spool = collector.spool().display().to_string();
    ensure!(collector.log()?.contains(&format!("cannot open the spool in {spool}")), "{}", collector.log()?);
    Ok(())
}

/// A bucket that is not there, or credentials that are wrong: the error names the bucket and never the secret, events
/// are taken all the same, and arrive once it is mended.
#[test]
fn a_missing_bucket_and_wrong_credentials_lose_nothing() -> Result<()> {
    let store = SeaweedFs::shared()?;
    let bucket = store.bucket("wrong-credentials")?;
    let directory = tempfile::tempdir()?;
    let mut collector = Collector::new(directory.path(), Settings::default())?.with_store(store, &bucket)?;
    collector.set_env("AWS_SECRET_ACCESS_KEY", "wrong-and-never-to-be-logged");
    collector.start()?;
    runtime()?.block_on(deliver(&collector.socket(), 1))?;
    wait_for("an error", START, || Ok(collector.log()?.contains("cannot ship").then_some(())))?;
    let log = collector.log()?;
    ensure!(log.contains(&format!("s3://{bucket}")), "the bucket is not named: {log}");
    ensure!(!log.contains("never-to-be-logged"), "the secret is in the log");
    collector.kill()?;

    let mut collector =
        Collector::new(directory.path(), Settings::default())?.with_store(store, "not-there-at-all")?;
    collector.start()?;
    runtime()?.block_on(deliver(&collector.socket(), 2))?;
    wait_for("an error", START, || Ok(collector.log()?.contains("s3://not-there-at-all").then_some(())))?;
    collector.kill()?;

    let mut collector = Collector::new(directory.path(), Settings::default())?.with_store(store, &bucket)?;
    collector.start()?;
    runtime()?.block_on(deliver(&collector.socket(), 3))?;
    collector.stop()?;
    let ids = archive::event_ids(&collector)?;
    ensure!(ids.len() == 3 && ids.values().all(|count| *count == 1), "{ids:?}");
    ensure!(archive::verify(&collector)?.outcome() == Outcome::Valid);
    Ok(())
}

/// A damaged segment: what is readable arrives, what is lost is named by the collector and by the verifier.
#[test]
fn a_damaged_segment_costs_what_is_damaged_and_says_so() -> Result<()> {
    let directory = tempfile::tempdir()?;
    // Long enough that nothing is shipped before the damage is done.
    let settings = Settings { rotate_age: "60s", ..Settings::default() };
    let mut collector = Collector::new(directory.path(), settings)?;
    collector.start()?;
    runtime()?.block_on(async {
        for sequence in 1..=9 {
            deliver(&collector.socket(), sequence).await?;
        }
        anyhow::Ok(())
    })?;
    collector.kill()?;

    let segment = fs::read_dir(collector.spool())?
        .filter_map(|entry| Some(entry.ok()?.path()))
        .find(|path| path.extension().is_some_and(|extension| extension == "seg"))
        .context("no segment")?;
    let mut bytes = fs::read(&segment)?;
    let fifth = event_id(SOURCE, 5).into_bytes();
    let at =
        bytes.windows(fifth.len()).position(|window| window == fifth).context("record 5 is not there")?;
    bytes[at] ^= 1;
    fs::write(&segment, bytes)?;

    collector.start()?;
    collector.stop()?;
    let ids = archive::event_ids(&collector)?;
    ensure!(ids.len() == 8 && !ids.contains_key(&event_id(SOURCE, 5)), "{ids:?}");
    ensure!(collector.log()?.contains("checksum of the frame is wrong"), "{}", collector.log()?);
    let report = archive::verify(&collector)?;
    ensure!(report.outcome() == Outcome::ValidWithLosses, "{report:?}");
    ensure!(format!("{report:?}").contains("Lost {"), "{report:?}");
    Ok(())
}
