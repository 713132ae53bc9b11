//! What the parts of a `multipart/form-data` body are, without what is in them.
//!
//! The scanner goes over the body as it streams by. It keeps the boundary, the headers of one part, and a line for each
//! part that it has seen; a content is counted and forgotten.

use std::borrow::Cow;

use memchr::memchr;
use percent_encoding::percent_decode_str;
use sidetrail_record::limits;

use super::fields::Fields;
use crate::redact::Redactor;

/// Parts that are described. The rest is counted.
const MAX_PARTS: usize = 64;

/// Bytes of one part's headers that are looked at.
const MAX_HEADERS: usize = 2 * 1024;

/// Names, file names and content types are cut here.
const MAX_WORD: usize = 256;

/// What is known of a body so far.
#[derive(Debug)]
pub(crate) struct Scanner {
    /// `\r\n--boundary`: what ends a part, with the line break before it.
    delimiter: Vec<u8>,
    state: State,
    /// How much of the delimiter, or of what follows it, is there.
    matched: usize,
    headers: Vec<u8>,
    /// The last four bytes of the headers, whether they are kept or not.
    tail: [u8; 4],
    parts: Vec<Part>,
    count: u64,
    current: Part,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    /// Before the first boundary.
    Preamble,
    /// On the line of a boundary.
    Boundary,
    Headers,
    Content,
    /// After the last boundary.
    Epilogue,
}

#[derive(Debug, Default)]
struct Part {
    name: Option<String>,
    file_name: Option<String>,
    content_type: Option<String>,
    size: u64,
}

impl Scanner {
    pub(crate) fn new(boundary: &str) -> Self {
        Self {
            delimiter: [b"\r\n--", boundary.as_bytes()].concat(),
            state: State::Preamble,
            // The first boundary needs no line break before it.
            matched: 2,
            headers: Vec::new(),
            tail: [0; 4],
            parts: Vec::new(),
            count: 0,
            current: Part::default(),
        }
    }

    /// Takes note of the next bytes of the body.
    pub(crate) fn push(&mut self, mut data: &[u8]) {
        while !data.is_empty() {
            data = match self.state {
                State::Preamble | State::Content => self.content(data),
                State::Boundary => self.boundary(data),
                State::Headers => self.header(data),
                State::Epilogue => return,
            };
        }
    }

    /// Looks for the delimiter. No byte of it but the first is a carriage return, so that a match that breaks off can
    /// only begin again where it broke off.
    fn content<'a>(&mut self, data: &'a [u8]) -> &'a [u8] {
        if self.matched == 0 {
            let Some(at) = memchr(b'\r', data) else {
                self.current.size += data.len() as u64;
                return &[];
            };
            self.current.size += at as u64;
            self.matched = 1;
            return &data[at + 1..];
        }
        if self.delimiter.get(self.matched) != data.first() {
            self.current.size += self.matched as u64;
            self.matched = 0;
            return data;
        }
        self.matched += 1;
        if self.matched == self.delimiter.len() {
            self.matched = 0;
            if self.state == State::Content {
                self.close();
            }
            self.state = State::Boundary;
        }
        &data[1..]
    }

    /// The rest of a boundary's line: `--` after the last one, else white space.
    fn boundary<'a>(&mut self, data: &'a [u8]) -> &'a [u8] {
        match data[0] {
            b'-' if self.matched == 1 => self.state = State::Epilogue,
            b'-' if self.matched == 0 => self.matched = 1,
            b'\n' => {
                self.state = State::Headers;
                self.headers.clear();
                // An empty line may follow at once.
                self.tail = *b"\0\0\r\n";
            }
            _ => self.matched = 2,
        }
        &data[1..]
    }

    fn header<'a>(&mut self, data: &'a [u8]) -> &'a [u8] {
        let byte = data[0];
        if self.headers.len() < MAX_HEADERS {
            self.headers.push(byte);
        }
        self.tail.rotate_left(1);
        self.tail[3] = byte;
        if self.tail == *b"\r\n\r\n" {
            self.current = Part::of(&self.headers);
            self.state = State::Content;
            self.matched = 0;
        }
        &data[1..]
    }

    fn close(&mut self) {
        self.count += 1;
        let part = std::mem::take(&mut self.current);
        if self.parts.len() < MAX_PARTS {
            self.parts.push(part);
        }
    }

    /// Bytes of memory that depend on the body.
    #[cfg(test)]
    pub(crate) fn kept(&self) -> usize {
        let words = |part: &Part| {
            [&part.name, &part.file_name, &part.content_type]
                .into_iter()
                .flatten()
                .map(String::capacity)
                .sum::<usize>()
        };
        self.headers.capacity() + self.parts.iter().map(|part| size_of::<Part>() + words(part)).sum::<usize>()
    }

    /// `{"parts":[{"name":…,"fileName":…,"contentType":…,"size":…}],"count":…}`, as JSON.
    pub(crate) fn record(&self, redactor: &Redactor, out: &mut String) {
        let mut fields = Fields::default();
        let open = (self.state == State::Content).then_some(&self.current);
        let parts = self.parts.iter().chain(open.filter(|_| self.parts.len() < MAX_PARTS));
        fields.member("parts", |out| {
            out.push('[');
            for (index, part) in parts.enumerate() {
                if index > 0 {
                    out.push(',');
                }
                part.record(redactor, out);
            }
            out.push(']');
        });
        fields.number("count", self.count + u64::from(open.is_some()));
        if self.state != State::Epilogue {
            fields.flag("complete", false);
        }
        if let Some(json) = fields.finish() {
            out.push_str(json.as_str());
        }
    }
}

