//! Events that OpenTelemetry's own SDK brings: recorded as what `PutAuditEvents` brings is.

use std::fs;
use std::path::Path;
use std::process::Command;

use anyhow::{Context, Result, ensure};
use serde_json::{Value, json};
use sidetrail_archive::verify::Outcome;
use sidetrail_tests::collector::{ACCOUNT, Settings};
use sidetrail_tests::server::REGIONS;
use sidetrail_tests::{Collector, SeaweedFs, Server, archive, tools};

const TOKEN: &str = "the-token-of-the-human-resources";
/// More than an SDK sends in one request.
const COUNT: usize = 1_300;

#[test]
fn events_of_an_sdk_are_recorded() -> Result<()> {
    let store = SeaweedFs::shared()?;
    let bucket = store.bucket("otlp")?;
    let directory = tempfile::tempdir()?;
    let (of_server, of_collector) = (directory.path().join("server"), directory.path().join("collector"));
    fs::create_dir(&of_server)?;
    fs::create_dir(&of_collector)?;
    let token = directory.path().join("otlp.token");
    fs::write(&token, format!("{TOKEN}\n"))?;
    let mut collector = Collector::new(&of_collector, Settings::default())?.with_store(store, &bucket)?;
    collector.start()?;
    let more = format!(
        "audit_events: [{{ account: '{ACCOUNT}', region: {region}, collector: 'unix:{}' }}]\n\
         otlp: {{ tokens: [{{ token: {{ file: {} }}, account: '{ACCOUNT}', region: {region}, user: hr }}] }}\n\
         limits: {{ throttling: off }}\n",
        collector.socket().display(),
        token.display(),
        region = REGIONS[0],
    );
    let mut server = Server::start(&of_server, store, &bucket, &more)?;
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("e2e/otlp.py");
    let mut python = Command::new(tools::tool_of("opentelemetry", "python")?);
    python.arg("-B").arg(script).args([&server.endpoint(), TOKEN, &COUNT.to_string()]);
    python.env("NO_PROXY", "127.0.0.1");
    let said: Value = serde_json::from_str(&tools::run(python)?.success()?)?;
    ensure!(said["sent"] == COUNT + 6, "{said}");

    collector.stop()?;
    let records = archive::records(&collector)?;
    ensure!(records.len() == COUNT + 6, "{} records", records.len());
    let opened: Vec<_> = records.iter().filter(|it| it["eventName"] == "OpenFile").collect();
    ensure!(opened.len() == COUNT, "{} of {COUNT}", opened.len());
    let record = opened.iter().find(|it| it["eventData"]["requestParameters"]["file"] == 17);
    let record = record.context("one of them is not there")?;
    ensure!(record["eventSource"] == "hr.example.com" && record["recipientAccountId"] == ACCOUNT, "{record}");
    ensure!(record["userIdentity"]["principalId"] == "casey", "{record}");
    ensure!(record["sourceIPAddress"] == "192.0.2.7", "{record}");
    let data = &record["eventData"];
    ensure!(data["requestParameters"]["doors"] == json!(["left", "right"]), "{record}");
    ensure!(data["additionalEventData"]["attributes"] == json!({ "number": 17 }), "{record}");
    ensure!(data["additionalEventData"]["resource"]["telemetry.sdk.language"] == "python", "{record}");
    ensure!(archive::verify(&collector)?.outcome() == Outcome::Valid, "the evidence is not valid");
    server.stop()?;
    let log = fs::read_to_string(server.log())?;
    ensure!(!log.contains(TOKEN), "the token is in the log");
    Ok(())
}
