use std::str::FromStr;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use jiff::Timestamp;

use super::*;
use crate::hash::Sha256;
use crate::key::{Account, DigestKey, Home, Region, Second, Trail};
use crate::sign::{DigestSigner, Ed25519Signer, RsaPublicKey, RsaSigner, Signer as _};
use crate::tlog::note::{Algorithm, Name, VerifierKey};

/// A digest, its signature, and its string to sign: sections 3.10 of the reference, on which the AWS CLI ends with 0.
const GOLDEN: [(&[u8], &str); 2] = [
    (
        include_bytes!("../../testdata/digest/golden-1.json"),
        include_str!("../../testdata/digest/golden-1.signature"),
    ),
    (
        include_bytes!("../../testdata/digest/golden-2.json"),
        include_str!("../../testdata/digest/golden-2.signature"),
    ),
];

fn golden_key() -> RsaPublicKey {
    let der = STANDARD.decode(include_str!("../../testdata/digest/golden-key.txt")).unwrap();
    RsaPublicKey::from_pkcs1(&der).unwrap()
}

fn signer() -> RsaSigner {
    RsaSigner::from_pem(include_str!("../../testdata/digest/key-a.pem")).unwrap()
}

fn other_signer() -> RsaSigner {
    RsaSigner::from_pem(include_str!("../../testdata/digest/key-b.pem")).unwrap()
}

fn at(text: &str) -> Timestamp {
    text.parse().unwrap()
}

fn home() -> Home {
    Home::new(None, Account::new("111122223333").unwrap())
}

#[test]
fn golden_vector() {
    let key = golden_key();
    assert_eq!(key.fingerprint().to_string(), "daad0a7d27c8d0c6e8f2527ff1868eea");
    let hashes = [
        "a993529b688f78851f3eedb051d69716e0b687830f94493f285e0a02a6324c18",
        "862ec7427b793e42a6ebe22fff8d412d8042448bd8f9fdd00bd4ebcd2359ffaa",
    ];
    for ((content, signature), hash) in GOLDEN.into_iter().zip(hashes) {
        let digest = Digest::parse(content).unwrap();
        assert_eq!(digest.render().unwrap(), content);
        let content_sha256 = Sha256::of(content);
        assert_eq!(content_sha256.to_string(), hash);
        let signed = digest.string_to_sign(content_sha256);
        let signature = signature.parse().unwrap();
        assert!(key.verify(signed.as_bytes(), &signature));
        assert!(!key.verify(signed.replace("2026", "2027").as_bytes(), &signature));
    }
    let first = Digest::parse(GOLDEN[0].0).unwrap();
    assert_eq!(
        first.string_to_sign(Sha256::of(GOLDEN[0].0)),
        "2026-01-15T11:00:00Z\n\
         trail-bucket/AWSLogs/111122223333/CloudTrail-Digest/us-east-1/2026/01/15/111122223333_CloudTrail-Digest_us-east-1_demo-trail_us-east-1_20260115T110000Z.json.gz\n\
         a993529b688f78851f3eedb051d69716e0b687830f94493f285e0a02a6324c18\n\
         null"
    );
    let second = Digest::parse(GOLDEN[1].0).unwrap();
    let previous = Opened { digest: first, content_sha256: Sha256::of(GOLDEN[0].0) };
    assert_eq!(second.previous, Some(previous.as_previous(GOLDEN[0].1.parse().unwrap())));
}

