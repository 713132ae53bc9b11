//! Calls that were announced: whatever dies, and whenever, each ends in exactly one record, or in one and its amendment.

use std::collections::HashMap;
use std::future::Future;
use std::process::Command;
use std::thread;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use serde_json::{Value, json};
use sidetrail_archive::key::Id;
use sidetrail_archive::verify::{Outcome, Totals};
use sidetrail_tests::collector::Settings;
use sidetrail_tests::sender::{Stream, event_id, hello};
use sidetrail_tests::{Collector, Guarded, START, archive, tools, wait_for};

const SOURCE: [u8; 16] = [1; 16];
/// Another source, for what must have been found out by the time that something else is.
const WITNESS: [u8; 16] = [2; 16];

const ROUNDS: u64 = 12;
const SOURCES: u8 = 8;
const CALLS: u64 = 2;
/// Senders that come back about when they are given up.
const RETURNING: u8 = 40;

fn run<T>(steps: impl Future<Output = Result<T>>) -> Result<T> {
    tokio::runtime::Builder::new_current_thread().enable_all().build()?.block_on(steps)
}

fn start(directory: &tempfile::TempDir, grace: &'static str) -> Result<Collector> {
    let mut collector = Collector::new(directory.path(), Settings { grace, ..Settings::default() })?;
    collector.start()?;
    Ok(collector)
}

/// Announces calls and goes without a word.
fn announce_and_cut(collector: &Collector, source: [u8; 16], calls: u64) -> Result<()> {
    run(async {
        let mut sender = Guarded::open(&collector.socket(), source).await?;
        for _ in 0..calls {
            sender.intend().await?;
        }
        Ok(())
    })
}

/// Waits until nothing is open and `count` calls were recorded as Incomplete.
fn wait_for_incomplete(collector: &Collector, count: u64) -> Result<()> {
    let what = format!("{count} calls to be recorded as Incomplete");
    wait_for(&what, START, || {
        let metrics = collector.metrics()?;
        let of = |name: &str| metrics.get(name).copied().with_context(|| name.to_owned());
        let done = of("sidetrail_intents_open")? == 0.0 && of("sidetrail_incomplete_total")? >= count as f64;
        Ok(done.then_some(()))
    })
}

/// Ends the collector, and gives its records once the evidence is sound: as many records, intents and nothing else.
fn finish(mut collector: Collector, records: u64, intents: u64) -> Result<Vec<Value>> {
    collector.stop()?;
    let report = archive::verify(&collector)?;
    ensure!(report.outcome() == Outcome::Valid, "{report:?}");
    let Totals { records: recorded, intents: announced, filtered, dropped, .. } = report.totals;
    let counts = (recorded, announced, filtered, dropped);
    ensure!(counts == (records, intents, 0, 0), "the manifests say {counts:?}, not {records} and {intents}");
    let log = collector.log()?;
    ensure!(!log.contains("does not add up"), "accounting: {log}");
    ensure!(log.contains("\"drained\":true,\"adds_up\":true"), "not drained: {log}");
    archive::records(&collector)
}

fn is_incomplete(record: &Value) -> bool {
    record["errorCode"] == "Incomplete"
}

fn mark(record: &Value) -> &Value {
    &record["additionalEventData"]["sidetrail"]
}

#[test]
fn a_sender_that_is_cut_off_leaves_one_incomplete_record() -> Result<()> {
    let directory = tempfile::tempdir()?;
    let collector = start(&directory, "1s")?;
    announce_and_cut(&collector, SOURCE, 1)?;
    ensure!(collector.metrics()?["sidetrail_intents_open"] == 1.0, "acked, so it is open");
    wait_for_incomplete(&collector, 1)?;
    let own: String = std::fs::read_to_string(collector.spool().join("collector-id"))?.trim().to_owned();
    let mut verify = Command::new(tools::binary("sidetrail")?);
    verify.args(["verify", &collector.destination()]);

    let records = finish(collector, 1, 1)?;
    let record = &records[0];
    ensure!(is_incomplete(record) && record["responseElements"].is_null(), "{record}");
    ensure!(record["eventID"] == event_id(SOURCE, 1), "{record}");
    ensure!(record["eventTime"] == "2026-01-15T10:41:17Z", "when it began: {record}");
    ensure!(record["requestParameters"] == json!({"orderId": "1"}), "{record}");
    let intent = json!({"source": Id(SOURCE).to_string(), "sequence": 1});
    ensure!(*mark(record) == json!({"source": own, "sequence": 1, "intent": intent}), "{record}");

    let text = tools::run(verify)?.success()?;
    for part in ["0 given up by senders, 1 intent\n", "0 given up, 1 intent\n", "sidetrail-collector on "] {
        ensure!(text.contains(part), "{part:?} is not in\n{text}");
    }
    Ok(())
}

