use std::collections::BTreeSet;
use std::path::Path;

use bytes::Bytes;
use jiff::SignedDuration;
use proptest::prelude::*;
use sidetrail_archive::digest::{Digest, LoggedFile, PublishedDigestKey};
use sidetrail_archive::hash::Sha256;
use sidetrail_archive::key::{Account, DigestKey, Home, Id, ManifestKey, Region, Second, Trail};
use sidetrail_archive::log::{LogWriter, content_digest};
use sidetrail_archive::manifest::{Chain, Manifest, PublishedKey, Source};
use sidetrail_archive::sign::{DigestSigner, Ed25519Signer, RsaSigner};

use super::*;

const NOW: &str = "2026-01-15T12:00:00Z";

/// A bucket with log files as a collector writes them.
struct Bucket {
    directory: tempfile::TempDir,
    store: Arc<Store>,
    signer: Ed25519Signer,
    index: u64,
}

impl Bucket {
    fn new() -> Self {
        let directory = tempfile::tempdir().unwrap();
        let store = Arc::new(Store::open(directory.path().to_str().unwrap(), &|_| None).unwrap());
        Self { directory, store, signer: Ed25519Signer::generate().unwrap(), index: 0 }
    }

    /// Stores a log file; gives its key.
    async fn deliver(&mut self, account: &str, region: &str, at: Timestamp, records: &[String]) -> String {
        let home = Home::new(None, Account::new(account).unwrap());
        let mut log = LogWriter::new().unwrap();
        records.iter().for_each(|record| log.push(record.as_bytes()).unwrap());
        let log = log.finish().unwrap();
        let id: Id = "0b7c6a52-9f7e-4c0b-9d0e-2f6d0f1c9a11".parse().unwrap();
        // One chain for each file: chains are the verifier's business.
        let trail = Trail::new(format!("trail-{}", self.index)).unwrap();
        self.index += 1;
        let chain = Chain { collector: id, trail, index: 0, previous: None };
        let times = records.iter().filter_map(|record| Event::read(record).time);
        let times = times.clone().min().zip(times.max()).map(|(a, b)| (a.timestamp(), b.timestamp()));
        let times = times.or((!records.is_empty()).then_some((at, at)));
        let count = records.len() as u64;
        let source = Source {
            source: id,
            service: "s".into(),
            instance: "i".into(),
            collector: None,
            first: 1,
            last: count,
            recorded: count,
            filtered: 0,
            dropped: 0,
            intents: 0,
        };
        let region = Region::new(region).unwrap();
        let stored = (count > 0).then_some(&log);
        let sources = if count > 0 { vec![source] } else { Vec::new() };
        let manifest = Manifest::new(home.clone(), region, at, chain, stored, times, sources);
        let (key, object) = PublishedKey::seal(home, &self.signer).unwrap();
        self.put(&key.to_string(), object).await;
        self.put(&manifest.manifest.log().to_string(), log.bytes).await;
        self.put(&manifest.manifest.to_string(), manifest.seal(&self.signer).unwrap()).await;
        manifest.manifest.to_string()
    }

    async fn put(&self, key: &str, bytes: Vec<u8>) {
        self.store.put_create(key, Bytes::from(bytes)).await.unwrap();
    }

    fn history(&self, cache: &Path) -> History {
        let settings = Settings {
            window: None,
            interval: Duration::from_millis(20),
            patience: Duration::from_secs(20),
            ..Settings::new(cache.to_owned())
        };
        History::start(settings, vec![Arc::clone(&self.store)], Handle::current()).unwrap()
    }
}

