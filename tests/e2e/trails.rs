//! Several trails of one collector, each with its own selectors, destination, rotation and key: through kills and changes of
//! the configuration each has exactly what it selects, and says what became of the rest.

use std::collections::BTreeSet;
use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use bytes::Bytes;
use serde_json::Value;
use sidetrail_archive::sign::{Ed25519Signer, Signer};
use sidetrail_archive::verify::Outcome;
use sidetrail_tests::collector::Settings;
use sidetrail_tests::sender::{Sender, event_id};
use sidetrail_tests::{Collector, Load, START, SeaweedFs, archive, tools, wait_for};

const SOURCES: u64 = 3;
const TOTAL: u64 = 3_000;
const KILLS: u64 = 6;
const BATCH: u64 = 7;

pub(crate) const WRITES: &str =
    "event_selectors: [{ ReadWriteType: WriteOnly, ExcludeManagementEventSources: [noise.example.com] }]";
pub(crate) const REFUNDS: &str = "advanced_event_selectors: [{ Name: refunds, FieldSelectors: [\
    { Field: eventCategory, Equals: [Data] }, { Field: resources.type, Equals: ['AWS::Orders::Order'] }, \
    { Field: resources.ARN, StartsWith: ['arn:aws:orders:::order/1'] }, { Field: eventName, StartsWith: [Refund] }] }]";

/// One of six kinds, in turn. The last is taken by the trail without selectors only, and by none where there is no such.
pub(crate) fn record(source: [u8; 16], sequence: u64) -> Bytes {
    let id = event_id(source, sequence);
    let what = match sequence % 6 {
        0 => r#""eventCategory":"Management","readOnly":true,"eventName":"ListOrders""#,
        1 => r#""eventCategory":"Management","readOnly":false,"eventName":"CreateOrder""#,
        2 => r#""eventCategory":"Management","readOnly":false,"eventSource":"noise.example.com""#,
        3 => {
            r#""eventCategory":"Data","eventName":"RefundOrder","resources":[{"type":"AWS::Orders::Order","ARN":"arn:aws:orders:::order/17"}]"#
        }
        4 => {
            r#""eventCategory":"Data","eventName":"RefundOrder","resources":[{"type":"AWS::Orders::Order","ARN":"arn:aws:orders:::order/2"}]"#
        }
        _ => r#""eventCategory":"Data","eventName":"GetLine""#,
    };
    let padding = "x".repeat(usize::try_from(sequence % 300).unwrap_or(0));
    Bytes::from(format!(
        r#"{{"eventVersion":"1.11","eventTime":"2026-01-15T10:41:{:02}Z",{what},"eventID":"{id}","requestParameters":{{"padding":"{padding}"}}}}"#,
        sequence % 60
    ))
}

fn source(index: u64) -> [u8; 16] {
    [0x40 + u8::try_from(index).unwrap_or(0); 16]
}

/// Starts senders of all records.
fn load(collector: &Collector, sources: std::ops::Range<u64>) -> Result<Load> {
    let pause = Duration::from_millis(5);
    Load::start(sources.map(|index| {
        Sender::new(&collector.socket(), source(index), TOTAL, BATCH, pause).with_records(record)
    }))
}

/// Kills the collector as often as `KILLS`, each time when more was acked, and has it started again by `restart`.
fn kill(
    load: &Load,
    collector: &mut Collector,
    mut restart: impl FnMut(&mut Collector, u64) -> Result<()>,
) -> Result<()> {
    for kill in 0..KILLS {
        let due = (kill + 1) * TOTAL * load.acked().len() as u64 / (KILLS + 1);
        wait_for("acks", START, || Ok((load.acked().iter().sum::<u64>() >= due).then_some(())))?;
        collector.kill()?;
        restart(collector, kill)?;
    }
    Ok(())
}

/// The eventIDs at a destination. None is there twice.
fn ids(collector: &Collector, destination: &str) -> Result<BTreeSet<String>> {
    let mut ids = BTreeSet::new();
    for record in archive::records_at(collector, destination)? {
        let id = record["eventID"].as_str().context("a record without eventID")?.to_owned();
        ensure!(ids.insert(id.clone()), "{id} is there twice");
    }
    Ok(ids)
}

