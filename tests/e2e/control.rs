//! Trails that are made by the API and filled by a collector that was told of them: from `create-trail` to
//! `validate-logs`, and what becomes of it when one of them is away.

use std::fs;
use std::net::SocketAddr;
use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use serde_json::{Value, json};
use sidetrail_api::Operation;
use sidetrail_archive::sign::generate_rsa_pem;
use sidetrail_tests::collector::Settings;
use sidetrail_tests::server::{Called, REGIONS, call, key_id, secret};
use sidetrail_tests::tools::{binary, example, run};
use sidetrail_tests::{Collector, Process, START, SeaweedFs, Server, free_address, http, wait_for};

/// A period of digests of a minute, and what comes before and after it.
const PERIOD: Duration = Duration::from_secs(150);
/// How long what the server is told may take to be what a collector does.
const SECONDS: Duration = Duration::from_secs(10);
const TOKEN: &str = "the-join-token-of-the-tests";

struct Site<'a> {
    store: &'a SeaweedFs,
    server: Server,
    collector: Collector,
}

impl<'a> Site<'a> {
    /// A server, and a collector that has no trails but those of the server.
    fn start(directory: &Path, store: &'a SeaweedFs, state: &str) -> Result<Self> {
        let (of_server, of_collector) = (directory.join("server"), directory.join("collector"));
        fs::create_dir(&of_server)?;
        fs::create_dir(&of_collector)?;
        let (token, key) = (directory.join("join.token"), of_server.join("digest.pem"));
        fs::write(&token, format!("{TOKEN}\n"))?;
        fs::write(&key, generate_rsa_pem(2048, None)?.as_bytes())?;
        let (control, token) = (free_address()?, token.display());
        let more = format!(
            "control: {{ listen: '{control}', interval: 1s, join_tokens: [{{ token: {{ file: {token} }}, \
             account: '{}' }}] }}\ndigest: {{ keys: [{}], cadence: 1m, settle: 1s }}\n\
             history: {{ interval: 200ms }}\nlimits: {{ throttling: off }}\n",
            sidetrail_tests::collector::ACCOUNT,
            key.display()
        );
        let server = Server::start(&of_server, store, state, &more)?;
        let mut collector = Collector::new(&of_collector, Settings::default())?;
        let mut variables = Command::new("collector");
        store.configure(&mut variables);
        for (name, value) in variables.get_envs().filter_map(|(name, value)| Some((name, value?))) {
            collector.set_variable(&name.to_string_lossy(), &value.to_string_lossy());
        }
        collector.set_trails("[]");
        // Log files are finished so late that what is seen before must be the live copies.
        collector.set_more(format!(
            "control: {{ server: 'http://{control}', join_token: {token}, rotate: {{ age: 5s }} }}\n"
        ));
        collector.start()?;
        Ok(Self { store, server, collector })
    }

    fn ask(&self, operation: Operation, input: &Value) -> Result<Value> {
        match call(self.server.api(), "admin", REGIONS[0], operation, input) {
            Called::Done(answer) => Ok(answer),
            other => bail!("{operation}: {other:?}"),
        }
    }

    fn configure(&self, command: &mut Command) {
        command.env("AWS_ACCESS_KEY_ID", key_id("admin")).env("AWS_SECRET_ACCESS_KEY", secret("admin"));
        command.env("AWS_ENDPOINT_URL_CLOUDTRAIL", self.server.endpoint());
        command.env("AWS_ENDPOINT_URL_S3", self.store.endpoint()).env_remove("AWS_ENDPOINT_URL");
        command.env("AWS_REGION", REGIONS[0]).env("AWS_DEFAULT_REGION", REGIONS[0]);
    }

    /// The AWS CLI, asking this server.
    fn aws(&self, arguments: &[&str]) -> Result<String> {
        let mut aws = self.store.aws(["cloudtrail"])?;
        aws.args(arguments);
        self.configure(&mut aws);
        run(aws)?.success()
    }

    /// `sidetrail`, asking this server; its exit code with what it prints.
    fn sidetrail(&self, arguments: &[&str]) -> Result<(Option<i32>, String)> {
        let mut command = Command::new(binary("sidetrail")?);
        command.args(arguments);
        self.configure(&mut command);
        let ran = run(command)?;
        ensure!(ran.status.code().is_some_and(|code| code < 2), "{arguments:?}: {ran:?}");
        Ok((ran.status.code(), ran.stdout))
    }

