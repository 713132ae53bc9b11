//! What else holds over the way from one collector to another: who they are to each other, what the trails at either end
//! select, and what sources say beside their events.

use std::collections::BTreeSet;
use std::fs;
use std::future::Future;
use std::os::unix::net::UnixStream;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use bytes::Bytes;
use sidetrail_archive::key::Id;
use sidetrail_archive::verify::Outcome;
use sidetrail_tests::collector::Settings;
use sidetrail_tests::sender::{Sender, Stream, batch, event_id, hello};
use sidetrail_tests::{Authority, Collector, START, archive, free_address, wait_for};
use sidetrail_wire::ingest::v1::deliver_request::Message;
use sidetrail_wire::ingest::v1::{Batch, Dropped, Event, Goodbye, Heartbeat, deliver_response, event};

use crate::gateway::{collector, holds_exactly_once, manifests};
use crate::tls::listen;
use crate::trails::{REFUNDS, WRITES, record};

const SIDECAR: &str = "spiffe://example.org/ns/prod/sa/sidecar";
const GATEWAY: &str = "spiffe://example.org/ns/prod/sa/gateway";

fn run<T>(steps: impl Future<Output = Result<T>>) -> Result<T> {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build()?;
    runtime.block_on(async { tokio::time::timeout(START * 2, steps).await })?
}

/// Each side tells the other from strangers, and files that are mended are enough: nothing is started again.
#[test]
fn collectors_know_each_other_by_their_certificates() -> Result<()> {
    let root = tempfile::tempdir()?;
    let authority = Authority::new(&root.path().join("ca"))?;
    let stranger = Authority::new(&root.path().join("stranger"))?;
    let address = free_address()?;
    // All is wrong at first: the authority that the sidecar trusts, and the name of either.
    let server = authority.issue("gateway", &["127.0.0.1", "spiffe://example.org/ns/dev/sa/gateway"])?;
    let client = authority.issue("sidecar", &["spiffe://example.org/ns/dev/sa/sidecar"])?;
    let ca = root.path().join("trusted.pem");
    fs::copy(stranger.ca(), &ca)?;

    let mut gateway = collector(root.path(), "gateway", Settings::default())?.as_gateway();
    gateway.set_listen(listen(address, &authority, &server, SIDECAR));
    gateway.start()?;
    let mut sidecar = collector(root.path(), "1", Settings::default())?;
    sidecar.forward(true);
    sidecar.set_more(format!(
        "gateway: {{ endpoint: 'https://{address}', tls: {{ ca: {}, certificate: {}, key: {}, id: '{GATEWAY}' }} }}\n",
        ca.display(),
        client.certificate.display(),
        client.key.display(),
    ));
    sidecar.start()?;
    run(Sender::new(&sidecar.socket(), [1; 16], 100, 10, Duration::ZERO).run())?;

    let says = |sidecar: &Collector, what: &str| {
        let line = |line: &&str| line.contains("cannot forward") && line.contains(what);
        wait_for(&format!("{what} in the log"), START, || Ok(sidecar.log()?.lines().rfind(line).map(|_| ())))
            .with_context(|| sidecar.log().unwrap_or_default())
    };
    let refused =
        |gateway: &Collector| gateway.metric("sidetrail_connections_refused_total{reason=\"not_allowed\"}");
    says(&sidecar, "UnknownIssuer")?;
    fs::copy(authority.ca(), &ca)?;
    says(&sidecar, "NotValidForName")?;
    ensure!(refused(&gateway)? == 0.0, "nobody got that far");

    authority.issue("gateway", &["127.0.0.1", GATEWAY])?;
    gateway.process().context("it runs")?.hang_up()?;
    wait_for("the sidecar to be refused", START, || Ok((refused(&gateway)? > 0.0).then_some(())))
        .with_context(|| {
            format!("{}\n{}", gateway.log().unwrap_or_default(), sidecar.log().unwrap_or_default())
        })?;
    ensure!(gateway.metrics()?["sidetrail_forwarded_events_total"] == 0.0, "somebody forwards");
    ensure!(
        sidecar.metrics()?.get("sidetrail_trail_events_queued") == Some(&100.0),
        "they wait in the spool"
    );
    ensure!(sidecar.probe("/readyz")?.status == 200, "not ready, though it can take events");

    authority.issue("sidecar", &[SIDECAR])?;
    wait_for("the events", START, || {
        Ok((sidecar.metrics()?.get("sidetrail_trail_events_queued") == Some(&0.0)).then_some(()))
    })
    .with_context(|| sidecar.log().unwrap_or_default())?;
    sidecar.stop()?;
    gateway.stop()?;
    holds_exactly_once(&gateway, &[100])
}

