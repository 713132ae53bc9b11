//! Collectors that forward to another one: over kill -9 of either, everything acked is in the gateway's bucket once.

use std::collections::BTreeSet;
use std::net::TcpListener;
use std::path::Path;
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use sidetrail_archive::manifest::{Manifest, PublishedKey};
use sidetrail_archive::verify::Outcome;
use sidetrail_tests::collector::Settings;
use sidetrail_tests::sender::{Sender, event_id};
use sidetrail_tests::{Collector, Load, START, SeaweedFs, archive, wait_for};

const ROUNDS: u64 = 16;
const SIDECARS: u8 = 3;

/// A collector in a directory of its own below `root`.
pub(crate) fn collector(root: &Path, name: &str, settings: Settings) -> Result<Collector> {
    let directory = root.join(name);
    std::fs::create_dir(&directory)?;
    Collector::new(&directory, settings)
}

fn random(state: &mut u64) -> u64 {
    *state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
    *state >> 33
}

#[test]
fn killed_sidecars_and_a_killed_gateway_lose_and_double_nothing() -> Result<()> {
    let store = SeaweedFs::shared()?;
    let bucket = store.bucket("gateway")?;
    let root = tempfile::tempdir()?;
    let mut gateway =
        collector(root.path(), "gateway", Settings::default())?.with_store(store, &bucket)?.as_gateway();
    gateway.start()?;
    let mut sidecars = Vec::new();
    for number in 1..=SIDECARS {
        let mut sidecar =
            collector(root.path(), &number.to_string(), Settings::default())?.forwarding_to(&gateway);
        sidecar.start()?;
        sidecars.push(sidecar);
    }
    let load = load(&sidecars, u64::MAX / 2)?;
    let mut seed = 0x5eed_0004;
    for round in 0..ROUNDS {
        thread::sleep(Duration::from_millis(30 + random(&mut seed) % 600));
        // The gateway as often as all of the others.
        let victim = match usize::try_from(random(&mut seed) % 6)? {
            at @ 0..=2 => &mut sidecars[at],
            _ => &mut gateway,
        };
        victim.kill()?;
        println!("round {round}: killed with {:?} acked", load.acked());
        victim.start()?;
    }
    let before: u64 = load.acked().iter().sum();
    wait_for("acks after the last start", START, || {
        Ok((load.acked().iter().sum::<u64>() > before + 500).then_some(()))
    })?;
    let acked = load.stop();
    for sidecar in &mut sidecars {
        sidecar.stop()?;
        ensure!(sidecar.log()?.contains("\"drained\":true"), "not drained: {}", sidecar.log()?);
    }
    gateway.stop()?;
    let total: u64 = acked.iter().sum();
    ensure!(total > 2_000, "only {total} records were acked, which shows little");
    holds_exactly_once(&gateway, &acked)?;

    // One chain, which says of every range which collector took it.
    let manifests = manifests(&gateway)?;
    let chains: BTreeSet<_> = manifests.iter().map(|manifest| manifest.chain.collector).collect();
    ensure!(chains.len() == 1, "{} collectors wrote", chains.len());
    let own = chains.first().context("no chain")?;
    for source in manifests.iter().flat_map(|manifest| &manifest.sources) {
        let taken_by = source.collector.context("a range that the gateway claims to have taken itself")?;
        let sidecar = &sidecars[usize::from(source.source.0[0]) - 1];
        let id = std::fs::read_to_string(sidecar.spool().join("collector-id"))?;
        ensure!(taken_by != *own && taken_by.to_string() == id.trim(), "{taken_by}, not {id}");
    }
    println!("{total} acked records, {} manifests: 0 lost, 0 twice", manifests.len());
    Ok(())
}

