//! A bucket as CloudTrail itself writes it: digests and log files, and nothing else.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use super::*;
use crate::digest::{Digest, Metadata};
use crate::sign::RsaPublicKey;

const GOLDEN: [(&[u8], &str); 2] = [
    (
        include_bytes!("../../../testdata/digest/golden-1.json"),
        include_str!("../../../testdata/digest/golden-1.signature"),
    ),
    (
        include_bytes!("../../../testdata/digest/golden-2.json"),
        include_str!("../../../testdata/digest/golden-2.signature"),
    ),
];
const LOG: &str = "AWSLogs/111122223333/CloudTrail/us-east-1/2026/01/15/\
                   111122223333_CloudTrail_us-east-1_20260115T1105Z_AbCdEf0123456789.json.gz";

fn gzip(content: &[u8]) -> Vec<u8> {
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    encoder.write_all(content).unwrap();
    encoder.finish().unwrap()
}

/// The digests on which the AWS CLI ends with 0, and the log file that the second lists; the keys of the digests.
fn bucket() -> (Memory, [String; 2]) {
    let mut bucket = Memory::default();
    bucket.objects.insert(LOG.to_owned(), gzip(br#"{"Records":[]}"#));
    let keys = GOLDEN.map(|(content, signature)| {
        let key = Digest::parse(content).unwrap().object;
        bucket.objects.insert(key.to_string(), gzip(content));
        let metadata = Metadata::new(signature.parse().unwrap());
        bucket.objects.insert(key.companion(), metadata.render().unwrap());
        key.to_string()
    });
    (bucket, keys)
}

fn options() -> Options {
    let der = STANDARD.decode(include_str!("../../../testdata/digest/golden-key.txt")).unwrap();
    let key = RsaPublicKey::from_pkcs1(&der).unwrap();
    Options {
        digest_keys: Some(vec![DigestTrust { key, validity: None }]),
        now: Some("2026-01-15T13:00:00Z".parse().unwrap()),
        ..Options::default()
    }
}

/// Kind and last part of the object's key, one line a finding.
fn lines(report: &Report) -> Vec<String> {
    let name = |object: &str| object.rsplit('/').next().unwrap_or_default().to_owned();
    report
        .findings
        .iter()
        .map(|finding| format!("{} {}", finding.kind.name(), name(&finding.object)))
        .collect()
}

#[track_caller]
fn check(bucket: &Memory, options: &Options, expected: &[&str]) {
    let report = run(bucket, options, &());
    let lines = lines(&report);
    assert_eq!(lines.len(), expected.len(), "{:#?}", report.findings);
    for (line, expected) in lines.iter().zip(expected) {
        let (start, end) = expected.split_once('*').unwrap_or((expected, ""));
        assert!(line.starts_with(start) && line.ends_with(end), "{line} is not {expected}");
    }
}

#[test]
fn what_cloudtrail_writes_is_valid() {
    let (bucket, _) = bucket();
    let report = run(&bucket, &options(), &());
    assert_eq!(report.outcome(), Outcome::Valid, "{:#?}", report.findings);
    assert_eq!((report.digests, report.totals.valid_digests, report.totals.digested_log_files), (2, 2, 1));
    assert_eq!((report.log_files, report.totals.valid_log_files, report.manifests), (1, 1, 0));
    assert_eq!(report.heads.len(), 1);
}

#[test]
fn what_is_done_to_it_is_found() {
    let (whole, [first, second]) = bucket();
    let edit = |change: &dyn Fn(&mut Memory)| {
        let mut bucket = whole.clone();
        change(&mut bucket);
        bucket
    };
    let options = options();
    let removed = |key: &str| edit(&|bucket| drop(bucket.objects.remove(key).unwrap()));
    check(&removed(LOG), &options, &["missing *AbCdEf0123456789.json.gz"]);
    check(&removed(&first), &options, &["missing *T110000Z.json.gz"]);
    check(&removed(&format!("{second}.metadata.json")), &options, &["unsigned *T120000Z.json.gz"]);
    // The newest, which nothing names: once another period is over, and some.
    let headless = removed(&second);
    let until = |text: &str| Options { now: Some(text.parse().unwrap()), ..options.clone() };
    check(&headless, &until("2026-01-15T13:14:59Z"), &[]);
    check(&headless, &until("2026-01-15T13:15:00Z"), &["missing *T120000Z.json.gz"]);
    let ended =
        Options { to: Some("2026-01-15T11:00:00Z".parse().unwrap()), ..until("2027-01-15T00:00:00Z") };
    check(&headless, &ended, &[]);

    let changed = edit(&|bucket| drop(bucket.objects.insert(LOG.to_owned(), gzip(br#"{"Records":[{}]}"#))));
    check(&changed, &options, &["modified *AbCdEf0123456789.json.gz"]);
    let appended = edit(&|bucket| bucket.objects.get_mut(LOG).unwrap().extend(gzip(b"more")));
    check(&appended, &options, &["modified *AbCdEf0123456789.json.gz"]);
    // Compressed anew it has the content that was signed, and CloudTrail signs no more.
    let again = edit(&|bucket| {
        let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::best());
        encoder.write_all(br#"{"Records":[]}"#).unwrap();
        bucket.objects.insert(LOG.to_owned(), encoder.finish().unwrap());
    });
    check(&again, &options, &[]);

    // A log file that nobody has signed for: none of the newest period, which may be under way to its digest.
    let added = |minute: &str| {
        let log = LOG.replace("T1105Z_AbCd", &format!("T{minute}Z_XbCd"));
        edit(&|bucket| drop(bucket.objects.insert(log.clone(), gzip(br#"{"Records":[{}]}"#))))
    };
    check(&added("1059"), &options, &["undigested *XbCdEf0123456789.json.gz"]);
    check(&added("1159"), &options, &[]);

    let foreign = edit(&|bucket| {
        let bytes = bucket.objects.remove(&second).unwrap();
        let companion = bucket.objects.remove(&format!("{second}.metadata.json")).unwrap();
        let to = second.replace("T120000Z", "T130000Z");
        bucket.objects.insert(format!("{to}.metadata.json"), companion);
        bucket.objects.insert(to, bytes);
    });
    check(&foreign, &options, &["missing *T120000Z.json.gz", "moved *T130000Z.json.gz"]);
}

#[test]
fn keys_are_believed_for_their_time_and_no_other() {
    let (bucket, _) = bucket();
    let given = options();
    let key = given.digest_keys.as_ref().unwrap()[0].key.clone();
    let time = |text: &str| text.parse().unwrap();
    let trust = |start: &str, end: &str| {
        let validity = Some((time(start), time(end)));
        Options { digest_keys: Some(vec![DigestTrust { key: key.clone(), validity }]), ..given.clone() }
    };
    check(&bucket, &trust("2026-01-15T10:59:59Z", "2026-01-15T12:00:00Z"), &[]);
    check(
        &bucket,
        &trust("2026-01-15T10:00:00Z", "2026-01-15T11:59:59Z"),
        &["key not in force *T120000Z.json.gz"],
    );
    // Nobody published the key, and who gives others believes only these.
    let none = Options { digest_keys: None, ..given.clone() };
    check(
        &bucket,
        &none,
        &["key unknown *T110000Z.json.gz", "key unknown *T120000Z.json.gz", "uncommitted *"],
    );
    let elsewhere = Options { bucket: Some("other-bucket".to_owned()), ..given };
    check(&bucket, &elsewhere, &["moved *T110000Z.json.gz", "moved *T120000Z.json.gz", "uncommitted *"]);
}

#[test]
fn a_cursor_saves_reading_and_remembers_how_far_it_was() {
    let (bucket, [_, second]) = bucket();
    let header = Cursor::header("here", &options());
    let tokens = Mutex::new(Vec::new());
    struct Note<'a>(&'a Mutex<Vec<Token>>);
    impl Progress for Note<'_> {
        fn verified(&self, token: Token) {
            self.0.lock().unwrap().push(token);
        }
    }
    let report = run(&bucket, &options(), &Note(&tokens));
    let mut cursor = Cursor::parse(&header, &header).unwrap();
    tokens.into_inner().unwrap().into_iter().for_each(|token| cursor.insert(token));
    cursor.advance(&report.heads);
    assert_eq!((cursor.len(), cursor.heads().len()), (1, 1));
    let again = Options { cursor: Some(Arc::new(cursor)), ..options() };
    let report = run(&bucket, &again, &());
    assert_eq!((report.outcome(), report.totals.remembered_log_files), (Outcome::Valid, 1));

    // Other bytes of the same size are not believed: the listing of a real store tells, here the size does.
    let mut changed = bucket.clone();
    changed.objects.get_mut(LOG).unwrap().push(0);
    let report = run(&changed, &again, &());
    assert_eq!((report.outcome(), report.totals.remembered_log_files), (Outcome::Invalid, 0));

    // Set back, with a clock that is too.
    let mut back = bucket;
    for key in [LOG.to_owned(), second.clone(), format!("{second}.metadata.json")] {
        back.objects.remove(&key).unwrap();
    }
    let now = Some("2026-01-15T12:00:00Z".parse().unwrap());
    check(&back, &Options { cursor: None, now, ..options() }, &[]);
    check(&back, &Options { now, ..again }, &["rolled back *T120000Z.json.gz"]);
}
