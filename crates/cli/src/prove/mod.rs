//! `sidetrail prove`: a file that proves that one record is in the log.

mod arguments;
mod verify;

use std::borrow::Cow;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, anyhow, bail};
use serde::{Deserialize, Serialize};
use sidetrail_archive::key::{LogKey, TreeObject};
use sidetrail_archive::source::Bucket;
use sidetrail_archive::tlog::checkpoint::Checkpoint;
use sidetrail_archive::tlog::locate::{Located, Locator};
use sidetrail_archive::tlog::merkle::Head;
use sidetrail_archive::tlog::note::{MAX_NOTE, Note, VerifierKey};
use sidetrail_archive::tlog::proof::Inclusion;
use sidetrail_archive::tlog::prove::Prover;
use sidetrail_archive::tlog::stored::Stored;
use sidetrail_archive::tlog::witness::Memory;

pub(crate) use self::arguments::{Prove, VerifyProof};
pub(crate) use self::verify::verify;
use crate::exit::Exit;
use crate::find::{Found, Search};
use crate::location::Location;
use crate::output;
use crate::print::{complain, named};
use crate::time::Range;
use crate::vkeys::read_text;

/// The most bytes of what a witness keeps.
const MAX_MEMORY: u64 = 64 << 20;
/// One record is enough; so many bytes are the most that it may have.
const MOST: (usize, u64) = (64, 64 << 20);

/// What was proved, for people and as JSON.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct Proved<'a> {
    event_id: &'a str,
    log_file: LogKey,
    position: u64,
    digest: String,
    origin: String,
    index: u64,
    size: u64,
    key: &'a VerifierKey,
    file: &'a Path,
    bytes: usize,
}

pub(crate) fn run(arguments: &Prove) -> Result<Exit> {
    let location = Location::open(&arguments.bucket)?;
    let bucket = &*location.bucket();
    let found = find(arguments, &location, bucket)?;
    let Found { file, position, record } = &found;
    let located =
        Locator::new(bucket)
            .find(file)
            .map_err(|error| anyhow!(named(location.name(), &error)))?
            .with_context(|| format!("no digest lists {file} yet: it is in no log before the next one"))?;
    let log = Log::open(bucket, located, arguments.checkpoint.as_deref())?;
    let record = (!arguments.without_record).then_some(record.as_str());
    let proof = match log.prove(*position, record.map(str::as_bytes)) {
        Ok(proof) => proof,
        Err(error) => {
            complain(format_args!("{error:#}"));
            return Ok(Exit::CouldNot);
        }
    };
    // Digests and tiles were taken as they are: only this shows that they are right.
    if let Err(error) = proof.verify(Some(found.record.as_bytes()), std::slice::from_ref(&log.key)) {
        complain(format_args!("{file}: record {position} is not what the log has: {error}"));
        return Ok(Exit::Wrong);
    }

    let text = proof.to_string();
    let path = arguments.output.clone();
    let path = path.unwrap_or_else(|| PathBuf::from(format!("{}.tlog-proof", arguments.event_id)));
    output::write(&path, &text)?;
    if path == Path::new("-") {
        return Ok(Exit::Done);
    }
    let proved = Proved {
        event_id: &arguments.event_id,
        log_file: file.clone(),
        position: *position,
        digest: log.located.digest.object.to_string(),
        origin: log.checkpoint.origin.clone(),
        index: proof.index,
        size: log.checkpoint.head.size,
        key: &log.key,
        file: &path,
        bytes: text.len(),
    };
    if arguments.json {
        let json = serde_json::to_string(&proved).context("could not write it as JSON")?;
        crate::print::out(format_args!("{json}\n"))?;
    } else {
        let Proved { log_file, index, size, origin, key, bytes, .. } = &proved;
        crate::print::out(format_args!(
            "record  {position} of {log_file}\nlog     {origin}, leaf {index} of {size}\nkey     {key}\nproof   {}, {bytes} bytes\n",
            path.display()
        ))?;
    }
    Ok(Exit::Done)
}

fn find(arguments: &Prove, location: &Location, bucket: &dyn Bucket) -> Result<Found> {
    let Prove { event_id, from, to, .. } = arguments;
    let range = Range { from: *from, to: *to };
    let wanted = |record: &str| record.contains(event_id) && is_wanted(record, event_id, range);
    let search = Search {
        bucket,
        prefix: location.prefix().map_or_else(String::new, |prefix| format!("{prefix}/")),
        range,
        jobs: arguments.jobs.unwrap_or_else(|| crate::location::default_jobs(&arguments.bucket)),
        wanted: &wanted,
        most: MOST,
        first: true,
    };
    let searched = search.run().map_err(|error| anyhow!(named(location.name(), &error)))?;
    for (file, _, error) in &searched.failed {
        complain(format_args!("{file}: {error}"));
    }
    searched.found.into_iter().next().with_context(|| {
        let files = crate::print::count(searched.files, "log file");
        format!("no record with the eventID {event_id} in {files} of {}", location.name())
    })
}

fn is_wanted(record: &str, event_id: &str, range: Range) -> bool {
    #[derive(Deserialize)]
    #[serde(rename_all = "camelCase")]
    struct Peek<'a> {
        #[serde(rename = "eventID", borrow)]
        event_id: Cow<'a, str>,
        #[serde(borrow)]
        event_time: Option<Cow<'a, str>>,
    }
    let Ok(peek) = serde_json::from_str::<Peek<'_>>(record) else { return false };
    let at = peek.event_time.and_then(|at| at.parse().ok());
    peek.event_id == event_id && (range.is_open() || at.is_some_and(|at| range.contains(at)))
}