#[test]
fn a_call_that_ends_leaves_its_own_record_only() -> Result<()> {
    let directory = tempfile::tempdir()?;
    let collector = start(&directory, "1s")?;
    run(async {
        let mut sender = Guarded::open(&collector.socket(), SOURCE).await?;
        let first = sender.intend().await?;
        let second = sender.intend().await?;
        sender.complete(second).await?;
        sender.complete(first).await?;
        Ok(())
    })?;
    // Cut off later than the other: once this is recorded, the other would have been.
    announce_and_cut(&collector, WITNESS, 1)?;
    wait_for_incomplete(&collector, 1)?;
    let records = finish(collector, 3, 3)?;
    for intent in 1..=2_u64 {
        let id = event_id(SOURCE, intent);
        let of: Vec<_> = records.iter().filter(|record| record["eventID"] == id).collect();
        ensure!(of.len() == 1, "{intent} is there {} times", of.len());
        ensure!(!is_incomplete(of[0]) && of[0]["responseElements"]["refunded"] == true, "{}", of[0]);
        ensure!(mark(of[0])["intent"] == intent, "{}", of[0]);
    }
    Ok(())
}

/// With a grace of an hour nothing but the goodbye can be why.
#[test]
fn a_goodbye_ends_what_is_open_at_once() -> Result<()> {
    let directory = tempfile::tempdir()?;
    let collector = start(&directory, "1h")?;
    run(async {
        let mut sender = Guarded::open(&collector.socket(), SOURCE).await?;
        let first = sender.intend().await?;
        sender.intend().await?;
        sender.complete(first).await?;
        sender.goodbye().await
    })?;
    wait_for_incomplete(&collector, 1)?;
    let records = finish(collector, 2, 2)?;
    let incomplete: Vec<_> = records.iter().filter(|record| is_incomplete(record)).collect();
    ensure!(incomplete.len() == 1 && incomplete[0]["eventID"] == event_id(SOURCE, 2), "{records:?}");
    Ok(())
}

/// The intent outlives a kill and an orderly end; the sender outlives neither.
#[test]
fn a_collector_that_dies_or_ends_goes_on_with_what_is_open() -> Result<()> {
    for kill in [true, false] {
        let directory = tempfile::tempdir()?;
        let mut collector = start(&directory, "1s")?;
        run(async {
            let mut sender = Guarded::open(&collector.socket(), SOURCE).await?;
            sender.intend().await?;
            // While the stream is open it cannot have been recorded.
            if kill { collector.kill() } else { collector.stop() }
        })?;
        collector.start()?;
        ensure!(collector.metrics()?["sidetrail_incomplete_total"] == 0.0, "not before the grace");
        wait_for_incomplete(&collector, 1)?;
        // Another life, in which it must not come again by the time that a later one comes.
        collector.kill()?;
        collector.start()?;
        announce_and_cut(&collector, WITNESS, 1)?;
        wait_for_incomplete(&collector, 2)?;
        let records = finish(collector, 2, 2)?;
        for source in [SOURCE, WITNESS] {
            let id = event_id(source, 1);
            let count = records.iter().filter(|it| it["eventID"] == id && is_incomplete(it)).count();
            ensure!(count == 1, "{id} is there {count} times, killed: {kill}");
        }
    }
    Ok(())
}

/// Kills about when the collector records what senders left open, so that it falls before, between and after.
#[test]
fn killed_while_it_records_it_records_once() -> Result<()> {
    let directory = tempfile::tempdir()?;
    let mut collector = start(&directory, "1s")?;
    let mut random = 0x5eed_0003_u64;
    let (mut between, mut source) = (0, [0; 16]);
    for round in 0..ROUNDS {
        for number in 0..SOURCES {
            (source[0], source[1]) = (u8::try_from(round)?, number);
            announce_and_cut(&collector, source, CALLS)?;
        }
        random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        let known = collector.metrics()?["sidetrail_incomplete_total"];
        if round % 2 == 0 {
            // The grace, and about as long before it as after it.
            thread::sleep(Duration::from_millis(900 + (random >> 33) % 300));
        } else {
            // As soon as it has begun.
            wait_for("the first to be recorded", START, || {
                Ok((collector.metrics()?["sidetrail_incomplete_total"] > known).then_some(()))
            })?;
        }
        let before = collector.metrics()?;
        collector.kill()?;
        let (open, recorded) = (before["sidetrail_intents_open"], before["sidetrail_incomplete_total"]);
        println!("round {round}: killed with {open} open, {recorded} recorded");
        between += u64::from(open > 0.0 && open % (f64::from(SOURCES) * CALLS as f64) != 0.0);
        collector.start()?;
    }
    let all = ROUNDS * u64::from(SOURCES) * CALLS;
    wait_for_incomplete(&collector, all)?;
    let records = finish(collector, all, all)?;
    let mut times: HashMap<&str, u64> = HashMap::new();
    for record in &records {
        ensure!(is_incomplete(record), "{record}");
        *times.entry(record["eventID"].as_str().context("no eventID")?).or_default() += 1;
    }
    for round in 0..u8::try_from(ROUNDS)? {
        for number in 0..SOURCES {
            (source[0], source[1]) = (round, number);
            for intent in 1..=CALLS {
                let count = times.get(event_id(source, intent).as_str()).copied().unwrap_or(0);
                ensure!(count == 1, "intent {intent} of source {number} of round {round}: {count} records");
            }
        }
    }
    println!("{all} calls, {ROUNDS} kills, {between} of them in the middle: each recorded once");
    Ok(())
}

