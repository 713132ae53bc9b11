//! A collector as a process, with everything it needs in one directory.

use std::collections::HashMap;
use std::fs;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitStatus};

use anyhow::{Context, Result, ensure};

use crate::{Process, START, STOP, SeaweedFs, free_address, http, tools};

/// The account that the collectors of the tests write for.
pub const ACCOUNT: &str = "111122223333";

/// A collector process. It can be killed and started again on the same spool.
#[derive(Debug)]
pub struct Collector {
    directory: PathBuf,
    store: Option<(String, Vec<(String, String)>)>,
    health: SocketAddr,
    process: Option<Process>,
    /// More members of the trail, as YAML in one line.
    trail: String,
    account: String,
    /// Whether it forwards to a gateway and has no bucket of its own.
    forwards: bool,
    shutdown: &'static str,
    /// Lines of YAML under `rotate`, `spool` and the top, so that a test can set what it is about.
    settings: Settings,
    /// Members of `listen` beside the socket and the probes.
    listen: String,
    /// What `trails` is, where it is not one trail.
    trails: Option<String>,
    /// Lines at the end.
    more: String,
    /// Variables of the process.
    variables: Vec<(String, String)>,
}

/// What a test may want different.
#[derive(Clone, Debug)]
pub struct Settings {
    /// `rotate.age`.
    pub rotate_age: &'static str,
    /// `rotate.size`.
    pub rotate_size: &'static str,
    /// `spool.budget`.
    pub budget: &'static str,
    /// `spool.segment`.
    pub segment: &'static str,
    /// `intents.grace`.
    pub grace: &'static str,
}

impl Default for Settings {
    /// Small and quick, so that a test sees many files.
    fn default() -> Self {
        Self { rotate_age: "200ms", rotate_size: "256KiB", budget: "256MiB", segment: "1MiB", grace: "30s" }
    }
}

impl Collector {
    /// A collector in `directory` that ships to `directory/bucket`. It is not started.
    ///
    /// # Errors
    ///
    /// When there is no free port.
    pub fn new(directory: &Path, settings: Settings) -> Result<Self> {
        let health = free_address()?;
        let (listen, trails, more) = (String::new(), None, String::new());
        let (account, forwards, shutdown) = (ACCOUNT.to_owned(), false, "25s");
        let directory = directory.to_owned();
        Ok(Self {
            directory,
            account,
            forwards,
            shutdown,
            store: None,
            health,
            process: None,
            trail: String::new(),
            settings,
            listen,
            trails,
            more,
            variables: Vec::new(),
        })
    }

    /// Sets a variable of the process, for the next start.
    pub fn set_variable(&mut self, name: &str, value: &str) {
        self.variables.push((name.to_owned(), value.to_owned()));
    }

    /// Says more about `listen`: members of a YAML flow mapping.
    pub fn set_listen(&mut self, members: impl Into<String>) {
        self.listen = members.into();
    }

    /// Says what `trails` is, as YAML on one line.
    pub fn set_trails(&mut self, trails: impl Into<String>) {
        self.trails = Some(trails.into());
    }

    /// Adds lines to the end of the configuration.
    pub fn set_more(&mut self, lines: impl Into<String>) {
        self.more = lines.into();
    }

    /// Changes other settings, for the next configuration that is written.
    pub fn settings(&mut self) -> &mut Settings {
        &mut self.settings
    }

    /// Writes the configuration as it is set now, in one step, for a collector that runs.
    ///
    /// # Errors
    ///
    /// When it cannot be written.
    pub fn write_config(&self) -> Result<()> {
        let (config, new) =
            (self.directory.join("collector.yaml"), self.directory.join("collector.yaml.new"));
        fs::write(&new, self.config())?;
        Ok(fs::rename(new, config)?)
    }

    /// Writes for another account.
    #[must_use]
    pub fn with_account(mut self, account: &str) -> Self {
        account.clone_into(&mut self.account);
        self
    }

    /// Ends within this time.
    #[must_use]
    pub fn with_shutdown(self, shutdown: &'static str) -> Self {
        Self { shutdown, ..self }
    }

    /// From the next start on it ships itself, if it forwarded, or the other way round.
    pub fn forward(&mut self, forwards: bool) {
        self.forwards = forwards;
    }

