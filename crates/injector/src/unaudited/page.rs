//! The report as a page.

use std::fmt::Write;

use super::report::{Reason, Report};

const STYLE: &str = "body{font:16px/1.5 system-ui,sans-serif;margin:2rem auto;max-width:72rem;padding:0 1rem;color:#1b1f24;\
background:#fff}h1{font-size:1.5rem;margin:0 0 .25rem}h2{font-size:1.1rem;margin:2rem 0 .25rem}p{margin:.25rem 0 .75rem;\
max-width:60rem}.at{color:#57606a}.all{display:flex;gap:2rem;margin:1.25rem 0}.all div{min-width:6rem}.all b{display:block;\
font-size:1.75rem;line-height:1.2}.bad b{color:#b42318}table{border-collapse:collapse;width:100%;font-size:.95rem}\
th,td{text-align:left;padding:.4rem .75rem .4rem 0;border-bottom:1px solid #d8dee4;overflow-wrap:anywhere}\
th{color:#57606a;font-weight:600}td.n{white-space:nowrap}\
@media(prefers-color-scheme:dark){body{background:#0d1117;color:#e6edf3}.at,th{color:#9198a1}th,td{border-color:#30363d}\
.bad b{color:#ff7b72}}";

/// The report as a page, of one namespace or all.
#[must_use]
pub fn html(report: &Report, namespace: Option<&str>) -> String {
    let mut page = String::from("<!doctype html><html lang=en><meta charset=utf-8><meta name=viewport ");
    page.push_str("content=\"width=device-width\"><title>Unaudited pods</title><style>");
    page.push_str(STYLE);
    page.push_str("</style><h1>Unaudited pods</h1>");
    // Writing to a text does not fail.
    let _ = write(&mut page, report, namespace);
    page
}

fn write(page: &mut String, report: &Report, namespace: Option<&str>) -> std::fmt::Result {
    let Some(at) = report.at else {
        page.push_str(
            "<p>This replica does not look for them, or has not yet: ask the one that holds the Lease.",
        );
        return Ok(());
    };
    write!(page, "<p class=at>as of {}", at.strftime("%Y-%m-%d %H:%M:%S UTC"))?;
    if let Some(namespace) = namespace {
        write!(page, ", namespace {}", escaped(namespace))?;
    }
    let bad = if report.unaudited > 0 { " class=bad" } else { "" };
    write!(
        page,
        "<div class=all><div{bad}><b>{}</b>unaudited</div><div><b>{}</b>audited</div><div><b>{}</b>opted out</div></div>",
        report.unaudited, report.audited, report.opted_out
    )?;
    let part = report.of(namespace);
    if part.findings.is_empty() {
        page.push_str("<p>Every pod that is meant to be audited is.");
    }
    for reason in Reason::ALL {
        let mut findings = part.findings.iter().filter(|finding| finding.reason == reason).peekable();
        if findings.peek().is_none() {
            continue;
        }
        write!(page, "<h2>{}</h2><p>{}", reason.title(), escaped(reason.advice()))?;
        page.push_str("<table><tr><th>Namespace<th>Pod<th>Made by<th>Since");
        for finding in findings {
            let owner = finding.owner.as_deref().unwrap_or("\u{2013}");
            write!(
                page,
                "<tr><td>{}<td>{}<td>{}<td class=n>{}",
                escaped(&finding.namespace),
                escaped(&finding.pod),
                escaped(owner),
                finding.created.strftime("%Y-%m-%d %H:%M")
            )?;
        }
        page.push_str("</table>");
    }
    if report.findings.len() < report.unaudited {
        write!(page, "<p>and {} more", report.unaudited - report.findings.len())?;
    }
    Ok(())
}

fn escaped(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;")
}
