//! Stored objects of version 1, kept for ever: what was written once must be read, believed, and printed back, by every
//! later version. `testdata/v1` is a bucket, `testdata/v1.pem` the example key of RFC 8410, section 10.3.

#![expect(clippy::unwrap_used, reason = "helpers of tests fail as tests do")]

use std::fs;
use std::ops::ControlFlow;
use std::path::PathBuf;

use sidetrail_archive::dsse::Envelope;
use sidetrail_archive::hash::Sha256;
use sidetrail_archive::key::{Account, Home, Id, ManifestKey, Prefix, Region, Trail};
use sidetrail_archive::log::{LogWriter, MAX_CONTENT, content_digest, read_records};
use sidetrail_archive::manifest::{Chain, Manifest, PublishedKey, Source, Workload};
use sidetrail_archive::sign::{Ed25519Signer, Signer};
use sidetrail_archive::source::Directory;
use sidetrail_archive::verify;

const RECORDS: [&str; 2] = [
    r#"{"eventVersion":"1.11","eventTime":"2026-01-15T11:04:58Z","eventID":"6b1c0d3a-0d5e-4b2f-9f5c-0a4d6f1e2b3c"}"#,
    r#"{"eventVersion":"1.11","eventTime":"2026-01-15T11:05:01Z","eventID":"0f9e8d7c-6b5a-4493-8271-605f4e3d2c1b","errorMessage":"\"]}\" é"}"#,
];

fn testdata(name: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("testdata").join(name)
}

fn read(key: &impl ToString) -> Vec<u8> {
    fs::read(testdata("v1").join(key.to_string())).unwrap()
}

fn signer() -> Ed25519Signer {
    Ed25519Signer::from_pem(&fs::read_to_string(testdata("v1.pem")).unwrap()).unwrap()
}

/// The manifests of the bucket, in order.
fn manifests() -> Vec<Manifest> {
    let directory = "audit/AWSLogs/111122223333/Sidetrail-Manifest/us-east-1/2026/01/15";
    let mut keys: Vec<ManifestKey> = fs::read_dir(testdata("v1").join(directory))
        .unwrap()
        .map(|entry| format!("{directory}/{}", entry.unwrap().file_name().display()).parse().unwrap())
        .collect();
    keys.sort();
    keys.iter().map(|key| Manifest::open(&read(key), &[signer().public_key().clone()]).unwrap()).collect()
}

#[test]
fn version_1_verifies() {
    let bucket = Directory::new(testdata("v1")).unwrap();
    let keys = Some(vec![signer().public_key().clone()]);
    let report = verify::run(&bucket, &verify::Options { keys, ..Default::default() }, &());
    assert_eq!(report.findings, []);
    assert_eq!(report.outcome(), verify::Outcome::Valid);
    assert_eq!((report.log_files, report.manifests, report.keys, report.totals.records), (1, 2, 1, 2));
}

#[test]
fn version_1_reads_as_it_was_written() {
    let manifests = manifests();
    let log_file = manifests[0].log_file.as_ref().unwrap();
    let stored = read(&log_file.key);
    assert_eq!(
        content_digest(&stored, MAX_CONTENT).unwrap(),
        (log_file.content_sha256, log_file.content_size)
    );
    let mut records = Vec::new();
    let outcome = read_records(&stored[..], MAX_CONTENT, |record| {
        records.push(record.to_owned());
        ControlFlow::<()>::Continue(())
    });
    assert_eq!(outcome.unwrap(), ControlFlow::Continue(2));
    assert_eq!(records, RECORDS);

    assert_eq!(manifests[0].sources[0].service, "shop");
    assert_eq!(manifests[0].oldest_event_time.unwrap().to_string(), "2026-01-15T11:04:58Z");
    assert_eq!(manifests[1].log_file, None);
    assert_eq!(manifests[1].chain.previous, Some(Sha256::of(&read(&manifests[0].manifest))));
}

/// The signature is deterministic, so a change in any field's form shows here.
#[test]
fn version_1_is_still_written_byte_for_byte() {
    for manifest in manifests() {
        let stored = read(&manifest.manifest);
        assert_eq!(
            String::from_utf8(manifest.seal(&signer()).unwrap()).unwrap(),
            String::from_utf8(stored).unwrap()
        );
    }
    let (key, bytes) = PublishedKey::seal(manifests()[0].manifest.0.home.clone(), &signer()).unwrap();
    assert_eq!(read(&key), bytes);
    assert_eq!(PublishedKey::open(&bytes).unwrap().public_key, *signer().public_key());
}

