//! Log files: gzip of `{"Records":[…]}`, as CloudTrail writes them.
//!
//! What [`LogWriter`] writes is exactly one gzip member (header time 0, OS 255) around the records joined by `,` and
//! nothing else: the hash over the content depends on the records alone. The stored bytes are the same for the same
//! records and the same build; a later compressor may find other matches, so across builds compare contents.
//! [`read_records`] reads any log file, CloudTrail's own included.

use std::io::{self, BufRead, BufReader, Read, Write};
use std::ops::ControlFlow;

use serde::de::{self, DeserializeSeed, Deserializer as _, IgnoredAny, MapAccess, SeqAccess, Visitor};
use serde_json::value::RawValue;
use sirocco::Format;
use sirocco::deflate::{Level, Writer};
use sirocco::inflate::Reader;

use crate::hash::{Hasher, Sha256};

/// The most content of a log file, in bytes. AWS says 50 MB, in one place of the content and in another of the object;
/// this keeps both.
pub const MAX_CONTENT: u64 = 50_000_000;

/// A bound for [`read_records`] that no log file of CloudTrail reaches, in bytes of content.
pub const MAX_FOREIGN_CONTENT: u64 = 1 << 30;

/// What precedes the first record.
pub(crate) const HEAD: &[u8] = br#"{"Records":["#;
/// What follows the last record.
pub(crate) const TAIL: &[u8] = b"]}";

/// The fastest level, which stores well below 0.18 of the content. Of the collector bench's events, in units of what zlib-rs
/// takes at level 3 (`cargo xtask bench collector` measures them again): sirocco 1 takes 0.48 for 0.166 of the content, 2
/// takes 0.54 for 0.167, 3 takes 0.64 for 0.157; zlib-rs 1 takes 0.49 for 0.233, 2 takes 0.74 for 0.166, 3 stores 0.156;
/// libdeflate 1 takes 0.55 for 0.165, but wants all of the content at once: 16 MiB for each trail at default rotation, 40 at
/// most, where the whole collector takes 25 at its ordinary load.
const LEVEL: Level = Level::FASTEST;

/// A log file, complete: the bytes to store, and what its manifest says of them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LogFile {
    /// The object.
    pub bytes: Vec<u8>,
    /// SHA-256 of the object.
    pub sha256: Sha256,
    /// SHA-256 of the content.
    pub content_sha256: Sha256,
    /// Bytes of content.
    pub content_size: u64,
    /// Records in it.
    pub records: u64,
}

/// A record does not fit, or could not be compressed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum LogError {
    /// The content would be more than [`MAX_CONTENT`]; nothing was written, the file can be finished without it.
    #[error("a log file holds at most {MAX_CONTENT} bytes of content")]
    Full,
    /// The compressor failed.
    #[error("could not compress")]
    Compress(#[from] io::Error),
}

/// Writes one log file into memory. It holds the compressed bytes and a window, never the content.
pub struct LogWriter {
    encoder: Writer<Vec<u8>>,
    content: Hasher,
    records: u64,
}

impl LogWriter {
    /// An empty log file.
    ///
    /// # Errors
    /// If the compressor fails.
    pub fn new() -> Result<Self, LogError> {
        let encoder = Writer::new(Format::Gzip, LEVEL, Vec::new());
        let mut writer = Self { encoder, content: Hasher::new(), records: 0 };
        writer.write(HEAD)?;
        Ok(writer)
    }

    /// Appends one record: a JSON object, compact, as it shall stand in the file. It is not parsed.
    ///
    /// # Errors
    /// If it does not fit.
    pub fn push(&mut self, record: &[u8]) -> Result<(), LogError> {
        self.push_joined(record, 1)
    }

