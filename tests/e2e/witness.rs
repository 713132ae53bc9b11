//! A witness, proofs and an evidence pack over an archive that a real S3 server has.

use std::ffi::OsStr;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;

use anyhow::{Context, Result, ensure};
use serde_json::Value;
use sidetrail_archive::key::{Account, Home, Region, Trail, TreePlace};
use sidetrail_archive::sign::{Ed25519Signer, Signer};
use sidetrail_archive::store::Store;
use sidetrail_archive::tlog::commit::LogCommitment;
use sidetrail_tests::evidence::{self, Plan};
use sidetrail_tests::tools::{self, Ran};
use sidetrail_tests::{SeaweedFs, objects};
use tempfile::TempDir;

/// A desk away from the bucket: keys, memory, proofs.
struct Desk {
    store: &'static SeaweedFs,
    bucket: String,
    directory: TempDir,
}

impl Desk {
    fn at(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    fn location(&self) -> String {
        format!("s3://{}/audit", self.bucket)
    }

    fn run<S: AsRef<OsStr>>(&self, words: impl IntoIterator<Item = S>) -> Result<Ran> {
        let mut command = Command::new(tools::binary("sidetrail")?);
        command.args(words).current_dir(self.directory.path());
        self.store.configure(&mut command);
        tools::run(command)
    }

    /// One look of the witness, as JSON.
    fn look(&self) -> Result<(Option<i32>, Value)> {
        let location = self.location();
        let words =
            ["witness", &location, "--keys", "logs", "--state", "seen.json", "--signing-key", "witness.pem"];
        let ran = self.run(words.iter().chain(&["--name", "witness.example.com/w1", "--json"]))?;
        let said = serde_json::from_str(&ran.stdout).with_context(|| format!("{ran:?}"))?;
        Ok((ran.status.code(), said))
    }
}

#[test]
fn a_witness_proofs_and_a_pack_of_a_bucket() -> Result<()> {
    let store = SeaweedFs::shared()?;
    let desk = Desk { store, bucket: store.bucket("witness")?, directory: tempfile::tempdir()? };
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build()?;
    let archive = Store::open(&desk.location(), &|name| store.variable(name))?;
    let plan = Plan {
        periods: 6,
        records: 40,
        regions: vec!["eu-central-1".to_owned()],
        empty: vec![2],
        late: vec![3],
        rotations: Vec::new(),
        without_log_file: Vec::new(),
        ..Plan::default()
    };
    let log: Arc<dyn Signer> = Arc::new(Ed25519Signer::generate()?);
    let home = Home::new(archive.prefix().cloned(), Account::new(plan.account.clone())?);
    let place =
        TreePlace { home, region: Region::new("eu-central-1")?, trail: Trail::new(plan.trail.clone())? };
    let commitment = std::cell::Cell::new(Some(LogCommitment::new(
        place,
        &desk.bucket,
        log,
        Box::new(|what| println!("{what}")),
    )?));
    desk.run(["keys", "generate", "-o", "witness.pem"])?.success()?;
    let mut halfway = None;
    // The witness looks in the middle, and again at the end.
    let made = runtime.block_on(evidence::make_with(
        &archive,
        &plan,
        |_| commitment.take().map(|commitment| Box::new(commitment) as _),
        |_, period| {
            if period == 3 {
                let keys = desk.run(["checkpoint", "show", &desk.location(), "--vkey"])?.success()?;
                fs::write(desk.at("logs"), keys)?;
                let (code, said) = desk.look()?;
                ensure!(code == Some(0) && said["logs"][0]["outcome"] == "cosigned", "{said}");
                fs::copy(desk.at("seen.json"), desk.at("halfway.json"))?;
                halfway = said["logs"][0]["size"].as_u64();
            }
            Ok(())
        },
    ))?;
    fs::write(desk.at("keys.pem"), made.key_file())?;
    let (code, said) = desk.look()?;
    ensure!(code == Some(0) && said["logs"][0]["seen"].as_u64() == halfway, "{said}");
    let witness = said["witness"].as_str().context("the key of the witness")?.to_owned();
    // 5 periods of two collectors with two files each.
    ensure!(said["logs"][0]["size"] == 5 * 2 * 2 * plan.records, "{said}");

    // What the witness saw first is extended by what it saw then.
    desk.run(["checkpoint", "prove", &desk.location(), "halfway.json", "-o", "since.proof"])?.success()?;
    desk.run(["checkpoint", "verify", "halfway.json", "since.proof", "--keys", "logs"])?.success()?;
    let to = made.end.to_string();
    let location = desk.location();
    let verify = [
        "verify",
        &location,
        "--keys",
        "keys.pem",
        "--settle",
        "9000h",
        "--witness",
        "seen.json",
        "--records",
    ];
    let verified = desk.run(verify)?;
    ensure!(verified.status.code() == Some(0), "{verified:?}");

    proofs(&desk, &event_id(&desk)?, &witness)?;
    pack(&desk, &to)?;

    // Whoever has the bucket's credentials takes the newest checkpoint away, and puts the older one in its place.
    let bucket = Store::open(&format!("s3://{}", desk.bucket), &|name| store.variable(name))?;
    let newest =
        format!("{}/AWSLogs/{}/Sidetrail-Log/eu-central-1/{}/checkpoint", "audit", plan.account, plan.trail);
    let seen: Value = serde_json::from_slice(&fs::read(desk.at("halfway.json"))?)?;
    let old = seen["checkpoints"].as_object().and_then(|notes| notes.values().next()?.as_str());
    let old = old.context("a checkpoint")?.as_bytes().to_vec();
    let now = runtime.block_on(bucket.get(&newest, 1 << 20))?.to_vec();
    let with = |bytes: &[u8]| objects::one(&newest, bytes);
    objects::change(store, &desk.bucket, &with(&now), &with(&old))?;
    let (code, said) = desk.look()?;
    ensure!(code == Some(1) && said["logs"][0]["outcome"] == "refused", "{said}");
    let verified = desk.run(verify)?;
    ensure!(verified.status.code() == Some(1) && verified.stdout.contains(&newest), "{verified:?}");
    Ok(())
}

/// An event of the archive.
fn event_id(desk: &Desk) -> Result<String> {
    let shown = desk.run(["cat", &desk.location()])?.success()?;
    let record: Value = serde_json::from_str(shown.lines().nth(100).context("a hundred records")?)?;
    Ok(record["eventID"].as_str().context("an eventID")?.to_owned())
}

/// A record is proved with the bucket, and the proof believed without it.
fn proofs(desk: &Desk, event: &str, witness: &str) -> Result<()> {
    let location = desk.location();
    desk.run(["prove", &location, event, "--checkpoint", "seen.json", "-o", "event.proof"])?.success()?;
    let mut alone = Command::new(tools::binary("sidetrail")?);
    alone.current_dir(desk.directory.path());
    alone.args(["verify-proof", "event.proof", "--keys", "logs", "--witness", witness, "--json"]);
    let said: Value = serde_json::from_str(&tools::run(alone)?.success()?)?;
    ensure!(said["outcome"] == "valid" && said["record"]["eventID"] == event, "{said}");
    let proof = fs::read_to_string(desk.at("event.proof"))?;
    let at = proof.find("\nindex ").context("an index")? + "\nindex ".len();
    let other = if proof[at..].starts_with('9') { "8" } else { "9" };
    fs::write(desk.at("forged.proof"), format!("{}{other}{}", &proof[..at], &proof[at + 1..]))?;
    let forged = desk.run(["verify-proof", "forged.proof", "--keys", "logs"])?;
    ensure!(forged.status.code() == Some(1), "{forged:?}");
    Ok(())
}

/// A pack is made of the bucket, and believed without it, as a folder and as a tar file.
fn pack(desk: &Desk, to: &str) -> Result<()> {
    let location = desk.location();
    let words =
        ["report", "evidence", &location, "--keys", "keys.pem", "--from", "2026-01-15T00:00:00Z", "--to", to];
    let more = ["--principal", "*clerk-3", "-o", "case", "--tar", "--json"];
    let made = desk.run(words.iter().chain(&more))?;
    ensure!(matches!(made.status.code(), Some(0)), "{made:?}");
    for what in ["case", "case.tar"] {
        let verified = offline(desk, what)?;
        ensure!(verified.status.code() == Some(0), "{what}: {verified:?}");
    }
    let report = fs::read_to_string(desk.at("case/report.html"))?;
    ensure!(report.contains("clerk-3") && !report.contains("clerk-4"), "the report has other events");
    // One letter of one event.
    let events = desk.at("case/events.jsonl");
    let text = fs::read_to_string(&events)?;
    fs::write(&events, text.replacen("GetOrder", "PutOrder", 1))?;
    let verified = offline(desk, "case")?;
    ensure!(verified.status.code() == Some(1) && verified.stdout.contains("events.jsonl"), "{verified:?}");
    Ok(())
}

/// Verifies a pack with the keys, and no store.
fn offline(desk: &Desk, what: impl AsRef<Path>) -> Result<Ran> {
    let mut verify = Command::new(tools::binary("sidetrail")?);
    verify.current_dir(desk.directory.path()).arg("verify").arg(what.as_ref()).args(["--keys", "keys.pem"]);
    tools::run(verify)
}
