//! What a file holds, told by its first bytes: gzip or not, a log file or lines of records.

use std::io::{self, BufRead, BufReader, Cursor, Read};

use flate2::bufread::GzDecoder;

/// Bytes read at once.
const BUFFER: usize = 64 << 10;
/// Bytes that a decision may take. Only white space makes it that long.
const MAX_HEAD: usize = 64 << 10;
/// What gzip begins with.
const GZIP: &[u8] = &[0x1f, 0x8b];

/// What a file holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    /// `{"Records":[…]}`.
    LogFile,
    /// Anything else is taken for a record a line.
    Lines,
}

/// Looks at the first bytes of `source` and gives its inflated content, complete, with what it is.
///
/// It waits for no more bytes than it takes to decide: the source may be a pipe that is written to slowly.
pub(crate) fn open<'a>(source: impl Read + 'a) -> io::Result<(Kind, Box<dyn BufRead + 'a>)> {
    let (gzip, source) = peek(source, |head| {
        let known = head.len().min(GZIP.len());
        (head[..known] != GZIP[..known] || known == GZIP.len()).then(|| head.starts_with(GZIP))
    })?;
    let source: Box<dyn Read + 'a> = match gzip {
        Some(true) => Box::new(Inflate(GzDecoder::new(BufReader::with_capacity(BUFFER, source)))),
        _ => Box::new(source),
    };
    let (kind, content) = peek(source, kind)?;
    Ok((kind.unwrap_or(Kind::Lines), Box::new(BufReader::with_capacity(BUFFER, content))))
}

/// A source of which the beginning was looked at.
type Whole<R> = io::Chain<Cursor<Vec<u8>>, R>;

/// Shows ever more of the beginning to `decide`, until it does, and gives the whole source back.
fn peek<R: Read, T>(mut source: R, decide: impl Fn(&[u8]) -> Option<T>) -> io::Result<(Option<T>, Whole<R>)> {
    let mut head = Vec::new();
    let mut buffer = [0; 4 << 10];
    let decided = loop {
        let decided = decide(&head);
        if decided.is_some() || head.len() > MAX_HEAD {
            break decided;
        }
        match source.read(&mut buffer) {
            Ok(0) => break None,
            Ok(read) => head.extend_from_slice(&buffer[..read]),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    };
    Ok((decided, Cursor::new(head).chain(source)))
}

/// Decides once the beginning differs from that of a log file, or is all of it.
fn kind(head: &[u8]) -> Option<Kind> {
    let mut rest = head;
    for token in ["{", "\"Records\"", ":", "["] {
        rest = rest.trim_ascii_start();
        let known = rest.len().min(token.len());
        if rest[..known] != token.as_bytes()[..known] {
            return Some(Kind::Lines);
        }
        if known < token.len() {
            return None;
        }
        rest = &rest[known..];
    }
    Some(Kind::LogFile)
}

/// One gzip member, which must be all there is.
struct Inflate<R>(GzDecoder<R>);

impl<R: BufRead> Read for Inflate<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let read = self.0.read(buffer)?;
        if read == 0 && !buffer.is_empty() && !self.0.get_mut().fill_buf()?.is_empty() {
            let message = "unexpected data after the end of the compressed stream";
            return Err(io::Error::new(io::ErrorKind::InvalidData, message));
        }
        Ok(read)
    }
}

/// A source that remembers whether it failed by itself: damaged gzip is an error of reading too, and is the file's fault.
pub(crate) struct Watched<R> {
    source: R,
    pub(crate) failed: bool,
}

impl<R> Watched<R> {
    pub(crate) fn new(source: R) -> Self {
        Self { source, failed: false }
    }
}

impl<R: Read> Read for Watched<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let read = self.source.read(buffer);
        self.failed |= read.as_ref().is_err_and(|error| error.kind() != io::ErrorKind::Interrupted);
        read
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use flate2::Compression;
    use flate2::write::GzEncoder;

    use super::*;

    /// Gives one byte at a time, as a slow pipe may.
    struct Slow<'a>(&'a [u8]);

    impl Read for Slow<'_> {
        fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
            let size = buffer.len().min(1);
            self.0.read(&mut buffer[..size])
        }
    }

    fn gzip(content: &[u8]) -> Vec<u8> {
        let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
        encoder.write_all(content).unwrap();
        encoder.finish().unwrap()
    }

    #[test]
    fn kind_and_content_are_found() {
        for (content, expected) in [
            (r#"{"Records":[]}"#, Kind::LogFile),
            (" \n{ \"Records\" : [\n{}]}", Kind::LogFile),
            (r#"{"Records":{}}"#, Kind::Lines),
            (r#"{"Recorded":[]}"#, Kind::Lines),
            ("{\"eventName\":1}\n{}\n", Kind::Lines),
            (r#"{"Rec"#, Kind::Lines),
            ("", Kind::Lines),
            ("\u{1f}", Kind::Lines),
        ] {
            for stored in [content.as_bytes().to_vec(), gzip(content.as_bytes())] {
                let (kind, mut source) = open(Slow(&stored)).unwrap();
                let mut text = String::new();
                source.read_to_string(&mut text).unwrap();
                assert_eq!((kind, &*text), (expected, content));
            }
        }
    }

    #[test]
    fn a_decision_waits_for_no_more_than_it_needs() {
        // Reading on would fail.
        struct Broken;
        impl Read for Broken {
            fn read(&mut self, _: &mut [u8]) -> io::Result<usize> {
                Err(io::Error::other("read too far"))
            }
        }
        assert_eq!(open(b"{\"a\"".chain(Broken)).unwrap().0, Kind::Lines);
        assert_eq!(open(b"{\"Records\":[".chain(Broken)).unwrap().0, Kind::LogFile);
        assert!(open(b"{\"Records\"".chain(Broken)).is_err());
    }

    #[test]
    fn damaged_gzip_is_an_error() {
        let mut stored = gzip(b"{}\n");
        stored.extend_from_within(..);
        let read = |stored: &[u8]| open(stored).and_then(|(_, source)| io::read_to_string(source));
        assert!(read(&stored).unwrap_err().to_string().contains("after the end"));
        assert!(read(&stored[..stored.len() / 2 - 1]).is_err());
    }
}
