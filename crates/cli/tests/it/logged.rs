//! The archive with digests and a log, as a collector with a digest key leaves it.

use std::fs;
use std::ops::ControlFlow;

use sidetrail_archive::digest::{
    CertifiedKey, ChainRange, Digest, LoggedFile, Metadata, Previous, PublishedDigestKey, SourceRange,
    Statement,
};
use sidetrail_archive::hash::Sha256;
use sidetrail_archive::key::{DigestKey, LogKey, ManifestKey, Region, Second, TreePlace};
use sidetrail_archive::log::{MAX_CONTENT, content_digest, read_records};
use sidetrail_archive::manifest::Manifest;
use sidetrail_archive::sign::{DigestSigner, Ed25519Signer, RsaSigner, Signer};
use sidetrail_archive::store::Store;
use sidetrail_archive::tlog::note::{Algorithm, Name, VerifierKey};
use sidetrail_archive::tlog::publish::Publisher;

use crate::write::{Archive, archive};

/// One digest for each log file, at the end of its hour.
pub(crate) struct Logged {
    pub(crate) archive: Archive,
    pub(crate) log_signer: Ed25519Signer,
    pub(crate) digest_signer: RsaSigner,
    pub(crate) digests: Vec<Digest>,
    pub(crate) place: TreePlace,
    pub(crate) origin: Name,
}

/// With the first so many of its log files in digests.
pub(crate) fn logged(files: usize) -> Logged {
    let archive = archive();
    let first: LogKey = archive.logs[0].parse().unwrap();
    let place = TreePlace {
        home: first.0.home.clone(),
        region: Region::new("us-east-1").unwrap(),
        trail: "default".parse().unwrap(),
    };
    let digest_signer =
        RsaSigner::from_pem(include_str!("../../../archive/testdata/digest/key-a.pem")).unwrap();
    let validity = ("2026-01-01T00:00:00Z".parse().unwrap(), "2036-01-01T00:00:00Z".parse().unwrap());
    let (object, bytes) =
        PublishedDigestKey::seal(place.home.clone(), &digest_signer, validity, None).unwrap();
    archive.put(&object.to_string(), &bytes);
    let origin = place.origin("local").unwrap();
    let log_signer = Ed25519Signer::generate().unwrap();
    let mut logged = Logged { archive, log_signer, digest_signer, digests: Vec::new(), place, origin };
    (0..files).for_each(|_| logged.digest());
    logged
}

impl Logged {
    /// The key that its checkpoints are believed by.
    pub(crate) fn vkey(&self) -> VerifierKey {
        let key = self.log_signer.public_key().clone();
        VerifierKey::new(self.origin.clone(), Algorithm::Ed25519, key)
    }

    /// The next digest.
    pub(crate) fn digest(&mut self) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(self.write());
    }

    async fn write(&mut self) {
        let store = Store::open(self.archive.root().to_str().unwrap(), &|_| None).unwrap();
        let publisher = Publisher::new(&store, self.place.clone(), self.origin.clone(), &self.log_signer);
        let index = self.digests.len();
        let mut growth = publisher.resume(self.digests.last()).await.unwrap();
        let file: LogKey = self.archive.logs[index].parse().unwrap();
        let stored = fs::read(self.archive.path(&file.to_string())).unwrap();
        growth.begin();
        let read = read_records(&stored[..], MAX_CONTENT, |record| {
            growth.push(record.as_bytes());
            ControlFlow::<()>::Continue(())
        });
        assert!(read.unwrap().is_continue());
        growth.end(true);

        let key: ManifestKey = self.archive.manifests[index].parse().unwrap();
        let manifest = fs::read(self.archive.path(&key.to_string())).unwrap();
        let signer = self.archive.signer.public_key().clone();
        let stated = Manifest::open(&manifest, std::slice::from_ref(&signer)).unwrap();
        let (from, to) = (stated.oldest_event_time, stated.newest_event_time);
        let start = file.0.minute.start();
        let end = start + jiff::SignedDuration::from_hours(1);
        let object = DigestKey {
            home: self.place.home.clone(),
            region: self.place.region.clone(),
            trail: self.place.trail.clone(),
            home_region: self.place.region.clone(),
            end: Second::of(end),
            backfill: false,
        };
        let previous = self.digests.last().map(|previous| {
            let sealed = previous.seal(&self.digest_signer).unwrap();
            Previous {
                bucket: "local".to_owned(),
                object: previous.object.clone(),
                hash: sealed.content_sha256,
                signature: sealed.signature,
            }
        });
        let source = &stated.sources[0];
        let digest = Digest {
            account: self.place.home.account.clone(),
            start,
            end,
            bucket: "local".to_owned(),
            object: object.clone(),
            fingerprint: self.digest_signer.public_key().fingerprint(),
            newest_event_time: to,
            oldest_event_time: from,
            previous,
            log_files: vec![LoggedFile {
                bucket: "local".to_owned(),
                object: file,
                hash: content_digest(&stored, MAX_CONTENT).unwrap().0,
                newest_event_time: to,
                oldest_event_time: from,
            }],
            statement: Some(Statement {
                version: Statement::VERSION,
                chains: vec![ChainRange {
                    collector: stated.chain.collector,
                    trail: stated.chain.trail.clone(),
                    first: stated.chain.index,
                    last: stated.chain.index,
                    previous: stated.chain.previous,
                    sha256: Sha256::of(&manifest),
                    sources: vec![SourceRange {
                        source: source.source,
                        first: source.first,
                        last: source.last,
                    }],
                }],
                keys: vec![CertifiedKey(signer)],
                tree: Some(publisher.statement(&growth)),
                problems: Vec::new(),
                heads: None,
            }),
        };
        let sealed = digest.seal(&self.digest_signer).unwrap();
        self.archive.put(&object.to_string(), &sealed.bytes);
        let metadata = Metadata::new(sealed.signature).render().unwrap();
        self.archive.put(&object.companion(), &metadata);
        publisher.publish(&digest, Some(growth)).await.unwrap();
        self.digests.push(digest);
    }
}
