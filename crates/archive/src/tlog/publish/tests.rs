//! A log in a directory: it grows by digests, and survives writers that stop and tiles that go.

use std::fs;
use std::path::Path;

use super::*;
use crate::digest::{LoggedFile, Statement};
use crate::key::{Account, Home, Region, Trail, Unique};
use crate::log::LogWriter;
use crate::sign::{DigestSigner as _, Ed25519Signer, RsaSigner};
use crate::source::{Bucket as _, Directory};
use crate::tlog::audit::{Audit, Fault, Stated};
use crate::tlog::prove::check_root;
use crate::tlog::stored::Stored;

struct Bench {
    directory: tempfile::TempDir,
    store: Store,
    signer: Ed25519Signer,
    digests: Vec<Digest>,
}

impl Bench {
    fn new() -> Self {
        let directory = tempfile::tempdir().unwrap();
        let store = Store::open(directory.path().to_str().unwrap(), &|_| None).unwrap();
        Self { directory, store, signer: Ed25519Signer::generate().unwrap(), digests: Vec::new() }
    }

    fn place() -> TreePlace {
        let home = Home::new(None, Account::new("111122223333").unwrap());
        let (region, trail) = (Region::new("us-east-1").unwrap(), Trail::new("default").unwrap());
        TreePlace { home, region, trail }
    }

