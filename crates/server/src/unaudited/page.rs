//! Unaudited pods as a page.

use std::fmt::Write;

use jiff::{SignedDuration, Timestamp};

use super::join::{OLD, Shown};

const STYLE: &str = "\
:root{color-scheme:light dark;--text:#1f2328;--soft:#59636e;--line:#d1d9e0;--bad:#b42318;--paper:#fff;--warn:#fff4e5}\
@media(prefers-color-scheme:dark){:root{--text:#e6edf3;--soft:#9198a1;--line:#30363d;--bad:#ff7b72;--paper:#0d1117;\
--warn:#3a2a12}}\
body{font:16px/1.5 system-ui,sans-serif;margin:2rem auto;max-width:72rem;padding:0 1rem;color:var(--text);\
background:var(--paper)}\
h1{font-size:1.5rem;margin:0}h2{font-size:1.1rem;margin:2rem 0 0}p{margin:.25rem 0 .75rem;max-width:60rem}\
.soft,th{color:var(--soft)}.old{background:var(--warn);border-left:4px solid var(--bad);padding:.5rem 1rem}\
dl{display:flex;flex-wrap:wrap;gap:.5rem 2.5rem;margin:1.25rem 0}dl div{display:flex;flex-direction:column-reverse}\
dt{color:var(--soft)}dd{margin:0;font-size:1.75rem;line-height:1.2;font-weight:600}.bad dd{color:var(--bad)}\
table{border-collapse:collapse;width:100%;font-size:.95rem;table-layout:fixed}\
th,td{text-align:left;padding:.4rem .75rem .4rem 0;border-bottom:1px solid var(--line);overflow-wrap:anywhere;\
vertical-align:top}th{font-weight:600}col.when{width:10rem}";

/// What is shown of one namespace, or all, as a page.
pub(super) fn html(shown: &Shown, namespace: &str, now: Timestamp) -> String {
    let mut page = String::from(
        "<!doctype html><html lang=en><meta charset=utf-8><meta name=viewport content=\"width=device-width\">\
         <title>Unaudited pods</title><style>",
    );
    page.push_str(STYLE);
    page.push_str("</style><h1>Unaudited pods</h1>");
    // Writing to a text does not fail.
    let _ = write(&mut page, shown, namespace, now);
    page
}

fn write(page: &mut String, shown: &Shown, namespace: &str, now: Timestamp) -> std::fmt::Result {
    let Some(((received, from), age)) = shown.report.as_ref().zip(shown.age(now)) else {
        page.push_str(
            "<p class=old>No injector has reported yet, so nothing is known of any pod. Its log says why it cannot \
             (kubectl logs deployment/sidetrail-injector).",
        );
        return Ok(());
    };
    let at = received.strftime("%Y-%m-%d %H:%M:%S UTC");
    let (age, from) = (ago(age), escaped(from));
    if shown.age(now) > Some(OLD) {
        write!(
            page,
            "<p class=old>The injector has not reported for {age}: what follows is as of {at}, and may not be true any \
             more."
        )?;
    } else {
        write!(page, "<p class=soft>Reported by {from} {age} ago, {at}")?;
    }
    if !namespace.is_empty() {
        write!(page, "<p>Namespace <b>{}</b>; the numbers are those of the cluster.", escaped(namespace))?;
    }
    page.push_str("<dl>");
    for (name, count, is_bad) in [
        ("unaudited", shown.unaudited, true),
        ("not in touch with a server", shown.untouched, true),
        ("audited", shown.audited, false),
        ("opted out", shown.opted_out, false),
    ] {
        let class = if is_bad && count > 0 { " class=bad" } else { "" };
        write!(page, "<div{class}><dt>{name}</dt><dd>{count}</dd></div>")?;
    }
    page.push_str("</dl>");
    if shown.of(namespace).next().is_none() {
        page.push_str("<p>Every pod that is meant to be audited is.");
    }
    let mut known: Vec<_> = shown.reasons.iter().map(|it| (&*it.reason, &*it.title, &*it.advice)).collect();
    // A reason that nobody explains has its name.
    for finding in shown.of(namespace) {
        if !known.iter().any(|(reason, ..)| *reason == finding.reason) {
            known.push((&finding.reason, &finding.reason, ""));
        }
    }
    for (reason, title, advice) in known {
        let mut findings = shown.of(namespace).filter(|finding| finding.reason == reason).peekable();
        if findings.peek().is_none() {
            continue;
        }
        write!(page, "<h2>{}</h2><p class=soft>{}", escaped(title), escaped(advice))?;
        page.push_str("<table><colgroup><col><col><col><col class=when></colgroup>");
        page.push_str("<tr><th>Namespace<th>Pod<th>Made by<th>Since (UTC)");
        for finding in findings {
            let pod = &finding.pod;
            write!(
                page,
                "<tr><td>{}<td>{}<td>{}<td>{}",
                escaped(&pod.namespace),
                escaped(&pod.pod),
                escaped(pod.owner.as_deref().unwrap_or("\u{2013}")),
                pod.created.strftime("%Y-%m-%d %H:%M")
            )?;
        }
        page.push_str("</table>");
    }
    for (count, what) in [
        (shown.omitted(), "more are not listed"),
        (shown.expected_omitted, "more were not looked at for whether their collectors are in touch"),
    ] {
        if count > 0 {
            write!(page, "<p>{count} {what}.")?;
        }
    }
    Ok(())
}

/// How long ago, in the largest unit that there is at least one of.
fn ago(age: SignedDuration) -> String {
    match (age.as_hours() / 24, age.as_hours(), age.as_mins()) {
        (days @ 2.., ..) => format!("{days} days"),
        (_, hours @ 2.., _) => format!("{hours} hours"),
        (_, _, minutes @ 2..) => format!("{minutes} minutes"),
        _ => format!("{} s", age.as_secs()),
    }
}

fn escaped(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;")
}
