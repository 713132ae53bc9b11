//! `sidetrail report`: packs of evidence, made and checked.

mod arguments;
mod check;
mod collect;
mod filter;
mod html;
mod pack;
mod tarfile;

use std::num::NonZeroUsize;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, anyhow, bail};
use jiff::Timestamp;
use serde::Serialize;
use sidetrail_archive::sign::KeyBundle;
use sidetrail_archive::source::{Bucket, Directory};
use sidetrail_archive::verify::{Outcome, Report, Trust};

pub(crate) use self::arguments::{Evidence, Reports};
use self::check::{Checked, Keys};
use self::collect::{Collected, Folder};
use self::filter::Filter;
use self::pack::{Answer, NamedPattern, Question, Statement, Verification};
use self::tarfile::TarFile;
use crate::exit::Exit;
use crate::find::{CLOCK_SKEW, Search, Searched};
use crate::location::{Location, default_jobs, local_path};
use crate::print::{self, complain, count, named, printable};
use crate::time::Range;
use crate::verify::{self, read_pem};

/// What made a pack.
const TOOL: &str = concat!("sidetrail ", env!("CARGO_PKG_VERSION"));
/// How a pack is checked by hand.
const README_TEXT: &[u8] = include_bytes!("README.txt");
/// Findings of the archive's verification that a statement repeats.
const MAX_FINDINGS: usize = 200;
/// Findings of a pack that are printed.
const MAX_SHOWN: usize = 200;

pub(crate) fn run(command: &Reports) -> Result<Exit> {
    match command {
        Reports::Evidence(arguments) => evidence(arguments),
    }
}

fn evidence(arguments: &Evidence) -> Result<Exit> {
    let made_at = Timestamp::now();
    let filter = Filter {
        range: Range { from: Some(arguments.from), to: Some(arguments.to.unwrap_or(made_at)) },
        arguments: arguments.filter.clone(),
    };
    let output = PathBuf::from(&arguments.output);
    let tar = tar_path(&output);
    for path in [&output, &tar].into_iter().take(if arguments.tar { 2 } else { 1 }) {
        if path.symlink_metadata().is_ok() {
            bail!("{} is there already", path.display());
        }
    }
    let location = Location::open(&arguments.bucket)?;
    let jobs = arguments.jobs.unwrap_or_else(|| default_jobs(&arguments.bucket));
    let report = verified(arguments, jobs)?;
    let searched = search(&location, &filter, jobs)?;
    if searched.more {
        bail!("more than {} events or {} MiB match: ask for less", pack::MAX_EVENTS, pack::MAX_BYTES >> 20);
    }
    let exit = searched.failed.iter().fold(report.outcome().into(), |exit: Exit, failed| exit.and(failed.1));
    for (file, _, error) in &searched.failed {
        complain(format_args!("{file}: {error}"));
    }
    if searched.found.is_empty() {
        complain(format_args!("no event matches in {}", count(searched.files, "log file")));
        return Ok(exit.and(Exit::CouldNot));
    }

    let mut folder = Folder::create(&output)?;
    let bucket = location.bucket();
    let collected = collect::collect(&location, &*bucket, &searched.found, &mut folder)?;
    let mut statement = Statement {
        version: pack::VERSION,
        title: arguments.title.clone(),
        tool: TOOL.to_owned(),
        made_at,
        question: Question {
            bucket: location.name().to_owned(),
            from: arguments.from,
            to: arguments.to.unwrap_or(made_at),
            filters: filter
                .described()
                .into_iter()
                .map(|(name, pattern)| NamedPattern { name: name.to_owned(), pattern })
                .collect(),
        },
        answer: answer(&searched, &collected),
        verification: verification(&report),
        files: Vec::new(),
    };
    folder.put(pack::REPORT, html::render(&statement, &collected.index, &searched.found).as_bytes())?;
    folder.put(pack::README, README_TEXT)?;
    statement.files = folder.files.values().cloned().collect();
    let text = serde_json::to_string_pretty(&statement).context("could not write the statement as JSON")?;
    folder.put(pack::STATEMENT, text.as_bytes())?;
    if arguments.tar {
        let time = u64::try_from(made_at.as_second()).unwrap_or_default();
        tarfile::write(&tar, &output, folder.files.values(), time)?;
    }
    for missing in &collected.missing {
        complain(format_args!("not in it: {missing}"));
    }
    said(arguments, &statement, &tar)?;
    Ok(exit)
}

