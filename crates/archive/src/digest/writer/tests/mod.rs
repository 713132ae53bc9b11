//! Digests of collectors that are late, writers that race and die, stores that fail, and of those who mean ill.

use std::sync::atomic::Ordering;

use super::super::keys::{PublishedDigestKey, Revocation};
use super::*;
use crate::key::{AnyKeyId, DigestKeyObjectKey, RevocationKey};
use crate::sign::Signer as _;

mod world;

use world::*;

const START: &str = "2026-01-15T10:00:00Z";

/// When the digest of the period that ends so many hours after the start is due.
fn due(hours: i64) -> Timestamp {
    at(START) + minutes(60 * hours + 5)
}

fn memory() -> Store {
    Store::of(Flaky::new(1))
}

fn wrote(done: &[Done]) -> Vec<&Summary> {
    done.iter()
        .map(|done| match done {
            Done::Wrote(summary) => summary,
            other => panic!("{other:?}"),
        })
        .collect()
}

#[tokio::test]
async fn every_period_has_a_digest_and_empty_ones_too() {
    let store = memory();
    let mut digester = digester(&store);
    assert_eq!(digester.step(due(1)).await.unwrap().next, due(2));
    assert_eq!(digester.step(due(2) - minutes(1)).await.unwrap().done, Done::Nothing);

    let mut collector = Collector::new(1, &store).await;
    let mut batches = Vec::new();
    for minute in [5, 50, 125, 130] {
        batches.push(collector.write(&store, at(START) + minutes(60 + minute), 3).await);
    }
    batches.push(collector.write(&store, at(START) + minutes(60 + 140), 0).await);
    // After an outage: one by one.
    let done = run(&mut digester, due(5)).await;
    let counts: Vec<_> = wrote(&done).iter().map(|summary| (summary.log_files, summary.manifests)).collect();
    assert_eq!(counts, [(2, 2), (0, 0), (2, 3), (0, 0)]);
    check(&store, &batches, &[rsa_a()]).await;

    let all = digests(&store).await;
    let statement = |index: usize| all[index].0.digest.statement.clone().unwrap();
    assert_eq!(statement(0).heads, Some(Vec::new()));
    assert!(statement(1).heads.is_none());
    assert_eq!(statement(1).keys[0].0, *collector.signer.public_key());
    assert!(statement(2).keys.is_empty() && statement(2).chains.is_empty());
    assert_eq!(all[1].0.digest.oldest_event_time, Some(at("2026-01-15T11:05:00Z")));
    assert_eq!(all[1].0.digest.newest_event_time, Some(at("2026-01-15T11:50:00Z")));
}

#[tokio::test]
async fn what_is_late_is_in_a_later_digest() {
    let store = memory();
    let mut digester = digester(&store);
    let mut collector = Collector::new(1, &store).await;
    let mut batches = vec![collector.write(&store, at(START) - minutes(30), 2).await];
    let late = collector.batch(at(START) - minutes(20), 1);
    assert_eq!(wrote(&run(&mut digester, due(0)).await)[0].log_files, 1);
    late.put(&store).await;
    batches.push(late);
    batches.push(collector.write(&store, at(START) + minutes(10), 1).await);
    let done = run(&mut digester, due(1)).await;
    assert_eq!((wrote(&done)[0].log_files, wrote(&done)[0].late_log_files), (2, 1));

    // A chain that stood still for days: the one that it could not store comes with those after it.
    let late = collector.batch(at(START) + minutes(70), 1);
    run(&mut digester, due(80)).await;
    late.put(&store).await;
    batches.push(late);
    batches.push(collector.write(&store, at(START) + minutes(80 * 60 + 10), 1).await);
    let done = run(&mut digester, due(81)).await;
    assert_eq!((wrote(&done)[0].log_files, wrote(&done)[0].late_log_files), (2, 1));

    // And alone, after days again: found by the look that goes far back.
    let late = collector.batch(at(START) + minutes(81 * 60 + 10), 1);
    run(&mut digester, due(130)).await;
    late.put(&store).await;
    batches.push(late);
    run(&mut digester, due(160)).await;
    check(&store, &batches, &[rsa_a()]).await;
}

