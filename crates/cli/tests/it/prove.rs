//! `sidetrail prove`, `verify-proof`, `checkpoint` and `witness`.

use std::ffi::OsStr;
use std::fs;
use std::path::{Path, PathBuf};

use serde_json::Value;
use sidetrail_archive::key::TreeObject;
use sidetrail_archive::sign::{Ed25519Signer, Signer};
use sidetrail_archive::tlog::note::{Algorithm, Name, VerifierKey};
use tempfile::TempDir;

use crate::logged::{Logged, logged};
use crate::run::{Ended, sidetrail};

fn run(parts: &[&dyn AsRef<OsStr>]) -> Ended {
    sidetrail(parts)
}

/// A place for files, with the log's key in one of them.
fn desk(logged: &Logged) -> (TempDir, PathBuf) {
    let desk = tempfile::tempdir().unwrap();
    let keys = desk.path().join("keys.txt");
    fs::write(&keys, format!("# the log\n{}\n", logged.vkey())).unwrap();
    (desk, keys)
}

#[test]
fn a_record_is_proved_and_the_proof_stands_alone() {
    let logged = logged(3);
    let (desk, keys) = desk(&logged);
    let proof = desk.path().join("proof");
    let text = run(&[&"prove", &logged.archive.root(), &"1-1", &"-o", &proof]).with(0).stdout;
    assert!(text.contains(&format!("log     {}, leaf 3 of 6\n", logged.origin)), "{text}");
    assert!(text.contains(&format!("key     {}\n", logged.vkey())), "{text}");
    let file = fs::read_to_string(&proof).unwrap();
    assert!(file.starts_with("c2sp.org/tlog-proof@v1\nextra ") && file.contains("\nindex 3\n"), "{file}");

    // Only the file and the key are needed.
    let record = logged.archive.records[3].clone();
    drop(logged);
    let text = run(&[&"verify-proof", &proof, &"--keys", &keys]).with(0).stdout;
    assert!(text.ends_with("VALID\n") && text.contains("leaf 3 of 6"), "{text}");
    let json = run(&[&"verify-proof", &proof, &"--keys", &keys, &"--json"]).with(0).stdout;
    let json: Value = serde_json::from_str(&json).unwrap();
    assert_eq!((&json["outcome"], &json["record"]["eventID"]), (&"valid".into(), &"1-1".into()));
    let again = desk.path().join("record");
    fs::write(&again, &record).unwrap();
    run(&[&"verify-proof", &proof, &"--keys", &keys, &"--record", &again]).with(0);
    fs::write(&again, record.replace("1.10", "1.11")).unwrap();
    run(&[&"verify-proof", &proof, &"--keys", &keys, &"--record", &again]).with(1);
}

#[test]
fn a_proof_that_was_changed_or_of_another_key_is_none() {
    let logged = logged(3);
    let (desk, keys) = desk(&logged);
    let text =
        run(&[&"prove", &logged.archive.root(), &"1-1", &"-o", &"-", &"--without-record"]).with(0).stdout;
    let (proof, record) = (desk.path().join("proof"), desk.path().join("record"));
    fs::write(&record, &logged.archive.records[3]).unwrap();
    let verified = |text: &str| {
        fs::write(&proof, text).unwrap();
        run(&[&"verify-proof", &proof, &"--keys", &keys, &"--record", &record])
    };
    verified(&text).with(0);
    let lines: Vec<&str> = text.lines().collect();
    for (at, line) in lines.iter().enumerate().filter(|(_, line)| !line.is_empty()) {
        // Another letter in the middle, of which base64 and digits have others.
        let middle = line.len() / 2;
        let letter = if line.as_bytes()[middle] == b'1' { "2" } else { "1" };
        let Some((head, tail)) =
            line.split_at_checked(middle).zip(line.get(middle + 1..)).map(|(a, b)| (a.0, b))
        else {
            continue;
        };
        let mut changed = lines.clone();
        let line = format!("{head}{letter}{tail}");
        changed[at] = &line;
        let ended = verified(&(changed.join("\n") + "\n"));
        assert_eq!(ended.code, 1, "{line}: {ended:?}");
    }
    let other = Ed25519Signer::generate().unwrap().public_key().clone();
    let other = VerifierKey::new(logged.origin.clone(), Algorithm::Ed25519, other);
    fs::write(&proof, &text).unwrap();
    run(&[&"verify-proof", &proof, &"--key", &other.to_string(), &"--record", &record]).with(1);
    run(&[&"verify-proof", &proof, &"--keys", &keys]).with(1);
    let error = run(&[&"verify-proof", &proof]).with(2).stderr;
    assert!(error.contains("--key"), "{error}");
    run(&[&"verify-proof", &proof, &"--key", &"none"]).with(64);
}

