//! A bucket of realistic records: log files and manifests as collectors write them.
//!
//! Twelve services with some hundred actions, of which few are frequent and most are rare, as are callers, addresses and
//! resources. Two thirds are management events. About 1,150 bytes a record, and 16 MiB of content a file, as the
//! collector rotates by default.

use std::path::Path;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;

use anyhow::{Context, Result};
use bytes::Bytes;
use jiff::{SignedDuration, Timestamp};
use sidetrail_archive::key::{Account, Home, Id, Region, Trail};
use sidetrail_archive::log::LogWriter;
use sidetrail_archive::manifest::{Chain, Manifest, PublishedKey, Source};
use sidetrail_archive::sign::Ed25519Signer;
use sidetrail_archive::store::Store;

pub(crate) const ACCOUNT: &str = "123456789012";
pub(crate) const REGION: &str = "eu-central-1";
/// Content of a log file.
const FILE: u64 = 16 << 20;
/// Events per second of history.
const RATE: u64 = 4;

const SERVICES: [&str; 12] = [
    "orders",
    "users",
    "billing",
    "inventory",
    "search",
    "mail",
    "reports",
    "auth",
    "files",
    "pricing",
    "audit",
    "gateway",
];
const VERBS: [&str; 8] = ["Get", "List", "Create", "Update", "Delete", "Refund", "Approve", "Export"];
const NOUNS: [&str; 9] =
    ["Order", "User", "Invoice", "Item", "Address", "Template", "Session", "Document", "Price"];

/// A small generator of numbers, so that each record follows from its number.
#[derive(Clone, Copy)]
pub(crate) struct Draw(u64);

impl Draw {
    pub(crate) fn of(number: u64) -> Self {
        Self(number.wrapping_add(1).wrapping_mul(0x9e37_79b9_7f4a_7c15))
    }

