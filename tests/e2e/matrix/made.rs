//! The archive that is tampered with.

use std::cell::Cell;
use std::fs;
use std::ops::ControlFlow;
use std::path::Path;
use std::process::Command;
use std::sync::Arc;

use anyhow::{Context, Result, ensure};
use jiff::SignedDuration;
use sidetrail_archive::digest::{Commitment, Digester, Done, Metadata, Settings};
use sidetrail_archive::key::{Account, Home, Region, Trail, TreePlace};
use sidetrail_archive::sign::{Ed25519Signer, Signer};
use sidetrail_archive::source::{Bucket, Directory};
use sidetrail_archive::store::Store;
use sidetrail_archive::tlog::commit::LogCommitment;
use sidetrail_tests::sample::{Object, Objects, metadata};
use sidetrail_tests::tools::{self, Ran};
use sidetrail_tests::{CloudTrail, SeaweedFs, evidence};
use tokio::runtime::{Builder, Runtime};

/// An archive, and what is in it in the order in which it was made.
pub(super) struct Made {
    pub(super) evidence: evidence::Made,
    pub(super) plan: evidence::Plan,
    pub(super) objects: Objects,
    /// What was there before the newest period.
    pub(super) earlier: Objects,
    /// What signs the checkpoints of the log.
    pub(super) log: Arc<dyn Signer>,
    pub(super) logs: Vec<String>,
    pub(super) manifests: Vec<String>,
    pub(super) digests: Vec<String>,
}

pub(super) const REGION: &str = "eu-central-1";

impl Made {
    pub(super) fn new(bucket: String) -> Result<Self> {
        let plan = evidence::Plan {
            bucket: Some(bucket),
            periods: 6,
            regions: vec![REGION.to_owned()],
            collectors: 1,
            empty: vec![2],
            late: Vec::new(),
            rotations: Vec::new(),
            without_log_file: Vec::new(),
            ..evidence::Plan::default()
        };
        let directory = tempfile::tempdir()?;
        let store = Store::open(&directory.path().display().to_string(), &|_| None)?;
        let log: Arc<dyn Signer> = Arc::new(Ed25519Signer::generate()?);
        let home = Home::new(None, Account::new(plan.account.clone())?);
        let commitment = commitment(&plan, &home, &log)?;
        let commitment = Cell::new(Some(commitment));
        let mut earlier = Objects::new();
        let evidence = runtime()?.block_on(evidence::make_with(
            &store,
            &plan,
            |_| commitment.take(),
            |_, period| {
                if period + 2 == plan.periods {
                    earlier = read(directory.path())?;
                }
                Ok(())
            },
        ))?;
        let objects = read(directory.path())?;
        let manifests = evidence.batches.iter().map(|batch| batch.manifest.to_string()).collect();
        let logs =
            evidence.batches.iter().filter_map(|batch| batch.log.as_ref().map(ToString::to_string)).collect();
        let digests = evidence.digests.iter().map(ToString::to_string).collect();
        Ok(Self { evidence, plan, objects, earlier, log, logs, manifests, digests })
    }

    pub(super) fn bucket(&self) -> &str {
        self.plan.bucket.as_deref().unwrap_or_default()
    }

    pub(super) fn cloudtrail(&self) -> Result<CloudTrail> {
        let year = SignedDuration::from_hours(24 * 365);
        let (key, validity) =
            (self.evidence.digest_keys[0].clone(), (self.plan.start - year, self.evidence.end + year));
        CloudTrail::start(&self.evidence.trail_arn(), self.bucket(), &[(key, validity)])
    }

    pub(super) fn verify(&self, store: &SeaweedFs, keys: &Path, more: &[&str]) -> Result<Ran> {
        let mut verify = Command::new(tools::binary("sidetrail")?);
        verify.args(["verify", &format!("s3://{}", self.bucket()), "--json", "--keys"]).arg(keys);
        // With a witness the end is not to be chosen.
        if !more.contains(&"--witness") {
            verify.args(["--to", &self.evidence.end.to_string()]);
        }
        verify.args(more);
        store.configure(&mut verify);
        tools::run(verify)
    }

