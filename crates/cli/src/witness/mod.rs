//! `sidetrail witness`: looks at the logs of a bucket from outside, and cosigns what extends what it saw before.

mod arguments;

use std::fs::{self, File, OpenOptions};
use std::io;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, anyhow, bail};
use jiff::Timestamp;
use serde::Serialize;
use sidetrail_archive::key::{TreeObject, TreePlace};
use sidetrail_archive::sign::{Ed25519Signer, Signer};
use sidetrail_archive::source::Bucket;
use sidetrail_archive::tlog::checkpoint::Checkpoint;
use sidetrail_archive::tlog::merkle::Head;
use sidetrail_archive::tlog::note::{Algorithm, VerifierKey};
use sidetrail_archive::tlog::proof::{Consistency, MAX_FILE};
use sidetrail_archive::tlog::stored::Stored;
use sidetrail_archive::tlog::witness::{Memory, Refusal};

pub(crate) use self::arguments::Witness;
use crate::checkpoint::consistency;
use crate::exit::Exit;
use crate::location::{Location, local_path};
use crate::output;
use crate::print::{self, named, printable};
use crate::verify::read_pem;
use crate::vkeys::read_text;

/// The most bytes of what it keeps.
const MAX_MEMORY: u64 = 64 << 20;

/// What it says of one log.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct Said {
    origin: String,
    outcome: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    reason: Option<String>,
    /// The leaves that it had seen before.
    seen: u64,
    /// The leaves that there are.
    #[serde(skip_serializing_if = "Option::is_none")]
    size: Option<u64>,
    /// The checkpoint with the cosignature.
    #[serde(skip_serializing_if = "Option::is_none")]
    checkpoint: Option<String>,
    #[serde(skip)]
    exit: Exit,
}

pub(crate) fn run(arguments: &Witness) -> Result<Exit> {
    let keys = arguments.logs.all()?;
    let logs: Vec<_> = keys.into_iter().filter(|key| key.algorithm() == Algorithm::Ed25519).collect();
    let pem = read_pem(&arguments.signing_key);
    let signer = pem
        .map_err(anyhow::Error::from)
        .and_then(|pem| Ok(Ed25519Signer::from_pem(&pem)?))
        .with_context(|| format!("could not take the key in {}", arguments.signing_key.display()))?;
    if logs.iter().any(|key| key.public_key() == signer.public_key()) {
        bail!("the witness's key is that of a log: it must have one of its own");
    }
    // From here to the end nobody else may cosign with this memory: two might cosign two histories.
    let state = State::open(&arguments.state)?;
    let mut memory = state.read()?;
    let before = memory.clone();
    let time = u64::try_from(Timestamp::now().as_second()).context("the clock is before 1970")?;
    let mut cosigner = Cosigner { arguments, logs: &logs, signer: &signer, time, memory: &mut memory };
    let said = cosigner.look()?;
    if memory != before {
        // What is not kept must not be given to anybody.
        state.write(&memory)?;
    }
    let exit = said.iter().fold(Exit::Done, |exit, said| exit.and(said.exit));
    print::out(format_args!("{}", render(arguments, &signer, &said)?))?;
    Ok(exit)
}

/// The file with the memory, and a lock beside it.
struct State {
    path: PathBuf,
    _lock: File,
}

impl State {
    fn open(path: &Path) -> Result<Self> {
        let mut lock = path.as_os_str().to_owned();
        lock.push(".lock");
        let lock = OpenOptions::new().create(true).append(true).open(&lock);
        let lock = lock.with_context(|| format!("could not lock {}", path.display()))?;
        lock.lock().with_context(|| format!("could not lock {}", path.display()))?;
        Ok(Self { path: path.to_owned(), _lock: lock })
    }

    fn read(&self) -> Result<Memory> {
        let name = self.path.display();
        if matches!(fs::symlink_metadata(&self.path), Err(error) if error.kind() == io::ErrorKind::NotFound) {
            return Ok(Memory::default());
        }
        let text = read_text(&self.path, MAX_MEMORY).with_context(|| format!("could not read {name}"))?;
        Memory::from_json(text.as_bytes()).with_context(|| format!("could not take {name}"))
    }

    fn write(&self, memory: &Memory) -> Result<()> {
        let text = memory.to_json().context("could not write it as JSON")? + "\n";
        output::replace(&self.path, text.as_bytes())
            .with_context(|| format!("could not write {}", self.path.display()))
    }
}

struct Cosigner<'a> {
    arguments: &'a Witness,
    logs: &'a [VerifierKey],
    signer: &'a dyn Signer,
    time: u64,
    memory: &'a mut Memory,
}