    /// Lets other collectors forward to it.
    #[must_use]
    pub fn as_gateway(mut self) -> Self {
        self.more += "forwarders: { max: 64 }\n";
        self
    }

    /// Hands over to `gateway` at shutdown what its bucket does not take.
    #[must_use]
    pub fn with_gateway(mut self, gateway: &Self) -> Self {
        self.more += &format!("gateway: {{ endpoint: 'unix:{}' }}\n", gateway.socket().display());
        self
    }

    /// Forwards to `gateway` instead of shipping.
    #[must_use]
    pub fn forwarding_to(mut self, gateway: &Self) -> Self {
        self.forwards = true;
        self.with_gateway(gateway)
    }

    /// Ships to a bucket of `store` instead.
    ///
    /// # Errors
    ///
    /// When the store's environment cannot be read.
    pub fn with_store(mut self, store: &SeaweedFs, bucket: &str) -> Result<Self> {
        let mut command = Command::new("true");
        store.configure(&mut command);
        let variables = command
            .get_envs()
            .filter_map(|(name, value)| Some((name.to_str()?.to_owned(), value?.to_str()?.to_owned())))
            .collect();
        self.store = Some((format!("s3://{bucket}/audit"), variables));
        Ok(self)
    }

    /// Adds members to the trail, as YAML in one line: `encryption: { type: sse-s3 }`.
    #[must_use]
    pub fn with_trail(mut self, members: &str) -> Self {
        self.trail = format!(", {members}");
        self
    }

    /// Sets a variable of the store's environment.
    pub fn set_env(&mut self, name: &str, value: &str) {
        if let Some((_, variables)) = &mut self.store {
            variables.retain(|(set, _)| set != name);
            variables.push((name.to_owned(), value.to_owned()));
        }
    }

    /// Starts the process and waits until it is ready.
    ///
    /// # Errors
    ///
    /// When it does not become ready; quotes its log.
    pub fn start(&mut self) -> Result<()> {
        let mut process = self.spawn()?;
        process.wait_http(self.health, "/readyz", START)?;
        self.process = Some(process);
        Ok(())
    }

    /// Starts the process again if it has ended by itself. How it ended, if it has.
    ///
    /// # Errors
    ///
    /// As [`Collector::start`].
    pub fn revive(&mut self) -> Result<Option<ExitStatus>> {
        let ended = self.process.as_mut().context("the collector does not run")?.ended()?;
        if ended.is_some() {
            self.start()?;
        }
        Ok(ended)
    }

    /// Starts the process and leaves it to the caller.
    ///
    /// # Errors
    ///
    /// When it cannot be started.
    pub fn spawn(&self) -> Result<Process> {
        let config = self.directory.join("collector.yaml");
        fs::write(&config, self.config())?;
        let mut command = Command::new(tools::binary("sidetrail-collector")?);
        command.arg("--config").arg(&config);
        for (name, value) in self.store.iter().flat_map(|(_, variables)| variables).chain(&self.variables) {
            command.env(name, value);
        }
        Process::spawn(command, &self.directory.join("collector.log"))
    }

    /// The configuration as YAML.
    #[must_use]
    pub fn config(&self) -> String {
        let Settings { rotate_age, rotate_size, budget, segment, grace } = &self.settings;
        let shutdown = self.shutdown;
        let one = || {
            let destination = if self.forwards { "gateway".to_owned() } else { self.destination() };
            let rotate = format!("{{ age: {rotate_age}, size: {rotate_size} }}");
            format!("[{{ name: default, destination: '{destination}', rotate: {rotate}{} }}]", self.trail)
        };
        let trails = self.trails.clone().unwrap_or_else(one);
        format!(
            "account: '{}'\nregion: eu-central-1\n\
             listen: {{ socket: {}, health: '{}', {} }}\n\
             spool: {{ directory: {}, budget: {budget}, segment: {segment} }}\n\
             intents: {{ grace: {grace} }}\n\
             trails: {trails}\n\
             shutdown_timeout: {shutdown}\n{}",
            self.account,
            self.socket().display(),
            self.health,
            self.listen,
            self.directory.join("spool").display(),
            self.more,
        )
    }

