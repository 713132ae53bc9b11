//! Event history, from a collector's socket to the AWS CLI, boto3 and our own command line: what was recorded is found, by
//! every attribute, page by page while more arrives.

use std::fs;
use std::net::SocketAddr;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use bytes::Bytes;
use sidetrail_tests::collector::{ACCOUNT, Settings};
use sidetrail_tests::sender::{Sender, event_id};
use sidetrail_tests::tools::{binary, python, run};
use sidetrail_tests::{Collector, Load, Process, START, free_address, wait_for};

const READER: &str = include_str!("history.py");
const ACCESS_KEY: &str = "SIDETRAILHISTORYTESTS";
/// No secret of anybody: made up for this file.
const SECRET: &str = "not-a-secret-of-anybody";
const TOTAL: u64 = 300;
const SOURCE: [u8; 16] = [0x51; 16];

/// One of three kinds, in turn: a read, a write that fails, and a data event.
fn record(source: [u8; 16], sequence: u64) -> Bytes {
    let id = event_id(source, sequence);
    let what = match sequence % 3 {
        0 => r#""eventName":"GetOrder","readOnly":true,"eventCategory":"Management","managementEvent":true"#,
        1 => {
            r#""eventName":"RefundOrder","readOnly":false,"errorCode":"AccessDenied","eventCategory":"Management","managementEvent":true"#
        }
        _ => r#""eventName":"ReadLine","readOnly":true,"eventCategory":"Data","managementEvent":false"#,
    };
    let (user, minute, second) = (sequence % 5, sequence / 60, sequence % 60);
    Bytes::from(format!(
        r#"{{"eventVersion":"1.11","eventTime":"2026-01-15T10:{minute:02}:{second:02}Z","eventSource":"orders.example.com","awsRegion":"eu-central-1","sourceIPAddress":"10.1.{user}.7",{what},"eventID":"{id}","userIdentity":{{"type":"IAMUser","userName":"user-{user}","accessKeyId":"AKIAEXAMPLE{user}","arn":"arn:aws:iam::{ACCOUNT}:user/user-{user}"}},"requestParameters":{{"orderId":"A-{sequence}","note":"left at the door"}},"resources":[{{"type":"AWS::Orders::Order","ARN":"arn:aws:orders:eu-central-1:{ACCOUNT}:order/A-{sequence}"}}],"recipientAccountId":"{ACCOUNT}"}}"#
    ))
}

/// Records that arrive while pages are read: newer than all others.
fn later(source: [u8; 16], sequence: u64) -> Bytes {
    let text = String::from_utf8_lossy(&record(source, sequence)).replace("2026-01-15T10", "2026-01-15T11");
    Bytes::from(text)
}

struct Server {
    process: Process,
    address: SocketAddr,
}

impl Server {
    fn start(directory: &Path, bucket: &str) -> Result<Self> {
        let (address, health) = (free_address()?, free_address()?);
        let config = directory.join("server.yaml");
        fs::write(
            &config,
            format!(
                "regions: [eu-central-1, eu-west-1]\nlisten: {{ api: '{address}', health: '{health}' }}\n\
                 bucket: {bucket}\nlimits: {{ throttling: off }}\n\
                 history: {{ cache: {}, window: 20000d, interval: 100ms }}\naccess_keys:\n  - {{ id: {ACCESS_KEY}, \
                 secret: {{ env: SECRET }}, account: '{ACCOUNT}', user: tests, role: auditor }}\n",
                directory.join("history").display()
            ),
        )?;
        let mut command = Command::new(binary("sidetrail-server")?);
        command.arg("--config").arg(&config).env("SECRET", SECRET);
        let mut process = Process::spawn(command, &directory.join("server.log"))?;
        process.wait_http(health, "/readyz", START)?;
        Ok(Self { process, address })
    }

    fn configure(&self, command: &mut Command) {
        command
            .env("AWS_ACCESS_KEY_ID", ACCESS_KEY)
            .env("AWS_SECRET_ACCESS_KEY", SECRET)
            .env_remove("AWS_SESSION_TOKEN")
            .env("AWS_REGION", "eu-central-1")
            .env("AWS_DEFAULT_REGION", "eu-central-1")
            .env("AWS_EC2_METADATA_DISABLED", "true")
            .env("AWS_ENDPOINT_URL_CLOUDTRAIL", format!("http://{}", self.address));
    }

    fn sidetrail(&self, arguments: &[&str]) -> Result<Command> {
        let mut command = Command::new(binary("sidetrail")?);
        command.args(arguments);
        self.configure(&mut command);
        Ok(command)
    }
}

