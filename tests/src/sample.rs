//! An archive with digests as a collector and a digest writer leave it, made without either: quickly, at any time of the past,
//! and with whatever has to be in it. What is signed and how is `archive`'s own, so that only the order of things is made here.

use std::collections::BTreeMap;

use anyhow::{Context, Result};
use jiff::{SignedDuration, Timestamp};
use sidetrail_archive::digest::{
    CertifiedKey, ChainRange, Digest, LoggedFile, Metadata, Opened, Previous, PublishedDigestKey,
    SourceRange, Statement,
};
use sidetrail_archive::hash::Sha256;
use sidetrail_archive::key::{Account, DigestKey, Home, Id, Region, Second, Trail};
use sidetrail_archive::log::LogWriter;
use sidetrail_archive::manifest::{Chain, LogEntry, Manifest, PublishedKey, Source};
use sidetrail_archive::sign::{DigestSigner, Ed25519Signer, RsaSigner, Signer};

/// Two keys that nobody trusts.
const DIGEST_KEYS: [&str; 2] = [
    include_str!("../../crates/archive/testdata/digest/key-a.pem"),
    include_str!("../../crates/archive/testdata/digest/key-b.pem"),
];

/// The account of the archive.
pub const ACCOUNT: &str = "111122223333";

/// Its trail.
pub const TRAIL: &str = "demo-trail";

/// An object, with what S3 keeps beside it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Object {
    /// Its bytes.
    pub bytes: Vec<u8>,
    /// Its metadata.
    pub metadata: BTreeMap<String, String>,
}

/// A bucket in memory, by key.
pub type Objects = BTreeMap<String, Object>;

/// What is to be made.
#[derive(Clone, Debug)]
pub struct Plan {
    /// The bucket that digests name.
    pub bucket: String,
    /// The regions; the first is the home region.
    pub regions: Vec<&'static str>,
    /// The start of the first period.
    pub start: Timestamp,
    /// How long a period is.
    pub cadence: SignedDuration,
    /// How many periods there are.
    pub periods: u64,
    /// Log files of a period.
    pub files: u64,
    /// Bytes of content of a log file, roughly.
    pub content: usize,
    /// Periods without anything.
    pub empty: Vec<u64>,
    /// The last file of this period comes after its digest, and is in the next.
    pub late: Option<u64>,
    /// From this period on digests are signed by another key.
    pub rotation: Option<u64>,
}

/// What is made.
#[derive(Debug)]
pub struct Sample {
    plan: Plan,
    home: Home,
    trail: Trail,
    /// Signs manifests.
    pub collector: Ed25519Signer,
    /// Sign digests, the first first.
    pub digests: Vec<RsaSigner>,
    records: u64,
}

/// A region's chain of manifests and digests.
struct State {
    region: Region,
    collector: Id,
    source: Id,
    index: u64,
    previous: Option<Sha256>,
    next: u64,
    digest: Option<Previous>,
    /// Manifests that no digest covers: index, what it was signed over, and its hash.
    open: Vec<(Manifest, Sha256)>,
}

impl Sample {
    /// Begins.
    ///
    /// # Errors
    ///
    /// When keys cannot be made.
    pub fn new(plan: Plan) -> Result<Self> {
        Ok(Self {
            plan,
            home: Home::new(None, Account::new(ACCOUNT)?),
            trail: Trail::new(TRAIL)?,
            collector: Ed25519Signer::generate()?,
            digests: DIGEST_KEYS.iter().map(|pem| RsaSigner::from_pem(pem)).collect::<Result<_, _>>()?,
            records: 0,
        })
    }

    /// The trail's ARN.
    #[must_use]
    pub fn arn(&self) -> String {
        format!("arn:aws:cloudtrail:{}:{ACCOUNT}:trail/{TRAIL}", self.plan.regions[0])
    }

    /// The end of the last period.
    #[must_use]
    pub fn end(&self) -> Timestamp {
        self.period(self.plan.periods)
    }

    /// Public keys of both kinds, as `--keys` takes them.
    #[must_use]
    pub fn keys(&self) -> String {
        let digests = self.digests.iter().map(|signer| signer.public_key().to_pem());
        digests.fold(self.collector.public_key().to_pem(), |text, pem| text + &pem)
    }

    fn period(&self, number: u64) -> Timestamp {
        let seconds = self.plan.cadence.as_secs() * i64::try_from(number).unwrap_or(0);
        self.plan.start + SignedDuration::from_secs(seconds)
    }

    fn signer(&self, period: u64) -> &RsaSigner {
        &self.digests[usize::from(self.plan.rotation.is_some_and(|rotation| period >= rotation))]
    }

