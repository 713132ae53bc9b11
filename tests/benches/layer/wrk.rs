//! The routers behind a real server, under wrk.

use std::io::{BufRead, BufReader, Lines};
use std::net::SocketAddr;
use std::process::{Child, ChildStdout, Command, Stdio};

use anyhow::{Context, Result, ensure};
use tokio::net::TcpListener;

use crate::app::App;

/// Pairs of runs, the bare router first and then second.
const ROUNDS: usize = 6;
const SECONDS: u32 = 4;
const CONNECTIONS: u32 = 32;

/// Requests per second with the layer, as a part of those without it: the median of pairs. `None` where wrk is not
/// installed.
///
/// Each server has one thread for requests. The sender's thread, the collector that it delivers to and wrk share the
/// rest of the machine.
pub(crate) fn ratio(bare: usize, audited: usize) -> Result<Option<(f64, f64)>> {
    let installed = Command::new("wrk").arg("-v").stdin(Stdio::null()).output();
    if installed.is_err() {
        eprintln!("wrk is not installed: throughput is not measured");
        return Ok(None);
    }
    eprintln!("measuring throughput with wrk …");
    let (bare, audited) = (Server::start(bare)?, Server::start(audited)?);
    let mut ratios = Vec::new();
    let mut fastest = 0.0_f64;
    for round in 0..=ROUNDS {
        let (first, second) = if round % 2 == 0 { (&bare, &audited) } else { (&audited, &bare) };
        let (first, second) = (first.measure()?, second.measure()?);
        let (bare, audited) = if round % 2 == 0 { (first, second) } else { (second, first) };
        // The first round warms up.
        if round > 0 {
            ratios.push(audited / bare);
            fastest = fastest.max(bare);
        }
    }
    bare.stop()?;
    audited.stop()?;
    ratios.sort_by(f64::total_cmp);
    Ok(Some((ratios[ratios.len() / 2], fastest)))
}

/// Serves one router until standard input ends, and says how many records were dropped.
pub(crate) fn serve(app: &App) -> Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(async {
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        println!("{}", listener.local_addr()?);
        let service = app.router().into_make_service_with_connect_info::<SocketAddr>();
        let end = tokio::task::spawn_blocking(|| std::io::copy(&mut std::io::stdin(), &mut std::io::sink()));
        tokio::select! {
            served = axum::serve(listener, service) => served.context("the server ended"),
            _ = end => Ok(()),
        }
    })?;
    println!("{}", app.dropped());
    Ok(())
}

struct Server {
    process: Child,
    lines: Lines<BufReader<ChildStdout>>,
    address: String,
}

impl Server {
    fn start(case: usize) -> Result<Self> {
        let mut command = Command::new(std::env::current_exe()?);
        command.arg(format!("--only={case}")).arg("--serve").stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut process = command.spawn()?;
        let mut lines = BufReader::new(process.stdout.take().context("standard output")?).lines();
        let address = lines.next().context("an address")??;
        Ok(Self { process, lines, address })
    }

    /// Ends it. Throughput with dropped records is nothing to be proud of.
    fn stop(mut self) -> Result<()> {
        drop(self.process.stdin.take());
        let dropped = self.lines.next().context("a count")??;
        ensure!(dropped == "0", "{dropped} records were dropped");
        Ok(())
    }

    /// Requests per second.
    fn measure(&self) -> Result<f64> {
        let mut wrk = Command::new("wrk");
        wrk.args(["--threads=1", &format!("--connections={CONNECTIONS}"), &format!("--duration={SECONDS}s")]);
        for header in ["user-agent: wrk/4.1", "accept: application/json", "x-request-id: 8f2b6c1e-4f0a-4f52"]
        {
            wrk.args(["--header", header]);
        }
        wrk.arg(format!("http://{}/orders/48213?expand=lines&currency=EUR", self.address));
        let output = wrk.stdin(Stdio::null()).output()?;
        let text = String::from_utf8_lossy(&output.stdout);
        ensure!(output.status.success() && !text.contains("Non-2xx"), "wrk: {text}");
        let rate = text.lines().find_map(|line| line.trim().strip_prefix("Requests/sec:"));
        rate.context("no rate")?.trim().parse().context("a rate")
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}
