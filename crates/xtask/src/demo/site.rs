//! The programs of the demo, started and ended.

use std::fs::{self, File};
use std::io::{BufRead, BufReader, ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use rustix::process::{Pid, Signal, kill_process};

/// The access key of the demo's server.
const ACCESS_KEY: &str = "SIDETRAILDEMOUSER";
const START: Duration = Duration::from_secs(60);
/// Longer than the collector's own shutdown timeout.
const STOP: Duration = Duration::from_secs(30);
const POLL: Duration = Duration::from_millis(20);

/// An orders service and its collector, and a server beside them.
#[derive(Debug)]
pub(super) struct Site {
    programs: PathBuf,
    /// Base URL of the service.
    pub(super) orders: String,
    /// Base URL of the server, once there is one.
    pub(super) server: String,
    pub(super) socket: PathBuf,
    pub(super) bucket: PathBuf,
    pub(super) logs: PathBuf,
    /// In the order in which they end: who sends before who receives.
    children: Vec<(&'static str, Child)>,
}

impl Site {
    pub(super) fn start(programs: &Path, dir: &Path) -> Result<Self> {
        let logs = dir.join("logs");
        fs::create_dir_all(&logs)?;
        let mut site = Self {
            programs: programs.to_owned(),
            orders: String::new(),
            server: String::new(),
            socket: socket_path(dir),
            bucket: dir.join("bucket"),
            logs,
            children: Vec::new(),
        };
        site.start_collector(dir)?;
        site.start_orders()?;
        Ok(site)
    }

    pub(super) fn program(&self, name: &str) -> PathBuf {
        self.programs.join(name)
    }

    pub(super) fn sidetrail(&self) -> Command {
        Command::new(self.program("sidetrail"))
    }

    /// Fails when one of the programs has ended.
    pub(super) fn check(&mut self) -> Result<()> {
        for (name, child) in &mut self.children {
            if let Some(status) = child.try_wait()? {
                bail!("{name} ended with {status}; see {}", self.logs.display());
            }
        }
        Ok(())
    }

    /// SIGTERM to each, service first, and waits: both drain.
    pub(super) fn stop(&mut self) -> Result<()> {
        for (name, mut child) in self.children.drain(..) {
            terminate(&child);
            let deadline = Instant::now() + STOP;
            let status = loop {
                match child.try_wait()? {
                    Some(status) => break status,
                    None if Instant::now() > deadline => {
                        child.kill()?;
                        bail!("{name} did not end in {} s", STOP.as_secs());
                    }
                    None => thread::sleep(POLL),
                }
            };
            ensure!(status.success(), "{name} ended with {status}; see {}", self.logs.display());
        }
        Ok(())
    }

    fn start_collector(&mut self, dir: &Path) -> Result<()> {
        let config = dir.join("collector.yaml");
        fs::write(
            &config,
            format!(
                "account: '123456789012'\nregion: eu-central-1\n\
                 listen: {{ socket: '{}' }}\n\
                 spool: {{ directory: '{}', budget: 256MiB }}\n\
                 trails: [{{ name: default, destination: '{}', rotate: {{ age: 1s }} }}]\n",
                self.socket.display(),
                dir.join("spool").display(),
                self.bucket.display(),
            ),
        )?;
        let mut command = Command::new(self.program("sidetrail-collector"));
        command.arg("--config").arg(&config).stdout(Stdio::null());
        self.spawn("collector", command)?;
        let deadline = Instant::now() + START;
        while !self.socket.exists() {
            self.check()?;
            ensure!(Instant::now() < deadline, "the collector does not listen; see {}", self.logs.display());
            thread::sleep(POLL);
        }
        Ok(())
    }

    /// Starts a server that has the bucket's events in its history, and waits until it answers.
    pub(super) fn start_server(&mut self, dir: &Path) -> Result<()> {
        // The system gives a port that is free; nobody else takes it at once.
        let (api, health) = (free_address()?, free_address()?);
        let secret = dir.join("server.secret");
        fs::write(&secret, format!("{}\n", random()?))?;
        let config = dir.join("server.yaml");
        fs::write(
            &config,
            format!(
                "regions: [eu-central-1]\nlisten: {{ api: '{api}', health: '{health}' }}\n\
                 bucket: '{}'\nbuckets: {{ audit: '{}' }}\nhistory: {{ interval: 500ms }}\naccess_keys:\n  \
                 - {{ id: {ACCESS_KEY}, secret: {{ file: '{}' }}, account: '123456789012', user: demo, role: admin }}\n",
                dir.join("server").display(),
                self.bucket.display(),
                secret.display(),
            ),
        )?;
        let mut command = Command::new(self.program("sidetrail-server"));
        command.arg("--config").arg(&config).stdout(Stdio::null());
        self.spawn("server", command)?;
        let deadline = Instant::now() + START;
        while TcpStream::connect(health).is_err() || TcpStream::connect(api).is_err() {
            self.check()?;
            ensure!(Instant::now() < deadline, "the server does not listen; see {}", self.logs.display());
            thread::sleep(POLL);
        }
        self.server = format!("http://{api}");
        Ok(())
    }

    /// What AWS's own tools and `sidetrail` take from the environment to reach the server.
    pub(super) fn variables(&self, dir: &Path) -> Result<[(&'static str, String); 4]> {
        let secret = fs::read_to_string(dir.join("server.secret"))?.trim_end().to_owned();
        Ok([
            ("AWS_ENDPOINT_URL_CLOUDTRAIL", self.server.clone()),
            ("AWS_REGION", "eu-central-1".to_owned()),
            ("AWS_ACCESS_KEY_ID", ACCESS_KEY.to_owned()),
            ("AWS_SECRET_ACCESS_KEY", secret),
        ])
    }

    fn start_orders(&mut self) -> Result<()> {
        let mut command = Command::new(self.programs.join("examples/orders"));
        command.args(["--listen", "127.0.0.1:0"]).stdout(Stdio::piped());
        command.env("SIDETRAIL_COLLECTOR", format!("unix:{}", self.socket.display()));
        let child = self.spawn("orders", command)?;
        let stdout = child.stdout.take().context("no standard output")?;
        let mut line = String::new();
        BufReader::new(stdout).read_line(&mut line)?;
        let Some(url) = line.trim().strip_prefix("listening on ") else {
            bail!("the orders service did not start; see {}", self.logs.display());
        };
        self.orders = url.to_owned();
        Ok(())
    }

    fn spawn(&mut self, name: &'static str, mut command: Command) -> Result<&mut Child> {
        let log = File::create(self.logs.join(format!("{name}.log")))?;
        // A group of its own: Ctrl-C in the terminal is for the demo, which ends its programs in the right order.
        let child = command.stdin(Stdio::null()).stderr(log).process_group(0).spawn();
        let child = child.with_context(|| format!("cannot start {}", command.get_program().display()))?;
        // The service ends before the collector, which was started first.
        self.children.insert(0, (name, child));
        Ok(&mut self.children[0].1)
    }
}

impl Drop for Site {
    fn drop(&mut self) {
        for (_, child) in &mut self.children {
            // Whatever ended the demo early, nothing stays behind.
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}

fn free_address() -> Result<SocketAddr> {
    Ok(TcpListener::bind("127.0.0.1:0")?.local_addr()?)
}

/// A secret of this run.
fn random() -> Result<String> {
    let mut bytes = [0; 20];
    File::open("/dev/urandom")?.read_exact(&mut bytes)?;
    Ok(bytes.iter().map(|byte| format!("{byte:02x}")).collect())
}

/// Sends `request` as it is and hangs up without waiting for the answer.
pub(super) fn hang_up(base: &str, request: &str, after: Duration) -> Result<()> {
    let mut stream = TcpStream::connect(base.trim_start_matches("http://"))?;
    stream.write_all(request.as_bytes())?;
    stream.set_read_timeout(Some(after))?;
    match stream.read(&mut [0]) {
        Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => Ok(()),
        Err(error) => Err(error.into()),
        Ok(_) => bail!("the slow request was answered at once"),
    }
}

/// The path of a Unix socket must be short; a directory's may be long.
fn socket_path(dir: &Path) -> PathBuf {
    const MAX: usize = 100;
    let socket = dir.join("collector.sock");
    if socket.as_os_str().len() <= MAX {
        return socket;
    }
    std::env::temp_dir().join(format!("sidetrail-demo-{}.sock", std::process::id()))
}

fn terminate(child: &Child) {
    let pid = i32::try_from(child.id()).ok().and_then(Pid::from_raw);
    if let Some(pid) = pid {
        // Already gone is as good.
        let _ = kill_process(pid, Signal::TERM);
    }
}
