//! `sidetrail verify`: outcomes, exit codes, and what they name.

use std::ffi::OsStr;
use std::fs;

use serde_json::Value;
use sidetrail_archive::sign::{Ed25519Signer, Signer};

use crate::run::{Ended, command, ended, sidetrail};
use crate::write::{Archive, archive};

fn verify(archive: &Archive, options: &[&str]) -> Ended {
    let root = archive.root().as_os_str();
    sidetrail([OsStr::new("verify"), root].into_iter().chain(options.iter().map(OsStr::new)))
}

#[test]
fn an_archive_as_written_is_valid() {
    let archive = archive();
    let keys = archive.keys();
    let text = verify(&archive, &["--keys", keys.path().to_str().unwrap()]).with(0).stdout;
    for line in [
        &format!(
            "checked {}: 3 log files, 3 manifests, 1 published key, 0 other objects left alone",
            archive.root().canonicalize().unwrap().display()
        ),
        "events  6 recorded, 3 not selected by the trail, 0 given up by senders, 6 intents",
        "trust   1 key, given with --keys",
        &format!("key     {}", archive.signer.key_id()),
        "source  51515151-5151-5151-5151-515151515151 shop on shop-1, trail default: \
         events 1 to 15, 6 recorded, 3 not selected, 0 given up, 6 intents",
    ] {
        assert!(text.lines().any(|it| it == line), "{line}\nnot in\n{text}");
    }
    assert_eq!(text.lines().last(), Some("VALID"));

    let text = verify(&archive, &[]).with(0).stdout;
    assert!(text.contains("trust   1 key, published in the bucket itself"), "{text}");
    let url = format!("file://{}", archive.root().display());
    sidetrail(["verify", &url, "--jobs", "1"]).with(0);
}

