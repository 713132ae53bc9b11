//! The store the end-to-end tests write to: a real SeaweedFS with its S3 gateway, on this machine only.

use std::ffi::OsStr;
use std::fs;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::Command;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use anyhow::{Context, Result, anyhow, ensure};
use tempfile::TempDir;

use crate::{Process, START, free_address, http, server, tools};

/// The access key the server knows. Any other is refused.
pub const ACCESS_KEY: &str = "sidetrail-tests";

/// The secret of [`ACCESS_KEY`].
pub const SECRET_KEY: &str = "not-a-secret-but-long-enough";

/// The region requests are signed for.
pub const REGION: &str = "eu-central-1";

/// How often a start is tried with other ports, when another program took one in between.
const ATTEMPTS: usize = 3;

/// How long the server may take to end in order.
const GRACE: Duration = Duration::from_secs(2);

/// An S3 server with its own data, which go when it is dropped.
#[derive(Debug)]
pub struct SeaweedFs {
    process: Option<Process>,
    addresses: Addresses,
    // After the process: fields are dropped in this order, and a running server writes into it.
    directory: TempDir,
}

/// All are given, as an unset gRPC port is the other plus 10,000, taken or not.
#[derive(Debug)]
struct Addresses {
    master: SocketAddr,
    master_grpc: SocketAddr,
    volume: SocketAddr,
    volume_grpc: SocketAddr,
    filer: SocketAddr,
    filer_grpc: SocketAddr,
    s3: SocketAddr,
    s3_grpc: SocketAddr,
}

impl SeaweedFs {
    /// Starts a server of the caller's own, to be stopped and killed at will.
    ///
    /// # Errors
    ///
    /// When the tools are not installed, or the server does not come up; quotes its log.
    pub fn start() -> Result<Self> {
        let mut attempt = 1;
        loop {
            let directory = tempfile::Builder::new().prefix("sidetrail-s3-").tempdir()?;
            fs::create_dir(directory.path().join("data"))?;
            fs::write(directory.path().join("s3.json"), s3_config())?;
            let mut server = Self { process: None, addresses: Addresses::free()?, directory };
            match server.resume() {
                Err(_) if attempt < ATTEMPTS => attempt += 1,
                result => return result.map(|()| server),
            }
        }
    }

