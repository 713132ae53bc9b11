//! Reads a log file as its bytes come, checks it against its manifest, and shows the exact bytes of each record.

use sirocco::Format;
use sirocco::inflate::Decoder;

use crate::hash::{Hasher, Sha256};
use crate::log::{HEAD, MAX_CONTENT, TAIL};
use crate::manifest::LogEntry;

/// What is shown the records of a log file.
pub trait Records {
    /// The next record: the exact bytes of one JSON object.
    fn record(&mut self, record: &[u8]);
}

impl<R: Records + ?Sized> Records for &mut R {
    fn record(&mut self, record: &[u8]) {
        (**self).record(record);
    }
}

/// Bytes inflated at once, and of what was before.
const BUFFER: usize = 128 << 10;

/// Checks one log file. Memory is what the inflater takes, and one record.
pub struct LogCheck<R: Records> {
    expected: LogEntry,
    stored: Hasher,
    decoder: Box<Decoder>,
    /// What was inflated last, behind 32 KiB of what was before.
    buffer: Vec<u8>,
    /// There is no room left in it.
    full: bool,
    /// The gzip member has ended.
    ended: bool,
    content: Splitter<R>,
    /// Why the content is not what it should be; what comes after is only hashed.
    broken: Option<&'static str>,
}

/// A log file is not what its manifest says. The text says why.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum LogFault {
    /// The stored bytes are others.
    #[error("modified: {0}")]
    Modified(String),
    /// They are those of the manifest, and not a log file as it states.
    #[error("malformed: {0}")]
    Malformed(&'static str),
}

impl<R: Records> LogCheck<R> {
    /// Begins to check the log file that a manifest states.
    pub fn new(expected: LogEntry, records: R) -> Self {
        let limit = expected.content_size.min(MAX_CONTENT);
        Self {
            expected,
            stored: Hasher::new(),
            decoder: Box::new(Decoder::new(Format::Gzip)),
            buffer: vec![0; BUFFER],
            full: false,
            ended: false,
            content: Splitter::new(records, limit),
            broken: None,
        }
    }

    /// Takes the next stored bytes. `false` if there is more than there should be: the rest need not be read.
    pub fn feed(&mut self, mut bytes: &[u8]) -> bool {
        self.stored.update(bytes);
        while self.broken.is_none() && (self.full || !bytes.is_empty()) {
            if self.ended {
                self.broken = Some("unexpected data after the end of the compressed stream");
                break;
            }
            if self.full {
                self.decoder.make_room(&mut self.buffer);
            }
            match self.decoder.decompress(bytes, &mut self.buffer, false) {
                Ok(progress) => {
                    bytes = bytes.get(progress.consumed..).unwrap_or_default();
                    (self.full, self.ended) = (progress.full, progress.done);
                    if !self.content.take(progress.output) {
                        self.broken = Some("more content than stated");
                    }
                }
                Err(_) => self.broken = Some("not gzip"),
            }
        }
        self.stored.size() <= self.expected.size
    }

    /// Whether all that was fed is the log file. Records that were shown of one that is not count for nothing.
    ///
    /// # Errors
    /// What is wrong.
    pub fn finish(self) -> Result<(), LogFault> {
        let (size, hash) = (self.stored.size(), self.stored.finish());
        let expected = self.expected;
        if size != expected.size {
            let relation = if size > expected.size { "more" } else { "fewer" };
            let text = format!("{relation} than the {} bytes that the manifest states", expected.size);
            return Err(LogFault::Modified(text));
        }
        if hash != expected.sha256 {
            return Err(LogFault::Modified(format!("the object has the hash {hash}")));
        }
        if let Some(broken) = self.broken {
            return Err(LogFault::Malformed(broken));
        }
        if !self.ended {
            return Err(LogFault::Malformed("not gzip"));
        }
        let (size, content_sha256, records) = self.content.finish();
        if (size, content_sha256) != (expected.content_size, expected.content_sha256) {
            return Err(LogFault::Malformed("the content is not what the manifest states"));
        }
        match records {
            Some(records) if records == expected.records => Ok(()),
            Some(_) => Err(LogFault::Malformed("not as many records as the manifest states")),
            None => Err(LogFault::Malformed("the content is not a log file")),
        }
    }
}

