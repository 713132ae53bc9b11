//! Keys of digests and of collectors change hands, and are taken back: by the command line, with what `verify` says then.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use anyhow::{Result, ensure};
use jiff::{SignedDuration, Timestamp};
use sidetrail_archive::digest::{Digester, Done, Opened, Settings};
use sidetrail_archive::key::Region;
use sidetrail_archive::sign::{Fingerprint, RsaSigner, Signer as _};
use sidetrail_archive::store::Store;
use sidetrail_tests::evidence::{self, Made, Plan};
use sidetrail_tests::tools::{self, Ran};
use sidetrail_tests::{Collector, archive, collector, wait_for};
use tempfile::TempDir;

/// An archive in a directory, and beside it the keys that made it.
struct Place {
    directory: TempDir,
    made: Made,
    plan: Plan,
}

impl Place {
    fn new(rotations: Vec<u32>) -> Result<Self> {
        let directory = tempfile::tempdir()?;
        let bucket = directory.path().join("bucket");
        fs::create_dir(&bucket)?;
        let plan = Plan {
            periods: 6,
            regions: vec!["eu-central-1".to_owned()],
            empty: Vec::new(),
            late: Vec::new(),
            without_log_file: Vec::new(),
            rotations,
            ..Plan::default()
        };
        let store = Store::open(&bucket.display().to_string(), &|_| None)?;
        let made = runtime()?.block_on(evidence::make(&store, &plan))?;
        for (number, pem) in (1..).zip(&made.private_keys) {
            fs::write(directory.path().join(format!("key-{number}.pem")), pem)?;
        }
        for (number, key) in (1..).zip(&made.digest_keys) {
            fs::write(directory.path().join(format!("key-{number}.pub.pem")), key.to_pem())?;
        }
        fs::write(directory.path().join("keys.pem"), made.key_file())?;
        Ok(Self { directory, made, plan })
    }

    fn at(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    /// The start of a period.
    fn start(&self, period: i32) -> Timestamp {
        self.plan.start + self.plan.cadence * period
    }

    fn verify(&self, keys: &str, end: Timestamp) -> Result<Ran> {
        let mut verify = sidetrail(["verify"])?;
        verify.arg(self.at("bucket")).arg("--keys").arg(self.at(keys)).args(["--to", &end.to_string()]);
        tools::run(verify)
    }

    fn keys<const N: usize>(&self, verb: &str, more: [&str; N]) -> Result<Ran> {
        let mut keys = sidetrail(["keys", verb])?;
        keys.arg(self.at("bucket")).args(["--account", &self.plan.account]).args(more);
        keys.current_dir(self.directory.path());
        tools::run(keys)
    }
}

fn sidetrail<const N: usize>(words: [&str; N]) -> Result<Command> {
    let mut command = Command::new(tools::binary("sidetrail")?);
    command.args(words);
    Ok(command)
}

fn runtime() -> Result<tokio::runtime::Runtime> {
    Ok(tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build()?)
}

fn generate(path: &Path) -> Result<RsaSigner> {
    let mut generate = sidetrail(["keys", "generate", "--digest", "-o"])?;
    generate.arg(path);
    tools::run(generate)?.success()?;
    Ok(RsaSigner::from_pem(&fs::read_to_string(path)?)?)
}

/// Findings of this kind, by object.
fn named<'a>(ran: &'a Ran, kind: &str) -> Vec<&'a str> {
    let of_kind = |line: &'a str| line.strip_prefix(kind)?.strip_prefix(' ')?.split(' ').next();
    let mut objects: Vec<_> = ran.stdout.lines().filter_map(of_kind).collect();
    objects.sort_unstable();
    objects
}

/// Two keys are valid at a time. The new one signs from the time on that was announced, and who trusts the old one believes
/// it.
#[test]
fn a_new_key_is_announced_by_the_old_one_and_signs_when_it_is_time() -> Result<()> {
    let place = Place::new(Vec::new())?;
    let new = generate(&place.at("new.pem"))?;
    let from = place.start(7);
    let more = ["--new", "new.pem", "--valid-from", &from.to_string()];
    let refused = place.keys("rotate", more)?;
    ensure!(refused.status.code() == Some(2) && refused.stderr.contains("--old is needed"), "{refused:?}");
    let more = ["--old", "key-1.pem", "--new", "new.pem", "--valid-from", &from.to_string()];
    let said = place.keys("rotate", more)?.success()?;
    let (old, new) = (place.made.signers[0].clone(), std::sync::Arc::new(new));
    let fingerprint = |signer: &dyn sidetrail_archive::sign::DigestSigner| signer.public_key().fingerprint();
    let (before, after) = (fingerprint(&*old), fingerprint(&*new));
    ensure!(said.starts_with(&format!("{after} announced by {before}\n")), "{said}");
    let again = place.keys("rotate", more)?;
    ensure!(again.status.code() == Some(2) && again.stderr.contains("published already"), "{again:?}");

    let bucket = place.at("bucket");
    let store = Store::open(&bucket.display().to_string(), &|_| None)?;
    let settings = Settings::new(
        &store,
        place.made.home.clone(),
        Region::new("eu-central-1")?,
        place.made.trail.clone(),
    );
    let mut digester = Digester::new(store, settings, vec![old, new]);
    // The period that ends when the new one begins is still the old one's.
    for (period, expected) in [(7, before), (8, after), (9, after)] {
        let due = place.start(period) + SignedDuration::from_mins(5);
        let Done::Wrote(summary) = runtime()?.block_on(digester.step(due))?.done else {
            anyhow::bail!("no digest of period {period}");
        };
        let opened = Opened::read(&fs::read(bucket.join(summary.object.to_string()))?)?;
        ensure!(opened.digest.fingerprint == expected, "{period}: {:?}", opened.digest);
    }
    for (keys, code) in [("key-1.pub.pem", 0), ("keys.pem", 0), ("new.pub.pem", 1)] {
        let verified = place.verify(keys, place.start(9))?;
        ensure!(verified.status.code() == Some(code), "{keys}: {verified:?}");
        ensure!(named(&verified, "KEY-UNKNOWN").is_empty() == (code == 0), "{keys}: {verified:?}");
    }
    let mut show = sidetrail(["keys", "show"])?;
    let shown = tools::run({
        show.arg(&bucket);
        show
    })?
    .success()?;
    ensure!([before, after].iter().all(|key| shown.contains(&key.to_string())), "{shown}");
    Ok(())
}