    /// The server that all tests of this binary share: each uses buckets of its own, none stops it.
    ///
    /// # Errors
    ///
    /// As [`SeaweedFs::start`], to each caller.
    pub fn shared() -> Result<&'static Self> {
        static SHARED: OnceLock<Result<SeaweedFs, String>> = OnceLock::new();
        let shared = SHARED.get_or_init(|| Self::start().map_err(|error| format!("{error:#}")));
        shared.as_ref().map_err(|error| anyhow!("{error}"))
    }

    /// `http://127.0.0.1:port`, the same for as long as this value lives.
    pub fn endpoint(&self) -> String {
        format!("http://{}", self.addresses.s3)
    }

    /// Where S3 is served, the same for as long as this value lives.
    pub fn address(&self) -> SocketAddr {
        self.addresses.s3
    }

    /// Lets `command` find this server and be let in: what the AWS SDKs and object_store read from the environment,
    /// without what the user has there.
    pub fn configure(&self, command: &mut Command) {
        for name in ["AWS_SESSION_TOKEN", "AWS_PROFILE", "AWS_DEFAULT_PROFILE", "AWS_CA_BUNDLE"] {
            command.env_remove(name);
        }
        command.env("AWS_ENDPOINT_URL", self.endpoint()).envs([
            ("AWS_ACCESS_KEY_ID", ACCESS_KEY),
            ("AWS_SECRET_ACCESS_KEY", SECRET_KEY),
            ("AWS_REGION", REGION),
            ("AWS_DEFAULT_REGION", REGION),
            ("AWS_ALLOW_HTTP", "true"),
            ("AWS_EC2_METADATA_DISABLED", "true"),
            ("AWS_CONFIG_FILE", "/dev/null"),
            ("AWS_SHARED_CREDENTIALS_FILE", "/dev/null"),
            ("AWS_PAGER", ""),
            ("NO_PROXY", "127.0.0.1"),
        ]);
    }

    /// A variable of those, for who opens the store in this process.
    #[must_use]
    pub fn variable(&self, name: &str) -> Option<String> {
        let value = match name {
            "AWS_ENDPOINT_URL" => return Some(self.endpoint()),
            "AWS_ACCESS_KEY_ID" => ACCESS_KEY,
            "AWS_SECRET_ACCESS_KEY" => SECRET_KEY,
            "AWS_REGION" => REGION,
            _ => return None,
        };
        Some(value.to_owned())
    }

    /// The AWS CLI with `arguments`, pointed at this server. Printing the command's failure is up to the caller.
    ///
    /// # Errors
    ///
    /// When the tools are not installed.
    pub fn aws<S: AsRef<OsStr>>(&self, arguments: impl IntoIterator<Item = S>) -> Result<Command> {
        let mut command = Command::new(tools::tool("aws")?);
        command.args(arguments);
        self.configure(&mut command);
        Ok(command)
    }

    /// Creates an empty bucket named after `purpose`, and returns its name.
    ///
    /// # Errors
    ///
    /// When the server refuses.
    pub fn bucket(&self, purpose: &str) -> Result<String> {
        static NEXT: AtomicU32 = AtomicU32::new(1);
        let name = format!("{purpose}-{}", NEXT.fetch_add(1, Ordering::Relaxed));
        tools::run(self.aws(["s3api", "create-bucket", "--bucket", &name])?)?.success()?;
        Ok(name)
    }

    /// Ends the server in order; [`SeaweedFs::resume`] brings it back with its data.
    ///
    /// # Errors
    ///
    /// When it is stopped already or cannot be ended.
    pub fn stop(&mut self) -> Result<()> {
        let mut process = self.process.take().context("the server is stopped")?;
        process.terminate()?;
        // Within the grace it has written everything; its connections among its own parts keep it for 15 s more.
        match process.wait(GRACE) {
            Ok(_) => Ok(()),
            Err(_) => process.kill(),
        }
    }

    /// Ends the server as a power cut would, except that the disk keeps what was written.
    ///
    /// # Errors
    ///
    /// When it cannot be killed.
    pub fn kill(&mut self) -> Result<()> {
        self.process.take().context("the server is stopped")?.kill()
    }

    /// The process, while it runs.
    pub fn process(&mut self) -> Option<&mut Process> {
        self.process.as_mut()
    }

    /// Starts the server again where it stopped: same address, same data.
    ///
    /// # Errors
    ///
    /// When it runs, or does not come up; quotes its log.
    pub fn resume(&mut self) -> Result<()> {
        ensure!(self.process.is_none(), "the server runs");
        let log = self.directory.path().join("log");
        let mut process = Process::spawn_with(self.command()?, &log, &self.leftovers())?;
        process.wait_http(self.addresses.s3, "/status", START)?;
        // The gateway answers before there is a volume to write to; the master is the one who knows.
        process.wait_until("a writable volume", START, || {
            let assigned = http::get(self.addresses.master, "/dir/assign");
            Ok(assigned.is_ok_and(|response| response.body.contains("\"fid\"")).then_some(()))
        })?;
        self.process = Some(process);
        Ok(())
    }

    /// [`SeaweedFs::stop`] and [`SeaweedFs::resume`].
    ///
    /// # Errors
    ///
    /// As those.
    pub fn restart(&mut self) -> Result<()> {
        self.stop()?;
        self.resume()
    }

    /// What is left to remove when this value is never dropped, as the shared one.
    fn leftovers(&self) -> Vec<PathBuf> {
        let mut leftovers = vec![self.directory.path().to_owned()];
        leftovers.extend(self.addresses.sockets());
        leftovers
    }

    fn command(&self) -> Result<Command> {
        let Self { addresses, directory, .. } = self;
        let mut weed = Command::new(tools::tool("weed")?);
        weed.arg("server").arg(option("dir", directory.path().join("data").display()));
        weed.args(["-ip=127.0.0.1", "-ip.bind=127.0.0.1", "-filer", "-s3"]);
        for (name, address) in [
            ("master.port", addresses.master),
            ("master.port.grpc", addresses.master_grpc),
            ("volume.port", addresses.volume),
            ("volume.port.grpc", addresses.volume_grpc),
            ("filer.port", addresses.filer),
            ("filer.port.grpc", addresses.filer_grpc),
            ("s3.port", addresses.s3),
            ("s3.port.grpc", addresses.s3_grpc),
        ] {
            weed.arg(option(name, address.port()));
        }
        weed.arg(option("s3.config", directory.path().join("s3.json").display()));
        weed.args(["-s3.iam=false", "-s3.port.iceberg=0", "-s3.port.lance=0", "-master.telemetry=false"]);
        // Each bucket takes a volume: many small ones, which cost nothing until they are written to.
        weed.args(["-volume.max=200", "-master.volumeSizeLimitMB=64", "-master.volumePreallocate=false"]);
        // There is nobody to elect, yet a restarted master waits out two of these.
        weed.args([
            "-master.electionTimeout=1s",
            "-master.heartbeatInterval=100ms",
            "-volume.preStopSeconds=0",
        ]);
        weed.env("WEED_MASTER_VOLUME_GROWTH_COPY_1", "1");
        // Without it the server refuses to encrypt.
        weed.env("WEED_S3_SSE_KEY", "not-a-secret-either");
        // Its own log files go to the first, its configuration is looked for in the others.
        weed.env("TMPDIR", directory.path()).env("HOME", directory.path()).current_dir(directory.path());
        Ok(weed)
    }
}

impl Drop for SeaweedFs {
    fn drop(&mut self) {
        // Killed, it leaves the Unix sockets it always opens beside its ports.
        drop(self.process.take());
        for socket in self.addresses.sockets() {
            let _ = fs::remove_file(socket);
        }
    }
}

impl Addresses {
    fn free() -> Result<Self> {
        Ok(Self {
            master: free_address()?,
            master_grpc: free_address()?,
            volume: free_address()?,
            volume_grpc: free_address()?,
            filer: free_address()?,
            filer_grpc: free_address()?,
            s3: free_address()?,
            s3_grpc: free_address()?,
        })
    }

    fn sockets(&self) -> [PathBuf; 6] {
        let socket =
            |name: &str, address: SocketAddr| format!("/tmp/seaweedfs-{name}-{}.sock", address.port()).into();
        [
            socket("master-grpc", self.master_grpc),
            socket("volume-grpc", self.volume_grpc),
            socket("filer", self.filer),
            socket("filer-grpc", self.filer_grpc),
            socket("s3", self.s3),
            socket("s3-grpc", self.s3_grpc),
        ]
    }
}

fn option(name: &str, value: impl std::fmt::Display) -> String {
    format!("-{name}={value}")
}

fn s3_config() -> String {
    // `aws cloudtrail validate-logs` asks our server and the store with the same key.
    let (admin, secret) = (server::key_id("admin"), server::secret("admin"));
    format!(
        r#"{{"identities":[{{"name":"tests","credentials":[{{"accessKey":"{ACCESS_KEY}","secretKey":"{SECRET_KEY}"}},{{"accessKey":"{admin}","secretKey":"{secret}"}}],"actions":["Admin","Read","Write","List","Tagging"]}}]}}"#
    )
}
