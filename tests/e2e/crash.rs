//! kill -9 and a store that goes away: nothing acked is lost, nothing is in the bucket twice.

use std::thread;
use std::time::Duration;

use anyhow::{Result, ensure};
use sidetrail_archive::verify::Outcome;
use sidetrail_tests::collector::Settings;
use sidetrail_tests::sender::{Sender, event_id};
use sidetrail_tests::{Collector, Load, START, SeaweedFs, archive, wait_for};

const ROUNDS: u64 = 20;
const SOURCES: u8 = 3;

#[test]
fn killed_collector_loses_and_doubles_nothing_in_s3() -> Result<()> {
    let store = SeaweedFs::shared()?;
    let bucket = store.bucket("killed")?;
    let directory = tempfile::tempdir()?;
    let collector = Collector::new(directory.path(), Settings::default())?.with_store(store, &bucket)?;
    kill_under_load(collector, 0x5eed_0001)
}

#[test]
fn killed_collector_loses_and_doubles_nothing_in_a_directory() -> Result<()> {
    let directory = tempfile::tempdir()?;
    kill_under_load(Collector::new(directory.path(), Settings::default())?, 0x5eed_0002)
}

/// Kills at moments from a fixed seed, while several sources send as fast as the rounds last.
fn kill_under_load(mut collector: Collector, seed: u64) -> Result<()> {
    let mut random = seed;
    collector.start()?;
    let load = load(&collector, u64::MAX / 2)?;
    for round in 0..ROUNDS {
        random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        thread::sleep(Duration::from_millis(30 + (random >> 33) % 700));
        let acked = load.acked();
        collector.kill()?;
        println!("round {round}: killed with {acked:?} acked");
        collector.start()?;
    }
    // Some more on the last run, so that it has to go on after what it found.
    let before: u64 = load.acked().iter().sum();
    wait_for("acks after the last start", START, || {
        Ok((load.acked().iter().sum::<u64>() > before + 500).then_some(()))
    })?;
    let acked = load.stop();
    collector.stop()?;
    let total: u64 = acked.iter().sum();
    ensure!(total > 2_000, "only {total} records were acked, which shows little");
    holds_exactly_once(&collector, &acked)?;
    println!("{total} acked records over {ROUNDS} kills: 0 lost, 0 twice");
    Ok(())
}

/// While the store is away events are taken and kept; when it is back they arrive, once.
#[test]
fn a_store_that_is_away_loses_and_doubles_nothing() -> Result<()> {
    let mut store = SeaweedFs::start()?;
    let bucket = store.bucket("outage")?;
    let directory = tempfile::tempdir()?;
    let mut collector = Collector::new(directory.path(), Settings::default())?.with_store(&store, &bucket)?;
    collector.start()?;
    let load = load(&collector, 20_000)?;
    wait_for("records in the store", START, || shipped(&collector, 500.0))?;
    store.kill()?;
    let acked: u64 = load.acked().iter().sum();
    wait_for("acks without a store", START, || {
        Ok((load.acked().iter().sum::<u64>() > acked + 5_000).then_some(()))
    })?;
    ensure!(collector.probe("/readyz")?.status == 200, "not ready, though it can take events");
    store.resume()?;
    let acked = load.finish()?;
    collector.stop()?;
    ensure!(acked.iter().all(|acked| *acked == 20_000), "{acked:?}");
    holds_exactly_once(&collector, &acked)
}

/// A spool that is full makes senders wait. It takes no more than its budget, and nothing is lost.
#[test]
fn a_full_spool_holds_back_the_senders() -> Result<()> {
    let mut store = SeaweedFs::start()?;
    let bucket = store.bucket("full")?;
    let directory = tempfile::tempdir()?;
    let settings = Settings { budget: "44MiB", segment: "1MiB", rotate_size: "4MiB", ..Settings::default() };
    let mut collector = Collector::new(directory.path(), settings)?.with_store(&store, &bucket)?;
    collector.start()?;
    store.kill()?;
    // Random text does not compress, so this is more than the budget.
    let total = 400;
    let load = incompressible::Load::start(&collector, total)?;
    wait_for("readiness to turn red", START, || {
        Ok((collector.probe("/readyz")?.status == 503).then_some(()))
    })?;
    let why = collector.probe("/readyz")?.body;
    ensure!(why.contains("the spool is full") && why.contains("the budget of the spool is "), "{why}");
    ensure!(collector.log()?.contains("the budget of the spool is"), "no warning before it was full");
    ensure!(collector.metrics()?["sidetrail_spool_bytes"] <= f64::from(44 << 20), "over the budget");
    store.resume()?;
    load.finish()?;
    wait_for("readiness to turn green", START, || {
        Ok((collector.probe("/readyz")?.status == 200).then_some(()))
    })?;
    collector.stop()?;
    let ids = archive::event_ids(&collector)?;
    ensure!(ids.len() as u64 == total && ids.values().all(|count| *count == 1), "{} records", ids.len());
    ensure!(archive::verify(&collector)?.outcome() == Outcome::Valid, "{:?}", archive::verify(&collector)?);
    Ok(())
}

