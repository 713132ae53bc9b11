//! The tamper matrix: every edit that somebody with the bucket's credentials can make, and who notices. The real
//! `aws cloudtrail validate-logs` and the real `sidetrail verify` look at the same bucket of a real S3 server. The table in
//! `crates/archive/README.md` is what they say, to the letter.

mod edits;
mod made;
mod witness;

use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::fs;
use std::path::Path;
use std::process::Command;

use anyhow::{Context, Result, ensure};
use serde_json::Value;
use sidetrail_archive::key::{LogKey, ManifestKey};
use sidetrail_archive::store::Store;
use sidetrail_tests::tools::{self, Ran};
use sidetrail_tests::{CloudTrail, SeaweedFs, evidence, objects};

use edits::{EARLY, EDITS, REWRITTEN, REWRITTEN_SEEN, WITNESSED};
use made::{Made, REGION, runtime};
use witness::Witness;

const DOCUMENT: &str = include_str!("../../crates/archive/README.md");

/// What the AWS CLI said, in a cell.
fn said(ran: &Ran) -> Result<String> {
    let mut found = BTreeSet::new();
    for line in ran.stdout.lines().chain(ran.stderr.lines()) {
        let mut parts = line.split('\t');
        if let (Some(what), Some(_), Some(verdict)) = (parts.next(), parts.next(), parts.next()) {
            if let Some(message) = verdict.strip_prefix("INVALID: ") {
                let message = message.split(" in region ").next().unwrap_or(message);
                found.insert(format!("{}: {message}", what.to_lowercase().trim_end_matches(" file")));
            }
        } else if line.starts_with("No log files were delivered by CloudTrail between") {
            found.insert("a line about a gap".to_owned());
        }
    }
    let found = found.into_iter().collect::<Vec<_>>().join("; ");
    let code = ran.status.code().context("it was killed")?;
    Ok(match (code, found.as_str()) {
        (0, "") => "0".to_owned(),
        (0, _) => format!("0, {found}"),
        (1, _) => format!("1, {found}"),
        _ => format!("{code}, {}", ran.stderr.trim().lines().last().unwrap_or_default()),
    })
}

/// What `sidetrail verify` found, in a cell: kinds, and of what.
fn found(ran: &Ran) -> Result<String> {
    let report: Value = serde_json::from_str(&ran.stdout).with_context(|| format!("{ran:?}"))?;
    let mut found = BTreeSet::new();
    for finding in report["findings"].as_array().context("no findings")? {
        let (object, kind) = (finding["object"].as_str(), finding["kind"].as_str());
        let (object, kind) = (object.context("no object")?, kind.context("no kind")?);
        let what = if object.parse::<LogKey>().is_ok() {
            "log"
        } else if object.parse::<ManifestKey>().is_ok() {
            "manifest"
        } else if object.contains("/CloudTrail-Digest/") {
            "digest"
        } else if object.contains("/Sidetrail-Log/") {
            "tree"
        } else {
            "key"
        };
        found.insert(format!("{what}: {kind}"));
    }
    let code = ran.status.code().context("it was killed")?;
    let found = found.into_iter().collect::<Vec<_>>().join("; ");
    Ok(if found.is_empty() { code.to_string() } else { format!("{code}, {found}") })
}

/// The table as it grows.
struct Table<'a> {
    made: &'a Made,
    store: &'a SeaweedFs,
    keys: &'a Path,
    cloudtrail: CloudTrail,
    witness: Witness,
    text: String,
    missed: Vec<String>,
}

impl Table<'_> {
    fn validate(&self) -> Result<Ran> {
        let Made { evidence, plan, .. } = self.made;
        self.cloudtrail.validate(self.store, &evidence.trail_arn(), REGION, (plan.start, evidence.end))
    }

    fn verify(&self, more: &[&str]) -> Result<Ran> {
        self.made.verify(self.store, self.keys, more)
    }

    /// What all say of the bucket as it is now; `verify` has to find something, with these names in it.
    fn row<S: AsRef<str>>(&mut self, what: &str, names: &[S], more: &[&str]) -> Result<()> {
        let verified = self.verify(more)?;
        let unnamed = names.iter().map(AsRef::as_ref).find(|name| !verified.stdout.contains(name));
        if verified.status.code() != Some(1) || unnamed.is_some() {
            self.missed.push(format!("{what}: {unnamed:?} in {verified:?}"));
        }
        self.write(what, &verified)
    }

    fn write(&mut self, what: &str, verified: &Ran) -> Result<()> {
        let (said, found, seen) =
            (said(&self.validate()?)?, found(verified)?, self.witness.says(self.store)?);
        Ok(writeln!(self.text, "| {what} | {said} | {found} | {seen} |")?)
    }
}