    /// kill -9, and reaps.
    ///
    /// # Errors
    ///
    /// When it does not run.
    pub fn kill(&mut self) -> Result<()> {
        self.process.take().context("the collector does not run")?.kill()
    }

    /// SIGTERM, and waits for the end.
    ///
    /// # Errors
    ///
    /// When it does not run, or does not end with exit code 0.
    pub fn stop(&mut self) -> Result<()> {
        let mut process = self.process.take().context("the collector does not run")?;
        process.terminate()?;
        let status = process.wait(STOP)?;
        ensure!(status.success(), "the collector ended with {status}: {}", process.log()?);
        Ok(())
    }

    /// Announces the end, as a preStop hook does.
    ///
    /// # Errors
    ///
    /// When the collector does not answer.
    pub fn flush(&self) -> Result<()> {
        let mut command = Command::new(tools::binary("sidetrail-collector")?);
        command.arg("--config").arg(self.directory.join("collector.yaml")).arg("flush");
        tools::run(command)?.success().map(drop)
    }

    /// The log so far.
    ///
    /// # Errors
    ///
    /// When it cannot be read.
    pub fn log(&self) -> Result<String> {
        Ok(fs::read_to_string(self.directory.join("collector.log"))?)
    }

    /// The process, while it runs.
    pub fn process(&mut self) -> Option<&mut Process> {
        self.process.as_mut()
    }

    /// Where it listens.
    #[must_use]
    pub fn socket(&self) -> PathBuf {
        self.directory.join("collector.sock")
    }

    /// Where it ships to, as the configuration and `sidetrail verify` take it.
    #[must_use]
    pub fn destination(&self) -> String {
        match &self.store {
            Some((destination, _)) => destination.clone(),
            None => self.directory.join("bucket").display().to_string(),
        }
    }

    /// The spool directory.
    #[must_use]
    pub fn spool(&self) -> PathBuf {
        self.directory.join("spool")
    }

    /// The segments of the spool, oldest first.
    ///
    /// # Errors
    ///
    /// When the directory cannot be read.
    pub fn segments(&self) -> Result<Vec<PathBuf>> {
        let mut segments: Vec<_> = fs::read_dir(self.spool())?
            .filter_map(|entry| Some(entry.ok()?.path()))
            .filter(|path| path.extension().is_some_and(|extension| extension == "seg"))
            .collect();
        segments.sort();
        Ok(segments)
    }

    /// The answer of a probe.
    ///
    /// # Errors
    ///
    /// When there is none.
    pub fn probe(&self, path: &str) -> Result<http::Response> {
        http::get(self.health, path)
    }

    /// The metrics without labels beside the trail's, by name.
    ///
    /// # Errors
    ///
    /// When there are none.
    pub fn metrics(&self) -> Result<HashMap<String, f64>> {
        let text = self.probe("/metrics")?.body;
        let line = |line: &str| {
            let (name, value) = line.rsplit_once(' ')?;
            Some((name.split('{').next()?.to_owned(), value.parse().ok()?))
        };
        Ok(text.lines().filter(|text| !text.starts_with('#')).filter_map(line).collect())
    }

    /// The value of a metric with these labels, e.g. `sidetrail_connections_open{transport="tls"}`; 0 if it is not there.
    ///
    /// # Errors
    ///
    /// When there are no metrics.
    pub fn metric(&self, series: &str) -> Result<f64> {
        let text = self.probe("/metrics")?.body;
        let value = text.lines().find_map(|line| line.strip_prefix(series)?.strip_prefix(' ')?.parse().ok());
        Ok(value.unwrap_or(0.0))
    }

    /// Looks up a variable as the collector process sees it, for opening the same store.
    #[must_use]
    pub fn variable(&self, name: &str) -> Option<String> {
        let (_, variables) = self.store.as_ref()?;
        variables.iter().find(|(set, _)| set == name).map(|(_, value)| value.clone())
    }

    /// Sets the store's variables for a command that looks at the same bucket.
    pub fn configure(&self, command: &mut Command) {
        for (name, value) in self.store.iter().flat_map(|(_, variables)| variables) {
            command.env(name, value);
        }
    }
}
