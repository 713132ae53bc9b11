//! The parts, and what the faults do to them.

use std::collections::BTreeMap;
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use sidetrail_tests::collector::Settings;
use sidetrail_tests::{Collector, Proxy, SeaweedFs, wait_for};
use tempfile::TempDir;

use crate::disk::Disk;
use crate::fault::{Fault, Random};
use crate::load::Load;
use crate::reckoning::Reckoning;

/// Many small files, and a spool that has to let go of what it has shipped.
const SETTINGS: Settings =
    Settings { rotate_age: "300ms", rotate_size: "256KiB", budget: "64MiB", segment: "1MiB", grace: "30s" };
/// How long everything may take to be in the store once the faults are over: a trail may be in the midst of its longest
/// backoff.
const DRAIN: Duration = Duration::from_secs(120);
/// After a fault load goes on for at least this long.
const BETWEEN: (u64, u64) = (50, 400);
/// Once in so many of its rounds the network stays as it is, and the next rounds find it so.
const LINGERS: u64 = 5;

/// A collector, a store, a proxy between them, a disk, and senders.
pub(super) struct Soak {
    random: Random,
    collector: Collector,
    store: SeaweedFs,
    proxy: Proxy,
    load: Load,
    disk: Disk,
    collector_starts: u64,
    faults: BTreeMap<&'static str, u64>,
    // Last, after all that writes into it.
    _directory: TempDir,
}

/// How it went.
#[derive(Debug)]
pub(super) struct Ended {
    pub(super) reckoning: Reckoning,
    pub(super) collector_starts: u64,
    pub(super) requests_struck: u64,
    pub(super) disk: &'static str,
    pub(super) faults: BTreeMap<&'static str, u64>,
}

impl Soak {
    pub(super) fn start(seed: u64) -> Result<Self> {
        let directory = tempfile::Builder::new().prefix("sidetrail-faults-").tempdir()?;
        let store = SeaweedFs::start()?;
        let bucket = store.bucket("faults")?;
        let proxy = Proxy::start(store.address())?;
        let mut collector = Collector::new(directory.path(), SETTINGS)?.with_store(&store, &bucket)?;
        collector.set_env("AWS_ENDPOINT_URL", &proxy.endpoint());
        let disk = Disk::mount(&collector.spool())?;
        collector.start()?;
        let load = Load::start(&collector.socket())?;
        Ok(Self {
            random: Random(seed),
            collector,
            store,
            proxy,
            load,
            disk,
            collector_starts: 1,
            faults: BTreeMap::new(),
            _directory: directory,
        })
    }

    /// Draws a fault and applies it. Says what it was and where things stand.
    pub(super) fn round(&mut self) -> Result<String> {
        let began = Instant::now();
        let fault = Fault::draw(&mut self.random, self.disk.can_be_filled());
        *self.faults.entry(fault.kind()).or_default() += 1;
        self.apply(fault).with_context(|| format!("{fault}"))?;
        thread::sleep(self.random.millis(BETWEEN.0, BETWEEN.1));
        if let Some(status) = self.collector.revive()? {
            // As under systemd: one whose spool has failed ends, and is started again.
            eprintln!("     the collector had ended with {status}");
            self.collector_starts += 1;
        }
        let shipped = self.metric("sidetrail_trail_events_shipped_total");
        let queued = self.metric("sidetrail_trail_events_queued");
        let number = |count: Option<f64>| count.map_or("?".to_owned(), |count| format!("{count:.0}"));
        Ok(format!(
            "{:.1} s  {fault}: {} acked, {} shipped, {} queued, {} starts",
            began.elapsed().as_secs_f64(),
            self.load.acked(),
            number(shipped),
            number(queued),
            self.collector_starts,
        ))
    }

    fn apply(&mut self, fault: Fault) -> Result<()> {
        match fault {
            Fault::KillCollector => {
                self.collector.kill()?;
                self.start_collector()
            }
            Fault::KillCollectorTwice => {
                self.collector.kill()?;
                let mut half = self.collector.spawn()?;
                thread::sleep(self.random.millis(5, 120));
                half.kill()?;
                self.start_collector()
            }
            Fault::StopCollector => {
                self.proxy.clear();
                self.collector.stop()?;
                self.start_collector()
            }
            Fault::FreezeCollector(time) => {
                self.collector.process().context("it runs")?.freeze()?;
                thread::sleep(time);
                self.collector.process().context("it runs")?.thaw()
            }
            Fault::KillStore(time) => {
                self.store.kill()?;
                thread::sleep(time);
                self.store.resume()
            }
            Fault::RestartStore => self.store.restart(),
            Fault::FreezeStore(time) => {
                self.store.process().context("it runs")?.freeze()?;
                thread::sleep(time);
                self.store.process().context("it runs")?.thaw()
            }
            Fault::Network(fate, aim, one_in, time) => {
                self.proxy.strike(fate, aim, one_in);
                thread::sleep(time);
                if self.random.below(LINGERS) > 0 {
                    self.proxy.clear();
                }
                Ok(())
            }
            Fault::NetworkAndKill(fate, aim, one_in, time) => {
                self.proxy.strike(fate, aim, one_in);
                thread::sleep(time);
                self.collector.kill()?;
                self.start_collector()?;
                self.proxy.clear();
                Ok(())
            }
            Fault::FillDisk(time) => {
                self.disk.fill()?;
                thread::sleep(time);
                self.disk.clear()
            }
            Fault::FillDiskAndKill(time) => {
                self.disk.fill()?;
                thread::sleep(time);
                self.collector.kill()?;
                self.disk.clear()?;
                self.start_collector()
            }
            Fault::ReconnectSender => {
                let which = self.random.below(1 << 32);
                self.load.reconnect(which)
            }
            Fault::ReplaceSender => {
                let which = self.random.below(1 << 32);
                self.load.replace(which)
            }
            Fault::Calm(time) => {
                self.proxy.clear();
                thread::sleep(time);
                Ok(())
            }
        }
    }

    fn start_collector(&mut self) -> Result<()> {
        self.collector_starts += 1;
        self.collector.start()
    }

    fn metric(&self, name: &str) -> Option<f64> {
        self.collector.metrics().ok()?.get(name).copied()
    }

    /// No more faults: what is left drains, and the bucket is read.
    pub(super) fn finish(mut self) -> Result<Ended> {
        self.proxy.clear();
        self.disk.clear()?;
        let before = self.load.acked();
        wait_for(
            "acks after the last fault",
            DRAIN,
            || Ok((self.load.acked() > before + 200).then_some(())),
        )?;
        self.load.stop()?;
        // What was sent and not acked is taken or not; once nobody sends, what is queued only becomes less.
        wait_for("the last event in the store", DRAIN, || {
            let queued = self.metric("sidetrail_trail_events_queued");
            let shipped = self.metric("sidetrail_trail_events_shipped_total");
            Ok((queued == Some(0.0) && shipped >= Some(before as f64)).then_some(()))
        })?;
        let shipped = self.metric("sidetrail_trail_events_shipped_total");
        self.collector.stop()?;
        if shipped.is_none() {
            bail!("the collector has no metrics");
        }
        // The store itself, not what the proxy makes of it.
        let endpoint = self.store.endpoint();
        self.collector.set_env("AWS_ENDPOINT_URL", &endpoint);
        let reckoning = Reckoning::of(&self.collector, self.load.senders(), shipped)?;
        Ok(Ended {
            reckoning,
            collector_starts: self.collector_starts,
            requests_struck: self.proxy.struck(),
            disk: self.disk.name(),
            faults: self.faults,
        })
    }
}
