//! A configuration that changes while the collector runs and events come in.

use std::fs;
use std::os::unix::net::UnixDatagram;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result, anyhow, ensure};
use sidetrail_archive::verify::Outcome;
use sidetrail_tests::collector::Settings;
use sidetrail_tests::sender::Sender;
use sidetrail_tests::{Collector, START, STOP, archive, tools, wait_for};

const SOURCE: [u8; 16] = [9; 16];
const TOTAL: u64 = 3000;
const BATCH: u64 = 5;

fn reloads(collector: &Collector, outcome: &str) -> Result<f64> {
    collector.metric(&format!("sidetrail_config_reloads_total{{outcome=\"{outcome}\"}}"))
}

/// Writes what is set, and waits until the collector has found out by itself, or by a signal.
fn reload(collector: &mut Collector, signal: bool, outcome: &str) -> Result<()> {
    let before = reloads(collector, outcome)?;
    collector.write_config()?;
    if signal {
        collector.process().context("it runs")?.hang_up()?;
    }
    wait_for(&format!("a reload with {outcome}"), START, || {
        Ok((reloads(collector, outcome)? > before).then_some(()))
    })
}

/// A trail that began or moved while events came in has its archive from there on.
fn verify(bucket: &std::path::Path) -> Result<tools::Ran> {
    let mut command = Command::new(tools::binary("sidetrail")?);
    command.args(["verify", "--from", "-1h"]).arg(bucket);
    tools::run(command)
}

#[test]
fn trails_come_change_and_go_under_load() -> Result<()> {
    let directory = tempfile::tempdir()?;
    let at = |name: &str| directory.path().join(name);
    let trail = |name: &str, bucket: &str| {
        format!(
            "{{ name: {name}, destination: '{}', rotate: {{ age: 100ms, size: 64KiB }} }}",
            at(bucket).display()
        )
    };
    let mut collector = Collector::new(directory.path(), Settings::default())?;
    collector.start()?;
    let one =
        format!("{{ name: default, destination: '{}', rotate: {{ age: 100ms }} }}", collector.destination());

    let sender = Sender::new(&collector.socket(), SOURCE, TOTAL, BATCH, Duration::from_millis(5));
    let (running, reaches) = (sender.clone(), |count: u64| {
        let acked = || Ok((sender.acked() >= count).then_some(()));
        wait_for(&format!("{count} acks"), START, acked)
    });
    let load = std::thread::spawn(move || {
        tokio::runtime::Builder::new_current_thread().enable_all().build()?.block_on(running.run())
    });

    reaches(TOTAL / 10)?;
    collector.set_trails(format!("[{one}, {}]", trail("second", "second")));
    reload(&mut collector, true, "success")?;

    // The second moves, and then goes.
    reaches(TOTAL * 4 / 10)?;
    collector.set_trails(format!("[{one}, {}]", trail("second", "moved")));
    reload(&mut collector, false, "success")?;
    wait_for("the first file in the new place", START, || {
        Ok(at("moved").join("AWSLogs").exists().then_some(()))
    })?;

    reaches(TOTAL * 6 / 10)?;
    collector.set_trails(format!("[{one}]"));
    reload(&mut collector, true, "success")?;
    wait_for("the second to be through", START, || {
        Ok((collector.metric("sidetrail_trails_unsettled")? == 0.0
            && collector.log()?.contains("trail ended: all that had come is in the store"))
        .then_some(()))
    })?;
    ensure!(!collector.probe("/metrics")?.body.contains("trail=\"second\""), "its metrics are still there");
    load.join().map_err(|_| anyhow!("it panicked"))??;
    collector.stop()?;

    let report = archive::verify(&collector)?;
    ensure!(report.outcome() == Outcome::Valid, "{report:?}");
    ensure!(report.totals.records == TOTAL, "{:?}", report.totals);
    let log = collector.log()?;
    ensure!(log.contains("\"drained\":true,\"adds_up\":true"), "{log}");
    ensure!(!log.contains("given up"), "{log}");
    // What the second trail had while it was there, in either place: no event in both, and none missing in between.
    verify(&at("second"))?.success()?;
    let mut sequences = Vec::new();
    for bucket in ["second", "moved"] {
        sequences.extend(
            archive::event_ids_in(&at(bucket))?
                .into_iter()
                .map(|id| sequence(&id))
                .collect::<Result<Vec<_>>>()?,
        );
    }
    sequences.sort_unstable();
    let (first, last) = (sequences.first().copied().unwrap_or(0), sequences.last().copied().unwrap_or(0));
    ensure!(first > TOTAL / 10 && last >= TOTAL * 6 / 10, "from {first} to {last}");
    ensure!(sequences == (first..=last).collect::<Vec<_>>(), "{} from {first} to {last}", sequences.len());
    Ok(())
}

