//! Object Lock against a store that has it, and against a bucket that does not.

use std::net::TcpListener;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use serde_json::Value;
use sidetrail_archive::verify::Outcome;
use sidetrail_tests::collector::Settings;
use sidetrail_tests::sender::Sender;
use sidetrail_tests::{Collector, START, SeaweedFs, archive, tools, wait_for};

const RECORDS: u64 = 50;
const LOCK: &str = "object_lock: { mode: governance, days: 3 }";

/// Everything the collector stores is locked: neither log file nor manifest nor key can be deleted.
#[test]
fn locked_objects_cannot_be_deleted() -> Result<()> {
    let store = SeaweedFs::shared()?;
    let bucket = "locked-evidence";
    let create = ["s3api", "create-bucket", "--object-lock-enabled-for-bucket", "--bucket", bucket];
    tools::run(store.aws(create)?)?.success()?;
    let directory = tempfile::tempdir()?;
    let lock = "object_lock: { mode: governance, days: 3, legal_hold: true, require: true }";
    let mut collector =
        Collector::new(directory.path(), Settings::default())?.with_store(store, bucket)?.with_trail(lock);
    collector.start()?;
    send(&collector)?;
    wait_for("records in the store", START, || at_least(&collector, "trail_events_shipped_total", RECORDS))?;
    wait_for("a look at the bucket", START, || {
        Ok(collector.log()?.contains("the bucket protects what is shipped").then_some(()))
    })?;
    let metrics = collector.metrics()?;
    for (name, value) in [
        ("trail_protection_problems", 0.0),
        ("trail_unlocked_objects", 0.0),
        ("trail_conditional_create", 1.0),
    ] {
        ensure!(metrics.get(&format!("sidetrail_{name}")) == Some(&value), "{name}: {metrics:?}");
    }
    collector.stop()?;

    let versions = json(store, &["s3api", "list-object-versions", "--bucket", bucket])?;
    let versions = versions["Versions"].as_array().context("no versions")?;
    ensure!(versions.len() >= 3, "{versions:?}");
    for version in versions {
        let key = version["Key"].as_str().context("a version without key")?;
        let id = version["VersionId"].as_str().context("a version without id")?;
        let retention = json(store, &["s3api", "get-object-retention", "--bucket", bucket, "--key", key])?;
        ensure!(retention["Retention"]["Mode"] == "GOVERNANCE", "{key}: {retention}");
        let hold = json(store, &["s3api", "get-object-legal-hold", "--bucket", bucket, "--key", key])?;
        ensure!(hold["LegalHold"]["Status"] == "ON", "{key}: {hold}");
        let delete =
            store.aws(["s3api", "delete-object", "--bucket", bucket, "--key", key, "--version-id", id])?;
        let deleted = tools::run(delete)?;
        ensure!(!deleted.status.success() && deleted.stderr.contains("AccessDenied"), "{key}: {deleted:?}");
    }
    // The verifier looks at it too, and says what is less than asked.
    for (wanted, code) in [("governance:3", 0), ("governance:4", 1), ("compliance:3", 1)] {
        let mut verify = std::process::Command::new(tools::binary("sidetrail")?);
        verify.args(["verify", &collector.destination(), "--object-lock", wanted]);
        collector.configure(&mut verify);
        let verified = tools::run(verify)?;
        ensure!(verified.status.code() == Some(code), "{wanted}: {verified:?}");
        let found = verified.stdout.matches("UNPROTECTED").count();
        ensure!(found == if code == 0 { 0 } else { versions.len() }, "{wanted}: {verified:?}");
    }
    holds_all(&collector)
}

/// What a sidecar hands over is locked as the gateway's trail says, whoever made it.
#[test]
fn what_is_handed_over_is_locked() -> Result<()> {
    let store = SeaweedFs::shared()?;
    let bucket = "locked-handover";
    let create = ["s3api", "create-bucket", "--object-lock-enabled-for-bucket", "--bucket", bucket];
    tools::run(store.aws(create)?)?.success()?;
    let root = tempfile::tempdir()?;
    let mut gateway = crate::gateway::collector(root.path(), "gateway", Settings::default())?
        .with_store(store, bucket)?
        .with_trail(LOCK)
        .as_gateway();
    gateway.start()?;
    let mut sidecar = crate::gateway::collector(root.path(), "1", Settings::default())?
        .with_store(store, bucket)?
        .with_gateway(&gateway)
        .with_shutdown("4s");
    let silent = TcpListener::bind("127.0.0.1:0")?;
    sidecar.set_env("AWS_ENDPOINT_URL", &format!("http://{}", silent.local_addr()?));
    sidecar.start()?;
    send(&sidecar)?;
    sidecar.stop()?;
    ensure!(sidecar.log()?.contains("\"handed_over\":true"), "{}", sidecar.log()?);
    wait_for("the parcels in the bucket", START, || {
        Ok((gateway.metrics()?["sidetrail_parcels"] == 0.0).then_some(()))
    })?;
    gateway.stop()?;
    let versions = json(store, &["s3api", "list-object-versions", "--bucket", bucket])?;
    let versions = versions["Versions"].as_array().context("no versions")?;
    ensure!(versions.len() >= 3, "key, log file and manifest: {versions:?}");
    for version in versions {
        let key = version["Key"].as_str().context("a version without key")?;
        let retention = json(store, &["s3api", "get-object-retention", "--bucket", bucket, "--key", key])?;
        ensure!(retention["Retention"]["Mode"] == "GOVERNANCE", "{key}: {retention}");
    }
    sidecar.set_env("AWS_ENDPOINT_URL", &store.endpoint());
    holds_all(&sidecar)
}