impl<R: Records> std::fmt::Debug for LogCheck<R> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("LogCheck").field("expected", &self.expected.key).finish_non_exhaustive()
    }
}

/// Where in `{"Records":[…]}` the next byte is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum At {
    /// So many bytes of the head have come.
    Head(usize),
    /// A record begins here, or, if there was none yet, the array ends.
    Start,
    /// In a record, so many brackets deep.
    Record { depth: u32, string: bool, escaped: bool },
    /// A record has ended.
    After,
    /// So many bytes of the tail have come.
    Tail(usize),
    /// This is not the form of a log file.
    Broken,
}

/// Hashes content and cuts records out of it. Only brackets outside of strings are looked at: that the bytes are the
/// writer's says the hash.
struct Splitter<R> {
    records: R,
    content: Hasher,
    limit: u64,
    at: At,
    count: u64,
    /// What has come of a record that is not whole yet.
    partial: Vec<u8>,
}

impl<R: Records> Splitter<R> {
    fn new(records: R, limit: u64) -> Self {
        Self { records, content: Hasher::new(), limit, at: At::Head(0), count: 0, partial: Vec::new() }
    }

    /// Takes the next bytes; `false` if that is more than there may be.
    fn take(&mut self, bytes: &[u8]) -> bool {
        self.content.update(bytes);
        if self.content.size() > self.limit {
            return false;
        }
        self.split(bytes);
        true
    }

    /// Size and hash of the content, and the number of records if it has the form of a log file.
    fn finish(self) -> (u64, Sha256, Option<u64>) {
        let whole = self.at == At::Tail(TAIL.len());
        (self.content.size(), self.content.finish(), whole.then_some(self.count))
    }

    fn split(&mut self, bytes: &[u8]) {
        let mut start = 0;
        for (position, byte) in bytes.iter().enumerate() {
            self.at = match self.at {
                At::Head(seen) if *byte == HEAD[seen] && seen + 1 == HEAD.len() => At::Start,
                At::Head(seen) if *byte == HEAD[seen] => At::Head(seen + 1),
                At::Start if *byte == b'{' => {
                    start = position;
                    At::Record { depth: 1, string: false, escaped: false }
                }
                At::Start if self.count == 0 && *byte == TAIL[0] => At::Tail(1),
                At::Record { depth, string: true, escaped } => At::Record {
                    depth,
                    string: escaped || *byte != b'"',
                    escaped: !escaped && *byte == b'\\',
                },
                At::Record { depth, string: false, .. } => match byte {
                    b'"' => At::Record { depth, string: true, escaped: false },
                    b'{' | b'[' => {
                        At::Record { depth: depth.saturating_add(1), string: false, escaped: false }
                    }
                    b'}' | b']' if depth == 1 => {
                        self.end(bytes.get(start..=position).unwrap_or_default());
                        At::After
                    }
                    b'}' | b']' => At::Record { depth: depth - 1, string: false, escaped: false },
                    _ => continue,
                },
                At::After if *byte == b',' => At::Start,
                At::After if *byte == TAIL[0] => At::Tail(1),
                At::Tail(seen) if TAIL.get(seen) == Some(byte) => At::Tail(seen + 1),
                _ => At::Broken,
            };
            if self.at == At::Broken {
                return;
            }
        }
        if let At::Record { .. } = self.at {
            self.partial.extend_from_slice(bytes.get(start..).unwrap_or_default());
        }
    }