fn record(at: u32, name: &str, more: &str) -> String {
    let base: Timestamp = NOW.parse().unwrap();
    let time = Seconds(Seconds::of(base).0 - 10_000 + at).timestamp();
    format!(r#"{{"eventTime":"{time}","eventName":"{name}","eventID":"{name}-{at}"{more}}}"#)
}

async fn names(history: &History, query: Query) -> Vec<String> {
    let page = history.find(query, None, MAX_PAGE).await.unwrap();
    assert_eq!((page.next, page.missing_before), (None, None));
    page.events.iter().map(|found| Event::read(&found.record).id.unwrap().into_owned()).collect()
}

/// Waits until `count` events are found.
async fn wait_for(history: &History, count: usize) -> Vec<Found> {
    for _ in 0..500 {
        let page = history.find(Query::default(), None, MAX_PAGE).await.unwrap();
        if page.events.len() == count {
            return page.events;
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    panic!("there never were {count} events");
}

#[tokio::test(flavor = "multi_thread")]
async fn history_is_what_is_in_the_bucket_and_follows_it() {
    let mut bucket = Bucket::new();
    let cache = tempfile::tempdir().unwrap();
    let now = Timestamp::now();
    let (a, b) = ("123456789012", "210987654321");
    bucket.deliver(a, "r-1", now, &[record(1, "A", ""), record(5, "B", "")]).await;
    bucket.deliver(a, "r-2", now, &[record(3, "C", r#","eventCategory":"Data""#)]).await;
    bucket.deliver(b, "r-1", now, &[]).await;
    let history = bucket.history(cache.path());
    assert_eq!(names(&history, Query::default()).await, ["B-5", "C-3", "A-1"]);
    let only = |query: Query| names(&history, query);
    assert_eq!(only(Query { regions: vec!["r-1".into()], ..Query::default() }).await, ["B-5", "A-1"]);
    assert_eq!(only(Query { accounts: vec![b.into()], ..Query::default() }).await, [""; 0]);
    assert_eq!(only(Query { classes: vec![Class::Other], ..Query::default() }).await, ["C-3"]);

    // A new region, and the same event by way of another trail.
    bucket.deliver(a, "r-1", now, &[record(7, "D", ""), record(5, "B", "")]).await;
    bucket.deliver(b, "r-3", now, &[record(6, "E", "")]).await;
    let found = wait_for(&history, 5).await;
    assert_eq!(found[1].account, b);
    assert!(found.iter().all(|found| found.state == State::Sealed));
    assert_eq!(found[0].record, record(7, "D", ""));

    // What another server finds is the same, from the bucket or from the cache.
    let other = tempfile::tempdir().unwrap();
    let again = bucket.history(other.path());
    let keys = |found: &[Found]| found.iter().map(|found| found.key).collect::<Vec<_>>();
    assert_eq!(keys(&wait_for(&again, 5).await), keys(&found));
    assert!(matches!(
        History::start(Settings::new(cache.path().into()), Vec::new(), Handle::current()),
        Err(CacheError::InUse(_))
    ));
    drop(history);
    let reopened = bucket.history(cache.path());
    assert_eq!(keys(&wait_for(&reopened, 5).await), keys(&found));
    assert_eq!(reopened.status().files, 5);
}

#[tokio::test(flavor = "multi_thread")]
async fn live_events_are_there_at_once_and_once() {
    let mut bucket = Bucket::new();
    let cache = tempfile::tempdir().unwrap();
    let history = bucket.history(cache.path());
    let records = [record(1, "A", ""), record(2, "B", "")];
    records.iter().for_each(|record| history.tell("123456789012", "r-1", record));
    let found = wait_for(&history, 2).await;
    assert!(found.iter().all(|found| found.state == State::Live));
    bucket.deliver("123456789012", "r-1", Timestamp::now(), &records).await;
    for _ in 0..500 {
        let found = wait_for(&history, 2).await;
        if found.iter().all(|found| found.state == State::Sealed) {
            assert_eq!(history.status().live, 0);
            return;
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    panic!("they are never sealed");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_sound_digest_covers_is_verified() {
    let mut bucket = Bucket::new();
    let now = Timestamp::now();
    let account = "123456789012";
    let (covered, other) = (record(1, "A", ""), record(2, "B", ""));
    let first = bucket.deliver(account, "r-1", now, std::slice::from_ref(&covered)).await;
    bucket.deliver(account, "r-1", now, &[other]).await;

    let key = include_str!("../../../archive/testdata/digest/key-a.pem");
    let signer = RsaSigner::from_pem(key).unwrap();
    let home = Home::new(None, Account::new(account).unwrap());
    let (start, end) = (now - SignedDuration::from_hours(1), now + SignedDuration::from_hours(1));
    let (object, bytes) = PublishedDigestKey::seal(home.clone(), &signer, (start, end), None).unwrap();
    bucket.put(&object.to_string(), bytes).await;
    let manifest: ManifestKey = first.parse().unwrap();
    let log = bucket.store.get(&manifest.log().to_string(), 1 << 20).await.unwrap();
    let (hash, _) = content_digest(&log, 1 << 20).unwrap();
    let file = |hash| LoggedFile {
        bucket: "bucket".into(),
        object: manifest.log(),
        hash,
        newest_event_time: None,
        oldest_event_time: None,
    };
    // The other trail's digest has a hash that is not that of the file, and the third a signature of nothing.
    let region = Region::new("r-1").unwrap();
    for (count, (trail, hash, sound)) in
        (1..).zip([("wrong", Sha256::of(b"x"), true), ("forged", hash, false), ("sound", hash, true)])
    {
        let object = DigestKey {
            home: home.clone(),
            region: region.clone(),
            trail: Trail::new(trail).unwrap(),
            home_region: region.clone(),
            end: Second::of(now),
            backfill: false,
        };
        let digest = Digest {
            account: home.account.clone(),
            start: Second::of(start).start(),
            end: Second::of(now).start(),
            bucket: "bucket".into(),
            object: object.clone(),
            fingerprint: signer.public_key().fingerprint(),
            newest_event_time: None,
            oldest_event_time: None,
            previous: None,
            log_files: vec![file(hash)],
            statement: None,
        };
        let mut sealed = digest.seal(&signer).unwrap();
        if !sound {
            sealed.signature = signer.sign(b"nothing").unwrap();
        }
        let cache = tempfile::tempdir().unwrap();
        bucket.store.put_digest(&object, &sealed).await.unwrap();
        let history = bucket.history(cache.path());
        wait_for(&history, 2).await;
        while history.status().digests < count {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        let states: Vec<_> = wait_for(&history, 2).await.into_iter().map(|found| found.state).collect();
        let expected = if trail == "sound" { State::Verified } else { State::Sealed };
        assert_eq!(states, [State::Sealed, expected], "{trail}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_log_file_that_was_changed_is_left_out_and_told() {
    let mut bucket = Bucket::new();
    let now = Timestamp::now();
    let kept = bucket.deliver("123456789012", "r-1", now, &[record(1, "A", "")]).await;
    let changed = bucket.deliver("123456789012", "r-1", now, &[record(2, "B", "")]).await;
    let forged = bucket.deliver("123456789012", "r-1", now, &[record(3, "C", "")]).await;
    let log = |manifest: &str| {
        let key: ManifestKey = manifest.parse().unwrap();
        key.log().to_string()
    };
    let path = |key: &str| bucket.directory.path().join(key);
    std::fs::copy(path(&log(&kept)), path(&log(&changed))).unwrap();
    let text = std::fs::read_to_string(path(&forged)).unwrap();
    std::fs::write(path(&forged), text.replacen("payload\":\"e", "payload\":\"f", 1)).unwrap();
    let cache = tempfile::tempdir().unwrap();
    let history = bucket.history(cache.path());
    assert_eq!(names(&history, Query::default()).await, ["A-1"]);
    let status = history.status();
    let faulty: BTreeSet<_> = status.faults.iter().map(|(key, _)| key.clone()).collect();
    assert_eq!(faulty, BTreeSet::from([log(&changed), log(&forged)]));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_damaged_cache_is_made_again() {
    let mut bucket = Bucket::new();
    let now = Timestamp::now();
    bucket.deliver("123456789012", "r-1", now, &[record(1, "A", ""), record(2, "B", "")]).await;
    let cache = tempfile::tempdir().unwrap();
    drop_after(bucket.history(cache.path())).await;
    let segments = || {
        let entries = std::fs::read_dir(cache.path()).unwrap().map(|entry| entry.unwrap().path());
        entries.filter(|path| path.extension().is_some_and(|it| it == "segment")).collect::<Vec<_>>()
    };
    let path = segments().remove(0);
    let good = std::fs::read(&path).unwrap();
    std::fs::write(cache.path().join("of-another"), "x").unwrap();
    for bad in [&b"foreign"[..], &good[..good.len() / 2]] {
        std::fs::write(segments().remove(0), bad).unwrap();
        drop_after(bucket.history(cache.path())).await;
    }
    std::fs::write(cache.path().join("catalog.json"), "{}").unwrap();
    drop_after(bucket.history(cache.path())).await;
    assert_eq!(segments().len(), 1);
    assert!(cache.path().join("of-another").exists());

    // While it is being used.
    let history = bucket.history(cache.path());
    wait_for(&history, 2).await;
    let path = segments().remove(0);
    let mut bytes = std::fs::read(&path).unwrap();
    bytes[100] ^= 1;
    std::fs::write(&path, bytes).unwrap();
    history.forget_pages();
    assert!(matches!(history.find(Query::default(), None, 10).await, Err(FindError::Damaged(_))));
    wait_for(&history, 2).await;

    async fn drop_after(history: History) {
        wait_for(&history, 2).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn pages_go_on_while_events_arrive() {
    let mut bucket = Bucket::new();
    let cache = tempfile::tempdir().unwrap();
    let now = Timestamp::now();
    let records: Vec<_> = (0..40).map(|at| record(at * 2, "A", "")).collect();
    bucket.deliver("123456789012", "r-1", now, &records).await;
    let history = bucket.history(cache.path());
    let (mut after, mut seen) = (None, Vec::new());
    loop {
        let page = history.find(Query::default(), after, 7).await.unwrap();
        seen.extend(page.events.iter().map(|found| found.record.clone()));
        let Some(next) = page.next else { break };
        after = Some(next);
        let newer = record(100 + seen.len() as u32, "N", "");
        bucket.deliver("123456789012", "r-1", now, &[newer]).await;
        wait_for(&history, 40 + bucket.index as usize - 1).await;
    }
    let mut expected = records;
    expected.reverse();
    assert_eq!(seen, expected);
}

/// A random record, of few values, so that they meet.
fn arbitrary_record() -> impl Strategy<Value = String> {
    let choice = |values: &'static [&'static str]| proptest::sample::select(values);
    (
        0_u32..200,
        choice(&["GetOrder", "GetUser", "ListOrders", "Refund"]),
        choice(&["", r#","readOnly":true"#, r#","readOnly":false"#]),
        choice(&["", r#","errorCode":"AccessDenied""#, r#","errorCode":"NotFound""#]),
        choice(&["10.0.0.1", "10.0.1.2", "192.168.7.7", "2001:db8::1", "AWS Internal"]),
        choice(&["casey", "robin", "root"]),
        choice(&["", r#","eventCategory":"Data""#, r#","eventCategory":"Insight""#]),
        (choice(&["17", "18", "a-b_c"]), choice(&["left at the door", "Door 17", ""]), 0_u32..5),
    )
        .prop_map(|(at, name, read_only, error, address, user, category, (id, note, salt))| {
            record(
                at,
                name,
                &format!(
                    r#"{read_only}{error}{category},"sourceIPAddress":"{address}","userIdentity":{{"type":"IAMUser","userName":"{user}","arn":"arn:aws:iam::123456789012:user/{user}"}},"resources":[{{"type":"T{id}","ARN":"arn:aws:orders:r:123456789012:order/{id}"}}],"requestParameters":{{"id":"{id}","note":"{note}","n":{salt}}}"#
                ),
            )
        })
}

fn arbitrary_condition() -> impl Strategy<Value = Vec<Condition>> {
    let is = |field, values: &'static [&'static str]| {
        proptest::sample::select(values).prop_map(move |value| vec![Condition::is(field, value)])
    };
    prop_oneof![
        is(Field::EventName, &["GetOrder", "Refund", "None"]),
        is(Field::ReadOnly, &["true", "false"]),
        is(Field::Username, &["casey", "root"]),
        is(Field::ErrorCode, &["NotFound"]),
        is(Field::ResourceName, &["17", "arn:aws:orders:r:123456789012:order/18"]),
        is(Field::ResourceType, &["T17"]),
        is(Field::AddressName, &["AWS Internal"]),
        Just(vec![Condition::failed()]),
        Just(vec![
            Condition::any(["GetUser", "Refund", "x"].map(|name| Condition::is(Field::EventName, name)))
                .unwrap()
        ]),
        proptest::sample::select(&["Get", "L", "", "x"][..])
            .prop_map(|prefix| vec![Condition::starts_with(Field::EventName, prefix).unwrap()]),
        Just(vec![Condition::starts_with(Field::Principal, "arn:aws:iam::123456789012:user/r").unwrap()]),
        proptest::sample::select(&["10.0.0.0/8", "10.0.1.0/24", "0.0.0.0/0", "2001:db8::/32"][..])
            .prop_map(|network| vec![Condition::within(network.parse().unwrap())]),
        proptest::sample::select(&["door 17", "doo*", "a-b_c", "left 4"][..])
            .prop_map(|text| Condition::words(text).unwrap()),
    ]
}

fn arbitrary_query() -> impl Strategy<Value = Query> {
    let classes = proptest::sample::subsequence(Class::ALL.to_vec(), 0..3);
    let bound = proptest::option::of(0_u32..200);
    (classes, bound.clone(), bound, proptest::collection::vec(arbitrary_condition(), 0..4)).prop_map(
        |(classes, from, to, conditions)| {
            let base = Seconds::of(NOW.parse().unwrap()).0 - 10_000;
            Query {
                classes,
                from: from.map(|from| Seconds(base + from)),
                to: to.map(|to| Seconds(base + to)),
                conditions: conditions.concat(),
                ..Query::default()
            }
        },
    )
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(16))]

    /// What the index answers is what reading every record would: sealed and live, in many segments and merged ones.
    #[test]
    fn the_index_finds_what_a_filter_finds(
        files in proptest::collection::vec(proptest::collection::vec(arbitrary_record(), 1..30), 1..12),
        live in proptest::collection::vec(arbitrary_record(), 0..20),
        queries in proptest::collection::vec(arbitrary_query(), 30),
        limit in 1_usize..20,
    ) {
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
        runtime.block_on(async {
            let mut bucket = Bucket::new();
            let cache = tempfile::tempdir().unwrap();
            let history = bucket.history(cache.path());
            let mut all = BTreeSet::new();
            for records in &files {
                bucket.deliver("123456789012", "r-1", Timestamp::now(), records).await;
                all.extend(records.iter().map(|record| (Event::read(record).key(Seconds(0)), record.clone())));
                // One by one, so that each is a segment.
                wait_for(&history, all.len()).await;
            }
            // Eight of a size are one now.
            while history.shared.merge_once().unwrap() {}
            for record in &live {
                history.tell("123456789012", "r-1", record);
                all.insert((Event::read(record).key(Seconds(0)), record.clone()));
            }
            for query in queries {
                let expected: Vec<&String> = all
                    .iter()
                    .rev()
                    .filter(|(key, record)| {
                        let event = Event::read(record);
                        query.spans(key.at())
                            && (query.classes.is_empty() || query.classes.contains(&event.class()))
                            && query.matches(&event)
                    })
                    .map(|(_, record)| record)
                    .collect();
                let (mut found, mut after) = (Vec::new(), None);
                loop {
                    let page = history.find(query.clone(), after, limit).await.unwrap();
                    found.extend(page.events.into_iter().map(|found| found.record));
                    after = page.next;
                    if after.is_none() { break }
                }
                assert_eq!(found.iter().collect::<Vec<_>>(), expected, "{query:?}");
            }
        });
    }
}