/// Digests are locked as what they list, and so is what they are believed by; `verify` asks for all of it.
#[test]
fn locked_digests_cannot_be_deleted() -> Result<()> {
    let store = SeaweedFs::shared()?;
    let bucket = "locked-digests";
    let create = ["s3api", "create-bucket", "--object-lock-enabled-for-bucket", "--bucket", bucket];
    tools::run(store.aws(create)?)?.success()?;
    let directory = tempfile::tempdir()?;
    let key = directory.path().join("digest-key.pem");
    let mut generate = std::process::Command::new(tools::binary("sidetrail")?);
    generate.args(["keys", "generate", "--digest", "-o"]).arg(&key);
    tools::run(generate)?.success()?;
    let mut collector = Collector::new(directory.path(), Settings::default())?.with_store(store, bucket)?;
    collector.set_more(format!("digest: {{ key: '{}', cadence: 1m, settle: 0s }}\n", key.display()));
    let digests =
        |collector: &Collector| archive::objects(collector, |key| key.contains("/CloudTrail-Digest/"));
    // As if it had died between the digest and its lock.
    collector.start()?;
    wait_for("a digest", DIGESTS, || Ok((!digests(&collector)?.is_empty()).then_some(())))?;
    collector.kill()?;
    let first = digests(&collector)?.into_keys().next().context("a digest")?;
    let mut collector = collector.with_trail(LOCK);
    collector.start()?;
    send(&collector)?;
    wait_for("two locked digests", DIGESTS, || {
        let digests = digests(&collector)?;
        let is_locked = |key: &String| -> Result<bool> {
            let asked = store.aws(["s3api", "get-object-retention", "--bucket", bucket, "--key", key])?;
            Ok(tools::run(asked)?.status.success())
        };
        let locked = digests.keys().map(is_locked).collect::<Result<Vec<_>>>()?;
        Ok((locked.len() > 1 && locked.iter().all(|is_locked| *is_locked)).then_some(()))
    })?;
    // Well before the next period ends.
    collector.stop()?;

    let versions = json(store, &["s3api", "list-object-versions", "--bucket", bucket])?;
    let version = |key: &str| {
        let versions = versions["Versions"].as_array()?;
        let found = versions.iter().find(|version| version["Key"] == key)?;
        found["VersionId"].as_str().map(str::to_owned)
    };
    let keys = archive::objects(&collector, |key| {
        ["/Sidetrail-Digest-Key/", "/Sidetrail-Digest-Start/"].iter().any(|part| key.contains(part))
    })?;
    ensure!(keys.len() == 2, "{:?}", keys.keys());
    for key in std::iter::once(&first).chain(keys.keys()) {
        let retention = json(store, &["s3api", "get-object-retention", "--bucket", bucket, "--key", key])?;
        ensure!(retention["Retention"]["Mode"] == "GOVERNANCE", "{key}: {retention}");
        let id = version(key).with_context(|| format!("a version of {key}"))?;
        let delete = ["s3api", "delete-object", "--bucket", bucket, "--key", key, "--version-id", &id];
        let deleted = tools::run(store.aws(delete)?)?;
        ensure!(!deleted.status.success() && deleted.stderr.contains("AccessDenied"), "{key}: {deleted:?}");
    }
    for (wanted, code) in [("governance:3", 0), ("governance:4", 1)] {
        let mut verify = std::process::Command::new(tools::binary("sidetrail")?);
        verify.args(["verify", &collector.destination(), "--object-lock", wanted]);
        collector.configure(&mut verify);
        let verified = tools::run(verify)?;
        ensure!(verified.status.code() == Some(code), "{wanted}: {verified:?}");
        ensure!(
            verified.stdout.contains(&format!("UNPROTECTED {first}")) == (code == 1),
            "{wanted}: {verified:?}"
        );
    }
    holds_all(&collector)
}

