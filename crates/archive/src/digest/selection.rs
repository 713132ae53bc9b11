//! What goes into a digest: manifests, chain by chain in the order of their indices, and what follows from them.
//!
//! No input and no output: the caller reads manifests and brings them. The same manifests in the same digest make the same
//! statement, whoever brings them.

use std::collections::BTreeMap;

use jiff::Timestamp;

use super::format::LoggedFile;
use super::heads::Heads;
use super::names::Spot;
use super::statement::{CertifiedKey, ChainRange, Problem, SourceRange};
use crate::hash::Sha256;
use crate::key::{Id, Trail};
use crate::manifest::{LogEntry, Manifest};
use crate::sign::{KeyId, PublicKey};

/// How much a digest takes: log files, chains and ranges of sources together. What is beyond it is in the next one.
pub const MAX_WEIGHT: usize = 20_000;

/// The most problems that a digest names; more are counted in the last of them.
pub const MAX_PROBLEMS: usize = 1_000;

/// A log file that goes into the digest.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Chosen {
    pub(super) spot: Spot,
    pub(super) entry: LogEntry,
    pub(super) oldest_event_time: Option<Timestamp>,
    pub(super) newest_event_time: Option<Timestamp>,
}

impl Chosen {
    /// As the digest lists it.
    pub(super) fn listed(&self, bucket: &str) -> LoggedFile {
        LoggedFile {
            bucket: bucket.to_owned(),
            object: self.entry.key.clone(),
            hash: self.entry.content_sha256,
            newest_event_time: self.newest_event_time,
            oldest_event_time: self.oldest_event_time,
        }
    }
}

/// A manifest that was read and is believed.
#[derive(Debug)]
pub(super) struct Believed {
    pub(super) manifest: Manifest,
    /// The SHA-256 of its stored bytes.
    pub(super) sha256: Sha256,
    pub(super) key: PublicKey,
}

#[derive(Debug)]
struct Run {
    last: u64,
    previous: Option<Sha256>,
    sha256: Sha256,
    sources: BTreeMap<Id, Vec<(u64, u64)>>,
}

/// A digest in the making.
#[derive(Debug)]
pub(super) struct Selection {
    trail: Trail,
    end: Timestamp,
    /// Where the chains stand with what was taken.
    pub(super) heads: Heads,
    /// By collector and first index.
    runs: BTreeMap<(Id, u64), Run>,
    files: Vec<Chosen>,
    keys: BTreeMap<KeyId, PublicKey>,
    problems: Vec<Problem>,
    unnamed_problems: usize,
    weight: usize,
    limit: usize,
    manifests: u64,
}

impl Selection {
    /// Nothing yet, for a digest that ends at `end` and takes so much.
    pub(super) fn new(trail: Trail, end: Timestamp, heads: Heads, limit: usize) -> Self {
        Self {
            trail,
            end,
            heads,
            runs: BTreeMap::new(),
            files: Vec::new(),
            keys: BTreeMap::new(),
            problems: Vec::new(),
            unnamed_problems: 0,
            weight: 0,
            limit,
            manifests: 0,
        }
    }

    /// Whether nothing more fits.
    pub(super) fn is_full(&self) -> bool {
        self.weight >= self.limit
    }

    pub(super) fn manifests(&self) -> u64 {
        self.manifests
    }

    /// Takes the next manifest of a chain, or one that fills a hole. One that does not follow the one before it is taken
    /// too, and named.
    pub(super) fn take(&mut self, Believed { manifest, sha256, key }: Believed) {
        let chain = &manifest.chain;
        let (collector, index) = (chain.collector, chain.index);
        let before = self.heads.get(collector).filter(|head| head.next == index).map(|head| head.sha256);
        if before.is_some() && before != chain.previous {
            let reason = "forked: it does not follow the manifest before it in its chain".to_owned();
            self.problem(manifest.manifest.to_string(), reason);
        }
        let run = self.runs.range_mut(..=(collector, index)).next_back();
        let run = run.filter(|((other, _), run)| {
            *other == collector
                && run.last.checked_add(1) == Some(index)
                && chain.previous == Some(run.sha256)
        });
        let run = match run {
            Some((_, run)) => {
                (run.last, run.sha256) = (index, sha256);
                run
            }
            None => {
                self.weight += 1;
                let new = Run { last: index, previous: chain.previous, sha256, sources: BTreeMap::new() };
                self.runs.entry((collector, index)).or_insert(new)
            }
        };
        for source in &manifest.sources {
            let ranges = run.sources.entry(source.source).or_default();
            match ranges.last_mut() {
                Some((_, last)) if last.checked_add(1) == Some(source.first) => *last = source.last,
                _ => {
                    ranges.push((source.first, source.last));
                    self.weight += 1;
                }
            }
        }
        let range = ChainRange {
            collector,
            trail: self.trail.clone(),
            first: index,
            last: index,
            previous: chain.previous,
            sha256,
            sources: Vec::new(),
        };
        self.heads.cover(&range, self.end);
        self.keys.insert(key.id(), key);
        self.manifests += 1;
        let place = &manifest.manifest.0;
        if let Some(entry) = manifest.log_file {
            self.weight += 1;
            self.files.push(Chosen {
                spot: (place.minute, place.unique),
                entry,
                oldest_event_time: manifest.oldest_event_time,
                newest_event_time: manifest.newest_event_time,
            });
        }
    }

    pub(super) fn problem(&mut self, key: String, reason: String) {
        if self.problems.len() < MAX_PROBLEMS {
            self.problems.push(Problem { key, reason });
        } else {
            self.unnamed_problems += 1;
        }
    }

    /// The log files in the order in which the digest lists them.
    pub(super) fn files(&mut self) -> &[Chosen] {
        self.files.sort_unstable_by_key(|file| file.spot);
        &self.files
    }

    /// Chains, keys and problems as the digest states them.
    pub(super) fn statement(&self) -> (Vec<ChainRange>, Vec<CertifiedKey>, Vec<Problem>) {
        let range = |((collector, first), run): (&(Id, u64), &Run)| ChainRange {
            collector: *collector,
            trail: self.trail.clone(),
            first: *first,
            last: run.last,
            previous: run.previous,
            sha256: run.sha256,
            sources: merged(&run.sources),
        };
        let mut problems = self.problems.clone();
        problems.sort_unstable_by(|one, other| (&one.key, &one.reason).cmp(&(&other.key, &other.reason)));
        if self.unnamed_problems > 0 {
            let reason = format!("{} more problems are not named", self.unnamed_problems);
            problems.push(Problem { key: String::new(), reason });
        }
        let keys = self.keys.values().cloned().map(CertifiedKey).collect();
        (self.runs.iter().map(range).collect(), keys, problems)
    }
}

/// The weight of a digest that was read, by which one that took all that it could is known.
pub(super) fn weight(chains: &[ChainRange], files: usize) -> usize {
    files + chains.len() + chains.iter().map(|chain| chain.sources.len()).sum::<usize>()
}

/// Ranges in order, those that follow each other or overlap as one.
fn merged(sources: &BTreeMap<Id, Vec<(u64, u64)>>) -> Vec<SourceRange> {
    let mut all = Vec::new();
    for (source, ranges) in sources {
        let mut ranges = ranges.clone();
        ranges.sort_unstable();
        let begin = all.len();
        for (first, last) in ranges {
            match all.get_mut(begin..).and_then(<[SourceRange]>::last_mut) {
                Some(range) if first <= range.last.saturating_add(1) => range.last = range.last.max(last),
                _ => all.push(SourceRange { source: *source, first, last }),
            }
        }
    }
    all
}