/// The eventIDs of the kinds of all sources.
fn expected(kinds: &[u64]) -> BTreeSet<String> {
    let of =
        |index| (1..=TOTAL).filter(|it| kinds.contains(&(it % 6))).map(move |it| event_id(source(index), it));
    (0..SOURCES).flat_map(of).collect()
}

/// The evidence is valid, and accounts for `events`.
fn accounts_for(collector: &Collector, destination: &str, events: u64) -> Result<()> {
    let report = archive::verify_at(collector, destination)?;
    ensure!(report.outcome() == Outcome::Valid, "{destination}: {report:?}");
    let counted = report.totals.records + report.totals.filtered;
    ensure!(counted == events, "{destination} accounts for {counted} of {events} events");
    Ok(())
}

#[test]
fn each_trail_has_what_it_selects() -> Result<()> {
    let store = SeaweedFs::shared()?;
    let bucket = store.bucket("trails")?;
    let directory = tempfile::tempdir()?;
    let mut collector = Collector::new(directory.path(), Settings::default())?.with_store(store, &bucket)?;
    let signer = Ed25519Signer::generate()?;
    let key = directory.path().join("refunds.pem");
    fs::write(&key, signer.to_pem())?;
    fs::set_permissions(&key, Permissions::from_mode(0o600))?;
    let (all, writes) =
        (collector.destination(), format!("s3://{}/only/writes", store.bucket("trails-writes")?));
    let refunds = directory.path().join("refunds").display().to_string();
    collector.set_trails(format!(
        "[{{ name: all, destination: '{all}', rotate: {{ age: 200ms, size: 256KiB }} }}, \
         {{ name: writes, destination: '{writes}', rotate: {{ age: 700ms, size: 64KiB }}, selectors: {{ {WRITES} }} }}, \
         {{ name: refunds, destination: '{refunds}', rotate: {{ age: 300ms }}, key: {}, selectors: {{ {REFUNDS} }} }}]",
        key.display()
    ));
    collector.start()?;
    let load = load(&collector, 0..SOURCES)?;
    kill(&load, &mut collector, |collector, _| collector.start())?;
    load.finish()?;
    let total = SOURCES * TOTAL;
    wait_for("the trails' metrics", START, || {
        let metrics = collector.probe("/metrics")?.body;
        let filtered = [("all", 0), ("writes", total / 6 * 5), ("refunds", total / 6 * 5)];
        let is_there = |(trail, count): &(&str, u64)| {
            metrics.contains(&format!("sidetrail_trail_events_filtered_total{{trail=\"{trail}\"}} {count}\n"))
        };
        Ok(filtered.iter().all(is_there).then_some(()))
    })?;
    collector.stop()?;
    for (destination, kinds) in [(&all, &[0, 1, 2, 3, 4, 5][..]), (&writes, &[1]), (&refunds, &[3])] {
        ensure!(ids(&collector, destination)? == expected(kinds), "{destination} has other records");
    }
    for destination in [&all, &writes, &refunds] {
        accounts_for(&collector, destination, total)?;
    }
    let keys = fs::read_dir(Path::new(&refunds).join("AWSLogs/111122223333/Sidetrail-Key"))?;
    let names: Vec<_> = keys.map(|it| it.map(|it| it.file_name())).collect::<Result<_, _>>()?;
    ensure!(names == [format!("{}.json", signer.key_id()).as_str()], "{names:?}");
    Ok(())
}

