//! Whatever is done to an archive, `sidetrail verify` exits with 1 and names the object it was done to.
//!
//! The archive is a collector's own. Each tampering gets a copy of it and a process of the real binary, but for those of
//! every byte of an object, which are thousands: there the library verifies in this process, from memory.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::{self, Cursor, Read};
use std::num::NonZeroUsize;
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::slice;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;
use std::time::Duration;

use anyhow::{Context, Result, anyhow, bail, ensure};
use sidetrail_archive::key::{Account, Home, KeyObjectKey, LogKey, ManifestKey};
use sidetrail_archive::manifest::{Manifest, PublishedKey};
use sidetrail_archive::sign::Ed25519Signer;
use sidetrail_archive::source::{Bucket, Directory, Entry};
use sidetrail_archive::verify::{self, Options, Outcome, Report};
use sidetrail_tests::collector::{ACCOUNT, Settings};
use sidetrail_tests::sender::Sender;
use sidetrail_tests::tools::{self, Ran};
use sidetrail_tests::{Collector, START, wait_for};

const SOURCES: u8 = 2;
const ROUNDS: u64 = 7;
/// Records of one source in one round.
const BATCH: u64 = 3;
/// Verifiers at a time.
const THREADS: usize = 4;
const RANDOM_FLIPS: usize = 200;
const SEED: u64 = 0x5eed_7a3b_e200_0001;

/// A bucket in memory, by key.
type Objects = BTreeMap<String, Vec<u8>>;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Log,
    Manifest,
    Key,
}

fn kind(key: &str) -> Result<Kind> {
    match (key.parse::<LogKey>(), key.parse::<ManifestKey>(), key.parse::<KeyObjectKey>()) {
        (Ok(_), ..) => Ok(Kind::Log),
        (_, Ok(_), _) => Ok(Kind::Manifest),
        (.., Ok(_)) => Ok(Kind::Key),
        _ => bail!("{key} is of no known kind"),
    }
}

/// What a collector wrote over several batches of two sources. It is made once for all tests.
fn archive() -> Result<&'static Objects> {
    static ARCHIVE: OnceLock<Result<Objects, String>> = OnceLock::new();
    let made = ARCHIVE.get_or_init(|| collect().map_err(|error| format!("{error:#}")));
    made.as_ref().map_err(|error| anyhow!("no archive: {error}"))
}

fn collect() -> Result<Objects> {
    let directory = tempfile::tempdir()?;
    let settings = Settings { rotate_age: "100ms", ..Settings::default() };
    let mut collector = Collector::new(directory.path(), settings)?;
    collector.start()?;
    let bucket = directory.path().join("bucket");
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    for round in 1..=ROUNDS {
        for source in 1..=SOURCES {
            let sender = Sender::new(&collector.socket(), [source; 16], round * BATCH, BATCH, Duration::ZERO);
            runtime.block_on(sender.run())?;
        }
        // The next round goes into files of its own.
        let shipped = f64::from(SOURCES) * (round * BATCH) as f64;
        wait_for("a round in the bucket", START, || {
            let metrics = collector.metrics()?;
            Ok(metrics.get("sidetrail_trail_events_shipped_total").filter(|it| **it >= shipped).map(|_| ()))
        })?;
    }
    collector.stop()?;

    let mut objects = Objects::new();
    let files = Directory::new(&bucket)?;
    let mut keys = Vec::new();
    files.list("", &mut |entry| {
        keys.push(entry.key.to_owned());
        ControlFlow::Continue(())
    })?;
    for key in keys {
        kind(&key)?;
        objects.insert(key.clone(), fs::read(bucket.join(&key))?);
    }
    let count = |wanted| objects.keys().filter(|key| kind(key).is_ok_and(|kind| kind == wanted)).count();
    let (logs, manifests, keys) = (count(Kind::Log), count(Kind::Manifest), count(Kind::Key));
    ensure!(
        logs as u64 >= ROUNDS && manifests == logs && keys == 1,
        "{logs} log files, {manifests} manifests, {keys} keys"
    );
    Ok(objects)
}

