//! The tamper matrix: every edit that somebody with the bucket's credentials can make, and who notices. The real
//! `aws cloudtrail validate-logs` and the real `sidetrail verify` look at the same bucket of a real S3 server. The table in
//! `crates/archive/README.md` is what they say, to the letter.

use std::cell::Cell;
use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::fs;
use std::io::Write as _;
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;

use anyhow::{Context, Result, ensure};
use flate2::Compression;
use flate2::bufread::GzDecoder;
use flate2::write::GzEncoder;
use jiff::SignedDuration;
use serde_json::Value;
use sidetrail_archive::digest::{
    Commitment, Digest, Digester, Done, Metadata, Opened, PublishedDigestKey, Settings,
};
use sidetrail_archive::key::{
    Account, Home, KeyObjectKey, LogKey, ManifestKey, Region, Trail, TreeKey, TreeObject, TreePlace,
};
use sidetrail_archive::manifest::{Manifest, PublishedKey};
use sidetrail_archive::sign::{DigestSigner as _, Ed25519Signer, RsaSigner, Signer};
use sidetrail_archive::source::{Bucket, Directory};
use sidetrail_archive::store::Store;
use sidetrail_archive::tlog::commit::LogCommitment;
use sidetrail_tests::sample::{Object, Objects, metadata};
use sidetrail_tests::tools::{self, Ran};
use sidetrail_tests::{CloudTrail, SeaweedFs, evidence, objects};
use tokio::runtime::{Builder, Runtime};

const DOCUMENT: &str = include_str!("../../crates/archive/README.md");

/// An archive, and what is in it in the order in which it was made.
struct Made {
    evidence: evidence::Made,
    plan: evidence::Plan,
    objects: Objects,
    /// What was there before the newest period.
    earlier: Objects,
    /// What signs the checkpoints of the log.
    log: Arc<dyn Signer>,
    logs: Vec<String>,
    manifests: Vec<String>,
    digests: Vec<String>,
}

const REGION: &str = "eu-central-1";

impl Made {
    fn new(bucket: String) -> Result<Self> {
        let plan = evidence::Plan {
            bucket: Some(bucket),
            periods: 6,
            regions: vec![REGION.to_owned()],
            collectors: 1,
            empty: vec![2],
            late: Vec::new(),
            rotations: Vec::new(),
            without_log_file: Vec::new(),
            ..evidence::Plan::default()
        };
        let directory = tempfile::tempdir()?;
        let store = Store::open(&directory.path().display().to_string(), &|_| None)?;
        let log: Arc<dyn Signer> = Arc::new(Ed25519Signer::generate()?);
        let home = Home::new(None, Account::new(plan.account.clone())?);
        let commitment = commitment(&plan, &home, &log)?;
        let commitment = Cell::new(Some(commitment));
        let mut earlier = Objects::new();
        let evidence = runtime()?.block_on(evidence::make_with(
            &store,
            &plan,
            |_| commitment.take(),
            |_, period| {
                if period + 2 == plan.periods {
                    earlier = read(directory.path())?;
                }
                Ok(())
            },
        ))?;
        let objects = read(directory.path())?;
        let manifests = evidence.batches.iter().map(|batch| batch.manifest.to_string()).collect();
        let logs =
            evidence.batches.iter().filter_map(|batch| batch.log.as_ref().map(ToString::to_string)).collect();
        let digests = evidence.digests.iter().map(ToString::to_string).collect();
        Ok(Self { evidence, plan, objects, earlier, log, logs, manifests, digests })
    }

    fn bucket(&self) -> &str {
        self.plan.bucket.as_deref().unwrap_or_default()
    }

    fn cloudtrail(&self) -> Result<CloudTrail> {
        let year = SignedDuration::from_hours(24 * 365);
        let (key, validity) =
            (self.evidence.digest_keys[0].clone(), (self.plan.start - year, self.evidence.end + year));
        CloudTrail::start(&self.evidence.trail_arn(), self.bucket(), &[(key, validity)])
    }