/// Events wait in the sidecar while the gateway is away, and what the gateway cannot take holds nobody up for good.
#[test]
fn a_gateway_that_is_away_loses_and_doubles_nothing() -> Result<()> {
    let root = tempfile::tempdir()?;
    let mut gateway = collector(root.path(), "gateway", Settings::default())?.as_gateway();
    gateway.start()?;
    let mut sidecar = collector(root.path(), "1", Settings::default())?.forwarding_to(&gateway);
    sidecar.start()?;
    let load = load(std::slice::from_ref(&sidecar), 12_000)?;
    wait_for("events at the gateway", START, || {
        let forwarded = gateway.metrics()?.get("sidetrail_forwarded_events_total").copied();
        Ok(forwarded.filter(|events| *events > 500.0).map(|_| ()))
    })?;
    gateway.kill()?;
    let before = load.acked()[0];
    wait_for("acks without a gateway", START, || Ok((load.acked()[0] > before + 2_000).then_some(())))?;
    ensure!(sidecar.probe("/readyz")?.status == 200, "not ready, though it can take events");
    gateway.start()?;
    let acked = load.finish()?;
    wait_for("the sidecar's queue to be empty", START, || {
        Ok((sidecar.metrics()?.get("sidetrail_trail_events_queued") == Some(&0.0)).then_some(()))
    })?;
    sidecar.stop()?;
    gateway.stop()?;
    ensure!(acked == [12_000], "{acked:?}");
    holds_exactly_once(&gateway, &acked)
}

/// A sender whose collector was gone went to another one, and sent again what was not acked. Both have it, in frames
/// that begin and end elsewhere.
#[test]
fn a_source_that_comes_by_way_of_two_sidecars_is_recorded_once() -> Result<()> {
    let root = tempfile::tempdir()?;
    let mut gateway = collector(root.path(), "gateway", Settings::default())?.as_gateway();
    let mut sidecars = Vec::new();
    for (name, total, batch) in [("1", 1_000, 20), ("2", 1_500, 32)] {
        let mut sidecar = collector(root.path(), name, Settings::default())?.forwarding_to(&gateway);
        sidecar.start()?;
        let runtime = tokio::runtime::Runtime::new()?;
        let sender = Sender::new(&sidecar.socket(), [1; 16], total, batch, Duration::ZERO);
        runtime.block_on(async { tokio::time::timeout(START, sender.run()).await })??;
        sidecars.push(sidecar);
    }
    gateway.start()?;
    for sidecar in &mut sidecars {
        sidecar.stop()?;
        ensure!(sidecar.log()?.contains("\"drained\":true"), "{}", sidecar.log()?);
    }
    gateway.stop()?;
    holds_exactly_once(&gateway, &[1_500])
}

/// What may be at the gateway is not shipped by the sidecar as well, when its destination is changed in between.
#[test]
fn a_destination_is_not_changed_in_the_middle() -> Result<()> {
    let root = tempfile::tempdir()?;
    let mut gateway = collector(root.path(), "gateway", Settings::default())?.as_gateway();
    gateway.start()?;
    let mut sidecar = collector(root.path(), "1", Settings::default())?.forwarding_to(&gateway);
    sidecar.start()?;
    load(std::slice::from_ref(&sidecar), 200)?.finish()?;
    wait_for("the first frames at the gateway", START, || {
        let forwarded = gateway.metrics()?.get("sidetrail_forwarded_events_total").copied();
        Ok(forwarded.filter(|events| *events > 0.0).map(|_| ()))
    })?;
    sidecar.kill()?;
    sidecar.forward(false);
    let mut process = sidecar.spawn()?;
    ensure!(process.wait(START)?.code() == Some(1), "it started");
    ensure!(
        process.log()?.contains("the gateway may have events that are in the spool too"),
        "{}",
        process.log()?
    );

    sidecar.forward(true);
    sidecar.start()?;
    sidecar.stop()?;
    sidecar.forward(false);
    sidecar.start()?;
    load(std::slice::from_ref(&sidecar), 300)?.finish()?;
    sidecar.stop()?;
    gateway.stop()?;
    holds_exactly_once(&gateway, &[200])?;
    let ids = archive::event_ids(&sidecar)?;
    ensure!(
        ids.len() == 100 && (201..=300).all(|event| ids.contains_key(&event_id([1; 16], event))),
        "{ids:?}"
    );
    Ok(())
}

