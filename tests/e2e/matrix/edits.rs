//! What somebody with the bucket's credentials can do to it.

use std::io::Write as _;

use anyhow::{Context, Result, ensure};
use flate2::Compression;
use flate2::bufread::GzDecoder;
use flate2::write::GzEncoder;
use sidetrail_archive::digest::{Digest, Opened, PublishedDigestKey};
use sidetrail_archive::key::{KeyObjectKey, LogKey, TreeKey, TreeObject};
use sidetrail_archive::manifest::{Manifest, PublishedKey};
use sidetrail_archive::sign::{DigestSigner as _, Ed25519Signer, RsaSigner, Signer as _};
use sidetrail_tests::sample::{Object, Objects, metadata};

use super::made::{Made, REGION};

/// Does something to a bucket; gives the names that have to be in the report.
pub(super) type Edit = fn(&Made, &mut Objects) -> Result<Vec<String>>;

pub(super) const EDITS: &[(&str, Edit)] = &[
    ("flip a bit of a log file", |made, objects| flip(objects, made.log(3))),
    ("truncate a log file", |made, objects| {
        let bytes = bytes(objects, made.log(3))?;
        bytes.truncate(bytes.len() / 2);
        Ok(vec![made.log(3).to_owned()])
    }),
    ("append a gzip member to a log file", |made, objects| {
        let more = gzip(b"more", Compression::default())?;
        bytes(objects, made.log(3))?.extend(more);
        Ok(vec![made.log(3).to_owned()])
    }),
    ("change a record of a log file", |made, objects| {
        let content = inflate(bytes(objects, made.log(3))?)?;
        let changed = String::from_utf8(content)?.replacen("GetOrder", "PutOrder", 1);
        *bytes(objects, made.log(3))? = gzip(changed.as_bytes(), Compression::new(2))?;
        Ok(vec![made.log(3).to_owned()])
    }),
    ("compress a log file anew", |made, objects| {
        let content = inflate(bytes(objects, made.log(3))?)?;
        *bytes(objects, made.log(3))? = gzip(&content, Compression::best())?;
        Ok(vec![made.log(3).to_owned()])
    }),
    ("swap two log files", |made, objects| {
        swap(objects, made.log(3), made.log(4))?;
        Ok(vec![made.log(3).to_owned(), made.log(4).to_owned()])
    }),
    ("replay an old log file in the place of a new one", |made, objects| {
        replay(objects, made.log(1), made.log(7))
    }),
    ("rename a log file", |made, objects| {
        let name = renamed(made.log(3), ".json.gz");
        rename(objects, made.log(3), &name)?;
        Ok(vec![made.log(3).to_owned(), name])
    }),
    ("remove a log file", |made, objects| remove(objects, &[made.log(3)])),
    ("add a log file", |made, objects| {
        let name = renamed(made.log(3), ".json.gz");
        let object = objects[made.log(3)].clone();
        objects.insert(name.clone(), object);
        Ok(vec![name])
    }),
    ("flip a bit of a manifest", |made, objects| flip(objects, &made.manifests[3])),
    ("remove a manifest", |made, objects| remove(objects, &[&made.manifests[3]])),
    ("remove a collector's last manifest", |made, objects| {
        remove(objects, &[made.manifests.last().context("none")?])
    }),
    ("swap two manifests", |made, objects| {
        swap(objects, &made.manifests[3], &made.manifests[4])?;
        Ok(vec![made.manifests[3].clone(), made.manifests[4].clone()])
    }),
    ("sign a manifest again with another key, and publish that", |made, objects| {
        let thief = Ed25519Signer::generate()?;
        let known = [made.maker().public_key().clone()];
        let mut manifest = Manifest::open(bytes(objects, &made.manifests[3])?, &known)?;
        manifest.sources[0].instance = "another".to_owned();
        *bytes(objects, &made.manifests[3])? = manifest.seal(&thief)?;
        let (key, sealed) = PublishedKey::seal(made.evidence.home.clone(), &thief)?;
        objects.insert(key.to_string(), Object { bytes: sealed, ..Object::default() });
        Ok(vec![made.manifests[3].clone()])
    }),
    ("remove a log file and its manifest", |made, objects| {
        remove(objects, &[made.log(3), &made.manifests[3]])?;
        // Which events these were is known to the number.
        let ranges = ranges(made, 3..4)?;
        Ok([vec![made.log(3).to_owned(), made.manifests[4].clone()], ranges].concat())
    }),
    ("remove the newest log files and their manifests", |made, objects| {
        let newest = made.newest_period();
        let (digest, rest) = newest.split_last().context("none")?;
        remove(objects, &rest.iter().map(String::as_str).collect::<Vec<_>>())?;
        let all = made.manifests.len();
        let logs = rest.iter().filter(|key| key.parse::<LogKey>().is_ok()).cloned();
        Ok([logs.collect(), vec![digest.clone()], ranges(made, all - 2..all)?].concat())
    }),
    ("flip a bit of a digest", |made, objects| flip(objects, &made.digests[3])),
    ("change a digest, and keep its signature", |made, objects| {
        let content = inflate(bytes(objects, &made.digests[3])?)?;
        let changed = String::from_utf8(content)?.replacen("\"hashValue\":\"", "\"hashValue\":\"0000", 1);
        let at = changed.find("\"hashValue\":\"0000").context("no log file")? + 17 + 60;
        let changed = format!("{}{}", &changed[..at], &changed[at + 4..]);
        *bytes(objects, &made.digests[3])? = gzip(changed.as_bytes(), Compression::default())?;
        Ok(vec![made.digests[3].clone()])
    }),
    ("sign a digest again with another key, and publish that", |made, objects| {
        let thief = &RsaSigner::from_pem(THIEF)?;
        let Opened { digest, .. } = Opened::read(bytes(objects, &made.digests[3])?)?;
        let digest = Digest { fingerprint: thief.public_key().fingerprint(), ..digest };
        let sealed = digest.seal(thief)?;
        let object = Object { bytes: sealed.bytes, metadata: metadata(&sealed.signature.to_string()) };
        objects.insert(made.digests[3].clone(), object);
        let validity = (made.plan.start, made.evidence.end);
        let (key, bytes) = PublishedDigestKey::seal(made.evidence.home.clone(), thief, validity, None)?;
        objects.insert(key.to_string(), Object { bytes, ..Object::default() });
        Ok(vec![made.digests[3].clone()])
    }),
    ("change the signature of a digest", |made, objects| {
        let object = objects.get_mut(&made.digests[3]).context("none")?;
        let signature = object.metadata.get_mut("signature").context("no signature")?;
        let digit = if signature.starts_with('0') { "1" } else { "0" };
        signature.replace_range(..1, digit);
        Ok(vec![made.digests[3].clone()])
    }),
    ("drop the metadata of a digest", |made, objects| {
        objects.get_mut(&made.digests[3]).context("none")?.metadata.clear();
        Ok(vec![made.digests[3].clone()])
    }),
    ("replay an old digest in the place of a new one", |made, objects| {
        replay(objects, &made.digests[1], &made.digests[3])
    }),
    ("rename a digest", |made, objects| {
        let name = made.digests[3].replace("T040000Z", "T043000Z");
        rename(objects, &made.digests[3], &name)?;
        Ok(vec![made.digests[3].clone(), name])
    }),
    ("remove a digest", |made, objects| remove(objects, &[&made.digests[3]])),
    ("remove two digests in a row", |made, objects| remove(objects, &[&made.digests[2], &made.digests[3]])),
    ("remove the oldest digest", |made, objects| remove(objects, &[&made.digests[0]])),
    ("remove the newest digest", |made, objects| remove(objects, &[&made.digests[5]])),
    ("remove all digests", |made, objects| {
        remove(objects, &made.digests.iter().map(String::as_str).collect::<Vec<_>>())?;
        Ok(vec![format!("AWSLogs/{}/CloudTrail-Digest/{REGION}/", made.plan.account)])
    }),
    ("remove a published key", |_, objects| {
        let key = objects.keys().find(|key| key.parse::<KeyObjectKey>().is_ok()).context("none")?.clone();
        remove(objects, &[&key])
    }),
    ("flip a bit of a tile of the log", |_, objects| {
        let tile = objects.keys().rev().find(|key| is_tile(key)).context("none")?.clone();
        flip(objects, &tile)?;
        // A root hash does not say which of the tiles below it is wrong.
        let tiles = tile.split_inclusive("/tile/").next().context("a tile")?;
        Ok(vec![tiles.to_owned()])
    }),
    ("roll the bucket back by a period", |made, objects| {
        objects.clone_from(&made.earlier);
        Ok(vec![made.digests[5].clone()])
    }),
];

