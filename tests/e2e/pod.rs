//! Pods without Kubernetes: what a kubelet does to a sidecar, with processes, signals and directories, and an
//! application under load. Whatever was acknowledged is in the bucket, once, when the pod and its volumes are gone.
//!
//! A kubelet ends a pod with a restartable init container in this order: preStop hooks of all containers, SIGTERM to the
//! applications, and when they have ended, or their time has, SIGTERM to the sidecar, which has the rest of the grace
//! period, two seconds at least. Then SIGKILL, and the volumes go.

use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use sidetrail_tests::collector::Settings;
use sidetrail_tests::proxy::{Aim, Fate, Proxy};
use sidetrail_tests::sender::Sender;
use sidetrail_tests::{
    Collector, Load, Process, START, SeaweedFs, archive, free_address, http, tools, wait_for,
};

use crate::gateway::{collector, holds_exactly_once};

/// What a kubelet gives a container whose time is over.
const LEAST: Duration = Duration::from_secs(2);
/// A hook that takes longer would take it from the application.
const HOOK: Duration = Duration::from_secs(2);

/// A sidecar, its volumes, and what is known of its pod.
struct Pod {
    directory: PathBuf,
    collector: Collector,
}

impl Pod {
    /// Starts the sidecar and waits for its startup probe: applications start after that.
    fn start(directory: PathBuf, collector: Collector) -> Result<Self> {
        let mut pod = Self { directory, collector };
        pod.collector.start()?;
        ensure!(pod.collector.probe("/startupz")?.status == 200, "ready, and not started");
        Ok(pod)
    }

    /// Ends the pod as a kubelet does. `application` gets SIGTERM and ends within its time, which it is told; answers how
    /// long the sidecar took after that.
    fn delete(
        mut self,
        grace: Duration,
        application: impl FnOnce(&Collector, Duration) -> Result<()>,
    ) -> Result<Duration> {
        let began = Instant::now();
        self.collector.flush()?;
        ensure!(began.elapsed() < HOOK, "the hook took {:.1?}", began.elapsed());
        application(&self.collector, grace.saturating_sub(began.elapsed()))?;

        let left = grace.saturating_sub(began.elapsed()).max(LEAST);
        let told = Instant::now();
        let process = self.collector.process().context("the sidecar does not run")?;
        process.terminate()?;
        let status = process.wait(left).context("the sidecar would have been killed")?;
        let took = told.elapsed();
        let log = self.collector.log()?;
        ensure!(status.success(), "the sidecar ended with {status}: {log}");
        ensure!(log.contains("\"drained\":true"), "the volumes go with records on them: {log}");
        drop(self.collector);
        std::fs::remove_dir_all(&self.directory)?;
        Ok(took)
    }
}

/// A pod whose collector ships to `bucket` of `store`, in a directory of its own.
fn pod(root: &Path, name: &str, configure: impl FnOnce(Collector) -> Result<Collector>) -> Result<Pod> {
    let settings = Settings { rotate_age: "1h", rotate_size: "16MiB", ..Settings::default() };
    let collector = configure(collector(root, name, settings)?)?;
    Pod::start(root.join(name), collector)
}

fn sender(pod: &Pod, source: u8) -> Sender {
    Sender::new(&pod.collector.socket(), [source; 16], u64::MAX / 2, 20, Duration::from_millis(10))
}

/// A collector that is never started: it knows where the bucket is.
fn reader(root: &Path, store: &SeaweedFs, bucket: &str) -> Result<Collector> {
    collector(root, "reader", Settings::default())?.with_store(store, bucket)
}

