//! Who has seen the bucket before, and looks again.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, ensure};
use serde_json::Value;
use sidetrail_tests::SeaweedFs;
use sidetrail_tests::tools::{self, Ran};

/// A witness: who has its own key, and remembers the checkpoint of the untouched bucket.
pub(super) struct Witness {
    directory: tempfile::TempDir,
    bucket: String,
}

impl Witness {
    pub(super) fn new(store: &SeaweedFs, bucket: &str) -> Result<Self> {
        let it = Self { directory: tempfile::tempdir()?, bucket: format!("s3://{bucket}") };
        let mut generate = Command::new(tools::binary("sidetrail")?);
        generate.args(["keys", "generate", "-o"]).arg(it.at("witness.pem"));
        tools::run(generate)?.success()?;
        let mut show = Command::new(tools::binary("sidetrail")?);
        show.args(["checkpoint", "show", &it.bucket, "--vkey"]);
        store.configure(&mut show);
        fs::write(it.at("logs"), tools::run(show)?.success()?)?;
        let looked = it.look(store, &it.at("seen.json"))?;
        ensure!(looked.status.code() == Some(0), "{looked:?}");
        Ok(it)
    }

    pub(super) fn at(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    pub(super) fn look(&self, store: &SeaweedFs, state: &Path) -> Result<Ran> {
        let mut witness = Command::new(tools::binary("sidetrail")?);
        witness.args(["witness", &self.bucket, "--json", "--name", "witness.example.com", "--keys"]);
        witness
            .arg(self.at("logs"))
            .arg("--signing-key")
            .arg(self.at("witness.pem"))
            .arg("--state")
            .arg(state);
        store.configure(&mut witness);
        tools::run(witness)
    }

    /// What it says, in a cell; it has seen nothing but the untouched bucket.
    pub(super) fn says(&self, store: &SeaweedFs) -> Result<String> {
        let state = self.at("now.json");
        fs::copy(self.at("seen.json"), &state)?;
        let ran = self.look(store, &state)?;
        let said: Value = serde_json::from_str(&ran.stdout).with_context(|| format!("{ran:?}"))?;
        let log = &said["logs"][0];
        Ok(match (ran.status.code(), log["reason"].as_str()) {
            (Some(0), None) => "0".to_owned(),
            (Some(1), Some(reason)) if reason.contains("rolled back") => "1, rolled back".to_owned(),
            (Some(1), Some(reason)) => format!("1, {reason}"),
            (code, _) => format!("{code:?}, {log}"),
        })
    }
}
