//! `cargo xtask fuzz`: the targets of `tests/src/fuzz` under libFuzzer, or without it on any toolchain.

use std::fs;
use std::path::Path;
use std::process::Command;

use anyhow::{Context, Result, ensure};
use clap::Args;
use serde_json::json;

use crate::workspace::{Workspace, output, run};

/// Inputs for each target that a change has to stand before it goes in.
pub(crate) const INPUTS: u64 = 10_000;
/// Pinned like every tool.
const CARGO_FUZZ: &str = "0.13.2";
/// Memory of one target, MiB: ten times what the largest takes.
const MAX_MEMORY: u32 = 2048;
/// What one input may take, seconds.
const MAX_SECONDS: u32 = 20;

/// What to fuzz, and for how long.
#[derive(Debug, Args)]
pub(crate) struct Fuzz {
    /// These targets alone
    targets: Vec<String>,
    /// For each target
    #[arg(long, default_value_t = 60)]
    seconds: u64,
    /// Without libFuzzer: inputs are made from the seeds by chance, which needs no nightly toolchain
    #[arg(long)]
    stable: bool,
}

pub(crate) fn run_fuzz(workspace: &Workspace, fuzz: &Fuzz) -> Result<()> {
    // As in `cargo xtask test`, so that nothing is compiled twice.
    let mutations = || workspace.cargo(["test", "--workspace", "--all-features", "--test", "fuzz", "--"]);
    if fuzz.stable {
        return run(mutations().args(["--seconds", &fuzz.seconds.to_string()]).args(&fuzz.targets));
    }
    let nightly = Command::new("rustup").args(["run", "nightly", "rustc", "--version"]).output();
    ensure!(
        nightly.is_ok_and(|answer| answer.status.success()),
        "libFuzzer needs a nightly toolchain: `rustup toolchain install nightly`; `--stable` does without"
    );
    let tool = installed(workspace)?;
    let directory = workspace.root.join("tests/fuzz");
    let corpora = workspace.target.join("fuzz");
    run(mutations().arg("--export").arg(&corpora))?;
    fs::copy(workspace.root.join("Cargo.lock"), directory.join("Cargo.lock"))
        .context("cannot copy Cargo.lock")?;

    let mut targets = names(&corpora)?;
    for wanted in &fuzz.targets {
        ensure!(targets.contains(wanted), "there is no target {wanted}, only {}", targets.join(", "));
    }
    targets.retain(|target| fuzz.targets.is_empty() || fuzz.targets.contains(target));
    for target in &targets {
        println!("── fuzz {target} for {} s", fuzz.seconds);
        let mut cargo_fuzz = Command::new(&tool);
        cargo_fuzz.current_dir(&workspace.root).args([
            "fuzz",
            "run",
            "--fuzz-dir",
            "tests/fuzz",
            "--target-dir",
        ]);
        cargo_fuzz
            .arg(workspace.target.join("fuzz-build"))
            .env("RUSTUP_TOOLCHAIN", "nightly")
            .env_remove("CARGO");
        cargo_fuzz.arg(target).arg(corpora.join(target)).arg("--");
        let found = corpora.join("found").join(target);
        fs::create_dir_all(&found).with_context(|| format!("cannot create {}", found.display()))?;
        cargo_fuzz
            .arg(format!("-max_total_time={}", fuzz.seconds))
            .arg(format!("-rss_limit_mb={MAX_MEMORY}"));
        cargo_fuzz.arg(format!("-timeout={MAX_SECONDS}")).arg("-print_final_stats=1").arg("-verbosity=0");
        cargo_fuzz.arg(format!("-artifact_prefix={}/", found.display()));
        let dictionary = corpora.join(format!("{target}.dict"));
        cargo_fuzz.args(dictionary.is_file().then(|| format!("-dict={}", dictionary.display())));
        run(&mut cargo_fuzz).with_context(|| format!("what was found is in {}", found.display()))?;
    }
    println!("{}", json!({ "targets": targets, "seconds": fuzz.seconds, "found": 0 }));
    Ok(())
}

/// cargo-fuzz below the target directory.
fn installed(workspace: &Workspace) -> Result<std::path::PathBuf> {
    let root = workspace.target.join("tools");
    let tool = root.join("bin/cargo-fuzz");
    let version = format!("cargo-fuzz {CARGO_FUZZ}");
    if !output(Command::new(&tool).args(["fuzz", "--version"])).is_ok_and(|found| found.trim() == version) {
        let package = format!("cargo-fuzz@{CARGO_FUZZ}");
        let mut install = workspace.cargo(["install", "--quiet", "--locked", &package, "--root"]);
        run(install.arg(&root))?;
    }
    Ok(tool)
}

/// The targets whose seeds were exported.
fn names(corpora: &Path) -> Result<Vec<String>> {
    let entries = fs::read_dir(corpora).with_context(|| format!("cannot read {}", corpora.display()))?;
    let paths = entries.map(|entry| Ok(entry?.path())).collect::<Result<Vec<_>>>()?;
    let dictionaries =
        paths.iter().filter(|path| path.extension().is_some_and(|extension| extension == "dict"));
    let mut names: Vec<_> =
        dictionaries.filter_map(|path| Some(path.file_stem()?.to_str()?.to_owned())).collect();
    names.sort();
    Ok(names)
}
