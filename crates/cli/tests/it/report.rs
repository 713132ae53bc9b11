//! `sidetrail report evidence`, and `sidetrail verify` of what it makes.

use std::fs;
use std::path::{Path, PathBuf};

use serde_json::Value;
use sidetrail_archive::hash::Sha256;
use sidetrail_archive::sign::{DigestSigner, Ed25519Signer, Signer};
use tempfile::TempDir;

use crate::logged::{Logged, logged};
use crate::run::{Ended, sidetrail};

/// A pack with the events of two log files, beside its archive.
struct Packed {
    logged: Logged,
    desk: TempDir,
}

impl Packed {
    fn new(digests: usize, options: &[&str]) -> Self {
        let packed = Self { logged: logged(digests), desk: tempfile::tempdir().unwrap() };
        packed.make("case", options).with(0);
        packed
    }

    fn path(&self, name: &str) -> PathBuf {
        self.desk.path().join(name)
    }

    fn pack(&self) -> PathBuf {
        self.path("case")
    }

    fn make(&self, name: &str, options: &[&str]) -> Ended {
        let (root, output) = (self.logged.archive.root(), self.path(name));
        let fixed = ["report", "evidence", root.to_str().unwrap(), "-o", output.to_str().unwrap()];
        let from = ["--from", "2026-01-15T11:00:00Z", "--to", "2026-01-16"];
        sidetrail(fixed.iter().chain(&from).chain(options))
    }

    /// Both kinds of keys in one file, from elsewhere.
    fn keys(&self) -> PathBuf {
        let path = self.path("keys.pem");
        let digest = self.logged.digest_signer.public_key().to_pem();
        fs::write(&path, self.logged.archive.signer.public_key().to_pem() + &digest).unwrap();
        path
    }
}

fn verify(what: &Path, options: &[&str]) -> Ended {
    sidetrail(["verify", what.to_str().unwrap()].iter().chain(options))
}

/// All files of a pack.
fn files(root: &Path) -> Vec<String> {
    let mut files = Vec::new();
    let mut folders = vec![root.to_owned()];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).unwrap().map(Result::unwrap) {
            match entry.file_type().unwrap().is_dir() {
                true => folders.push(entry.path()),
                false => files.push(entry.path().strip_prefix(root).unwrap().to_str().unwrap().to_owned()),
            }
        }
    }
    files.sort();
    files
}

/// Has the statement agree with what lies there, as a forger would.
fn restate(root: &Path) {
    let path = root.join("evidence.json");
    let mut statement: Value = serde_json::from_slice(&fs::read(&path).unwrap()).unwrap();
    for file in statement["files"].as_array_mut().unwrap() {
        let bytes = fs::read(root.join(file["path"].as_str().unwrap())).unwrap_or_default();
        file["size"] = bytes.len().into();
        file["sha256"] = Sha256::of(&bytes).to_string().into();
    }
    fs::write(&path, serde_json::to_string_pretty(&statement).unwrap()).unwrap();
}

#[test]
fn a_pack_proves_its_events_without_the_archive() {
    let packed = Packed { logged: logged(3), desk: tempfile::tempdir().unwrap() };
    let keys = packed.keys();
    let options = ["--event-id", "1-*", "--event-id", "2-0", "--tar", "--title", "Case <1>", "--keys"];
    packed.make("case", &[&options[..], &[keys.to_str().unwrap()]].concat()).with(0);
    let (pack, tar) = (packed.pack(), packed.path("case.tar"));
    let events = fs::read_to_string(pack.join("events.jsonl")).unwrap();
    let records = &packed.logged.archive.records;
    assert_eq!(events.lines().collect::<Vec<_>>(), [&*records[2], &records[3], &records[4]]);
    let page = fs::read_to_string(pack.join("report.html")).unwrap();
    assert!(page.contains("<h1>Case &lt;1&gt;</h1>") && page.contains("genuine and complete"), "{page}");
    assert!(!page.contains("<script") && !page.contains("src=") && !page.contains("url("), "{page}");

    let vkey = packed.logged.vkey().to_string();
    let Packed { logged, desk } = packed;
    drop(logged);
    for what in [&pack, &tar] {
        let text = verify(what, &["--keys", keys.to_str().unwrap()]).with(0).stdout;
        assert!(text.contains(": 3 events in 2 log files, 2 manifests, 2 digests, 3 proofs\n"), "{text}");
        assert!(text.contains("trust   keys given with --keys\n") && text.ends_with("VALID\n"), "{text}");
        let text = verify(what, &[]).with(0).stdout;
        assert!(text.contains("trust   keys in the pack itself"), "{text}");
        let json: Value = serde_json::from_str(&verify(what, &["--json"]).with(0).stdout).unwrap();
        assert_eq!(
            (&json["outcome"], &json["events"], &json["wrong"]),
            (&"valid".into(), &3.into(), &0.into())
        );
    }
    // Each of its proofs stands by itself, too.
    let proofs: Vec<String> = files(&pack).into_iter().filter(|file| file.starts_with("proofs/")).collect();
    assert_eq!(proofs.len(), 3);
    for proof in &proofs {
        let proof = pack.join(proof);
        sidetrail(["verify-proof", proof.to_str().unwrap(), "--key", &vkey]).with(0);
    }
    drop(desk);
}