#[tokio::test]
async fn an_archive_that_is_there_already_is_covered_in_pieces() {
    let store = memory();
    let mut batches = Vec::new();
    let (mut one, mut two) = (Collector::new(1, &store).await, Collector::new(2, &store).await);
    for day in 0..20 {
        for batch in 0..3 {
            let at = at(START) - minutes(60 * 24 * (20 - day) - batch * 7);
            batches.push(one.write(&store, at, 1).await);
            batches.push(two.write(&store, at, 1).await);
        }
    }
    let mut first = digester(&store);
    first.limit = 50;
    run(&mut first, due(0)).await;
    // A second one, which knows nothing, goes on.
    let mut second = digester(&store);
    second.limit = 50;
    let sizes: Vec<_> =
        wrote(&run(&mut second, due(4)).await).iter().map(|summary| summary.log_files).collect();
    assert!(sizes[0] > 30 && sizes[0] < 50, "{sizes:?}");
    assert_eq!(sizes.last(), Some(&0));
    check(&store, &batches, &[rsa_a()]).await;
}

#[tokio::test]
async fn log_files_are_looked_at_before_they_are_listed() {
    let store = memory();
    let mut collector = Collector::new(1, &store).await;
    let mut batches = Vec::new();
    for minute in [1, 2, 3] {
        batches.push(collector.write(&store, at(START) - minutes(minute), 2).await);
        batches.last_mut().unwrap();
    }
    delete(&store, batches[1].log_key()).await;
    delete(&store, batches[2].log_key()).await;
    let mut other = batches[0].log.clone().unwrap();
    other.push(0);
    store.put_create(&batches[2].log_key().to_string(), other.into()).await.unwrap();

    let seen: Seen = Seen::default();
    let mut digester = digester(&store).with_commitment(Box::new(seen.clone()));
    let done = run(&mut digester, due(0)).await;
    let problems = &wrote(&done)[0].problems;
    let named = |batch: &Batch| problems.iter().find(|problem| problem.key == batch.log_key().to_string());
    assert_eq!(named(&batches[0]), None);
    assert_eq!(named(&batches[1]).unwrap().reason, "missing: there is no such object");
    assert!(named(&batches[2]).unwrap().reason.starts_with("modified: "));
    check(&store, &batches, &[rsa_a()]).await;

    // The commitment has seen the files in order, and the records of the one that is whole.
    let log = seen.0.lock().unwrap().clone();
    let digest = &digests(&store).await[0].0.digest;
    let files: Vec<_> = log.iter().filter_map(|line| line.strip_prefix("file ")).collect();
    let listed: Vec<_> = digest.log_files.iter().map(|file| file.object.to_string()).collect();
    assert_eq!(files, listed);
    assert_eq!(log.iter().filter(|line| *line == "end true").count(), 1);
    assert_eq!(log[log.len() - 2..], ["tree", "stored true"]);
}

#[tokio::test]
async fn a_chain_goes_on_without_what_is_missing_and_takes_it_when_it_comes() {
    let store = memory();
    let mut digester = digester(&store);
    let mut collector = Collector::new(1, &store).await;
    let mut batches = vec![collector.write(&store, at(START) - minutes(3), 1).await];
    run(&mut digester, due(0)).await;
    let missing = collector.batch(at(START) + minutes(1), 1);
    batches.push(collector.write(&store, at(START) + minutes(2), 1).await);

    let step = digester.step(due(1)).await.unwrap();
    assert_eq!(step.warnings.len(), 1, "{step:?}");
    assert!(step.warnings[0].ends_with("waits: manifest 1 of its chain is not there"));
    let done = run(&mut digester, due(2)).await;
    let summary = wrote(&done)[0];
    assert_eq!((summary.log_files, summary.problems.len()), (1, 1));
    assert_eq!(summary.problems[0].reason, "gap: manifest 1 of its chain is not there");

    missing.put(&store).await;
    batches.push(missing);
    batches.push(collector.write(&store, at(START) + minutes(130), 1).await);
    // By one that has to find out by itself that there is a hole.
    let done = run(&mut self::digester(&store), due(3)).await;
    assert_eq!((wrote(&done)[0].log_files, wrote(&done)[0].problems.len()), (2, 0));
    check(&store, &batches, &[rsa_a()]).await;
}