    fn publisher(&self) -> Publisher<'_> {
        let place = Self::place();
        let origin = place.origin("bucket").unwrap();
        Publisher::new(&self.store, place, origin, &self.signer)
    }

    /// The next digest, over files of so many records, stored; and what led to it.
    async fn digest(&mut self, files: &[u32]) -> Growth {
        let number = self.digests.len() as u64;
        let TreePlace { home, region, trail } = Self::place();
        let start = "2026-01-15T10:00:00Z".parse::<jiff::Timestamp>().unwrap();
        let start = start + jiff::SignedDuration::from_hours(number as i64);
        let end = start + jiff::SignedDuration::from_hours(1);
        let mut growth = self.publisher().resume(self.digests.last()).await.unwrap();
        let mut log_files = Vec::new();
        // Files in the order of their keys are files in the order of leaves.
        let unique = |index| Unique::of(crate::key::Id([7; 16]), &trail, number * 100 + index as u64);
        let key = |index| LogKey::new(home.clone(), region.clone(), start, unique(index));
        let mut keys: Vec<LogKey> = (0..files.len()).map(key).collect();
        keys.sort_by_key(ToString::to_string);
        for (index, (records, key)) in files.iter().zip(keys).enumerate() {
            let mut writer = LogWriter::new().unwrap();
            growth.begin();
            for record in 0..*records {
                let record = format!(r#"{{"eventID":"{number}-{index}-{record}"}}"#);
                writer.push(record.as_bytes()).unwrap();
                growth.push(record.as_bytes());
            }
            growth.end(true);
            let file = writer.finish().unwrap();
            self.store.put_create(&key.to_string(), file.bytes.into()).await.unwrap();
            let (bucket, hash) = ("bucket".to_owned(), file.content_sha256);
            log_files.push(LoggedFile {
                bucket,
                object: key,
                hash,
                newest_event_time: Some(start),
                oldest_event_time: Some(start),
            });
        }
        let signer = RsaSigner::from_pem(include_str!("../../../testdata/digest/key-a.pem")).unwrap();
        let previous = self.digests.last().map(|previous| {
            let sealed = previous.seal(&signer).unwrap();
            crate::digest::Previous {
                bucket: "bucket".to_owned(),
                object: previous.object.clone(),
                hash: sealed.content_sha256,
                signature: sealed.signature,
            }
        });
        let key = DigestKey {
            home,
            region: region.clone(),
            trail,
            home_region: region,
            end: Second::of(end),
            backfill: false,
        };
        let events = (!files.is_empty()).then_some(start);
        let digest = Digest {
            account: key.home.account.clone(),
            start,
            end,
            bucket: "bucket".to_owned(),
            object: key,
            fingerprint: signer.public_key().fingerprint(),
            newest_event_time: events,
            oldest_event_time: events,
            previous,
            log_files,
            statement: Some(Statement {
                version: Statement::VERSION,
                chains: Vec::new(),
                keys: Vec::new(),
                tree: Some(self.publisher().statement(&growth)),
                problems: Vec::new(),
                heads: None,
            }),
        };
        let sealed = digest.seal(&signer).unwrap();
        self.store.put_create(&digest.object.to_string(), sealed.bytes.into()).await.unwrap();
        self.digests.push(digest);
        growth
    }

    async fn publish(&self, growth: Option<Growth>) -> Published {
        self.publisher().publish(self.digests.last().unwrap(), growth).await.unwrap()
    }

    /// Everything of the log is there and right, for the last digest and each before it.
    fn check(&self) {
        let bucket = Directory::new(self.directory.path()).unwrap();
        let stored = Stored::new(&bucket, Self::place());
        for digest in &self.digests {
            let tree = tree_of(digest).unwrap();
            check_root(&stored, tree.head()).unwrap();
            let note = stored.checkpoint(TreeObject::Checkpoint(Second::of(digest.end))).unwrap();
            assert_eq!(Checkpoint::open(&note, std::slice::from_ref(&tree.key)).unwrap().head, tree.head());
        }
        let tree = tree_of(self.digests.last().unwrap()).unwrap();
        let note = stored.checkpoint(TreeObject::Latest).unwrap();
        assert_eq!(Checkpoint::open(&note, std::slice::from_ref(&tree.key)).unwrap().head, tree.head());
    }

    fn tiles(&self) -> std::path::PathBuf {
        self.directory.path().join(Self::place().to_string()).join("tile")
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn a_log_grows_by_digests_and_a_repeated_one_changes_nothing() {
    let mut bench = Bench::new();
    for files in [&[][..], &[300][..], &[1], &[], &[200][..]] {
        let growth = bench.digest(files).await;
        let published = bench.publish(Some(growth)).await;
        assert_eq!(published.replaced, [""; 0]);
        assert!(!published.created.is_empty());
        bench.check();
        // Whoever repeats it, or lost the race and completes it, finds all of it there.
        assert_eq!(bench.publish(None).await, Published::default());
    }
    let sizes: Vec<u64> = bench.digests.iter().map(|digest| tree_of(digest).unwrap().size).collect();
    assert_eq!(sizes, [0, 300, 301, 301, 501]);
    assert_eq!(tree_of(&bench.digests[4]).unwrap().first_leaf(), Some(301));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn a_writer_that_stops_is_made_up_for() {
    let mut bench = Bench::new();
    let growth = bench.digest(&[700]).await;
    bench.publish(Some(growth)).await;
    // The digest is there, and its writer is gone.
    bench.digest(&[90]).await;
    // The next one makes its tiles, and then its own; a checkpoint of that digest stays missing.
    let growth = bench.digest(&[20]).await;
    bench.publish(Some(growth)).await;
    let lost = bench.digests.remove(1);
    bench.check();
    let bucket = Directory::new(bench.directory.path()).unwrap();
    check_root(&Stored::new(&bucket, Bench::place()), tree_of(&lost).unwrap().head()).unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn tiles_that_are_gone_or_changed_are_made_again() {
    let mut bench = Bench::new();
    for files in [&[300][..], &[280], &[5]] {
        let growth = bench.digest(files).await;
        bench.publish(Some(growth)).await;
    }
    fs::remove_dir_all(bench.tiles()).unwrap();
    bench.publish(None).await;
    let growth = bench.digest(&[6]).await;
    bench.publish(Some(growth)).await;
    bench.check();

    let partial = bench.tiles().join("0/002.p/79");
    let mut bytes = fs::read(&partial).unwrap();
    bytes[5] ^= 1;
    fs::write(&partial, bytes).unwrap();
    let replaced = bench.publish(None).await.replaced;
    assert!(matches!(&replaced[..], [key] if key.ends_with("tile/0/002.p/79")), "{replaced:?}");
    bench.check();
}

/// What is in the bucket decides, and not what somebody says he has read.
#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn a_log_file_that_was_changed_makes_no_tiles() {
    let mut bench = Bench::new();
    let growth = bench.digest(&[300]).await;
    bench.publish(Some(growth)).await;
    bench.digest(&[10]).await;
    let path = bench.directory.path().join(bench.digests[1].log_files[0].object.to_string());
    let mut writer = LogWriter::new().unwrap();
    (0..10).for_each(|_| writer.push(b"{}").unwrap());
    fs::write(&path, writer.finish().unwrap().bytes).unwrap();
    let error = bench.publisher().resume(bench.digests.last()).await.unwrap_err();
    assert!(matches!(error, PublishError::LogFile { leaves: 10, .. }), "{error}");
    let count = |path: &Path| {
        let bucket = Directory::new(path).unwrap();
        let mut count = 0;
        bucket
            .list("", &mut |_| {
                count += 1;
                ControlFlow::Continue(())
            })
            .unwrap();
        count
    };
    assert_eq!(count(&bench.tiles()), 3);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn the_newest_checkpoint_does_not_go_back() {
    let mut bench = Bench::new();
    let first = bench.digest(&[3]).await;
    bench.publish(Some(first.clone())).await;
    let growth = bench.digest(&[4]).await;
    bench.publish(Some(growth)).await;
    // A writer that was slow comes with the older one.
    bench.publisher().publish(&bench.digests[0], Some(first)).await.unwrap();
    bench.check();
}

/// Two writers take over each other's digests, and die before checkpoints are signed: nothing is there that no digest's key
/// signed, and an audit finds nothing in it.
#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn writers_with_keys_of_their_own_share_a_log() {
    let mut bench = Bench::new();
    let mut other = Ed25519Signer::generate().unwrap();
    for dies in [false, true, true, false, false] {
        let growth = bench.digest(&[3]).await;
        if !dies {
            bench.publish(Some(growth)).await;
        }
        std::mem::swap(&mut bench.signer, &mut other);
        bench.publish(None).await;
        assert_eq!(audited(&bench, true, None), [""; 0], "{dies}");
    }
    // The newest checkpoint may not go behind those that were signed.
    let log = bench.directory.path().join(Bench::place().to_string());
    let first = fs::read_dir(log.join("checkpoints/2026/01/15")).unwrap().next().unwrap().unwrap().path();
    fs::copy(first, log.join("checkpoint")).unwrap();
    assert_eq!(audited(&bench, false, None), ["RolledBack { seen: 12, size: 3 } checkpoint"]);
    std::mem::swap(&mut bench.signer, &mut other);
    bench.publish(None).await;
    assert_eq!(audited(&bench, false, None), [""; 0]);
}

/// What an audit says of the log, in short.
fn audited(bench: &Bench, records: bool, seen: Option<Head>) -> Vec<String> {
    let bucket = Directory::new(bench.directory.path()).unwrap();
    let state =
        |digest: &Digest| Stated { digest: digest.object.clone(), tree: tree_of(digest).unwrap().clone() };
    let states: Vec<Stated> = bench.digests.iter().map(state).collect();
    let audit = Audit::new(&bucket, Bench::place(), &states, std::num::NonZeroUsize::new(2).unwrap());
    let mut faults = if records { audit.records() } else { audit.tiles() };
    faults.extend(seen.and_then(|seen| audit.witnessed(seen)));
    let short = |fault: Fault| {
        format!(
            "{:?} {}",
            fault.wrong,
            fault.object.rsplit_once("default/").map_or(&*fault.object, |it| it.1)
        )
    };
    faults.into_iter().map(short).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn an_audit_finds_what_is_not_what_digests_state() {
    let mut bench = Bench::new();
    for files in [&[300][..], &[280, 7], &[], &[5]] {
        let growth = bench.digest(files).await;
        bench.publish(Some(growth)).await;
    }
    assert_eq!(audited(&bench, false, None), [""; 0]);
    assert_eq!(audited(&bench, true, None), [""; 0]);
    let heads: Vec<Head> = bench.digests.iter().map(|digest| tree_of(digest).unwrap().head()).collect();
    for head in &heads {
        assert_eq!(audited(&bench, false, Some(*head)), [""; 0]);
    }
    let more = Head { size: 1000, ..heads[3] };
    assert_eq!(audited(&bench, false, Some(more)), ["RolledBack { seen: 1000, size: 592 } checkpoint"]);
    let other = Head { root: Sha256::of(b"other"), ..heads[1] };
    assert_eq!(audited(&bench, false, Some(other)), ["Rewritten { seen: 587 } checkpoint"]);

    let log = bench.directory.path().join(Bench::place().to_string());
    let damage = |name: &str| {
        let path = log.join(name);
        let before = fs::read(&path).unwrap();
        let mut bytes = before.clone();
        bytes[6] ^= 1;
        fs::write(&path, bytes).unwrap();
        let faults = audited(&bench, false, None);
        fs::remove_file(&path).unwrap();
        let gone = audited(&bench, false, None);
        fs::write(&path, before).unwrap();
        (faults, gone)
    };
    // A full tile, a partial one of an older digest, and one of the newest, which may be on its way.
    assert_eq!(
        damage("tile/0/001"),
        (vec!["Modified tile/0/001".to_owned()], vec!["Missing tile/0/001".to_owned()])
    );
    assert_eq!(damage("tile/0/000").0, ["Modified tile/0/000"]);
    assert_eq!(
        damage("tile/0/002.p/75"),
        (vec!["Modified tile/".to_owned(); 2], vec!["Missing tile/".to_owned(); 2])
    );
    assert_eq!(damage("tile/0/002.p/80"), (vec!["Modified tile/".to_owned()], Vec::new()));
    assert_eq!(damage("checkpoint").0, ["Modified checkpoint"]);
    assert_eq!(damage("checkpoint").1, ["Missing checkpoint"]);
    assert_eq!(
        damage("checkpoints/2026/01/15/20260115T120000Z").0,
        ["Modified checkpoints/2026/01/15/20260115T120000Z"]
    );

    // Records that are not the leaves.
    let file = &bench.digests[1].log_files[1].object;
    let mut writer = LogWriter::new().unwrap();
    (0..7).for_each(|_| writer.push(b"{}").unwrap());
    fs::write(bench.directory.path().join(file.to_string()), writer.finish().unwrap().bytes).unwrap();
    let faults = audited(&bench, true, None);
    assert!(matches!(&faults[..], [fault] if fault.starts_with("Contradicts ")), "{faults:?}");
}