    /// Appends `count` records that are already joined by `,`; nothing if `count` is 0. They are not parsed.
    ///
    /// # Errors
    /// If they do not fit.
    pub fn push_joined(&mut self, joined: &[u8], count: u64) -> Result<(), LogError> {
        if count == 0 {
            return Ok(());
        }
        debug_assert!(joined.starts_with(b"{") && joined.ends_with(b"}"), "a record is an object");
        let separator: &[u8] = if self.records == 0 { b"" } else { b"," };
        let size = (separator.len() + joined.len()) as u64;
        if self.content_size() + size > MAX_CONTENT {
            return Err(LogError::Full);
        }
        self.write(separator)?;
        self.write(joined)?;
        self.records += count;
        Ok(())
    }

    /// Bytes of content if it were finished now.
    #[must_use]
    pub fn content_size(&self) -> u64 {
        self.content.size() + TAIL.len() as u64
    }

    /// Bytes of the object so far; the compressor holds back some.
    #[must_use]
    pub fn compressed_size(&self) -> u64 {
        self.encoder.get_ref().len() as u64
    }

    /// Records so far.
    #[must_use]
    pub fn records(&self) -> u64 {
        self.records
    }

    /// Completes the file.
    ///
    /// # Errors
    /// If the compressor fails.
    pub fn finish(mut self) -> Result<LogFile, LogError> {
        self.write(TAIL)?;
        let bytes = self.encoder.finish()?;
        Ok(LogFile {
            sha256: Sha256::of(&bytes),
            bytes,
            content_size: self.content.size(),
            content_sha256: self.content.finish(),
            records: self.records,
        })
    }

    fn write(&mut self, bytes: &[u8]) -> Result<(), LogError> {
        self.content.update(bytes);
        Ok(self.encoder.write_all(bytes)?)
    }
}

impl std::fmt::Debug for LogWriter {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("LogWriter")
            .field("records", &self.records)
            .field("content", &self.content)
            .finish_non_exhaustive()
    }
}