#[test]
fn keys_of_another_are_not_those_that_signed_it() {
    let packed = Packed::new(3, &[]);
    let other = packed.path("other.pem");
    fs::write(&other, Ed25519Signer::generate().unwrap().public_key().to_pem()).unwrap();
    // Digests are believed by the keys in the pack if no key of digests is given.
    let digest = fs::read_to_string(packed.pack().join("keys/digest-keys.pem")).unwrap();
    let forged = include_str!("../../../archive/testdata/digest/key-b.pem");
    let forged = sidetrail_archive::sign::RsaSigner::from_pem(forged).unwrap();
    assert!(!digest.contains(&forged.public_key().to_pem()));
    fs::write(&other, forged.public_key().to_pem()).unwrap();
    let text = verify(&packed.pack(), &["--keys", other.to_str().unwrap()]).with(1).stdout;
    assert!(text.contains("KEY-UNKNOWN archive/AWSLogs/111122223333/CloudTrail-Digest/"), "{text}");
    verify(&packed.pack(), &["--keys", packed.keys().to_str().unwrap()]).with(0);
}

/// Every file, every way to damage it, whether or not the statement is made to agree.
#[test]
fn whatever_is_changed_in_a_pack_is_found() {
    let packed = Packed::new(3, &["--event-id", "1-*"]);
    let pack = packed.pack();
    let keys = packed.keys();
    let options = ["--keys", keys.to_str().unwrap()];
    let statement = fs::read(pack.join("evidence.json")).unwrap();
    for file in files(&pack) {
        let path = pack.join(&file);
        let before = fs::read(&path).unwrap();
        let mut changed = before.clone();
        let middle = changed.len() / 2;
        changed[middle] ^= 1;
        let cut = before[..before.len() - 1].to_vec();
        for (damage, bytes) in [("flipped", Some(changed)), ("cut", Some(cut)), ("removed", None)] {
            match bytes {
                Some(bytes) => fs::write(&path, bytes).unwrap(),
                None => fs::remove_file(&path).unwrap(),
            }
            let ended = verify(&pack, &options);
            // Without a statement it is no pack, and nothing that an archive has; with a broken one it cannot be read.
            let expected = if file == "evidence.json" { [1, 2] } else { [1, 1] };
            assert!(expected.contains(&ended.code), "{file} {damage}: {ended:?}");
            if file != "evidence.json" {
                assert!(ended.stdout.contains(&file), "{file} {damage}: {ended:?}");
                if damage != "removed" {
                    restate(&pack);
                    let ended = verify(&pack, &options);
                    assert_eq!(ended.code, 1, "{file} {damage}, restated: {ended:?}");
                }
            }
            fs::write(&path, &before).unwrap();
            fs::write(pack.join("evidence.json"), &statement).unwrap();
        }
    }
    verify(&pack, &options).with(0);
}

