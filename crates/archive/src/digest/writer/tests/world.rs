//! Collectors as far as their objects are concerned, a store that fails on demand, and what must hold in the end.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering};

use futures_util::stream::BoxStream;
use futures_util::{StreamExt, TryStreamExt};
use jiff::ToSpan;
use object_store::memory::InMemory;
use object_store::path::Path;
use object_store::{
    CopyOptions, GetOptions, GetResult, ListResult, MultipartUpload, ObjectMeta, ObjectStore,
    PutMultipartOptions, PutOptions, PutPayload, PutResult,
};

use super::*;
use crate::hash::Sha256;
use crate::key::{Account, Home, LogKey, ManifestKey, Region};
use crate::log::LogWriter;
use crate::manifest::{Chain, Manifest, PublishedKey, Source};
use crate::sign::{Ed25519Signer, RsaSigner};

pub(super) fn at(text: &str) -> Timestamp {
    text.parse().unwrap()
}

pub(super) fn home() -> Home {
    Home::new(None, Account::new("111122223333").unwrap())
}

pub(super) fn trail() -> Trail {
    Trail::new("default").unwrap()
}

pub(super) fn rsa_a() -> Arc<dyn DigestSigner> {
    Arc::new(RsaSigner::from_pem(include_str!("../../../../testdata/digest/key-a.pem")).unwrap())
}

pub(super) fn rsa_b() -> Arc<dyn DigestSigner> {
    Arc::new(RsaSigner::from_pem(include_str!("../../../../testdata/digest/key-b.pem")).unwrap())
}

/// A small generator, so that a schedule is its seed.
#[derive(Debug)]
pub(super) struct Dice(AtomicU64);

impl Dice {
    pub(super) fn new(seed: u64) -> Self {
        Self(AtomicU64::new(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1))
    }

    pub(super) fn below(&self, bound: u64) -> u64 {
        let mut x = self.0.load(Ordering::Relaxed);
        x ^= x << 13;
        x ^= x >> 7;
        x ^= x << 17;
        self.0.store(x, Ordering::Relaxed);
        (x.wrapping_mul(0x2545_f491_4f6c_dd1d) >> 33) % bound
    }

    pub(super) fn one_in(&self, chance: u64) -> bool {
        chance > 0 && self.below(chance) == 0
    }
}

/// A store that lets others in between any two requests, and fails before or after it did what it was asked.
#[derive(Debug)]
pub(super) struct Flaky {
    pub(super) inner: InMemory,
    pub(super) dice: Dice,
    /// One request in so many fails; none at 0.
    pub(super) failing: AtomicU64,
}

impl Flaky {
    pub(super) fn new(seed: u64) -> Arc<Self> {
        Arc::new(Self { inner: InMemory::new(), dice: Dice::new(seed), failing: AtomicU64::new(0) })
    }

    async fn fails(&self) -> object_store::Result<()> {
        tokio::task::yield_now().await;
        if self.dice.one_in(self.failing.load(Ordering::Relaxed)) {
            return Err(object_store::Error::Generic { store: "flaky", source: "failed by lot".into() });
        }
        Ok(())
    }
}

impl fmt::Display for Flaky {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("flaky")
    }
}

#[async_trait::async_trait]
impl ObjectStore for Flaky {
    async fn put_opts(
        &self,
        location: &Path,
        payload: PutPayload,
        opts: PutOptions,
    ) -> object_store::Result<PutResult> {
        self.fails().await?;
        let result = self.inner.put_opts(location, payload, opts).await?;
        // Done, and the answer is lost.
        self.fails().await.map(|()| result)
    }

    async fn put_multipart_opts(
        &self,
        location: &Path,
        opts: PutMultipartOptions,
    ) -> object_store::Result<Box<dyn MultipartUpload>> {
        self.inner.put_multipart_opts(location, opts).await
    }

    async fn get_opts(&self, location: &Path, options: GetOptions) -> object_store::Result<GetResult> {
        self.fails().await?;
        self.inner.get_opts(location, options).await
    }