impl Part {
    /// From a part's headers.
    fn of(headers: &[u8]) -> Self {
        let mut part = Self::default();
        let headers = String::from_utf8_lossy(headers);
        for line in headers.split("\r\n") {
            let Some((name, value)) = line.split_once(':') else { continue };
            if name.trim().eq_ignore_ascii_case("content-disposition") {
                let mut extended = None;
                for (name, value) in parameters(value) {
                    match name.to_ascii_lowercase().as_str() {
                        "name" => part.name = Some(word(value)),
                        "filename" => part.file_name = Some(word(value)),
                        "filename*" => extended = extended_value(&value).map(word),
                        _ => {}
                    }
                }
                part.file_name = extended.or(part.file_name);
            } else if name.trim().eq_ignore_ascii_case("content-type") {
                part.content_type = Some(word(Cow::Borrowed(value.trim())));
            }
        }
        part
    }

    fn record(&self, redactor: &Redactor, out: &mut String) {
        let mut fields = Fields::default();
        let own = self.name.as_deref().unwrap_or_default();
        if let Some(name) = &self.name {
            fields.string("name", &redactor.text(Cow::Borrowed(name)));
        }
        if let Some(file_name) = &self.file_name {
            fields.string("fileName", &redactor.parameter(own, Cow::Borrowed(file_name)));
        }
        if let Some(content_type) = &self.content_type {
            fields.string("contentType", &redactor.text(Cow::Borrowed(content_type)));
        }
        fields.number("size", self.size);
        if let Some(json) = fields.finish() {
            out.push_str(json.as_str());
        }
    }
}

/// `; name="a \"b\""; filename=c` after the first word.
fn parameters(value: &str) -> Vec<(&str, Cow<'_, str>)> {
    let mut parameters = Vec::new();
    let mut rest = value.split_once(';').map_or("", |(_, rest)| rest);
    while let Some((name, value)) = rest.split_once('=') {
        let value = value.trim_start();
        let text;
        (text, rest) = match value.strip_prefix('"') {
            Some(quoted) => {
                let (text, rest) = unquote(quoted);
                (Cow::Owned(text), rest.split_once(';').map_or("", |(_, rest)| rest))
            }
            None => {
                let (text, rest) = value.split_once(';').unwrap_or((value, ""));
                (Cow::Borrowed(text.trim()), rest)
            }
        };
        parameters.push((name.trim(), text));
    }
    parameters
}

/// The text up to the closing quote, and what follows that.
fn unquote(quoted: &str) -> (String, &str) {
    let mut text = String::new();
    let mut characters = quoted.char_indices();
    while let Some((at, character)) = characters.next() {
        match character {
            '"' => return (text, &quoted[at + 1..]),
            // Browsers write file names of Windows with plain backslashes.
            '\\' if quoted[at + 1..].starts_with(['"', '\\']) => {
                text.extend(characters.next().map(|(_, escaped)| escaped));
            }
            _ => text.push(character),
        }
    }
    (text, "")
}

/// `UTF-8''na%C3%AFve.txt`.
fn extended_value(value: &str) -> Option<Cow<'_, str>> {
    let text = value.splitn(3, '\'').nth(2)?;
    Some(percent_decode_str(text).decode_utf8_lossy())
}

