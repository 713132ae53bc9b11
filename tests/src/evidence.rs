//! Archives with digests, made without a collector: so many periods, in several regions, at any time of the past.
//!
//! What a collector would write is written through `sidetrail_archive` as it does, and digests are written by the
//! [`Digester`] itself, on a clock that the caller sets. It takes a second or two for a day of periods.

use std::sync::Arc;

use anyhow::{Context, Result};
use jiff::{SignedDuration, Timestamp};
use sidetrail_archive::digest::{Cadence, Commitment, Digester, Done, Settings};
use sidetrail_archive::hash::Sha256;
use sidetrail_archive::key::{Account, DigestKey, Home, Id, LogKey, ManifestKey, OrgId, Region, Trail};
use sidetrail_archive::log::{LogFile, LogWriter};
use sidetrail_archive::manifest::{Chain, Manifest, PublishedKey, Source};
use sidetrail_archive::sign::{
    DigestSigner, Ed25519Signer, PublicKey, RsaPublicKey, RsaSigner, Signer as _, generate_rsa_pem,
};
use sidetrail_archive::store::Store;

/// What the archive holds. Change what matters to the test.
#[derive(Debug, Clone)]
pub struct Plan {
    /// The start of the first period, a multiple of the cadence.
    pub start: Timestamp,
    /// How long periods are.
    pub cadence: SignedDuration,
    /// How many periods have a digest.
    pub periods: u32,
    /// The regions; the first one is the trail's home.
    pub regions: Vec<String>,
    /// The trail.
    pub trail: String,
    /// What digests call the bucket, where it is another than the store's.
    pub bucket: Option<String>,
    /// The account.
    pub account: String,
    /// The organization, for an organization trail.
    pub organization: Option<String>,
    /// Collectors in each region.
    pub collectors: u32,
    /// Log files of each collector in each period.
    pub files: u32,
    /// Records in each.
    pub records: u32,
    /// Bytes of a record, about, at least some 300.
    pub record_bytes: usize,
    /// Periods that nothing was delivered in, counted from 0.
    pub empty: Vec<u32>,
    /// Periods whose last log file comes when their digest is written already. Not the last one.
    pub late: Vec<u32>,
    /// Periods from which on a new key signs, each announced by the one before.
    pub rotations: Vec<u32>,
    /// Periods in which each chain has a manifest without a log file, too.
    pub without_log_file: Vec<u32>,
}

impl Default for Plan {
    /// 26 hours of the 15th of January 2026 in two regions, with an empty period, a late file and a new key.
    fn default() -> Self {
        Self {
            start: "2026-01-15T00:00:00Z".parse().unwrap_or(Timestamp::UNIX_EPOCH),
            cadence: SignedDuration::from_hours(1),
            periods: 26,
            regions: vec!["eu-central-1".to_owned(), "us-east-1".to_owned()],
            trail: "default".to_owned(),
            bucket: None,
            account: "123456789012".to_owned(),
            organization: None,
            collectors: 2,
            files: 2,
            records: 3,
            record_bytes: 600,
            empty: vec![5],
            late: vec![9],
            rotations: vec![13],
            without_log_file: vec![3],
        }
    }
}

/// What was made.
#[derive(Debug)]
pub struct Made {
    /// Where the account's evidence lies.
    pub home: Home,
    /// The trail.
    pub trail: Trail,
    /// Its home region.
    pub home_region: Region,
    /// The bucket's name in digests.
    pub bucket: String,
    /// The keys of digests, oldest first.
    pub digest_keys: Vec<RsaPublicKey>,
    /// The same, to sign with: what a thief of the key could do.
    pub signers: Signers,
    /// The same as PEM files.
    pub private_keys: Vec<String>,
    /// The keys of all collectors.
    pub manifest_keys: Vec<PublicKey>,
    /// Who wrote each chain.
    pub collectors: Vec<Maker>,
    /// All digests, by region and end.
    pub digests: Vec<DigestKey>,
    /// All manifests and their log files, by region, period, collector.
    pub batches: Vec<Batch>,
    /// The end of the last period.
    pub end: Timestamp,
}