/// A sidecar that is set up for another account is told so, and keeps what it has.
#[test]
fn another_account_is_refused() -> Result<()> {
    let root = tempfile::tempdir()?;
    let mut gateway = collector(root.path(), "gateway", Settings::default())?.as_gateway();
    gateway.start()?;
    let mut sidecar = collector(root.path(), "1", Settings::default())?
        .forwarding_to(&gateway)
        .with_account("444455556666")
        .with_shutdown("1s");
    sidecar.start()?;
    let load = load(std::slice::from_ref(&sidecar), 100)?;
    ensure!(load.finish()? == [100], "it takes events all the same");
    wait_for("the refusal", START, || {
        let text = "open.account_id is \\\"444455556666\\\", the gateway ships for \\\"111122223333\\\"";
        Ok(sidecar.log()?.contains(text).then_some(()))
    })?;
    sidecar.stop()?;
    ensure!(sidecar.log()?.contains("\"drained\":false"), "{}", sidecar.log()?);
    gateway.stop()?;
    ensure!(archive::records(&gateway)?.is_empty(), "something arrived");
    Ok(())
}

/// The sidecar's bucket takes connections and never answers, and the gateway's is away altogether. The sidecar ends in
/// time with nothing left; the gateway keeps the rest over a kill -9 until there is a bucket.
#[test]
fn what_a_sidecar_cannot_ship_at_shutdown_arrives_through_the_gateway() -> Result<()> {
    let mut store = SeaweedFs::start()?;
    let bucket = store.bucket("handover")?;
    let root = tempfile::tempdir()?;
    let mut gateway =
        collector(root.path(), "gateway", Settings::default())?.with_store(&store, &bucket)?.as_gateway();
    gateway.start()?;
    let mut sidecar = collector(root.path(), "1", Settings::default())?
        .with_store(&store, &bucket)?
        .with_gateway(&gateway)
        .with_shutdown("8s");
    sidecar.start()?;
    let acked = load(std::slice::from_ref(&sidecar), 1_000)?.finish()?;
    ensure!(acked == [1_000], "{acked:?}");
    wait_for("records in the store", START, || {
        let shipped = sidecar.metric(r#"sidetrail_trail_events_shipped_total{trail="default"}"#)?;
        Ok((shipped >= 1_000.0).then_some(()))
    })?;
    sidecar.stop()?;

    let silent = TcpListener::bind("127.0.0.1:0")?;
    sidecar.set_env("AWS_ENDPOINT_URL", &format!("http://{}", silent.local_addr()?));
    sidecar.start()?;
    let acked = load(std::slice::from_ref(&sidecar), 6_000)?.finish()?;
    ensure!(acked == [6_000], "{acked:?}");
    store.kill()?;
    let began = Instant::now();
    sidecar.stop()?;
    ensure!(began.elapsed() < Duration::from_secs(8), "{:?} is after the deadline", began.elapsed());
    let log = sidecar.log()?;
    ensure!(log.contains("\"handed_over\":true") && !log.contains("\"drained\":false"), "{log}");

    let parcels = gateway.metrics()?["sidetrail_parcels"];
    ensure!(parcels >= 1.0, "nothing is at the gateway");
    gateway.kill()?;
    gateway.start()?;
    ensure!(gateway.spool().join("parcels").read_dir()?.count() >= 1, "parcels are gone with the process");
    store.resume()?;
    wait_for("the parcels in the bucket", START, || {
        Ok((gateway.metrics()?["sidetrail_parcels"] == 0.0).then_some(()))
    })?;
    sidecar.set_env("AWS_ENDPOINT_URL", &store.endpoint());
    holds_exactly_once(&sidecar, &[6_000])?;

    // Its own chain goes on where the gateway's deliveries end.
    sidecar.start()?;
    load(std::slice::from_ref(&sidecar), 7_000)?.finish()?;
    sidecar.stop()?;
    gateway.stop()?;
    holds_exactly_once(&sidecar, &[7_000])?;
    let chains: BTreeSet<_> = manifests(&sidecar)?.iter().map(|manifest| manifest.chain.collector).collect();
    ensure!(chains.len() == 1, "the gateway wrote of its own: {chains:?}");
    println!("{parcels} parcels");
    Ok(())
}

/// A gateway that ships elsewhere does not take what it would put there.
#[test]
fn a_parcel_for_another_bucket_is_refused() -> Result<()> {
    let root = tempfile::tempdir()?;
    let store = SeaweedFs::shared()?;
    let mut gateway = collector(root.path(), "gateway", Settings::default())?.as_gateway();
    gateway.start()?;
    let mut sidecar = collector(root.path(), "1", Settings::default())?
        .with_store(store, "elsewhere")?
        .with_gateway(&gateway)
        .with_shutdown("3s");
    let silent = TcpListener::bind("127.0.0.1:0")?;
    sidecar.set_env("AWS_ENDPOINT_URL", &format!("http://{}", silent.local_addr()?));
    sidecar.start()?;
    load(std::slice::from_ref(&sidecar), 100)?.finish()?;
    sidecar.stop()?;
    let log = sidecar.log()?;
    ensure!(log.contains("parcel.destination states \\\"s3://elsewhere/audit\\\""), "{log}");
    ensure!(log.contains("\"drained\":false"), "{log}");
    gateway.stop()?;
    ensure!(gateway.spool().join("parcels").read_dir()?.count() == 0, "a parcel is there");
    Ok(())
}

pub(crate) fn holds_exactly_once(gateway: &Collector, acked: &[u64]) -> Result<()> {
    let ids = archive::event_ids(gateway)?;
    let twice: Vec<_> = ids.iter().filter(|(_, count)| **count > 1).collect();
    ensure!(twice.is_empty(), "{} records are there twice, for example {:?}", twice.len(), twice.first());
    for (source, acked) in (1..).zip(acked) {
        let lost: Vec<_> =
            (1..=*acked).filter(|sequence| !ids.contains_key(&event_id([source; 16], *sequence))).collect();
        ensure!(lost.is_empty(), "source {source} lost {} of {acked}, first {:?}", lost.len(), lost.first());
    }
    let report = archive::verify(gateway)?;
    ensure!(report.outcome() == Outcome::Valid, "{report:?}");
    let log = gateway.log()?;
    ensure!(!log.contains("does not add up"), "accounting: {log}");
    ensure!(log.contains("\"drained\":true"), "not drained: {log}");
    Ok(())
}

/// Every manifest in the bucket, as its published key believes it.
pub(crate) fn manifests(collector: &Collector) -> Result<Vec<Manifest>> {
    let objects = archive::objects(collector, |key| !key.ends_with(".gz"))?;
    let keys: Vec<_> = objects
        .values()
        .filter_map(|bytes| PublishedKey::open(bytes).ok())
        .map(|key| key.public_key)
        .collect();
    Ok(objects.values().filter_map(|bytes| Manifest::open(bytes, &keys).ok()).collect())
}

/// One sender for each sidecar. Sidecar `n`, counted from 1, has the source of that number.
fn load(sidecars: &[Collector], total: u64) -> Result<Load> {
    let pause = Duration::from_millis(2);
    let sender =
        |(source, sidecar): (u8, &Collector)| Sender::new(&sidecar.socket(), [source; 16], total, 20, pause);
    Load::start((1..).zip(sidecars).map(sender))
}