/// A connection with a stream of frames is in use, however little comes over it.
#[test]
fn a_forwarder_that_is_quiet_stays_connected() -> Result<()> {
    let root = tempfile::tempdir()?;
    let mut gateway = collector(root.path(), "gateway", Settings::default())?.as_gateway();
    gateway.set_listen("limits: { idle: 1s }");
    gateway.start()?;
    let mut sidecar = collector(root.path(), "1", Settings::default())?.forwarding_to(&gateway);
    sidecar.start()?;
    wait_for("the forwarder", START, || {
        Ok((gateway.metrics()?["sidetrail_forwarders_open"] == 1.0).then_some(()))
    })?;
    // Others come and say nothing, one after the other: each time one is sent away, the limit has passed once more.
    let idle = |gateway: &Collector| gateway.metric("sidetrail_connections_refused_total{reason=\"idle\"}");
    for sent_away in 1..=3 {
        let _silent = UnixStream::connect(gateway.socket())?;
        wait_for("a silent connection to end", START, || {
            Ok((idle(&gateway)? >= f64::from(sent_away)).then_some(()))
        })?;
        ensure!(gateway.metrics()?["sidetrail_forwarders_open"] == 1.0, "{}", gateway.log()?);
    }
    run(Sender::new(&sidecar.socket(), [1; 16], 10, 10, Duration::ZERO).run())?;
    sidecar.stop()?;
    ensure!(idle(&gateway)? == 3.0, "the forwarder was sent away: {}", gateway.log()?);
    gateway.stop()?;
    ensure!(gateway.log()?.matches("a collector forwards").count() == 1, "{}", gateway.log()?);
    holds_exactly_once(&gateway, &[10])
}

/// The gateway selects for its own trails what it is forwarded, whatever another trail of the sidecar selects for itself,
/// and both account for all that came. Over kills, too, when frames are repeated.
#[test]
fn each_end_selects_for_its_own_trails() -> Result<()> {
    const TOTAL: u64 = 3_000;
    const SOURCE: [u8; 16] = [1; 16];
    let root = tempfile::tempdir()?;
    let at = |name: &str| root.path().join(name).display().to_string();
    let mut gateway = collector(root.path(), "gateway", Settings::default())?.as_gateway();
    let trail = |name: &str, selectors: &str| {
        format!(
            "{{ name: {name}, destination: '{}', rotate: {{ age: 200ms }}, selectors: {{ {selectors} }} }}",
            at(name)
        )
    };
    gateway.set_trails(format!("[{}, {}]", trail("writes", WRITES), trail("refunds", REFUNDS)));
    gateway.start()?;
    let mut sidecar = collector(root.path(), "1", Settings::default())?.forwarding_to(&gateway);
    sidecar.set_trails(format!("[{{ name: onward, destination: gateway }}, {}]", trail("own", REFUNDS)));
    sidecar.start()?;

    let sender =
        Sender::new(&sidecar.socket(), SOURCE, TOTAL, 7, Duration::from_millis(2)).with_records(record);
    let running = sender.clone();
    let load = std::thread::spawn(move || run(running.run()));
    for (part, kills_gateway) in [(4, true), (3, false), (2, true)] {
        wait_for("acks", START, || Ok((sender.acked() >= TOTAL / part).then_some(())))?;
        let victim = if kills_gateway { &mut gateway } else { &mut sidecar };
        victim.kill()?;
        victim.start()?;
    }
    load.join().map_err(|_| anyhow::anyhow!("it panicked"))??;
    sidecar.stop()?;
    ensure!(sidecar.log()?.contains("\"drained\":true,\"adds_up\":true"), "{}", sidecar.log()?);
    wait_for("the metrics of what was not selected", START, || {
        let filtered = |trail: &str| {
            gateway.metric(&format!("sidetrail_trail_events_filtered_total{{trail=\"{trail}\"}}"))
        };
        let expected = (TOTAL / 6 * 5) as f64;
        Ok((filtered("writes")? == expected && filtered("refunds")? == expected).then_some(()))
    })?;
    gateway.stop()?;
    ensure!(gateway.log()?.contains("\"drained\":true,\"adds_up\":true"), "{}", gateway.log()?);
    for (collector, name, kind) in [(&gateway, "writes", 1), (&gateway, "refunds", 3), (&sidecar, "own", 3)] {
        let ids = archive::event_ids_in(root.path().join(name).as_path())?;
        let distinct: BTreeSet<_> = ids.iter().cloned().collect();
        let expected: BTreeSet<_> =
            (1..=TOTAL).filter(|it| it % 6 == kind).map(|it| event_id(SOURCE, it)).collect();
        ensure!(ids.len() == distinct.len() && distinct == expected, "{name}: {} records", ids.len());
        let report = archive::verify_at(collector, &at(name))?;
        ensure!(report.outcome() == Outcome::Valid, "{name}: {report:?}");
        let totals = &report.totals;
        ensure!(totals.records + totals.filtered == TOTAL, "{name}: {totals:?}");
    }
    Ok(())
}

