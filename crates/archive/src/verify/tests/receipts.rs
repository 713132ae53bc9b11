//! What manifests themselves say is missing.

use super::*;
use crate::key::QuarantineKey;
use crate::manifest::{Drop, Heard, Loss, Quarantined, Taken};

fn loss() -> Loss {
    let (from, to) = ("3:4096".to_owned(), "3:5000".to_owned());
    Loss { from, to, bytes: Some(904), reason: "checksum".to_owned() }
}

/// Only a loss between the manifests around a gap explains it.
#[test]
fn a_gap_with_a_receipt_is_a_loss() {
    // Which manifest of four has the receipt; the gap is before the third.
    for (index, expected) in [
        (0, ["gap m2 9-10", "spool loss m0"]),
        (1, ["lost m2 9-10", "spool loss m1"]),
        (2, ["lost m2 9-10", "spool loss m2"]),
        (3, ["gap m2 9-10", "spool loss m3"]),
    ] {
        let mut writer = Writer::new();
        for at in 0..4 {
            if at == 2 {
                writer.next += 2;
            }
            writer.write(2, |manifest| manifest.losses.extend((at == index).then(loss)));
        }
        check(&writer, &expected);
        let lost = expected[0].starts_with("lost");
        let outcome = if lost { Outcome::ValidWithLosses } else { Outcome::Invalid };
        assert_eq!(verify(&writer.bucket).outcome(), outcome);
    }
    // What is wrong, or could not be checked, is not outweighed by what is merely lost.
    let mut writer = Writer::new();
    writer.write(2, |manifest| manifest.losses.push(loss()));
    writer.write(2, |_| ());
    writer.bucket.failing.insert(writer.manifests[1].to_string());
    assert_eq!(verify(&writer.bucket).outcome(), Outcome::CouldNotCheck);
}

#[test]
fn what_a_source_numbered_has_to_come() {
    let heard = |arrived, assigned, ended| Heard {
        source: SOURCE,
        service: "shop".to_owned(),
        instance: "shop-1".to_owned(),
        arrived,
        assigned,
        ended,
    };
    let mut writer = Writer::new();
    writer.write(2, |manifest| manifest.heard.push(heard(4, 8, false)));
    check(&writer, &["not arrived m0 5-8"]);
    writer.write(2, |_| ());
    check(&writer, &[]);
    writer.write(2, |manifest| manifest.heard.push(heard(12, 14, true)));
    check(&writer, &["not arrived m2 13-14"]);
    let to = Some(writer.at);
    let options = Options { to, threads: NonZeroUsize::MIN, ..Options::default() };
    assert_eq!(run(&writer.bucket, &options, &()).outcome(), Outcome::Valid, "it may be after the range");

    let (_, mut manifest) = writer.manifest(2);
    manifest.heard.push(heard(4, 3, false));
    assert!(matches!(manifest.seal(&writer.signer), Err(MakeError::Rule(_))));
}

#[test]
fn a_quarantined_frame_is_read_as_well() {
    let mut writer = Writer::new();
    let key = QuarantineKey {
        home: home(),
        collector: COLLECTOR,
        trail: Trail::new("default").unwrap(),
        frame: Sha256::of(b"frame"),
    };
    let (sha256, size) = (Sha256::of(b"object"), 6);
    let frame = Quarantined { key: key.clone(), sha256, size, reason: "no".to_owned() };
    writer.write(2, |manifest| manifest.quarantined.push(frame));
    check(&writer, &["missing k", "quarantined m0"]);
    writer.bucket.objects.insert(key.to_string(), b"object".to_vec());
    check(&writer, &["quarantined m0"]);
    assert_eq!(verify(&writer.bucket).outcome(), Outcome::ValidWithLosses);
    assert_eq!(verify(&writer.bucket).other, 0);
    writer.bucket.objects.insert(key.to_string(), b"objekt".to_vec());
    check(&writer, &["modified k", "quarantined m0"]);
}

/// The name of another attempt is computed like the first, and manifests of before have no word of it.
#[test]
fn a_name_that_was_taken_is_gone_around() {
    let mut writer = Writer::new();
    writer.write(2, |_| ());
    let (log, manifest) = writer.manifest(2);
    let first = manifest.manifest.log().to_string();
    let taken = Taken { key: first.clone(), sha256: Some(Sha256::of(b"foreign")) };
    let renamed = manifest.clone().renamed(1, vec![taken]);
    assert_ne!(renamed.manifest, manifest.manifest);
    let log = log.unwrap().bytes;
    writer.bucket.objects.insert(renamed.manifest.log().to_string(), log);
    let bytes = renamed.seal(&writer.signer).unwrap();
    writer.bucket.objects.insert(renamed.manifest.to_string(), bytes);
    writer.manifests.push(renamed.manifest.clone());
    check(&writer, &[]);
    writer.bucket.objects.insert(first.clone(), b"foreign".to_vec());
    check(&writer, &["superseded l?"]);
    writer.bucket.objects.insert(first, b"Foreign".to_vec());
    check(&writer, &["uncommitted l?"]);

    let wrong = Manifest { attempt: 2, ..renamed };
    assert!(
        matches!(wrong.seal(&writer.signer), Err(MakeError::Rule(_))),
        "the name says which attempt it is"
    );
    let text = serde_json::to_string(&manifest).unwrap();
    for word in ["attempt", "taken", "losses", "heard", "quarantined", "drops"] {
        assert!(!text.contains(word), "{word}");
    }
}

#[test]
fn reasons_are_of_drops() {
    let mut writer = Writer::new();
    writer.index = 1;
    let (_, mut manifest) = writer.manifest(2);
    writer.index = 0;
    let dropped = manifest.sources[0].dropped;
    assert_eq!(dropped, 1);
    let reason = |count| Drop { source: SOURCE, reason: "overflow".to_owned(), count };
    manifest.chain.previous = Some(Sha256::of(b""));
    manifest.drops = vec![reason(1)];
    assert!(manifest.seal(&writer.signer).is_ok());
    manifest.drops = vec![reason(1), reason(1)];
    assert!(matches!(manifest.seal(&writer.signer), Err(MakeError::Rule(_))));
}