/// The orders service under load, while its pod is deleted: every request that was answered is in the bucket.
#[test]
fn every_answered_request_is_recorded_when_a_pod_is_deleted() -> Result<()> {
    let store = SeaweedFs::shared()?;
    let bucket = store.bucket("pod-orders")?;
    let root = tempfile::tempdir()?;
    let pod = pod(root.path(), "orders", |collector| collector.with_store(store, &bucket))?;

    let address = free_address()?;
    let mut command = Command::new(tools::example("orders")?);
    command.args(["--listen", &address.to_string()]);
    command.env("SIDETRAIL_COLLECTOR", format!("unix:{}", pod.collector.socket().display()));
    let mut orders = Process::spawn(command, &root.path().join("orders.log"))?;
    // It asks who is there; that is an answer.
    wait_for("the service", START, || Ok(http::get(address, "/orders").ok()))?;

    let (answered, ended) = (AtomicU64::new(0), AtomicBool::new(false));
    let took = thread::scope(|scope| {
        let load = scope.spawn(|| requests(address, &answered, &ended));
        wait_for("requests", START, || Ok((answered.load(Ordering::SeqCst) > 300).then_some(())))?;
        let grace = Duration::from_secs(20);
        let took = pod.delete(grace, |_, left| {
            orders.terminate()?;
            ensure!(orders.wait(left)?.success(), "the service failed: {}", orders.log()?);
            Ok(())
        });
        ended.store(true, Ordering::SeqCst);
        let answered = load.join().ok().context("the load failed")?;
        took.map(|took| (took, answered))
    });
    let (took, answered) = took?;
    ensure!(answered.len() > 300, "only {} requests", answered.len());

    let records = archive::records(&reader(root.path(), store, &bucket)?)?;
    let recorded: BTreeSet<u64> = records
        .iter()
        .filter_map(|record| record["requestParameters"]["id"].as_str()?.parse().ok())
        .collect();
    let lost: Vec<_> = answered.difference(&recorded).collect();
    ensure!(lost.is_empty(), "{} of {} answered requests are not recorded", lost.len(), answered.len());
    println!(
        "{} answered requests, all recorded; the sidecar took {took:.1?} after the service",
        answered.len()
    );
    Ok(())
}

/// Asks for one order after the other until the service is gone; those that it answered.
fn requests(address: SocketAddr, count: &AtomicU64, ended: &AtomicBool) -> BTreeSet<u64> {
    let mut answered = BTreeSet::new();
    for number in 1_000_000.. {
        match http::get(address, &format!("/orders/{number}")) {
            Ok(_) => {
                answered.insert(number);
                count.fetch_add(1, Ordering::SeqCst);
            }
            Err(_) if count.load(Ordering::SeqCst) > 0 || ended.load(Ordering::SeqCst) => break,
            Err(_) => {}
        }
    }
    answered
}

/// An application that takes all of the grace period leaves its sidecar two seconds. What the sidecar had by then is
/// shipped meanwhile, since it was told at the beginning.
#[test]
fn a_sidecar_ships_early_when_its_application_takes_all_the_time() -> Result<()> {
    let store = SeaweedFs::shared()?;
    let bucket = store.bucket("pod-late")?;
    let root = tempfile::tempdir()?;
    let grace = Duration::from_secs(8);
    let pod =
        pod(root.path(), "late", |collector| Ok(collector.with_store(store, &bucket)?.with_shutdown("3s")))?;
    let load = Load::start([sender(&pod, 1)])?;
    wait_for("a backlog", START, || Ok((load.acked()[0] > 2_000).then_some(())))?;
    let shipped = |collector: &Collector| {
        Ok::<_, anyhow::Error>(
            collector.metrics()?.get("sidetrail_trail_events_shipped_total").copied().unwrap_or(0.0),
        )
    };
    ensure!(shipped(&pod.collector)? == 0.0, "shipped before its time");
    let mut acked = Vec::new();
    let took = pod.delete(grace, |collector, left| {
        let before = load.acked()[0];
        wait_for("early shipping", left, || Ok((shipped(collector)? >= before as f64).then_some(())))?;
        thread::sleep(left.saturating_sub(Duration::from_millis(500)));
        ensure!(collector.probe("/readyz")?.status == 200, "not ready, though the application runs");
        acked = load.stop();
        Ok(())
    })?;
    // Counted from the announcement the three seconds were long over.
    ensure!(took <= LEAST, "the sidecar took {took:.1?} where it had two seconds");
    let reader = reader(root.path(), store, &bucket)?;
    let ids = archive::event_ids(&reader)?;
    ensure!(ids.values().all(|count| *count == 1), "a record is there twice");
    ensure!(ids.len() as u64 >= acked[0], "{} records of {} acked", ids.len(), acked[0]);
    println!("{} acked, {} recorded; the sidecar took {took:.1?}", acked[0], ids.len());
    Ok(())
}