#[test]
fn what_is_put_together_wrongly_is_found() {
    let packed = Packed::new(3, &["--event-id", "1-*", "--event-id", "2-0"]);
    let pack = packed.pack();
    let check = |what: &str, change: &dyn Fn(), file: &str| {
        let copy = packed.path("copy");
        fs::create_dir(&copy).unwrap();
        for file in files(&pack) {
            fs::create_dir_all(copy.join(&file).parent().unwrap()).unwrap();
            fs::copy(pack.join(&file), copy.join(&file)).unwrap();
        }
        change();
        restate(&copy);
        let ended = verify(&copy, &[]);
        assert_eq!(ended.code, 1, "{what}: {ended:?}");
        assert!(ended.stdout.contains(file), "{what}: {ended:?}");
        fs::remove_dir_all(&copy).unwrap();
    };
    let copy = |name: &str| packed.path("copy").join(name);
    let swap_lines = |name: &str| {
        let text = fs::read_to_string(copy(name)).unwrap();
        let mut lines: Vec<&str> = text.lines().collect();
        lines.swap(0, 1);
        fs::write(copy(name), lines.join("\n") + "\n").unwrap();
    };
    check("events in another order", &|| swap_lines("events.jsonl"), "events.jsonl");
    check("an index in another order", &|| swap_lines("index.jsonl"), "events.jsonl");
    let shorter = |name: &str| {
        let text = fs::read_to_string(copy(name)).unwrap();
        fs::write(copy(name), text.lines().next().unwrap().to_owned() + "\n").unwrap();
    };
    check("an event left out", &|| shorter("events.jsonl"), "events.jsonl");
    check(
        "an event left out everywhere",
        &|| {
            shorter("events.jsonl");
            shorter("index.jsonl");
        },
        "events.jsonl",
    );
    let logs: Vec<String> = files(&pack).into_iter().filter(|file| file.contains("/CloudTrail/")).collect();
    check(
        "two log files swapped",
        &|| {
            fs::copy(pack.join(&logs[0]), copy(&logs[1])).unwrap();
            fs::copy(pack.join(&logs[1]), copy(&logs[0])).unwrap();
        },
        &logs[0],
    );
    let proofs: Vec<String> = files(&pack).into_iter().filter(|file| file.starts_with("proofs/")).collect();
    check(
        "two proofs swapped",
        &|| {
            fs::copy(pack.join(&proofs[0]), copy(&proofs[1])).unwrap();
            fs::copy(pack.join(&proofs[1]), copy(&proofs[0])).unwrap();
        },
        &proofs[0],
    );
    check("a file added", &|| fs::write(copy("more"), "x").unwrap(), "more");
    let page = |from: &str, to: &str| {
        let text = fs::read_to_string(copy("report.html")).unwrap();
        assert!(text.contains(from), "{from}");
        fs::write(copy("report.html"), text.replace(from, to)).unwrap();
    };
    check("a page that says something else", &|| page("2026-01-15 11:00", "2026-01-15 13:00"), "report.html");
}

#[test]
fn without_digests_manifests_are_what_proves() {
    let packed = Packed::new(0, &["--event-id", "2-1"]);
    let text = verify(&packed.pack(), &["--keys", packed.keys().to_str().unwrap()]).with(0).stdout;
    assert!(text.contains(": 1 event in 1 log file, 1 manifest, 0 digests, 0 proofs\n"), "{text}");
    let page = fs::read_to_string(packed.pack().join("report.html")).unwrap();
    assert!(page.contains("no digest lists"), "{page}");
}

#[test]
fn what_was_wrong_with_the_archive_is_said() {
    let packed = Packed { logged: logged(3), desk: tempfile::tempdir().unwrap() };
    fs::remove_file(packed.logged.archive.path(&packed.logged.archive.logs[2])).unwrap();
    packed.make("case", &["--event-id", "1-0"]).with(1);
    let page = fs::read_to_string(packed.path("case/report.html")).unwrap();
    assert!(page.contains("was changed or is missing") && page.contains("<li>missing: "), "{page}");
    // The pack itself is what it says.
    let text = verify(&packed.path("case"), &[]).with(0).stdout;
    assert!(text.contains(", invalid then\n"), "{text}");
}

#[test]
fn nothing_to_show_makes_no_pack() {
    let packed = Packed { logged: logged(1), desk: tempfile::tempdir().unwrap() };
    let error = packed.make("case", &["--event-id", "none"]).with(2).stderr;
    assert!(error.contains("no event matches in 3 log files"), "{error}");
    assert!(!packed.path("case").exists());
    fs::create_dir(packed.path("case")).unwrap();
    let error = packed.make("case", &[]).with(2).stderr;
    assert!(error.contains("is there already"), "{error}");
    sidetrail(["report", "evidence", "."]).with(64);
    fs::write(packed.path("x.tar"), "no tar").unwrap();
    verify(&packed.path("x.tar"), &[]).with(2);
}
