//! The demo, and what becomes of it for somebody who has nothing but Python and the documents.

use std::env;
use std::fs;
use std::io::{Read, Write};
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, ensure};
use flate2::Compression;
use flate2::bufread::GzDecoder;
use flate2::write::GzEncoder;
use sidetrail_tests::tools::{self, Ran};

/// Given to Python as text: what runs is what was compiled in.
const READER: &str = include_str!("read_archive.py");

/// What the demo sends and no file may hold. Its tokens are made as it runs; the reader knows them by their form.
const SECRETS: [&str; 6] =
    ["wonderland", "builder", "not-the-password", "helpdesk", "4111111111111111", "guessed-by-a-scanner"];

const REQUESTS: usize = 19;

#[test]
fn the_demo_leaves_an_archive_that_anybody_can_read_and_verify() -> Result<()> {
    let temporary = tempfile::tempdir()?;
    let directory = temporary.path().join("demo");
    let said = demo(&directory)?.success()?;
    ensure!(
        said.contains("19 requests, 19 records, all verified"),
        "the demo ended with other words:\n{said}"
    );

    let read = read(&directory)?.success()?;
    ensure!(read.contains(&format!("{REQUESTS} records")), "{read}");
    println!("{}", read.trim_end());

    let bucket = directory.join("bucket");
    let verify = |more: &[&Path]| {
        let mut verify = Command::new(tools::binary("sidetrail")?);
        verify.arg("verify").arg(&bucket).args(more);
        tools::run(verify)?.success()
    };
    verify(&[])?;
    verify(&[Path::new("--keys"), &directory.join("keys")])?;

    let mut cat = Command::new(tools::binary("sidetrail")?);
    cat.arg("cat").arg(&bucket);
    let lines = tools::run(cat)?.success()?.lines().count();
    ensure!(lines == REQUESTS, "`sidetrail cat` printed {lines} lines for {REQUESTS} requests");

    the_reader_finds_what_it_looks_for(&directory)
}

/// Runs the demo to its end. What it builds first is there already, as the other tests need it too: see the stand-in.
fn demo(directory: &Path) -> Result<Ran> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let cargo = env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let build = directory.with_extension("build");
    let program = tools::binary("sidetrail-xtask")?;
    let mut demo = Command::new(&program);
    demo.args(["demo", "--", "--once", "--dir"]).arg(directory).current_dir(root.join(".."));
    demo.env("DEMO_CARGO", cargo).env("DEMO_BUILD", &build);
    demo.env("CARGO", root.join("e2e/cargo_of_the_demo"));
    let ran = tools::run(demo)?;
    let asked = fs::read_to_string(&build).with_context(|| format!("the demo built nothing: {ran:?}"))?;
    for part in [
        "--package=sidetrail-collector",
        "--package=sidetrail-cli",
        "--package=sidetrail-server",
        "--bins",
        "--example=orders",
    ] {
        ensure!(asked.lines().any(|word| word == part), "the demo did not ask for {part}, but for\n{asked}");
    }
    Ok(ran)
}

/// Plain Python: isolated from its environment, and without the packages of its site.
fn read(directory: &Path) -> Result<Ran> {
    let mut python = Command::new("python3");
    python.args(["-I", "-S", "-c", READER]).arg(directory).args(SECRETS);
    tools::run(python)
}

/// A reader that never complains would prove nothing: it is shown the same archive with its records changed.
fn the_reader_finds_what_it_looks_for(directory: &Path) -> Result<()> {
    const CHANGES: [(&str, &str); 7] = [
        // A password, a token, a password in base64, a header.
        ("/login", "/login?password=wonderland"),
        ("sidetrail-demo/1", "eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiJhIn0.c2ln"),
        ("/boom", "bm90LXRoZS1wYXNzd29yZA=="),
        ("127.0.0.1", "Authorization: Bearer 0123"),
        // One request twice and another not at all, an identity, a member.
        ("demo-09", "demo-08"),
        (r#""userName":"support""#, r#""userName":"bob""#),
        (r#""eventCategory":"Management""#, r#""category":"Management""#),
    ];
    let mut made = [false; CHANGES.len()];
    // On a slow machine the demo spans several log files, and each change is possible in some of them only.
    for log in log_files(&directory.join("bucket"))? {
        let mut content = String::new();
        GzDecoder::new(&*fs::read(&log)?).read_to_string(&mut content)?;
        for ((from, to), made) in CHANGES.iter().zip(&mut made) {
            *made |= content.contains(from);
            content = content.replacen(from, to, 1);
        }
        let mut gzip = GzEncoder::new(Vec::new(), Compression::default());
        gzip.write_all(content.as_bytes())?;
        fs::write(&log, gzip.finish()?)?;
    }
    ensure!(made == [true; CHANGES.len()], "what the test changes is not in the archive: {made:?}");

    let read = read(directory)?;
    ensure!(read.status.code() == Some(1), "the reader found nothing wrong: {read:?}");
    for problem in [
        "holds the secret wonderland",
        "holds the secret not-the-password",
        "holds a JSON web token",
        "holds a bearer token",
        "holds an authorization header",
        "demo-08 has 2 records",
        "demo-09",
        "demo-14 was made by support as bob",
        "has a record without eventCategory",
        "has sha256",
        "has size",
        "has contentSha256",
    ] {
        ensure!(read.stdout.contains(problem), "the reader does not say {problem:?}:\n{}", read.stdout);
    }
    Ok(())
}

/// The log files below a directory.
fn log_files(directory: &Path) -> Result<Vec<PathBuf>> {
    let (mut directories, mut files) = (vec![directory.to_owned()], Vec::new());
    while let Some(directory) = directories.pop() {
        for entry in fs::read_dir(&directory)? {
            let path = entry?.path();
            if path.is_dir() {
                directories.push(path);
            } else if path.extension().is_some_and(|extension| extension == "gz") {
                files.push(path);
            }
        }
    }
    Ok(files)
}
