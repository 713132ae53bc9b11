//! `cargo demo`: an audited service, a collector, real requests, and what becomes of them.

mod show;
mod site;
mod traffic;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use serde_json::Value;

use self::show::Show;
use self::site::Site;
use crate::workspace::{Workspace, output, run};

/// How long records may take from the last answer to the bucket, on a machine that is busy with other things.
const SHIPPED: Duration = Duration::from_secs(60);
const POLL: Duration = Duration::from_millis(100);

pub(crate) fn run_demo(workspace: &Workspace, once: bool, dir: Option<PathBuf>) -> Result<()> {
    let show = Show::new();
    show.title("Sidetrail: CloudTrail for your own services");

    show.step(
        "Building the collector, the server, the command line and the example service (the first time takes minutes)",
    );
    build(workspace)?;
    let programs = workspace.target.join("debug");

    let dir = directory(dir)?;
    show.step("Starting a collector and an axum service that has the layer");
    let mut site = Site::start(&programs, &dir)?;
    show.fact("service", &site.orders);
    show.fact("collector", &format!("unix:{}, ships to {}", site.socket.display(), site.bucket.display()));

    show.step("Sending requests, as people and programs do");
    let sent = traffic::send(&site.orders, &show)?;

    show.step("One record each, in signed CloudTrail log files");
    let records = wait_for_records(&site, sent.ids.len())?;
    check_records(&records, &sent)?;
    for record in &records {
        show.record(record);
    }
    for file in files(&site.bucket)? {
        show.file(&site.bucket, &file)?;
    }
    show.example(&records);

    show.step("No secret that was sent is anywhere in the bucket");
    check_secrets(&site.bucket, &records, &sent.secrets)?;
    show.fact("looked for", &format!("{} passwords, tokens and card numbers", sent.secrets.len()));

    show.step("Verifying, with the public keys in a file of their own");
    let keys = dir.join("keys");
    fs::write(&keys, output(site.sidetrail().args(["keys", "show", "--pem"]).arg(&site.bucket))?)?;
    if once {
        site.stop()?;
    }
    show.command(&format!("sidetrail verify {} --keys {}", site.bucket.display(), keys.display()));
    run(site.sidetrail().arg("verify").arg(&site.bucket).arg("--keys").arg(&keys))?;

    show.step("Looking up what happened, by CloudTrail's API");
    site.start_server(&dir)?;
    show.fact("server", &site.server);
    look_up(&site, &dir, &show)?;
    if once {
        site.stop()?;
    }

    show.step("Changing one byte, in a copy");
    tamper(&site, &dir, &keys, &show)?;

    if once {
        show.done(&format!(
            "{} requests, {} records, all verified: {}",
            sent.ids.len(),
            records.len(),
            dir.display()
        ));
        return Ok(());
    }
    serve(&mut site, &dir, &show)
}

fn build(workspace: &Workspace) -> Result<()> {
    run(&mut workspace.cargo([
        "build",
        "--package=sidetrail-collector",
        "--package=sidetrail-cli",
        "--package=sidetrail-server",
        "--package=sidetrail",
        "--features=sidetrail/axum",
        "--bins",
        "--example=orders",
    ]))
}

/// A directory that nobody else has anything in.
fn directory(dir: Option<PathBuf>) -> Result<PathBuf> {
    let Some(dir) = dir else {
        return Ok(tempfile::Builder::new().prefix("sidetrail-demo-").tempdir()?.keep());
    };
    fs::create_dir_all(&dir).with_context(|| format!("cannot make {}", dir.display()))?;
    ensure!(fs::read_dir(&dir)?.next().is_none(), "{} is not empty", dir.display());
    Ok(fs::canonicalize(dir)?)
}

/// The records in the bucket, once there are as many as requests were sent.
fn wait_for_records(site: &Site, count: usize) -> Result<Vec<Value>> {
    let deadline = Instant::now() + SHIPPED;
    loop {
        let records = read_records(site)?;
        if records.len() >= count {
            return Ok(records);
        }
        if Instant::now() > deadline {
            bail!(
                "{} of {count} records after {} s; see {}",
                records.len(),
                SHIPPED.as_secs(),
                site.logs.display()
            );
        }
        thread::sleep(POLL);
    }
}

fn read_records(site: &Site) -> Result<Vec<Value>> {
    if !files(&site.bucket)?.iter().any(|file| is_log(file)) {
        return Ok(Vec::new());
    }
    let text = output(site.sidetrail().arg("cat").arg(&site.bucket))?;
    text.lines().map(|line| Ok(serde_json::from_str(line)?)).collect()
}

/// Each request has exactly one record, and there are no others.
fn check_records(records: &[Value], sent: &traffic::Sent) -> Result<()> {
    for id in &sent.ids {
        let count = records.iter().filter(|record| record["requestID"] == id.as_str()).count();
        ensure!(count == 1, "request {id} has {count} records");
    }
    ensure!(records.len() == sent.ids.len(), "there are records that no request made");
    Ok(())
}