    fn delete_stream(
        &self,
        locations: BoxStream<'static, object_store::Result<Path>>,
    ) -> BoxStream<'static, object_store::Result<Path>> {
        self.inner.delete_stream(locations)
    }

    fn list(&self, prefix: Option<&Path>) -> BoxStream<'static, object_store::Result<ObjectMeta>> {
        self.inner.list(prefix)
    }

    async fn list_with_delimiter(&self, prefix: Option<&Path>) -> object_store::Result<ListResult> {
        self.fails().await?;
        self.inner.list_with_delimiter(prefix).await
    }

    async fn copy_opts(&self, from: &Path, to: &Path, options: CopyOptions) -> object_store::Result<()> {
        self.inner.copy_opts(from, to, options).await
    }
}

/// A collector as far as its objects are concerned.
#[derive(Debug)]
pub(super) struct Collector {
    pub(super) id: Id,
    pub(super) signer: Ed25519Signer,
    pub(super) trail: Trail,
    pub(super) index: u64,
    pub(super) previous: Option<Sha256>,
    next: u64,
}

/// The objects of a batch, not stored yet.
#[derive(Debug, Clone)]
pub(super) struct Batch {
    pub(super) manifest: Manifest,
    pub(super) bytes: Vec<u8>,
    pub(super) log: Option<Vec<u8>>,
}

impl Collector {
    pub(super) async fn new(number: u8, store: &Store) -> Self {
        let signer = Ed25519Signer::generate().unwrap();
        let (key, bytes) = PublishedKey::seal(home(), &signer).unwrap();
        store.put_create(&key.to_string(), bytes.into()).await.unwrap();
        Self { id: Id([number; 16]), signer, trail: trail(), index: 0, previous: None, next: 1 }
    }

    /// The next batch of the chain: so many records.
    pub(super) fn batch(&mut self, at: Timestamp, records: u64) -> Batch {
        let mut writer = LogWriter::new().unwrap();
        for number in self.next..self.next + records {
            let record = format!(r#"{{"eventID":"{}-{number}","eventTime":"{at}"}}"#, self.id);
            writer.push(record.as_bytes()).unwrap();
        }
        let log = (records > 0).then(|| writer.finish().unwrap());
        let source = Source {
            source: self.id,
            service: "shop".to_owned(),
            instance: "shop-1".to_owned(),
            collector: None,
            first: self.next,
            last: self.next + records,
            recorded: records,
            filtered: 1,
            dropped: 0,
            intents: 0,
        };
        let chain = Chain {
            collector: self.id,
            trail: self.trail.clone(),
            index: self.index,
            previous: self.previous,
        };
        let region = Region::new("eu-central-1").unwrap();
        let events = log.as_ref().map(|_| (at, at));
        let manifest = Manifest::new(home(), region, at, chain, log.as_ref(), events, vec![source]);
        let bytes = manifest.seal(&self.signer).unwrap();
        self.previous = Some(Sha256::of(&bytes));
        self.index += 1;
        self.next += records + 1;
        Batch { manifest, bytes, log: log.map(|log| log.bytes) }
    }

    /// Makes a batch and stores it.
    pub(super) async fn write(&mut self, store: &Store, at: Timestamp, records: u64) -> Batch {
        let batch = self.batch(at, records);
        batch.put(store).await;
        batch
    }
}

impl Batch {
    pub(super) async fn put(&self, store: &Store) {
        if let Some(log) = &self.log {
            let key = self.manifest.manifest.log().to_string();
            retried(|| store.put_create(&key, log.clone().into())).await;
        }
        let key = self.manifest.manifest.to_string();
        retried(|| store.put_create(&key, self.bytes.clone().into())).await;
    }

    pub(super) fn log_key(&self) -> LogKey {
        self.manifest.manifest.log()
    }