fn shipped(collector: &Collector, at_least: f64) -> Result<Option<()>> {
    let shipped = collector.metrics()?.get("sidetrail_trail_events_shipped_total").copied();
    Ok(shipped.filter(|count| *count >= at_least).map(|_| ()))
}

/// Every acked record is there, none is there twice, what was not acked at most once, and the evidence says so too.
fn holds_exactly_once(collector: &Collector, acked: &[u64]) -> Result<()> {
    let ids = archive::event_ids(collector)?;
    let twice: Vec<_> = ids.iter().filter(|(_, count)| **count > 1).collect();
    ensure!(twice.is_empty(), "{} records are there twice, for example {:?}", twice.len(), twice.first());
    for (source, acked) in (1..).zip(acked) {
        let lost: Vec<_> =
            (1..=*acked).filter(|sequence| !ids.contains_key(&event_id([source; 16], *sequence))).collect();
        ensure!(lost.is_empty(), "source {source} lost {} of {acked}, first {:?}", lost.len(), lost.first());
    }
    let report = archive::verify(collector)?;
    ensure!(report.outcome() == Outcome::Valid, "{report:?}");
    let log = collector.log()?;
    ensure!(!log.contains("does not add up"), "accounting: {log}");
    ensure!(log.contains("\"drained\":true"), "not drained: {log}");
    Ok(())
}

fn load(collector: &Collector, total: u64) -> Result<Load> {
    let pause = Duration::from_millis(2);
    Load::start((1..=SOURCES).map(|source| Sender::new(&collector.socket(), [source; 16], total, 20, pause)))
}

mod incompressible {
    //! Records of text that does not compress.

    use std::path::PathBuf;

    use anyhow::{Result, bail};
    use bytes::Bytes;
    use sidetrail_tests::sender::{Stream, batch, event_id, hello};
    use sidetrail_tests::{Collector, START};
    use sidetrail_wire::ingest::v1::deliver_response::Message;

    const SOURCE: [u8; 16] = [9; 16];

    pub(super) struct Load(std::thread::JoinHandle<Result<()>>);

    impl Load {
        pub(super) fn start(collector: &Collector, total: u64) -> Result<Self> {
            let socket = collector.socket();
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
            Ok(Self(std::thread::spawn(move || {
                runtime.block_on(async { tokio::time::timeout(START * 3, run(socket, total)).await })?
            })))
        }

        pub(super) fn finish(self) -> Result<()> {
            match self.0.join() {
                Ok(result) => result,
                Err(_) => bail!("the sender panicked"),
            }
        }
    }

    async fn run(socket: PathBuf, total: u64) -> Result<()> {
        let mut acked = 0;
        while acked < total {
            // A spool that is full may end the stream; the sender comes back with what was not acked.
            if session(&socket, total, &mut acked).await.is_err() {
                tokio::time::sleep(std::time::Duration::from_millis(100)).await;
            }
        }
        Ok(())
    }

    async fn session(socket: &std::path::Path, total: u64, acked: &mut u64) -> Result<()> {
        let mut stream = Stream::open(socket, hello(SOURCE)).await?;
        let Message::Welcome(welcome) = stream.receive().await? else { bail!("no welcome") };
        *acked = welcome.acked_sequence;
        for sequence in *acked + 1..=total {
            stream.send(batch(sequence, [record(sequence)])).await?;
            while *acked + 8 < sequence {
                note(&stream.receive().await?, acked)?;
            }
        }
        while *acked < total {
            note(&stream.receive().await?, acked)?;
        }
        Ok(())
    }

    fn note(message: &Message, acked: &mut u64) -> Result<()> {
        let Message::Ack(ack) = message else { bail!("{message:?}") };
        *acked = ack.sequence;
        Ok(())
    }

    fn record(sequence: u64) -> Bytes {
        let mut state = sequence;
        let noise: String = std::iter::repeat_with(|| {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            char::from(
                b"0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ-_"[(state >> 58) as usize],
            )
        })
        .take(200_000)
        .collect();
        Bytes::from(format!(r#"{{"eventID":"{}","noise":"{noise}"}}"#, event_id(SOURCE, sequence)))
    }
}
