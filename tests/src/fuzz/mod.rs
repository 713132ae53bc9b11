//! What readers of foreign bytes promise, as functions of one input: they panic where a promise is broken.
//!
//! Two engines call them. `tests/fuzz` is libFuzzer, with coverage, on a nightly toolchain: `cargo xtask fuzz`.
//! `tests/mutations` is a part of `cargo test`: it changes the seeds a fixed number of times on any toolchain. Both first
//! replay what once broke a promise, from `tests/fuzz/regressions`. A new target is one file here, one line in
//! [`TARGETS`] and one file in `tests/fuzz/fuzz_targets`.

#![expect(clippy::expect_used, reason = "a broken promise is told by a panic")]

mod digest;
mod frame;
mod log;
mod manifest;
mod mutate;
mod proof;
mod record;
mod redaction;
mod segment;
mod selectors;
mod wire;

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

pub use mutate::Mutator;

/// One promise.
#[derive(Debug)]
pub struct Target {
    /// As on the command line.
    pub name: &'static str,
    /// Panics if the input breaks the promise.
    pub check: fn(&[u8]),
    /// Inputs to begin with: real ones, or what our own writers make.
    pub seeds: fn() -> Vec<Vec<u8>>,
    /// Words of the format, which chance would not find.
    pub words: &'static [&'static str],
}

/// All of them.
pub const TARGETS: &[Target] = &[
    Target { name: "record", check: record::check, seeds: record::seeds, words: record::WORDS },
    Target { name: "selectors", check: selectors::check, seeds: selectors::seeds, words: selectors::WORDS },
    Target { name: "redaction", check: redaction::check, seeds: redaction::seeds, words: redaction::WORDS },
    Target { name: "log", check: log::check, seeds: log::seeds, words: log::WORDS },
    Target { name: "manifest", check: manifest::check, seeds: manifest::seeds, words: manifest::WORDS },
    Target { name: "digest", check: digest::check, seeds: digest::seeds, words: digest::WORDS },
    Target { name: "proof", check: proof::check, seeds: proof::seeds, words: proof::WORDS },
    Target { name: "segment", check: segment::check, seeds: segment::seeds, words: &[] },
    Target { name: "wire", check: wire::check, seeds: wire::seeds, words: &[] },
    Target { name: "frame", check: frame::check, seeds: frame::seeds, words: &[] },
];

/// Inputs are at most this long: what is worth finding is found in less.
pub const MAX_INPUT: usize = 16 << 10;

/// Calls the target of this name, for the engines that have one program for each.
///
/// # Panics
/// If the promise is broken, or there is no such target.
pub fn check(name: &str, input: &[u8]) {
    let target = TARGETS.iter().find(|target| target.name == name).expect("the name of a target");
    (target.check)(input);
}

impl Target {
    /// Inputs that once broke the promise; a file is added with the change that mends it.
    ///
    /// # Errors
    /// If the directory is there and cannot be read.
    pub fn regressions(&self) -> io::Result<Vec<(PathBuf, Vec<u8>)>> {
        let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz/regressions").join(self.name);
        let entries = match fs::read_dir(&directory) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
            entries => entries?,
        };
        let mut paths = entries.map(|entry| Ok(entry?.path())).collect::<io::Result<Vec<_>>>()?;
        paths.sort();
        paths.into_iter().map(|path| Ok((path.clone(), fs::read(path)?))).collect()
    }
}

/// Real CloudTrail records, as text: the examples of the repository.
fn real_records() -> Vec<String> {
    include_str!("../../data/examples.ndjson").lines().map(str::to_owned).collect()
}
