//! What a process has used, as Linux counts it.

use std::collections::BTreeMap;
use std::fs;
use std::process::Command;
use std::thread;
use std::time::Duration;

use anyhow::{Context, Result};

/// How often memory is looked at.
const SAMPLE: Duration = Duration::from_millis(20);

/// A process at one moment.
#[derive(Debug)]
pub(crate) struct Usage {
    /// CPU seconds.
    pub(crate) user: f64,
    pub(crate) system: f64,
    /// CPU seconds by name of thread.
    threads: BTreeMap<String, f64>,
    /// Kilobytes.
    rss: u64,
    peak: u64,
}

impl Usage {
    pub(crate) fn of(process: u32) -> Result<Self> {
        let (_, user, system) = stat(&format!("/proc/{process}/stat"))?;
        let mut threads = BTreeMap::new();
        for thread in fs::read_dir(format!("/proc/{process}/task"))? {
            // A thread may end meanwhile.
            if let Ok((name, user, system)) = stat(&thread?.path().join("stat").to_string_lossy()) {
                *threads.entry(name).or_default() += user + system;
            }
        }
        let status = fs::read_to_string(format!("/proc/{process}/status"))?;
        let kilobytes = |name: &str| {
            let line = status.lines().find_map(|line| line.strip_prefix(name));
            line.and_then(|rest| rest.split_whitespace().next()?.parse().ok()).context("a size")
        };
        Ok(Self { user, system, threads, rss: kilobytes("VmRSS:")?, peak: kilobytes("VmHWM:")? })
    }

    pub(crate) fn cpu(&self) -> f64 {
        self.user + self.system
    }

    /// CPU seconds of all threads of that name. Threads that have ended are missing.
    pub(crate) fn thread(&self, name: &str) -> f64 {
        self.threads.get(name).copied().unwrap_or_default()
    }

    pub(crate) fn rss_mib(&self) -> f64 {
        mib(self.rss)
    }

    pub(crate) fn peak_mib(&self) -> f64 {
        mib(self.peak)
    }
}

/// The most resident memory in MiB that was seen while `work` went on, and what that came to.
pub(crate) fn most_while<T: Send>(process: u32, work: impl FnOnce() -> Result<T> + Send) -> Result<(f64, T)> {
    thread::scope(|scope| {
        let worker = scope.spawn(work);
        let mut most: f64 = 0.0;
        while !worker.is_finished() {
            most = most.max(Usage::of(process)?.rss_mib());
            thread::sleep(SAMPLE);
        }
        let result = worker.join().map_err(|_| anyhow::anyhow!("the work panicked"))??;
        Ok((most, result))
    })
}

/// What the executable of a process takes without its symbols, MiB; `None` where there is no `strip`.
pub(crate) fn stripped_mib(process: u32) -> Result<Option<f64>> {
    let stripped = tempfile::NamedTempFile::new()?;
    let mut strip = Command::new("strip");
    strip.arg("-o").arg(stripped.path()).arg(format!("/proc/{process}/exe"));
    match strip.status() {
        Ok(status) if status.success() => Ok(Some(mib(fs::metadata(stripped.path())?.len() / 1024))),
        _ => Ok(None),
    }
}

fn mib(kilobytes: u64) -> f64 {
    (kilobytes as f64 / 102.4).round() / 10.0
}

/// Name, user and system seconds.
fn stat(path: &str) -> Result<(String, f64, f64)> {
    let text = fs::read_to_string(path)?;
    // The name is in parentheses, and may hold anything.
    let (name, rest) = text.rsplit_once(')').context("no name")?;
    let name = name.split_once('(').context("no name")?.1.to_owned();
    let ticks = rustix::param::clock_ticks_per_second() as f64;
    let mut fields =
        rest.split_whitespace().skip(11).map(|field| field.parse::<u64>().map(|it| it as f64 / ticks));
    let (user, system) = fields.next().zip(fields.next()).context("no times")?;
    Ok((name, user?, system?))
}