    /// The one collector.
    fn known(&self) -> Result<Value> {
        let (_, printed) = self.sidetrail(&["collectors", "--json"])?;
        let lines: Vec<_> = printed.lines().collect();
        ensure!(lines.len() == 1, "not one collector but {printed}");
        Ok(serde_json::from_str(lines[0])?)
    }

    /// Waits until the collector goes by what the server says, with so many trails.
    fn settled(&self, trails: usize) -> Result<Value> {
        let known = wait_for("the collector goes by what the server says", SECONDS, || {
            let known = self.known()?;
            let filled = known["state"]["trails"].as_array().map_or(0, Vec::len);
            Ok((known["state"]["upToDate"] == true && filled == trails).then_some(known))
        });
        known.with_context(|| format!("{:?}", self.known()))
    }

    /// The events of a name, by `LookupEvents`.
    fn found(&self, name: &str) -> Result<usize> {
        let attribute = json!([{ "AttributeKey": "EventName", "AttributeValue": name }]);
        let found = self.ask(Operation::LookupEvents, &json!({ "LookupAttributes": attribute }))?;
        Ok(found["Events"].as_array().map_or(0, Vec::len))
    }
}

/// An app with the layer, and its address.
fn app(collector: &Collector, directory: &Path) -> Result<(Process, SocketAddr)> {
    let address = free_address()?;
    let mut command = Command::new(example("orders")?);
    command.env("SIDETRAIL_COLLECTOR", format!("unix:{}", collector.socket().display()));
    command.arg("--listen").arg(address.to_string());
    let mut app = Process::spawn(command, &directory.join("orders.log"))?;
    // A path that is no operation of the tests.
    app.wait_until("the app", START, || Ok(http::get(address, "/nothing/there").ok()))?;
    Ok((app, address))
}