/// Plans from before a change are repeated as they were, and a trail that is added begins where it is added.
#[test]
fn selectors_may_change_between_kills() -> Result<()> {
    let directory = tempfile::tempdir()?;
    let mut collector = Collector::new(directory.path(), Settings::default())?;
    let [first, second, late] =
        ["first", "second", "late"].map(|name| directory.path().join(name).display().to_string());
    // No trail takes everything: what none of them takes has no body.
    let trails = |round: u64| {
        let (one, other) = if round.is_multiple_of(2) { (WRITES, REFUNDS) } else { (REFUNDS, WRITES) };
        let more =
            if round < 3 { String::new() } else { format!(", {{ name: late, destination: '{late}' }}") };
        format!(
            "[{{ name: first, destination: '{first}', rotate: {{ age: 500ms }}, selectors: {{ {one} }} }}, \
             {{ name: second, destination: '{second}', rotate: {{ age: 150ms }}, selectors: {{ {other} }} }}{more}]"
        )
    };
    collector.set_trails(trails(0));
    collector.start()?;
    let load = load(&collector, 0..SOURCES)?;
    kill(&load, &mut collector, |collector, kill| {
        collector.set_trails(trails(kill + 1));
        collector.start()
    })?;
    load.finish()?;
    collector.stop()?;

    let total = SOURCES * TOTAL;
    let (one, other) = (ids(&collector, &first)?, ids(&collector, &second)?);
    ensure!(one.is_disjoint(&other), "a record was taken by both");
    let both: BTreeSet<_> = one.union(&other).cloned().collect();
    // At any time one of them took each of these, whichever it was.
    ensure!(both == expected(&[1, 3]), "{} records of {}", both.len(), total / 3);
    accounts_for(&collector, &first, total)?;
    accounts_for(&collector, &second, total)?;
    let report = archive::verify_at(&collector, &late)?;
    ensure!(report.outcome() == Outcome::Valid, "a trail that began later: {report:?}");
    let taken = ids(&collector, &late)?.len() as u64;
    ensure!(taken > 0 && taken < total && report.totals.filtered == 0, "{taken} of {total}: {report:?}");
    Ok(())
}

#[test]
fn a_selector_that_would_record_our_own_traffic_is_refused() -> Result<()> {
    let directory = tempfile::tempdir()?;
    let mut collector = Collector::new(directory.path(), Settings::default())?;
    let everything =
        "event_selectors: [{ DataResources: [{ Type: 'AWS::S3::Object', Values: ['arn:aws:s3'] }] }]";
    collector
        .set_trails(format!("[{{ name: loop, destination: s3://audit, selectors: {{ {everything} }} }}]"));
    let config = directory.path().join("looping.yaml");
    fs::write(&config, collector.config())?;
    for arguments in [&["--validate"][..], &[]] {
        let mut command = Command::new(tools::binary("sidetrail-collector")?);
        command.arg("--config").arg(&config).args(arguments);
        let ran = tools::run(command)?;
        ensure!(ran.status.code() == Some(64), "{ran:?}");
        ensure!(
            ran.stderr.contains("trails[0].selectors.event_selectors[0] would record what trail loop"),
            "{ran:?}"
        );
    }
    Ok(())
}

#[test]
fn explain_answers_by_exit_code_and_json() -> Result<()> {
    let directory = tempfile::tempdir()?;
    let mut collector = Collector::new(directory.path(), Settings::default())?;
    collector.set_trails(format!("[{{ name: writes, destination: /nowhere, selectors: {{ {WRITES} }} }}]"));
    let (config, event) = (directory.path().join("collector.yaml"), directory.path().join("event.json"));
    fs::write(&config, collector.config())?;
    for (content, code) in [(Some(record(source(0), 1)), 0), (Some(record(source(0), 0)), 1), (None, 65)] {
        fs::write(&event, content.clone().unwrap_or_else(|| Bytes::from_static(b"nonsense")))?;
        // `--config` on either side of the subcommand.
        for before in [true, false] {
            let mut command = Command::new(tools::binary("sidetrail-collector")?);
            let place = |command: &mut Command| {
                command.arg("--config").arg(&config);
            };
            if before {
                place(&mut command);
            }
            command.arg("explain").arg("--event").arg(&event);
            if !before {
                place(&mut command);
            }
            let ran = tools::run(command)?;
            ensure!(ran.status.code() == Some(code), "{ran:?}");
            if content.is_some() {
                let said: Value = serde_json::from_str(&ran.stdout)?;
                ensure!(said["trails"][0]["taken"] == (code == 0), "{said}");
            }
        }
    }
    Ok(())
}
