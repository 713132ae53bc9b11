//! A signed manifest has one form in bytes; what one says is kept when it is signed again.

use std::ops::ControlFlow;
use std::sync::LazyLock;

use sidetrail_archive::dsse::Envelope;
use sidetrail_archive::manifest::{Manifest, PublishedKey};
use sidetrail_archive::quarantine;
use sidetrail_archive::sign::{Ed25519Signer, Signer};
use sidetrail_archive::source::{Bucket, Directory, Entry};

pub(super) const WORDS: &[&str] = &[
    "\"logFile\":",
    "\"sha256\":",
    "\"contentSha256\":",
    "\"chain\":{",
    "\"collector\":",
    "\"previous\":null",
    "\"sources\":[{",
    "\"first\":",
    "\"last\":",
    "\"recorded\":",
    "\"filtered\":",
    "\"dropped\":",
    "\"intents\":",
    "\"drops\":[{",
    "\"heard\":[{",
    "\"losses\":[{",
    "\"quarantined\":[{",
    "\"taken\":[{",
    "\"attempt\":",
    "\"eventsBefore\":",
    "\"payload\":\"",
    "\"payloadType\":\"",
    "\"signatures\":[",
    "\"keyid\":\"",
    "\"sig\":\"",
    "18446744073709551615",
    "null",
    "-1",
    "2026-01-15T11:05:00Z",
];

const TYPES: [&str; 2] =
    ["application/vnd.sidetrail.manifest.v1+json", "application/vnd.sidetrail.key.v1+json"];

/// The example key of RFC 8410.
static SIGNER: LazyLock<Ed25519Signer> = LazyLock::new(|| {
    Ed25519Signer::from_pem(include_str!("../../../crates/archive/testdata/v1.pem")).expect("a key")
});

pub(super) fn seeds() -> Vec<Vec<u8>> {
    let testdata = concat!(env!("CARGO_MANIFEST_DIR"), "/../crates/archive/testdata/v1");
    let bucket = Directory::new(testdata).expect("the golden bucket");
    let mut keys = Vec::new();
    let each = &mut |object: Entry<'_>| {
        keys.push(object.key.to_owned());
        ControlFlow::Continue(())
    };
    bucket.list("", each).expect("the golden bucket");
    let envelopes = keys.iter().filter(|key| key.ends_with(".json"));
    // As they are stored, and what is signed in them.
    envelopes
        .flat_map(|key| {
            let stored = std::fs::read(format!("{testdata}/{key}")).expect("a golden object");
            let payload = Envelope::read(&stored).expect("an envelope").payload;
            [stored, payload]
        })
        .collect()
}

pub(super) fn check(input: &[u8]) {
    let keys = [SIGNER.public_key().clone()];
    let _ = Manifest::open(input, &keys);
    let _ = PublishedKey::open(input);
    let _ = quarantine::read(input);
    if let Ok(envelope) = Envelope::read(input)
        && envelope.is_signed_by(&keys[0])
    {
        // Signing is deterministic, so there is one envelope with this content.
        let again = Envelope::seal(&envelope.payload_type, &envelope.payload, &*SIGNER).expect("it was one");
        assert_eq!(again, input, "another form of the same envelope");
    }

    // Past the signature, which chance does not forge.
    let [manifest, key] = TYPES.map(|kind| Envelope::seal(kind, input, &*SIGNER).expect("inputs are small"));
    let _ = PublishedKey::open(&key);
    if let Ok(manifest) = Manifest::open(&manifest, &keys) {
        let sealed = manifest.seal(&*SIGNER).expect("it was read");
        assert_eq!(Manifest::open(&sealed, &keys).expect("it was sealed"), manifest);
    }
}