#[tokio::test]
async fn what_is_not_to_be_believed_is_named_and_not_listed() {
    let store = memory();
    let mut digester = digester(&store);
    let mut good = Collector::new(1, &store).await;
    let mut batches = vec![good.write(&store, at(START) - minutes(9), 1).await];
    // Garbage at the name of the next: the collector stores under the name of another attempt.
    let mut next = good.batch(at(START) - minutes(8), 1);
    store.put_create(&next.key().to_string(), "garbage".into()).await.unwrap();
    next.manifest = next.manifest.renamed(1, Vec::new());
    next.bytes = next.manifest.seal(&good.signer).unwrap();
    next.put(&store).await;
    batches.push(next);
    // A key that is revoked for what comes after.
    let mut revoked = Collector::new(2, &store).await;
    batches.push(revoked.write(&store, at(START) - minutes(7), 1).await);
    let after = revoked.write(&store, at(START) - minutes(3), 1).await;
    let object = RevocationKey { home: home(), key: AnyKeyId::Manifest(revoked.signer.key_id()) };
    let revocation = Revocation { object, revoked_at: at(START) - minutes(5), reason: "stolen".to_owned() };
    let bytes = revocation.seal(&*rsa_a()).unwrap();
    store.put_create(&revocation.object.to_string(), bytes.into()).await.unwrap();
    // A revocation that nobody signed who may.
    let object = RevocationKey { home: home(), key: AnyKeyId::Manifest(good.signer.key_id()) };
    let forged = Revocation { object, ..revocation };
    let bytes = forged.seal(&*rsa_b()).unwrap();
    store.put_create(&forged.object.to_string(), bytes.into()).await.unwrap();
    // Another trail in the same place.
    let mut other = Collector::new(3, &store).await;
    other.trail = Trail::new("other").unwrap();
    for minute in [6, 5, 4] {
        other.write(&store, at(START) - minutes(minute), 1).await;
    }

    let done = run(&mut digester, due(0)).await;
    let summary = wrote(&done)[0];
    assert_eq!(summary.log_files, 3);
    let reasons: Vec<_> = summary.problems.iter().map(|problem| problem.reason.as_str()).collect();
    assert!(reasons.iter().any(|reason| reason.starts_with("malformed: ")), "{reasons:?}");
    assert!(summary.problems.iter().any(|problem| {
        problem.key == after.key().to_string() && problem.reason.starts_with("revoked: ")
    }));
    check(&store, &batches[..], &[rsa_a()]).await;
}

#[tokio::test]
async fn only_keys_that_are_listed_are_certified() {
    let store = memory();
    let (mut known, mut unknown) = (Collector::new(1, &store).await, Collector::new(2, &store).await);
    let batches = [known.write(&store, at(START) - minutes(9), 1).await];
    unknown.write(&store, at(START) - minutes(9), 1).await;
    let trusted_keys = Some(vec![known.signer.public_key().clone()]);
    let settings = Settings { trusted_keys, ..settings(&store) };
    let mut digester = Digester::new(store.clone(), settings, vec![rsa_a()]);
    assert_eq!(wrote(&run(&mut digester, due(0)).await)[0].manifests, 1);
    check(&store, &batches, &[rsa_a()]).await;
}

#[tokio::test]
async fn a_new_key_is_announced_by_the_old_one() {
    let store = memory();
    let mut collector = Collector::new(1, &store).await;
    let mut batches = vec![collector.write(&store, at(START) - minutes(9), 1).await];
    run(&mut digester(&store), due(0)).await;
    batches.push(collector.write(&store, at(START) + minutes(9), 1).await);

    let mut stranger = Digester::new(store.clone(), settings(&store), vec![rsa_b()]);
    assert!(matches!(stranger.step(due(1)).await, Err(StepError::Unannounced(_))));

    let mut both = Digester::new(store.clone(), settings(&store), vec![rsa_a(), rsa_b()]);
    assert_eq!(wrote(&run(&mut both, due(1)).await)[0].log_files, 1);
    let fingerprint = rsa_b().public_key().fingerprint();
    let object = DigestKeyObjectKey { home: home(), fingerprint };
    let (published, envelope) =
        PublishedDigestKey::open(&store.get(&object.to_string(), 9999).await.unwrap()).unwrap();
    assert_eq!(published.predecessor, Some(rsa_a().public_key().fingerprint()));
    assert!(envelope.is_signed_by(rsa_a().public_key()));
    assert_eq!(published.validity_start, at(START));

    // Who has only the new key goes on, and so does who has only the old one: both know the way from one to the other.
    batches.push(collector.write(&store, at(START) + minutes(70), 1).await);
    let mut new = Digester::new(store.clone(), settings(&store), vec![rsa_b()]);
    assert_eq!(wrote(&run(&mut new, due(2)).await)[0].log_files, 1);
    batches.push(collector.write(&store, at(START) + minutes(130), 1).await);
    assert_eq!(wrote(&run(&mut digester(&store), due(3)).await)[0].log_files, 1);
    check(&store, &batches, &[rsa_a(), rsa_b()]).await;
    let signers: Vec<_> = digests(&store).await.iter().map(|(opened, _)| opened.digest.fingerprint).collect();
    let (a, b) = (rsa_a().public_key().fingerprint(), rsa_b().public_key().fingerprint());
    assert_eq!(signers, [a, b, b, a]);

    // A key whose time is over signs nothing.
    let ended = Settings { key_validity: SignedDuration::from_mins(90), ..settings(&memory()) };
    let mut digester = Digester::new(memory(), ended, vec![rsa_a()]);
    run(&mut digester, due(0)).await;
    assert!(
        matches!(digester.step(due(1)).await, Err(StepError::NotInForce(end)) if end == at(START) + minutes(60))
    );
}

