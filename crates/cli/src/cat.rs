//! `sidetrail cat`: the records of log files as NDJSON, byte for byte.

use std::borrow::Cow;
use std::fs::File;
use std::io::{self, BufWriter, Read, StdoutLock, Write};
use std::ops::ControlFlow;
use std::path::Path;
use std::sync::mpsc;
use std::thread;

use anyhow::Result;
use jiff::{SignedDuration, Timestamp};
use serde::Deserialize;
use sidetrail_archive::log::{MAX_FOREIGN_CONTENT, read_records};
use sidetrail_archive::source::Bucket;

use crate::arguments::Cat;
use crate::compact::compact;
use crate::content::Watched;
use crate::exit::Exit;
use crate::location::{Location, local_path};
use crate::log_name;
use crate::print::{OutputError, chain, complain, count, named};
use crate::time::Range;

/// Keys that a listing may be ahead of reading.
const LISTED_AHEAD: usize = 1024;
/// Bytes of output that are written at once.
const BUFFER: usize = 64 << 10;
/// How far ahead of the collector's clock the clock of an application may be, for a file to be passed over unread.
const CLOCK_SKEW: SignedDuration = SignedDuration::from_hours(1);

pub(crate) fn run(arguments: &Cat) -> Result<Exit> {
    let mut printer = Printer {
        out: BufWriter::with_capacity(BUFFER, io::stdout().lock()),
        range: Range { from: arguments.from, to: arguments.to },
        undated: 0,
        exit: Exit::Done,
    };
    let printed = arguments.locations.iter().try_for_each(|location| printer.location(location));
    let (exit, undated) = (printer.exit, printer.undated);
    match printed {
        // Whoever read this has seen enough.
        ControlFlow::Break(error) if error.kind() == io::ErrorKind::BrokenPipe => return Ok(Exit::Done),
        ControlFlow::Break(error) => return Err(OutputError(error).into()),
        ControlFlow::Continue(()) => {}
    }
    if undated > 0 {
        complain(format_args!("left out {} without a readable eventTime", count(undated, "record")));
    }
    Ok(exit)
}

/// Where records go. What breaks off the work is an error of standard output; anything else is noted.
struct Printer<'a> {
    out: BufWriter<StdoutLock<'a>>,
    range: Range,
    undated: u64,
    exit: Exit,
}

type Flow = ControlFlow<io::Error>;