    fn verify(&self, store: &SeaweedFs, keys: &Path, more: &[&str]) -> Result<Ran> {
        let mut verify = Command::new(tools::binary("sidetrail")?);
        verify.args(["verify", &format!("s3://{}", self.bucket()), "--json", "--keys"]).arg(keys);
        // With a witness the end is not to be chosen.
        if !more.contains(&"--witness") {
            verify.args(["--to", &self.evidence.end.to_string()]);
        }
        verify.args(more);
        store.configure(&mut verify);
        tools::run(verify)
    }

    fn log(&self, index: usize) -> &str {
        &self.logs[index]
    }

    fn maker(&self) -> &Ed25519Signer {
        &self.evidence.collectors[0].signer
    }

    /// The log files and manifests of the newest period, and its digest.
    fn newest_period(&self) -> Vec<String> {
        let files = usize::try_from(self.plan.files).unwrap_or(0);
        let newest = |keys: &[String], count| keys.iter().rev().take(count).cloned().collect::<Vec<_>>();
        [newest(&self.logs, files), newest(&self.manifests, files), newest(&self.digests, 1)].concat()
    }

    /// What whoever has all keys can make of it: the newest period once more, in which nothing happened.
    fn rewritten(&self) -> Result<Objects> {
        let directory = tempfile::tempdir()?;
        for (key, object) in &self.earlier {
            let path = directory.path().join(key);
            fs::create_dir_all(path.parent().context("a key without a directory")?)?;
            fs::write(path, &object.bytes)?;
            if let Some(signature) = object.metadata.get("signature") {
                let metadata = Metadata::new(signature.parse()?);
                fs::write(directory.path().join(format!("{key}.metadata.json")), metadata.render()?)?;
            }
        }
        let store = Store::open(&directory.path().display().to_string(), &|_| None)?;
        let (home, trail) = (self.evidence.home.clone(), self.evidence.trail.clone());
        let mut settings = Settings::new(&store, home.clone(), Region::new(REGION)?, trail);
        self.bucket().clone_into(&mut settings.bucket);
        let due = self.evidence.end + settings.settle;
        let mut digester = Digester::new(store, settings, self.evidence.signers.clone())
            .with_commitment(commitment(&self.plan, &home, &self.log)?);
        let step = runtime()?.block_on(digester.step(due))?;
        ensure!(matches!(step.done, Done::Wrote(_)), "{step:?}");
        read(directory.path())
    }
}

/// The log beside the digests.
fn commitment(plan: &evidence::Plan, home: &Home, log: &Arc<dyn Signer>) -> Result<Box<dyn Commitment>> {
    let trail = Trail::new(plan.trail.clone())?;
    let place = TreePlace { home: home.clone(), region: Region::new(REGION)?, trail };
    let bucket = plan.bucket.as_deref().context("the bucket's name")?;
    Ok(Box::new(LogCommitment::new(place, bucket, Arc::clone(log), Box::new(|_| {}))?))
}

fn runtime() -> Result<Runtime> {
    Ok(Builder::new_multi_thread().worker_threads(1).enable_all().build()?)
}

/// What is in a directory, with metadata where S3 has it.
fn read(directory: &Path) -> Result<Objects> {
    let mut objects = Objects::new();
    let bucket = Directory::new(directory)?;
    let mut keys = Vec::new();
    bucket.list("", &mut |entry| {
        keys.push(entry.key.to_owned());
        ControlFlow::Continue(())
    })?;
    let (companions, keys): (Vec<_>, Vec<_>) =
        keys.into_iter().partition(|key| key.ends_with(".metadata.json"));
    for key in keys {
        let bytes = fs::read(directory.join(&key))?;
        objects.insert(key, Object { bytes, ..Object::default() });
    }
    for companion in companions {
        let object = companion.strip_suffix(".metadata.json").and_then(|key| objects.get_mut(key));
        let Metadata { signature, .. } = Metadata::parse(&fs::read(directory.join(&companion))?)?;
        object.context("metadata of nothing")?.metadata = metadata(&signature.to_string());
    }
    Ok(objects)
}