/// `case` becomes `case.tar`.
fn tar_path(output: &Path) -> PathBuf {
    let mut path = output.as_os_str().to_owned();
    path.push(".tar");
    path.into()
}

/// Verifies what was delivered in the range, and a little after it.
fn verified(arguments: &Evidence, jobs: NonZeroUsize) -> Result<Report> {
    let from = arguments.from.saturating_sub(CLOCK_SKEW).unwrap_or(arguments.from);
    verify::report(&arguments.bucket, arguments.keys.as_deref(), Some(from), None, Some(jobs))
}

fn search(location: &Location, filter: &Filter, jobs: NonZeroUsize) -> Result<Searched> {
    let bucket = location.bucket();
    let search = Search {
        bucket: &*bucket,
        prefix: location.prefix().map_or_else(String::new, |prefix| format!("{prefix}/")),
        range: filter.range,
        jobs,
        wanted: &|record| filter.wants(record),
        most: (pack::MAX_EVENTS, pack::MAX_BYTES),
        first: false,
    };
    search.run().map_err(|error| anyhow!(named(location.name(), &error)))
}

fn answer(searched: &Searched, collected: &Collected) -> Answer {
    Answer {
        events: searched.found.len() as u64,
        log_files: collected.log_files,
        proofs: collected.proofs,
        searched_log_files: searched.files,
        searched_records: searched.records,
        not_searched: searched.failed.iter().map(|(file, _, why)| format!("{file}: {why}")).collect(),
        digests: collected.digests,
        logs: collected.logs.clone(),
        missing: collected.missing.clone(),
    }
}

fn verification(report: &Report) -> Verification {
    let outcome = match report.outcome() {
        Outcome::Valid => "valid",
        Outcome::Invalid => "invalid",
        Outcome::CouldNotCheck => "couldNotCheck",
        Outcome::ValidWithLosses => "validWithLosses",
    };
    let trust = match report.trust {
        Trust::Given => "given",
        Trust::Published => "published",
    };
    Verification {
        outcome: outcome.to_owned(),
        trust: trust.to_owned(),
        log_files: report.log_files,
        manifests: report.manifests,
        records: report.totals.records,
        wrong: report.wrong,
        unchecked: report.unchecked,
        losses: report.losses,
        findings: report.findings.iter().take(MAX_FINDINGS).map(ToString::to_string).collect(),
    }
}

fn said(arguments: &Evidence, statement: &Statement, tar: &Path) -> Result<()> {
    if arguments.json {
        let json = serde_json::to_string(statement).context("could not write the statement as JSON")?;
        return Ok(print::out(format_args!("{json}\n"))?);
    }
    let Answer { events, log_files, proofs, .. } = &statement.answer;
    let output = arguments.output.display();
    print::out(format_args!(
        "events  {events} in {}, {proofs} with a proof\narchive {} when it was verified\npack    {output}{}\nreport  {output}/{}\n",
        count(*log_files, "log file"),
        statement.verification.outcome,
        if arguments.tar { format!(", {}", tar.display()) } else { String::new() },
        pack::REPORT,
    ))?;
    Ok(())
}

/// The pack at a location, if there is one and not an archive.
pub(crate) fn pack_at(location: &str) -> Result<Option<Pack>> {
    let Some(path) = local_path(location).map(Path::new) else { return Ok(None) };
    let bucket: Box<dyn Bucket> = if path.is_file() {
        Box::new(TarFile::open(path).with_context(|| format!("could not read {}", path.display()))?)
    } else if path.join(pack::STATEMENT).is_file() {
        Box::new(Directory::new(path)?)
    } else {
        return Ok(None);
    };
    Ok(Some(Pack { bucket, name: path.display().to_string() }))
}