#[test]
fn history_is_found_by_every_client() -> Result<()> {
    let directory = tempfile::tempdir()?;
    let mut collector = Collector::new(directory.path(), Settings::default())?;
    collector.start()?;
    let sender = Sender::new(&collector.socket(), SOURCE, TOTAL, 20, Duration::from_millis(1));
    Load::start([sender.with_records(record)])?.finish()?;

    let mut server = Server::start(directory.path(), &collector.destination())?;
    let found = |arguments: &[&str]| -> Result<Vec<String>> {
        let mut all = vec!["lookup", "--json", "-n", "0"];
        all.extend_from_slice(arguments);
        Ok(run(server.sidetrail(&all)?)?.success()?.lines().map(str::to_owned).collect())
    };
    wait_for("all events are in history", Duration::from_secs(60), || {
        Ok((found(&[])?.len() as u64 == TOTAL).then_some(()))
    })?;

    // Our own command line.
    for (arguments, count) in [
        (&["--event-name", "RefundOrder"][..], 100),
        (&["--event-name", "Re*"], 200),
        (&["--event-name", "GetOrder", "--event-name", "ReadLine"], 200),
        (&["--username", "user-1", "--failed"], 20),
        (&["--address", "10.1.2.0/24"], 60),
        (&["--address", "10.0.0.0/8", "--category", "Data"], 100),
        (&["--principal", "arn:aws:iam::111122223333:user/user-3"], 60),
        (&["--text", "left door a-17"], 1),
        (&["--text", "a-29*"], 11),
        (&["--resource", "A-17"], 1),
        (&["--read-only=false"], 100),
        (&["--from", "2026-01-15T10:02:00Z", "--to", "2026-01-15T10:02:59Z"], 60),
        (&["--in-region", "eu-west-1"], 0),
    ] {
        ensure!(found(arguments)?.len() == count, "{arguments:?}: {:?}", found(arguments)?.len());
    }
    let newest = found(&["--resource", "A-299"])?.remove(0);
    let exact = String::from_utf8(record(SOURCE, 299).to_vec())?;
    ensure!(newest.contains(&format!("\"record\":{exact}}}")), "{newest}");
    ensure!(newest.contains(r#""state":"sealed""#), "{newest}");
    let refused = run(server.sidetrail(&["lookup", "--in-region", "mars-1"])?)?;
    ensure!(refused.status.code() == Some(2) && refused.stderr.contains("regions"), "{refused:?}");

    // boto3 and the AWS CLI; the script has more recorded while it reads pages.
    let script = directory.path().join("history.py");
    fs::write(&script, READER)?;
    let mut reader = python()?;
    reader.arg(&script).args([TOTAL.to_string(), ACCOUNT.to_owned()]);
    server.configure(&mut reader);
    let (started, go) = (directory.path().join("started"), directory.path().join("go"));
    reader.arg(&started).arg(&go);
    let mut process = Process::spawn(reader, &directory.path().join("history.log"))?;
    process
        .wait_until("it has read a page", Duration::from_secs(120), || Ok(started.exists().then_some(())))?;
    let sender = Sender::new(&collector.socket(), [0x52; 16], 60, 20, Duration::from_millis(1));
    Load::start([sender.with_records(later)])?.finish()?;
    wait_for("the later events are in history", Duration::from_secs(60), || {
        Ok((found(&["--from", "2026-01-15T11:00:00Z"])?.len() == 60).then_some(()))
    })?;
    fs::write(&go, "")?;
    let ended = process.wait(Duration::from_secs(300))?;
    ensure!(ended.success(), "{}", process.log()?);

    // What arrives is shown by `tail -f`, once.
    let log = directory.path().join("tail.log");
    let mut tail =
        Process::spawn(server.sidetrail(&["tail", "-f", "-n", "1", "--json", "--interval", "100ms"])?, &log)?;
    let lines = || -> Result<usize> { Ok(fs::read_to_string(&log)?.lines().count()) };
    tail.wait_until("it begins", Duration::from_secs(30), || Ok((lines()? == 1).then_some(())))?;
    tail.terminate()?;
    // It has ended, or is killed with its handle.
    let _ = tail.wait(Duration::from_secs(10));

    // The index is a cache: without it a server finds the same.
    let before = found(&[])?;
    server.process.terminate()?;
    server.process.wait(Duration::from_secs(30)).context("the server ends")?;
    fs::remove_dir_all(directory.path().join("history"))?;
    server = Server::start(directory.path(), &collector.destination())?;
    let mut all = server.sidetrail(&["lookup", "--json", "-n", "0"])?;
    all.env("RUST_BACKTRACE", "0");
    ensure!(run(all)?.success()?.lines().eq(before.iter()), "a new index finds something else");
    collector.stop()
}