/// A log, and the checkpoint in whose tree things are proved.
#[derive(Debug)]
pub(crate) struct Log<'a> {
    pub(crate) located: Located,
    stored: Stored<'a>,
    /// The key that the digest names for it.
    pub(crate) key: VerifierKey,
    /// The first leaf of the file, and how many there are.
    leaves: (u64, u64),
    pub(crate) note: Note,
    pub(crate) checkpoint: Checkpoint,
}

impl<'a> Log<'a> {
    /// The log of a file that was located, with a checkpoint of its own or the one in `given`.
    pub(crate) fn open(bucket: &'a dyn Bucket, located: Located, given: Option<&Path>) -> Result<Self> {
        let Some((leaves, tree)) = located.tree() else {
            bail!("the digest {} has no tree: its trail has no log", located.digest.object);
        };
        let stored = Stored::new(bucket, located.place.clone());
        let note = match given {
            Some(path) => given_checkpoint(path, Some(tree.origin.as_str()))?,
            None => newest(&stored, &located, std::slice::from_ref(&tree.key))?,
        };
        let key = tree.key.clone();
        Self::believe(stored, located, key, leaves, note)
    }

    /// The log of a file that was located, with a checkpoint that is at hand.
    pub(crate) fn with(bucket: &'a dyn Bucket, located: Located, note: Note) -> Result<Self> {
        let Some((leaves, tree)) = located.tree() else {
            bail!("the digest {} has no tree: its trail has no log", located.digest.object);
        };
        let (stored, key) = (Stored::new(bucket, located.place.clone()), tree.key.clone());
        Self::believe(stored, located, key, leaves, note)
    }

    fn believe(
        stored: Stored<'a>,
        located: Located,
        key: VerifierKey,
        leaves: (u64, u64),
        note: Note,
    ) -> Result<Self> {
        let checkpoint = Checkpoint::open(&note, std::slice::from_ref(&key));
        let checkpoint = checkpoint.context("the checkpoint is not to be believed")?;
        Ok(Self { located, stored, key, leaves, note, checkpoint })
    }

    /// Proves that the record at `position` of the log file is in the log.
    pub(crate) fn prove(&self, position: u64, record: Option<&[u8]>) -> Result<Inclusion> {
        let (first, leaves) = self.leaves;
        if position >= leaves {
            bail!("the log file had a problem when its digest was made, and its records are not in the log");
        }
        let (index, size) = (first + position, self.checkpoint.head.size);
        if index >= size {
            bail!("the checkpoint is of {size} leaves, and the record is leaf {index}: take a newer one");
        }
        let prover = Prover::new(&self.stored, size);
        let hashes = prover.inclusion(index).map_err(|error| anyhow!(named("the log's tiles", &error)))?;
        Ok(Inclusion { record: record.map(<[u8]>::to_vec), index, hashes, checkpoint: self.note.clone() })
    }
}

/// The newest checkpoint of the log, or if that is of another key or has fewer leaves, the one beside the digest.
fn newest(stored: &Stored<'_>, located: &Located, key: &[VerifierKey]) -> Result<Note> {
    if let Ok(note) = stored.checkpoint(TreeObject::Latest)
        && let Ok(checkpoint) = Checkpoint::open(&note, key)
        && located.tree().is_some_and(|(_, tree)| checkpoint.head.size >= tree.size)
    {
        return Ok(note);
    }
    let object = TreeObject::Checkpoint(located.digest.object.end);
    let key = stored.place().key(object);
    stored.checkpoint(object).with_context(|| format!("could not read the checkpoint {key}"))
}

/// What a witness saw of each log: what it kept, or a checkpoint. Whoever gives the file believes it.
pub(crate) fn witnessed(path: &Path) -> Result<Vec<(String, Head)>> {
    let name = path.display();
    let text = read_text(path, MAX_MEMORY).with_context(|| format!("could not read {name}"))?;
    if text.trim_start().starts_with('{') {
        let memory = Memory::from_json(text.as_bytes()).with_context(|| format!("could not take {name}"))?;
        return Ok(memory.iter().map(|(origin, _, head)| (origin.to_owned(), head)).collect());
    }
    let note = Note::parse(text.as_bytes()).with_context(|| format!("could not take {name}"))?;
    let checkpoint: Checkpoint = note.text.parse().with_context(|| format!("could not take {name}"))?;
    Ok(vec![(checkpoint.origin, checkpoint.head)])
}

/// A checkpoint in a file, or what a witness kept of this log, or of the only one.
pub(crate) fn given_checkpoint(path: &Path, origin: Option<&str>) -> Result<Note> {
    let name = path.display();
    let text = read_text(path, MAX_MEMORY).with_context(|| format!("could not read {name}"))?;
    if text.trim_start().starts_with('{') {
        let memory = Memory::from_json(text.as_bytes()).with_context(|| format!("could not take {name}"))?;
        let mut kept = memory.iter();
        let (found, unnamed) = match (origin, kept.next(), kept.next()) {
            (Some(origin), ..) => (memory.last(origin).map(|(note, _)| note), origin),
            (None, Some((_, note, _)), None) => (Some(note), ""),
            (None, None, _) => (None, "any log"),
            (None, Some(_), Some(_)) => bail!("{name} has checkpoints of several logs: --origin says which"),
        };
        return found.cloned().with_context(|| format!("{name} has no checkpoint of {unnamed}"));
    }
    if text.len() > MAX_NOTE {
        bail!("{name} is larger than {MAX_NOTE} bytes");
    }
    Note::parse(text.as_bytes()).with_context(|| format!("could not take {name}"))
}