#[test]
fn from_create_trail_to_validate_logs() -> Result<()> {
    let store = SeaweedFs::shared()?;
    let (state, bucket) = (store.bucket("control-state")?, store.bucket("control")?);
    let directory = tempfile::tempdir()?;
    let mut site = Site::start(directory.path(), store, &state)?;
    site.settled(0)?;

    let made: Value = serde_json::from_str(&site.aws(&[
        "create-trail",
        "--name",
        "orders",
        "--s3-bucket-name",
        &bucket,
        "--s3-key-prefix",
        "audit",
        "--enable-log-file-validation",
    ])?)?;
    let arn = made["TrailARN"].as_str().context("no ARN")?.to_owned();
    let selectors =
        r#"[{"Name":"management","FieldSelectors":[{"Field":"eventCategory","Equals":["Management"]}]}]"#;
    site.aws(&["put-event-selectors", "--trail-name", "orders", "--advanced-event-selectors", selectors])?;
    site.aws(&["start-logging", "--name", "orders"])?;
    let known = site.settled(1)?;
    ensure!(known["state"]["trails"][0]["name"] == "orders" && known["standing"] == "connected", "{known}");

    let (mut orders, address) = app(&site.collector, directory.path())?;
    http::get(address, "/orders/1")?;
    let asked = Instant::now();
    wait_for("the request is in history", SECONDS, || Ok((site.found("GetOrder")? == 1).then_some(())))?;
    let took = asked.elapsed();
    ensure!(took < Duration::from_secs(2), "lookup-events showed it after {took:?}");
    let shown = site.aws(&[
        "lookup-events",
        "--lookup-attributes",
        "AttributeKey=EventName,AttributeValue=GetOrder",
        "--output",
        "text",
    ])?;
    ensure!(shown.contains("GetOrder"), "{shown}");

    let valid = wait_for("a digest with log files that validates", PERIOD, || {
        let text = site.aws(&[
            "validate-logs",
            "--trail-arn",
            &arn,
            "--start-time",
            "2026-01-01T00:00:00Z",
            "--verbose",
        ]);
        Ok(text.ok().filter(|text| text.contains("log files valid")))
    })?;
    ensure!(valid.contains("digest files valid") && !valid.contains("INVALID"), "{valid}");
    let status: Value = serde_json::from_str(&site.aws(&["get-trail-status", "--name", "orders"])?)?;
    ensure!(status["IsLogging"] == true && !status["LatestDeliveryTime"].is_null(), "{status}");
    // As it was live, and not twice.
    ensure!(site.found("GetOrder")? == 1, "the event is there {} times", site.found("GetOrder")?);

    let (code, printed) = site.sidetrail(&["trails", "list", "--json"])?;
    let listed: Value = serde_json::from_str(printed.trim())?;
    ensure!(code == Some(0) && listed["Name"] == "orders" && listed["IsLogging"] == true, "{printed}");
    let (_, me) = site.sidetrail(&["whoami", "--json"])?;
    ensure!(me.contains(r#""role":"admin""#) && !me.contains(&secret("admin")), "{me}");

    // What is killed said no goodbye, and is named.
    orders.kill()?;
    let known = wait_for("the app is missed", SECONDS, || {
        let known = site.known()?;
        Ok((known["state"]["silentCount"] == 1).then_some(known))
    })?;
    let silent = &known["state"]["silentSources"][0];
    ensure!(silent["service"].as_str().is_some_and(|service| service.starts_with("orders")), "{known}");
    ensure!(site.sidetrail(&["collectors", "--json"])?.0 == Some(1), "somebody should look");

    site.collector.stop()?;
    let ended = wait_for("the collector said goodbye", SECONDS, || {
        let known = site.known()?;
        Ok((known["standing"] == "ended").then_some(known))
    })?;
    ensure!(ended["state"]["trails"][0]["queued"] == 0, "{ended}");
    site.server.stop()
}

#[test]
fn without_its_server_a_collector_goes_on_as_it_was() -> Result<()> {
    let store = SeaweedFs::shared()?;
    let (state, bucket) = (store.bucket("outage-state")?, store.bucket("outage")?);
    let directory = tempfile::tempdir()?;
    let mut site = Site::start(directory.path(), store, &state)?;
    site.ask(Operation::CreateTrail, &json!({ "Name": "orders", "S3BucketName": bucket }))?;
    site.ask(Operation::StartLogging, &json!({ "Name": "orders" }))?;
    site.settled(1)?;

    site.server.kill()?;
    let (mut orders, address) = app(&site.collector, directory.path())?;
    http::get(address, "/orders/1")?;
    // It ships, and starts again, with nobody to ask.
    let log_files = || -> Result<usize> {
        let mut list = store.aws(["s3", "ls", "--recursive"])?;
        list.arg(format!("s3://{bucket}/"));
        Ok(run(list)?.stdout.lines().filter(|line| line.ends_with(".json.gz")).count())
    };
    wait_for("a log file", START, || Ok((log_files()? > 0).then_some(())))?;
    let before = log_files()?;
    site.collector.kill()?;
    site.collector.start()?;
    http::get(address, "/orders/1")?;
    wait_for("another log file", START, || Ok((log_files()? > before).then_some(())))?;

    // A server that is back finds it as it is, and changes take effect again.
    site.server.resume()?;
    site.settled(1)?;
    let wrong = json!([{ "FieldSelectors": [
        { "Field": "eventCategory", "Equals": ["Management"] }, { "Field": "readOnly", "Equals": ["false"] } ] }]);
    site.ask(
        Operation::PutEventSelectors,
        &json!({ "TrailName": "orders", "AdvancedEventSelectors": wrong }),
    )?;
    site.settled(1)?;
    site.ask(Operation::StopLogging, &json!({ "Name": "orders" }))?;
    site.settled(0)?;
    // Nobody takes what comes now; the app does not wait for that.
    http::get(address, "/orders/1")?;
    orders.terminate()?;
    ensure!(orders.wait(START)?.success(), "{}", orders.log()?);
    site.ask(Operation::StartLogging, &json!({ "Name": "orders" }))?;
    site.settled(1)?;
    site.collector.stop()?;
    site.server.stop()
}

#[test]
fn who_has_no_token_does_not_join() -> Result<()> {
    let store = SeaweedFs::shared()?;
    let state = store.bucket("join-state")?;
    let directory = tempfile::tempdir()?;
    let mut site = Site::start(directory.path(), store, &state)?;
    site.settled(0)?;
    let other = directory.path().join("other");
    fs::create_dir(&other)?;
    fs::write(directory.path().join("wrong.token"), "not-the-token-of-anybody\n")?;
    let mut stranger = Collector::new(&other, Settings::default())?;
    let more = site.collector.config();
    let control = more.lines().find(|line| line.starts_with("control:")).context("control")?;
    stranger.set_trails("[]");
    stranger.set_more(format!("{}\n", control.replace("join.token", "wrong.token")));
    let process = stranger.spawn()?;
    wait_for("it is refused", START, || {
        Ok(process.log()?.contains("the join token is not one of this server's").then_some(()))
    })?;
    ensure!(!process.log()?.contains("not-the-token-of-anybody"), "a secret in the log");
    let log = fs::read_to_string(site.server.log())?;
    ensure!(!log.contains(TOKEN) && !log.contains("not-the-token"), "a secret in the server's log");
    site.known()?;
    site.collector.stop()?;
    site.server.stop()
}