    fn next(&mut self) -> u64 {
        // SplitMix64.
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    /// A number below `count`; small ones are frequent.
    fn skewed(&mut self, count: u64) -> u64 {
        let unit = (self.next() >> 11) as f64 / (1_u64 << 53) as f64;
        ((count as f64).powf(unit) - 1.0) as u64 % count
    }

    fn below(&mut self, count: u64) -> u64 {
        self.next() % count
    }
}

/// What a look-up asks for, of the record with this number.
#[derive(Debug)]
pub(crate) struct Facts {
    pub(crate) id: String,
    pub(crate) name: String,
    pub(crate) source: String,
    pub(crate) user: String,
    pub(crate) key: String,
    pub(crate) kind: String,
    pub(crate) resource: String,
    pub(crate) read_only: bool,
}

/// The facts of a record, and the record.
pub(crate) fn record(number: u64, at: Timestamp, text: &mut String) -> Facts {
    use std::fmt::Write;
    let mut draw = Draw::of(number);
    let service = SERVICES[draw.skewed(12) as usize];
    let action = draw.skewed(72);
    let (verb, noun) = (VERBS[(action % 8) as usize], NOUNS[(action / 8) as usize]);
    let read_only = action % 8 < 2;
    let user = draw.skewed(5000);
    let resource = draw.skewed(400_000);
    let (a, b) = (draw.next(), draw.next());
    let management = draw.below(3) < 2;
    let failed = draw.below(20) == 0;
    let (network, host) = (draw.skewed(200), draw.below(250));
    let facts = Facts {
        id: format!(
            "{:08x}-{:04x}-4{:03x}-8{:03x}-{:012x}",
            a >> 32,
            a & 0xffff,
            a >> 16 & 0xfff,
            b >> 48 & 0xfff,
            b & 0xffff_ffff_ffff
        ),
        name: format!("{verb}{noun}"),
        source: format!("{service}.example.com"),
        user: format!("user-{user}"),
        key: format!("AKIA{user:016X}"),
        kind: format!("AWS::{service}::{noun}"),
        resource: format!("{resource}"),
        read_only,
    };
    let Facts { id, name, source, user, key, kind, resource, .. } = &facts;
    text.clear();
    let _ = write!(
        text,
        r#"{{"eventVersion":"1.11","userIdentity":{{"type":"IAMUser","principalId":"AIDA{key}","arn":"arn:aws:iam::{ACCOUNT}:user/{user}","accountId":"{ACCOUNT}","accessKeyId":"{key}","userName":"{user}","sessionContext":{{"attributes":{{"creationDate":"2026-01-15T10:40:02Z","mfaAuthenticated":"false"}}}}}},"eventTime":"{}","eventSource":"{source}","eventName":"{name}","awsRegion":"{REGION}","sourceIPAddress":"10.{}.{network}.{host}","userAgent":"Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/142.0.0.0 Safari/537.36","#,
        at.strftime("%Y-%m-%dT%H:%M:%SZ"),
        network % 7
    );
    if failed {
        text.push_str(r#""errorCode":"AccessDenied","errorMessage":"the caller may not do this","#);
    }
    let _ = write!(
        text,
        r#""requestParameters":{{"{service}Id":"{resource}","warehouse":"w-{}","note":"left at the {} door by {user}","amount":{},"currency":"EUR","options":{{"express":{},"gift":false}}}},"responseElements":null,"additionalEventData":{{"httpStatus":{},"httpRoute":"/{service}/{{id}}","durationMs":{},"traceparent":"00-{a:016x}{b:016x}-{b:016x}-01","sidetrail":{{"source":"0b7c6a52-9f7e-4c0b-9d0e-2f6d0f1c9a11","sequence":{}}}}},"requestID":"{b:016x}{a:016x}","eventID":"{id}","readOnly":{read_only},"resources":[{{"accountId":"{ACCOUNT}","type":"{kind}","ARN":"arn:aws:{service}:{REGION}:{ACCOUNT}:{}/{resource}"}}],"eventType":"AwsApiCall","managementEvent":{management},"recipientAccountId":"{ACCOUNT}","eventCategory":"{}","tlsDetails":{{"tlsVersion":"TLSv1.3","cipherSuite":"TLS_AES_128_GCM_SHA256","clientProvidedHostHeader":"{source}"}}}}"#,
        network % 40,
        ["front", "back", "side", "cellar"][(a % 4) as usize],
        a % 100_000,
        b % 2 == 0,
        if failed { 403 } else { 200 },
        b % 900,
        number + 1,
        noun.to_lowercase(),
        if management { "Management" } else { "Data" }
    );
    facts
}

/// When the record with this number happened, of `count`.
pub(crate) fn time(number: u64, count: u64, end: Timestamp) -> Timestamp {
    let before = SignedDuration::from_secs(i64::try_from((count - number) / RATE).unwrap_or(0));
    end.saturating_sub(before).unwrap_or(end)
}

/// Fills the directory with `count` events up to `end`, on all cores.
pub(crate) fn fill(directory: &Path, count: u64, end: Timestamp) -> Result<()> {
    std::fs::create_dir_all(directory)?;
    let store = Store::open(directory.to_str().context("a path")?, &|_| None)?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let signer = Ed25519Signer::generate()?;
    let home = Home::new(None, Account::new(ACCOUNT)?);
    let (key, object) = PublishedKey::seal(home.clone(), &signer)?;
    runtime.block_on(store.put_create(&key.to_string(), Bytes::from(object)))?;
    let per_file = 14_500;
    let next = AtomicU64::new(0);
    let failed = Mutex::new(None);
    thread::scope(|scope| {
        for _ in 0..thread::available_parallelism().map_or(1, usize::from) {
            scope.spawn(|| {
                loop {
                    let file = next.fetch_add(1, Ordering::Relaxed);
                    let first = file * per_file;
                    if first >= count {
                        return;
                    }
                    let last = (first + per_file).min(count);
                    if let Err(error) = write(directory, &home, &signer, file, first..last, count, end) {
                        *failed.lock().unwrap_or_else(std::sync::PoisonError::into_inner) = Some(error);
                        return;
                    }
                }
            });
        }
    });
    failed.into_inner().unwrap_or_else(std::sync::PoisonError::into_inner).map_or(Ok(()), Err)
}

fn write(
    directory: &Path,
    home: &Home,
    signer: &Ed25519Signer,
    file: u64,
    numbers: std::ops::Range<u64>,
    count: u64,
    end: Timestamp,
) -> Result<()> {
    let (mut log, mut text) = (LogWriter::new()?, String::new());
    for number in numbers.clone() {
        record(number, time(number, count, end), &mut text);
        log.push(text.as_bytes())?;
    }
    debug_assert!(log.content_size() < 2 * FILE, "files are about as large as by default");
    let log = log.finish()?;
    let collector: Id =
        "0b7c6a52-9f7e-4c0b-9d0e-2f6d0f1c9a11".parse().map_err(|_| anyhow::anyhow!("an id"))?;
    // A chain for each file: history does not look at chains, and files are written in no order.
    let chain = Chain { collector, trail: Trail::new(format!("bench-{file}"))?, index: 0, previous: None };
    let records = log.records;
    let source = Source {
        source: collector,
        service: "bench".to_owned(),
        instance: "bench".to_owned(),
        collector: None,
        first: 1,
        last: records,
        recorded: records,
        filtered: 0,
        dropped: 0,
        intents: 0,
    };
    let (oldest, newest) = (time(numbers.start, count, end), time(numbers.end - 1, count, end));
    let delivered = newest.saturating_add(SignedDuration::from_secs(60))?;
    let manifest = Manifest::new(
        home.clone(),
        Region::new(REGION)?,
        delivered,
        chain,
        Some(&log),
        Some((oldest, newest)),
        vec![source],
    );
    // Not by the store, which syncs each file: these may be made again.
    for (key, bytes) in [
        (manifest.manifest.log().to_string(), log.bytes),
        (manifest.manifest.to_string(), manifest.seal(signer)?),
    ] {
        let path = directory.join(key);
        std::fs::create_dir_all(path.parent().context("a directory")?)?;
        std::fs::write(path, bytes)?;
    }
    Ok(())
}
