//! A NATS server with JetStream, which can be killed and started again.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result};

use crate::tools::tool_of;
use crate::{Process, START, free_address};

/// A NATS server. What its streams hold stays when it is killed.
#[derive(Debug)]
pub struct Nats {
    address: SocketAddr,
    directory: PathBuf,
    process: Option<Process>,
}

impl Nats {
    /// Starts one with everything in `directory`.
    ///
    /// # Errors
    ///
    /// When it is not installed or does not come up.
    pub fn start(directory: &Path) -> Result<Self> {
        let mut nats = Self { address: free_address()?, directory: directory.to_owned(), process: None };
        nats.resume()?;
        Ok(nats)
    }

    /// Starts it again.
    ///
    /// # Errors
    ///
    /// When it does not come up.
    pub fn resume(&mut self) -> Result<()> {
        let mut server = Command::new(tool_of("nats", "nats-server")?);
        let (ip, port) = (self.address.ip().to_string(), self.address.port().to_string());
        server.args(["-a", &ip, "-p", &port, "-js", "-sd"]).arg(self.directory.join("streams"));
        let mut process = Process::spawn(server, &self.directory.join("nats.log"))?;
        process
            .wait_until("NATS", START, || Ok(std::net::TcpStream::connect(self.address).ok().map(drop)))?;
        self.process = Some(process);
        Ok(())
    }

    /// Ends it as a power cut would.
    ///
    /// # Errors
    ///
    /// When it is not running.
    pub fn kill(&mut self) -> Result<()> {
        self.process.take().context("NATS is stopped")?.kill()
    }

    /// `nats://127.0.0.1:port`.
    #[must_use]
    pub fn url(&self) -> String {
        format!("nats://{}", self.address)
    }
}
