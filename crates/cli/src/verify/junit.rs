//! The report as JUnit's XML, which everything that collects test results reads.
//!
//! What was found valid is one passing test for each kind of object, and each finding is a test by itself: one that failed
//! where something is wrong, an error where it could not be checked, skipped where the evidence itself says that something is
//! lost, and passed, with a text, where it is of note.

use std::fmt::{self, Write as _};
use std::fs;
use std::io;
use std::path::Path;

use sidetrail_archive::verify::{Finding, Report, Severity};

pub(super) fn write(path: &Path, bucket: &str, report: &Report) -> io::Result<()> {
    let mut text = String::new();
    render(&mut text, bucket, report).map_err(io::Error::other)?;
    fs::write(path, text)
}

fn render(out: &mut String, bucket: &str, report: &Report) -> fmt::Result {
    let totals = &report.totals;
    let groups = [
        ("published keys", report.keys),
        ("digests", totals.valid_digests),
        ("manifests", report.manifests),
        ("log files", totals.valid_log_files),
        ("sources", report.sources.len() as u64),
    ];
    let (mut failures, mut errors, mut skipped) = (0, 0, 0);
    for finding in &report.findings {
        match finding.kind.severity() {
            Severity::Wrong => failures += 1,
            Severity::Unchecked => errors += 1,
            Severity::Loss => skipped += 1,
            Severity::Note => {}
        }
    }
    let counts = format!(
        "tests=\"{}\" failures=\"{failures}\" errors=\"{errors}\" skipped=\"{skipped}\"",
        report.findings.len() + groups.len()
    );
    writeln!(out, "<?xml version=\"1.0\" encoding=\"UTF-8\"?>")?;
    writeln!(out, "<testsuites name=\"sidetrail verify\" {counts}>")?;
    writeln!(out, "  <testsuite name=\"{}\" {counts}>", escaped(bucket))?;
    for (what, checked) in groups {
        writeln!(out, "    <testcase classname=\"sidetrail.verify\" name=\"{what}\">")?;
        writeln!(out, "      <system-out>{checked} checked</system-out>\n    </testcase>")?;
    }
    report.findings.iter().try_for_each(|finding| case(out, finding))?;
    writeln!(out, "  </testsuite>\n</testsuites>")
}

fn case(out: &mut String, finding: &Finding) -> fmt::Result {
    let Finding { object, kind, detail } = finding;
    let (name, detail) = (kind.name(), escaped(detail));
    let object = if object.is_empty() { "the bucket".to_owned() } else { escaped(object) };
    writeln!(
        out,
        "    <testcase classname=\"sidetrail.verify.{}\" name=\"{object}\">",
        name.replace(' ', "-")
    )?;
    match kind.severity() {
        Severity::Wrong => writeln!(out, "      <failure type=\"{name}\" message=\"{detail}\"/>")?,
        Severity::Unchecked => writeln!(out, "      <error type=\"{name}\" message=\"{detail}\"/>")?,
        Severity::Loss => writeln!(out, "      <skipped message=\"{name}: {detail}\"/>")?,
        Severity::Note => writeln!(out, "      <system-out>{name}: {detail}</system-out>")?,
    }
    writeln!(out, "    </testcase>")
}

/// Text as XML takes it: what XML cannot hold at all becomes U+FFFD.
fn escaped(text: &str) -> String {
    let mut safe = String::with_capacity(text.len());
    for char in text.chars() {
        match char {
            '&' => safe.push_str("&amp;"),
            '<' => safe.push_str("&lt;"),
            '>' => safe.push_str("&gt;"),
            '"' => safe.push_str("&quot;"),
            '\t' | '\n' | '\r' => safe.push(' '),
            '\0'..='\x1f' | '\u{fffe}' | '\u{ffff}' => safe.push('\u{fffd}'),
            _ => safe.push(char),
        }
    }
    safe
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_xml_cannot_hold_is_escaped() {
        assert_eq!(escaped("a<b>&\"c\"\u{1}\n"), "a&lt;b&gt;&amp;&quot;c&quot;\u{fffd} ");
    }
}
