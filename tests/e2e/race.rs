//! Two collectors that write the digests of one trail, and die while they do.

use std::collections::BTreeSet;
use std::process::Command;
use std::time::Duration;

use anyhow::{Result, ensure};
use jiff::{SignedDuration, Timestamp};
use sidetrail_archive::digest::Opened;
use sidetrail_archive::hash::Sha256;
use sidetrail_archive::key::{DigestKey, LogKey};
use sidetrail_tests::collector::Settings;
use sidetrail_tests::sender::Sender;
use sidetrail_tests::{Collector, START, SeaweedFs, archive, tools, wait_for};

/// What a sender brings at once.
const RECORDS: u64 = 40;
/// A period of a minute, and what a loaded machine needs.
const DIGEST: Duration = Duration::from_secs(180);
const CADENCE: SignedDuration = SignedDuration::from_mins(1);
/// How long after the end of a period a writer is killed: while it looks, while it writes, and just after that.
const MOMENTS: [i64; 3] = [40, 150, 400];

#[test]
fn writers_race_and_die_and_there_is_one_chain() -> Result<()> {
    let store = SeaweedFs::shared()?;
    let bucket = store.bucket("digest-race")?;
    let directory = tempfile::tempdir()?;
    let key = directory.path().join("digest-key.pem");
    let mut generate = Command::new(tools::binary("sidetrail")?);
    generate.args(["keys", "generate", "--digest", "-o"]).arg(&key);
    tools::run(generate)?.success()?;
    let collector = |name: &str| -> Result<Collector> {
        let directory = directory.path().join(name);
        std::fs::create_dir(&directory)?;
        let mut collector = Collector::new(&directory, Settings::default())?.with_store(store, &bucket)?;
        collector.set_more(format!("digest: {{ key: '{}', cadence: 1m, settle: 0s }}\n", key.display()));
        Ok(collector)
    };
    let mut collectors = [collector("one")?, collector("two")?];
    collectors.iter_mut().try_for_each(Collector::start)?;
    let mut sent = 0;
    for (round, moment) in (0..).zip(MOMENTS) {
        for (number, collector) in (1..).zip(&collectors) {
            send(collector, 10 * round + number)?;
            sent += RECORDS;
        }
        let turn = next_turn()?;
        let victim = &mut collectors[usize::from(round % 2)];
        wait_for("the moment", DIGEST, || {
            Ok((Timestamp::now() >= turn + SignedDuration::from_millis(moment)).then_some(()))
        })?;
        victim.kill()?;
        victim.start()?;
        // Whoever was first: it is there before the next one is due.
        wait_for("the digest", DIGEST, || {
            let mut ends = digests(&collectors[0])?.into_iter().map(|(key, _)| key.end.start());
            Ok(ends.next_back().filter(|end| *end >= turn))
        })?;
    }
    wait_for("every log file in a digest", DIGEST, || Ok(all_listed(&collectors[0])?.then_some(())))?;
    collectors.iter_mut().try_for_each(Collector::stop)?;

    let digests = digests(&collectors[0])?;
    let count = digests.len();
    ensure!(count > MOMENTS.len(), "{:?}", digests.iter().map(|(key, _)| key).collect::<Vec<_>>());
    let (mut before, mut listed): (Option<(Timestamp, DigestKey, Sha256)>, _) = (None, BTreeSet::new());
    for (key, bytes) in digests {
        let Opened { digest, content_sha256, .. } = Opened::read(&bytes)?;
        ensure!(digest.end == digest.start + CADENCE, "{digest:?}");
        let previous =
            digest.previous.as_ref().map(|previous| (digest.start, previous.object.clone(), previous.hash));
        ensure!(previous == before, "{key} does not follow {before:?} but {previous:?}");
        for file in &digest.log_files {
            ensure!(listed.insert(file.object.to_string()), "{} is there twice", file.object);
        }
        before = Some((digest.end, key, content_sha256));
    }
    ensure!(archive::records(&collectors[0])?.len() as u64 == sent);
    // Signatures, chain, tree and all that it stands on.
    let report = archive::verify(&collectors[0])?;
    ensure!(report.wrong == 0 && report.unchecked == 0 && report.losses == 0, "{:?}", report.findings);
    let wrote = |collector: &Collector| -> Result<usize> {
        Ok(collector.log()?.matches("\"digest stored\"").count())
    };
    let wrote = [wrote(&collectors[0])?, wrote(&collectors[1])?];
    println!("{count} digests, of which the writers stored {wrote:?}");
    Ok(())
}

/// The end of the period that it is.
fn next_turn() -> Result<Timestamp> {
    let minute = Timestamp::now().as_second().div_euclid(60) + 1;
    Ok(Timestamp::from_second(minute * 60)?)
}

fn send(collector: &Collector, source: u8) -> Result<()> {
    let shipped = |collector: &Collector| -> Result<f64> {
        Ok(collector.metrics()?.get("sidetrail_trail_events_shipped_total").copied().unwrap_or(0.0))
    };
    let before = shipped(collector)?;
    let sender = Sender::new(&collector.socket(), [source; 16], RECORDS, 10, Duration::from_millis(1));
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(sender.run())?;
    wait_for("records in the store", START, || {
        Ok((shipped(collector)? >= before + RECORDS as f64).then_some(()))
    })
}

/// By their ends.
fn digests(collector: &Collector) -> Result<Vec<(DigestKey, Vec<u8>)>> {
    let objects = archive::objects(collector, |key| key.parse::<DigestKey>().is_ok())?;
    objects.into_iter().map(|(key, bytes)| Ok((key.parse()?, bytes))).collect()
}

/// Whether each log file of the bucket is in a digest.
fn all_listed(collector: &Collector) -> Result<bool> {
    let files = archive::objects(collector, |key| key.parse::<LogKey>().is_ok())?;
    let mut listed = BTreeSet::new();
    for (_, bytes) in digests(collector)? {
        listed.extend(Opened::read(&bytes)?.digest.log_files.into_iter().map(|file| file.object.to_string()));
    }
    Ok(!files.is_empty() && files.keys().all(|key| listed.contains(key)))
}