#[test]
fn what_cannot_be_proved_is_said() {
    let logged = logged(2);
    let root = logged.archive.root();
    let error = run(&[&"prove", &root, &"none", &"-o", &"-"]).with(2).stderr;
    assert!(error.contains("no record with the eventID none in 3 log files"), "{error}");
    // The third log file is in no digest yet.
    let error = run(&[&"prove", &root, &"2-0", &"-o", &"-"]).with(2).stderr;
    assert!(error.contains("no digest lists"), "{error}");
    let error = run(&[&"prove", &root, &"1-0", &"--from", &"2026-01-16", &"-o", &"-"]).with(2).stderr;
    assert!(error.contains("in 0 log files"), "{error}");
    run(&[&"prove", &root, &"../x"]).with(64);

    // A record that was changed where it lies, and one whose tile was.
    let path = logged.archive.path(&logged.archive.logs[0]);
    let before = fs::read(&path).unwrap();
    let content = format!(r#"{{"Records":[{}]}}"#, logged.archive.records[0].replace("1.10", "1.11"));
    fs::write(&path, crate::write::gzip(content.as_bytes())).unwrap();
    let error = run(&[&"prove", &root, &"0-0", &"-o", &"-"]).with(1).stderr;
    assert!(error.contains("not what the log has"), "{error}");
    fs::write(&path, before).unwrap();
    let tile = root.join(logged.place.to_string()).join("tile/0/000.p/4");
    let mut bytes = fs::read(&tile).unwrap();
    bytes[40] ^= 1;
    fs::write(&tile, bytes).unwrap();
    run(&[&"prove", &root, &"0-0", &"-o", &"-"]).with(1);
    run(&[&"prove", &root, &"0-1", &"-o", &"-"]).with(0);
}

/// A witness and what it is told with.
struct Outside {
    desk: TempDir,
    keys: PathBuf,
    vkey: VerifierKey,
}

impl Outside {
    fn new(logged: &Logged) -> Self {
        let (desk, keys) = desk(logged);
        let signer = Ed25519Signer::generate().unwrap();
        fs::write(desk.path().join("witness.pem"), signer.to_pem()).unwrap();
        let name = Name::new("witness.example.com/w1").unwrap();
        let vkey = VerifierKey::new(name, Algorithm::Cosignature, signer.public_key().clone());
        Self { desk, keys, vkey }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.desk.path().join(name)
    }

    fn look(&self, what: &Path, more: &[&str]) -> Ended {
        let mut parts: Vec<std::ffi::OsString> = vec!["witness".into(), what.into(), "--keys".into()];
        parts.extend([self.keys.clone().into(), "--state".into(), self.path("state.json").into()]);
        parts.extend(["--signing-key".into(), self.path("witness.pem").into()]);
        parts.extend(["--name".into(), "witness.example.com/w1".into()]);
        sidetrail(parts.into_iter().chain(more.iter().map(Into::into)))
    }
}

#[test]
fn a_witness_remembers_and_refuses_what_was_rolled_back() {
    let mut logged = logged(2);
    let outside = Outside::new(&logged);
    let root = logged.archive.root().to_owned();
    let text = outside.look(&root, &[]).with(0).stdout;
    assert!(text.contains(": 4 leaves, 0 when last seen\n"), "{text}");
    assert!(text.ends_with(&format!("witness {}\n", outside.vkey)), "{text}");
    let earlier = tempfile::tempdir().unwrap();
    copy(&root, earlier.path());

    logged.digest();
    let text = outside.look(&root, &[]).with(0).stdout;
    assert!(text.contains(": 6 leaves, 4 when last seen\n"), "{text}");
    // What it cosigned is what a proof can be made with.
    let (state, proof) = (outside.path("state.json"), outside.path("proof"));
    run(&[&"prove", &root, &"0-0", &"--checkpoint", &state, &"-o", &proof]).with(0);
    let witness = outside.vkey.to_string();
    let text =
        run(&[&"verify-proof", &proof, &"--keys", &outside.keys, &"--witness", &witness]).with(0).stdout;
    assert!(text.contains("witness witness.example.com/w1 at 20"), "{text}");
    let plain = outside.path("plain");
    run(&[&"prove", &root, &"0-0", &"-o", &plain]).with(0);
    let text =
        run(&[&"verify-proof", &plain, &"--keys", &outside.keys, &"--witness", &witness]).with(1).stdout;
    assert!(text.contains("did not cosign"), "{text}");

    // The whole bucket as it was an hour ago.
    let text = outside.look(earlier.path(), &[]).with(1).stdout;
    assert!(text.contains("REFUSED") && text.contains("rolled back: it had 6 leaves and has 4"), "{text}");
    let gone = tempfile::tempdir().unwrap();
    let json = outside.look(gone.path(), &["--json"]).with(1).stdout;
    let json: Value = serde_json::from_str(&json).unwrap();
    assert_eq!((&json["logs"][0]["outcome"], &json["logs"][0]["seen"]), (&"refused".into(), &6.into()));
    // It still stands where it stood.
    outside.look(&root, &[]).with(0);

    // The verifier, with what the witness keeps. The copy is whole, and by itself nothing is wrong with it.
    let verify = |what: &Path, more: &[&str]| {
        let fixed = ["verify", what.to_str().unwrap(), "--to", "2026-01-15T13:30:00Z"];
        let open = ["verify", what.to_str().unwrap(), "--settle", "9999h"];
        let fixed = if more.contains(&"--witness") { &open } else { &fixed };
        sidetrail(fixed.iter().chain(more))
    };
    verify(earlier.path(), &["--records"]).with(0);
    let state = state.to_str().unwrap();
    let rolled = verify(earlier.path(), &["--witness", state]).stdout;
    assert!(rolled.contains("ROLLED-BACK ") && rolled.contains("4 leaves, and a witness saw 6"), "{rolled}");
    let gone = verify(gone.path(), &["--witness", state]).with(1).stdout;
    assert!(gone.contains("ROLLED-BACK - no valid digest speaks of the log"), "{gone}");
    let now = verify(&root, &["--witness", state, "--records"]).stdout;
    assert!(!now.contains("ROLLED-BACK") && !now.contains("Sidetrail-Log"), "{now}");
    let tile = root.join(logged.place.to_string()).join("tile/0/000.p/4");
    let mut bytes = fs::read(&tile).unwrap();
    bytes[0] ^= 1;
    fs::write(&tile, bytes).unwrap();
    let changed = verify(&root, &[]).with(1).stdout;
    assert!(
        changed.contains("MODIFIED ") && changed.contains("/Sidetrail-Log/us-east-1/default/tile/"),
        "{changed}"
    );
}

#[test]
fn a_log_that_was_rewritten_is_refused() {
    let mut honest = logged(2);
    let outside = Outside::new(&honest);
    outside.look(honest.archive.root(), &[]).with(0);
    // The same key signs another history of more leaves.
    let mut other = logged(0);
    let Logged { log_signer, .. } = &mut honest;
    std::mem::swap(log_signer, &mut other.log_signer);
    let content = format!(r#"{{"Records":[{},{}]}}"#, r#"{"eventID":"forged"}"#, other.archive.records[1]);
    fs::write(other.archive.path(&other.archive.logs[0]), crate::write::gzip(content.as_bytes())).unwrap();
    (0..3).for_each(|_| other.digest());
    let text = outside.look(other.archive.root(), &[]).with(1).stdout;
    assert!(text.contains("REFUSED") && text.contains("rewritten"), "{text}");
}

#[test]
fn one_checkpoint_is_proved_to_extend_another() {
    let mut logged = logged(1);
    let (desk, keys) = desk(&logged);
    let root = logged.archive.root().to_owned();
    let latest = root.join(logged.place.key(TreeObject::Latest).to_string());
    let (old, proof) = (desk.path().join("old"), desk.path().join("proof"));
    fs::copy(&latest, &old).unwrap();
    logged.digest();
    logged.digest();
    run(&[&"checkpoint", &"prove", &root, &old, &"-o", &proof]).with(0);
    let text = run(&[&"checkpoint", &"verify", &old, &proof, &"--keys", &keys]).with(0).stdout;
    assert!(text.ends_with("leaves  6 extend 2\nVALID\n"), "{text}");
    // The other way round it is a log that was rolled back.
    let new = desk.path().join("new");
    fs::copy(&latest, &new).unwrap();
    let error = run(&[&"checkpoint", &"prove", &root, &new, &old]).with(1).stderr;
    assert!(error.contains("rolled back"), "{error}");
    run(&[&"checkpoint", &"verify", &new, &proof, &"--keys", &keys]).with(1);
    let changed = fs::read_to_string(&proof).unwrap().replacen("old 2", "old 1", 1);
    fs::write(&proof, changed).unwrap();
    run(&[&"checkpoint", &"verify", &old, &proof, &"--keys", &keys]).with(1);

    let text = run(&[&"checkpoint", &"show", &root]).with(0).stdout;
    assert!(text.contains("size    6\n") && text.contains(&format!("key     {}\n", logged.vkey())), "{text}");
    let text = run(&[&"checkpoint", &"show", &root, &"--vkey"]).with(0).stdout;
    assert_eq!(text, format!("{}\n", logged.vkey()));
    // An older one in its place is seen by the newest digest.
    fs::copy(&old, &latest).unwrap();
    let error = run(&[&"checkpoint", &"show", &root]).with(1).stderr;
    assert!(error.contains("it has 2 leaves, and the newest digest 6"), "{error}");
    let empty = tempfile::tempdir().unwrap();
    run(&[&"checkpoint", &"show", &empty.path()]).with(2);
}

fn copy(from: &Path, to: &Path) {
    for entry in fs::read_dir(from).unwrap().map(Result::unwrap) {
        let target = to.join(entry.file_name());
        if entry.file_type().unwrap().is_dir() {
            fs::create_dir(&target).unwrap();
            copy(&entry.path(), &target);
        } else {
            fs::copy(entry.path(), target).unwrap();
        }
    }
}
