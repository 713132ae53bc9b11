//! What a verifier remembers between runs: which log files it has looked into, and how far each chain had come.
//!
//! A log file is remembered as a [`Token`]: a hash over its key, what the listing says of its bytes (size, time, ETag), and the
//! hashes that it was found to have. Another run that reads the same statement signed in a manifest or digest, and sees the
//! same listing, need not read the file again. Whatever is different makes another token, and the file is read. So a cursor
//! is bound to what was verified, and damage to it costs time and nothing else.
//!
//! A [`Head`] is the newest manifest of a chain, or digest of a trail, that was found valid. Should it not be there later,
//! somebody has set the bucket back.
//!
//! As text, a cursor is lines, so that it can be written as the run goes on; whoever interrupts it leaves at worst half a
//! line, which is passed over:
//!
//! ```text
//! sidetrail-cursor 1 <hash of what was to be verified and believed>
//! t <32 hexadecimal digits>
//! h <JSON of a head>
//! ```

use std::collections::HashSet;
use std::fmt;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::Options;
use crate::hash::Sha256;
use crate::key::{DigestKey, Home, Id, LogKey, ManifestKey, Region, Trail};
use crate::time;

/// The most bytes of a cursor that are read: some eight million log files.
pub const MAX_CURSOR: u64 = 288 << 20;

const MAGIC: &str = "sidetrail-cursor 1";

/// A log file that was found to be what it should be.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Token([u8; 16]);

impl Token {
    pub(super) fn new(key: &LogKey, version: u64, stored: Option<Sha256>, content: Sha256) -> Self {
        let stored = stored.map_or_else(String::new, |stored| stored.to_string());
        let hash = Sha256::of(format!("{key}\n{version}\n{stored}\n{content}").as_bytes());
        let mut token = [0; 16];
        token.copy_from_slice(&hash.as_bytes()[..16]);
        Self(token)
    }

    /// A line of a cursor.
    #[must_use]
    pub fn line(&self) -> String {
        format!("t {self}\n")
    }

    fn parse(text: &str) -> Option<Self> {
        let digits = text.as_bytes();
        let mut token = [0; 16];
        if digits.len() != 32 {
            return None;
        }
        for (byte, pair) in token.iter_mut().zip(digits.chunks_exact(2)) {
            let digit = |digit: u8| char::from(digit).to_digit(16);
            *byte = (digit(pair[0])? << 4 | digit(pair[1])?) as u8;
        }
        Some(Self(token))
    }
}

impl fmt::Display for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

/// How far a chain had come.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "chain", rename_all = "camelCase")]
#[non_exhaustive]
pub enum Head {
    /// Of a collector's manifests for a trail.
    Manifests {
        /// The collector.
        collector: Id,
        /// The trail.
        trail: Trail,
        /// The newest manifest.
        object: ManifestKey,
        /// Its index.
        index: u64,
        /// The SHA-256 of its stored bytes.
        sha256: Sha256,
    },
    /// Of a trail's digests in a region.
    Digests {
        /// Where the account's evidence lies, without the slash at the end.
        home: String,
        /// The region.
        region: Region,
        /// The trail.
        trail: Trail,
        /// The newest digest.
        object: DigestKey,
        /// The end of its period.
        #[serde(with = "time")]
        end: Timestamp,
        /// The SHA-256 of its content.
        sha256: Sha256,
    },
}

impl Head {
    pub(super) fn home_name(home: &Home) -> String {
        home.to_string().trim_end_matches('/').to_owned()
    }

    /// How far: a number of its own for each kind.
    fn place(&self) -> i128 {
        match self {
            Self::Manifests { index, .. } => i128::from(*index),
            Self::Digests { end, .. } => i128::from(end.as_second()),
        }
    }

    fn is_of_same_chain(&self, other: &Self) -> bool {
        match (self, other) {
            (
                Self::Manifests { collector, trail, .. },
                Self::Manifests { collector: its_collector, trail: its_trail, .. },
            ) => (collector, trail) == (its_collector, its_trail),
            (
                Self::Digests { home, region, trail, .. },
                Self::Digests { home: its_home, region: its_region, trail: its_trail, .. },
            ) => (home, region, trail) == (its_home, its_region, its_trail),
            _ => false,
        }
    }

    /// A line of a cursor.
    #[must_use]
    pub fn line(&self) -> String {
        serde_json::to_string(self).map_or_else(|_| String::new(), |json| format!("h {json}\n"))
    }
}

/// What is remembered of a run, or of several.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Cursor {
    tokens: HashSet<Token>,
    heads: Vec<Head>,
}