    pub(super) fn key(&self) -> ManifestKey {
        self.manifest.manifest.clone()
    }
}

async fn retried<F: Future<Output = Result<T, E>>, T, E>(mut request: impl FnMut() -> F) {
    while request().await.is_err() {}
}

pub(super) fn settings(store: &Store) -> Settings {
    Settings::new(store, home(), Region::new("eu-central-1").unwrap(), trail())
}

pub(super) fn digester(store: &Store) -> Digester {
    Digester::new(store.clone(), settings(store), vec![rsa_a()])
}

pub(super) async fn delete(store: &Store, key: impl fmt::Display) {
    use object_store::ObjectStoreExt as _;
    store.object_store().delete(&Path::from(key.to_string())).await.unwrap();
}

/// Steps until nothing is due, each outcome.
pub(super) async fn run(digester: &mut Digester, now: Timestamp) -> Vec<Done> {
    let mut all = Vec::new();
    loop {
        let step = digester.step(now).await.unwrap();
        if step.done == Done::Nothing {
            assert!(step.next > now);
            return all;
        }
        all.push(step.done);
    }
}

/// All digests of the trail, in order.
pub(super) async fn digests(store: &Store) -> Vec<(Opened, RsaSignature)> {
    let settings = settings(store);
    let prefix = DigestKey::prefix(&settings.home, &settings.region);
    let mut keys: Vec<DigestKey> = store
        .below(&prefix)
        .try_filter_map(|(key, _)| async move { Ok(key.parse().ok()) })
        .try_collect()
        .await
        .unwrap();
    keys.sort_unstable();
    let read = |key: DigestKey| async move {
        let stored = store.get_digest(&key).await.unwrap();
        let opened = Opened::read(&stored.bytes).unwrap();
        assert_eq!(opened.digest.object, key);
        (opened, stored.metadata.unwrap().signature)
    };
    futures_util::stream::iter(keys).then(read).collect().await
}

/// What must hold of all digests: one chain, a digest for each period, every manifest in one of them and every log file.
pub(super) async fn check(store: &Store, batches: &[Batch], keys: &[Arc<dyn DigestSigner>]) {
    let digests = digests(store).await;
    let mut before: Option<Previous> = None;
    let mut covered: BTreeMap<(Id, u64), usize> = BTreeMap::new();
    let mut listed: BTreeMap<LogKey, usize> = BTreeMap::new();
    let mut ranges: BTreeMap<Id, Vec<(u64, u64)>> = BTreeMap::new();
    for (opened, signature) in &digests {
        let digest = &opened.digest;
        let key = keys.iter().find(|key| key.public_key().fingerprint() == digest.fingerprint).unwrap();
        assert!(opened.is_signed_by(key.public_key(), signature), "{}", digest.object);
        assert_eq!(digest.previous, before, "{}", digest.object);
        if let Some(before) = &before {
            assert_eq!(before.object.end.start(), digest.start, "periods follow each other");
        }
        assert_eq!(digest.end.as_second() - digest.start.as_second(), 3600);
        before = Some(opened.as_previous(signature.clone()));
        let statement = digest.statement.as_ref().unwrap();
        for range in &statement.chains {
            (range.first..=range.last)
                .for_each(|index| *covered.entry((range.collector, index)).or_default() += 1);
            for source in &range.sources {
                ranges.entry(source.source).or_default().push((source.first, source.last));
            }
        }
        digest.log_files.iter().for_each(|file| *listed.entry(file.object.clone()).or_default() += 1);
    }
    for batch in batches {
        let chain = &batch.manifest.chain;
        assert_eq!(covered.remove(&(chain.collector, chain.index)), Some(1), "{}", batch.key());
        if batch.log.is_some() {
            assert_eq!(listed.remove(&batch.log_key()), Some(1), "{}", batch.log_key());
        }
    }
    assert!(covered.is_empty() && listed.is_empty(), "{covered:?} {listed:?}");
    for (source, mut ranges) in ranges {
        ranges.sort_unstable();
        let mut next = 1;
        for (first, last) in ranges {
            assert_eq!(first, next, "events of {source}");
            next = last + 1;
        }
    }
}

pub(super) fn minutes(minutes: i64) -> jiff::Span {
    minutes.minutes()
}
