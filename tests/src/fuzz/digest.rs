//! A digest is read as it is written, and has one string to be signed.

use sidetrail_archive::digest::{Digest, Metadata, Opened, PublishedDigestKey, Revocation, RsaEnvelope};
use sidetrail_archive::hash::Sha256;

pub(super) const WORDS: &[&str] = &[
    "\"awsAccountId\":\"",
    "\"digestStartTime\":\"",
    "\"digestEndTime\":\"",
    "\"digestS3Bucket\":\"",
    "\"digestS3Object\":\"",
    "\"digestPublicKeyFingerprint\":\"",
    "\"digestSignatureAlgorithm\":\"SHA256withRSA\"",
    "\"newestEventTime\":null",
    "\"previousDigestS3Bucket\":null",
    "\"previousDigestHashAlgorithm\":\"SHA-256\"",
    "\"previousDigestSignature\":\"",
    "\"logFiles\":[{",
    "\"s3Object\":\"",
    "\"hashValue\":\"",
    "\"hashAlgorithm\":",
    "\"sidetrail\":{",
    "\"version\":1",
    "\"chains\":[{",
    "\"sources\":[{",
    "\"keys\":[{",
    "\"tree\":{",
    "\"problems\":[{",
    "\"holes\":[[",
    "2026-01-15T11:00:00Z",
    "18446744073709551615",
    "null",
    "../",
];

pub(super) fn seeds() -> Vec<Vec<u8>> {
    let directory = concat!(env!("CARGO_MANIFEST_DIR"), "/../crates/archive/testdata/digest");
    let entries = std::fs::read_dir(directory).expect("the golden digests");
    let mut paths: Vec<_> = entries.map(|entry| entry.expect("an entry").path()).collect();
    paths.sort();
    let whole =
        paths.iter().filter(|path| path.is_file()).map(|path| std::fs::read(path).expect("a golden file"));
    whole.filter(|bytes| bytes.len() <= super::MAX_INPUT).collect()
}

pub(super) fn check(input: &[u8]) {
    let _ = Opened::read(input);
    let _ = PublishedDigestKey::open(input);
    let _ = Revocation::open(input, &[]);
    let _ = RsaEnvelope::read(input);
    if let Ok(metadata) = Metadata::parse(input) {
        let again = metadata.render().expect("it was read");
        assert_eq!(Metadata::parse(&again).expect("our own bytes"), metadata);
    }
    if let Ok(digest) = Digest::parse(input) {
        let content = digest.render().expect("what was read can be written");
        assert_eq!(Digest::parse(&content).expect("our own bytes"), digest);
        let string = digest.string_to_sign(Sha256::of(&content));
        assert_eq!(string.lines().count(), 4, "{string}");
    }
}