    pub(super) fn log(&self, index: usize) -> &str {
        &self.logs[index]
    }

    pub(super) fn maker(&self) -> &Ed25519Signer {
        &self.evidence.collectors[0].signer
    }

    /// The log files and manifests of the newest period, and its digest.
    pub(super) fn newest_period(&self) -> Vec<String> {
        let files = usize::try_from(self.plan.files).unwrap_or(0);
        let newest = |keys: &[String], count| keys.iter().rev().take(count).cloned().collect::<Vec<_>>();
        [newest(&self.logs, files), newest(&self.manifests, files), newest(&self.digests, 1)].concat()
    }

    /// What whoever has all keys can make of it: the newest period once more, in which nothing happened.
    pub(super) fn rewritten(&self) -> Result<Objects> {
        let directory = tempfile::tempdir()?;
        for (key, object) in &self.earlier {
            let path = directory.path().join(key);
            fs::create_dir_all(path.parent().context("a key without a directory")?)?;
            fs::write(path, &object.bytes)?;
            if let Some(signature) = object.metadata.get("signature") {
                let metadata = Metadata::new(signature.parse()?);
                fs::write(directory.path().join(format!("{key}.metadata.json")), metadata.render()?)?;
            }
        }
        let store = Store::open(&directory.path().display().to_string(), &|_| None)?;
        let (home, trail) = (self.evidence.home.clone(), self.evidence.trail.clone());
        let mut settings = Settings::new(&store, home.clone(), Region::new(REGION)?, trail);
        self.bucket().clone_into(&mut settings.bucket);
        let due = self.evidence.end + settings.settle;
        let mut digester = Digester::new(store, settings, self.evidence.signers.clone())
            .with_commitment(commitment(&self.plan, &home, &self.log)?);
        let step = runtime()?.block_on(digester.step(due))?;
        ensure!(matches!(step.done, Done::Wrote(_)), "{step:?}");
        read(directory.path())
    }
}

/// The log beside the digests.
pub(super) fn commitment(
    plan: &evidence::Plan,
    home: &Home,
    log: &Arc<dyn Signer>,
) -> Result<Box<dyn Commitment>> {
    let trail = Trail::new(plan.trail.clone())?;
    let place = TreePlace { home: home.clone(), region: Region::new(REGION)?, trail };
    let bucket = plan.bucket.as_deref().context("the bucket's name")?;
    Ok(Box::new(LogCommitment::new(place, bucket, Arc::clone(log), Box::new(|_| {}))?))
}

pub(super) fn runtime() -> Result<Runtime> {
    Ok(Builder::new_multi_thread().worker_threads(1).enable_all().build()?)
}

/// What is in a directory, with metadata where S3 has it.
pub(super) fn read(directory: &Path) -> Result<Objects> {
    let mut objects = Objects::new();
    let bucket = Directory::new(directory)?;
    let mut keys = Vec::new();
    bucket.list("", &mut |entry| {
        keys.push(entry.key.to_owned());
        ControlFlow::Continue(())
    })?;
    let (companions, keys): (Vec<_>, Vec<_>) =
        keys.into_iter().partition(|key| key.ends_with(".metadata.json"));
    for key in keys {
        let bytes = fs::read(directory.join(&key))?;
        objects.insert(key, Object { bytes, ..Object::default() });
    }
    for companion in companions {
        let object = companion.strip_suffix(".metadata.json").and_then(|key| objects.get_mut(key));
        let Metadata { signature, .. } = Metadata::parse(&fs::read(directory.join(&companion))?)?;
        object.context("metadata of nothing")?.metadata = metadata(&signature.to_string());
    }
    Ok(objects)
}