impl Made {
    /// The ARN to give to `aws cloudtrail validate-logs`.
    #[must_use]
    pub fn trail_arn(&self) -> String {
        format!("arn:aws:cloudtrail:{}:{}:trail/{}", self.home_region, self.home.account, self.trail)
    }

    /// Public keys of both kinds as a PEM file.
    #[must_use]
    pub fn key_file(&self) -> String {
        let digests = self.digest_keys.iter().map(RsaPublicKey::to_pem);
        digests.chain(self.manifest_keys.iter().map(PublicKey::to_pem)).collect()
    }
}

/// A manifest that was made.
#[derive(Debug, Clone)]
pub struct Batch {
    /// The period it belongs to.
    pub period: u32,
    /// Whether it was stored after that period's digest.
    pub late: bool,
    /// The manifest.
    pub manifest: ManifestKey,
    /// Its log file, if it has one.
    pub log: Option<LogKey>,
    /// Its chain and index.
    pub chain: (Id, u64),
    /// The sequence numbers of its source: the chain's id is the source's.
    pub sequence: (u64, u64),
}

/// A collector as far as its objects are concerned.
#[derive(Debug)]
pub struct Maker {
    /// Its id, and that of its only source.
    pub id: Id,
    /// What it signs with.
    pub signer: Ed25519Signer,
    region: Region,
    index: u64,
    previous: Option<Sha256>,
    sequence: u64,
}

/// A plan and what makes it come true.
struct Making<'a> {
    store: &'a Store,
    plan: &'a Plan,
    home: Home,
    trail: Trail,
}

/// Makes an archive in an empty place.
///
/// # Errors
///
/// When the plan makes no sense, or something could not be stored.
pub async fn make(store: &Store, plan: &Plan) -> Result<Made> {
    make_with(store, plan, |_| None, |_, _| Ok(())).await
}

/// The same, with a commitment for the digests of each region. `done` is called with each region and period once its digest
/// is stored.
///
/// # Errors
///
/// As [`make`], and if `done` fails.
pub async fn make_with(
    store: &Store,
    plan: &Plan,
    commitment: impl Fn(&Region) -> Option<Box<dyn Commitment>>,
    mut done: impl FnMut(&Region, u32) -> Result<()>,
) -> Result<Made> {
    let home = Home {
        prefix: store.prefix().cloned(),
        organization: plan.organization.as_ref().map(OrgId::new).transpose()?,
        account: Account::new(plan.account.clone())?,
    };
    let (private_keys, signers) = signers(plan.rotations.len() + 1)?;
    let making = Making { store, plan, home: home.clone(), trail: Trail::new(plan.trail.clone())? };
    let regions = plan.regions.iter().map(Region::new).collect::<Result<Vec<_>, _>>()?;
    let home_region = regions.first().context("a plan has a region")?.clone();
    let mut made = Made {
        home,
        trail: making.trail.clone(),
        home_region: home_region.clone(),
        bucket: String::new(),
        digest_keys: signers.iter().map(|signer| signer.public_key().clone()).collect(),
        signers,
        private_keys,
        manifest_keys: Vec::new(),
        collectors: Vec::new(),
        digests: Vec::new(),
        batches: Vec::new(),
        end: plan.start,
    };
    for region in &regions {
        let mut settings = Settings::new(store, made.home.clone(), region.clone(), made.trail.clone());
        settings.home_region = home_region.clone();
        settings.cadence = Cadence::new(plan.cadence)?;
        if let Some(bucket) = &plan.bucket {
            settings.bucket.clone_from(bucket);
        }
        made.bucket.clone_from(&settings.bucket);
        making
            .region(&mut made, settings, &commitment, &mut done)
            .await
            .with_context(|| format!("in {region}"))?;
    }
    Ok(made)
}