/// Something done to a bucket, and the names that the report has to mention.
struct Tampering {
    what: String,
    objects: Objects,
    names: Vec<String>,
}

impl Tampering {
    /// The bucket with `change` made to it.
    fn new(what: String, names: &[&str], change: impl FnOnce(&mut Objects)) -> Result<Self> {
        let original = archive()?;
        let mut objects = original.clone();
        change(&mut objects);
        ensure!(objects != *original, "{what}: nothing was changed");
        Ok(Self { what, objects, names: names.iter().map(|&name| name.to_owned()).collect() })
    }

    /// What is wrong with the verdict on it.
    fn judge(&self) -> Result<()> {
        let copy = tempfile::tempdir()?;
        write(copy.path(), &self.objects)?;
        let verified = verify(copy.path(), &[])?;
        ensure!(verified.status.code() == Some(1), "{}: not exit code 1 but {verified:?}", self.what);
        for name in &self.names {
            ensure!(
                verified.stdout.contains(name.as_str()),
                "{}: {name} is not mentioned:\n{}",
                self.what,
                verified.stdout
            );
        }
        Ok(())
    }
}

/// Judges each tampering, and says of all that went wrong.
fn judge(tamperings: &[Tampering]) -> Result<()> {
    let next = AtomicUsize::new(0);
    let work = || {
        let mut failures = Vec::new();
        while let Some(tampering) = tamperings.get(next.fetch_add(1, Ordering::Relaxed)) {
            failures.extend(tampering.judge().err());
        }
        failures
    };
    let failures: Vec<_> = thread::scope(|scope| {
        let threads: Vec<_> = (0..THREADS).map(|_| scope.spawn(work)).collect();
        threads
            .into_iter()
            .flat_map(|thread| thread.join().unwrap_or_else(|_| vec![anyhow!("a thread panicked")]))
            .collect()
    });
    match failures.first() {
        Some(first) => bail!("{} of {} tamperings: {first:#}", failures.len(), tamperings.len()),
        None => Ok(()),
    }
}

/// Writes a bucket as files of its own.
fn write(directory: &Path, objects: &Objects) -> Result<()> {
    for (key, bytes) in objects {
        let path = directory.join(key);
        fs::create_dir_all(path.parent().context("a key without a directory")?)?;
        fs::write(path, bytes)?;
    }
    Ok(())
}

fn verify(bucket: &Path, more: &[&Path]) -> Result<Ran> {
    let mut verify = Command::new(tools::binary("sidetrail")?);
    verify.arg("verify").arg(bucket).args(more);
    tools::run(verify)
}

/// The untouched archive in a directory.
fn untouched() -> Result<tempfile::TempDir> {
    let directory = tempfile::tempdir()?;
    write(directory.path(), archive()?)?;
    Ok(directory)
}

/// The key with one character of its own part changed: as valid as before.
fn renamed(key: &str) -> Result<String> {
    let dot = key.len() - if key.ends_with(".json.gz") { ".json.gz".len() } else { ".json".len() };
    let (rest, last) = key.split_at(dot - 1);
    let digit = if last.starts_with('0') { '1' } else { '0' };
    let name = format!("{rest}{digit}{}", &last[1..]);
    ensure!(kind(&name)? == kind(key)?, "{name} is no valid name");
    Ok(name)
}

fn file_name(key: &str) -> &str {
    key.rsplit('/').next().unwrap_or(key)
}

/// Another object of each kind: of this archive, and for the only key that of another collector.
fn others(key: &str) -> Result<Vec<Vec<u8>>> {
    let wanted = kind(key)?;
    if wanted == Kind::Key {
        let home = Home::new(None, Account::new(ACCOUNT)?);
        let (_, foreign) = PublishedKey::seal(home, &Ed25519Signer::generate()?)?;
        return Ok(vec![foreign]);
    }
    let mut same =
        archive()?.iter().filter(|(other, _)| *other != key && kind(other).is_ok_and(|it| it == wanted));
    Ok(same.next().map(|(_, bytes)| bytes.clone()).into_iter().collect())
}