/// A digest with everything in it.
fn full() -> Digest {
    let golden = Digest::parse(GOLDEN[1].0).unwrap();
    let key = Ed25519Signer::generate().unwrap();
    let collector = "00112233-4455-6677-8899-aabbccddeeff".parse().unwrap();
    let (first, last, hash) = (3, 4, Sha256::of(b"manifest"));
    let (oldest, newest) = (Some(at("2026-01-15T11:01:02Z")), Some(at("2026-01-15T11:04:05Z")));
    let log_files = golden.log_files.iter().cloned();
    Digest {
        fingerprint: signer().public_key().fingerprint(),
        newest_event_time: newest,
        oldest_event_time: oldest,
        log_files: log_files
            .map(|file| LoggedFile { newest_event_time: newest, oldest_event_time: oldest, ..file })
            .collect(),
        statement: Some(Statement {
            version: Statement::VERSION,
            chains: vec![ChainRange {
                collector,
                trail: golden.object.trail.clone(),
                first,
                last,
                previous: Some(hash),
                sha256: hash,
                sources: vec![SourceRange { source: collector, first: 7, last: 9 }],
            }],
            keys: vec![CertifiedKey(key.public_key().clone())],
            tree: Some(Tree {
                origin: Name::new("a/b").unwrap(),
                size: 3,
                root_hash: hash,
                key: VerifierKey::new(
                    Name::new("a/b").unwrap(),
                    Algorithm::Ed25519,
                    key.public_key().clone(),
                ),
                leaves: golden.log_files.iter().map(|_| 2).collect(),
            }),
            problems: vec![Problem { key: "d".to_owned(), reason: "missing".to_owned() }],
            heads: Some(vec![Head {
                collector,
                last,
                sha256: hash,
                at: at("2026-01-15T11:04:00Z"),
                holes: vec![(1, 2)],
            }]),
        }),
        ..golden
    }
}

