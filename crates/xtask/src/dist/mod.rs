//! `cargo xtask dist`: what is published, below `<target directory>/dist`: binaries for images and for tar files, a bill of
//! materials for each binary, checksums. The same commit and toolchain make the same bytes.

mod elf;
mod sbom;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail, ensure};
use clap::Args;
use serde_json::json;
use sha2::{Digest, Sha256};

use crate::workspace::{Workspace, output, run};

/// Packages and the binaries that they make.
const BINARIES: [(&str, &str); 4] = [
    ("sidetrail-collector", "sidetrail-collector"),
    ("sidetrail-cli", "sidetrail"),
    ("sidetrail-injector", "sidetrail-injector"),
    ("sidetrail-server", "sidetrail-server"),
];
/// Static, so that an image holds nothing else.
const TARGETS: [&str; 2] = ["x86_64-unknown-linux-musl", "aarch64-unknown-linux-musl"];
/// It is pulled onto every node: 25 MB.
const MAX_COLLECTOR: u64 = 25_000_000;
/// Authorities that images trust, from this system.
const CERTIFICATES: &str = "/etc/ssl/certs/ca-certificates.crt";

/// What to make.
#[derive(Debug, Args)]
pub(crate) struct Dist {
    /// Rust's name of a platform, several times for several; those for musl that are installed by default
    #[arg(long = "target")]
    targets: Vec<String>,
    /// A package, several times for several; all that are published by default
    #[arg(long = "package")]
    packages: Vec<String>,
    /// Cargo's profile. What is published is `release`
    #[arg(long, default_value = "release")]
    profile: String,
}

pub(crate) fn make(workspace: &Workspace, dist: &Dist) -> Result<()> {
    let targets = targets(dist)?;
    let directory = workspace.target.join("dist");
    if directory.exists() {
        fs::remove_dir_all(&directory).with_context(|| format!("cannot remove {}", directory.display()))?;
    }
    fs::create_dir_all(&directory).with_context(|| format!("cannot create {}", directory.display()))?;
    // The time of everything that has one.
    let time = output(Command::new("git").current_dir(&workspace.root).args(["log", "-1", "--format=%ct"]))?;
    let time = time.trim().to_owned();
    let is_wanted =
        |package: &str| dist.packages.is_empty() || dist.packages.iter().any(|wanted| wanted == package);
    let binaries: Vec<_> = BINARIES.into_iter().filter(|(package, _)| is_wanted(package)).collect();
    ensure!(!binaries.is_empty(), "none of {} is published", dist.packages.join(", "));

    let mut told = Vec::new();
    for target in &targets {
        build(workspace, dist, target, &binaries, &time)?;
        let place = directory.join(platform(target)?);
        fs::create_dir_all(&place)?;
        let profile = if dist.profile == "dev" { "debug" } else { &dist.profile };
        for (package, binary) in &binaries {
            let built = workspace.target.join(target).join(profile).join(binary);
            let bytes = fs::read(&built).with_context(|| format!("cannot read {}", built.display()))?;
            let is_static =
                elf::is_static(&bytes).with_context(|| format!("{} is no program", built.display()))?;
            ensure!(
                is_static || !target.ends_with("-musl"),
                "{} asks for a dynamic linker, which an image has not",
                built.display()
            );
            let size = bytes.len() as u64;
            ensure!(
                *binary != "sidetrail-collector" || dist.profile != "release" || size < MAX_COLLECTOR,
                "the collector is {size} bytes, the limit is {MAX_COLLECTOR}"
            );
            fs::write(place.join(binary), &bytes)?;
            make_executable(&place.join(binary))?;
            let bill = sbom::make(workspace, package, target, &time)?;
            fs::write(place.join(format!("{binary}.cdx.json")), bill)?;
            told.push(json!({ "binary": binary, "target": target, "bytes": size, "static": is_static }));
        }
    }
    let pages = pages(&directory)?;
    for target in &targets {
        archive(workspace, &directory, &directory.join(platform(target)?), &pages, &time)?;
    }
    match fs::copy(CERTIFICATES, directory.join("ca-certificates.crt")) {
        Ok(_) => {}
        Err(error) => {
            eprintln!("no {CERTIFICATES} ({error}): put ca-certificates.crt to {}", directory.display());
        }
    }
    let sums = checksums(&directory)?;
    println!("{} files in {}", sums, directory.display());
    println!("{}", json!({ "binaries": told, "files": sums }));
    Ok(())
}

/// Those that were asked for, else those for which everything is here.
fn targets(dist: &Dist) -> Result<Vec<String>> {
    if !dist.targets.is_empty() {
        return Ok(dist.targets.clone());
    }
    let installed: Vec<_> = installed()?.into_iter().map(str::to_owned).collect();
    ensure!(
        !installed.is_empty(),
        "no target for static binaries is installed: `rustup target add {}`; with `--target \
         x86_64-unknown-linux-gnu` the binaries need the C library of the system that they run on",
        TARGETS.join(" ")
    );
    Ok(installed)
}

/// The targets for static binaries that this toolchain has.
fn installed() -> Result<Vec<&'static str>> {
    let sysroot = output(Command::new("rustc").args(["--print", "sysroot"]))?;
    let libraries = Path::new(sysroot.trim()).join("lib/rustlib");
    Ok(TARGETS.into_iter().filter(|target| libraries.join(target).is_dir()).collect())
}

