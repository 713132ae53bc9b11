//! Real CloudTrail records go through protocol, spool and bucket, and come out equal, each exactly once.

use std::collections::HashMap;
use std::fs::{self, File};
use std::io::{BufReader, Read};
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, ensure};
use flate2::bufread::GzDecoder;
use serde_json::Value;
use sidetrail_archive::verify::Outcome;
use sidetrail_record::Record;
use sidetrail_tests::collector::Settings;
use sidetrail_tests::{Collector, SeaweedFs, archive, tools};
use sidetrail_wire::ingest::v1::Call;

/// More than all files together have.
const MAX_TEXT: u64 = 64 << 20;

/// The records by file: the large set beside the repository where it is, else the project's own small one.
fn files() -> Result<Vec<PathBuf>> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let shared = root.join("../../shared/data/cloudtrail-records");
    let directory = if shared.is_dir() {
        shared
    } else {
        println!("the large set of records is not here; replaying the project's own small set");
        root.join("data")
    };
    let mut files = Vec::new();
    for entry in fs::read_dir(&directory).with_context(|| directory.display().to_string())? {
        let path = entry?.path();
        if path.to_string_lossy().contains(".ndjson") {
            files.push(path);
        }
    }
    files.sort();
    ensure!(!files.is_empty(), "no records in {}", directory.display());
    Ok(files)
}

fn lines(file: &Path) -> Result<Vec<String>> {
    let mut text = String::new();
    let mut source = BufReader::new(File::open(file)?);
    if file.extension().is_some_and(|extension| extension == "gz") {
        GzDecoder::new(source).take(MAX_TEXT).read_to_string(&mut text)?;
    } else {
        source.read_to_string(&mut text)?;
    }
    Ok(text.lines().map(str::to_owned).collect())
}

/// Counts values: `Value` does not hash, and its text does where keys are sorted.
fn tally(records: impl IntoIterator<Item = Value>) -> HashMap<String, i64> {
    let mut tally = HashMap::new();
    for record in records {
        *tally.entry(record.to_string()).or_default() += 1;
    }
    tally
}

#[test]
fn real_records_come_out_equal_and_once() -> Result<()> {
    let store = SeaweedFs::shared()?;
    let bucket = store.bucket("replay")?;
    let directory = tempfile::tempdir()?;
    let mut collector = Collector::new(directory.path(), Settings::default())?.with_store(store, &bucket)?;
    collector.start()?;
    let files = files()?;
    let mut send = Command::new(tools::binary("sidetrail")?);
    send.arg("send").args(&files).arg("--collector").arg(format!("unix:{}", collector.socket().display()));
    tools::run(send)?.success()?;
    collector.stop()?;

    let mut expected = Vec::new();
    for file in &files {
        for line in lines(file)? {
            expected.push(serde_json::from_str(&line)?);
        }
    }
    let count = expected.len();
    let (expected, found) = (tally(expected), tally(archive::records(&collector)?));
    for (record, times) in &expected {
        let found = found.get(record).copied().unwrap_or(0);
        ensure!(found == *times, "there {found} times instead of {times}: {record}");
    }
    ensure!(found.len() == expected.len(), "records that nobody sent");
    ensure!(archive::verify(&collector)?.outcome() == Outcome::Valid);
    println!("{count} real records came out equal, each exactly once");
    Ok(())
}

/// What a layer sends is typed: a record that is taken apart for it is the same put together again.
#[test]
fn real_records_survive_the_typed_form() -> Result<()> {
    let mut count = 0;
    for file in files()? {
        for line in lines(&file)? {
            let record: Record = serde_json::from_str(&line)?;
            let again = Record::try_from(Call::from(record))?;
            let (again, expected): (Value, Value) =
                (serde_json::to_value(&again)?, serde_json::from_str(&line)?);
            ensure!(again == expected, "{}: {again} is not {expected}", file.display());
            count += 1;
        }
    }
    println!("{count} real records survive the typed form");
    Ok(())
}