/// What a collector's key signed from a time on is believed no more, and nothing else.
#[test]
fn manifests_by_a_revoked_key_are_named() -> Result<()> {
    let place = Place::new(Vec::new())?;
    let maker = &place.made.collectors[0];
    let id = maker.signer.key_id().to_string();
    ensure!(place.verify("keys.pem", place.made.end)?.status.code() == Some(0));
    // Who is not believed revokes nothing, and is found out.
    generate(&place.at("thief.pem"))?;
    let at = place.start(4).to_string();
    let other = place.made.collectors[1].signer.key_id().to_string();
    place.keys("revoke", [&other, "--key", "thief.pem", "--at", &at])?.success()?;
    let verified = place.verify("keys.pem", place.made.end)?;
    ensure!(verified.status.code() == Some(1) && named(&verified, "KEY-REVOKED").is_empty(), "{verified:?}");
    ensure!(verified.stdout.contains(&other), "{verified:?}");

    place.keys("revoke", [&id, "--key", "key-1.pem", "--at", &at, "--reason", "stolen"])?.success()?;
    let again = place.keys("revoke", [&id, "--key", "key-1.pem"])?;
    ensure!(again.status.code() == Some(2) && again.stderr.contains("revoked already"), "{again:?}");
    let verified = place.verify("keys.pem", place.made.end)?;
    let batches = place.made.batches.iter().filter(|batch| batch.period >= 4 && batch.chain.0 == maker.id);
    let mut expected: Vec<_> = batches.map(|batch| batch.manifest.to_string()).collect();
    expected.sort_unstable();
    ensure!(expected.len() == 4 && named(&verified, "KEY-REVOKED") == expected, "{verified:?}");
    ensure!(verified.status.code() == Some(1));
    Ok(())
}

/// The same of a key of digests: those of before are as good as ever, and so is its successor.
#[test]
fn digests_by_a_revoked_key_are_named() -> Result<()> {
    let place = Place::new(vec![4])?;
    let revoked = place.made.digest_keys[0].fingerprint().to_string();
    ensure!(place.verify("key-1.pub.pem", place.made.end)?.status.code() == Some(0));
    let at = place.start(3).to_string();
    place.keys("revoke", [&revoked, "--key", "key-2.pem", "--at", &at])?.success()?;
    let verified = place.verify("key-1.pub.pem", place.made.end)?;
    // Those that end at the time or after it: of the periods 2 and 3.
    let expected: Vec<_> = place.made.digests[2..4].iter().map(ToString::to_string).collect();
    ensure!(named(&verified, "KEY-REVOKED") == expected, "{verified:?}");
    ensure!(verified.status.code() == Some(1));
    Ok(())
}

/// A period of a minute, and what a loaded machine needs.
const DIGEST: Duration = Duration::from_secs(180);

/// A collector that runs is given the new key beside the old one, and goes over to it by itself.
#[test]
fn a_collector_goes_over_to_a_new_key() -> Result<()> {
    let directory = tempfile::tempdir()?;
    let at = |name: &str| directory.path().join(name);
    let keys = [generate(&at("one.pem"))?, generate(&at("two.pem"))?];
    let [one, two] = keys.map(|key| sidetrail_archive::sign::DigestSigner::public_key(&key).fingerprint());
    let mut collector = Collector::new(directory.path(), collector::Settings::default())?;
    let digest = |more: &str| format!("digest: {{ cadence: 1m, settle: 0s, {more} }}\n");
    collector.set_more(digest(&format!("key: '{}'", at("one.pem").display())));
    collector.start()?;
    by(&collector, one)?;
    let (first, second) = (at("one.pem"), at("two.pem"));
    let more = format!("key: '{}', previous_key: '{}'", second.display(), first.display());
    collector.set_more(digest(&more));
    collector.write_config()?;
    by(&collector, two)?;
    collector.stop()?;
    // The first key is enough.
    let mut verify = sidetrail(["verify"])?;
    verify.arg(at("bucket")).arg("--keys").arg(at("one.pub.pem"));
    let verified = tools::run(verify)?;
    ensure!(verified.status.code() == Some(0), "{verified:?}");
    Ok(())
}

/// Waits for a digest by this key.
fn by(collector: &Collector, key: Fingerprint) -> Result<()> {
    wait_for("a digest by the key", DIGEST, || {
        let newest = archive::digests(collector)?.pop();
        Ok(newest.filter(|digest| digest.fingerprint == key).map(|_| ()))
    })
}