#[test]
fn news_that_come_late_amend_the_record() -> Result<()> {
    let directory = tempfile::tempdir()?;
    let mut collector = start(&directory, "1s")?;
    announce_and_cut(&collector, SOURCE, 2)?;
    wait_for_incomplete(&collector, 2)?;
    // What was recorded is remembered over a kill.
    collector.kill()?;
    collector.start()?;
    run(async {
        let mut sender = Guarded::open(&collector.socket(), SOURCE).await?;
        sender.complete(1).await?;
        sender.goodbye().await
    })?;
    let records = finish(collector, 3, 2)?;
    let original = event_id(SOURCE, 1);
    let incomplete = records.iter().filter(|record| is_incomplete(record)).count();
    ensure!(incomplete == 2, "{incomplete} Incomplete records");
    let late: Vec<_> = records.iter().filter(|record| !is_incomplete(record)).collect();
    ensure!(late.len() == 1, "{} records of one completion", late.len());
    let late = late[0];
    let addendum = json!({
        "reason": "UPDATED_DATA",
        "updatedFields": "errorCode,errorMessage,responseElements,additionalEventData",
        "originalRequestID": "request-1",
        "originalEventID": original,
    });
    ensure!(late["addendum"] == addendum, "{late}");
    ensure!(late["eventID"] != original && late["eventID"].is_string(), "an id of its own: {late}");
    ensure!(late["responseElements"]["refunded"] == true, "{late}");
    ensure!(mark(late)["sequence"] == 3 && mark(late)["intent"] == 1, "{late}");
    Ok(())
}

/// Whoever wins, a call has its own record, or an Incomplete one and an amendment of that.
#[test]
fn a_sender_that_comes_back_at_the_last_moment_is_heard_once() -> Result<()> {
    let directory = tempfile::tempdir()?;
    let collector = start(&directory, "1s")?;
    let source = |number: u8| [number + 1; 16];
    run(async {
        let mut tasks = tokio::task::JoinSet::new();
        for number in 0..RETURNING {
            let (socket, source) = (collector.socket(), source(number));
            // From well before the end of the grace to well after it.
            let away = Duration::from_millis(800 + 10 * u64::from(number));
            tasks.spawn(async move {
                let mut sender = Guarded::open(&socket, source).await?;
                let intent = sender.intend().await?;
                drop(sender);
                tokio::time::sleep(away).await;
                let mut sender = Guarded::open(&socket, source).await?;
                sender.complete(intent).await?;
                sender.goodbye().await
            });
        }
        while let Some(ended) = tasks.join_next().await {
            ended??;
        }
        Ok(())
    })?;
    wait_for_incomplete(&collector, 0)?;
    let incomplete = collector.metrics()?["sidetrail_incomplete_total"] as u64;
    let intents = u64::from(RETURNING);
    let records = finish(collector, intents + incomplete, intents)?;
    for number in 0..RETURNING {
        let id = event_id(source(number), 1);
        let count = |is: &dyn Fn(&Value) -> bool| records.iter().filter(|record| is(record)).count();
        let given_up = count(&|it| it["eventID"] == id && is_incomplete(it));
        let in_time = count(&|it| it["eventID"] == id && !is_incomplete(it));
        let amended = count(&|it| it["addendum"]["originalEventID"] == id);
        let counts = (in_time, given_up, amended);
        ensure!(matches!(counts, (1, 0, 0) | (0, 1, 1)), "source {number}: {counts:?}");
    }
    println!("of {RETURNING} senders {incomplete} came back too late");
    Ok(())
}

#[test]
fn nobody_sends_as_the_collector() -> Result<()> {
    let directory = tempfile::tempdir()?;
    let mut collector = start(&directory, "1s")?;
    let own: Id = std::fs::read_to_string(collector.spool().join("collector-id"))?.trim().parse()?;
    run(async {
        let mut stream = Stream::open(&collector.socket(), hello(own.0)).await?;
        let Err(error) = stream.receive().await else { anyhow::bail!("welcomed as the collector itself") };
        ensure!(format!("{error:#}").contains("hello.source is the collector's own"), "{error:#}");
        Ok(())
    })?;
    collector.stop()
}
