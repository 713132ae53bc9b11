//! A small bucket in memory, and everything that can be done to it.

use std::collections::{BTreeMap, BTreeSet};
use std::io::{self, Read, Write};
use std::ops::ControlFlow;

use jiff::ToSpan;

use super::*;
use crate::key::{Account, Home, LogKey, ManifestKey, Region};
use crate::log::{LogFile, LogWriter};
use crate::manifest::{Chain, MakeError, Manifest, PublishedKey, Source};
use crate::sign::{Ed25519Signer, Signer};
use crate::source::Entry;

mod digests;
mod receipts;

const SOURCE: Id = Id([0x51; 16]);
const COLLECTOR: Id = Id([0xc0; 16]);

#[derive(Clone, Default)]
struct Memory {
    objects: BTreeMap<String, Vec<u8>>,
    failing: BTreeSet<String>,
}

impl Bucket for Memory {
    fn list(&self, prefix: &str, visit: &mut dyn FnMut(Entry<'_>) -> ControlFlow<()>) -> io::Result<()> {
        if self.failing.contains("") {
            return Err(io::Error::other("the store is away"));
        }
        for (key, bytes) in self.objects.iter().filter(|(key, _)| key.starts_with(prefix)) {
            if visit(Entry::new(key, bytes.len() as u64)).is_break() {
                break;
            }
        }
        Ok(())
    }

    fn open<'a>(&'a self, key: &str) -> io::Result<Box<dyn Read + 'a>> {
        if self.failing.contains(key) {
            return Err(io::Error::other("the store is away"));
        }
        match self.objects.get(key) {
            Some(bytes) => Ok(Box::new(&bytes[..])),
            None => Err(io::ErrorKind::NotFound.into()),
        }
    }
}

/// A collector as far as its objects are concerned.
struct Writer {
    signer: Ed25519Signer,
    bucket: Memory,
    index: u64,
    previous: Option<Sha256>,
    next: u64,
    at: Timestamp,
    manifests: Vec<ManifestKey>,
}

impl Writer {
    fn new() -> Self {
        let signer = Ed25519Signer::generate().unwrap();
        let (key, bytes) = PublishedKey::seal(home(), &signer).unwrap();
        Self {
            signer,
            bucket: Memory { objects: [(key.to_string(), bytes)].into(), failing: BTreeSet::new() },
            index: 0,
            previous: None,
            next: 1,
            at: "2026-01-15T11:00:30Z".parse().unwrap(),
            manifests: Vec::new(),
        }
    }

    /// Four log files of two records, each a minute after the other; the third has a manifest only.
    fn four() -> Self {
        let mut writer = Self::new();
        for records in [2, 2, 0, 2] {
            writer.write(records, |_| ());
        }
        writer
    }

    fn manifest(&self, records: u64) -> (Option<LogFile>, Manifest) {
        let log = (records > 0).then(|| log_file(self.next, records));
        let source = Source {
            source: SOURCE,
            service: "shop".to_owned(),
            instance: "shop-1".to_owned(),
            collector: None,
            first: self.next,
            last: self.next + records + 1,
            recorded: records,
            filtered: 1,
            dropped: self.index % 2,
            intents: 1 - self.index % 2,
        };
        let chain = Chain {
            collector: COLLECTOR,
            trail: Trail::new("default").unwrap(),
            index: self.index,
            previous: self.previous,
        };
        let region = Region::new("us-east-1").unwrap();
        let events = log.as_ref().map(|_| (self.at, self.at));
        let manifest = Manifest::new(home(), region, self.at, chain, log.as_ref(), events, vec![source]);
        (log, manifest)
    }

    fn write(&mut self, records: u64, change: impl FnOnce(&mut Manifest)) {
        let (log, mut manifest) = self.manifest(records);
        change(&mut manifest);
        let bytes = manifest.seal(&self.signer).unwrap();
        self.previous = Some(Sha256::of(&bytes));
        self.bucket.objects.insert(manifest.manifest.to_string(), bytes);
        if let Some(log) = log {
            self.bucket.objects.insert(manifest.manifest.log().to_string(), log.bytes);
        }
        self.manifests.push(manifest.manifest);
        self.index += 1;
        self.next += records + 2;
        self.at += 1.minute();
    }

