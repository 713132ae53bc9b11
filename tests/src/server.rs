//! A server as a process, and requests to it.

use std::fmt::Write as _;
use std::fs;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail};
use http::{HeaderMap, HeaderValue};
use jiff::Timestamp;
use serde_json::Value;
use sidetrail_api::Operation;
use sidetrail_api::sigv4::{Credentials, Request, Secret, sign};

use crate::{Process, START, STOP, SeaweedFs, collector, free_address, http as plain, tools};

/// The regions that the servers of the tests serve.
pub const REGIONS: [&str; 2] = ["eu-central-1", "us-east-1"];
/// Another account of the organization.
pub const MEMBER: &str = "444455556666";
/// An account that has nothing to do with the others.
pub const STRANGER: &str = "777788889999";
/// The organization of the first two.
pub const ORGANIZATION: &str = "o-exampleorgid";
/// The session token of the key `temporary`.
pub const TOKEN: &str = "the-session-token-of-a-temporary-key";

/// Access keys by the names of their users, which are also in their ids and secrets.
pub const USERS: [(&str, &str, &str); 8] = [
    ("admin", collector::ACCOUNT, "admin"),
    ("manager", collector::ACCOUNT, "trail_manager"),
    ("auditor", collector::ACCOUNT, "auditor"),
    ("writer", collector::ACCOUNT, "writer"),
    ("temporary", collector::ACCOUNT, "admin"),
    ("expired", collector::ACCOUNT, "admin"),
    ("member", MEMBER, "admin"),
    ("stranger", STRANGER, "admin"),
];

/// The id of a user's access key.
pub fn key_id(user: &str) -> String {
    format!("SIDETRAILTESTS_{}", user.to_uppercase())
}

/// The secret of a user's access key.
pub fn secret(user: &str) -> String {
    format!("the-secret-of-{user}-is-not-one")
}

/// A server process. It can be killed and started again at its address.
#[derive(Debug)]
pub struct Server {
    directory: PathBuf,
    variables: Command,
    api: SocketAddr,
    health: SocketAddr,
    process: Option<Process>,
}

impl Server {
    /// A server in `directory` that keeps its state in `bucket` of `store`. `more` is the rest of its configuration.
    ///
    /// # Errors
    ///
    /// When it cannot be configured or does not come up; quotes its log.
    pub fn start(directory: &Path, store: &SeaweedFs, bucket: &str, more: &str) -> Result<Self> {
        let (api, health) = (free_address()?, free_address()?);
        let mut keys = String::new();
        for (user, account, role) in USERS {
            let path = directory.join(format!("{user}.secret"));
            fs::write(&path, format!("{}\n", secret(user)))?;
            let rest = match user {
                "temporary" => ", session_token: { env: SIDETRAIL_TESTS_TOKEN }",
                "expired" => ", expires: '2020-01-01T00:00:00Z'",
                _ => "",
            };
            writeln!(
                keys,
                "  - {{ id: {}, secret: {{ file: {} }}, account: '{account}', user: {user}, role: {role}{rest} }}",
                key_id(user),
                path.display()
            )?;
        }
        let account = collector::ACCOUNT;
        let config = format!(
            "regions: [{}]\nlisten: {{ api: '{api}', health: '{health}' }}\nbucket: s3://{bucket}\n\
             organization: {{ id: {ORGANIZATION}, management_account: '{account}', accounts: ['{MEMBER}'] }}\n\
             access_keys:\n{keys}{more}",
            REGIONS.join(", ")
        );
        fs::write(directory.join("server.yaml"), config)?;
        let mut variables = Command::new("server");
        store.configure(&mut variables);
        variables.env("SIDETRAIL_TESTS_TOKEN", TOKEN);
        let mut server = Self { directory: directory.to_owned(), variables, api, health, process: None };
        server.resume()?;
        Ok(server)
    }

    /// Starts it again.
    ///
    /// # Errors
    ///
    /// When it does not come up; quotes its log.
    pub fn resume(&mut self) -> Result<()> {
        let mut command = Command::new(tools::binary("sidetrail-server")?);
        command.arg("--config").arg(self.directory.join("server.yaml"));
        for (name, value) in self.variables.get_envs() {
            match value {
                Some(value) => command.env(name, value),
                None => command.env_remove(name),
            };
        }
        let mut process = Process::spawn(command, &self.log())?;
        process.wait_http(self.health, "/readyz", START)?;
        self.process = Some(process);
        Ok(())
    }

    /// Ends it as a power cut would.
    ///
    /// # Errors
    ///
    /// When it is not running.
    pub fn kill(&mut self) -> Result<()> {
        self.process.take().context("the server is stopped")?.kill()
    }

    /// Asks it to end, and waits for that.
    ///
    /// # Errors
    ///
    /// When it does not end in order.
    pub fn stop(&mut self) -> Result<()> {
        let mut process = self.process.take().context("the server is stopped")?;
        process.terminate()?;
        let status = process.wait(STOP)?;
        if !status.success() {
            bail!("the server ended with {status}\n{}", process.log()?);
        }
        Ok(())
    }

    /// Where it is reached.
    pub fn api(&self) -> SocketAddr {
        self.api
    }

    /// Where its probes and pages are.
    pub fn health(&self) -> SocketAddr {
        self.health
    }

    /// `http://127.0.0.1:port`.
    pub fn endpoint(&self) -> String {
        format!("http://{}", self.api)
    }

    /// Its log file.
    pub fn log(&self) -> PathBuf {
        self.directory.join("server.log")
    }
}

/// What became of a call.
#[derive(Debug)]
pub enum Called {
    /// It was done.
    Done(Value),
    /// It was refused, with this code.
    Refused(String),
    /// Whether it was done is not known.
    Unknown(anyhow::Error),
}

/// Asks a server for an operation, as a user in a region.
pub fn call(server: SocketAddr, user: &str, region: &str, operation: Operation, input: &Value) -> Called {
    match try_call(server, user, region, operation, input) {
        Ok(called) => called,
        Err(error) => Called::Unknown(error),
    }
}

fn try_call(
    server: SocketAddr,
    user: &str,
    region: &str,
    operation: Operation,
    input: &Value,
) -> Result<Called> {
    let body = input.to_string();
    let mut headers = HeaderMap::new();
    headers.insert("host", HeaderValue::from_str(&server.to_string())?);
    headers.insert("content-type", HeaderValue::from_static(sidetrail_api::CONTENT_TYPE));
    let target = operation.target().context("the operation has no target")?;
    headers.insert(sidetrail_api::TARGET_HEADER, HeaderValue::from_str(&target)?);
    let credentials =
        Credentials { access_key: key_id(user), secret: Secret::new(secret(user)), session_token: None };
    let request = Request { method: "POST", path: "/", query: "", headers: &headers, body: body.as_bytes() };
    let service = operation.service().signing_name();
    let headers = sign(&request, &credentials, region, service, Timestamp::now())?;
    let response = plain::post(server, &headers, body.as_bytes())?;
    let answer: Value = serde_json::from_str(&response.body).context("the answer is no JSON")?;
    match (response.status, answer["__type"].as_str()) {
        (200, None) => Ok(Called::Done(answer)),
        // What it did not get to the end of may have been done.
        (500.., _) => bail!("status {}: {answer}", response.status),
        (_, Some(code)) => Ok(Called::Refused(code.to_owned())),
        (status, None) => bail!("status {status}: {answer}"),
    }
}
