//! `--cursor FILE`: what the verifier remembers between runs. It is written as the run goes on, and anew at its end.

use std::fs::{self, File, OpenOptions};
use std::io::{self, BufWriter, Read, Write};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use anyhow::{Context, Result, bail, ensure};
use sidetrail_archive::verify::{Cursor, MAX_CURSOR, Options, Report, Token};

/// Log files that may have to be verified again after a crash.
const FLUSH_EVERY: usize = 64;

/// A cursor and its file.
#[derive(Debug)]
pub(super) struct CursorFile {
    path: PathBuf,
    header: String,
    pub(super) known: Arc<Cursor>,
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    file: BufWriter<File>,
    seen: Vec<Token>,
    failed: Option<io::Error>,
}

impl CursorFile {
    /// Opens a cursor, or begins one.
    pub(super) fn open(path: &Path, bucket: &str, options: &Options) -> Result<Self> {
        Self::try_open(path, bucket, options)
            .with_context(|| format!("could not use the cursor {}", path.display()))
    }

    fn try_open(path: &Path, bucket: &str, options: &Options) -> Result<Self> {
        let header = Cursor::header(bucket, options);
        let text = match File::open(path) {
            Ok(file) => {
                let mut bytes = Vec::new();
                file.take(MAX_CURSOR + 1).read_to_end(&mut bytes)?;
                ensure!(bytes.len() as u64 <= MAX_CURSOR, "it is larger than {MAX_CURSOR} bytes");
                // What a crash has left half written need not be text.
                String::from_utf8_lossy(&bytes).into_owned()
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound => String::new(),
            Err(error) => return Err(error.into()),
        };
        let (known, new) = match Cursor::parse(&text, &header) {
            Some(cursor) => (cursor, false),
            None if text.is_empty() => (Cursor::default(), true),
            // Written over, it would forget how far the chains of the other had come.
            None => bail!("it is no cursor, or one for another bucket or other keys"),
        };
        let mut file = OpenOptions::new().create(true).append(true).open(path)?;
        if new {
            file.write_all(header.as_bytes())?;
        } else if !text.ends_with('\n') {
            file.write_all(b"\n")?;
        }
        let state = State { file: BufWriter::new(file), seen: Vec::new(), failed: None };
        Ok(Self { path: path.to_owned(), header, known: Arc::new(known), state: Mutex::new(state) })
    }

    /// Remembers a log file.
    pub(super) fn note(&self, token: Token) {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        state.seen.push(token);
        if self.known.contains(&token) {
            return;
        }
        let mut written = state.file.write_all(token.line().as_bytes());
        if state.seen.len().is_multiple_of(FLUSH_EVERY) {
            written = written.and_then(|()| state.file.flush());
        }
        if let Err(error) = written {
            state.failed.get_or_insert(error);
        }
    }

    /// Writes the cursor anew, in one step: what this run has seen, and how far chains have come. A run of a part of the
    /// bucket keeps what was known of the rest. Where something was wrong, the chains are remembered as they were.
    pub(super) fn finish(self, report: &Report, whole: bool) -> Result<()> {
        let path = self.path.clone();
        self.try_finish(report, whole)
            .with_context(|| format!("could not write the cursor {}", path.display()))
    }

    fn try_finish(self, report: &Report, whole: bool) -> io::Result<()> {
        let Self { path, header, known, state } = self;
        let State { file, seen, failed } = state.into_inner().unwrap_or_else(PoisonError::into_inner);
        drop(file);
        if let Some(error) = failed {
            return Err(error);
        }
        let mut cursor = if whole { known.without_tokens() } else { (*known).clone() };
        seen.into_iter().for_each(|token| cursor.insert(token));
        if report.wrong == 0 {
            cursor.advance(&report.heads);
        }
        let staged = path.with_added_extension("new");
        let mut file = BufWriter::new(File::create(&staged)?);
        file.write_all(header.as_bytes())?;
        cursor.lines(|line| file.write_all(line.as_bytes()))?;
        file.into_inner()?.sync_all()?;
        fs::rename(&staged, &path)
    }
}