    /// Signs what `change` makes of a manifest again: what a writer gone wrong, or a thief of the key, could do.
    fn rewrite(&mut self, index: usize, change: impl FnOnce(&mut Manifest)) {
        let key = self.manifests[index].to_string();
        let keys = [self.signer.public_key().clone()];
        let mut manifest = Manifest::open(&self.bucket.objects[&key], &keys).unwrap();
        change(&mut manifest);
        self.bucket.objects.insert(key, manifest.seal(&self.signer).unwrap());
    }

    fn log(&self, index: usize) -> String {
        self.manifests[index].log().to_string()
    }
}

fn home() -> Home {
    Home::new(None, Account::new("111122223333").unwrap())
}

fn log_file(first: u64, records: u64) -> LogFile {
    let mut log = LogWriter::new().unwrap();
    for number in first..first + records {
        log.push(format!(r#"{{"eventID":"{number}","text":"]}}\"{{["}}"#).as_bytes()).unwrap();
    }
    log.finish().unwrap()
}

fn verify(bucket: &Memory) -> Report {
    run(bucket, &Options { threads: NonZeroUsize::MIN, ..Options::default() }, &())
}

/// What is found, one line a finding: the kind, and which object: k(ey), m(anifest) or l(og) with its index.
fn found(writer: &Writer, report: &Report) -> Vec<String> {
    let name = |object: &str| {
        let at = |key: ManifestKey| writer.manifests.iter().position(|each| *each == key);
        if let Ok(key) = object.parse::<ManifestKey>() {
            return at(key).map_or("m?".to_owned(), |index| format!("m{index}"));
        }
        if let Ok(key) = object.parse::<LogKey>() {
            return at(key.manifest()).map_or("l?".to_owned(), |index| format!("l{index}"));
        }
        if object.is_empty() { String::new() } else { "k".to_owned() }
    };
    let mut lines: Vec<_> = report
        .findings
        .iter()
        .map(|finding| {
            let range = match finding.kind {
                Kind::ChainBroken { from, to, .. }
                | Kind::Gap { from, to, .. }
                | Kind::Lost { from, to, .. }
                | Kind::NotArrived { from, to, .. }
                | Kind::Overlap { from, to, .. } => {
                    format!(" {from}-{to}")
                }
                _ => String::new(),
            };
            format!("{} {}{range}", finding.kind.name(), name(&finding.object)).trim_end().to_owned()
        })
        .collect();
    lines.sort();
    lines
}

#[track_caller]
fn check(writer: &Writer, expected: &[&str]) {
    let report = verify(&writer.bucket);
    assert_eq!(found(writer, &report), expected, "{:#?}", report.findings);
    assert_eq!(report.outcome() == Outcome::Valid, expected.is_empty());
}

#[test]
fn a_sound_bucket_is_valid() {
    let mut writer = Writer::four();
    writer.bucket.objects.insert("AWSLogs/111122223333/CloudTrail/".to_owned(), Vec::new());
    let report = verify(&writer.bucket);
    assert_eq!(report.findings, []);
    assert_eq!(report.outcome(), Outcome::Valid);
    assert_eq!(report.trust, Trust::Published);
    assert_eq!((report.log_files, report.manifests, report.keys, report.other), (3, 4, 1, 1));
    let Totals { valid_log_files, records, filtered, dropped, intents, .. } = report.totals;
    assert_eq!((valid_log_files, records, filtered, dropped, intents), (3, 6, 4, 2, 2));

    let keys = Some(vec![writer.signer.public_key().clone()]);
    for threads in [1, 3, 100] {
        let options = Options {
            keys: keys.clone(),
            threads: NonZeroUsize::new(threads).unwrap(),
            ..Options::default()
        };
        assert_eq!(run(&writer.bucket, &options, &()), Report { trust: Trust::Given, ..report.clone() });
    }
}

/// The whole point: there is no byte in the bucket that can change unseen.
#[test]
fn every_changed_byte_is_found() {
    let mut writer = Writer::new();
    writer.write(2, |_| ());
    let given = Options {
        keys: Some(vec![writer.signer.public_key().clone()]),
        threads: NonZeroUsize::MIN,
        ..Options::default()
    };
    let published = Options { keys: None, ..given.clone() };
    for (key, bytes) in &writer.bucket.objects {
        let mut bucket = writer.bucket.clone();
        for at in 0..bytes.len() {
            for flip in [0x01, 0x20, 0x80] {
                bucket.objects.get_mut(key).unwrap()[at] ^= flip;
                for options in [&given, &published] {
                    let report = run(&bucket, options, &());
                    assert_eq!(report.outcome(), Outcome::Invalid, "{key}: byte {at} of {}", bytes.len());
                    assert!(report.findings.iter().any(|finding| finding.object == *key), "{key}: byte {at}");
                }
                bucket.objects.get_mut(key).unwrap()[at] ^= flip;
            }
        }
        for changed in [[bytes, &b"\n"[..]].concat(), bytes[..bytes.len() - 1].to_vec(), Vec::new()] {
            bucket.objects.insert(key.clone(), changed);
            assert_eq!(run(&bucket, &given, &()).outcome(), Outcome::Invalid, "{key}");
        }
    }
}

#[test]
fn every_removed_object_is_found() {
    let writer = Writer::four();
    let check = |remove: &[String], expected: &[&str]| {
        let mut bucket = writer.bucket.clone();
        for key in remove {
            assert!(bucket.objects.remove(key).is_some());
        }
        let report = verify(&bucket);
        assert_eq!(found(&writer, &report), expected, "{:#?}", report.findings);
    };
    let manifest = |index: usize| writer.manifests[index].to_string();
    check(&[writer.log(0)], &["missing l0"]);
    check(&[writer.log(3)], &["missing l3"]);
    check(&[manifest(0)], &["chain broken m1 0-0", "gap m1 1-4", "uncommitted l0"]);
    check(&[manifest(1)], &["chain broken m2 1-1", "gap m2 5-8", "uncommitted l1"]);
    check(&[manifest(2)], &["chain broken m3 2-2", "gap m3 9-10"]);
    check(&[manifest(3)], &["uncommitted l3"]);
    check(&[manifest(1), manifest(2)], &["chain broken m3 1-2", "gap m3 5-10", "uncommitted l1"]);
    check(&[manifest(1), writer.log(1)], &["chain broken m2 1-1", "gap m2 5-8"]);
    let key = writer.bucket.objects.keys().find(|key| key.contains("Sidetrail-Key")).unwrap();
    check(
        std::slice::from_ref(key),
        &["key unknown m0", "key unknown m1", "key unknown m2", "key unknown m3", "missing k"],
    );
    // The trust root does not replace the publication.
    let mut bucket = writer.bucket.clone();
    bucket.objects.remove(key);
    let keys = Some(vec![writer.signer.public_key().clone()]);
    let report = run(&bucket, &Options { keys, ..Options::default() }, &());
    assert_eq!(found(&writer, &report), ["missing k"]);
    assert_eq!(report.findings[0].object, *key);
}

#[test]
fn every_renamed_object_is_found() {
    let writer = Writer::four();
    for key in writer.bucket.objects.keys() {
        for (from, to) in [("111122223333", "999999999999"), (".json", ".jsonx"), ("AWSLogs", "copy/AWSLogs")]
        {
            let mut bucket = writer.bucket.clone();
            let bytes = bucket.objects.remove(key).unwrap();
            bucket.objects.insert(key.replace(from, to), bytes);
            assert_eq!(verify(&bucket).outcome(), Outcome::Invalid, "{key} {from}");
        }
    }
    let mut moved = writer.bucket.clone();
    let other = writer.manifests[1].to_string();
    let to = other.replace("T1101Z", "T1102Z");
    let bytes = moved.objects.remove(&other).unwrap();
    moved.objects.insert(to, bytes);
    assert_eq!(found(&writer, &verify(&moved)), ["gap m2 5-8", "moved m?", "uncommitted l1"]);
}

#[test]
fn swapped_and_replayed_objects_are_found() {
    let mut writer = Writer::four();
    let (one, other) = (writer.log(0), writer.log(1));
    let swap = |writer: &mut Writer, one: &str, other: &str| {
        let bytes = writer.bucket.objects[one].clone();
        let bytes = writer.bucket.objects.insert(other.to_owned(), bytes).unwrap();
        writer.bucket.objects.insert(one.to_owned(), bytes);
    };
    swap(&mut writer, &one, &other);
    check(&writer, &["modified l0", "modified l1"]);
    swap(&mut writer, &one, &other);
    let (one, other) = (writer.manifests[0].to_string(), writer.manifests[1].to_string());
    swap(&mut writer, &one, &other);
    check(&writer, &["gap m2 1-8", "moved m0", "moved m1"]);
    swap(&mut writer, &one, &other);
    check(&writer, &[]);

    // An older file in the place of a newer one.
    let old = writer.bucket.objects[&writer.log(0)].clone();
    writer.bucket.objects.insert(writer.log(3), old);
    check(&writer, &["modified l3"]);
}

#[test]
fn what_another_key_signs_is_unknown() {
    let mut writer = Writer::new();
    writer.write(2, |_| ());
    let trusted = writer.signer.public_key().clone();
    writer.signer = Ed25519Signer::generate().unwrap();
    writer.write(2, |_| ());
    check(&writer, &["key unknown m1", "missing k"]);
    // Publishing the key is enough to be believed by who brings no keys, and not by who does.
    let (key, bytes) = PublishedKey::seal(home(), &writer.signer).unwrap();
    writer.bucket.objects.insert(key.to_string(), bytes);
    check(&writer, &[]);
    let report = run(&writer.bucket, &Options { keys: Some(vec![trusted]), ..Options::default() }, &());
    assert_eq!(found(&writer, &report), ["key unknown m1"]);
}

#[test]
fn forks_and_broken_links_are_found() {
    // Two manifests at index 1, as from a spool that was restored from a backup.
    let mut writer = Writer::new();
    writer.write(2, |_| ());
    let (previous, next) = (writer.previous, writer.next);
    writer.write(2, |_| ());
    (writer.index, writer.previous, writer.next) = (1, previous, next);
    writer.write(3, |_| ());
    writer.write(2, |_| ());
    check(&writer, &["forked m2", "overlap m2 5-8"]);

    // A manifest that was signed again: everything holds but the hash in the next one.
    let mut writer = Writer::four();
    writer.rewrite(1, |manifest| manifest.sources[0].instance = "other".to_owned());
    check(&writer, &["chain broken m2 1-1"]);
}

#[test]
fn gaps_and_overlaps_are_found() {
    let mut writer = Writer::new();
    writer.next = 3;
    writer.write(2, |_| ());
    writer.next += 5;
    writer.write(2, |_| ());
    writer.next -= 1;
    writer.write(2, |_| ());
    check(&writer, &["gap m0 1-2", "gap m1 7-11", "overlap m2 15-15"]);
}

#[test]
fn a_log_file_is_what_its_manifest_states() {
    type Change = fn(&mut LogFile);
    let gzip = |content: &[u8]| {
        let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
        encoder.write_all(content).unwrap();
        encoder.finish().unwrap()
    };
    let check = |change: &dyn Fn(&mut LogFile), expected: &str| {
        let mut writer = Writer::new();
        let mut log = log_file(1, 2);
        change(&mut log);
        let bytes = log.bytes.clone();
        writer.write(2, |manifest| {
            let entry = manifest.log_file.as_mut().unwrap();
            (entry.sha256, entry.size) = (Sha256::of(&log.bytes), log.bytes.len() as u64);
            (entry.content_sha256, entry.content_size) = (log.content_sha256, log.content_size);
        });
        writer.bucket.objects.insert(writer.log(0), bytes);
        let report = verify(&writer.bucket);
        let details: Vec<_> = report.findings.iter().map(|finding| finding.detail.as_str()).collect();
        assert_eq!(details.len(), 1, "{details:?}");
        assert!(details[0].contains(expected), "{details:?}");
        assert_eq!(found(&writer, &report), ["malformed l0"]);
    };
    let same: Change = |log| log.bytes.extend_from_within(..);
    check(&same, "unexpected data after the end");
    check(&|log: &mut LogFile| log.bytes.push(0), "unexpected data after the end");
    check(&|log: &mut LogFile| log.bytes.truncate(log.bytes.len() - 1), "not gzip");
    check(&|log: &mut LogFile| log.bytes[0] = 0, "not gzip");
    check(&|log: &mut LogFile| log.content_size += 1, "does not inflate to");
    check(&|log: &mut LogFile| log.content_size -= 1, "does not inflate to");
    check(&|log: &mut LogFile| log.content_sha256 = Sha256::of(b""), "the content has the hash");
    let content = |content: &'static [u8]| {
        move |log: &mut LogFile| {
            log.bytes = gzip(content);
            (log.content_sha256, log.content_size) = (Sha256::of(content), content.len() as u64);
        }
    };
    check(&content(br#"{"Records":[{}]}"#), "holds 1 records");
    check(&content(br#"{"records":[{},{}]}"#), "not a log file");
    // A bomb: a quarter of a gigabyte of zeros. It is left where it passes the stated size.
    check(
        &|log: &mut LogFile| {
            let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::best());
            io::copy(&mut io::repeat(0).take(1 << 28), &mut encoder).unwrap();
            log.bytes = encoder.finish().unwrap();
        },
        "does not inflate to",
    );
}

#[test]
fn a_time_range_judges_nothing_before_it() {
    let writer = Writer::four();
    let check = |from: Option<&str>, to: Option<&str>, manifests| {
        let time = |text: &str| text.parse().unwrap();
        let options = Options { from: from.map(time), to: to.map(time), ..Options::default() };
        let report = run(&writer.bucket, &options, &());
        assert_eq!(report.findings.iter().filter(|finding| finding.kind != Kind::CouldNotCheck).count(), 0);
        assert_eq!(report.manifests, manifests);
        report.outcome()
    };
    assert_eq!(check(Some("2026-01-15T11:01:00Z"), None, 3), Outcome::Valid);
    assert_eq!(check(Some("2026-01-15T11:01:59Z"), None, 3), Outcome::Valid);
    assert_eq!(check(None, Some("2026-01-15T11:01:00Z"), 2), Outcome::Valid);
    assert_eq!(check(Some("2026-01-15T11:01:00Z"), Some("2026-01-15T11:02:59Z"), 2), Outcome::Valid);
    assert_eq!(check(Some("2027-01-01T00:00:00Z"), None, 0), Outcome::CouldNotCheck);

    // What is missing within it is found.
    let mut bucket = writer.bucket.clone();
    bucket.objects.remove(&writer.manifests[2].to_string());
    let from = Some("2026-01-15T11:01:00Z".parse().unwrap());
    let report = run(&bucket, &Options { from, ..Options::default() }, &());
    assert_eq!(found(&writer, &report), ["chain broken m3 2-2", "gap m3 9-10"]);
}

#[test]
fn a_prefix_narrows_the_bucket() {
    let writer = Writer::four();
    let options = Options { prefix: Some(Prefix::new("audit").unwrap()), ..Options::default() };
    assert_eq!(run(&writer.bucket, &options, &()).outcome(), Outcome::CouldNotCheck);
}

#[test]
fn what_the_store_does_not_give_is_no_evidence() {
    let writer = Writer::four();
    let check = |key: &str, expected: &[&str]| {
        let mut bucket = writer.bucket.clone();
        bucket.failing.insert(key.to_owned());
        let report = verify(&bucket);
        assert_eq!(found(&writer, &report), expected, "{:#?}", report.findings);
        assert_eq!(report.outcome(), Outcome::CouldNotCheck);
        assert_eq!(report.outcome().exit_code(), 2);
        bucket.objects.insert(writer.log(3), Vec::new());
        let report = verify(&bucket);
        assert_eq!(report.outcome(), if key.is_empty() { Outcome::CouldNotCheck } else { Outcome::Invalid });
    };
    check("", &["could not check"]);
    check(&writer.log(0), &["could not check l0"]);
    check(&writer.manifests[1].to_string(), &["could not check m1", "could not check m2"]);

    let report = verify(&Memory::default());
    assert_eq!(report.outcome(), Outcome::CouldNotCheck);
    assert_eq!(
        report.findings[0].to_string(),
        "could not check: nothing to check: no log file and no manifest found"
    );
}

#[test]
fn the_report_is_json() {
    let mut writer = Writer::four();
    writer.bucket.objects.remove(&writer.manifests[2].to_string());
    let json = serde_json::to_value(verify(&writer.bucket)).unwrap();
    assert_eq!(json["outcome"], "invalid");
    assert_eq!(json["trust"], "published");
    assert_eq!(json["records"], 6);
    assert_eq!(json["findings"][1]["kind"], "gap");
    assert_eq!(json["findings"][1]["source"], SOURCE.to_string());
    assert_eq!((&json["findings"][1]["from"], &json["findings"][1]["to"]), (&9.into(), &10.into()));
}

#[test]
fn a_range_is_the_sum_of_its_counts() {
    let mut writer = Writer::new();
    let (_, mut manifest) = writer.manifest(2);
    assert!(serde_json::to_string(&manifest).unwrap().contains(r#""dropped":0,"intents":1}"#));
    manifest.sources[0].intents += 1;
    assert!(matches!(manifest.seal(&writer.signer), Err(MakeError::Rule(_))));
    manifest.sources[0].intents = u64::MAX;
    assert!(matches!(manifest.seal(&writer.signer), Err(MakeError::Rule(_))), "and does not overflow");

    // A manifest without intents is to the byte what it was before there were any.
    writer.index = 1;
    let (_, manifest) = writer.manifest(2);
    assert!(serde_json::to_string(&manifest).unwrap().contains(r#""dropped":1}"#));
}

/// A trail that was added when its collector had events already: they are none of its business, and no gap.
#[test]
fn a_trail_may_begin_later_than_a_source() {
    let begun = |before: u64, at: u64| {
        let mut writer = Writer { next: at, ..Writer::new() };
        writer.write(2, |manifest| manifest.events_before = before);
        writer.write(2, |_| ());
        run(&writer.bucket, &Options::default(), &())
    };
    assert_eq!(begun(0, 1).outcome(), Outcome::Valid);
    assert_eq!(begun(100, 1).outcome(), Outcome::Valid, "a source that began after the trail");
    assert_eq!(begun(100, 101).outcome(), Outcome::Valid);
    // More is left out than there was.
    for (before, at) in [(100, 102), (0, 2)] {
        let report = begun(before, at);
        let gap = Kind::Gap { source: SOURCE, from: 1, to: at - 1 };
        assert_eq!(report.findings.iter().map(|it| &it.kind).collect::<Vec<_>>(), [&gap], "{before} {at}");
    }
    // After its first range a source has to go on without a gap, here as anywhere.
    let mut writer = Writer { next: 50, ..Writer::new() };
    writer.write(2, |manifest| manifest.events_before = 100);
    writer.next += 1;
    writer.write(2, |_| ());
    let report = run(&writer.bucket, &Options::default(), &());
    let gap = Kind::Gap { source: SOURCE, from: 54, to: 54 };
    assert_eq!(report.findings.iter().map(|it| &it.kind).collect::<Vec<_>>(), [&gap]);
}

#[test]
fn a_trail_may_be_gone_for_a_while() {
    // Two events are not in the chain after each of its manifests, and the third and fourth say of so many.
    let gone = |before: [u64; 2]| {
        let mut writer = Writer::new();
        for before in [0, 0, before[0], before[1]] {
            writer.next += if writer.index > 1 { 2 } else { 0 };
            writer.write(2, |manifest| manifest.events_before = before);
        }
        run(&writer.bucket, &Options::default(), &())
    };
    assert_eq!(gone([2, 2]).outcome(), Outcome::Valid);
    // What one says is no excuse for what another leaves out, and no more is excused than it says.
    for (before, gaps) in [([0, 2], 1), ([4, 0], 1), ([1, 9], 1), ([0, 0], 2)] {
        let report = gone(before);
        let found = report.findings.iter().filter(|it| matches!(it.kind, Kind::Gap { .. })).count();
        assert_eq!((found, report.findings.len()), (gaps, gaps), "{before:?}: {report:?}");
    }
}
