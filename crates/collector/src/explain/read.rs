//! Events out of a file of several forms.

use std::fs::File;
use std::io::{self, BufRead, BufReader, Read};
use std::ops::ControlFlow;
use std::path::Path;

use serde_json::value::RawValue;
use sidetrail_archive::log::{self, MAX_CONTENT};
use sidetrail_record::Record;
use sirocco::Format;
use sirocco::inflate::Reader;

/// The events cannot be read.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ReadError {
    /// The file cannot be read, or its gzip is damaged.
    #[error(transparent)]
    Io(#[from] io::Error),
    /// It inflates to more than a log file may.
    #[error("it has more than {MAX_CONTENT} bytes of content")]
    TooLarge,
    /// It holds something else.
    #[error("it is not JSON")]
    Json(#[from] serde_json::Error),
    /// It begins like a log file and is none.
    #[error("it is not a log file")]
    Log(#[from] log::ReadError),
    /// A value that is neither a record nor a log file.
    #[error("value {0} is not a JSON object")]
    NotAnObject(u64),
    /// Nothing is in it.
    #[error("it holds no event")]
    Empty,
}

/// Shows each record of a file until `each` gives false. Memory is bounded by [`MAX_CONTENT`].
pub(super) fn records(path: &Path, each: &mut dyn FnMut(&Record) -> bool) -> Result<(), ReadError> {
    let content = content(path)?;
    let mut count = 0;
    let mut show = |text: &str| {
        count += 1;
        Ok::<_, serde_json::Error>(each(&serde_json::from_str(text)?))
    };
    let mut values = 0;
    for value in serde_json::Deserializer::from_slice(&content).into_iter::<&RawValue>() {
        let text = value?.get();
        values += 1;
        if !text.starts_with('{') {
            return Err(ReadError::NotAnObject(values));
        }
        let goes_on = if is_log_file(text) { log_file(text, &mut show)? } else { show(text)? };
        if !goes_on {
            return Ok(());
        }
    }
    if count == 0 { Err(ReadError::Empty) } else { Ok(()) }
}

/// What is in the file, inflated if it is gzip.
fn content(path: &Path) -> Result<Vec<u8>, ReadError> {
    let source: Box<dyn Read> =
        if path == Path::new("-") { Box::new(io::stdin()) } else { Box::new(File::open(path)?) };
    let mut source = BufReader::new(source);
    let is_gzip = source.fill_buf()?.starts_with(&[0x1f, 0x8b]);
    let mut content = Vec::new();
    let limit = MAX_CONTENT + 1;
    let size = if is_gzip {
        Reader::new(Format::Gzip, source).take(limit).read_to_end(&mut content)?
    } else {
        source.take(limit).read_to_end(&mut content)?
    };
    if size as u64 > MAX_CONTENT { Err(ReadError::TooLarge) } else { Ok(content) }
}

/// Whether the first member is that of a log file. No record has it.
fn is_log_file(object: &str) -> bool {
    object[1..].trim_start().starts_with("\"Records\"")
}

fn log_file(
    text: &str,
    show: &mut dyn FnMut(&str) -> Result<bool, serde_json::Error>,
) -> Result<bool, ReadError> {
    let each = |record: &str| match show(record) {
        Ok(true) => ControlFlow::Continue(()),
        stopped => ControlFlow::Break(stopped),
    };
    match log::read_records(text.as_bytes(), MAX_CONTENT, each)? {
        ControlFlow::Continue(_) => Ok(true),
        ControlFlow::Break(stopped) => Ok(stopped?),
    }
}