impl Cursor {
    /// The first line of a cursor for this purpose. Another bucket, range or set of keys to believe makes another line, and
    /// the cursor of one is not read for the other.
    #[must_use]
    pub fn header(location: &str, options: &Options) -> String {
        let mut text = location.to_owned();
        if let Some(keys) = &options.keys {
            keys.iter().for_each(|key| text.push_str(&format!("\nmanifest key {}", key.id())));
        }
        if let Some(keys) = &options.digest_keys {
            keys.iter().for_each(|key| text.push_str(&format!("\ndigest key {}", key.key.id())));
        }
        format!("{MAGIC} {}\n", Sha256::of(text.as_bytes()))
    }

    /// Reads a cursor that begins with `header`; `None` if it is for another purpose, or none at all.
    #[must_use]
    pub fn parse(text: &str, header: &str) -> Option<Self> {
        let lines = text.strip_prefix(header)?;
        let mut cursor = Self::default();
        for line in lines.split_inclusive('\n').filter_map(|line| line.strip_suffix('\n')) {
            match line.split_once(' ') {
                Some(("t", token)) => cursor.tokens.extend(Token::parse(token)),
                Some(("h", head)) => cursor.heads.extend(serde_json::from_str::<Head>(head)),
                _ => {}
            }
        }
        Some(cursor)
    }

    /// How many log files it remembers.
    #[must_use]
    pub fn len(&self) -> usize {
        self.tokens.len()
    }

    /// Whether it remembers none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.tokens.is_empty()
    }

    /// How far chains had come.
    #[must_use]
    pub fn heads(&self) -> &[Head] {
        &self.heads
    }

    /// Whether it remembers a log file.
    #[must_use]
    pub fn contains(&self, token: &Token) -> bool {
        self.tokens.contains(token)
    }

    /// Remembers a log file.
    pub fn insert(&mut self, token: Token) {
        self.tokens.insert(token);
    }

    /// How far chains had come, and no log file.
    #[must_use]
    pub fn without_tokens(&self) -> Self {
        Self { tokens: HashSet::new(), heads: self.heads.clone() }
    }

    /// Remembers how far chains have come. One that is not as far as it was stays where it was.
    pub fn advance(&mut self, heads: &[Head]) {
        for head in heads {
            match self.heads.iter_mut().find(|known| known.is_of_same_chain(head)) {
                Some(known) if known.place() < head.place() => *known = head.clone(),
                Some(_) => {}
                None => self.heads.push(head.clone()),
            }
        }
    }

    /// Shows each line but the first, until one is not taken.
    ///
    /// # Errors
    /// What `each` says.
    pub fn lines<E>(&self, mut each: impl FnMut(&str) -> Result<(), E>) -> Result<(), E> {
        self.tokens.iter().try_for_each(|token| each(&token.line()))?;
        self.heads.iter().try_for_each(|head| each(&head.line()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_is_read_and_half_a_line_is_passed_over() {
        let token = |number: u8| Token([number; 16]);
        let header = Cursor::header("s3://audit", &Options::default());
        let head = Head::Manifests {
            collector: Id([7; 16]),
            trail: Trail::new("default").unwrap(),
            object: "AWSLogs/111122223333/Sidetrail-Manifest/us-east-1/2026/01/15/\
                     111122223333_Sidetrail-Manifest_us-east-1_20260115T1105Z_H7LJUaNkSzKC5yIS.json"
                .parse()
                .unwrap(),
            index: 7,
            sha256: Sha256::of(b""),
        };
        let text = format!("{header}{}{}{}t 0102", token(1).line(), head.line(), token(0xfe).line());
        let cursor = Cursor::parse(&text, &header).unwrap();
        assert!(cursor.contains(&token(1)) && cursor.contains(&token(0xfe)) && !cursor.contains(&token(2)));
        assert_eq!((cursor.len(), cursor.heads()), (2, &[head][..]));
        // Another bucket, or nothing of the kind.
        assert_eq!(Cursor::parse(&text, &Cursor::header("s3://other", &Options::default())), None);
        assert_eq!(Cursor::parse("", &header), None);
        let keys = Some(vec![crate::sign::PublicKey::from_raw([1; 32])]);
        let given = Options { keys, ..Options::default() };
        assert_eq!(Cursor::parse(&text, &Cursor::header("s3://audit", &given)), None);

        let mut written = header.clone();
        let write = |line: &str| {
            written.push_str(line);
            Ok::<_, ()>(())
        };
        cursor.lines(write).unwrap();
        assert_eq!(Cursor::parse(&written, &header), Some(cursor));
    }
}