#[test]
fn the_table_says_who_notices_what() -> Result<()> {
    let store = SeaweedFs::shared()?;
    let made = Made::new(store.bucket("matrix")?)?;
    let files = tempfile::tempdir()?;
    let (keys, cursor) = (files.path().join("keys.pem"), files.path().join("cursor"));
    let cursor = cursor.to_str().context("a path that is no text")?;
    fs::write(&keys, made.evidence.key_file())?;
    objects::upload(store, made.bucket(), &made.objects)?;
    let witness = Witness::new(store, made.bucket())?;
    let seen = witness.at("seen.json").display().to_string();
    let text = "| what is done | `aws cloudtrail validate-logs` | `sidetrail verify` | `sidetrail witness` |\n\
                |---|---|---|---|\n";
    let (text, missed, cloudtrail) = (text.to_owned(), Vec::new(), made.cloudtrail()?);
    let mut table = Table { made: &made, store, keys: &keys, cloudtrail, witness, text, missed };
    let untouched = table.verify(&["--cursor", cursor])?;
    ensure!(found(&untouched)? == "0", "untouched: {untouched:?}");
    let untouched = table.validate()?;
    ensure!(said(&untouched)? == "0", "untouched: {untouched:?}");

    let mut before = made.objects.clone();
    for (what, edit) in EDITS {
        let mut after = made.objects.clone();
        let names = edit(&made, &mut after).with_context(|| (*what).to_owned())?;
        ensure!(after != made.objects, "{what}: nothing was changed");
        objects::change(store, made.bucket(), &before, &after)?;
        table.row(what, &names, &[])?;
        before = after;
    }
    // The last edit again.
    let early = ["--settle", "9000h"];
    let unseen = table.verify(&early)?;
    ensure!(found(&unseen)? == "0", "a bucket that was set back in time: {unseen:?}");
    table.row(EARLY, &[&made.digests[5]], &[early[0], early[1], "--cursor", cursor])?;
    table.row(WITNESSED, &["/Sidetrail-Log/"], &[early[0], early[1], "--witness", &seen])?;

    let rewritten = made.rewritten()?;
    objects::change(store, made.bucket(), &before, &rewritten)?;
    let unseen = table.verify(&[])?;
    ensure!(found(&unseen)? == "0", "history as its keys have it: {unseen:?}");
    table.write(REWRITTEN, &unseen)?;
    table.row(REWRITTEN_SEEN, &["/Sidetrail-Log/"], &[early[0], early[1], "--witness", &seen])?;

    objects::change(store, made.bucket(), &rewritten, &made.objects)?;
    let untouched = table.verify(&[early[0], early[1], "--witness", &seen])?;
    ensure!(found(&untouched)? == "0", "untouched, again: {untouched:?}");
    let (count, Table { text, missed, .. }) = (EDITS.len() + 3, table);
    ensure!(missed.is_empty(), "{} of {count} not found and named: {missed:#?}", missed.len());
    ensure!(DOCUMENT.contains(&text), "the table of crates/archive/README.md has to be:\n\n{text}");
    println!("{count} edits, each found and named");
    Ok(())
}

/// 26 periods of two regions, with an empty one, another key, and a file that came late, as the digest writer makes them:
/// the AWS CLI believes them (`digests.rs`), and so do we.
#[test]
fn what_the_digest_writer_writes_is_valid() -> Result<()> {
    let directory = tempfile::tempdir()?;
    let store = Store::open(&directory.path().display().to_string(), &|_| None)?;
    let plan = evidence::Plan::default();
    let made = runtime()?.block_on(evidence::make(&store, &plan))?;
    let files = tempfile::tempdir()?;
    let verify = |keys: &str, more: &[&str]| {
        let path = files.path().join("keys.pem");
        std::fs::write(&path, keys)?;
        let mut verify = Command::new(tools::binary("sidetrail")?);
        verify.arg("verify").arg(directory.path()).args(["--json", "--to", &made.end.to_string()]);
        verify.arg("--keys").arg(path).args(more);
        tools::run(verify)
    };
    let junit = files.path().join("report.xml");
    // The first key is enough: it says which one follows it, and certifies those of collectors.
    let first = made.digest_keys[0].to_pem();
    let verified = verify(&first, &["--junit", junit.to_str().context("a path that is no text")?])?;
    ensure!(found(&verified)? == "0, log: late", "{verified:?}");
    let report: Value = serde_json::from_str(&verified.stdout)?;
    let log_files = 2 * (plan.periods - 1) * plan.collectors * plan.files;
    ensure!(report["validDigests"] == 52 && report["validLogFiles"] == log_files, "{report}");
    let junit = std::fs::read_to_string(junit)?;
    ensure!(junit.contains(r#"failures="0" errors="0" skipped="0""#), "{junit}");
    let verified = verify(&made.key_file(), &[])?;
    ensure!(found(&verified)? == "0, log: late", "{verified:?}");

    // The second does not say what came before it, and keys of collectors say nothing of digests.
    for keys in [made.digest_keys[1].to_pem(), made.manifest_keys[0].to_pem()] {
        let verified = verify(&keys, &[])?;
        ensure!(found(&verified)?.contains("digest: keyUnknown"), "{verified:?}");
    }

    // All digests of a region are gone, and what says that there were some is not.
    for key in made.digests.iter().filter(|key| key.region == made.home_region) {
        std::fs::remove_file(directory.path().join(key.to_string()))?;
    }
    let verified = verify(&made.key_file(), &[])?;
    ensure!(verified.status.code() == Some(1), "{verified:?}");
    for key in made.digests.iter().filter(|key| key.region == made.home_region) {
        ensure!(verified.stdout.contains(&key.to_string()), "{key} is not named");
    }
    Ok(())
}