    /// When the key is in force: the first up to a period after the second begins.
    #[must_use]
    pub fn validity(&self, key: usize) -> (Timestamp, Timestamp) {
        let year = SignedDuration::from_hours(24 * 365);
        match (self.plan.rotation, key) {
            (None, _) => (self.plan.start - year, self.end() + year),
            (Some(rotation), 0) => (self.plan.start - year, self.period(rotation + 1)),
            (Some(rotation), _) => (self.period(rotation.saturating_sub(1)), self.end() + year),
        }
    }

    /// Makes everything; `put` is shown each object, log files before their manifests.
    ///
    /// # Errors
    ///
    /// When something cannot be made, or `put` fails.
    pub fn make(&mut self, put: &mut dyn FnMut(String, Object) -> Result<()>) -> Result<()> {
        let plain = |bytes| Object { bytes, metadata: BTreeMap::new() };
        let (key, bytes) = PublishedKey::seal(self.home.clone(), &self.collector)?;
        put(key.to_string(), plain(bytes))?;
        for key in 0..=usize::from(self.plan.rotation.is_some()) {
            let before = key.checked_sub(1).map(|key| &self.digests[key] as &dyn DigestSigner);
            let validity = self.validity(key);
            let (key, bytes) =
                PublishedDigestKey::seal(self.home.clone(), &self.digests[key], validity, before)?;
            put(key.to_string(), plain(bytes))?;
        }
        for (number, region) in self.plan.regions.clone().into_iter().enumerate() {
            let number = u8::try_from(number)?;
            let mut state = State {
                region: Region::new(region)?,
                collector: Id([0xc0 + number; 16]),
                source: Id([0x51 + number; 16]),
                index: 0,
                previous: None,
                next: 1,
                digest: None,
                open: Vec::new(),
            };
            for period in 0..self.plan.periods {
                self.make_period(period, &mut state, put)?;
            }
        }
        Ok(())
    }

    fn make_period(
        &mut self,
        period: u64,
        state: &mut State,
        put: &mut dyn FnMut(String, Object) -> Result<()>,
    ) -> Result<()> {
        let files = if self.plan.empty.contains(&period) { 0 } else { self.plan.files };
        let step = self.plan.cadence.as_secs() / i64::try_from(files + 1)?;
        for file in 1..=files {
            let at = self.period(period) + SignedDuration::from_secs(step * i64::try_from(file)?);
            let (manifest, bytes, log) = self.file(at, state)?;
            let object = |bytes| Object { bytes, metadata: BTreeMap::new() };
            put(manifest.manifest.log().to_string(), object(log))?;
            let hash = Sha256::of(&bytes);
            put(manifest.manifest.to_string(), object(bytes))?;
            state.open.push((manifest, hash));
        }
        let late = usize::from(self.plan.late == Some(period));
        let covered = state.open.drain(..state.open.len().saturating_sub(late)).collect::<Vec<_>>();
        let (key, object) = self.digest(period, &covered, state)?;
        put(key.to_string(), object)
    }

    fn file(&mut self, at: Timestamp, state: &mut State) -> Result<(Manifest, Vec<u8>, Vec<u8>)> {
        let mut log = LogWriter::new()?;
        while log.content_size() < self.plan.content as u64 || log.records() == 0 {
            let record = record(at, &state.region, state.source, state.next + log.records(), self.records);
            log.push(record.as_bytes())?;
            self.records += 1;
        }
        let log = log.finish()?;
        let last = state.next + log.records - 1;
        let source = Source {
            source: state.source,
            service: "orders.example.com".to_owned(),
            instance: "orders-1".to_owned(),
            collector: None,
            first: state.next,
            last,
            recorded: log.records,
            filtered: 0,
            dropped: 0,
            intents: 0,
        };
        let chain = Chain {
            collector: state.collector,
            trail: self.trail.clone(),
            index: state.index,
            previous: state.previous,
        };
        let home = self.home.clone();
        let manifest =
            Manifest::new(home, state.region.clone(), at, chain, Some(&log), Some((at, at)), vec![source]);
        let bytes = manifest.seal(&self.collector)?;
        state.previous = Some(Sha256::of(&bytes));
        state.index += 1;
        state.next = last + 1;
        Ok((manifest, bytes, log.bytes))
    }