#[test]
fn a_sealed_digest_opens_and_no_other_key_signed_it() {
    let (digest, signer) = (full(), signer());
    let sealed = digest.seal(&signer).unwrap();
    assert_eq!(sealed, digest.seal(&signer).unwrap(), "the same digest is the same bytes");
    assert_eq!(sealed.bytes[..10], [0x1f, 0x8b, 8, 0, 0, 0, 0, 0, 0, 255]);
    let opened = Opened::read(&sealed.bytes).unwrap();
    assert_eq!((&opened.digest, opened.content_sha256), (&digest, sealed.content_sha256));
    assert!(opened.is_signed_by(signer.public_key(), &sealed.signature));
    assert!(!opened.is_signed_by(other_signer().public_key(), &sealed.signature));
    assert!(matches!(digest.seal(&other_signer()), Err(SealDigestError::Signer)));

    let twice = [&sealed.bytes[..], &sealed.bytes].concat();
    assert!(matches!(Opened::read(&twice), Err(OpenedError::Trailing)));
    assert!(matches!(Opened::read(&sealed.bytes[..99]), Err(OpenedError::Gzip(_))));

    let companion = Metadata::new(sealed.signature.clone()).render().unwrap();
    let text = format!(r#"{{"signature":"{}","signature-algorithm":"SHA256withRSA"}}"#, sealed.signature);
    assert_eq!(companion, text.as_bytes());
    assert_eq!(Metadata::parse(&companion).unwrap().signature, sealed.signature);
    assert!(Metadata::parse(text.replace("SHA256", "SHA512").as_bytes()).is_err());
}

#[test]
fn the_statement_is_the_last_member() {
    let text = String::from_utf8(full().render().unwrap()).unwrap();
    let at = |part: &str| text.find(part).unwrap_or_else(|| panic!("no {part} in {text}"));
    let order = [
        "\"logFiles\":[{",
        "}],\"sidetrail\":{\"version\":1,\"chains\":[{\"collector\":\"00112233",
        "\"trail\":\"demo-trail\",\"first\":3,\"last\":4,\"previous\":\"",
        "\"sha256\":\"",
        "\"sources\":[{\"source\":\"00112233-4455-6677-8899-aabbccddeeff\",\"first\":7,\"last\":9}]}],\"keys\":[{\"id\":\"",
        "\"publicKey\":\"MCowBQ",
        "\"tree\":{\"origin\":\"a/b\",\"size\":3,\"rootHash\":\"",
        "\"problems\":[{\"key\":\"d\",\"reason\":\"missing\"}]",
        "\"at\":\"2026-01-15T11:04:00Z\",\"holes\":[[1,2]]}]}}",
    ];
    assert!(order.is_sorted_by_key(|part| at(part)), "{text}");
    assert!(text.ends_with(order[order.len() - 1]));
}

#[test]
fn what_contradicts_itself_is_refused() {
    let good = String::from_utf8(full().render().unwrap()).unwrap();
    assert_eq!(Digest::parse(good.as_bytes()).unwrap().render().unwrap(), good.as_bytes());
    for (from, to) in [
        ("{\"awsAccountId\":\"111122223333\"", "{\"awsAccountId\":\"111122223334\""),
        ("\"digestEndTime\":\"2026-01-15T12:00:00Z\"", "\"digestEndTime\":\"2026-01-15T12:00:01Z\""),
        ("\"digestEndTime\":\"2026-01-15T12:00:00Z\"", "\"digestEndTime\":\"2026-01-15T12:00:00.0Z\""),
        ("\"digestStartTime\":\"2026-01-15T11", "\"digestStartTime\":\"2026-01-15T12"),
        ("\"digestSignatureAlgorithm\":\"SHA256", "\"digestSignatureAlgorithm\":\"SHA512"),
        ("\"previousDigestHashAlgorithm\":\"SHA-256\"", "\"previousDigestHashAlgorithm\":null"),
        ("_us-east-1_20260115T110000Z", "_us-east-2_20260115T110000Z"),
        ("\"newestEventTime\":\"2026-01-15T11:04:05Z\"", "\"newestEventTime\":\"2026-01-15T11:04:06Z\""),
        ("\"newestEventTime\":\"2026-01-15T11:04:05Z\"", "\"newestEventTime\":null"),
        ("\"hashAlgorithm\":\"SHA-256\"", "\"hashAlgorithm\":\"MD5\""),
        ("\"version\":1", "\"version\":2"),
        ("\"leaves\":[2]", "\"leaves\":[2,0]"),
        ("\"leaves\":[2]", "\"leaves\":[4]"),
        ("\"origin\":\"a/b\"", "\"origin\":\"a/c\""),
        ("\"first\":3,\"last\":4", "\"first\":5,\"last\":4"),
        ("\"first\":3,\"last\":4", "\"first\":0,\"last\":4"),
        ("\"trail\":\"demo-trail\"", "\"trail\":\"other-trail\""),
        ("\"first\":7", "\"first\":0"),
        ("\"logFiles\":[", "\"logFiles\":[],\"logFiles\":["),
        ("\"sidetrail\":{", "\"more\":1,\"sidetrail\":{"),
        ("\"version\":1", "\"version\":1,\"more\":1"),
    ] {
        let changed = good.replacen(from, to, 1);
        assert_ne!(changed, good, "{from}");
        assert!(Digest::parse(changed.as_bytes()).is_err(), "{changed}");
    }
}

#[test]
fn log_files_of_ours_are_in_order() {
    let mut digest = full();
    digest.log_files.push(digest.log_files[0].clone());
    assert!(matches!(digest.render(), Err(InvalidDigest::Rule(_))));
}

#[test]
fn keys_travel_in_every_form() {
    let key = golden_key();
    assert_eq!(RsaPublicKey::from_spki(&key.to_spki()).unwrap(), key);
    let public = signer().public_key().clone();
    assert_eq!(RsaPublicKey::from_pkcs1(public.as_pkcs1()).unwrap(), public);
    for at in 0..24 {
        let mut der = key.to_spki();
        der[at] ^= 1;
        assert!(RsaPublicKey::from_spki(&der).is_err(), "{at}");
    }
    for size in 0..key.as_pkcs1().len() {
        assert!(RsaPublicKey::from_pkcs1(&key.as_pkcs1()[..size]).is_err());
    }
    assert!(RsaPublicKey::from_pkcs1(&[key.as_pkcs1(), &[0]].concat()).is_err());
}

fn published(predecessor: Option<&dyn DigestSigner>) -> Vec<u8> {
    let validity = (at("2026-01-15T10:00:00Z"), at("2027-01-15T10:00:00Z"));
    PublishedDigestKey::seal(home(), &signer(), validity, predecessor).unwrap().1
}

#[test]
fn a_published_key_is_signed_by_itself_and_its_predecessor() {
    let (alone, envelope) = PublishedDigestKey::open(&published(None)).unwrap();
    assert_eq!(alone.predecessor, None);
    assert_eq!(
        alone.object.to_string(),
        format!("AWSLogs/111122223333/Sidetrail-Digest-Key/{}.json", alone.public_key.fingerprint())
    );
    assert!(alone.is_valid_for(at("2026-01-15T11:00:00Z")) && alone.is_valid_for(at("2027-01-15T10:00:00Z")));
    assert!(
        !alone.is_valid_for(at("2026-01-15T10:00:00Z")) && !alone.is_valid_for(at("2027-01-15T10:00:01Z"))
    );
    assert!(!envelope.is_signed_by(other_signer().public_key()));

    let other = other_signer();
    let bytes = published(Some(&other));
    let (replacing, envelope) = PublishedDigestKey::open(&bytes).unwrap();
    assert_eq!(replacing.predecessor, Some(other.public_key().fingerprint()));
    assert!(envelope.is_signed_by(other.public_key()) && envelope.is_signed_by(signer().public_key()));

    // Its predecessor's signature cannot be left out, nor be replaced by its own.
    let text = String::from_utf8(bytes).unwrap();
    let (head, signatures) = text.split_once("\"signatures\":[").unwrap();
    let (own, second) = signatures.split_once("},{").unwrap();
    let reopen = |text: String| PublishedDigestKey::open(text.as_bytes()).map(|_| ());
    assert!(reopen(format!("{head}\"signatures\":[{own}}}]}}")).is_err());
    let (_, envelope) =
        PublishedDigestKey::open(format!("{head}\"signatures\":[{own}}},{own}}}]}}").as_bytes()).unwrap();
    assert!(!envelope.is_signed_by(other.public_key()));
    assert!(reopen(format!("{head}\"signatures\":[{{{second}")).is_err());
    assert!(reopen(text.replace("\"payload\":", "\"payload\": ")).is_err());
    let itself = PublishedDigestKey::seal(
        home(),
        &other,
        (at("2026-01-15T10:00:00Z"), at("2027-01-15T10:00:00Z")),
        Some(&other),
    );
    assert!(itself.is_err());
}

#[test]
fn a_revocation_is_the_word_of_a_digest_key() {
    let revocation = |key: &str| Revocation {
        object: crate::key::RevocationKey { home: home(), key: key.parse().unwrap() },
        revoked_at: at("2026-01-15T10:00:00Z"),
        reason: "stolen".to_owned(),
    };
    for key in ["0".repeat(64), "0".repeat(32)] {
        let revocation = revocation(&key);
        let bytes = revocation.seal(&signer()).unwrap();
        let keys = [other_signer().public_key().clone(), signer().public_key().clone()];
        let opened = Revocation::open(&bytes, &keys).unwrap();
        assert_eq!(opened, (revocation, signer().public_key().fingerprint()));
        assert!(matches!(Revocation::open(&bytes, &keys[..1]), Err(KeyObjectError::Signature)));
        assert!(PublishedDigestKey::open(&bytes).is_err());
    }
    let long = Revocation { reason: "x".repeat(MAX_REASON + 1), ..revocation(&"0".repeat(64)) };
    assert!(long.seal(&signer()).is_err());
}

#[test]
fn the_key_says_where_a_digest_lies() {
    let key = DigestKey {
        home: home(),
        region: Region::from_str("us-east-1").unwrap(),
        trail: Trail::new("demo-trail").unwrap(),
        home_region: Region::from_str("us-east-1").unwrap(),
        end: Second::of(at("2026-01-15T12:00:00.9Z")),
        backfill: false,
    };
    assert_eq!(Digest::parse(GOLDEN[1].0).unwrap().object, key);
}