/// Does something to a bucket; gives the names that have to be in the report.
type Edit = fn(&Made, &mut Objects) -> Result<Vec<String>>;

const EDITS: &[(&str, Edit)] = &[
    ("flip a bit of a log file", |made, objects| flip(objects, made.log(3))),
    ("truncate a log file", |made, objects| {
        let bytes = bytes(objects, made.log(3))?;
        bytes.truncate(bytes.len() / 2);
        Ok(vec![made.log(3).to_owned()])
    }),
    ("append a gzip member to a log file", |made, objects| {
        let more = gzip(b"more", Compression::default())?;
        bytes(objects, made.log(3))?.extend(more);
        Ok(vec![made.log(3).to_owned()])
    }),
    ("change a record of a log file", |made, objects| {
        let content = inflate(bytes(objects, made.log(3))?)?;
        let changed = String::from_utf8(content)?.replacen("GetOrder", "PutOrder", 1);
        *bytes(objects, made.log(3))? = gzip(changed.as_bytes(), Compression::new(2))?;
        Ok(vec![made.log(3).to_owned()])
    }),
    ("compress a log file anew", |made, objects| {
        let content = inflate(bytes(objects, made.log(3))?)?;
        *bytes(objects, made.log(3))? = gzip(&content, Compression::best())?;
        Ok(vec![made.log(3).to_owned()])
    }),
    ("swap two log files", |made, objects| {
        swap(objects, made.log(3), made.log(4))?;
        Ok(vec![made.log(3).to_owned(), made.log(4).to_owned()])
    }),
    ("replay an old log file in the place of a new one", |made, objects| {
        replay(objects, made.log(1), made.log(7))
    }),
    ("rename a log file", |made, objects| {
        let name = renamed(made.log(3), ".json.gz");
        rename(objects, made.log(3), &name)?;
        Ok(vec![made.log(3).to_owned(), name])
    }),
    ("remove a log file", |made, objects| remove(objects, &[made.log(3)])),
    ("add a log file", |made, objects| {
        let name = renamed(made.log(3), ".json.gz");
        let object = objects[made.log(3)].clone();
        objects.insert(name.clone(), object);
        Ok(vec![name])
    }),
    ("flip a bit of a manifest", |made, objects| flip(objects, &made.manifests[3])),
    ("remove a manifest", |made, objects| remove(objects, &[&made.manifests[3]])),
    ("remove a collector's last manifest", |made, objects| {
        remove(objects, &[made.manifests.last().context("none")?])
    }),
    ("swap two manifests", |made, objects| {
        swap(objects, &made.manifests[3], &made.manifests[4])?;
        Ok(vec![made.manifests[3].clone(), made.manifests[4].clone()])
    }),
    ("sign a manifest again with another key, and publish that", |made, objects| {
        let thief = Ed25519Signer::generate()?;
        let known = [made.maker().public_key().clone()];
        let mut manifest = Manifest::open(bytes(objects, &made.manifests[3])?, &known)?;
        manifest.sources[0].instance = "another".to_owned();
        *bytes(objects, &made.manifests[3])? = manifest.seal(&thief)?;
        let (key, sealed) = PublishedKey::seal(made.evidence.home.clone(), &thief)?;
        objects.insert(key.to_string(), Object { bytes: sealed, ..Object::default() });
        Ok(vec![made.manifests[3].clone()])
    }),
    ("remove a log file and its manifest", |made, objects| {
        remove(objects, &[made.log(3), &made.manifests[3]])?;
        // Which events these were is known to the number.
        let ranges = ranges(made, 3..4)?;
        Ok([vec![made.log(3).to_owned(), made.manifests[4].clone()], ranges].concat())
    }),
    ("remove the newest log files and their manifests", |made, objects| {
        let newest = made.newest_period();
        let (digest, rest) = newest.split_last().context("none")?;
        remove(objects, &rest.iter().map(String::as_str).collect::<Vec<_>>())?;
        let all = made.manifests.len();
        let logs = rest.iter().filter(|key| key.parse::<LogKey>().is_ok()).cloned();
        Ok([logs.collect(), vec![digest.clone()], ranges(made, all - 2..all)?].concat())
    }),
    ("flip a bit of a digest", |made, objects| flip(objects, &made.digests[3])),
    ("change a digest, and keep its signature", |made, objects| {
        let content = inflate(bytes(objects, &made.digests[3])?)?;
        let changed = String::from_utf8(content)?.replacen("\"hashValue\":\"", "\"hashValue\":\"0000", 1);
        let at = changed.find("\"hashValue\":\"0000").context("no log file")? + 17 + 60;
        let changed = format!("{}{}", &changed[..at], &changed[at + 4..]);
        *bytes(objects, &made.digests[3])? = gzip(changed.as_bytes(), Compression::default())?;
        Ok(vec![made.digests[3].clone()])
    }),
    ("sign a digest again with another key, and publish that", |made, objects| {
        let thief = &RsaSigner::from_pem(THIEF)?;
        let Opened { digest, .. } = Opened::read(bytes(objects, &made.digests[3])?)?;
        let digest = Digest { fingerprint: thief.public_key().fingerprint(), ..digest };
        let sealed = digest.seal(thief)?;
        let object = Object { bytes: sealed.bytes, metadata: metadata(&sealed.signature.to_string()) };
        objects.insert(made.digests[3].clone(), object);
        let validity = (made.plan.start, made.evidence.end);
        let (key, bytes) = PublishedDigestKey::seal(made.evidence.home.clone(), thief, validity, None)?;
        objects.insert(key.to_string(), Object { bytes, ..Object::default() });
        Ok(vec![made.digests[3].clone()])
    }),
    ("change the signature of a digest", |made, objects| {
        let object = objects.get_mut(&made.digests[3]).context("none")?;
        let signature = object.metadata.get_mut("signature").context("no signature")?;
        let digit = if signature.starts_with('0') { "1" } else { "0" };
        signature.replace_range(..1, digit);
        Ok(vec![made.digests[3].clone()])
    }),
    ("drop the metadata of a digest", |made, objects| {
        objects.get_mut(&made.digests[3]).context("none")?.metadata.clear();
        Ok(vec![made.digests[3].clone()])
    }),
    ("replay an old digest in the place of a new one", |made, objects| {
        replay(objects, &made.digests[1], &made.digests[3])
    }),
    ("rename a digest", |made, objects| {
        let name = made.digests[3].replace("T040000Z", "T043000Z");
        rename(objects, &made.digests[3], &name)?;
        Ok(vec![made.digests[3].clone(), name])
    }),
    ("remove a digest", |made, objects| remove(objects, &[&made.digests[3]])),
    ("remove two digests in a row", |made, objects| remove(objects, &[&made.digests[2], &made.digests[3]])),
    ("remove the oldest digest", |made, objects| remove(objects, &[&made.digests[0]])),
    ("remove the newest digest", |made, objects| remove(objects, &[&made.digests[5]])),
    ("remove all digests", |made, objects| {
        remove(objects, &made.digests.iter().map(String::as_str).collect::<Vec<_>>())?;
        Ok(vec![format!("AWSLogs/{}/CloudTrail-Digest/{REGION}/", made.plan.account)])
    }),
    ("remove a published key", |_, objects| {
        let key = objects.keys().find(|key| key.parse::<KeyObjectKey>().is_ok()).context("none")?.clone();
        remove(objects, &[&key])
    }),
    ("flip a bit of a tile of the log", |_, objects| {
        let tile = objects.keys().rev().find(|key| is_tile(key)).context("none")?.clone();
        flip(objects, &tile)?;
        // A root hash does not say which of the tiles below it is wrong.
        let tiles = tile.split_inclusive("/tile/").next().context("a tile")?;
        Ok(vec![tiles.to_owned()])
    }),
    ("roll the bucket back by a period", |made, objects| {
        objects.clone_from(&made.earlier);
        Ok(vec![made.digests[5].clone()])
    }),
];

