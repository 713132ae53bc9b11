//! Writes a small archive as a collector does.

use std::fs;
use std::io::Write as _;
use std::path::{Path, PathBuf};

use flate2::Compression;
use flate2::write::GzEncoder;
use sidetrail_archive::hash::Sha256;
use sidetrail_archive::key::{Account, Home, Id, Region, Trail};
use sidetrail_archive::log::LogWriter;
use sidetrail_archive::manifest::{Chain, Manifest, PublishedKey, Source};
use sidetrail_archive::sign::{Ed25519Signer, Signer};
use tempfile::TempDir;

/// Records of one log file.
pub(crate) const PER_FILE: u64 = 2;
pub(crate) const FILES: u64 = 3;

/// Three log files of two records, delivered an hour after the other from 11:00 on 15 January 2026, each record an hour
/// before its delivery.
pub(crate) struct Archive {
    pub(crate) directory: TempDir,
    pub(crate) signer: Ed25519Signer,
    pub(crate) key: String,
    pub(crate) logs: Vec<String>,
    pub(crate) manifests: Vec<String>,
    pub(crate) records: Vec<String>,
}

pub(crate) fn archive() -> Archive {
    let signer = Ed25519Signer::generate().unwrap();
    let home = Home::new(None, Account::new("111122223333").unwrap());
    let (key, bytes) = PublishedKey::seal(home.clone(), &signer).unwrap();
    let mut archive = Archive {
        directory: tempfile::tempdir().unwrap(),
        signer,
        key: key.to_string(),
        logs: Vec::new(),
        manifests: Vec::new(),
        records: Vec::new(),
    };
    archive.put(&key.to_string(), &bytes);
    let mut previous = None;
    for index in 0..FILES {
        let mut log = LogWriter::new().unwrap();
        for number in 0..PER_FILE {
            let record = record(index, number);
            log.push(record.as_bytes()).unwrap();
            archive.records.push(record);
        }
        let log = log.finish().unwrap();
        let chain =
            Chain { collector: Id([0xc0; 16]), trail: Trail::new("default").unwrap(), index, previous };
        let source = Source {
            collector: None,
            source: Id([0x51; 16]),
            service: "shop".to_owned(),
            instance: "shop-1".to_owned(),
            first: index * (PER_FILE + 3) + 1,
            last: (index + 1) * (PER_FILE + 3),
            recorded: PER_FILE,
            filtered: 1,
            dropped: 0,
            intents: 2,
        };
        let region = Region::new("us-east-1").unwrap();
        let at = format!("2026-01-15T{}:00:30Z", 11 + index).parse().unwrap();
        let manifest =
            Manifest::new(home.clone(), region, at, chain, Some(&log), Some((at, at)), vec![source]);
        let bytes = manifest.seal(&archive.signer).unwrap();
        previous = Some(Sha256::of(&bytes));
        archive.put(&manifest.manifest.log().to_string(), &log.bytes);
        archive.put(&manifest.manifest.to_string(), &bytes);
        archive.logs.push(manifest.manifest.log().to_string());
        archive.manifests.push(manifest.manifest.to_string());
    }
    archive
}

/// Values that a parser on the way would change.
fn record(index: u64, number: u64) -> String {
    format!(
        r#"{{"eventTime":"2026-01-15T{}:00:00Z","eventID":"{index}-{number}","n":1.10,"e":1E+2,"u":"\u00e9 \/","z":null,"z":2}}"#,
        10 + index
    )
}

pub(crate) fn gzip(content: &[u8]) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
    encoder.write_all(content).unwrap();
    encoder.finish().unwrap()
}

impl Archive {
    pub(crate) fn root(&self) -> &Path {
        self.directory.path()
    }

    pub(crate) fn path(&self, key: &str) -> PathBuf {
        self.root().join(key)
    }

    pub(crate) fn put(&self, key: &str, bytes: &[u8]) {
        let path = self.path(key);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, bytes).unwrap();
    }

    /// Flips a bit in the middle.
    pub(crate) fn flip(&self, key: &str) {
        let mut bytes = fs::read(self.path(key)).unwrap();
        let middle = bytes.len() / 2;
        bytes[middle] ^= 1;
        fs::write(self.path(key), bytes).unwrap();
    }

    /// The public key in a file of its own, outside of the bucket.
    pub(crate) fn keys(&self) -> tempfile::NamedTempFile {
        let mut file = tempfile::NamedTempFile::new().unwrap();
        file.write_all(self.signer.public_key().to_pem().as_bytes()).unwrap();
        file
    }
}
