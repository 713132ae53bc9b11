//! What a process has used, as Linux counts it.

use std::collections::BTreeMap;
use std::fs;

use anyhow::{Context, Result};

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

    /// Threads that have ended are missing.
    pub(crate) fn threads_since(&self, before: &Self) -> Vec<(&str, f64)> {
        let mut threads: Vec<_> = self
            .threads
            .iter()
            .map(|(name, cpu)| (name.as_str(), cpu - before.threads.get(name).copied().unwrap_or_default()))
            .collect();
        threads.sort_by(|one, other| other.1.total_cmp(&one.1));
        threads
    }

    pub(crate) fn rss_mib(&self) -> f64 {
        mib(self.rss)
    }

    pub(crate) fn peak_mib(&self) -> f64 {
        mib(self.peak)
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