/// Two periods of a minute, and what a loaded machine needs.
const DIGESTS: Duration = Duration::from_secs(240);

/// A bucket that cannot lock takes the evidence all the same, and everybody hears of it.
#[test]
fn a_bucket_without_locks_is_told_of_and_holds_up_nothing() -> Result<()> {
    let store = SeaweedFs::shared()?;
    let bucket = store.bucket("unlocked")?;
    let directory = tempfile::tempdir()?;
    let mut collector =
        Collector::new(directory.path(), Settings::default())?.with_store(store, &bucket)?.with_trail(LOCK);
    collector.start()?;
    send(&collector)?;
    wait_for("records in the store", START, || at_least(&collector, "trail_events_shipped_total", RECORDS))?;
    wait_for("a look at the bucket", START, || at_least(&collector, "trail_protection_problems", 1))?;
    ensure!(at_least(&collector, "trail_unlocked_objects", 2)?.is_some(), "{:?}", collector.metrics()?);
    let log = collector.log()?;
    ensure!(log.contains("it has no Object Lock") && log.contains("stored without a lock"), "{log}");
    ensure!(!log.contains(sidetrail_tests::SECRET_KEY), "the log holds a secret");
    collector.stop()?;
    holds_all(&collector)
}

/// With `require` nothing is shipped that cannot be locked, and nothing is lost.
#[test]
fn what_must_be_locked_waits() -> Result<()> {
    let store = SeaweedFs::shared()?;
    let bucket = store.bucket("required")?;
    let directory = tempfile::tempdir()?;
    let lock = "object_lock: { mode: compliance, days: 1, require: true }";
    let mut collector =
        Collector::new(directory.path(), Settings::default())?.with_store(store, &bucket)?.with_trail(lock);
    collector.start()?;
    send(&collector)?;
    wait_for("two refusals", START, || at_least(&collector, "trail_failures_total", 2))?;
    ensure!(archive::event_ids(&collector)?.is_empty(), "something was shipped");
    collector.kill()?;
    // The operator gives in.
    let mut collector = collector.with_trail(LOCK);
    collector.start()?;
    wait_for("records in the store", START, || at_least(&collector, "trail_events_shipped_total", RECORDS))?;
    collector.stop()?;
    holds_all(&collector)
}

fn send(collector: &Collector) -> Result<()> {
    let sender = Sender::new(&collector.socket(), [8; 16], RECORDS, 10, Duration::from_millis(1));
    tokio::runtime::Runtime::new()?.block_on(sender.run())
}

fn at_least(collector: &Collector, name: &str, value: u64) -> Result<Option<()>> {
    let metric = collector.metrics()?.get(&format!("sidetrail_{name}")).copied();
    Ok(metric.filter(|metric| *metric >= value as f64).map(|_| ()))
}

fn json(store: &SeaweedFs, arguments: &[&str]) -> Result<Value> {
    Ok(serde_json::from_str(&tools::run(store.aws(arguments)?)?.success()?)?)
}

fn holds_all(collector: &Collector) -> Result<()> {
    let ids = archive::event_ids(collector)?;
    ensure!(ids.len() as u64 == RECORDS && ids.values().all(|count| *count == 1), "{} records", ids.len());
    let report = archive::verify(collector)?;
    ensure!(report.outcome() == Outcome::Valid, "{report:?}");
    Ok(())
}

/// What the configuration says of encryption, the store is told with every object.
#[test]
fn objects_are_encrypted_as_configured() -> Result<()> {
    let store = SeaweedFs::shared()?;
    let bucket = store.bucket("encrypted")?;
    let directory = tempfile::tempdir()?;
    let mut collector = Collector::new(directory.path(), Settings::default())?
        .with_store(store, &bucket)?
        .with_trail("encryption: { type: sse-s3 }");
    collector.start()?;
    send(&collector)?;
    wait_for("records in the store", START, || at_least(&collector, "trail_events_shipped_total", RECORDS))?;
    wait_for("a look at the bucket", START, || {
        Ok(collector.log()?.contains("the bucket protects what is shipped").then_some(()))
    })?;
    collector.stop()?;
    let objects = json(store, &["s3api", "list-objects-v2", "--bucket", &bucket])?;
    for object in objects["Contents"].as_array().context("no objects")? {
        let key = object["Key"].as_str().context("an object without key")?;
        let head = json(store, &["s3api", "head-object", "--bucket", &bucket, "--key", key])?;
        ensure!(head["ServerSideEncryption"] == "AES256", "{key}: {head}");
    }
    holds_all(&collector)
}
