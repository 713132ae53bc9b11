//! From files to records, on a thread of its own: files and pipes block.

use std::fs::File;
use std::io::{self, BufRead, Read};
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use sidetrail_archive::log::{MAX_FOREIGN_CONTENT, read_records};
use tokio::sync::mpsc::Sender;

use super::record::{At, Place, Record, check};
use crate::content::{self, Kind, Watched};
use crate::print::chain;

/// The longest line that is looked at, in bytes: white space aside, no record may be that large.
const MAX_LINE: usize = 1 << 20;

/// What reading came upon.
#[derive(Debug)]
pub(super) enum Found {
    Record(Record),
    /// Something that is no record, or too large.
    Refused(Place, String),
    /// The file ends here, earlier than it should.
    Damaged(Arc<str>, String),
    /// The file could not be read, which may not be its own fault.
    Unreadable(Arc<str>, String),
}

/// Whoever takes the records takes no more.
type Flow = ControlFlow<()>;

/// Reads one file after the other.
pub(super) fn all(files: &[PathBuf], found: &Sender<Found>) {
    let _ = files.iter().try_for_each(|path| {
        if path == Path::new("-") {
            return file("standard input", io::stdin().lock(), found);
        }
        let name = path.display().to_string();
        match File::open(path) {
            Ok(opened) => file(&name, opened, found),
            Err(error) => tell(found, Found::Unreadable(name.into(), chain(&error))),
        }
    });
}

fn file(name: &str, source: impl Read, found: &Sender<Found>) -> Flow {
    let name: Arc<str> = name.into();
    let mut source = Watched::new(source);
    let read =
        content::open(&mut source).map_err(|error| chain(&error)).and_then(|(kind, content)| match kind {
            Kind::LogFile => log_file(&name, content, found),
            Kind::Lines => lines(&name, content, found).map_err(|error| chain(&error)),
        });
    match read {
        Ok(flow) => flow,
        Err(error) if source.failed => tell(found, Found::Unreadable(name, error)),
        Err(error) => tell(found, Found::Damaged(name, error)),
    }
}

fn log_file(name: &Arc<str>, content: impl Read, found: &Sender<Found>) -> Result<Flow, String> {
    let mut count = 0;
    let read = read_records(content, MAX_FOREIGN_CONTENT, |record| {
        count += 1;
        record_at(Place { file: name.clone(), at: At::Record(count) }, record.as_bytes(), found)
    });
    match read {
        Ok(ControlFlow::Continue(_)) => Ok(ControlFlow::Continue(())),
        Ok(ControlFlow::Break(())) => Ok(ControlFlow::Break(())),
        Err(error) => Err(chain(&error)),
    }
}

fn lines(name: &Arc<str>, mut content: impl BufRead, found: &Sender<Found>) -> io::Result<Flow> {
    let mut line = Vec::new();
    for number in 1.. {
        line.clear();
        if content.by_ref().take(MAX_LINE as u64 + 1).read_until(b'\n', &mut line)? == 0 {
            break;
        }
        let place = Place { file: name.clone(), at: At::Line(number) };
        let flow = if line.len() > MAX_LINE && !line.ends_with(b"\n") {
            skip_line(&mut content)?;
            tell(found, Found::Refused(place, format!("line is more than {MAX_LINE} bytes, the limit")))
        } else if line.trim_ascii().is_empty() {
            ControlFlow::Continue(())
        } else {
            record_at(place, &line, found)
        };
        if flow.is_break() {
            return Ok(flow);
        }
    }
    Ok(ControlFlow::Continue(()))
}

fn skip_line(content: &mut impl BufRead) -> io::Result<()> {
    loop {
        let buffer = content.fill_buf()?;
        let (size, ends) = match buffer.iter().position(|byte| *byte == b'\n') {
            Some(at) => (at + 1, true),
            None => (buffer.len(), buffer.is_empty()),
        };
        content.consume(size);
        if ends {
            return Ok(());
        }
    }
}

fn record_at(place: Place, text: &[u8], found: &Sender<Found>) -> Flow {
    tell(
        found,
        match check(text) {
            Ok(text) => Found::Record(Record { place, text }),
            Err(error) => Found::Refused(place, error),
        },
    )
}

fn tell(found: &Sender<Found>, what: Found) -> Flow {
    match found.blocking_send(what) {
        Ok(()) => ControlFlow::Continue(()),
        Err(_) => ControlFlow::Break(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(content: &[u8]) -> Vec<String> {
        let (sender, mut receiver) = tokio::sync::mpsc::channel(1000);
        assert!(file("f", content, &sender).is_continue());
        drop(sender);
        std::iter::from_fn(|| receiver.try_recv().ok())
            .map(|found| match found {
                Found::Record(record) => {
                    format!("{} {}", record.place, String::from_utf8_lossy(&record.text))
                }
                Found::Refused(place, what) => format!("{place} refused {what}"),
                Found::Damaged(file, what) => format!("{file} damaged {what}"),
                Found::Unreadable(file, what) => format!("{file} unreadable {what}"),
            })
            .collect()
    }

    #[test]
    fn lines_and_log_files_are_read() {
        assert_eq!(read(b"{\"a\": 1}\n\r\n{}"), ["f:1 {\"a\":1}", "f:3 {}"]);
        assert_eq!(read(b"{\"Records\": [{\"a\": 1},\n{}]}"), ["f: record 1 {\"a\":1}", "f: record 2 {}"]);
        assert_eq!(read(b""), [""; 0]);
    }

    #[test]
    fn what_is_wrong_is_named_and_the_rest_goes_on() {
        let mut content = vec![b'x'; 2 * MAX_LINE];
        content.extend_from_slice(b"\nnonsense\n{}\n");
        let found = read(&content);
        assert_eq!(found[0], "f:1 refused line is more than 1048576 bytes, the limit");
        assert!(found[1].starts_with("f:2 refused record is not a JSON object"), "{found:?}");
        assert_eq!(found[2..], ["f:3 {}"]);

        let found = read(b"{\"Records\":[{},");
        assert_eq!(found[0], "f: record 1 {}");
        assert!(found[1].starts_with("f damaged not a log file: EOF"), "{found:?}");
    }

    #[test]
    fn a_taker_that_has_gone_ends_the_reading() {
        let (sender, receiver) = tokio::sync::mpsc::channel(1);
        drop(receiver);
        assert!(file("f", &b"{}\n{}\n"[..], &sender).is_break());
    }
}