/// The same edit as the last, before the digest of the period is due: nothing that is there shows it.
const EARLY: &str = "the same before its digest is due, verified with a `--cursor` that has seen it";
/// Once more, by who has seen only a checkpoint of a few lines.
const WITNESSED: &str = "the same, verified with the checkpoint of a `--witness` in place of the cursor";
/// Nothing that is signed shows it, since who does it signs.
const REWRITTEN: &str = "with all keys, make the newest period anew without its events";
const REWRITTEN_SEEN: &str = "the same, verified with the checkpoint of a `--witness`";

/// A key that nobody trusts.
const THIEF: &str = include_str!("../../crates/archive/testdata/digest/key-b.pem");

fn is_tile(key: &str) -> bool {
    key.parse::<TreeKey>().is_ok_and(|key| matches!(key.object, TreeObject::Tile(_)))
}

fn bytes<'a>(objects: &'a mut Objects, key: &str) -> Result<&'a mut Vec<u8>> {
    objects.get_mut(key).map(|object| &mut object.bytes).with_context(|| format!("no {key}"))
}

fn flip(objects: &mut Objects, key: &str) -> Result<Vec<String>> {
    // In a log file the middle: it is the same in each run. Manifests and digests hold keys that are not, and what a reader
    // stumbles over there depends on them, but for the first byte. `tamper.rs` flips every one.
    let bytes = bytes(objects, key)?;
    let at = if key.parse::<LogKey>().is_ok() { bytes.len() / 2 } else { 0 };
    bytes[at] ^= 1;
    Ok(vec![key.to_owned()])
}

