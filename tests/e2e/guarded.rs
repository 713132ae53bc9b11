//! The example that pays out nothing unrecorded, killed while it pays and left without a collector.

use std::collections::HashMap;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use sidetrail_archive::verify::Outcome;
use sidetrail_tests::collector::Settings;
use sidetrail_tests::process::Process;
use sidetrail_tests::{Collector, START, archive, tools, wait_for};

/// How often the service is killed with a call in the handler.
const KILLS: usize = 50;

const TIMEOUT: Duration = Duration::from_secs(10);

struct Payments {
    process: Process,
    address: SocketAddr,
}

impl Payments {
    fn start(socket: &Path, log: &Path) -> Result<Self> {
        let mut command = Command::new(tools::example("guarded")?);
        command.arg("127.0.0.1:0").env("SIDETRAIL_COLLECTOR", format!("unix:{}", socket.display()));
        let _ = std::fs::remove_file(log);
        let mut process = Process::spawn(command, log)?;
        let path = log.to_owned();
        let address = process.wait_until("its address", START, || {
            let text = std::fs::read_to_string(&path)?;
            Ok(text.lines().find_map(|line| line.strip_prefix("listening on http://")?.parse().ok()))
        })?;
        Ok(Self { process, address })
    }

    /// Sends a payout and does not wait for what comes of it.
    fn send(&self, number: usize, slow: bool) -> Result<TcpStream> {
        let mut stream = TcpStream::connect_timeout(&self.address, TIMEOUT)?;
        stream.set_read_timeout(Some(TIMEOUT))?;
        let body = format!(r#"{{"to":"bob-{number}","amount":{number}}}"#);
        write!(
            stream,
            "POST /payouts?number={number}&slow={slow} HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\
             content-type: application/json\r\ncontent-length: {}\r\n\r\n{body}",
            body.len()
        )?;
        Ok(stream)
    }

    fn answer(mut stream: TcpStream) -> Result<String> {
        let mut answer = String::new();
        stream.read_to_string(&mut answer)?;
        Ok(answer)
    }

    /// The payouts whose handler has begun.
    fn begun(&self) -> Result<Vec<usize>> {
        let log = self.process.log()?;
        let number = |line: &str| line.strip_prefix("paying ")?.split(' ').next()?.parse().ok();
        Ok(log.lines().filter_map(number).collect())
    }
}

#[test]
fn every_payout_that_was_begun_is_on_record_though_the_service_is_killed() -> Result<()> {
    let directory = tempfile::tempdir()?;
    let mut collector = Collector::new(directory.path(), Settings { grace: "1s", ..Settings::default() })?;
    collector.start()?;
    let log = directory.path().join("payments.log");
    let mut begun = Vec::new();
    for number in 1..=KILLS {
        let mut payments = Payments::start(&collector.socket(), &log)?;
        // Every other one has a call behind it that came to its end, and one that may be anywhere.
        let finished = if number % 2 == 0 {
            ensure!(Payments::answer(payments.send(number + 1000, false)?)?.starts_with("HTTP/1.1 201"));
            Some(payments.send(number + 2000, true)?)
        } else {
            None
        };
        let call = payments.send(number, true)?;
        wait_for("the handler to begin", START, || Ok(payments.begun()?.contains(&number).then_some(())))?;
        payments.process.kill()?;
        begun.extend(payments.begun()?);
        drop((finished, call));
    }

    let what = "the collector to account for every call";
    wait_for(what, START, || {
        let metrics = collector.metrics()?;
        Ok((metrics.get("sidetrail_intents_open").copied() == Some(0.0)).then_some(()))
    })?;
    collector.stop()?;
    let report = archive::verify(&collector)?;
    ensure!(report.outcome() == Outcome::Valid, "{report:?}");
    let mut outcomes: HashMap<usize, Vec<Option<String>>> = HashMap::new();
    for record in archive::records(&collector)? {
        ensure!(record["eventName"] == "CreatePayout", "{record}");
        let number = record["requestParameters"]["number"].as_str().context("its number")?.parse()?;
        outcomes.entry(number).or_default().push(record["errorCode"].as_str().map(str::to_owned));
    }
    for number in &begun {
        let recorded = outcomes.get(number).with_context(|| format!("payout {number} is not on record"))?;
        let expected = if (1000..2000).contains(number) { None } else { Some("Incomplete".to_owned()) };
        ensure!(*recorded == [expected], "payout {number} is on record as {recorded:?}");
    }
    ensure!(outcomes.values().all(|recorded| recorded.len() == 1), "twice: {outcomes:?}");
    ensure!(begun.len() >= KILLS + KILLS / 2, "{} payouts were begun", begun.len());
    println!("{KILLS} kills, {} payouts begun, {} on record", begun.len(), outcomes.len());
    Ok(())
}

#[test]
fn nothing_is_paid_while_the_collector_is_away() -> Result<()> {
    let directory = tempfile::tempdir()?;
    let mut collector = Collector::new(directory.path(), Settings::default())?;
    collector.start()?;
    let log = directory.path().join("payments.log");
    let payments = Payments::start(&collector.socket(), &log)?;
    ensure!(Payments::answer(payments.send(1, false)?)?.starts_with("HTTP/1.1 201"));

    collector.kill()?;
    let calls: Vec<_> = (2..=20).map(|number| payments.send(number, false)).collect::<Result<_>>()?;
    for call in calls {
        let answer = Payments::answer(call)?;
        ensure!(answer.starts_with("HTTP/1.1 503") && answer.contains("AuditUnavailable"), "{answer}");
    }
    ensure!(payments.begun()? == [1], "{:?}", payments.begun()?);

    collector.start()?;
    wait_for("payouts to be made again", START, || {
        Ok(Payments::answer(payments.send(21, false)?)?.starts_with("HTTP/1.1 201").then_some(()))
    })?;
    ensure!(payments.begun()? == [1, 21], "{:?}", payments.begun()?);
    Ok(())
}
