//! The fuzz targets without a fuzzer: regressions, seeds, and a number of inputs made from the seeds, on any toolchain.
//!
//! What is drawn follows from `--seed` alone, so that two runs look at the same inputs. What breaks a promise is written
//! to a file, to be kept in `tests/fuzz/regressions` once it is mended. The last line on standard output is one JSON
//! object.

use std::cell::RefCell;
use std::panic::{self, AssertUnwindSafe};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::{Duration, Instant};
use std::{fs, io};

use anyhow::{Context, Result, bail, ensure};
use clap::Parser;
use serde_json::json;
use sidetrail_tests::fuzz::{Mutator, TARGETS, Target};

/// What `cargo test` has time for.
const INPUTS: u64 = 2_000;
/// Breaks are alike; a few show what it is.
const MAX_BREAKS: usize = 3;

#[derive(Debug, Parser)]
#[command(name = "cargo xtask fuzz --stable")]
struct Arguments {
    /// Inputs for each target
    #[arg(long, default_value_t = INPUTS, env = "SIDETRAIL_FUZZ_INPUTS")]
    inputs: u64,
    /// Go on for so long with each target, instead of a number of inputs
    #[arg(long)]
    seconds: Option<u64>,
    /// What is drawn
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// Check this file and nothing else
    #[arg(long, requires = "targets")]
    input: Option<PathBuf>,
    /// Write seeds and words for libFuzzer to `DIR/TARGET/` and `DIR/TARGET.dict`, and end
    #[arg(long)]
    export: Option<PathBuf>,
    /// These alone. As a part of `cargo test`: runs those whose names, after `fuzz::`, contain it
    targets: Vec<String>,
    /// As a part of `cargo test`, without effect
    #[arg(long, short, hide = true)]
    quiet: bool,
    /// As a part of `cargo test`, without effect
    #[arg(long, hide = true)]
    nocapture: bool,
}

fn main() -> ExitCode {
    match run(&Arguments::parse()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn run(arguments: &Arguments) -> Result<()> {
    let chosen = |target: &&Target| {
        let name = format!("fuzz::{}", target.name);
        arguments.targets.is_empty() || arguments.targets.iter().any(|filter| name.contains(filter.as_str()))
    };
    let targets: Vec<_> = TARGETS.iter().filter(chosen).collect();
    if let Some(directory) = &arguments.export {
        return targets.iter().try_for_each(|target| export(target, directory));
    }
    panic::set_hook(Box::new(|told| LAST.with_borrow_mut(|last| *last = told.to_string())));
    if let Some(path) = &arguments.input {
        let input = fs::read(path).with_context(|| format!("cannot read {}", path.display()))?;
        return targets.iter().try_for_each(|target| match breaks(target, &input) {
            None => Ok(()),
            Some(told) => bail!("{}: {told}", target.name),
        });
    }
    let (mut broken, mut all) = (0, 0);
    for target in targets {
        let (inputs, breaks) = mutate(target, arguments)?;
        broken += breaks;
        all += inputs;
    }
    println!("{}", json!({ "inputs": all, "seed": arguments.seed, "broken": broken }));
    ensure!(broken == 0, "{broken} inputs break a promise");
    Ok(())
}

/// Checks what there is and what is drawn; how many inputs, and how many of them broke the promise.
fn mutate(target: &Target, arguments: &Arguments) -> Result<(u64, usize)> {
    let began = Instant::now();
    let limit = arguments.seconds.map(Duration::from_secs);
    let mut broken = 0;
    for (path, input) in target.regressions().context("cannot read tests/fuzz/regressions")? {
        if let Some(told) = breaks(target, &input) {
            eprintln!("{}: {} breaks it again: {told}", target.name, path.display());
            broken += 1;
        }
    }
    let mut mutator = Mutator::new(target, arguments.seed);
    let seeds = mutator.corpus().to_vec();
    let (mut inputs, mut slowest) = (0_u64, Duration::ZERO);
    loop {
        let drawn = inputs.checked_sub(seeds.len() as u64);
        let enough = match limit {
            Some(limit) => began.elapsed() >= limit,
            None => drawn == Some(arguments.inputs),
        };
        if broken >= MAX_BREAKS || enough && drawn.is_some() {
            break;
        }
        let input = usize::try_from(inputs).ok().and_then(|index| seeds.get(index).cloned());
        let input = input.unwrap_or_else(|| mutator.input());
        let since = Instant::now();
        let told = breaks(target, &input);
        slowest = slowest.max(since.elapsed());
        inputs += 1;
        if let Some(told) = told {
            let path = keep(target, &input, inputs).context("cannot write what was found")?;
            eprintln!("{}: {told}\n  the input is {}", target.name, path.display());
            broken += 1;
        }
    }
    println!(
        "{:<10} {inputs:>8} inputs from {} seeds in {:.1?}, the slowest took {slowest:.1?}",
        target.name,
        seeds.len(),
        began.elapsed()
    );
    Ok((inputs, broken))
}

thread_local! {
    /// What the last panic said.
    static LAST: RefCell<String> = const { RefCell::new(String::new()) };
}

/// What a broken promise said, if it is broken.
fn breaks(target: &Target, input: &[u8]) -> Option<String> {
    let outcome = panic::catch_unwind(AssertUnwindSafe(|| (target.check)(input)));
    outcome.err().map(|_| LAST.with_borrow_mut(std::mem::take))
}

fn keep(target: &Target, input: &[u8], number: u64) -> io::Result<PathBuf> {
    let directory = Path::new(env!("CARGO_TARGET_TMPDIR")).join("fuzz").join(target.name);
    fs::create_dir_all(&directory)?;
    let path = directory.join(format!("broken-{number}"));
    fs::write(&path, input)?;
    Ok(path)
}

fn export(target: &Target, directory: &Path) -> Result<()> {
    let corpus = directory.join(target.name);
    fs::create_dir_all(&corpus).with_context(|| format!("cannot create {}", corpus.display()))?;
    let regressions = target.regressions().context("cannot read tests/fuzz/regressions")?;
    let inputs = (target.seeds)().into_iter().chain(regressions.into_iter().map(|(_, input)| input));
    for (number, input) in inputs.enumerate() {
        let path = corpus.join(format!("seed-{number:03}"));
        fs::write(&path, input).with_context(|| format!("cannot write {}", path.display()))?;
    }
    let quoted = |word: &&str| {
        let letter = |byte: u8| match byte {
            b'"' | b'\\' => format!("\\{}", char::from(byte)),
            b' '..=b'~' => char::from(byte).to_string(),
            _ => format!("\\x{byte:02x}"),
        };
        format!("\"{}\"\n", word.bytes().map(letter).collect::<String>())
    };
    let dictionary = directory.join(format!("{}.dict", target.name));
    fs::write(&dictionary, target.words.iter().map(quoted).collect::<String>())
        .with_context(|| format!("cannot write {}", dictionary.display()))
}