#[test]
fn every_file_removed_renamed_cut_or_replaced_is_named() -> Result<()> {
    let original = untouched()?;
    let before = verify(original.path(), &[])?;
    ensure!(before.status.code() == Some(0), "untouched: {before:?}");
    // So that a mention is one of a finding.
    let mentioned = archive()?.keys().find(|key| before.stdout.contains(key.as_str()));
    ensure!(mentioned.is_none(), "untouched, and {mentioned:?} is mentioned: {before:?}");

    let mut tamperings = Vec::new();
    for (key, bytes) in archive()? {
        let mut add = |what: &str, names: &[&str], change: &dyn Fn(&mut Objects)| {
            tamperings.push(Tampering::new(format!("{key} {what}"), names, change)?);
            anyhow::Ok(())
        };
        let put = |name: &str, bytes: &[u8]| {
            let (name, bytes) = (name.to_owned(), bytes.to_owned());
            move |objects: &mut Objects| {
                objects.remove(key);
                objects.insert(name.clone(), bytes.clone());
            }
        };
        add("removed", &[key], &|objects| {
            objects.remove(key);
        })?;
        // Under a name that the verifier looks at, both are named.
        let name = renamed(key)?;
        add(&format!("renamed to {name}"), &[key, &name], &put(&name, bytes))?;
        let under_prefix = format!("elsewhere/{key}");
        add("moved below a prefix", &[key, &under_prefix], &put(&under_prefix, bytes))?;
        add("moved to another folder", &[key], &put(&format!("elsewhere/{}", file_name(key)), bytes))?;
        add("renamed to no name of ours", &[key], &put(&format!("{key}.bak"), bytes))?;
        add("emptied", &[key], &put(key, b""))?;
        add("cut by a byte at its end", &[key], &put(key, &bytes[..bytes.len() - 1]))?;
        add("cut by a byte at its beginning", &[key], &put(key, &bytes[1..]))?;
        for more in [b"\0", b"\n"] {
            add(&format!("with {more:?} appended"), &[key], &put(key, &[bytes, &more[..]].concat()))?;
        }
        add("twice over", &[key], &put(key, &[&bytes[..], bytes].concat()))?;
        let others = others(key)?;
        ensure!(!others.is_empty(), "nothing to replace {key} with");
        for other in others {
            add("replaced by another of its kind", &[key], &put(key, &other))?;
        }
    }
    judge(&tamperings)?;

    let after = verify(original.path(), &[])?;
    ensure!(after.status.code() == Some(0), "untouched, again: {after:?}");
    println!("{} tamperings with {} files, each found and named", tamperings.len(), archive()?.len());
    Ok(())
}

#[test]
fn random_flips_are_named() -> Result<()> {
    println!("seed {SEED:#x}");
    let mut state = SEED;
    let mut below = |limit: usize| {
        // SplitMix64.
        state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = state;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        usize::try_from((mixed ^ (mixed >> 31)) % limit as u64).unwrap_or(0)
    };
    let objects: Vec<_> = archive()?.iter().collect();
    let mut tamperings = Vec::new();
    for _ in 0..RANDOM_FLIPS {
        let (key, bytes) = objects[below(objects.len())];
        let (at, mask) = (below(bytes.len()), u8::try_from(1 + below(255))?);
        tamperings.push(Tampering::new(
            format!("{key}: byte {at} of {} changed by {mask:#04x}", bytes.len()),
            &[key],
            |objects| flip(objects, key, at, mask),
        )?);
    }
    judge(&tamperings)?;
    println!("{RANDOM_FLIPS} random flips, each found and named");
    Ok(())
}

fn flip(objects: &mut Objects, key: &str, at: usize, mask: u8) {
    if let Some(byte) = objects.get_mut(key).and_then(|bytes| bytes.get_mut(at)) {
        *byte ^= mask;
    }
}