#[tokio::test]
async fn a_place_that_is_taken_is_passed_over_in_the_end() {
    let store = memory();
    let mut digester = digester(&store);
    let mut collector = Collector::new(1, &store).await;
    run(&mut digester, due(0)).await;
    let batch = collector.write(&store, at(START) + minutes(9), 1).await;
    let taken = digester.settings.key(at(START) + minutes(60));
    store.put_create(&taken.to_string(), "garbage".into()).await.unwrap();
    assert!(matches!(digester.step(due(1)).await, Err(StepError::Taken(_))));
    assert!(matches!(digester.step(due(1) + minutes(9)).await, Err(StepError::Taken(_))));
    assert_eq!(digester.step(due(1) + minutes(10)).await.unwrap().done, Done::PassedOver(taken.clone()));
    let done = run(&mut digester, due(2)).await;
    let summary = wrote(&done)[0];
    assert_eq!((summary.log_files, summary.problems[0].key.clone()), (1, taken.to_string()));
    delete(&store, &taken).await;
    let all = digests(&store).await;
    assert_eq!(all[1].0.digest.start, at(START));
    assert_eq!(all[1].0.digest.log_files[0].object, batch.log_key());
    assert_eq!(all[1].0.digest.previous, Some(all[0].0.as_previous(all[0].1.clone())));
}

#[tokio::test]
async fn a_chain_goes_on_from_a_digest_that_was_taken_away() {
    let store = memory();
    let mut digester = digester(&store);
    run(&mut digester, due(1)).await;
    let before = digests(&store).await.pop().unwrap();
    delete(&store, &before.0.digest.object).await;
    let step = digester.step(due(2)).await.unwrap();
    assert!(step.warnings[0].ends_with(" is gone"), "{step:?}");
    let after = digests(&store).await.pop().unwrap();
    assert_eq!(after.0.digest.previous, Some(before.0.as_previous(before.1)));
}

#[tokio::test]
async fn in_a_directory_the_signature_is_made_again_for_what_is_ours_only() {
    let root = tempfile::tempdir().unwrap();
    let store = Store::open(root.path().to_str().unwrap(), &|_| None).unwrap();
    let mut collector = Collector::new(1, &store).await;
    let mut batches = vec![collector.write(&store, at(START) - minutes(9), 1).await];
    run(&mut digester(&store), due(0)).await;
    batches.push(collector.write(&store, at(START) + minutes(9), 1).await);
    run(&mut digester(&store), due(1)).await;
    let all = digests(&store).await;
    check(&store, &batches, &[rsa_a()]).await;

    // As if the writer had been killed after the digest; meanwhile a late manifest has come.
    let companion = root.path().join(all[1].0.digest.object.companion());
    std::fs::remove_file(&companion).unwrap();
    batches.push(collector.write(&store, at(START) + minutes(10), 1).await);
    let mut digester = digester(&store);
    assert_eq!(wrote(&run(&mut digester, due(1)).await)[0].log_files, 1);
    assert_eq!(digests(&store).await, all);
    // While it runs, too.
    std::fs::remove_file(&companion).unwrap();
    assert_eq!(wrote(&run(&mut digester, due(2)).await)[0].log_files, 1);
    assert!(companion.exists());
    check(&store, &batches, &[rsa_a()]).await;

    // A digest that lists what no manifest does gets no signature.
    let mut forged = digests(&store).await.pop().unwrap().0.digest;
    (forged.start, forged.end) = (forged.end, forged.end + minutes(60));
    forged.object = digester.settings.key(forged.end);
    forged.previous = digester.state.as_ref().unwrap().head.as_ref().map(|head| head.previous.clone());
    let sealed = forged.seal(&*rsa_a()).unwrap();
    store.put_create(&forged.object.to_string(), sealed.bytes.into()).await.unwrap();
    assert!(matches!(digester.step(due(3)).await, Err(StepError::Taken(_))));
    assert!(!root.path().join(forged.object.companion()).exists());
}

/// Random schedules: collectors that are late, requests that fail before or after they did something, writers that race
/// and die at any request. In the end nothing is left out, nothing is there twice, and there is one chain.
#[tokio::test]
async fn random_schedules() {
    let seeds = std::env::var("SEEDS").ok().and_then(|seeds| seeds.parse().ok()).unwrap_or(24);
    let first = std::env::var("SEED").ok().and_then(|seed| seed.parse().ok()).unwrap_or(0);
    for seed in first..first + seeds {
        println!("seed {seed}");
        Box::pin(schedule(seed)).await;
    }
}