/// A log file could not be read to its end.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ReadError {
    /// The source failed, or its gzip is damaged or cut off.
    #[error("could not read the log file")]
    Io(#[source] io::Error),
    /// The content is not `{"Records":[{…},…]}`.
    #[error("not a log file")]
    Json(#[source] serde_json::Error),
    /// The content is larger than the bound.
    #[error("the log file inflates to more than {0} bytes")]
    TooLarge(u64),
    /// Something follows the gzip member.
    #[error("unexpected data after the end of the compressed stream")]
    Trailing,
}

/// Reads a log file, gzip or plain, and shows `each` record's bytes exactly as they stand in it; returns how many there
/// were, or what `each` broke off with.
///
/// White space is allowed wherever JSON allows it. Memory is bounded by the largest record, and that by `limit`, the
/// bytes of content that are read at most.
///
/// # Errors
/// If the source fails, is damaged, is more than one gzip member, is not a log file, or is larger than `limit`. Records
/// before the fault have been shown.
///
/// ```
/// use std::ops::ControlFlow;
/// # use sidetrail_archive::log::{MAX_FOREIGN_CONTENT, ReadError, read_records};
/// let file = br#"{"Records": [ {"eventID": "a"}, {"eventID": "b"} ]}"#;
/// let count = read_records(&file[..], MAX_FOREIGN_CONTENT, |record| {
///     assert!(record.starts_with(r#"{"eventID": "#));
///     ControlFlow::<()>::Continue(())
/// })?;
/// assert_eq!(count, ControlFlow::Continue(2));
/// # Ok::<(), ReadError>(())
/// ```
pub fn read_records<B>(
    source: impl Read,
    limit: u64,
    each: impl FnMut(&str) -> ControlFlow<B>,
) -> Result<ControlFlow<B, u64>, ReadError> {
    let mut source = BufReader::with_capacity(BUFFER, source);
    if !source.fill_buf().map_err(ReadError::Io)?.starts_with(&[0x1f, 0x8b]) {
        return parse(source, limit, each);
    }
    let mut inflater = Reader::new(Format::Gzip, source);
    let outcome = parse(&mut inflater, limit, each)?;
    if outcome.is_continue() && !inflater.into_inner().fill_buf().map_err(ReadError::Io)?.is_empty() {
        return Err(ReadError::Trailing);
    }
    Ok(outcome)
}

/// The SHA-256 and size of the content of a stored log file: exactly one gzip member of at most `limit` bytes inflated.
/// Two files of the same content may be stored differently, if different builds compressed them.
///
/// # Errors
/// If it is not that.
pub fn content_digest(stored: &[u8], limit: u64) -> Result<(Sha256, u64), ReadError> {
    let mut inflater = Reader::new(Format::Gzip, stored);
    let mut content = Hasher::new();
    let mut buffer = [0; 16 << 10];
    loop {
        match inflater.read(&mut buffer).map_err(ReadError::Io)? {
            0 if inflater.get_ref().is_empty() => break,
            0 => return Err(ReadError::Trailing),
            read => content.update(&buffer[..read]),
        }
        if content.size() > limit {
            return Err(ReadError::TooLarge(limit));
        }
    }
    let size = content.size();
    Ok((content.finish(), size))
}

/// Bytes read at once.
const BUFFER: usize = 64 << 10;

fn parse<B>(
    content: impl Read,
    limit: u64,
    each: impl FnMut(&str) -> ControlFlow<B>,
) -> Result<ControlFlow<B, u64>, ReadError> {
    // One byte more than the limit tells a file of exactly that size from a larger one.
    let mut bounded = content.take(limit.saturating_add(1));
    let mut records = Records { each, count: 0, broken: None };
    let mut json = serde_json::Deserializer::from_reader(BufReader::with_capacity(BUFFER, &mut bounded));
    let parsed = json.deserialize_map(&mut records).and_then(|()| json.end());
    drop(json);
    if let Some(broken) = records.broken {
        return Ok(ControlFlow::Break(broken));
    }
    if bounded.limit() == 0 {
        return Err(ReadError::TooLarge(limit));
    }
    match parsed {
        Ok(()) => Ok(ControlFlow::Continue(records.count)),
        Err(error) if error.is_io() => Err(ReadError::Io(error.into())),
        Err(error) => Err(ReadError::Json(error)),
    }
}

/// Visits the object, then the array in it.
struct Records<F, B> {
    each: F,
    count: u64,
    broken: Option<B>,
}

impl<'de, F: FnMut(&str) -> ControlFlow<B>, B> Visitor<'de> for &mut Records<F, B> {
    type Value = ();

    fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("an object with the one key Records, an array of objects")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<(), A::Error> {
        match map.next_key::<String>()? {
            Some(key) if key == "Records" => map.next_value_seed(&mut *self)?,
            _ => return Err(de::Error::custom("the first key is not Records")),
        }
        match map.next_key::<IgnoredAny>()? {
            None => Ok(()),
            Some(_) => Err(de::Error::custom("something follows Records")),
        }
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut records: A) -> Result<(), A::Error> {
        while let Some(record) = records.next_element::<Box<RawValue>>()? {
            if !record.get().starts_with('{') {
                return Err(de::Error::custom("a record is not an object"));
            }
            self.count += 1;
            if let ControlFlow::Break(broken) = (self.each)(record.get()) {
                self.broken = Some(broken);
                return Err(de::Error::custom("broken off"));
            }
        }
        Ok(())
    }
}

impl<'de, F: FnMut(&str) -> ControlFlow<B>, B> DeserializeSeed<'de> for &mut Records<F, B> {
    type Value = ();

    fn deserialize<D: de::Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_seq(self)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn write(records: &[&str]) -> LogFile {
        let mut writer = LogWriter::new().unwrap();
        for record in records {
            writer.push(record.as_bytes()).unwrap();
        }
        writer.finish().unwrap()
    }

    fn read(bytes: &[u8], limit: u64) -> Result<Vec<String>, ReadError> {
        let mut records = Vec::new();
        let outcome = read_records(bytes, limit, |record| {
            records.push(record.to_owned());
            ControlFlow::<()>::Continue(())
        })?;
        assert_eq!(outcome, ControlFlow::Continue(records.len() as u64));
        Ok(records)
    }

    #[test]
    fn the_content_is_the_records_and_nothing_else() {
        let check = |records: &[&str], content: &str| {
            let file = write(records);
            assert_eq!(file, write(records), "the same records make the same bytes");
            assert_eq!(file.content_sha256, Sha256::of(content.as_bytes()));
            assert_eq!(file.content_size, content.len() as u64);
            assert_eq!(file.sha256, Sha256::of(&file.bytes));
            assert_eq!(file.records, records.len() as u64);
            assert_eq!(file.bytes[..4], [0x1f, 0x8b, 8, 0], "no name, no comment");
            assert_eq!(file.bytes[4..8], [0; 4], "no time");
            assert_eq!(file.bytes[9], 255, "no operating system");
            assert_eq!(read(&file.bytes, file.content_size).unwrap(), records);
            assert_eq!(read(content.as_bytes(), file.content_size).unwrap(), records);
            assert!(matches!(read(&file.bytes, file.content_size - 1), Err(ReadError::TooLarge(_))));
        };
        check(&[], r#"{"Records":[]}"#);
        check(&[r#"{"a":1}"#], r#"{"Records":[{"a":1}]}"#);
        check(&[r#"{"a":"]}"}"#, r#"{"b":[{}]}"#], r#"{"Records":[{"a":"]}"},{"b":[{}]}]}"#);
    }

    #[test]
    fn joined_records_make_the_same_file() {
        let mut writer = LogWriter::new().unwrap();
        writer.push_joined(b"", 0).unwrap();
        writer.push(b"{}").unwrap();
        writer.push_joined(b"{},{}", 2).unwrap();
        assert_eq!(writer.finish().unwrap(), write(&["{}", "{}", "{}"]));
    }

    #[test]
    fn content_is_bounded() {
        let record = format!(r#"{{"a":"{}"}}"#, "x".repeat(9_999_991 - 8 - HEAD.len()));
        let mut writer = LogWriter::new().unwrap();
        while writer.push(record.as_bytes()).is_ok() {}
        assert!(writer.content_size() <= MAX_CONTENT);
        assert!(writer.content_size() + record.len() as u64 + 1 > MAX_CONTENT);
        let (records, size) = (writer.records(), writer.content_size());
        let file = writer.finish().unwrap();
        assert_eq!((file.records, file.content_size), (records, size));
        assert!(file.bytes.len() < 200_000);
    }

    #[test]
    fn refuses_what_is_not_a_log_file() {
        for text in [
            "",
            "{}",
            "[]",
            r#"{"Records":{}}"#,
            r#"{"Records":[1]}"#,
            r#"{"Records":[{}"#,
            r#"{"Records":[{}]} x"#,
            r#"{"Records":[{}],"more":1}"#,
            r#"{"records":[]}"#,
            r#"{"Records":[{"a":}]}"#,
        ] {
            assert!(matches!(read(text.as_bytes(), 1000), Err(ReadError::Json(_))), "{text}");
        }
        let mut file = write(&["{}"]).bytes;
        assert!(matches!(read(&file[..file.len() - 1], 1000), Err(ReadError::Io(_))));
        file.extend_from_within(..);
        assert!(matches!(read(&file, 1000), Err(ReadError::Trailing)));
    }

    #[test]
    fn breaking_off_reads_no_further() {
        let outcome = read_records(&br#"{"Records":[{"a":1},{"b":2},junk"#[..], 1000, |record| {
            if record.contains('b') { ControlFlow::Break(record.len()) } else { ControlFlow::Continue(()) }
        });
        assert!(matches!(outcome, Ok(ControlFlow::Break(7))));
    }
}