/// One object of each kind, all its bytes, in this process. Each byte is flipped by one bit, another at each place, and
/// by the bit that tells `A` from `a`: what encodings and parsers forgive first.
#[test]
fn every_byte_of_every_kind_of_file_counts() -> Result<()> {
    const CASE: u8 = 0x20;
    // The beginning of a chain is whole by itself, and three are enough for one to have neighbours.
    let beginning: Vec<_> = pairs()?.into_iter().take(3).collect();
    let mut original = archive()?.clone();
    original.retain(|key, _| {
        key.parse::<KeyObjectKey>().is_ok()
            || beginning.iter().any(|(log, manifest)| [log, manifest].contains(&key))
    });
    ensure!(original.len() == 7, "{:?}", original.keys());
    ensure!(library(&original).outcome() == Outcome::Valid, "{:?}", library(&original));
    let mut flips = Vec::new();
    let (log, manifest) = &beginning[1];
    let published = original.keys().find(|key| key.parse::<KeyObjectKey>().is_ok()).context("no key")?;
    for key in [log, manifest, published] {
        let bytes = &original[key];
        for at in 0..bytes.len() {
            let bit = 1 << (at % 8);
            flips.push((key, at, bit));
            if bit != CASE {
                flips.push((key, at, CASE));
            }
        }
    }
    let next = AtomicUsize::new(0);
    let work = || {
        let mut objects = original.clone();
        while let Some((key, at, mask)) = flips.get(next.fetch_add(1, Ordering::Relaxed)) {
            flip(&mut objects, key, *at, *mask);
            let report = library(&objects);
            flip(&mut objects, key, *at, *mask);
            let named = report.findings.iter().any(|finding| finding.object == **key);
            ensure!(
                report.outcome() == Outcome::Invalid && named,
                "{key}: byte {at} changed by {mask:#04x} gives {report:?}"
            );
        }
        ensure!(objects == original, "the flips did not undo each other");
        Ok(())
    };
    thread::scope(|scope| {
        let threads: Vec<_> = (0..THREADS).map(|_| scope.spawn(work)).collect();
        threads.into_iter().try_for_each(|thread| thread.join().map_err(|_| anyhow!("a thread panicked"))?)
    })?;
    println!("{} flips, each found and named", flips.len());
    Ok(())
}

/// Verifies a bucket in memory, on this thread.
fn library(objects: &Objects) -> Report {
    struct Memory<'a>(&'a Objects);

    impl Bucket for Memory<'_> {
        fn list(&self, prefix: &str, visit: &mut dyn FnMut(Entry<'_>) -> ControlFlow<()>) -> io::Result<()> {
            for (key, bytes) in self.0.iter().filter(|(key, _)| key.starts_with(prefix)) {
                if visit(Entry::new(key, bytes.len() as u64)).is_break() {
                    break;
                }
            }
            Ok(())
        }

        fn open<'a>(&'a self, key: &str) -> io::Result<Box<dyn Read + 'a>> {
            let bytes = self.0.get(key).ok_or(io::ErrorKind::NotFound)?;
            Ok(Box::new(Cursor::new(&**bytes)))
        }
    }

    let options = Options { threads: NonZeroUsize::MIN, ..Options::default() };
    verify::run(&Memory(objects), &options, &())
}

/// The log files and their manifests, in the order of their chain.
fn pairs() -> Result<Vec<(String, String)>> {
    let objects = archive()?;
    let keys = objects.values().find_map(|bytes| PublishedKey::open(bytes).ok()).context("no key")?;
    let mut pairs = Vec::new();
    for (key, bytes) in objects.iter().filter(|(key, _)| key.parse::<ManifestKey>().is_ok()) {
        let manifest = Manifest::open(bytes, slice::from_ref(&keys.public_key))?;
        pairs.push((manifest.chain.index, key.parse::<ManifestKey>()?.log().to_string(), key.clone()));
    }
    pairs.sort();
    Ok(pairs.into_iter().map(|(_, log, manifest)| (log, manifest)).collect())
}

