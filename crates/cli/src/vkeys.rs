//! Keys of logs and witnesses, as people hand them around: `--key VKEY`, or a file with one a line.

use std::fs::File;
use std::io::{self, Read};
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use clap::Args;
use sidetrail_archive::tlog::note::{Algorithm, VerifierKey};

/// The most bytes of a file of keys: some ten thousand.
const MAX_FILE: u64 = 1 << 20;

/// What checkpoints are believed by.
#[derive(Clone, Debug, Args)]
pub(crate) struct LogKeys {
    /// Believe the log with this key (NAME+ID+KEY, as `sidetrail checkpoint show --vkey` prints it). May be given more than
    /// once.
    #[arg(long = "key", value_name = "VKEY")]
    key: Vec<VerifierKey>,
    /// Believe the keys in this file, one a line; lines with # are remarks.
    #[arg(long, value_name = "FILE")]
    keys: Option<PathBuf>,
}

impl LogKeys {
    /// All of them, of logs and of witnesses.
    pub(crate) fn all(&self) -> Result<Vec<VerifierKey>> {
        let mut all = self.key.clone();
        if let Some(path) = &self.keys {
            all.extend(read(path)?);
        }
        if all.is_empty() {
            bail!("no key to believe: give --key or --keys");
        }
        Ok(all)
    }
}

/// Those of witnesses.
pub(crate) fn witnesses(keys: &[VerifierKey]) -> impl Iterator<Item = &VerifierKey> {
    keys.iter().filter(|key| key.algorithm() == Algorithm::Cosignature)
}

fn read(path: &Path) -> Result<Vec<VerifierKey>> {
    let text = read_text(path, MAX_FILE).with_context(|| format!("could not read {}", path.display()))?;
    let mut keys = Vec::new();
    for (number, line) in text.lines().map(str::trim).enumerate() {
        if !line.is_empty() && !line.starts_with('#') {
            keys.push(line.parse().with_context(|| format!("{}:{}", path.display(), number + 1))?);
        }
    }
    Ok(keys)
}

/// A text file of at most so many bytes; - is standard input.
pub(crate) fn read_text(path: &Path, limit: u64) -> io::Result<String> {
    let source: Box<dyn Read> =
        if path == Path::new("-") { Box::new(io::stdin().lock()) } else { Box::new(File::open(path)?) };
    let mut text = String::new();
    source.take(limit + 1).read_to_string(&mut text)?;
    if text.len() as u64 > limit {
        return Err(io::Error::new(io::ErrorKind::InvalidData, format!("it is larger than {limit} bytes")));
    }
    Ok(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_has_one_key_a_line() {
        let file = tempfile::NamedTempFile::new().unwrap();
        let key = "example.com/foo+530d903a+AekyeRrm56hApGFkyQR4ZCbV54Id2LKaANYcrnKv3U2k";
        std::fs::write(file.path(), format!("# mine\n\n {key} \n{key}\n")).unwrap();
        assert_eq!(read(file.path()).unwrap().len(), 2);
        std::fs::write(file.path(), format!("{key}\nnone\n")).unwrap();
        let error = format!("{:#}", read(file.path()).unwrap_err());
        assert!(error.contains(":2: "), "{error}");
        let none = LogKeys { key: Vec::new(), keys: None };
        assert!(none.all().is_err());
    }
}