/// How far a source says that it has numbered, and why it gave up events, is in the evidence of the gateway.
#[test]
fn what_a_source_says_of_its_events_passes_the_hop() -> Result<()> {
    let source = [5; 16];
    let root = tempfile::tempdir()?;
    let mut gateway = collector(root.path(), "gateway", Settings::default())?.as_gateway();
    gateway.start()?;
    let mut sidecar = collector(root.path(), "1", Settings::default())?.forwarding_to(&gateway);
    sidecar.start()?;
    let missing = |gateway: &Collector, count: f64| {
        wait_for(&format!("{count} missing events"), START, || {
            Ok((gateway.metrics()?["sidetrail_events_missing"] == count).then_some(()))
        })
        .with_context(|| gateway.log().unwrap_or_default())
    };
    run(async {
        let mut stream = Stream::open(&sidecar.socket(), hello(source)).await?;
        stream.receive().await?;
        let text = |event: u64| {
            let id = event_id(source, event);
            Bytes::from(format!(
                r#"{{"eventVersion":"1.11","eventTime":"2026-01-15T10:41:17Z","eventName":"Load","eventID":"{id}"}}"#
            ))
        };
        stream.send(batch(1, (1..=3).map(text))).await?;
        let given_up = Dropped { count: 5, reason: "overflow".to_owned() };
        let event =
            Event { sequence: 4, payload: Some(event::Payload::Dropped(given_up)), ..Event::default() };
        stream.send(Message::Batch(Batch { events: vec![event] })).await?;
        while !matches!(stream.receive().await?, deliver_response::Message::Ack(ack) if ack.sequence == 8) {}
        stream.send(Message::Heartbeat(Heartbeat { last_sequence: 12 })).await?;
        missing(&gateway, 4.0)?;
        // It knows so after a crash.
        gateway.kill()?;
        gateway.start()?;
        missing(&gateway, 4.0)?;
        stream.send(Message::Goodbye(Goodbye { last_sequence: 15 })).await?;
        missing(&gateway, 7.0)
    })?;
    sidecar.stop()?;
    gateway.stop()?;
    let manifests = manifests(&gateway)?;
    let drops: Vec<_> = manifests.iter().flat_map(|it| &it.drops).collect();
    ensure!(drops.len() == 1 && (drops[0].reason.as_str(), drops[0].count) == ("overflow", 5), "{drops:?}");
    ensure!(drops[0].source == Id(source), "{drops:?}");
    let heard: BTreeSet<_> = manifests
        .iter()
        .flat_map(|it| &it.heard)
        .map(|it| (it.source == Id(source), it.service.as_str(), it.arrived, it.assigned, it.ended))
        .collect();
    ensure!(heard.contains(&(true, "tests.example.com", 8, 15, true)), "{heard:?}");
    let report = archive::verify(&gateway)?;
    ensure!(report.outcome() == Outcome::ValidWithLosses, "{report:?}");
    let totals = &report.totals;
    ensure!(totals.records == 3 && totals.dropped == 5, "{totals:?}");
    Ok(())
}