/// A log file and its manifest that both go leave a hole in the chain, which names its neighbour.
#[test]
fn pairs_removed_together_leave_a_hole() -> Result<()> {
    let pairs = pairs()?;
    let mut tamperings = Vec::new();
    // Every run of one and of two but those that reach the end.
    for count in [1, 2] {
        for first in 0..pairs.len() - count {
            let last = first + count - 1;
            let hole = if first == last {
                format!("manifest {first} of the chain is missing")
            } else {
                format!("manifests {first} to {last} of the chain are missing")
            };
            let names = [&*pairs[last + 1].1, "CHAIN-BROKEN", &hole];
            tamperings.push(Tampering::new(format!("pairs {first} to {last} removed"), &names, |objects| {
                for (log, manifest) in &pairs[first..=last] {
                    objects.remove(log);
                    objects.remove(manifest);
                }
            })?);
        }
    }
    judge(&tamperings)?;
    println!("{} holes, each found and named", tamperings.len());
    Ok(())
}

/// At the end of a chain nothing follows that could name what is missing. That is the limit the help states; it has to be
/// as it is stated there, no less and no more.
#[test]
fn the_newest_pairs_removed_together_are_not_missed() -> Result<()> {
    let pairs = pairs()?;
    for count in [1, 2] {
        let copy = untouched()?;
        for (log, manifest) in &pairs[pairs.len() - count..] {
            fs::remove_file(copy.path().join(log))?;
            fs::remove_file(copy.path().join(manifest))?;
        }
        let verified = verify(copy.path(), &[])?;
        ensure!(verified.status.code() == Some(0), "the {count} newest removed: {verified:?}");
        let left = format!("{} log files, {0} manifests", pairs.len() - count);
        ensure!(verified.stdout.contains(&left), "not {left}: {verified:?}");
    }

    let mut help = Command::new(tools::binary("sidetrail")?);
    help.args(["verify", "--help"]);
    let help = tools::run(help)?.success()?;
    let help = help.split_whitespace().collect::<Vec<_>>().join(" ");
    let limit = "its newest log files were removed together with their manifests";
    ensure!(help.contains(limit), "the help does not say {limit:?}: {help}");
    Ok(())
}

#[test]
fn what_is_no_archive_could_not_be_checked() -> Result<()> {
    let directory = tempfile::tempdir()?;
    let empty = directory.path().join("empty");
    fs::create_dir(&empty)?;
    let file = directory.path().join("file");
    File::create(&file)?;
    for path in [&empty, &file, &directory.path().join("nothing-here")] {
        let verified = verify(path, &[])?;
        ensure!(verified.status.code() == Some(2), "{}: {verified:?}", path.display());
        let said = format!("{}{}", verified.stdout, verified.stderr);
        ensure!(said.contains(&*path.to_string_lossy()), "{} is not named: {said}", path.display());
    }
    Ok(())
}

/// Who brings keys believes no others, whatever the bucket publishes.
#[test]
fn keys_from_outside_are_the_only_ones_believed() -> Result<()> {
    let bucket = untouched()?;
    let keys = tempfile::tempdir()?;
    let (private, foreign) = (keys.path().join("foreign.pem"), keys.path().join("foreign.pub.pem"));
    let mut generate = Command::new(tools::binary("sidetrail")?);
    generate.args(["keys", "generate", "--out"]).arg(&private);
    tools::run(generate)?.success()?;
    let own = keys.path().join("own.pem");
    let mut show = Command::new(tools::binary("sidetrail")?);
    show.args(["keys", "show", "--pem"]).arg(bucket.path());
    fs::write(&own, tools::run(show)?.success()?)?;
    let verify = |keys: &PathBuf| verify(bucket.path(), &[Path::new("--keys"), keys]);

    let believed = verify(&own)?;
    ensure!(believed.status.code() == Some(0), "with its own key: {believed:?}");
    let refused = verify(&foreign)?;
    ensure!(refused.status.code() == Some(1), "with a foreign key: {refused:?}");
    for (_, manifest) in pairs()? {
        let line = format!("KEY-UNKNOWN {manifest} ");
        ensure!(refused.stdout.contains(&line), "no {line:?} in {}", refused.stdout);
    }
    Ok(())
}