impl Making<'_> {
    async fn region(
        &self,
        made: &mut Made,
        settings: Settings,
        commitment: &impl Fn(&Region) -> Option<Box<dyn Commitment>>,
        done: &mut impl FnMut(&Region, u32) -> Result<()>,
    ) -> Result<()> {
        let plan = self.plan;
        let mut makers = Vec::new();
        for _ in 0..plan.collectors {
            makers.push(self.maker(&settings.region).await?);
        }
        made.manifest_keys.extend(makers.iter().map(|maker| maker.signer.public_key().clone()));
        let mut keys = 1;
        let mut digester = self.digester(&settings, &made.signers[..keys], commitment);
        let mut late = Vec::new();
        for period in 0..plan.periods {
            let start = plan.start + plan.cadence * i32::try_from(period)?;
            made.end = start + plan.cadence;
            if plan.rotations.contains(&period) {
                keys += 1;
                digester = self.digester(&settings, &made.signers[..keys], commitment);
            }
            for (store, batch) in late.drain(..) {
                self.put(store).await?;
                made.batches.push(batch);
            }
            if !plan.empty.contains(&period) {
                for (number, maker) in makers.iter_mut().enumerate() {
                    let batches = self.period(maker, period, start)?;
                    let last = batches.len().saturating_sub(1);
                    for (at, (objects, mut batch)) in batches.into_iter().enumerate() {
                        batch.late = number == 0 && at == last && plan.late.contains(&period);
                        if batch.late {
                            late.push((objects, batch));
                        } else {
                            self.put(objects).await?;
                            made.batches.push(batch);
                        }
                    }
                }
            }
            let now = made.end + settings.settle;
            match digester.step(now).await?.done {
                Done::Wrote(summary) => made.digests.push(summary.object),
                other => anyhow::bail!("the digester did {other:?} for the period that ends at {}", made.end),
            }
            done(&settings.region, period)?;
        }
        made.collectors.extend(makers);
        Ok(())
    }

    fn digester(
        &self,
        settings: &Settings,
        signers: &[Arc<dyn DigestSigner>],
        commitment: &impl Fn(&Region) -> Option<Box<dyn Commitment>>,
    ) -> Digester {
        let digester = Digester::new(self.store.clone(), settings.clone(), signers.to_vec());
        match commitment(&settings.region) {
            Some(commitment) => digester.with_commitment(commitment),
            None => digester,
        }
    }

    async fn maker(&self, region: &Region) -> Result<Maker> {
        let signer = Ed25519Signer::generate()?;
        let (key, bytes) = PublishedKey::seal(self.home.clone(), &signer)?;
        self.store.put_create(&key.to_string(), bytes.into()).await?;
        // As random as the key, and of a form that is an id.
        let mut id = [0; 16];
        id.copy_from_slice(&Sha256::of(signer.public_key().to_spki().as_slice()).as_bytes()[..16]);
        Ok(Maker { id: Id(id), signer, region: region.clone(), index: 0, previous: None, sequence: 0 })
    }

    /// The objects of a period, in the order in which they are stored.
    fn period(&self, maker: &mut Maker, period: u32, start: Timestamp) -> Result<Vec<(Objects, Batch)>> {
        let plan = self.plan;
        let files = plan.files + u32::from(plan.without_log_file.contains(&period));
        let apart = plan.cadence / i32::try_from(files.max(1))?;
        let file = |number| {
            let at = start + apart * i32::try_from(number)?;
            let records = if number < plan.files { plan.records } else { 0 };
            self.batch(maker, period, at, records)
        };
        (0..files).map(file).collect()
    }

    fn batch(&self, maker: &mut Maker, period: u32, at: Timestamp, records: u32) -> Result<(Objects, Batch)> {
        let first = maker.sequence + 1;
        let mut writer = LogWriter::new()?;
        for number in 0..u64::from(records) {
            writer.push(self.record(maker, at, first + number).as_bytes())?;
        }
        let log: Option<LogFile> = (records > 0).then(|| writer.finish()).transpose()?;
        // One more event, which the trail did not select: so each batch has a range.
        let last = first + u64::from(records);
        let source = Source {
            source: maker.id,
            service: "orders.example.com".to_owned(),
            instance: "orders-1".to_owned(),
            collector: None,
            first,
            last,
            recorded: u64::from(records),
            filtered: 1,
            dropped: 0,
            intents: 0,
        };
        let chain = Chain {
            collector: maker.id,
            trail: self.trail.clone(),
            index: maker.index,
            previous: maker.previous,
        };
        let events = log.as_ref().map(|_| (at, at));
        let (home, region) = (self.home.clone(), maker.region.clone());
        let manifest = Manifest::new(home, region, at, chain, log.as_ref(), events, vec![source]);
        let bytes = manifest.seal(&maker.signer)?;
        maker.previous = Some(Sha256::of(&bytes));
        let batch = Batch {
            period,
            late: false,
            manifest: manifest.manifest.clone(),
            log: log.as_ref().map(|_| manifest.manifest.log()),
            chain: (maker.id, maker.index),
            sequence: (first, last),
        };
        maker.index += 1;
        maker.sequence = last;
        let log = log.map(|log| (manifest.manifest.log().to_string(), log.bytes));
        Ok((Objects { manifest: (manifest.manifest.to_string(), bytes), log }, batch))
    }

    fn record(&self, maker: &Maker, at: Timestamp, sequence: u64) -> String {
        let (account, region) = (&self.home.account, &maker.region);
        let id = Sha256::of(format!("{}/{sequence}", maker.id).as_bytes()).to_string();
        let (a, b, c, d, e) = (&id[..8], &id[8..12], &id[12..16], &id[16..20], &id[20..32]);
        let at = at.strftime("%Y-%m-%dT%H:%M:%SZ");
        let record = format!(
            r#"{{"eventVersion":"1.11","userIdentity":{{"type":"AssumedRole","principalId":"AROA:clerk-{}","accountId":"{account}"}},"eventTime":"{at}","eventSource":"orders.example.com","eventName":"GetOrder","awsRegion":"{region}","sourceIPAddress":"192.0.2.7","userAgent":"curl/8.5.0","requestParameters":{{"id":"{sequence}"}},"responseElements":null,"eventID":"{a}-{b}-{c}-{d}-{e}","readOnly":true,"eventType":"AwsApiCall","managementEvent":false,"recipientAccountId":"{account}","eventCategory":"Data""#,
            sequence % 7,
        );
        // What it takes to the size that was asked for, hard to compress like the ids in real records.
        let rest = self.plan.record_bytes.saturating_sub(record.len() + 40);
        let mut filling = String::new();
        while filling.len() < rest {
            filling.push_str(&Sha256::of(format!("{id}{}", filling.len()).as_bytes()).to_string());
        }
        filling.truncate(rest);
        format!(r#"{record},"additionalEventData":{{"filling":"{filling}"}}}}"#)
    }

    async fn put(&self, Objects { manifest, log }: Objects) -> Result<()> {
        for (key, bytes) in log.into_iter().chain([manifest]) {
            self.store.put_create(&key, bytes.into()).await?;
        }
        Ok(())
    }
}

/// A batch as it is stored: names and bytes.
struct Objects {
    manifest: (String, Vec<u8>),
    log: Option<(String, Vec<u8>)>,
}

/// New keys for digests, as PEM and to sign with.
fn signers(count: usize) -> Result<(Vec<String>, Signers)> {
    let signer = |_| {
        let pem = generate_rsa_pem(2048, None)?;
        let signer = RsaSigner::from_pem(&pem)?;
        Ok((pem.to_string(), Arc::new(signer) as Arc<dyn DigestSigner>))
    };
    (0..count).map(signer).collect()
}

/// Keys of digests, to sign with.
pub type Signers = Vec<Arc<dyn DigestSigner>>;