/// The one whose binaries run here, if it is installed and there is a C compiler for it.
pub(crate) fn host_target() -> Result<Option<&'static str>> {
    let has_compiler =
        Command::new("musl-gcc").arg("--version").output().is_ok_and(|ran| ran.status.success());
    let runs = |target: &&str| has_compiler && target.starts_with(std::env::consts::ARCH);
    Ok(installed()?.into_iter().find(runs))
}

fn build(
    workspace: &Workspace,
    dist: &Dist,
    target: &str,
    binaries: &[(&str, &str)],
    time: &str,
) -> Result<()> {
    // Paths of this machine are in panics and debug information.
    let home = std::env::var("CARGO_HOME").or_else(|_| std::env::var("HOME").map(|home| home + "/.cargo"))?;
    let root = workspace.root.display();
    let flags = format!("--remap-path-prefix={root}=/sidetrail --remap-path-prefix={home}=/cargo");
    let mut cargo = workspace.cargo(["build", "--locked", "--profile", &dist.profile, "--target", target]);
    for (package, binary) in binaries {
        cargo.args(["--package", package, "--bin", binary]);
    }
    run(cargo.env("RUSTFLAGS", flags).env("SOURCE_DATE_EPOCH", time).env("CARGO_INCREMENTAL", "0"))
}

/// As containers call a platform.
fn platform(target: &str) -> Result<&'static str> {
    match target.split('-').next() {
        Some("x86_64") => Ok("linux-amd64"),
        Some("aarch64") => Ok("linux-arm64"),
        _ => bail!("{target} is no platform that we ship for"),
    }
}

fn make_executable(path: &Path) -> Result<()> {
    use std::os::unix::fs::PermissionsExt;
    Ok(fs::set_permissions(path, fs::Permissions::from_mode(0o755))?)
}

/// Manual pages and completions of the command line, which says them itself: folders, by the names that they have in a tar
/// file. They are the same for each platform, so one whose binary runs here is enough.
fn pages(directory: &Path) -> Result<Vec<PathBuf>> {
    let binaries = entries(directory)?.into_iter().map(|place| place.join("sidetrail"));
    let runs = |binary: &PathBuf| output(Command::new(binary).arg("version")).is_ok();
    let Some(binary) = binaries.filter(|binary| binary.is_file()).find(runs) else {
        eprintln!(
            "no manual pages and no completions: `sidetrail` is not among the binaries, or does not run here"
        );
        return Ok(Vec::new());
    };
    let folders = ["man", "completions"].map(|folder| directory.join(folder));
    output(Command::new(&binary).args(["man", "--out"]).arg(&folders[0]))?;
    fs::create_dir(&folders[1])?;
    for (shell, file) in [("bash", "sidetrail.bash"), ("zsh", "_sidetrail"), ("fish", "sidetrail.fish")] {
        fs::write(folders[1].join(file), output(Command::new(&binary).args(["completions", shell]))?)?;
    }
    Ok(folders.into())
}

/// A tar file with nothing in it of when and by whom it was made.
fn archive(
    workspace: &Workspace,
    directory: &Path,
    place: &Path,
    pages: &[PathBuf],
    time: &str,
) -> Result<()> {
    let platform = place.file_name().and_then(|name| name.to_str()).context("a platform")?;
    let name = format!("sidetrail-{}-{platform}", env!("CARGO_PKG_VERSION"));
    let staged = directory.join(&name);
    fs::create_dir(&staged)?;
    let mut files: Vec<PathBuf> = entries(place)?;
    files.extend(entries(&workspace.root.join("deploy/systemd"))?);
    files.extend(["LICENSE", "README.md"].map(|file| workspace.root.join(file)));
    for file in files {
        let name = file.file_name().context("a file has a name")?;
        fs::copy(&file, staged.join(name)).with_context(|| format!("cannot copy {}", file.display()))?;
    }
    for folder in pages {
        let staged = staged.join(folder.file_name().context("a folder has a name")?);
        fs::create_dir(&staged)?;
        for file in entries(folder)? {
            fs::copy(&file, staged.join(file.file_name().context("a file has a name")?))?;
        }
    }
    let mut tar = Command::new("tar");
    tar.current_dir(directory).args([
        "--sort=name",
        "--format=ustar",
        "--owner=0",
        "--group=0",
        "--numeric-owner",
    ]);
    tar.args([
        "--mode=u=rwX,go=rX",
        &format!("--mtime=@{time}"),
        "--use-compress-program=gzip -n9",
        "--create",
    ]);
    run(tar.args(["--file", &format!("{name}.tar.gz"), &name]))?;
    Ok(fs::remove_dir_all(staged)?)
}

/// Writes `SHA256SUMS`, as `sha256sum --check` reads it, over everything below; how many files that is.
fn checksums(directory: &Path) -> Result<usize> {
    let mut files = Vec::new();
    for entry in entries(directory)? {
        if entry.is_dir() { files.extend(entries(&entry)?) } else { files.push(entry) }
    }
    let mut sums = String::new();
    for file in &files {
        let bytes = fs::read(file).with_context(|| format!("cannot read {}", file.display()))?;
        let name = file.strip_prefix(directory).unwrap_or(file);
        sums.push_str(&format!("{:x}  {}\n", Sha256::digest(&bytes), name.display()));
    }
    fs::write(directory.join("SHA256SUMS"), sums)?;
    Ok(files.len())
}

/// What is in a directory, sorted.
fn entries(directory: &Path) -> Result<Vec<PathBuf>> {
    let entries = fs::read_dir(directory).with_context(|| format!("cannot read {}", directory.display()))?;
    let mut paths = entries.map(|entry| Ok(entry?.path())).collect::<Result<Vec<_>>>()?;
    paths.sort();
    Ok(paths)
}
