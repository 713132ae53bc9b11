//! The report as lines of text. Their order and first words are stable; scripts that need more take `--json`.

use std::fmt::{self, Write};

use sidetrail_archive::verify::{Coverage, Finding, Outcome, Trust};

use super::Verified;
use crate::print::{count, printable};

/// Sources that are shown one by one.
const MAX_SOURCES: usize = 50;

pub(super) fn render(verified: &Verified<'_>) -> String {
    let mut text = String::new();
    // Writing to a string does not fail.
    let _ = write(&mut text, verified);
    text
}

fn write(out: &mut String, verified: &Verified<'_>) -> fmt::Result {
    let Verified { bucket, from, to, report } = verified;
    for finding in &report.findings {
        line(out, finding)?;
    }
    let shown = report.findings.len() as u64;
    let all = report.wrong + report.unchecked + report.losses + report.notes;
    if shown < all {
        writeln!(out, "… and {} more", count(all - shown, "finding"))?;
    }

    let (logs, manifests, keys) = (report.log_files, report.manifests, report.keys);
    writeln!(
        out,
        "checked {}: {}, {}, {}, {} left alone",
        printable(bucket),
        count(logs, "log file"),
        count(manifests, "manifest"),
        count(keys, "published key"),
        count(report.other, "other object"),
    )?;
    match (from, to) {
        (Some(from), Some(to)) => writeln!(out, "range   delivered {from} to {to}")?,
        (Some(from), None) => writeln!(out, "range   delivered from {from} on")?,
        (None, Some(to)) => writeln!(out, "range   delivered up to {to}")?,
        (None, None) => {}
    }
    let totals = &report.totals;
    if report.digests > 0 {
        writeln!(
            out,
            "digests {} of {} valid, listing {}",
            totals.valid_digests,
            count(report.digests, "digest"),
            count(totals.digested_log_files, "log file"),
        )?;
    }
    writeln!(
        out,
        "valid   {} of {}: {}, {} stored, {} inflated",
        totals.valid_log_files,
        count(logs, "log file"),
        count(totals.records, "record"),
        bytes(totals.stored_bytes),
        bytes(totals.content_bytes),
    )?;
    writeln!(
        out,
        "events  {} recorded, {} not selected by the trail, {} given up by senders, {}",
        totals.records,
        totals.filtered,
        totals.dropped,
        count(totals.intents, "intent"),
    )?;

    if totals.remembered_log_files > 0 {
        writeln!(out, "cursor  {} not read again", count(totals.remembered_log_files, "log file"))?;
    }
    let trusted = count((report.trusted_keys.len() + report.trusted_digest_keys.len()) as u64, "key");
    match report.trust {
        Trust::Given => writeln!(out, "trust   {trusted}, given with --keys")?,
        Trust::Published => writeln!(
            out,
            "trust   {trusted}, published in the bucket itself: whoever can write there can forge; use --keys"
        )?,
    }
    for key in &report.trusted_keys {
        writeln!(out, "key     {key}")?;
    }
    for key in &report.trusted_digest_keys {
        writeln!(out, "key     {key} (digests)")?;
    }
    let sources = &report.sources;
    for coverage in sources.iter().take(MAX_SOURCES) {
        source(out, coverage)?;
    }
    if let Some(more @ 1..) = sources.len().checked_sub(MAX_SOURCES) {
        writeln!(out, "source  … and {more} more; --json has all")?;
    }
    write!(out, "found   {} wrong, {} that could not be checked", report.wrong, report.unchecked)?;
    if report.losses > 0 {
        write!(out, ", {} lost by the manifests' own account", report.losses)?;
    }
    if report.notes > 0 {
        write!(out, ", {} of note", report.notes)?;
    }
    writeln!(out)?;
    out.push_str(match report.outcome() {
        Outcome::Valid => "VALID\n",
        Outcome::Invalid => "INVALID\n",
        Outcome::CouldNotCheck => "COULD NOT CHECK\n",
        Outcome::ValidWithLosses => "VALID WITH LOSSES\n",
    });
    Ok(())
}

/// `KIND object what`: neither of the first two holds a blank.
fn line(out: &mut String, finding: &Finding) -> fmt::Result {
    let kind = finding.kind.name().replace(' ', "-").to_uppercase();
    let object = if finding.object.is_empty() { "-".into() } else { printable(&finding.object) };
    writeln!(out, "{kind} {object} {}", printable(&finding.detail))
}

fn source(out: &mut String, coverage: &Coverage) -> fmt::Result {
    let Coverage { trail, source, service, instance, first, last, recorded, filtered, dropped, .. } =
        coverage;
    write!(out, "source  {source} {} on {}, trail {trail}: ", printable(service), printable(instance))?;
    write!(
        out,
        "events {first} to {last}, {recorded} recorded, {filtered} not selected, {dropped} given up"
    )?;
    let mut separator = " (";
    for (reason, count) in &coverage.drops {
        write!(out, "{separator}{count} {}", printable(reason))?;
        separator = ", ";
    }
    let close = if coverage.drops.is_empty() { "" } else { ")" };
    write!(out, "{close}, {}", count(coverage.intents, "intent"))?;
    writeln!(out, "{}", if coverage.ended { ", ended" } else { "" })
}

/// Decimal units, as buckets are billed.
fn bytes(number: u64) -> String {
    const UNITS: [&str; 5] = ["kB", "MB", "GB", "TB", "PB"];
    if number < 1000 {
        return count(number, "byte");
    }
    let (mut tenths, mut unit) = (number / 100, 0);
    while tenths >= 10_000 && unit + 1 < UNITS.len() {
        tenths /= 1000;
        unit += 1;
    }
    format!("{}.{} {}", tenths / 10, tenths % 10, UNITS[unit])
}

#[cfg(test)]
mod tests {
    use sidetrail_archive::verify::Kind;

    use super::*;

    #[test]
    fn a_finding_is_one_line_of_words() {
        let render = |object: &str, kind, detail: &str| {
            let mut text = String::new();
            let finding = Finding { object: object.to_owned(), kind, detail: detail.to_owned() };
            line(&mut text, &finding).unwrap();
            text
        };
        assert_eq!(render("a/b", Kind::KeyUnknown, "not\nyours"), "KEY-UNKNOWN a/b not\\nyours\n");
        assert_eq!(render("", Kind::CouldNotCheck, "no"), "COULD-NOT-CHECK - no\n");
    }

    #[test]
    fn sizes_are_short() {
        for (number, text) in [
            (0, "0 bytes"),
            (1, "1 byte"),
            (999, "999 bytes"),
            (1_000, "1.0 kB"),
            (999_999, "999.9 kB"),
            (1_250_000, "1.2 MB"),
            (u64::MAX, "18446.7 PB"),
        ] {
            assert_eq!(bytes(number), text);
        }
    }
}