impl Printer<'_> {
    fn location(&mut self, location: &str) -> Flow {
        if location == "-" {
            return self.file("standard input", io::stdin().lock());
        }
        match local_path(location) {
            Some(path) if !Path::new(path).is_dir() => match File::open(path) {
                Ok(file) => self.file(path, file),
                Err(error) => self.could_not(path, &error),
            },
            Some(_) => match Location::open(location) {
                Ok(directory) => self.tree(&directory, ""),
                Err(error) => self.could_not(location, &*error),
            },
            None => self.remote(location),
        }
    }

    /// An object or everything under a prefix. The key is split off here: it need not be a prefix that archives have.
    fn remote(&mut self, location: &str) -> Flow {
        let start = location.find("://").map_or(0, |at| at + "://".len());
        let (bucket, key) = match location[start..].find('/') {
            Some(slash) => (&location[..start + slash], location[start + slash + 1..].trim_end_matches('/')),
            None => (location, ""),
        };
        let opened = match Location::open(bucket) {
            Ok(opened) => opened,
            Err(error) => return self.could_not(location, &*error),
        };
        if key.is_empty() {
            return self.tree(&opened, "");
        }
        if key.ends_with(".json.gz") || key.ends_with(".json") {
            return self.object(&*opened.bucket(), key);
        }
        self.tree(&opened, &format!("{key}/"))
    }

    /// Every log file under `prefix`, read while it is being listed: nothing grows with their number.
    fn tree(&mut self, location: &Location, prefix: &str) -> Flow {
        let bucket = &*location.bucket();
        let (tell, told) = mpsc::sync_channel(LISTED_AHEAD);
        thread::scope(|scope| {
            let listing = scope.spawn(move || {
                let mut found = false;
                let listed = bucket.list(prefix, &mut |entry| match log_name::delivered(entry.key) {
                    Some(delivered) => {
                        found = true;
                        match tell.send((entry.key.to_owned(), delivered)) {
                            Ok(()) => ControlFlow::Continue(()),
                            Err(_) => ControlFlow::Break(()),
                        }
                    }
                    None => ControlFlow::Continue(()),
                });
                listed.map(|()| found)
            });
            let mut told = told.into_iter();
            let flow = told.try_for_each(|(key, delivered)| {
                if self.may_hold(delivered) { self.object(bucket, &key) } else { ControlFlow::Continue(()) }
            });
            // If reading broke off, so does the listing.
            drop(told);
            match listing.join() {
                Ok(_) if flow.is_break() => flow,
                Ok(Ok(true)) => flow,
                Ok(Ok(false)) => {
                    let error = io::Error::new(io::ErrorKind::NotFound, "there is no CloudTrail log file");
                    self.could_not(&place(location, prefix), &error)
                }
                Ok(Err(error)) => self.could_not(location.name(), &error),
                Err(panic) => std::panic::resume_unwind(panic),
            }
        })
    }

    /// Whether a file delivered then may hold a record of the range: no record is delivered before it happened.
    fn may_hold(&self, delivered: Timestamp) -> bool {
        self.range.from.is_none_or(|from| delivered.saturating_add(CLOCK_SKEW).is_ok_and(|at| at >= from))
    }

    fn object(&mut self, bucket: &dyn Bucket, key: &str) -> Flow {
        match bucket.open(key) {
            Ok(object) => self.file(key, object),
            Err(error) => self.could_not(key, &error),
        }
    }

    fn file(&mut self, name: &str, source: impl Read) -> Flow {
        let mut source = Watched::new(source);
        match read_records(&mut source, MAX_FOREIGN_CONTENT, |record| self.record(record)) {
            Ok(ControlFlow::Continue(_)) => {}
            Ok(ControlFlow::Break(error)) => return ControlFlow::Break(error),
            Err(error) => {
                let exit = if source.failed { Exit::CouldNot } else { Exit::Wrong };
                self.exit = self.exit.and(exit);
                // What was printed of the file is out before the complaint is.
                self.flush()?;
                complain(format_args!("{name}: {}", chain(&error)));
            }
        }
        self.flush()
    }

    fn record(&mut self, record: &str) -> Flow {
        if !self.range.is_open() {
            match event_time(record) {
                Some(at) if self.range.contains(at) => {}
                Some(_) => return ControlFlow::Continue(()),
                None => {
                    self.undated += 1;
                    return ControlFlow::Continue(());
                }
            }
        }
        let written = if record.contains(['\n', '\r']) {
            self.out.write_all(&compact(record))
        } else {
            self.out.write_all(record.as_bytes())
        };
        broken_by(written.and_then(|()| self.out.write_all(b"\n")))
    }

    fn flush(&mut self) -> Flow {
        broken_by(self.out.flush())
    }

    fn could_not(&mut self, name: &str, error: &(dyn std::error::Error + 'static)) -> Flow {
        self.exit = self.exit.and(Exit::CouldNot);
        let flow = self.flush();
        complain(format_args!("{}", named(name, error)));
        flow
    }
}

fn broken_by(written: io::Result<()>) -> Flow {
    match written {
        Ok(()) => ControlFlow::Continue(()),
        Err(error) => ControlFlow::Break(error),
    }
}

fn place(location: &Location, prefix: &str) -> String {
    if prefix.is_empty() { location.name().to_owned() } else { format!("{prefix} in {}", location.name()) }
}

/// When a record says that it happened.
fn event_time(record: &str) -> Option<Timestamp> {
    #[derive(Deserialize)]
    struct Peek<'a> {
        #[serde(rename = "eventTime", borrow)]
        event_time: Cow<'a, str>,
    }
    serde_json::from_str::<Peek<'_>>(record).ok()?.event_time.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_time_of_a_record_is_found_where_there_is_one() {
        let at = |record| event_time(record).map(|at| at.to_string());
        assert_eq!(at(r#"{"eventTime":"2026-01-15T11:00:00Z"}"#).as_deref(), Some("2026-01-15T11:00:00Z"));
        assert_eq!(
            at(r#"{"eventTime":"2026-01-15\u005411:00:00Z"}"#).as_deref(),
            Some("2026-01-15T11:00:00Z")
        );
        for record in ["{}", r#"{"eventTime":5}"#, r#"{"eventTime":"today"}"#, r#"{"eventTime":null}"#] {
            assert_eq!(at(record), None, "{record}");
        }
    }
}