/// A pack of evidence.
pub(crate) struct Pack {
    bucket: Box<dyn Bucket>,
    name: String,
}

/// Everything there is to say of a pack, and the JSON form of it.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct Said<'a> {
    pack: &'a str,
    outcome: &'static str,
    trust: &'static str,
    #[serde(flatten)]
    checked: &'a Checked,
    statement: &'a Statement,
}

impl Pack {
    /// `sidetrail verify` of a pack.
    pub(crate) fn verify(&self, keys: Option<&Path>, json: bool) -> Result<Exit> {
        let keys = keys.map(read_bundle).transpose()?;
        let given = keys.is_some();
        let statement = check::statement(&*self.bucket)
            .map_err(|error| anyhow!(named(&format!("{}/{}", self.name, pack::STATEMENT), &error)))?;
        let checked = check::check(&*self.bucket, &statement, keys);
        let (exit, outcome) = match (checked.wrong, checked.unchecked) {
            (0, 0) => (Exit::Done, "valid"),
            (0, _) => (Exit::CouldNot, "couldNotCheck"),
            _ => (Exit::Wrong, "invalid"),
        };
        let trust = if given { "given" } else { "published" };
        if json {
            let said = Said { pack: &self.name, outcome, trust, checked: &checked, statement: &statement };
            let mut said = serde_json::to_value(&said).context("could not write the report as JSON")?;
            // As long as the pack is large, and said by its own file.
            if let Some(statement) = said["statement"].as_object_mut() {
                statement.remove("files");
            }
            print::out(format_args!("{said}\n"))?;
        } else {
            print::out(format_args!("{}", self.render(&statement, &checked, given, exit)))?;
        }
        Ok(exit)
    }

    fn render(&self, statement: &Statement, checked: &Checked, given: bool, exit: Exit) -> String {
        use std::fmt::Write as _;
        let mut text = String::new();
        // Writing to a string does not fail.
        for finding in checked.findings.iter().take(MAX_SHOWN) {
            let kind = finding.kind.replace(' ', "-").to_uppercase();
            let _ = writeln!(text, "{kind} {} {}", printable(&finding.file), printable(&finding.detail));
        }
        let all = checked.wrong + checked.unchecked;
        if let Some(more @ 1..) = all.checked_sub(checked.findings.len().min(MAX_SHOWN) as u64) {
            let _ = writeln!(text, "… and {} more", count(more, "finding"));
        }
        let Checked { files, events, log_files, manifests, digests, proofs, .. } = checked;
        let Statement { question, tool, made_at, verification, .. } = statement;
        let _ = writeln!(text, "pack    {}, made {made_at} by {}", printable(&self.name), printable(tool));
        let _ = writeln!(
            text,
            "from    {}, events of {} to {}, {} then",
            printable(&question.bucket),
            question.from,
            question.to,
            printable(&verification.outcome)
        );
        let _ = writeln!(
            text,
            "checked {}: {} in {}, {}, {}, {}",
            count(*files, "file"),
            count(*events, "event"),
            count(*log_files, "log file"),
            count(*manifests, "manifest"),
            count(*digests, "digest"),
            count(*proofs, "proof"),
        );
        text.push_str(if given {
            "trust   keys given with --keys\n"
        } else {
            "trust   keys in the pack itself: whoever made it can forge; use --keys\n"
        });
        let _ = writeln!(
            text,
            "found   {} wrong, {} that could not be checked",
            checked.wrong, checked.unchecked
        );
        text + match exit {
            Exit::Done => "VALID\n",
            Exit::Wrong => "INVALID\n",
            _ => "COULD NOT CHECK\n",
        }
    }
}

fn read_bundle(path: &Path) -> Result<Keys> {
    let name = path.display();
    let text = read_pem(path).with_context(|| format!("could not read the keys in {name}"))?;
    Ok(KeyBundle::from_pem(&text).with_context(|| format!("could not take the keys in {name}"))?.into())
}