/// Its chain goes on, and says how many events it has not seen, whether it went while the collector ran or between two
/// runs of it.
#[test]
fn a_trail_that_comes_back_goes_on_with_its_chain() -> Result<()> {
    let directory = tempfile::tempdir()?;
    let mut collector = Collector::new(directory.path(), Settings::default())?;
    let place = directory.path().join("second").display().to_string();
    let one =
        format!("{{ name: default, destination: '{}', rotate: {{ age: 100ms }} }}", collector.destination());
    let without = format!("[{one}]");
    let with = format!("[{one}, {{ name: second, destination: '{place}', rotate: {{ age: 100ms }} }}]");
    let send = |collector: &Collector, total| {
        let sender = Sender::new(&collector.socket(), SOURCE, total, 10, Duration::ZERO);
        tokio::runtime::Builder::new_current_thread().enable_all().build()?.block_on(sender.run())
    };
    collector.start()?;
    send(&collector, 10)?;
    collector.set_trails(&with);
    reload(&mut collector, true, "success")?;
    send(&collector, 30)?;
    collector.set_trails(&without);
    reload(&mut collector, true, "success")?;
    wait_for("the second to be through", START, || {
        Ok(collector.log()?.contains("trail ended: all that had come is in the store").then_some(()))
    })?;
    send(&collector, 70)?;
    collector.set_trails(&with);
    reload(&mut collector, true, "success")?;
    send(&collector, 100)?;
    collector.stop()?;

    collector.set_trails(&without);
    collector.start()?;
    send(&collector, 150)?;
    collector.stop()?;
    collector.set_trails(&with);
    collector.start()?;
    send(&collector, 200)?;
    collector.stop()?;
    ensure!(collector.log()?.contains("\"drained\":true,\"adds_up\":true"), "{}", collector.log()?);

    let mut sequences = Vec::new();
    for id in archive::event_ids_in(Path::new(&place))? {
        sequences.push(sequence(&id)?);
    }
    sequences.sort_unstable();
    let seen: Vec<_> = (11..=30).chain(71..=100).chain(151..=200).collect();
    ensure!(sequences == seen, "{sequences:?}");
    for (destination, records) in [(&collector.destination(), 200), (&place, 100)] {
        let report = archive::verify_at(&collector, destination)?;
        ensure!(report.outcome() == Outcome::Valid, "{destination}: {report:?}");
        ensure!(report.totals.records == records, "{destination}: {:?}", report.totals);
    }
    Ok(())
}

/// A trail that forwards comes and goes like any other, but none becomes one, or another, while it runs.
#[test]
fn a_trail_that_forwards_comes_and_goes() -> Result<()> {
    let root = tempfile::tempdir()?;
    let [near, far] = ["near", "far"].map(|name| root.path().join(name));
    fs::create_dir(&near)?;
    fs::create_dir(&far)?;
    let mut gateway = Collector::new(&far, Settings::default())?.as_gateway();
    gateway.start()?;
    let mut collector = Collector::new(&near, Settings::default())?.with_gateway(&gateway);
    let one =
        format!("{{ name: default, destination: '{}', rotate: {{ age: 100ms }} }}", collector.destination());
    let onward = "{ name: onward, destination: gateway }";
    let send = |collector: &Collector, total| {
        let sender = Sender::new(&collector.socket(), SOURCE, total, 10, Duration::ZERO);
        tokio::runtime::Builder::new_current_thread().enable_all().build()?.block_on(sender.run())
    };
    collector.set_trails(format!("[{one}]"));
    collector.start()?;
    send(&collector, 10)?;
    collector.set_trails(format!("[{one}, {onward}]"));
    reload(&mut collector, true, "success")?;
    send(&collector, 30)?;

    // Neither becomes the other, and nothing else of such a change is taken over.
    for (trails, name) in [
        (format!("[{{ name: default, destination: gateway }}, {onward}]"), "default"),
        (format!("[{one}, {{ name: onward, destination: '{}' }}]", near.join("other").display()), "onward"),
    ] {
        collector.set_trails(trails);
        collector.settings().budget = "512MiB";
        reload(&mut collector, true, "failure")?;
        let says = format!("trail {name}: it cannot begin or cease to forward while it runs");
        wait_for(&says, START, || Ok(collector.log()?.contains(&says).then_some(())))?;
        ensure!(collector.metrics()?["sidetrail_spool_budget_bytes"] == f64::from(256 << 20), "the budget");
    }
    collector.settings().budget = "256MiB";

    // What had come goes on to the gateway, though that is away; what comes later does not.
    gateway.kill()?;
    send(&collector, 50)?;
    collector.set_trails(format!("[{one}]"));
    reload(&mut collector, true, "success")?;
    send(&collector, 70)?;
    wait_for("the trail to be leaving", START, || {
        Ok((collector.metric("sidetrail_trails_unsettled")? == 1.0).then_some(()))
    })?;
    gateway.start()?;
    wait_for("the trail to be through", START, || {
        Ok(collector.log()?.contains("trail ended: all that had come is in the store").then_some(()))
    })?;
    ensure!(!collector.log()?.contains("given up"), "{}", collector.log()?);

    // What both ends are to each other waits for a restart.
    collector.set_more("forwarders: { max: 3 }\n");
    reload(&mut collector, true, "success")?;
    ensure!(collector.metric("sidetrail_config_restart_required")? == 2.0, "gateway and forwarders");
    let log = collector.log()?;
    let named = log.lines().rfind(|line| line.contains("restart"));
    ensure!(named.is_some_and(|it| it.contains("gateway") && it.contains("forwarders")), "{log}");
    collector.stop()?;
    gateway.stop()?;
    let mut sequences = Vec::new();
    for id in archive::event_ids_in(&far.join("bucket"))? {
        sequences.push(sequence(&id)?);
    }
    sequences.sort_unstable();
    ensure!(sequences == (11..=50).collect::<Vec<_>>(), "{sequences:?}");
    ensure!(archive::event_ids(&collector)?.len() == 70, "the other trail has everything");
    Ok(())
}