fn word(text: Cow<'_, str>) -> String {
    let mut text = text.into_owned();
    limits::cut(&mut text, MAX_WORD);
    text.shrink_to_fit();
    text
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::{Value, json};

    use super::*;

    fn scan<'a>(chunks: impl IntoIterator<Item = &'a [u8]>) -> Value {
        let mut scanner = Scanner::new("XyZ");
        chunks.into_iter().for_each(|chunk| scanner.push(chunk));
        let mut out = String::new();
        scanner.record(&Redactor::default(), &mut out);
        serde_json::from_str(&out).unwrap()
    }

    #[test]
    fn parts_are_described() {
        let body = "preamble\r\n--XyZ\r\nContent-Disposition: form-data; name=\"title\"\r\n\r\nhello\r\n--XyZ  \r\n\
            content-type: image/png\r\nContent-Disposition: form-data; name=\"a;\\\"b\"; filename=\"C:\\dir\\x.png\"\r\n\r\n\
            \r\n--XyY\r\r\n-\r\n--XyZ\r\n\r\nno headers\r\n--XyZ\r\nContent-Disposition: form-data; name=password; \
            filename=p; filename*=UTF-8''na%C3%AFve\r\n\r\n\r\n--XyZ--\r\nepilogue\r\n--XyZ\r\n";
        assert_eq!(
            scan([body.as_bytes()]),
            json!({ "count": 4, "parts": [
                { "name": "title", "size": 5 },
                { "name": "a;\"b", "fileName": "C:\\dir\\x.png", "contentType": "image/png", "size": 11 },
                { "size": 10 },
                { "name": "password", "fileName": "HIDDEN_DUE_TO_SECURITY_REASONS", "size": 0 },
            ] })
        );
    }

    #[test]
    fn what_is_cut_off_or_empty_is_said_to_be() {
        assert_eq!(scan([]), json!({ "count": 0, "parts": [], "complete": false }));
        assert_eq!(
            scan([&b"--XyZ\r\nContent-Disposition: form-data; name=f\r\n\r\nabc"[..]]),
            json!({ "count": 1, "parts": [{ "name": "f", "size": 3 }], "complete": false })
        );
        assert_eq!(scan([&b"--XyZ--"[..]]), json!({ "count": 0, "parts": [] }));
    }

    #[test]
    fn memory_does_not_grow_with_the_body() {
        let mut scanner = Scanner::new("XyZ");
        let header =
            "Content-Disposition: form-data; name=\"".to_owned() + &"n".repeat(1 << 16) + "\"\r\n\r\n";
        for _ in 0..200 {
            scanner.push(b"--XyZ\r\n");
            scanner.push(header.as_bytes());
            scanner.push(&[b'\r'; 1 << 12]);
            scanner.push(b"\r\n");
        }
        assert_eq!(scanner.count, 199);
        assert!(scanner.kept() < MAX_PARTS * (3 * MAX_WORD + size_of::<Part>()) + 2 * MAX_HEADERS);
    }

    /// Contents that look much like boundaries.
    fn content() -> impl Strategy<Value = Vec<u8>> {
        let piece = prop::sample::select(vec![&b"\r"[..], b"\n", b"\r\n", b"--", b"XyZ", b"\r\n--Xy", b"Q"]);
        prop::collection::vec(piece, 0..12).prop_map(|pieces| pieces.concat())
    }

    proptest! {
        #[test]
        fn any_chunking_gives_the_same_and_no_content(
            contents in prop::collection::vec(content(), 0..5),
            cuts in prop::collection::vec(any::<prop::sample::Index>(), 0..40),
        ) {
            let marked: Vec<_> = contents.iter().map(|content| [&b"s3cr3t"[..], content].concat()).collect();
            prop_assume!(!marked.iter().any(|content| {
                content.windows(7).any(|window| window == b"\r\n--XyZ")
            }));
            let mut body = Vec::new();
            for (index, content) in marked.iter().enumerate() {
                body.extend(format!("--XyZ\r\nContent-Disposition: form-data; name=\"f{index}\"\r\n\r\n").as_bytes());
                body.extend(content);
                body.extend(b"\r\n");
            }
            body.extend(b"--XyZ--\r\n");
            let whole = scan([&body[..]]);
            let mut cuts: Vec<_> = cuts.iter().map(|cut| cut.index(body.len())).collect();
            cuts.extend([0, body.len()]);
            cuts.sort_unstable();
            prop_assert_eq!(&scan(cuts.windows(2).map(|cut| &body[cut[0]..cut[1]])), &whole);
            prop_assert_eq!(&scan(body.chunks(1)), &whole);
            let expected: Vec<_> = marked.iter().enumerate().map(|(index, content)| {
                json!({ "name": format!("f{index}"), "size": content.len() })
            }).collect();
            prop_assert_eq!(&whole, &json!({ "count": marked.len(), "parts": expected }));
        }
    }
}
