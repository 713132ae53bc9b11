//! `sidetrail checkpoint`: shows what logs state, proves that one state extends another, and checks such a proof.

mod arguments;

use std::ops::ControlFlow;

use anyhow::{Context, Result, anyhow, bail};
use serde::Serialize;
use sidetrail_archive::digest::Tree;
use sidetrail_archive::key::{DigestKey, TreeKey, TreeObject, TreePlace};
use sidetrail_archive::source::Bucket;
use sidetrail_archive::tlog::checkpoint::Checkpoint;
use sidetrail_archive::tlog::locate::Locator;
use sidetrail_archive::tlog::merkle::Head;
use sidetrail_archive::tlog::note::{Note, VerifierKey};
use sidetrail_archive::tlog::proof::{Consistency, MAX_FILE};
use sidetrail_archive::tlog::prove::Prover;
use sidetrail_archive::tlog::stored::Stored;

pub(crate) use self::arguments::Checkpoints;
use self::arguments::{ProveConsistency, Show, VerifyConsistency};
use crate::exit::Exit;
use crate::location::Location;
use crate::output;
use crate::print::{self, complain, named, printable};
use crate::prove::given_checkpoint;
use crate::vkeys::read_text;

/// The most digests that are read to find the newest one with a tree.
const MAX_BACK: usize = 1000;

pub(crate) fn run(command: &Checkpoints) -> Result<Exit> {
    match command {
        Checkpoints::Show(arguments) => show(arguments),
        Checkpoints::Prove(arguments) => prove(arguments),
        Checkpoints::Verify(arguments) => verify(arguments),
    }
}

/// What one log states.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct Shown {
    origin: String,
    size: u64,
    root_hash: String,
    /// That of the newest digest, if the checkpoint is signed by it.
    key: Option<VerifierKey>,
    #[serde(skip_serializing_if = "Option::is_none")]
    problem: Option<String>,
}

fn show(arguments: &Show) -> Result<Exit> {
    let location = Location::open(&arguments.bucket)?;
    let bucket = &*location.bucket();
    let prefix = location.prefix().map_or_else(String::new, |prefix| format!("{prefix}/"));
    let mut places: Vec<TreePlace> = Vec::new();
    bucket
        .list(&prefix, &mut |entry| {
            if let Ok(TreeKey { place, object: TreeObject::Latest }) = entry.key.parse() {
                places.push(place);
            }
            ControlFlow::Continue(())
        })
        .map_err(|error| anyhow!(named(location.name(), &error)))?;
    if places.is_empty() {
        bail!("there is no log in {}", location.name());
    }
    let mut exit = Exit::Done;
    let mut text = String::new();
    let mut all = Vec::new();
    for place in places {
        let shown = match log(bucket, &place) {
            Ok(shown) => shown,
            Err(error) => {
                exit = exit.and(Exit::CouldNot);
                complain(format_args!("{place}: {error:#}"));
                continue;
            }
        };
        let Shown { origin, size, root_hash, key, problem } = &shown;
        if let Some(problem) = problem {
            exit = exit.and(Exit::Wrong);
            complain(format_args!("{place}checkpoint: {problem}"));
        }
        match (arguments.vkey, key) {
            (true, Some(key)) => text.push_str(&format!("{key}\n")),
            (true, None) => {}
            (false, key) => {
                let key = key.as_ref().map_or_else(|| "-".to_owned(), ToString::to_string);
                let origin = printable(origin);
                text.push_str(&format!(
                    "log     {origin}\nsize    {size}\nroot    {root_hash}\nkey     {key}\n"
                ));
            }
        }
        all.push(shown);
    }
    if arguments.json {
        text = serde_json::to_string(&all).context("could not write it as JSON")? + "\n";
    }
    print::out(format_args!("{text}"))?;
    Ok(exit)
}

fn log(bucket: &dyn Bucket, place: &TreePlace) -> Result<Shown> {
    let stored = Stored::new(bucket, place.clone());
    let note = stored.checkpoint(TreeObject::Latest).context("could not read its checkpoint")?;
    let checkpoint: Checkpoint = note.text.parse()?;
    let Head { size, root } = checkpoint.head;
    let trees = newest_trees(bucket, place)?;
    let opens = |tree: &&Tree| Checkpoint::open(&note, std::slice::from_ref(&tree.key)).is_ok();
    let key = trees.iter().find(opens).map(|tree| tree.key.clone());
    let problem = match trees.first() {
        None => Some("no digest says whose key it is to be signed with".to_owned()),
        Some(_) if key.is_none() => Some("no key that the newest digests name signed it".to_owned()),
        Some(tree) if size < tree.size => {
            Some(format!("it has {size} leaves, and the newest digest {}", tree.size))
        }
        Some(tree) if size == tree.size && root != tree.root_hash => {
            Some("its root hash is not that of the newest digest".to_owned())
        }
        Some(_) => None,
    };
    Ok(Shown { origin: checkpoint.origin, size, root_hash: root.to_string(), key, problem })
}

