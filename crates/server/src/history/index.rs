//! Makes segments of log files.

use std::collections::HashMap;
use std::io;
use std::ops::ControlFlow;

use sidetrail_archive::causes::chain;
use sidetrail_archive::content::{each_written_record, inflate};

use super::catalog::Cache;
use super::event::{Class, Event};
use super::fetch::Fetched;
use super::key::{Key, Seconds};
use super::segment::{Builder, FileId, Partition, Source};

/// Events after which the first segments are finished, so that the newest are there soon; then twice as many, and so on.
const FIRST: usize = 1 << 14;
/// The most events of a batch.
const MAX: usize = 1 << 18;
/// Segments that are made at a time: of so many accounts, regions and classes.
const MAX_BUILDERS: usize = 12;

/// A log file that could be read, and is not what it should be; or the cache could not be written.
#[derive(Debug)]
pub(super) enum IndexError {
    Content(String),
    Cache(io::Error),
}

/// What one thread makes: segments, and which files they are of.
#[derive(Debug)]
pub(super) struct Batch {
    target: usize,
    events: usize,
    builders: HashMap<Partition, (u64, Builder)>,
    content: Vec<u8>,
    /// The files of the batch, whether or not they had events.
    files: Vec<(FileId, Seconds)>,
}

/// A batch that is complete.
#[derive(Debug, Default)]
pub(super) struct Finished {
    /// The numbers of its segments.
    pub(super) segments: Vec<u64>,
    /// Its files, and when they were delivered.
    pub(super) files: Vec<(FileId, Seconds)>,
    /// Those with events, and what they hold.
    pub(super) sources: Vec<Source>,
    /// Those that no segment names.
    pub(super) empty: Vec<FileId>,
    /// The keys of its events.
    pub(super) keys: Vec<Key>,
}

impl Batch {
    pub(super) fn new() -> Self {
        Self { target: FIRST, events: 0, builders: HashMap::new(), content: Vec::new(), files: Vec::new() }
    }

    /// Adds the events of a file that are not before `horizon`.
    pub(super) fn add(
        &mut self,
        cache: &Cache,
        file: FileId,
        fetched: &Fetched,
        horizon: Seconds,
    ) -> Result<(), IndexError> {
        let Fetched { manifest, stored } = fetched;
        let delivered = Seconds::of(manifest.created_at);
        let place = &manifest.manifest.0;
        let newest = manifest.newest_event_time.map(Seconds::of);
        if let (Some(entry), Some(stored)) = (&manifest.log_file, stored)
            && newest.is_some_and(|newest| newest >= horizon)
        {
            let wrong = |error| IndexError::Content(chain(&error));
            let mut content = std::mem::take(&mut self.content);
            inflate(stored, entry.content_size, &mut content).map_err(wrong)?;
            let source = Source::new(file, entry.content_sha256);
            let partitions = Class::ALL.map(|class| Partition {
                account: place.home.account.as_str().to_owned(),
                region: place.region.as_str().to_owned(),
                class,
            });
            let shown = each_written_record(&content, |record| {
                let event = Event::read(record);
                let key = event.key(delivered);
                let class = event.class();
                let partition = partitions.iter().find(|partition| partition.class == class);
                match partition.map(|partition| self.push(cache, partition, &event, key, source)) {
                    None | Some(Ok(())) => ControlFlow::Continue(()),
                    Some(Err(error)) => ControlFlow::Break(error),
                }
            });
            // What is wrong with a file shows at its end: what was taken of it until then is not shown.
            match shown.map_err(wrong)? {
                ControlFlow::Break(error) => return Err(IndexError::Cache(error)),
                ControlFlow::Continue(count) if count != entry.records => {
                    let stated = entry.records;
                    let message = format!("the log file has {count} records, its manifest states {stated}");
                    return Err(IndexError::Content(message));
                }
                ControlFlow::Continue(_) => {}
            }
            self.content = content;
        }
        self.files.push((file, delivered));
        Ok(())
    }

    fn push(
        &mut self,
        cache: &Cache,
        partition: &Partition,
        event: &Event<'_>,
        key: Key,
        file: Source,
    ) -> io::Result<()> {
        self.events += 1;
        if let Some((_, builder)) = self.builders.get_mut(partition) {
            return builder.push(event, key, file);
        }
        let (id, path) = cache.new_segment();
        let builder = Builder::create(&path, partition.clone())?;
        let (_, builder) = self.builders.entry(partition.clone()).or_insert((id, builder));
        builder.push(event, key, file)
    }

    /// Whether it is time to finish it.
    pub(super) fn is_full(&self) -> bool {
        self.events >= self.target
            || self.builders.len() + Class::ALL.len() > MAX_BUILDERS
            || self.builders.values().any(|(_, builder)| builder.is_full())
    }

    /// Completes the segments, and begins anew.
    pub(super) fn finish(&mut self) -> io::Result<Finished> {
        let mut finished = Finished { files: std::mem::take(&mut self.files), ..Finished::default() };
        let mut named = Vec::new();
        for (_, (id, builder)) in std::mem::take(&mut self.builders) {
            finished.keys.extend(builder.keys());
            named.extend_from_slice(builder.files());
            builder.finish()?;
            finished.segments.push(id);
        }
        named.sort_unstable();
        finished.empty = finished
            .files
            .iter()
            .map(|(file, _)| *file)
            .filter(|file| named.binary_search_by_key(file, |source| source.id).is_err())
            .collect();
        finished.sources = named;
        self.events = 0;
        self.target = (self.target * 2).min(MAX);
        Ok(finished)
    }
}