fn check_secrets(bucket: &Path, records: &[Value], secrets: &[String]) -> Result<()> {
    let mut texts: Vec<String> = records.iter().map(Value::to_string).collect();
    for file in files(bucket)?.iter().filter(|file| file.extension().is_some_and(|it| it == "json")) {
        texts.push(fs::read_to_string(file)?);
    }
    for secret in secrets {
        ensure!(!texts.iter().any(|text| text.contains(secret)), "the secret {secret:?} is in the bucket");
    }
    Ok(())
}

fn is_log(file: &Path) -> bool {
    file.extension().is_some_and(|extension| extension == "gz")
}

/// Asks the server for what was refused, as soon as it has read the bucket.
fn look_up(site: &Site, dir: &Path, show: &Show) -> Result<()> {
    show.command("sidetrail lookup --failed -n 5");
    let mut lookup = site.sidetrail();
    lookup.args(["lookup", "--failed", "-n", "5"]).envs(site.variables(dir)?);
    let found = output(&mut lookup)?;
    ensure!(!found.trim().is_empty(), "the server has no event that failed; see {}", site.logs.display());
    for line in found.lines() {
        let event: Value = serde_json::from_str(line)?;
        show.record(&event["record"]);
    }
    Ok(())
}

/// Shows what the verifier says to a log file with one byte changed.
fn tamper(site: &Site, dir: &Path, keys: &Path, show: &Show) -> Result<()> {
    let copy = dir.join("tampered");
    for file in files(&site.bucket)? {
        let to = copy.join(file.strip_prefix(&site.bucket)?);
        fs::create_dir_all(to.parent().unwrap_or(&copy))?;
        fs::copy(file, to)?;
    }
    let log = files(&copy)?.into_iter().find(|file| is_log(file)).context("no log file")?;
    let mut bytes = fs::read(&log)?;
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    fs::write(&log, bytes)?;
    show.command(&format!("sidetrail verify {} --keys {}", copy.display(), keys.display()));
    let status = site.sidetrail().arg("verify").arg(&copy).arg("--keys").arg(keys).status()?;
    ensure!(status.code() == Some(1), "a changed byte was not found: {status}");
    fs::remove_dir_all(&copy)?;
    Ok(())
}

/// Every file below `bucket`, sorted.
fn files(bucket: &Path) -> Result<Vec<PathBuf>> {
    let mut files = Vec::new();
    let mut directories = vec![bucket.to_owned()];
    while let Some(directory) = directories.pop() {
        for entry in fs::read_dir(&directory)? {
            let entry = entry?;
            // A file in the making has a `#` in its name.
            if entry.file_type()?.is_dir() {
                directories.push(entry.path());
            } else if !entry.file_name().to_string_lossy().contains('#') {
                files.push(entry.path());
            }
        }
    }
    files.sort();
    Ok(files)
}

/// Keeps serving and shows new files until Ctrl-C.
fn serve(site: &mut Site, dir: &Path, show: &Show) -> Result<()> {
    show.step("Your turn: send requests of your own, and watch");
    show.command(&format!("curl -s {}/orders", site.orders));
    show.command(&format!(
        "curl -s {}/login --json '{{\"user\": \"alice\", \"password\": \"wonderland\"}}'",
        site.orders
    ));
    show.command(&format!("{} cat {} | jq .", site.program("sidetrail").display(), site.bucket.display()));
    let variables = site.variables(dir)?.map(|(name, value)| format!("{name}={value}"));
    show.command(&format!("export {}", variables.join(" ")));
    show.command(&format!("{} tail -f", site.program("sidetrail").display()));
    show.command("aws cloudtrail lookup-events --max-items 5");
    show.fact("end", "Ctrl-C");
    let interrupted = Arc::new(AtomicBool::new(false));
    let watch = Arc::clone(&interrupted);
    ctrlc::set_handler(move || watch.store(true, Ordering::SeqCst)).context("cannot catch Ctrl-C")?;
    let mut known = files(&site.bucket)?;
    while !interrupted.load(Ordering::SeqCst) {
        thread::sleep(POLL);
        site.check()?;
        let now = files(&site.bucket)?;
        for file in now.iter().filter(|file| !known.contains(file)) {
            show.file(&site.bucket, file)?;
            if is_log(file) {
                show_new(site, show, file)?;
            }
        }
        known = now;
    }
    site.stop()?;
    show.done(&format!("everything is in {}", site.bucket.display()));
    Ok(())
}

fn show_new(site: &Site, show: &Show, file: &Path) -> Result<()> {
    let text = output(Command::new(site.program("sidetrail")).arg("cat").arg(file))?;
    for line in text.lines() {
        show.record(&serde_json::from_str(line)?);
    }
    Ok(())
}
