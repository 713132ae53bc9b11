//! Measures what the crate's choices rest on: the level of compression, and the verifier against its floor.
//!
//! `cargo run --release -p sidetrail-archive --example measure [-- MEGABYTES [FILE]]`: writes synthetic records, or those
//! of FILE, one a line, at each level; then makes log files of synthetic ones in a temporary directory and verifies them. Ratios matter; times are of one run on one core.

use std::fmt::Write as _;
use std::io::{Read, Write};
use std::num::NonZeroUsize;
use std::time::Instant;

use flate2::Compression;
use sidetrail_archive::hash::Hasher;
use sidetrail_archive::key::{Account, Home, Id, Region, Trail};
use sidetrail_archive::log::LogWriter;
use sidetrail_archive::manifest::{Chain, Manifest, PublishedKey, Source};
use sidetrail_archive::sign::{Ed25519Signer, Signer};
use sidetrail_archive::source::Directory;
use sidetrail_archive::{hash::Sha256, verify};

type Result<T> = std::result::Result<T, Box<dyn std::error::Error>>;

/// Records of one log file, about 5 MB.
const RECORDS: u64 = 5_000;

fn main() -> Result<()> {
    let megabytes: u64 = std::env::args().nth(1).map_or(Ok(200), |argument| argument.parse())?;
    let root = std::env::temp_dir().join(format!("sidetrail-measure-{}", std::process::id()));
    match std::env::args().nth(2) {
        Some(file) => levels(&std::fs::read_to_string(file)?.lines().map(str::to_owned).collect::<Vec<_>>())?,
        None => levels(&records(0, RECORDS * 10)?)?,
    }
    let written = write(&root, megabytes / 5)?;
    let compared = compare(&root, written);
    std::fs::remove_dir_all(&root)?;
    compared
}