    fn end(&mut self, rest: &[u8]) {
        self.count += 1;
        if self.partial.is_empty() {
            self.records.record(rest);
        } else {
            self.partial.extend_from_slice(rest);
            self.records.record(&self.partial);
            self.partial.clear();
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::key::{Account, Home, LogKey, Region, Unique};
    use crate::log::{LogFile, LogWriter};

    impl Records for Vec<String> {
        fn record(&mut self, record: &[u8]) {
            self.push(String::from_utf8(record.to_vec()).unwrap());
        }
    }

    fn file(records: &[String]) -> LogFile {
        let mut writer = LogWriter::new().unwrap();
        for record in records {
            writer.push(record.as_bytes()).unwrap();
        }
        writer.finish().unwrap()
    }

    fn entry(file: &LogFile) -> LogEntry {
        let home = Home::new(None, Account::new("111122223333").unwrap());
        let unique = Unique::of(crate::key::Id([0; 16]), &crate::key::Trail::new("default").unwrap(), 0);
        LogEntry {
            key: LogKey::new(home, Region::new("us-east-1").unwrap(), jiff::Timestamp::UNIX_EPOCH, unique),
            sha256: file.sha256,
            size: file.bytes.len() as u64,
            content_sha256: file.content_sha256,
            content_size: file.content_size,
            records: file.records,
        }
    }

    fn check(entry: LogEntry, bytes: &[u8], piece: usize) -> Result<Vec<String>, LogFault> {
        let mut records = Vec::new();
        let mut check = LogCheck::new(entry, &mut records);
        for piece in bytes.chunks(piece) {
            if !check.feed(piece) {
                break;
            }
        }
        check.finish().map(|()| records)
    }

    /// A file of which the manifest says the truth about the stored bytes.
    fn stored_as(bytes: Vec<u8>, content: &LogFile) -> (LogEntry, Vec<u8>) {
        let file = LogFile { sha256: Sha256::of(&bytes), bytes, ..content.clone() };
        (entry(&file), file.bytes)
    }

    proptest! {
        #[test]
        fn records_come_out_as_they_went_in(
            strings in proptest::collection::vec("[a\"\\\\{}\\[\\],é]{0,60}", 0..12),
            piece in 1_usize..200,
        ) {
            let records: Vec<_> = strings
                .iter()
                .map(|text| serde_json::json!({text.as_str(): [{"n": 1}, text, [text]]}).to_string())
                .collect();
            let file = file(&records);
            prop_assert_eq!(check(entry(&file), &file.bytes, piece).unwrap(), records);
        }
    }

    #[test]
    fn what_the_manifest_does_not_state_is_a_fault() {
        let good = file(&[r#"{"a":1}"#.to_owned(), "{}".to_owned()]);
        let entry = entry(&good);
        let fault = |entry: &LogEntry, bytes: &[u8]| check(entry.clone(), bytes, 7).unwrap_err().to_string();

        assert!(fault(&entry, &good.bytes[1..]).starts_with("modified: fewer than the "));
        assert!(fault(&entry, &[&good.bytes[..], b"x"].concat()).starts_with("modified: more than the "));
        let mut flipped = good.bytes.clone();
        flipped[20] ^= 1;
        assert!(fault(&entry, &flipped).starts_with("modified: the object has the hash "));

        let (twice, bytes) = stored_as([&good.bytes[..], &good.bytes].concat(), &good);
        assert_eq!(
            fault(&twice, &bytes),
            "malformed: unexpected data after the end of the compressed stream"
        );
        let (flipped, bytes) = stored_as(flipped, &good);
        assert_eq!(fault(&flipped, &bytes), "malformed: not gzip");
        let (cut, bytes) = stored_as(good.bytes[..good.bytes.len() - 1].to_vec(), &good);
        assert_eq!(fault(&cut, &bytes), "malformed: not gzip");
        let less = LogEntry { content_size: 5, ..entry.clone() };
        assert_eq!(fault(&less, &good.bytes), "malformed: more content than stated");
        let other = LogEntry { content_sha256: Sha256::of(b""), ..entry.clone() };
        assert_eq!(fault(&other, &good.bytes), "malformed: the content is not what the manifest states");
        let more = LogEntry { records: 3, ..entry };
        assert_eq!(fault(&more, &good.bytes), "malformed: not as many records as the manifest states");
    }

    #[test]
    fn only_the_form_of_a_log_file_counts() {
        let count = |content: &str| {
            let mut splitter = Splitter::new(Vec::new(), 1000);
            assert!(splitter.take(content.as_bytes()));
            splitter.finish().2
        };
        assert_eq!(count(r#"{"Records":[]}"#), Some(0));
        assert_eq!(count(r#"{"Records":[{},{"a":[{}]}]}"#), Some(2));
        for text in [
            "",
            r#"{"Records":["#,
            r#"{"Records":[}"#,
            r#"{"records":[]}"#,
            r#"{"Records":[]} "#,
            r#"{"Records":[{},]}"#,
            r#"{"Records":[{} ]}"#,
            r#"{"Records":[1]}"#,
            r#"{"Records":[{"a":"]}"#,
        ] {
            assert_eq!(count(text), None, "{text}");
        }
    }
}