impl Cosigner<'_> {
    fn look(&mut self) -> Result<Vec<Said>> {
        let what = &self.arguments.what;
        match local_path(what) {
            Some(path) if !Path::new(path).is_dir() => {
                let text = read_text(Path::new(path), MAX_FILE as u64);
                let text = text.with_context(|| format!("could not read {path}"))?;
                let proof =
                    Consistency::parse(text.as_bytes()).with_context(|| format!("could not take {path}"))?;
                Ok(vec![self.cosign(&proof)?])
            }
            _ => {
                let location = Location::open(what)?;
                let bucket = &*location.bucket();
                // Each log once, whatever number of keys it has.
                let mut origins: Vec<&str> = self.logs.iter().map(|key| key.name().as_str()).collect();
                origins.dedup();
                origins.into_iter().map(|origin| self.stored(bucket, origin)).collect()
            }
        }
    }

    /// The newest checkpoint of a log in the bucket.
    fn stored(&mut self, bucket: &dyn Bucket, origin: &str) -> Result<Said> {
        let place =
            TreePlace::of_origin(origin).with_context(|| format!("{origin} is no log of Sidetrail"))?;
        let stored = Stored::new(bucket, place);
        let seen = self.seen(origin);
        let note = match stored.checkpoint(TreeObject::Latest) {
            Ok(note) => note,
            Err(error) => {
                let reason = named(&stored.place().key(TreeObject::Latest).to_string(), &error);
                let gone = error.kind() == io::ErrorKind::NotFound && seen.size > 0;
                let reason = if gone { format!("the log is gone: {reason}") } else { reason };
                return Ok(self.refuse(
                    origin,
                    None,
                    reason,
                    if gone { Exit::Wrong } else { Exit::CouldNot },
                ));
            }
        };
        let old = Checkpoint { origin: origin.to_owned(), head: seen, extensions: Vec::new() };
        let size = note.text.parse().ok().map(|checkpoint: Checkpoint| checkpoint.head.size);
        match consistency(&stored, &old, note) {
            Ok(Ok(proof)) => self.cosign(&proof),
            Ok(Err(reason)) => Ok(self.refuse(origin, size, reason, Exit::Wrong)),
            Err(error) => Ok(self.refuse(origin, size, format!("{error:#}"), Exit::CouldNot)),
        }
    }

    fn seen(&self, origin: &str) -> Head {
        self.memory.last(origin).map_or_else(Head::empty, |(_, head)| head)
    }

    fn refuse(&self, origin: &str, size: Option<u64>, reason: String, exit: Exit) -> Said {
        let outcome = if exit == Exit::Wrong { "refused" } else { "couldNotCheck" };
        let seen = self.seen(origin).size;
        Said { origin: origin.to_owned(), outcome, reason: Some(reason), seen, size, checkpoint: None, exit }
    }

    fn cosign(&mut self, proof: &Consistency) -> Result<Said> {
        let Checkpoint { origin, head, .. } = proof.checkpoint.text.parse()?;
        let seen = self.seen(&origin).size;
        let Witness { name, .. } = self.arguments;
        match self.memory.cosign(proof, self.logs, name, self.signer, self.time) {
            Ok(_) => Ok(Said {
                outcome: "cosigned",
                reason: None,
                seen,
                size: Some(head.size),
                checkpoint: self.memory.last(&origin).map(|(note, _)| note.to_string()),
                exit: Exit::Done,
                origin,
            }),
            Err(error @ (Refusal::Sign(_) | Refusal::Full)) => Err(anyhow!(error)),
            Err(error) => {
                // Who brings a proof from elsewhere on has to bring another; that says nothing of the log.
                let exit =
                    if matches!(error, Refusal::Conflict { .. }) { Exit::CouldNot } else { Exit::Wrong };
                Ok(self.refuse(&origin, Some(head.size), print::chain(&error), exit))
            }
        }
    }
}

fn render(arguments: &Witness, signer: &dyn Signer, said: &[Said]) -> Result<String> {
    use std::fmt::Write as _;
    let key = VerifierKey::new(arguments.name.clone(), Algorithm::Cosignature, signer.public_key().clone());
    if arguments.json {
        let value = serde_json::json!({ "witness": key.to_string(), "logs": said });
        return Ok(serde_json::to_string(&value).context("could not write it as JSON")? + "\n");
    }
    let mut text = String::new();
    // Writing to a string does not fail.
    for Said { origin, outcome, reason, seen, size, checkpoint, .. } in said {
        let origin = printable(origin);
        match (reason, size, checkpoint) {
            (None, _, Some(checkpoint)) if arguments.notes => text.push_str(checkpoint),
            (None, Some(size), _) => {
                let _ = writeln!(text, "cosigned {origin}: {size} leaves, {seen} when last seen");
            }
            (reason, ..) => {
                let word = if *outcome == "refused" { "REFUSED" } else { "COULD-NOT-CHECK" };
                let reason = reason.as_deref().unwrap_or_default();
                let line = format!("{word} {origin} {}", printable(reason));
                // Standard output has notes and nothing else then.
                if arguments.notes {
                    print::complain(format_args!("{line}"));
                } else {
                    let _ = writeln!(text, "{line}");
                }
            }
        }
    }
    if !arguments.notes {
        let _ = writeln!(text, "witness {key}");
    }
    Ok(text)
}