/// Each level over one file of ten times the usual size.
fn levels(records: &[String]) -> Result<()> {
    let content = format!(r#"{{"Records":[{}]}}"#, records.join(","));
    for level in 1..=6 {
        let start = Instant::now();
        let mut encoder = flate2::write::GzEncoder::new(Vec::new(), Compression::new(level));
        encoder.write_all(content.as_bytes())?;
        let size = encoder.finish()?.len();
        let (speed, ratio) = (rate(content.len() as u64, start), size as f64 / content.len() as f64);
        println!("level {level}: {speed:6.0} MB/s, {ratio:.4} of the content");
    }
    Ok(())
}

/// A chain of log files with their manifests; returns the bytes of content.
fn write(root: &std::path::Path, files: u64) -> Result<u64> {
    let signer = Ed25519Signer::generate()?;
    let home = Home::new(None, Account::new("111122223333")?);
    let put = |key: &str, bytes: &[u8]| -> Result<()> {
        let path = root.join(key);
        std::fs::create_dir_all(path.parent().ok_or("no parent")?)?;
        Ok(std::fs::write(path, bytes)?)
    };
    let (key, bytes) = PublishedKey::seal(home.clone(), &signer)?;
    put(&key.to_string(), &bytes)?;
    let (mut previous, mut content) = (None, 0);
    let start = Instant::now();
    for index in 0..files {
        let mut log = LogWriter::new()?;
        for record in records(index * RECORDS, RECORDS)? {
            log.push(record.as_bytes())?;
        }
        let log = log.finish()?;
        content += log.content_size;
        let at = "2026-01-15T11:00:00Z".parse()?;
        let chain = Chain { collector: Id([1; 16]), trail: Trail::new("default")?, index, previous };
        let source = Source {
            source: Id([2; 16]),
            service: "shop".to_owned(),
            instance: "shop-1".to_owned(),
            collector: None,
            first: index * RECORDS + 1,
            last: (index + 1) * RECORDS,
            recorded: RECORDS,
            filtered: 0,
            dropped: 0,
            intents: 0,
        };
        let region = Region::new("us-east-1")?;
        let manifest =
            Manifest::new(home.clone(), region, at, chain, Some(&log), Some((at, at)), vec![source]);
        let bytes = manifest.seal(&signer)?;
        previous = Some(Sha256::of(&bytes));
        put(&manifest.manifest.log().to_string(), &log.bytes)?;
        put(&manifest.manifest.to_string(), &bytes)?;
    }
    println!("write: {:.0} MB/s, records made included", rate(content, start));
    assert_eq!(signer.key_id(), key.id);
    Ok(content)
}

/// The verifier on one thread, against inflating and hashing the same files.
fn compare(root: &std::path::Path, content: u64) -> Result<()> {
    let bucket = Directory::new(root)?;
    let options = verify::Options {
        threads: NonZeroUsize::MIN,
        reads: NonZeroUsize::MIN,
        ..verify::Options::default()
    };
    for _ in 0..3 {
        let start = Instant::now();
        let floor = floor(root)?;
        let alone = start.elapsed();
        let start = Instant::now();
        let report = verify::run(&bucket, &options, &());
        let verified = start.elapsed();
        assert_eq!((report.outcome(), report.totals.content_bytes), (verify::Outcome::Valid, content));
        assert_eq!(floor, content);
        println!(
            "inflate and SHA-256 {:.0} MB/s, verify {:.0} MB/s: {:.2} times",
            content as f64 / alone.as_secs_f64() / 1e6,
            content as f64 / verified.as_secs_f64() / 1e6,
            verified.as_secs_f64() / alone.as_secs_f64()
        );
    }
    Ok(())
}

fn floor(directory: &std::path::Path) -> Result<u64> {
    let mut size = 0;
    for entry in std::fs::read_dir(directory)? {
        let path = entry?.path();
        if path.is_dir() {
            size += floor(&path)?;
        } else if path.extension().is_some_and(|extension| extension == "gz") {
            let stored = std::fs::read(path)?;
            let mut inflater = flate2::bufread::GzDecoder::new(&stored[..]);
            let (mut hasher, mut buffer) = (Hasher::new(), vec![0; 128 << 10]);
            loop {
                match inflater.read(&mut buffer)? {
                    0 => break,
                    read => hasher.update(&buffer[..read]),
                }
            }
            size += hasher.size();
            std::hint::black_box(hasher.finish());
        }
    }
    Ok(size)
}

fn rate(bytes: u64, since: Instant) -> f64 {
    bytes as f64 / since.elapsed().as_secs_f64() / 1e6
}

/// Records of about a kilobyte, of which a fifth or so is random, as identifiers and values are.
fn records(from: u64, count: u64) -> Result<Vec<String>> {
    let mut state = from.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    let mut random = move || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state
    };
    let mut records = Vec::new();
    for number in from..from + count {
        let (user, order, minute) = (random() % 500, random() % 100_000, number / 300 % 60);
        let mut record = String::new();
        write!(
            record,
            r#"{{"eventVersion":"1.11","userIdentity":{{"type":"AssumedRole","principalId":"AROA{user:012}:user-{user}","arn":"arn:aws:sts::111122223333:assumed-role/shop/user-{user}","accountId":"111122223333","sessionContext":{{"attributes":{{"creationDate":"2026-01-15T11:00:00Z","mfaAuthenticated":"false"}}}}}},"eventTime":"2026-01-15T11:{minute:02}:{:02}Z","eventSource":"shop.example.com","eventName":"{}","awsRegion":"us-east-1","sourceIPAddress":"10.{}.{}.{}","userAgent":"Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36","requestParameters":{{"method":"POST","path":"/orders/{order}/items","query":{{"page":"{}"}},"body":{{"sku":"SKU-{:06}","quantity":{},"note":"please \"ring\" twice"}}}},"responseElements":{{"status":201,"itemId":"{:016x}"}},"requestID":"{:016x}{:016x}","eventID":"{:016x}{:016x}","readOnly":false,"eventType":"AwsApiCall","managementEvent":false,"recipientAccountId":"111122223333","eventCategory":"Data"}}"#,
            number / 5 % 60,
            ["CreateItem", "UpdateItem", "GetOrder", "DeleteItem"][(random() % 4) as usize],
            random() % 8,
            random() % 256,
            random() % 256,
            random() % 40,
            random() % 1_000_000,
            random() % 9 + 1,
            random(),
            random(),
            random(),
            random(),
            random()
        )?;
        records.push(record);
    }
    Ok(records)
}
