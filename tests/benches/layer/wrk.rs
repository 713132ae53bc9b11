//! The example service under wrk, with the layer and without.

use std::fs::{self, File};
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};

use anyhow::{Context, Result, ensure};
use sidetrail_tests::tools;
use tempfile::TempDir;

use crate::sink;

/// Pairs of runs, with each of both first in turn.
const ROUNDS: usize = 8;
const SECONDS: u32 = 3;

/// What is asked, and by how many at a time.
struct Load {
    path: &'static str,
    connections: u32,
}

/// The handler waits for 10 ms between two lines, as services wait for others: what limits throughput is how many wait.
const WAITING: Load = Load { path: "/orders/export?format=ndjson", connections: 192 };

/// The handler has nothing to wait for: what limits throughput is the processor. The service, the sender's thread in it,
/// the collector that it delivers to (which acks at once) and wrk share it, and what one of them takes the others lack.
const SATURATED: Load = Load { path: "/orders/1?expand=lines", connections: 32 };

/// What wrk says.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Throughput {
    pub(crate) waiting: Comparison,
    pub(crate) saturated: Comparison,
}

#[derive(Clone, Copy, Debug)]
pub(crate) struct Comparison {
    /// Requests per second with the layer, as a part of those without it: the median of pairs.
    pub(crate) ratio: f64,
    /// Requests per second without the layer, the most.
    pub(crate) bare: f64,
}

/// `None` where wrk is not installed.
pub(crate) fn throughput() -> Result<Option<Throughput>> {
    let installed = Command::new("wrk").arg("-v").stdin(Stdio::null()).output();
    if installed.is_err() {
        eprintln!("wrk is not installed: throughput is not measured");
        return Ok(None);
    }
    eprintln!("measuring throughput with wrk …");
    let collector = sink::Server::start()?;
    let (bare, audited) = (Service::start(&collector, &["--bare"])?, Service::start(&collector, &[])?);
    let waiting = compare(&bare, &audited, &WAITING)?;
    let saturated = compare(&bare, &audited, &SATURATED)?;
    bare.check()?;
    audited.check()?;
    Ok(Some(Throughput { waiting, saturated }))
}

fn compare(bare: &Service, audited: &Service, load: &Load) -> Result<Comparison> {
    let mut ratios = Vec::new();
    let mut most = 0.0_f64;
    for round in 0..=ROUNDS {
        let (first, second) = if round % 2 == 0 { (bare, audited) } else { (audited, bare) };
        let (first, second) = (first.measure(load)?, second.measure(load)?);
        let (bare, audited) = if round % 2 == 0 { (first, second) } else { (second, first) };
        // The first round warms up.
        if round > 0 {
            ratios.push(audited / bare);
            most = most.max(bare);
        }
    }
    ratios.sort_by(f64::total_cmp);
    let middle = ratios.len() / 2;
    Ok(Comparison { ratio: (ratios[middle - 1] + ratios[middle]) / 2.0, bare: most })
}

/// The orders service of the layer's examples. It has one order, and somebody who is logged in.
struct Service {
    process: Child,
    address: SocketAddr,
    token: String,
    log: PathBuf,
    _directory: TempDir,
}

impl Service {
    fn start(collector: &sink::Server, arguments: &[&str]) -> Result<Self> {
        let directory = tempfile::tempdir()?;
        let log = directory.path().join("log");
        let mut command = Command::new(tools::example("orders")?);
        command.args(["--listen", "127.0.0.1:0"]).args(arguments);
        command.env("SIDETRAIL_COLLECTOR", collector.address());
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(File::create(&log)?);
        let mut process = command.spawn()?;
        let mut line = String::new();
        BufReader::new(process.stdout.take().context("standard output")?).read_line(&mut line)?;
        let address = line.trim().strip_prefix("listening on http://").context("an address")?.parse()?;
        let mut service = Self { process, address, token: String::new(), log, _directory: directory };
        let answer = service.post("/login", r#"{"user": "alice", "password": "wonderland"}"#)?;
        let token = answer.split(r#""token":""#).nth(1).and_then(|rest| rest.split('"').next());
        service.token = token.with_context(|| answer.clone())?.to_owned();
        let answer = service.post("/orders", r#"{"item": "tea"}"#)?;
        ensure!(answer.starts_with("HTTP/1.1 201"), "{answer}");
        Ok(service)
    }

    fn post(&self, path: &str, body: &str) -> Result<String> {
        let mut stream = TcpStream::connect(self.address)?;
        write!(
            stream,
            "POST {path} HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\nauthorization: Bearer {}\r\n\
             content-type: application/json\r\ncontent-length: {}\r\n\r\n{body}",
            self.token,
            body.len()
        )?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer)?;
        Ok(answer)
    }

    /// Requests per second.
    fn measure(&self, load: &Load) -> Result<f64> {
        let mut wrk = Command::new("wrk");
        wrk.args([
            "--threads=1",
            &format!("--connections={}", load.connections),
            &format!("--duration={SECONDS}s"),
        ]);
        let authorization = format!("authorization: Bearer {}", self.token);
        for header in [&authorization, "user-agent: wrk/4.1", "x-request-id: 8f2b6c1e-4f0a-4f52-9c26"] {
            wrk.args(["--header", header]);
        }
        wrk.arg(format!("http://{}{}", self.address, load.path));
        let output = wrk.stdin(Stdio::null()).output()?;
        let text = String::from_utf8_lossy(&output.stdout);
        ensure!(output.status.success() && !text.contains("Non-2xx"), "wrk: {text}");
        let rate = text.lines().find_map(|line| line.trim().strip_prefix("Requests/sec:"));
        rate.context("no rate")?.trim().parse().context("a rate")
    }

    /// Throughput with dropped records is nothing to be proud of.
    fn check(&self) -> Result<()> {
        let log = fs::read_to_string(&self.log)?;
        ensure!(!log.contains("dropped"), "{log}");
        Ok(())
    }
}

impl Drop for Service {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}
