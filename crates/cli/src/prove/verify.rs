//! `sidetrail verify-proof`: checks such a file, without the log and without a network.

use std::fs::File;
use std::io::Read;
use std::path::Path;

use anyhow::{Context, Result};
use jiff::Timestamp;
use serde::Serialize;
use sidetrail_archive::tlog::checkpoint::Checkpoint;
use sidetrail_archive::tlog::cosignature;
use sidetrail_archive::tlog::note::{Name, Note, VerifierKey};
use sidetrail_archive::tlog::proof::{Inclusion, MAX_FILE};

use super::arguments::VerifyProof;
use crate::exit::Exit;
use crate::print::{self, printable};
use crate::vkeys::{self, read_text};

/// The most bytes of a record.
const MAX_RECORD: u64 = 1 << 20;

/// What was found.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct Checked<'a> {
    outcome: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    reason: Option<String>,
    index: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    origin: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    size: Option<u64>,
    witnesses: Vec<Cosigned>,
    #[serde(skip_serializing_if = "Option::is_none")]
    record: Option<serde_json::Value>,
}

/// A witness that cosigned.
#[derive(Debug, Serialize)]
pub(crate) struct Cosigned {
    name: Name,
    at: Timestamp,
}

pub(crate) fn verify(arguments: &VerifyProof) -> Result<Exit> {
    let keys = arguments.keys.all()?;
    let name = arguments.file.display();
    let text =
        read_text(&arguments.file, MAX_FILE as u64).with_context(|| format!("could not read {name}"))?;
    let record = arguments.record.as_deref().map(read_record).transpose()?;
    let proof = match Inclusion::parse(text.as_bytes()) {
        Ok(proof) => proof,
        Err(error) => {
            print::complain(format_args!("{name}: {error}"));
            return Ok(Exit::Wrong);
        }
    };
    let verified = proof.verify(record.as_deref(), &keys);
    let verified = verified
        .map_err(|error| print::chain(&error))
        .and_then(|verified| missing(&proof.checkpoint, &arguments.witness).map_or(Ok(verified), Err));
    let witnesses: Vec<_> = vkeys::witnesses(&keys).chain(&arguments.witness).cloned().collect();
    let checked = match &verified {
        Ok((record, checkpoint)) => Checked {
            outcome: "valid",
            reason: None,
            index: proof.index,
            origin: Some(&checkpoint.origin),
            size: Some(checkpoint.head.size),
            witnesses: cosigned(&proof.checkpoint, &witnesses),
            record: serde_json::from_slice(record).ok(),
        },
        Err(reason) => Checked {
            outcome: "invalid",
            reason: Some(reason.clone()),
            index: proof.index,
            origin: None,
            size: None,
            witnesses: Vec::new(),
            record: None,
        },
    };
    if arguments.json {
        let json = serde_json::to_string(&checked).context("could not write it as JSON")?;
        print::out(format_args!("{json}\n"))?;
    } else {
        print::out(format_args!("{}", render(&checked, verified.as_ref().ok())))?;
    }
    Ok(if verified.is_ok() { Exit::Done } else { Exit::Wrong })
}

fn read_record(path: &Path) -> Result<Vec<u8>> {
    let mut bytes = Vec::new();
    File::open(path)
        .and_then(|file| file.take(MAX_RECORD).read_to_end(&mut bytes))
        .with_context(|| format!("could not read {}", path.display()))?;
    Ok(bytes)
}

/// The witness whose cosignature is asked for and is not there.
pub(crate) fn missing(note: &Note, witnesses: &[VerifierKey]) -> Option<String> {
    let missing = witnesses.iter().find(|key| note.signature_of(key).is_none());
    missing.map(|key| format!("the witness {} did not cosign the checkpoint", key.name()))
}

/// When witnesses cosigned.
pub(crate) fn cosigned(note: &Note, witnesses: &[VerifierKey]) -> Vec<Cosigned> {
    let cosigned = |key: &VerifierKey| {
        let signature = note.signature_of(key)?;
        let time = cosignature::verify(key.public_key(), &note.text, &signature.bytes)?;
        let at = Timestamp::from_second(i64::try_from(time).ok()?).ok()?;
        Some(Cosigned { name: key.name().clone(), at })
    };
    witnesses.iter().filter_map(cosigned).collect()
}

fn render(checked: &Checked<'_>, verified: Option<&(&[u8], Checkpoint)>) -> String {
    use std::fmt::Write as _;
    let mut text = String::new();
    // Writing to a string does not fail.
    if let Some((record, checkpoint)) = verified {
        if let Some(record) = &checked.record {
            let field = |name: &str| printable(record[name].as_str().unwrap_or("-")).into_owned();
            let [time, source, name, id] = ["eventTime", "eventSource", "eventName", "eventID"].map(field);
            let _ =
                writeln!(text, "record  {time} {name} of {source}, {id}, {} bytes", record_size(verified));
        } else {
            let _ = writeln!(text, "record  {} bytes that are no JSON", record.len());
        }
        let origin = printable(&checkpoint.origin);
        let _ = writeln!(text, "log     {origin}, leaf {} of {}", checked.index, checkpoint.head.size);
        let _ = writeln!(text, "root    {}", checkpoint.head.root);
        for Cosigned { name, at } in &checked.witnesses {
            let _ = writeln!(text, "witness {name} at {at}");
        }
    }
    if let Some(reason) = &checked.reason {
        let _ = writeln!(text, "{}", printable(reason));
    }
    text + if verified.is_some() { "VALID\n" } else { "INVALID\n" }
}

fn record_size(verified: Option<&(&[u8], Checkpoint)>) -> usize {
    verified.map_or(0, |(record, _)| record.len())
}