fn swap(objects: &mut Objects, one: &str, other: &str) -> Result<()> {
    let (first, second) = (objects[one].clone(), objects[other].clone());
    objects.insert(one.to_owned(), second);
    objects.insert(other.to_owned(), first).map(drop).context("nothing to swap")
}

fn replay(objects: &mut Objects, old: &str, new: &str) -> Result<Vec<String>> {
    let object = objects[old].clone();
    objects.insert(new.to_owned(), object).context("nothing to replace")?;
    Ok(vec![new.to_owned()])
}

fn rename(objects: &mut Objects, from: &str, to: &str) -> Result<()> {
    let object = objects.remove(from).context("nothing to rename")?;
    ensure!(objects.insert(to.to_owned(), object).is_none(), "{to} was there");
    Ok(())
}

fn remove(objects: &mut Objects, keys: &[&str]) -> Result<Vec<String>> {
    for key in keys {
        objects.remove(*key).with_context(|| format!("no {key}"))?;
    }
    Ok(keys.iter().map(|key| (*key).to_owned()).collect())
}

/// The key with the last character of its own part changed.
fn renamed(key: &str, extension: &str) -> String {
    let stem = key.strip_suffix(extension).unwrap_or(key);
    let (rest, last) = stem.split_at(stem.len() - 1);
    format!("{rest}{}{extension}", if last == "0" { "1" } else { "0" })
}

fn gzip(content: &[u8], level: Compression) -> Result<Vec<u8>> {
    let mut encoder = GzEncoder::new(Vec::new(), level);
    encoder.write_all(content)?;
    Ok(encoder.finish()?)
}

fn inflate(stored: &[u8]) -> Result<Vec<u8>> {
    let mut content = Vec::new();
    std::io::Read::read_to_end(&mut GzDecoder::new(stored), &mut content)?;
    Ok(content)
}

