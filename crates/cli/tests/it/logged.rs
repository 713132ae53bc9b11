//! The archive with digests and a log, as a collector with a digest key leaves it.

use std::sync::Arc;

use sidetrail_archive::digest::{Digester, Done, Settings};
use sidetrail_archive::key::{LogKey, Region, TreePlace};
use sidetrail_archive::sign::{Ed25519Signer, RsaSigner, Signer};
use sidetrail_archive::store::Store;
use sidetrail_archive::tlog::commit::LogCommitment;
use sidetrail_archive::tlog::note::{Algorithm, Name, VerifierKey};

use crate::write::{Archive, archive};

/// One digest for each log file, at the end of its hour.
pub(crate) struct Logged {
    pub(crate) archive: Archive,
    pub(crate) log_signer: Arc<Ed25519Signer>,
    pub(crate) digest_signer: Arc<RsaSigner>,
    pub(crate) place: TreePlace,
    pub(crate) origin: Name,
    digests: u64,
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
    let key = include_str!("../../../archive/testdata/digest/key-a.pem");
    let digest_signer = Arc::new(RsaSigner::from_pem(key).unwrap());
    let origin = place.origin(Settings::DIRECTORY).unwrap();
    let log_signer = Arc::new(Ed25519Signer::generate().unwrap());
    let mut logged = Logged { archive, log_signer, digest_signer, place, origin, digests: 0 };
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
        let store = Store::open(self.archive.root().to_str().unwrap(), &|_| None).unwrap();
        let TreePlace { home, region, trail } = self.place.clone();
        let settings = Settings::new(&store, home, region, trail);
        let tell = Box::new(|what: &str| assert_eq!(what, "", "the log goes on"));
        let log =
            LogCommitment::new(self.place.clone(), &settings.bucket, self.log_signer.clone(), tell).unwrap();
        let mut digester = Digester::new(store, settings, vec![self.digest_signer.clone()]);
        digester = digester.with_commitment(Box::new(log));
        let first = "2026-01-15T12:10:00Z".parse::<jiff::Timestamp>().unwrap();
        let now = first + jiff::SignedDuration::from_hours(self.digests as i64);
        let runtime =
            tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
        let step = runtime.block_on(digester.step(now)).unwrap();
        assert!(matches!(&step.done, Done::Wrote(summary) if summary.log_files == 1), "{step:?}");
        self.digests += 1;
    }
}