/// A member that came later: where the collector runs. What it looks like is kept here for ever, too.
#[test]
fn a_workload_is_the_last_member() {
    let keys = [signer().public_key().clone()];
    let mut manifest = manifests()[0].clone();
    let without = String::from_utf8(dsse_payload(&manifest)).unwrap();
    assert!(!without.contains("workload"));
    manifest.workload = Some(Workload {
        namespace: Some("shop".to_owned()),
        pod: Some("web-7b96576446-xghrz".to_owned()),
        service_account: Some("default".to_owned()),
        uid: Some("24307bca-30ac-4bed-a76a-05b25f1bc62c".to_owned()),
        node: Some("node-1".to_owned()),
    });
    let with = String::from_utf8(dsse_payload(&manifest)).unwrap();
    let expected = r#","workload":{"namespace":"shop","pod":"web-7b96576446-xghrz","serviceAccount":"default","uid":"24307bca-30ac-4bed-a76a-05b25f1bc62c","node":"node-1"}}"#;
    assert_eq!(with, format!("{}{expected}", without.strip_suffix('}').unwrap()));
    assert_eq!(Manifest::open(&manifest.seal(&signer()).unwrap(), &keys).unwrap(), manifest);

    manifest.workload = Some(Workload { node: Some("node-1".to_owned()), ..Workload::default() });
    assert!(
        String::from_utf8(dsse_payload(&manifest)).unwrap().ends_with(r#","workload":{"node":"node-1"}}"#)
    );
    for wrong in [Workload::default(), Workload { pod: Some(String::new()), ..Workload::default() }] {
        manifest.workload = Some(wrong);
        assert!(manifest.seal(&signer()).is_err());
    }
}

/// The payload of a sealed manifest.
fn dsse_payload(manifest: &Manifest) -> Vec<u8> {
    Envelope::read(&manifest.seal(&signer()).unwrap()).unwrap().payload
}

/// How the files came to be. A new version gets files of its own; these are never written again.
#[test]
#[ignore = "writes testdata"]
fn write_version_1() {
    let signer = signer();
    let put = |key: String, bytes: &[u8]| {
        let path = testdata("v1").join(key);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, bytes).unwrap();
    };
    let home = Home::new(Some(Prefix::new("audit").unwrap()), Account::new("111122223333").unwrap());
    let (key, bytes) = PublishedKey::seal(home.clone(), &signer).unwrap();
    put(key.to_string(), &bytes);

    let mut log = LogWriter::new().unwrap();
    RECORDS.iter().for_each(|record| log.push(record.as_bytes()).unwrap());
    let log = log.finish().unwrap();
    let mut previous = None;
    for (index, recorded) in [2, 0].into_iter().enumerate() {
        let chain = Chain {
            collector: Id(*b"collector-number"),
            trail: Trail::new("default").unwrap(),
            index: index as u64,
            previous,
        };
        let source = Source {
            source: Id(*b"source-number-01"),
            service: "shop".to_owned(),
            instance: "shop-7d9f".to_owned(),
            collector: None,
            first: 1 + 4 * index as u64,
            last: 4 + 4 * index as u64,
            recorded,
            filtered: 3 - recorded,
            dropped: 1,
            intents: 0,
        };
        let log = (recorded > 0).then_some(&log);
        let events =
            log.map(|_| ("2026-01-15T11:04:58Z".parse().unwrap(), "2026-01-15T11:05:01Z".parse().unwrap()));
        let at = format!("2026-01-15T11:0{}:59Z", 5 + index).parse().unwrap();
        let region = Region::new("us-east-1").unwrap();
        let manifest = Manifest::new(home.clone(), region, at, chain, log, events, vec![source]);
        let bytes = manifest.seal(&signer).unwrap();
        previous = Some(Sha256::of(&bytes));
        put(manifest.manifest.to_string(), &bytes);
        if let Some(log) = log {
            put(manifest.manifest.log().to_string(), &log.bytes);
        }
    }
}