async fn schedule(seed: u64) {
    let flaky = Flaky::new(seed);
    let (store, dice) = (Store::of(flaky.clone()), Dice::new(seed ^ 0xd1ce));
    let mut collectors = Vec::new();
    for number in 0..=dice.below(3) {
        let late: Option<(Batch, u64)> = None;
        collectors.push((Collector::new(number as u8 + 1, &store).await, late));
    }
    let mut batches = Vec::new();
    let mut writers = [digester(&store), digester(&store)];
    let mut now = at(START);
    flaky.failing.store([0, 40, 12][dice.below(3) as usize], Ordering::Relaxed);
    for _ in 0..6 * 30 {
        now += minutes(10);
        for (collector, late) in &mut collectors {
            match late.take() {
                Some((batch, ticks)) if ticks > 0 => *late = Some((batch, ticks - 1)),
                Some((batch, _)) => {
                    batch.put(&store).await;
                    batches.push(batch);
                }
                None if dice.one_in(3) => {
                    let batch = collector.batch(now - minutes(dice.below(9) as i64), dice.below(3));
                    *late = Some((batch, if dice.one_in(4) { dice.below(200) } else { dice.below(2) }));
                }
                None => {}
            }
        }
        let [one, two] = &mut writers;
        if dice.one_in(3) {
            // Both at once, or one of them, and perhaps killed in the middle of a request.
            let steps = dice.below(400);
            let limit = if dice.one_in(3) { steps } else { u64::MAX };
            let both = async {
                let later = now + minutes(dice.below(3) as i64);
                tokio::join!(async { drop(one.step(now).await) }, async { drop(two.step(later).await) })
            };
            killed_after(limit, Box::pin(both)).await;
            if limit < u64::MAX {
                writers = [digester(&store), digester(&store)];
            }
        }
    }
    // Calm: all that is late comes, and both catch up.
    flaky.failing.store(0, Ordering::Relaxed);
    for (collector, late) in &mut collectors {
        if let Some((batch, _)) = late.take() {
            batch.put(&store).await;
            batches.push(batch);
        }
        batches.push(collector.write(&store, now, 1).await);
    }
    for hours in 0..3 {
        for writer in &mut writers {
            loop {
                match writer.step(now + minutes(60 * hours)).await.unwrap().done {
                    Done::Nothing => break,
                    Done::Wrote(_) | Done::Adopted(_) => {}
                    Done::PassedOver(key) => panic!("{key}"),
                }
            }
        }
    }
    assert_eq!(writers[0].last_end(), writers[1].last_end());
    check(&store, &batches, &[rsa_a()]).await;
}

/// Polls a future so many times, and drops it then.
async fn killed_after(mut polls: u64, future: impl Future) {
    let mut future = std::pin::pin!(future);
    std::future::poll_fn(|context| {
        if polls == 0 {
            return std::task::Poll::Ready(());
        }
        polls -= 1;
        future.as_mut().poll(context).map(drop)
    })
    .await;
}

/// Notes what it is told.
#[derive(Debug, Clone, Default)]
struct Seen(Arc<std::sync::Mutex<Vec<String>>>);

impl Seen {
    fn note(&self, line: String) {
        self.0.lock().unwrap().push(line);
    }
}

impl Commitment for Seen {
    fn begin<'a>(
        &'a mut self,
        _: &'a Store,
        before: Option<Before<'a>>,
    ) -> futures_util::future::BoxFuture<'a, Result<(), CommitmentError>> {
        self.note(format!("begin {}", before.is_some()));
        Box::pin(async { Ok(()) })
    }

    fn file(&mut self, file: &super::super::LoggedFile) {
        self.note(format!("file {}", file.object));
    }

    fn record(&mut self, record: &[u8]) {
        self.note(format!("record {}", record.len()));
    }

    fn file_end(&mut self, whole: bool) {
        self.note(format!("end {whole}"));
    }

    fn tree(&mut self) -> Result<Option<Tree>, CommitmentError> {
        self.note("tree".to_owned());
        Ok(None)
    }

    fn stored<'a>(
        &'a mut self,
        _: &'a Store,
        _: &'a Digest,
        ours: bool,
    ) -> futures_util::future::BoxFuture<'a, Result<(), CommitmentError>> {
        self.note(format!("stored {ours}"));
        Box::pin(async { Ok(()) })
    }
}
