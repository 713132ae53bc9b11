//! A trail made by the API, a collector that ships it, a server that signs its digests, and the AWS CLI that checks them.

use std::fs;
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use serde_json::{Value, json};
use sidetrail_api::Operation;
use sidetrail_archive::sign::generate_rsa_pem;
use sidetrail_tests::collector::{ACCOUNT, Settings};
use sidetrail_tests::server::{Called, REGIONS, call, key_id, secret};
use sidetrail_tests::{Collector, START, SeaweedFs, Server, tools, wait_for};

/// A period of a minute, and what comes before and after it.
const PERIOD: Duration = Duration::from_secs(150);

#[test]
fn a_server_signs_digests_that_validate_logs_takes() -> Result<()> {
    let store = SeaweedFs::shared()?;
    let bucket = store.bucket("api-digests")?;
    let directory = tempfile::tempdir()?;
    let (sender, site) = (directory.path().join("collector"), directory.path().join("server"));
    fs::create_dir(&sender)?;
    fs::create_dir(&site)?;
    let mut collector = Collector::new(&sender, Settings::default())?.with_store(store, &bucket)?;
    collector.start()?;
    let key = site.join("digest.pem");
    fs::write(&key, generate_rsa_pem(2048, None)?.as_bytes())?;
    // The server's own calls are the events: it records them by that collector.
    let more = format!(
        "digest: {{ keys: [{}], cadence: 1m, settle: 1s }}\nrecord: {{ collector: 'unix:{}' }}\n\
         limits: {{ throttling: off }}\n",
        key.display(),
        collector.socket().display()
    );
    let mut server = Server::start(&site, store, &bucket, &more)?;
    let ask = |operation, input: Value| match call(server.api(), "admin", REGIONS[0], operation, &input) {
        Called::Done(answer) => Ok(answer),
        other => anyhow::bail!("{operation}: {other:?}"),
    };
    let made = ask(
        Operation::CreateTrail,
        json!({ "Name": "default", "S3BucketName": bucket, "S3KeyPrefix": "audit", "EnableLogFileValidation": true }),
    )?;
    ask(Operation::StartLogging, json!({ "Name": "default" }))?;

    let arn = made["TrailARN"].as_str().context("no ARN")?;
    let valid = wait_for("a digest with log files that validates", PERIOD, || {
        let text = validate(&server, store, arn)?;
        Ok(text.contains("log files valid").then_some(text))
    })?;
    ensure!(valid.contains("digest files valid") && !valid.contains("INVALID"), "{valid}");
    let status = wait_for("the digest in the status", START, || {
        let status = ask(Operation::GetTrailStatus, json!({ "Name": "default" }))?;
        Ok(status["LatestDigestDeliveryTime"].is_number().then_some(status))
    })?;
    ensure!(status["LatestDeliveryTime"].is_number(), "{status}");
    let keys = ask(Operation::ListPublicKeys, json!({}))?;
    let keys = keys["PublicKeyList"].as_array().context("no keys")?;
    ensure!(keys.len() == 1 && keys[0]["Fingerprint"].as_str().is_some_and(|it| it.len() == 32), "{keys:?}");
    ensure!(arn.contains(ACCOUNT), "{arn}");
    server.stop()?;
    collector.stop()
}

fn validate(server: &Server, store: &SeaweedFs, arn: &str) -> Result<String> {
    let mut aws: Command = store.aws(["cloudtrail", "validate-logs", "--trail-arn", arn])?;
    aws.args(["--start-time", "2026-01-01T00:00:00Z", "--verbose", "--region", REGIONS[0]]);
    // The CLI has one key for both, which both know.
    aws.env("AWS_ACCESS_KEY_ID", key_id("admin")).env("AWS_SECRET_ACCESS_KEY", secret("admin"));
    aws.env("AWS_ENDPOINT_URL_CLOUDTRAIL", server.endpoint()).env("AWS_ENDPOINT_URL_S3", store.endpoint());
    aws.env_remove("AWS_ENDPOINT_URL");
    Ok(tools::run(aws)?.stdout)
}