    fn digest(
        &self,
        period: u64,
        covered: &[(Manifest, Sha256)],
        state: &mut State,
    ) -> Result<(DigestKey, Object)> {
        let signer = self.signer(period);
        let (start, end) = (self.period(period), self.period(period + 1));
        let object = DigestKey {
            home: self.home.clone(),
            region: state.region.clone(),
            trail: self.trail.clone(),
            home_region: Region::new(self.plan.regions[0])?,
            end: Second::of(end),
            backfill: false,
        };
        let file = |manifest: &Manifest, log: &LogEntry| LoggedFile {
            bucket: self.plan.bucket.clone(),
            object: log.key.clone(),
            hash: log.content_sha256,
            newest_event_time: manifest.newest_event_time,
            oldest_event_time: manifest.oldest_event_time,
        };
        let mut log_files: Vec<_> = covered
            .iter()
            .filter_map(|(manifest, _)| manifest.log_file.as_ref().map(|log| file(manifest, log)))
            .collect();
        log_files.sort_by_key(|file| file.object.to_string());
        let chains = match (covered.first(), covered.last()) {
            (Some((first, _)), Some((last, sha256))) => vec![ChainRange {
                collector: state.collector,
                trail: self.trail.clone(),
                first: first.chain.index,
                last: last.chain.index,
                previous: first.chain.previous,
                sha256: *sha256,
                sources: vec![SourceRange {
                    source: state.source,
                    first: first.sources[0].first,
                    last: last.sources[0].last,
                }],
            }],
            _ => Vec::new(),
        };
        let keys = if covered.is_empty() {
            Vec::new()
        } else {
            vec![CertifiedKey(self.collector.public_key().clone())]
        };
        let statement = Statement {
            version: Statement::VERSION,
            chains,
            keys,
            tree: None,
            problems: Vec::new(),
            heads: None,
        };
        let digest = Digest {
            account: self.home.account.clone(),
            start,
            end,
            bucket: self.plan.bucket.clone(),
            object: object.clone(),
            fingerprint: signer.public_key().fingerprint(),
            newest_event_time: log_files.iter().filter_map(|file| file.newest_event_time).max(),
            oldest_event_time: log_files.iter().filter_map(|file| file.oldest_event_time).min(),
            previous: state.digest.take(),
            log_files,
            statement: Some(statement),
        };
        let sealed = digest.seal(signer)?;
        let opened = Opened::read(&sealed.bytes).context("a digest that cannot be read")?;
        state.digest = Some(opened.as_previous(sealed.signature.clone()));
        Ok((object, Object { bytes: sealed.bytes, metadata: metadata(&sealed.signature.to_string()) }))
    }
}

/// What S3 keeps beside a digest with this signature.
#[must_use]
pub fn metadata(signature: &str) -> BTreeMap<String, String> {
    let [name, algorithm] = Metadata::NAMES;
    [(name.to_owned(), signature.to_owned()), (algorithm.to_owned(), "SHA256withRSA".to_owned())].into()
}

/// A record as the layer makes them, in size and in what of it repeats.
fn record(at: Timestamp, region: &Region, source: Id, sequence: u64, number: u64) -> String {
    // SplitMix64: what looks like an id has to be as hard to compress.
    let mixed = |salt: u64| {
        let mut mixed = (number ^ salt << 56).wrapping_add(0x9e37_79b9_7f4a_7c15);
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    };
    let (one, two, three) = (mixed(1), mixed(2), mixed(3));
    let (customer, order) = (one % 5_000, two % 100_000);
    format!(
        r#"{{"eventVersion":"1.11","userIdentity":{{"type":"WebIdentityUser","principalId":"https://login.example.com:customer-{customer}","userName":"customer-{customer}","identityProvider":"login.example.com"}},"eventTime":"{at}","eventSource":"orders.example.com","eventName":"GetOrder","awsRegion":"{region}","sourceIPAddress":"198.51.100.{}","userAgent":"Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/14{}.0 Safari/537.36","requestParameters":{{"orderId":"{order}","expand":["lines","customer"],"token":"{two:016x}"}},"responseElements":null,"additionalEventData":{{"route":"/orders/{{id}}","httpStatus":200,"durationMs":{},"traceparent":"00-{one:016x}{two:016x}-{three:016x}-01","sidetrail":{{"source":"{source}","sequence":{sequence}}}}},"requestID":"{three:016x}","eventID":"{:08x}-{:04x}-4{:03x}-8{:03x}-{:012x}","readOnly":true,"resources":[{{"ARN":"arn:aws:orders:{region}:{ACCOUNT}:order/{order}","accountId":"{ACCOUNT}","type":"AWS::Orders::Order"}}],"eventType":"AwsApiCall","managementEvent":false,"recipientAccountId":"{ACCOUNT}","eventCategory":"Data"}}"#,
        one % 250,
        two % 10,
        three % 300,
        one as u32,
        two as u16,
        one >> 52,
        two >> 52,
        three >> 16,
    )
}