/// A node is drained while the bucket is away: its pods go, with their volumes. The gateway has what they leave.
#[test]
fn a_drained_node_loses_nothing_that_was_acked_though_the_bucket_is_away() -> Result<()> {
    const PODS: u8 = 3;
    let store = SeaweedFs::shared()?;
    let bucket = store.bucket("pod-drain")?;
    let root = tempfile::tempdir()?;
    let proxy = Proxy::start(store.address())?;
    let behind_proxy = |collector: Collector| {
        let mut collector = collector.with_store(store, &bucket)?;
        collector.set_env("AWS_ENDPOINT_URL", &proxy.endpoint());
        Ok::<_, anyhow::Error>(collector)
    };
    let mut gateway = behind_proxy(collector(root.path(), "gateway", Settings::default())?.as_gateway())?;
    gateway.start()?;
    let mut pods = Vec::new();
    for number in 1..=PODS {
        let name = number.to_string();
        let configure = |it: Collector| Ok(behind_proxy(it)?.with_gateway(&gateway).with_shutdown("10s"));
        pods.push(pod(root.path(), &name, configure)?);
    }
    let mut loads = Vec::new();
    for (pod, source) in pods.iter().zip(1..) {
        loads.push(Load::start([sender(pod, source)])?);
    }
    // A sidecar that is killed is started again by the kubelet, on the same volumes.
    wait_for("acks", START, || Ok(loads.iter().all(|load| load.acked()[0] > 200).then_some(())))?;
    pods[0].collector.kill()?;
    pods[0].collector.start()?;
    proxy.strike(Fate::Cut, Aim::default(), 1);

    // All at once, as pods are evicted.
    let ends = thread::scope(|scope| {
        let drained: Vec<_> = pods
            .into_iter()
            .zip(loads)
            .map(|(pod, load)| {
                scope.spawn(move || -> Result<(Vec<u64>, Duration)> {
                    let before = load.acked()[0];
                    wait_for("acks without a bucket", START, || {
                        Ok((load.acked()[0] > before + 100).then_some(()))
                    })?;
                    let mut acked = Vec::new();
                    let took = pod.delete(Duration::from_secs(15), |_, _| {
                        acked = load.stop();
                        Ok(())
                    })?;
                    Ok((acked, took))
                })
            })
            .collect();
        drained
            .into_iter()
            .map(|pod| pod.join().ok().context("a pod's end failed")?)
            .collect::<Result<Vec<_>>>()
    })?;
    let acked: Vec<u64> = ends.iter().flat_map(|(acked, _)| acked.clone()).collect();
    let slowest = ends.iter().map(|(_, took)| *took).max().unwrap_or_default();
    ensure!(proxy.struck() > 0, "nobody missed the bucket");
    proxy.clear();
    wait_for("the parcels in the bucket", START, || {
        Ok((gateway.metrics()?.get("sidetrail_parcels") == Some(&0.0)).then_some(()))
    })?;
    gateway.stop()?;
    holds_exactly_once(&gateway, &acked)?;
    println!(
        "{} acked over {PODS} pods: 0 lost, 0 twice; the slowest sidecar took {slowest:.1?}",
        acked.iter().sum::<u64>()
    );
    Ok(())
}