/// The same edit as the last, before the digest of the period is due: nothing that is there shows it.
pub(super) const EARLY: &str =
    "the same before its digest is due, verified with a `--cursor` that has seen it";
/// Once more, by who has seen only a checkpoint of a few lines.
pub(super) const WITNESSED: &str =
    "the same, verified with the checkpoint of a `--witness` in place of the cursor";
/// Nothing that is signed shows it, since who does it signs.
pub(super) const REWRITTEN: &str = "with all keys, make the newest period anew without its events";
pub(super) const REWRITTEN_SEEN: &str = "the same, verified with the checkpoint of a `--witness`";

/// A key that nobody trusts.
pub(super) const THIEF: &str = include_str!("../../../crates/archive/testdata/digest/key-b.pem");

pub(super) fn is_tile(key: &str) -> bool {
    key.parse::<TreeKey>().is_ok_and(|key| matches!(key.object, TreeObject::Tile(_)))
}

pub(super) fn bytes<'a>(objects: &'a mut Objects, key: &str) -> Result<&'a mut Vec<u8>> {
    objects.get_mut(key).map(|object| &mut object.bytes).with_context(|| format!("no {key}"))
}

pub(super) fn flip(objects: &mut Objects, key: &str) -> Result<Vec<String>> {
    // In a log file the middle: it is the same in each run. Manifests and digests hold keys that are not, and what a reader
    // stumbles over there depends on them, but for the first byte. `tamper.rs` flips every one.
    let bytes = bytes(objects, key)?;
    let at = if key.parse::<LogKey>().is_ok() { bytes.len() / 2 } else { 0 };
    bytes[at] ^= 1;
    Ok(vec![key.to_owned()])
}

