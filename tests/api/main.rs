//! The API as its clients see it: boto3, the AWS CLI, and requests made by hand, in Python beside this file.
//!
//! Real parts: an S3 server with the state and the trails' buckets, two servers on the same state of which one throttles
//! as CloudTrail does, and a collector that the servers' own calls are recorded by.

use std::fs;
use std::path::Path;
use std::process::{Command, ExitCode};

use anyhow::{Context, Result, bail};
use clap::Parser;
use serde_json::{Map, Value, json};
use sidetrail_tests::collector::{self, Settings};
use sidetrail_tests::server::{self, REGIONS, USERS, key_id, secret};
use sidetrail_tests::{ACCESS_KEY, Collector, SECRET_KEY, SeaweedFs, Server, tools};

#[derive(Debug, Parser)]
struct Arguments {
    /// As a part of `cargo test`: runs if this is part of `api`
    #[arg(hide = true)]
    filter: Vec<String>,
    /// As a part of `cargo test`, without effect
    #[arg(long, short, hide = true)]
    quiet: bool,
    /// As a part of `cargo test`, without effect
    #[arg(long, hide = true)]
    nocapture: bool,
}

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    if !arguments.filter.is_empty() && !arguments.filter.iter().any(|filter| "api".contains(filter.as_str()))
    {
        return ExitCode::SUCCESS;
    }
    match run() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn run() -> Result<()> {
    let store = SeaweedFs::start()?;
    let directory = tempfile::tempdir()?;
    let (state, bucket, delivered) =
        (store.bucket("state")?, store.bucket("trails")?, store.bucket("delivered")?);

    let recorder = directory.path().join("recorder");
    fs::create_dir(&recorder)?;
    let mut collector = Collector::new(&recorder, Settings::default())?;
    let local = recorder.join("bucket");
    collector.set_trails(format!(
        "[{{ name: records, destination: {}, rotate: {{ age: 200ms, size: 256KiB }} }}, \
         {{ name: delivered, destination: 's3://{delivered}', rotate: {{ age: 200ms, size: 256KiB }} }}]",
        local.display()
    ));
    // The collector's trails have two stores; the variables are of the one that has any.
    let mut variables = Command::new("collector");
    store.configure(&mut variables);
    for (name, value) in variables.get_envs().filter_map(|(name, value)| Some((name, value?))) {
        collector.set_variable(&name.to_string_lossy(), &value.to_string_lossy());
    }
    collector.start()?;

    let record = format!("record: {{ collector: 'unix:{}' }}\n", collector.socket().display());
    let brought = format!(
        "audit_events: [{{ account: '{}', region: {}, collector: 'unix:{}' }}]\n",
        collector::ACCOUNT,
        REGIONS[0],
        collector.socket().display()
    );
    let unthrottled = format!("{record}{brought}limits: {{ throttling: off }}\n");
    let (free, slow) = (directory.path().join("free"), directory.path().join("slow"));
    fs::create_dir(&free)?;
    fs::create_dir(&slow)?;
    let mut server = Server::start(&free, &store, &state, &unthrottled)?;
    let mut throttled = Server::start(&slow, &store, &state, &record)?;

    let mut keys = Map::new();
    for (user, ..) in USERS {
        let token = (user == "temporary").then_some(server::TOKEN);
        let mut key = json!({ "id": key_id(user), "secret": secret(user) });
        if let Some(token) = token {
            key["token"] = json!(token);
        }
        keys.insert(user.to_owned(), key);
    }
    let mut secrets: Vec<_> = USERS.iter().map(|(user, ..)| secret(user)).collect();
    secrets.extend([server::TOKEN.to_owned(), SECRET_KEY.to_owned()]);
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let site = json!({
        "endpoint": server.endpoint(),
        "throttled_endpoint": throttled.endpoint(),
        "s3": { "endpoint": store.endpoint(), "id": ACCESS_KEY, "secret": SECRET_KEY },
        "regions": REGIONS,
        "account": collector::ACCOUNT,
        "member_account": server::MEMBER,
        "organization": server::ORGANIZATION,
        "bucket": bucket,
        "delivered_bucket": delivered,
        "records": local,
        "log": server.log(),
        "secrets": secrets,
        "keys": Value::Object(keys),
        "table": root.join("../crates/server/src/operation/operations.md"),
    });
    let path = directory.path().join("site.json");
    fs::write(&path, site.to_string())?;

    let mut pytest = tools::python()?;
    pytest.args(["-B", "-m", "pytest"]).arg("--rootdir").arg(root.join("api")).arg(root.join("api"));
    pytest.env("SIDETRAIL_API_SITE", &path).env("NO_PROXY", "127.0.0.1");
    // What is of the user's own environment must not decide what is tested.
    for name in ["AWS_PROFILE", "AWS_ENDPOINT_URL", "AWS_SESSION_TOKEN", "PYTEST_ADDOPTS"] {
        pytest.env_remove(name);
    }
    let status = pytest.status().context("cannot start pytest")?;
    server.stop()?;
    throttled.stop()?;
    collector.stop()?;
    if !status.success() {
        bail!("the suite of the API failed: {status}; the server's log ends in\n{}", tail(&server.log())?);
    }
    Ok(())
}

fn tail(path: &Path) -> Result<String> {
    let text = fs::read_to_string(path)?;
    let lines: Vec<_> = text.lines().collect();
    Ok(lines[lines.len().saturating_sub(30)..].join("\n"))
}