/// The number in an eventID of [`Sender`].
fn sequence(id: &str) -> Result<u64> {
    let digits: String = id.chars().filter(|char| *char != '-').skip(16).collect();
    Ok(u64::from_str_radix(&digits, 16)?)
}

#[test]
fn a_trail_finishes_its_batch_before_it_moves() -> Result<()> {
    let directory = tempfile::tempdir()?;
    let mut collector = Collector::new(directory.path(), Settings::default())?;
    collector.start()?;
    let bucket = directory.path().join("bucket");
    let send = |total| {
        let sender = Sender::new(&collector.socket(), SOURCE, total, 10, Duration::ZERO);
        tokio::runtime::Builder::new_current_thread().enable_all().build()?.block_on(sender.run())
    };
    send(10)?;
    wait_for("the first batch", START, || {
        Ok((collector.metric(r#"sidetrail_trail_events_shipped_total{trail="default"}"#)? == 10.0)
            .then_some(()))
    })?;

    // The place is gone; a batch is decided and cannot be stored.
    let away = directory.path().join("away");
    fs::rename(&bucket, &away)?;
    fs::write(&bucket, "in the way")?;
    send(20)?;
    wait_for("a failure", START, || {
        Ok(collector.metrics()?.contains_key("sidetrail_trail_failures_total").then_some(()))
    })?;
    ensure!(
        collector.metric(r#"sidetrail_trail_oldest_unshipped_timestamp_seconds{trail="default"}"#)? > 1.7e9,
        "it waits"
    );
    let moved = directory.path().join("moved");
    collector.set_trails(format!(
        "[{{ name: default, destination: '{}', rotate: {{ age: 100ms }} }}]",
        moved.display()
    ));
    reload(&mut collector, true, "success")?;
    wait_for("the change to wait", START, || {
        Ok((collector.metric("sidetrail_trails_unsettled")? == 1.0).then_some(()))
    })?;

    fs::remove_file(&bucket)?;
    fs::rename(&away, &bucket)?;
    wait_for("the change", START, || {
        Ok((collector.metric("sidetrail_trails_unsettled")? == 0.0).then_some(()))
    })?;
    tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?
        .block_on(Sender::new(&collector.socket(), SOURCE, 30, 10, Duration::ZERO).run())?;
    collector.stop()?;
    ensure!(archive::event_ids_in(&bucket)?.len() == 20, "what was decided is in the old place");
    ensure!(archive::event_ids_in(&moved)?.len() == 10, "what came later is in the new one");
    verify(&bucket)?.success()?;
    Ok(())
}

#[test]
fn what_cannot_be_used_changes_nothing() -> Result<()> {
    let directory = tempfile::tempdir()?;
    let mut collector = Collector::new(directory.path(), Settings::default())?;
    collector.start()?;
    let hash = |collector: &Collector| -> Result<String> {
        let text = collector.probe("/metrics")?.body;
        let line = text.lines().find(|line| line.starts_with("sidetrail_config_info{"));
        Ok(line.context("no hash")?.to_owned())
    };
    let first = hash(&collector)?;
    collector.set_more("nonsense: 1\n");
    reload(&mut collector, true, "failure")?;
    ensure!(collector.log()?.contains("nonsense"), "the log names it: {}", collector.log()?);
    ensure!(hash(&collector)? == first, "another configuration is in force");
    // A budget that does not go with the segments, found out late.
    collector.set_more("");
    collector.settings().budget = "4MiB";
    reload(&mut collector, true, "failure")?;
    ensure!(hash(&collector)? == first, "another configuration is in force");
    ensure!(
        collector.metrics()?["sidetrail_spool_budget_bytes"] == f64::from(256 << 20),
        "the budget changed"
    );

    // What can be, and what has to wait.
    collector.settings().budget = "512MiB";
    collector.settings().segment = "2MiB";
    reload(&mut collector, true, "success")?;
    ensure!(collector.metric("sidetrail_config_restart_required")? == 1.0, "spool.segment waits");
    ensure!(collector.log()?.contains("spool.segment"), "and is named");
    wait_for("the budget", START, || {
        Ok((collector.metrics()?["sidetrail_spool_budget_bytes"] == f64::from(512 << 20)).then_some(()))
    })?;
    ensure!(hash(&collector)? != first, "the hash is another");
    collector.stop()
}

#[test]
fn validate_says_all_that_is_wrong() -> Result<()> {
    let directory = tempfile::tempdir()?;
    let file = directory.path().join("collector.yaml");
    fs::write(
        &file,
        "account: '111122223333'\nregion: eu-central-1\nshutdown_timeout: 2h\nlog: 'a=b=c'\n\
         listen: { tcp: '0.0.0.0:1', limits: { idle: 1ms } }\nspool: { directory: /s, budget: 1MiB }\n\
         trails: [{ name: one, destination: /a, rotate: { age: 0s } }, { name: one, destination: /b }]\n",
    )?;
    let mut command = Command::new(tools::binary("sidetrail-collector")?);
    command.arg("--validate").arg("--config").arg(&file);
    let ran = tools::run(command)?;
    ensure!(ran.status.code() == Some(64), "{ran:?}");
    for field in [
        "listen.tcp",
        "listen.limits.idle",
        "spool.budget",
        "shutdown_timeout",
        "trails[0].rotate.age",
        "trails[1].name",
        "log ",
    ] {
        ensure!(ran.stderr.contains(field), "{field} is not in {}", ran.stderr);
    }
    Ok(())
}

#[test]
fn a_second_signal_ends_at_once() -> Result<()> {
    let directory = tempfile::tempdir()?;
    let mut collector = Collector::new(directory.path(), Settings::default())?;
    collector.start()?;
    // The place is gone, so that a shutdown has something to wait for. The collector may be about to store its key there.
    let bucket = directory.path().join("bucket");
    wait_for("the place to be taken", START, || {
        let _ = fs::remove_dir_all(&bucket);
        Ok(fs::write(&bucket, "in the way").is_ok().then_some(()))
    })?;
    let sender = Sender::new(&collector.socket(), SOURCE, 10, 10, Duration::ZERO);
    tokio::runtime::Builder::new_current_thread().enable_all().build()?.block_on(sender.run())?;
    let process = collector.process().context("it runs")?;
    process.terminate()?;
    wait_for("the shutdown", START, || Ok(collector.log()?.contains("shutting down").then_some(())))?;
    let process = collector.process().context("it runs")?;
    process.terminate()?;
    let status = process.wait(Duration::from_secs(10))?;
    ensure!(status.code() == Some(1), "{status}: {}", process.log()?);

    // Nothing is lost by it.
    fs::remove_file(&bucket)?;
    collector.start()?;
    collector.stop()?;
    ensure!(archive::event_ids(&collector)?.len() == 10, "all that was acked is in the store");
    Ok(())
}

#[test]
fn the_service_manager_is_told() -> Result<()> {
    let directory = tempfile::tempdir()?;
    let path = directory.path().join("notify");
    let manager = UnixDatagram::bind(&path)?;
    manager.set_read_timeout(Some(START))?;
    let mut collector = Collector::new(directory.path(), Settings::default())?;
    collector.set_variable("NOTIFY_SOCKET", &path.display().to_string());
    collector.set_variable("WATCHDOG_USEC", "200000");
    collector.start()?;
    let hears = |word: &str| -> Result<()> {
        let mut buffer = [0; 4096];
        loop {
            let size = manager.recv(&mut buffer).with_context(|| format!("waiting for {word}"))?;
            if String::from_utf8_lossy(&buffer[..size]).lines().any(|line| line == word) {
                return Ok(());
            }
        }
    };
    hears("READY=1")?;
    hears("WATCHDOG=1")?;
    hears("WATCHDOG=1")?;
    collector.process().context("it runs")?.hang_up()?;
    hears("RELOADING=1")?;
    hears("READY=1")?;
    let process = collector.process().context("it runs")?;
    process.terminate()?;
    hears("STOPPING=1")?;
    ensure!(process.wait(STOP)?.success(), "{}", process.log()?);
    Ok(())
}