pub(super) fn swap(objects: &mut Objects, one: &str, other: &str) -> Result<()> {
    let (first, second) = (objects[one].clone(), objects[other].clone());
    objects.insert(one.to_owned(), second);
    objects.insert(other.to_owned(), first).map(drop).context("nothing to swap")
}

pub(super) fn replay(objects: &mut Objects, old: &str, new: &str) -> Result<Vec<String>> {
    let object = objects[old].clone();
    objects.insert(new.to_owned(), object).context("nothing to replace")?;
    Ok(vec![new.to_owned()])
}

pub(super) fn rename(objects: &mut Objects, from: &str, to: &str) -> Result<()> {
    let object = objects.remove(from).context("nothing to rename")?;
    ensure!(objects.insert(to.to_owned(), object).is_none(), "{to} was there");
    Ok(())
}

pub(super) fn remove(objects: &mut Objects, keys: &[&str]) -> Result<Vec<String>> {
    for key in keys {
        objects.remove(*key).with_context(|| format!("no {key}"))?;
    }
    Ok(keys.iter().map(|key| (*key).to_owned()).collect())
}

/// The key with the last character of its own part changed.
pub(super) fn renamed(key: &str, extension: &str) -> String {
    let stem = key.strip_suffix(extension).unwrap_or(key);
    let (rest, last) = stem.split_at(stem.len() - 1);
    format!("{rest}{}{extension}", if last == "0" { "1" } else { "0" })
}

pub(super) fn gzip(content: &[u8], level: Compression) -> Result<Vec<u8>> {
    let mut encoder = GzEncoder::new(Vec::new(), level);
    encoder.write_all(content)?;
    Ok(encoder.finish()?)
}

pub(super) fn inflate(stored: &[u8]) -> Result<Vec<u8>> {
    let mut content = Vec::new();
    std::io::Read::read_to_end(&mut GzDecoder::new(stored), &mut content)?;
    Ok(content)
}

/// What the report has to say of the events of these manifests, as its JSON has it.
pub(super) fn ranges(made: &Made, manifests: std::ops::Range<usize>) -> Result<Vec<String>> {
    let known = [made.maker().public_key().clone()];
    let mut sources = Vec::new();
    for key in &made.manifests[manifests] {
        sources.extend(Manifest::open(&made.objects[key].bytes, &known)?.sources);
    }
    let (first, last) = (sources.first().context("no source")?, sources.last().context("no source")?);
    Ok(vec![format!(r#""kind":"gap","source":"{}","from":{},"to":{}"#, first.source, first.first, last.last)])
}