#[test]
fn what_was_changed_or_removed_is_named() {
    type Damage = fn(&Archive) -> (String, &'static str);
    let damages: [Damage; 6] = [
        |archive| (archive.logs[1].clone(), "MODIFIED"),
        |archive| (archive.logs[2].clone(), "MISSING"),
        |archive| (archive.manifests[0].clone(), "MODIFIED"),
        |archive| (archive.logs[1].clone(), "UNCOMMITTED"),
        |archive| (archive.key.clone(), "MODIFIED"),
        |archive| (archive.key.clone(), "MISSING"),
    ];
    for damage in damages {
        let archive = archive();
        let keys = archive.keys();
        let (object, kind) = damage(&archive);
        match kind {
            "MISSING" => fs::remove_file(archive.path(&object)).unwrap(),
            "UNCOMMITTED" => fs::remove_file(archive.path(&archive.manifests[1])).unwrap(),
            _ => archive.flip(&object),
        }
        let text = verify(&archive, &["--keys", keys.path().to_str().unwrap()]).with(1).stdout;
        let named = text.lines().any(|line| line.split(' ').nth(1) == Some(&object));
        assert!(named, "{kind} {object} in\n{text}");
        if kind != "MODIFIED" {
            assert!(text.contains(&format!("{kind} {object} ")), "{text}");
        }
        assert_eq!(text.lines().last(), Some("INVALID"), "{text}");
    }
}

#[test]
fn keys_that_are_not_believed_make_it_invalid() {
    let archive = archive();
    let other = tempfile::NamedTempFile::new().unwrap();
    fs::write(&other, Ed25519Signer::generate().unwrap().public_key().to_pem()).unwrap();
    let text = verify(&archive, &["--keys", other.path().to_str().unwrap()]).with(1).stdout;
    assert!(text.contains(&format!("KEY-UNKNOWN {} ", archive.manifests[0])), "{text}");
    assert!(!text.contains("source "), "what nobody is believed to have signed covers nothing: {text}");
}

#[test]
fn a_range_is_kept() {
    let archive = archive();
    archive.flip(&archive.logs[0]);
    verify(&archive, &["--to", "2026-01-15T12:00:00+01:00"]).with(1);
    let text = verify(&archive, &["--from", "2026-01-15T13:00:00+01:00"]).with(0).stdout;
    assert!(text.contains("range   delivered from 2026-01-15T12:00:00Z on"), "{text}");
    assert!(text.contains(": 2 log files,"), "{text}");
    verify(&archive, &["--from", "2026-01-15", "--to", "2026-01-15"]).with(1);
    let text = verify(&archive, &["--to", "2026-01-14"]).with(2).stdout;
    assert!(text.contains("COULD-NOT-CHECK - nothing to check"), "{text}");
}

#[test]
fn json_is_one_object_with_everything() {
    let archive = archive();
    archive.flip(&archive.logs[0]);
    let text = verify(&archive, &["--json"]).with(1).stdout;
    let report: Value = serde_json::from_str(&text).unwrap();
    assert_eq!(report["outcome"], "invalid");
    assert_eq!(report["trust"], "published");
    assert_eq!(report["findings"][0]["object"], *archive.logs[0]);
    assert_eq!(report["trustedKeys"][0], archive.signer.key_id().to_string());
    assert_eq!(report["sources"][0]["last"], 15);
    assert_eq!(report["sources"][0]["intents"], 6);
    assert_eq!(report["from"], Value::Null);
    assert_eq!(text.lines().count(), 1);
}

#[test]
fn what_cannot_be_checked_says_why() {
    let empty = tempfile::tempdir().unwrap();
    let text = sidetrail([OsStr::new("verify"), empty.path().as_os_str()]).with(2).stdout;
    assert!(text.ends_with("found   0 wrong, 1 that could not be checked\nCOULD NOT CHECK\n"), "{text}");

    let error = sidetrail(["verify", "/no/such/bucket"]).with(2).stderr;
    assert!(error.contains("/no/such/bucket: No such file"), "{error}");
    let error = sidetrail(["verify", "gopher://bucket"]).with(2).stderr;
    assert!(error.contains("gopher://bucket"), "{error}");

    let archive = archive();
    let error = verify(&archive, &["--keys", "/no/such/keys"]).with(2).stderr;
    assert!(error.contains("/no/such/keys: No such file"), "{error}");
    let keys = archive.path(&archive.key);
    let error = verify(&archive, &["--keys", keys.to_str().unwrap()]).with(2).stderr;
    assert!(error.contains("holds no PUBLIC KEY block"), "{error}");
}

#[test]
fn a_service_that_does_not_answer_is_named_with_its_bucket() {
    // A port that was free a moment ago: connections are refused.
    let port = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let endpoint = format!("http://127.0.0.1:{port}");
    let mut command = command();
    command.args(["verify", "s3://audit/prod"]).env("AWS_ENDPOINT_URL", &endpoint);
    command.envs([
        ("AWS_ACCESS_KEY_ID", "id"),
        ("AWS_SECRET_ACCESS_KEY", "hush-hush"),
        ("AWS_REGION", "local"),
    ]);
    let ended = ended(&mut command, b"").with(2);
    assert!(ended.stdout.contains(&format!("s3://audit at {endpoint}")), "{ended:?}");
    assert!(!format!("{ended:?}").contains("hush-hush"));
}

/// A run that was cut off goes on where it was: what its cursor knows is not read again, and nothing else is believed.
#[test]
fn a_cursor_goes_on_and_believes_what_it_has_seen() {
    let archive = archive();
    let keys = archive.keys();
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("cursor");
    let options = ["--keys", keys.path().to_str().unwrap(), "--json", "--cursor", file.to_str().unwrap()];
    let run =
        |code: i32| -> Value { serde_json::from_str(&verify(&archive, &options).with(code).stdout).unwrap() };
    assert_eq!(run(0)["rememberedLogFiles"], 0);
    assert_eq!(run(0)["rememberedLogFiles"], 3);

    // Cut off in the second of three, and in the middle of a line.
    let text = fs::read_to_string(&file).unwrap();
    let lines: Vec<_> = text.split_inclusive('\n').collect();
    fs::write(&file, format!("{}{}{}", lines[0], lines[1], &lines[2][..9])).unwrap();
    let report = run(0);
    assert_eq!((&report["rememberedLogFiles"], &report["validLogFiles"]), (&1.into(), &3.into()));

    // What was changed since is read, and found.
    archive.flip(&archive.logs[1]);
    let report = run(1);
    assert_eq!(report["rememberedLogFiles"], 2);
    assert_eq!(report["findings"][0]["object"], *archive.logs[1]);
    archive.flip(&archive.logs[1]);
    run(0);

    // The newest pair is gone: without a digest only who has seen it knows.
    for key in [&archive.logs[2], &archive.manifests[2]] {
        fs::remove_file(archive.path(key)).unwrap();
    }
    verify(&archive, &options[..2]).with(0);
    let report = run(1);
    assert_eq!(report["findings"][0]["kind"], "rolledBack");
    assert_eq!(report["findings"][0]["object"], *archive.manifests[2]);
    // And still knows it the next time.
    assert_eq!(run(1)["findings"][0]["kind"], "rolledBack");

    // It is for these keys and no others.
    let error = verify(&archive, &options[3..]).with(2).stderr;
    assert!(error.contains("one for another bucket or other keys"), "{error}");
}

#[test]
fn findings_are_test_results_too() {
    let archive = archive();
    let directory = tempfile::tempdir().unwrap();
    let junit = directory.path().join("report.xml");
    let options = ["--junit", junit.to_str().unwrap()];
    verify(&archive, &options).with(0);
    let text = fs::read_to_string(&junit).unwrap();
    assert!(text.contains("tests=\"5\" failures=\"0\" errors=\"0\" skipped=\"0\""), "{text}");
    archive.flip(&archive.logs[1]);
    verify(&archive, &options).with(1);
    let text = fs::read_to_string(&junit).unwrap();
    assert!(text.contains("tests=\"6\" failures=\"1\""), "{text}");
    let case = format!("<testcase classname=\"sidetrail.verify.modified\" name=\"{}\">", archive.logs[1]);
    assert!(
        text.contains(&case) && text.contains("<failure type=\"modified\" message=\"the object has"),
        "{text}"
    );
}

#[test]
fn a_store_without_locks_protects_nothing() {
    let archive = archive();
    verify(&archive, &[]).with(0);
    let text = verify(&archive, &["--object-lock", "governance:1"]).with(1).stdout;
    for key in [&archive.key, &archive.logs[0], &archive.manifests[2]] {
        assert!(text.contains(&format!("UNPROTECTED {key} the store has no locks")), "{text}");
    }
}
