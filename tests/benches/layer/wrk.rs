//! The example service under wrk: bare, with the layer, and with `TraceLayer` in its place.

use std::fs::{self, File};
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};

use anyhow::{Context, Result, ensure};
use sidetrail_tests::tools;
use tempfile::TempDir;

use crate::collector::Server;

/// Each has a run of every service, another one first each time.
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
    /// `TraceLayer` under the saturated load.
    pub(crate) traced: Comparison,
    /// Records that the sender gave up.
    pub(crate) dropped: u64,
}

/// A service beside the bare one.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Comparison {
    /// Requests per second, as a part of those of the bare one: the median of rounds.
    pub(crate) ratio: f64,
    /// Microseconds of CPU that the process takes for a request beyond those of the bare one: the median of rounds.
    pub(crate) added_cpu_us: f64,
    /// Of the bare one: the most requests per second, and the median of CPU for one.
    pub(crate) bare_per_second: f64,
    pub(crate) bare_cpu_us: f64,
}

/// What one run shows.
#[derive(Clone, Copy, Debug, Default)]
struct Run {
    per_second: f64,
    /// Microseconds for a request.
    cpu: f64,
}

/// `None` where wrk is not installed.
pub(crate) fn throughput() -> Result<Option<Throughput>> {
    let installed = Command::new("wrk").arg("-v").stdin(Stdio::null()).output();
    if installed.is_err() {
        eprintln!("wrk is not installed: throughput is not measured");
        return Ok(None);
    }
    eprintln!("measuring throughput with wrk …");
    let collector = Server::start()?;
    let service = |arguments: &[&str]| Service::start(&collector, arguments);
    let (bare, audited, traced) = (service(&["--bare"])?, service(&[])?, service(&["--traced"])?);
    let [waiting] = compare(&bare, [&audited], &WAITING)?;
    let [saturated, with_traces] = compare(&bare, [&audited, &traced], &SATURATED)?;
    let dropped = audited.dropped()?;
    if dropped > 0 {
        eprintln!(
            "WARNING: the sender dropped {dropped} records or more: the figures of wrk are worth nothing."
        );
    }
    Ok(Some(Throughput { waiting, saturated, traced: with_traces, dropped }))
}

fn compare<const N: usize>(bare: &Service, others: [&Service; N], load: &Load) -> Result<[Comparison; N]> {
    let services: Vec<_> = std::iter::once(bare).chain(others).collect();
    let mut rounds = Vec::new();
    for round in 0..=ROUNDS {
        let mut runs = vec![Run::default(); services.len()];
        for turn in 0..services.len() {
            let index = (round + turn) % services.len();
            runs[index] = services[index].measure(load)?;
        }
        // The first round warms up.
        if round > 0 {
            rounds.push(runs);
        }
    }
    Ok(std::array::from_fn(|other| Comparison {
        ratio: median(rounds.iter().map(|runs| runs[other + 1].per_second / runs[0].per_second)),
        added_cpu_us: median(rounds.iter().map(|runs| runs[other + 1].cpu - runs[0].cpu)),
        bare_per_second: rounds.iter().map(|runs| runs[0].per_second).fold(0.0, f64::max),
        bare_cpu_us: median(rounds.iter().map(|runs| runs[0].cpu)),
    }))
}

/// Of an even number of values, [`ROUNDS`].
fn median(values: impl Iterator<Item = f64>) -> f64 {
    let mut values: Vec<f64> = values.collect();
    values.sort_by(f64::total_cmp);
    let middle = values.len() / 2;
    f64::midpoint(values[middle - 1], values[middle])
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
    fn start(collector: &Server, arguments: &[&str]) -> Result<Self> {
        let directory = tempfile::tempdir()?;
        let log = directory.path().join("log");
        let mut command = Command::new(tools::example("orders")?);
        command.args(["--listen", "127.0.0.1:0"]).args(arguments);
        command.env("SIDETRAIL_COLLECTOR", collector.address());
        command.stdin(Stdio::null()).stdout(Stdio::piped());
        // Lines of a trace are for nobody: no disk is measured.
        let is_traced = arguments.contains(&"--traced");
        command.stderr(if is_traced { Stdio::null() } else { File::create(&log)?.into() });
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

    fn measure(&self, load: &Load) -> Result<Run> {
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
        let before = self.cpu()?;
        let output = wrk.stdin(Stdio::null()).output()?;
        let cpu = self.cpu()? - before;
        let text = String::from_utf8_lossy(&output.stdout);
        ensure!(output.status.success() && !text.contains("Non-2xx"), "wrk: {text}");
        let mut lines = text.lines().map(str::trim);
        // `215049 requests in 3.00s, 45.12MB read`, then `Requests/sec:  71683.34`
        let requests = lines.find_map(|line| line.split_once(" requests in ")).context("no requests")?.0;
        let rate = lines.find_map(|line| line.strip_prefix("Requests/sec:")).context("no rate")?;
        Ok(Run { per_second: rate.trim().parse()?, cpu: cpu * 1e6 / requests.parse::<f64>()? })
    }

    /// Seconds that the process has had so far, all threads, user and system.
    fn cpu(&self) -> Result<f64> {
        let text = fs::read_to_string(format!("/proc/{}/stat", self.process.id()))?;
        // The name is in parentheses, and may hold anything.
        let (_, fields) = text.rsplit_once(')').context("no name")?;
        let ticks = fields.split_whitespace().skip(11).take(2).map(str::parse::<u64>);
        let ticks: u64 = ticks.sum::<Result<_, _>>()?;
        Ok(ticks as f64 / rustix::param::clock_ticks_per_second() as f64)
    }

    /// Records that were dropped, as far as it was logged. Throughput with such is nothing to be proud of.
    fn dropped(&self) -> Result<u64> {
        let log = fs::read_to_string(&self.log)?;
        let lines = log.lines().filter(|line| line.contains("audit records dropped"));
        let total = |line: &str| line.split_once("total=")?.1.split(' ').next()?.parse::<u64>().ok();
        lines
            .map(|line| total(line).with_context(|| line.to_owned()))
            .try_fold(0, |most, it| Ok(it?.max(most)))
    }
}

impl Drop for Service {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}