/// What the report has to say of the events of these manifests, as its JSON has it.
fn ranges(made: &Made, manifests: std::ops::Range<usize>) -> Result<Vec<String>> {
    let known = [made.maker().public_key().clone()];
    let mut sources = Vec::new();
    for key in &made.manifests[manifests] {
        sources.extend(Manifest::open(&made.objects[key].bytes, &known)?.sources);
    }
    let (first, last) = (sources.first().context("no source")?, sources.last().context("no source")?);
    Ok(vec![format!(r#""kind":"gap","source":"{}","from":{},"to":{}"#, first.source, first.first, last.last)])
}

/// What the AWS CLI said, in a cell.
fn said(ran: &Ran) -> Result<String> {
    let mut found = BTreeSet::new();
    for line in ran.stdout.lines().chain(ran.stderr.lines()) {
        let mut parts = line.split('\t');
        if let (Some(what), Some(_), Some(verdict)) = (parts.next(), parts.next(), parts.next()) {
            if let Some(message) = verdict.strip_prefix("INVALID: ") {
                let message = message.split(" in region ").next().unwrap_or(message);
                found.insert(format!("{}: {message}", what.to_lowercase().trim_end_matches(" file")));
            }
        } else if line.starts_with("No log files were delivered by CloudTrail between") {
            found.insert("a line about a gap".to_owned());
        }
    }
    let found = found.into_iter().collect::<Vec<_>>().join("; ");
    let code = ran.status.code().context("it was killed")?;
    Ok(match (code, found.as_str()) {
        (0, "") => "0".to_owned(),
        (0, _) => format!("0, {found}"),
        (1, _) => format!("1, {found}"),
        _ => format!("{code}, {}", ran.stderr.trim().lines().last().unwrap_or_default()),
    })
}

/// What `sidetrail verify` found, in a cell: kinds, and of what.
fn found(ran: &Ran) -> Result<String> {
    let report: Value = serde_json::from_str(&ran.stdout).with_context(|| format!("{ran:?}"))?;
    let mut found = BTreeSet::new();
    for finding in report["findings"].as_array().context("no findings")? {
        let (object, kind) = (finding["object"].as_str(), finding["kind"].as_str());
        let (object, kind) = (object.context("no object")?, kind.context("no kind")?);
        let what = if object.parse::<LogKey>().is_ok() {
            "log"
        } else if object.parse::<ManifestKey>().is_ok() {
            "manifest"
        } else if object.contains("/CloudTrail-Digest/") {
            "digest"
        } else if object.contains("/Sidetrail-Log/") {
            "tree"
        } else {
            "key"
        };
        found.insert(format!("{what}: {kind}"));
    }
    let code = ran.status.code().context("it was killed")?;
    let found = found.into_iter().collect::<Vec<_>>().join("; ");
    Ok(if found.is_empty() { code.to_string() } else { format!("{code}, {found}") })
}

/// A witness: who has its own key, and remembers the checkpoint of the untouched bucket.
struct Witness {
    directory: tempfile::TempDir,
    bucket: String,
}

impl Witness {
    fn new(store: &SeaweedFs, bucket: &str) -> Result<Self> {
        let it = Self { directory: tempfile::tempdir()?, bucket: format!("s3://{bucket}") };
        let mut generate = Command::new(tools::binary("sidetrail")?);
        generate.args(["keys", "generate", "-o"]).arg(it.at("witness.pem"));
        tools::run(generate)?.success()?;
        let mut show = Command::new(tools::binary("sidetrail")?);
        show.args(["checkpoint", "show", &it.bucket, "--vkey"]);
        store.configure(&mut show);
        fs::write(it.at("logs"), tools::run(show)?.success()?)?;
        let looked = it.look(store, &it.at("seen.json"))?;
        ensure!(looked.status.code() == Some(0), "{looked:?}");
        Ok(it)
    }

    fn at(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    fn look(&self, store: &SeaweedFs, state: &Path) -> Result<Ran> {
        let mut witness = Command::new(tools::binary("sidetrail")?);
        witness.args(["witness", &self.bucket, "--json", "--name", "witness.example.com", "--keys"]);
        witness
            .arg(self.at("logs"))
            .arg("--signing-key")
            .arg(self.at("witness.pem"))
            .arg("--state")
            .arg(state);
        store.configure(&mut witness);
        tools::run(witness)
    }

    /// What it says, in a cell; it has seen nothing but the untouched bucket.
    fn says(&self, store: &SeaweedFs) -> Result<String> {
        let state = self.at("now.json");
        fs::copy(self.at("seen.json"), &state)?;
        let ran = self.look(store, &state)?;
        let said: Value = serde_json::from_str(&ran.stdout).with_context(|| format!("{ran:?}"))?;
        let log = &said["logs"][0];
        Ok(match (ran.status.code(), log["reason"].as_str()) {
            (Some(0), None) => "0".to_owned(),
            (Some(1), Some(reason)) if reason.contains("rolled back") => "1, rolled back".to_owned(),
            (Some(1), Some(reason)) => format!("1, {reason}"),
            (code, _) => format!("{code:?}, {log}"),
        })
    }
}

/// The table as it grows.
struct Table<'a> {
    made: &'a Made,
    store: &'a SeaweedFs,
    keys: &'a Path,
    cloudtrail: CloudTrail,
    witness: Witness,
    text: String,
    missed: Vec<String>,
}

impl Table<'_> {
    fn validate(&self) -> Result<Ran> {
        let Made { evidence, plan, .. } = self.made;
        self.cloudtrail.validate(self.store, &evidence.trail_arn(), REGION, (plan.start, evidence.end))
    }

    fn verify(&self, more: &[&str]) -> Result<Ran> {
        self.made.verify(self.store, self.keys, more)
    }

    /// What all say of the bucket as it is now; `verify` has to find something, with these names in it.
    fn row<S: AsRef<str>>(&mut self, what: &str, names: &[S], more: &[&str]) -> Result<()> {
        let verified = self.verify(more)?;
        let unnamed = names.iter().map(AsRef::as_ref).find(|name| !verified.stdout.contains(name));
        if verified.status.code() != Some(1) || unnamed.is_some() {
            self.missed.push(format!("{what}: {unnamed:?} in {verified:?}"));
        }
        self.write(what, &verified)
    }

    fn write(&mut self, what: &str, verified: &Ran) -> Result<()> {
        let (said, found, seen) =
            (said(&self.validate()?)?, found(verified)?, self.witness.says(self.store)?);
        Ok(writeln!(self.text, "| {what} | {said} | {found} | {seen} |")?)
    }
}

#[test]
fn the_table_says_who_notices_what() -> Result<()> {
    let store = SeaweedFs::shared()?;
    let made = Made::new(store.bucket("matrix")?)?;
    let files = tempfile::tempdir()?;
    let (keys, cursor) = (files.path().join("keys.pem"), files.path().join("cursor"));
    let cursor = cursor.to_str().context("a path that is no text")?;
    fs::write(&keys, made.evidence.key_file())?;
    objects::upload(store, made.bucket(), &made.objects)?;
    let witness = Witness::new(store, made.bucket())?;
    let seen = witness.at("seen.json").display().to_string();
    let text = "| what is done | `aws cloudtrail validate-logs` | `sidetrail verify` | `sidetrail witness` |\n\
                |---|---|---|---|\n";
    let (text, missed, cloudtrail) = (text.to_owned(), Vec::new(), made.cloudtrail()?);
    let mut table = Table { made: &made, store, keys: &keys, cloudtrail, witness, text, missed };
    let untouched = table.verify(&["--cursor", cursor])?;
    ensure!(found(&untouched)? == "0", "untouched: {untouched:?}");
    let untouched = table.validate()?;
    ensure!(said(&untouched)? == "0", "untouched: {untouched:?}");

    let mut before = made.objects.clone();
    for (what, edit) in EDITS {
        let mut after = made.objects.clone();
        let names = edit(&made, &mut after).with_context(|| (*what).to_owned())?;
        ensure!(after != made.objects, "{what}: nothing was changed");
        objects::change(store, made.bucket(), &before, &after)?;
        table.row(what, &names, &[])?;
        before = after;
    }
    // The last edit again.
    let early = ["--settle", "9000h"];
    let unseen = table.verify(&early)?;
    ensure!(found(&unseen)? == "0", "a bucket that was set back in time: {unseen:?}");
    table.row(EARLY, &[&made.digests[5]], &[early[0], early[1], "--cursor", cursor])?;
    table.row(WITNESSED, &["/Sidetrail-Log/"], &[early[0], early[1], "--witness", &seen])?;

    let rewritten = made.rewritten()?;
    objects::change(store, made.bucket(), &before, &rewritten)?;
    let unseen = table.verify(&[])?;
    ensure!(found(&unseen)? == "0", "history as its keys have it: {unseen:?}");
    table.write(REWRITTEN, &unseen)?;
    table.row(REWRITTEN_SEEN, &["/Sidetrail-Log/"], &[early[0], early[1], "--witness", &seen])?;

    objects::change(store, made.bucket(), &rewritten, &made.objects)?;
    let untouched = table.verify(&[early[0], early[1], "--witness", &seen])?;
    ensure!(found(&untouched)? == "0", "untouched, again: {untouched:?}");
    let (count, Table { text, missed, .. }) = (EDITS.len() + 3, table);
    ensure!(missed.is_empty(), "{} of {count} not found and named: {missed:#?}", missed.len());
    ensure!(DOCUMENT.contains(&text), "the table of crates/archive/README.md has to be:\n\n{text}");
    println!("{count} edits, each found and named");
    Ok(())
}

/// 26 periods of two regions, with an empty one, another key, and a file that came late, as the digest writer makes them:
/// the AWS CLI believes them (`digests.rs`), and so do we.
#[test]
fn what_the_digest_writer_writes_is_valid() -> Result<()> {
    let directory = tempfile::tempdir()?;
    let store = Store::open(&directory.path().display().to_string(), &|_| None)?;
    let plan = evidence::Plan::default();
    let made = runtime()?.block_on(evidence::make(&store, &plan))?;
    let files = tempfile::tempdir()?;
    let verify = |keys: &str, more: &[&str]| {
        let path = files.path().join("keys.pem");
        std::fs::write(&path, keys)?;
        let mut verify = Command::new(tools::binary("sidetrail")?);
        verify.arg("verify").arg(directory.path()).args(["--json", "--to", &made.end.to_string()]);
        verify.arg("--keys").arg(path).args(more);
        tools::run(verify)
    };
    let junit = files.path().join("report.xml");
    // The first key is enough: it says which one follows it, and certifies those of collectors.
    let first = made.digest_keys[0].to_pem();
    let verified = verify(&first, &["--junit", junit.to_str().context("a path that is no text")?])?;
    ensure!(found(&verified)? == "0, log: late", "{verified:?}");
    let report: Value = serde_json::from_str(&verified.stdout)?;
    let log_files = 2 * (plan.periods - 1) * plan.collectors * plan.files;
    ensure!(report["validDigests"] == 52 && report["validLogFiles"] == log_files, "{report}");
    let junit = std::fs::read_to_string(junit)?;
    ensure!(junit.contains(r#"failures="0" errors="0" skipped="0""#), "{junit}");
    let verified = verify(&made.key_file(), &[])?;
    ensure!(found(&verified)? == "0, log: late", "{verified:?}");

    // The second does not say what came before it, and keys of collectors say nothing of digests.
    for keys in [made.digest_keys[1].to_pem(), made.manifest_keys[0].to_pem()] {
        let verified = verify(&keys, &[])?;
        ensure!(found(&verified)?.contains("digest: keyUnknown"), "{verified:?}");
    }

    // All digests of a region are gone, and what says that there were some is not.
    for key in made.digests.iter().filter(|key| key.region == made.home_region) {
        std::fs::remove_file(directory.path().join(key.to_string()))?;
    }
    let verified = verify(&made.key_file(), &[])?;
    ensure!(verified.status.code() == Some(1), "{verified:?}");
    for key in made.digests.iter().filter(|key| key.region == made.home_region) {
        ensure!(verified.stdout.contains(&key.to_string()), "{key} is not named");
    }
    Ok(())
}