/// What the two newest digests of the trail that have a tree say of it: each writer of digests has a key of its own.
fn newest_trees(bucket: &dyn Bucket, place: &TreePlace) -> Result<Vec<Tree>> {
    let mut trees = Vec::new();
    let mut locator = Locator::new(bucket);
    let keys = locator.keys(&place.home, &place.region)?;
    let own = |key: &&DigestKey| key.trail == place.trail && !key.backfill;
    for key in keys.iter().rev().filter(own).take(MAX_BACK) {
        let digest = locator.digest(key)?;
        trees.extend(digest.statement.as_ref().and_then(|statement| statement.tree.clone()));
        if trees.len() == 2 {
            break;
        }
    }
    Ok(trees)
}

fn prove(arguments: &ProveConsistency) -> Result<Exit> {
    let location = Location::open(&arguments.bucket)?;
    let bucket = &*location.bucket();
    let old = given_checkpoint(&arguments.old, arguments.origin.as_deref())?;
    let old: Checkpoint =
        old.text.parse().with_context(|| format!("could not take {}", arguments.old.display()))?;
    let place = TreePlace::of_origin(&old.origin);
    let place = place.with_context(|| format!("{} is no log of Sidetrail", old.origin))?;
    let stored = Stored::new(bucket, place);
    let note = match &arguments.new {
        Some(path) => given_checkpoint(path, Some(&old.origin))?,
        None => stored
            .checkpoint(TreeObject::Latest)
            .map_err(|error| anyhow!(named(&stored.place().key(TreeObject::Latest).to_string(), &error)))?,
    };
    match consistency(&stored, &old, note)? {
        Ok(proof) => {
            output::write(&arguments.output, &proof.to_string())?;
            Ok(Exit::Done)
        }
        Err(reason) => {
            complain(format_args!("{reason}"));
            Ok(Exit::Wrong)
        }
    }
}

/// Proves that `note` extends `old`, or says why it does not.
pub(crate) fn consistency(
    stored: &Stored<'_>,
    old: &Checkpoint,
    note: Note,
) -> Result<Result<Consistency, String>> {
    let new: Checkpoint = note.text.parse()?;
    if new.origin != old.origin {
        return Ok(Err(format!("{} and {} are two logs", old.origin, new.origin)));
    }
    let (from, to) = (old.head.size, new.head.size);
    if to < from {
        return Ok(Err(format!("{} was rolled back: it had {from} leaves and has {to}", old.origin)));
    }
    let hashes = Prover::new(stored, to).consistency(from);
    let hashes = hashes.map_err(|error| anyhow!(named("the log's tiles", &error)))?;
    Ok(Ok(Consistency { old: from, hashes, checkpoint: note }))
}

fn verify(arguments: &VerifyConsistency) -> Result<Exit> {
    let keys = arguments.keys.all()?;
    let name = arguments.proof.display();
    let text =
        read_text(&arguments.proof, MAX_FILE as u64).with_context(|| format!("could not read {name}"))?;
    let verified = Consistency::parse(text.as_bytes()).and_then(|proof| {
        let new: Checkpoint = Checkpoint::open(&proof.checkpoint, &keys)?;
        Ok((proof, new))
    });
    let checked = match verified {
        Err(error) => Err(print::chain(&error)),
        Ok((proof, new)) => {
            let note = given_checkpoint(&arguments.old, Some(&new.origin))?;
            match Checkpoint::open(&note, &keys) {
                Err(error) => Err(format!("{}: {}", arguments.old.display(), print::chain(&error))),
                Ok(old) if old.origin != new.origin => {
                    Err(format!("{} and {} are two logs", old.origin, new.origin))
                }
                Ok(old) => {
                    proof.verify(old.head, &keys).map(|_| (old, new)).map_err(|error| print::chain(&error))
                }
            }
        }
    };
    match checked {
        Ok((old, new)) => {
            let (from, to, origin) = (old.head.size, new.head.size, printable(&new.origin));
            print::out(format_args!("log     {origin}\nleaves  {to} extend {from}\nVALID\n"))?;
            Ok(Exit::Done)
        }
        Err(reason) => {
            print::out(format_args!("{}\nINVALID\n", printable(&reason)))?;
            Ok(Exit::Wrong)
        }
    }
}
