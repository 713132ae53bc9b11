//! The report of a pack, as one page that needs nothing else: no scripts, no images, no fonts. It is made to be printed, too.

use std::fmt::{self, Write};

use jiff::Timestamp;

use super::filter::Event;
use super::pack::{self, Indexed, Statement};
use crate::find::Found;
use crate::print::count;

/// Events that are shown as a line.
const MAX_ROWS: usize = 5_000;
/// Events that are shown whole.
const MAX_WHOLE: usize = 300;
/// The most characters of a record that are shown.
const MAX_RECORD: usize = 16_000;

const STYLE: &str = include_str!("report.css");

/// Text with what means something in HTML written so that it does not.
struct Escaped<'a>(&'a str);

impl fmt::Display for Escaped<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for char in self.0.chars() {
            match char {
                '&' => f.write_str("&amp;")?,
                '<' => f.write_str("&lt;")?,
                '>' => f.write_str("&gt;")?,
                '"' => f.write_str("&quot;")?,
                '\'' => f.write_str("&#39;")?,
                '\n' => f.write_char('\n')?,
                // What turns text around or hides would show something else than is there.
                char if char.is_control() || is_format(char) => write!(f, "\u{fffd}")?,
                char => f.write_char(char)?,
            }
        }
        Ok(())
    }
}

/// Characters that change the direction of others, or are not seen.
fn is_format(char: char) -> bool {
    matches!(char, '\u{200b}'..='\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2060}'..='\u{206f}' | '\u{feff}')
}

/// The page.
pub(super) fn render(statement: &Statement, index: &[Indexed], found: &[Found]) -> String {
    let mut page = String::new();
    // Writing to a string does not fail.
    let _ = write(&mut page, statement, index, found);
    page
}

fn write(out: &mut String, statement: &Statement, index: &[Indexed], found: &[Found]) -> fmt::Result {
    let title = if statement.title.is_empty() { "Evidence report" } else { &statement.title };
    let title = Escaped(title);
    write!(
        out,
        "<!doctype html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n\
         <meta http-equiv=\"Content-Security-Policy\" content=\"default-src 'none'; style-src 'unsafe-inline'\">\n\
         <meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n<title>{title}</title>\n\
         <style>\n{STYLE}</style>\n</head>\n<body>\n<header>\n<h1>{title}</h1>\n<p class=\"made\">Made {} by {}</p>\n</header>\n<main>\n",
        time(statement.made_at),
        Escaped(&statement.tool),
    )?;
    verdict(out, statement)?;
    question(out, statement)?;
    proofs(out, statement)?;
    limits(out, statement)?;
    rows(out, found)?;
    whole(out, index, found)?;
    out.push_str("</main>\n</body>\n</html>\n");
    Ok(())
}

/// What the reader wants to know first.
fn verdict(out: &mut String, statement: &Statement) -> fmt::Result {
    let given = statement.verification.trust == "given";
    let (class, words) = match statement.verification.outcome.as_str() {
        "valid" if given => ("good", "The archive is genuine and complete for this range"),
        "valid" => ("fair", "The archive is complete for this range, by the keys that are published in it"),
        "validWithLosses" => ("fair", "The archive is genuine, and says itself what it lost"),
        "invalid" => ("bad", "Something in the archive was changed or is missing"),
        _ => ("fair", "Not everything could be checked"),
    };
    let events = count(statement.answer.events, "event");
    let files = count(statement.answer.log_files, "log file");
    writeln!(
        out,
        "<section class=\"verdict {class}\">\n<p class=\"word\">{words}</p>\n<p>{events} in {files} match what was asked for; \
         {} of them have a proof of their own.</p>\n</section>",
        statement.answer.proofs,
    )
}

fn question(out: &mut String, statement: &Statement) -> fmt::Result {
    let Statement { question, answer, .. } = statement;
    out.push_str("<section>\n<h2>What was asked</h2>\n<dl>\n");
    let mut pair = |name: &str, value: &dyn fmt::Display| writeln!(out, "<dt>{name}</dt><dd>{value}</dd>");
    pair("Archive", &Escaped(&question.bucket))?;
    pair("Events from", &time(question.from))?;
    pair("Events to", &time(question.to))?;
    for filter in &question.filters {
        let name = format!("With {}", filter.name);
        pair(&name, &format!("<code>{}</code>", Escaped(&filter.pattern)))?;
    }
    if question.filters.is_empty() {
        pair("With", &"no filter: every event of the range")?;
    }
    let searched = format!(
        "{} in {}",
        count(answer.searched_records, "record"),
        count(answer.searched_log_files, "log file")
    );
    pair("Looked through", &searched)?;
    out.push_str("</dl>\n</section>\n");
    Ok(())
}

fn proofs(out: &mut String, statement: &Statement) -> fmt::Result {
    let Statement { verification, answer, .. } = statement;
    out.push_str("<section>\n<h2>What was checked</h2>\n<table class=\"facts\">\n<tbody>\n");
    let mut row =
        |what: &str, how: &str| writeln!(out, "<tr><th scope=\"row\">{what}</th><td>{how}</td></tr>");
    let trust = match verification.trust.as_str() {
        "given" => "with keys that whoever made this report had from elsewhere",
        _ => "with the keys that are published in the archive itself, which who can write there can change",
    };
    row(
        "The archive, before",
        &format!(
            "{}, {} and {} of the range were verified {trust}: {} wrong, {} that could not be checked, {} lost by the \
             archive's own account.",
            count(verification.log_files, "log file"),
            count(verification.manifests, "manifest"),
            count(verification.records, "record"),
            verification.wrong,
            verification.unchecked,
            verification.losses,
        ),
    )?;
    row(
        "Log files here",
        &format!(
            "{} that hold the events, each signed by the manifest beside it (Ed25519).",
            count(answer.log_files, "log file")
        ),
    )?;
    row(
        "Digests here",
        &format!(
            "{} that list these log files by hash, each signed with SHA256withRSA in the form of AWS CloudTrail.",
            count(answer.digests, "digest")
        ),
    )?;
    for pack::Log { origin, size, key } in &answer.logs {
        let how = format!(
            "A Merkle tree (RFC 6962) over {}, whose checkpoint is signed by <code class=\"key\">{}</code>. Each proof leads from \
             the exact bytes of an event to that checkpoint.",
            count(*size, "record"),
            Escaped(&key.to_string())
        );
        row(&format!("Log <code>{}</code>", Escaped(origin)), &how)?;
    }
    out.push_str("</tbody>\n</table>\n");
    if !verification.findings.is_empty() {
        out.push_str("<h3>Findings in the archive</h3>\n<ul class=\"findings\">\n");
        for finding in &verification.findings {
            writeln!(out, "<li>{}</li>", Escaped(finding))?;
        }
        let all = verification.wrong + verification.unchecked + verification.losses;
        if let Some(more @ 1..) = all.checked_sub(verification.findings.len() as u64) {
            writeln!(out, "<li>… and {} more</li>", count(more, "finding"))?;
        }
        out.push_str("</ul>\n");
    }
    out.push_str("</section>\n");
    Ok(())
}

/// What a careful reader should not conclude, and how to check all of it.
fn limits(out: &mut String, statement: &Statement) -> fmt::Result {
    out.push_str(
        "<section>\n<h2>How to check this</h2>\n<p>This page is a description. The folder that it lies in is the evidence; it \
         is checked without the archive and without a network by</p>\n<pre>sidetrail verify FOLDER --keys keys.pem</pre>\n<p>\
         with the archive's public keys from a place that whoever handed over this folder cannot change, or without \
         <code>--keys</code> to see that it agrees with itself. A single event is checked by <code>sidetrail verify-proof</code> \
         or any reader of c2sp.org/tlog-proof. README.txt says how it is done with other tools.</p>\n\
         <p>The folder proves that these events were recorded as they are shown, and nothing about others: that no other event \
         matches was found by looking through the archive, and can be repeated there.</p>\n",
    );
    let missing: Vec<&String> =
        statement.answer.not_searched.iter().chain(&statement.answer.missing).take(100).collect();
    if !missing.is_empty() {
        out.push_str("<h3>What is not here</h3>\n<ul class=\"findings\">\n");
        for missing in missing {
            writeln!(out, "<li>{}</li>", Escaped(missing))?;
        }
        out.push_str("</ul>\n");
    }
    out.push_str("</section>\n");
    Ok(())
}

fn rows(out: &mut String, found: &[Found]) -> fmt::Result {
    if found.is_empty() {
        out.push_str("<section>\n<h2>Events</h2>\n<p>No event matches.</p>\n</section>\n");
        return Ok(());
    }
    out.push_str(
        "<section class=\"events\">\n<h2>Events</h2>\n<table>\n<thead><tr><th scope=\"col\">#</th><th scope=\"col\">Time (UTC)</th>\
         <th scope=\"col\">Event</th><th scope=\"col\">Who</th><th scope=\"col\">From</th><th scope=\"col\">On</th>\
         <th scope=\"col\">Outcome</th></tr></thead>\n<tbody>\n",
    );
    let order = by_time(found);
    for (number, place) in order.iter().enumerate().take(MAX_ROWS) {
        let event = Event::of(&found[*place].record);
        let text = |value: &Option<std::borrow::Cow<'_, str>>| value.as_deref().unwrap_or("-").to_owned();
        let resources: Vec<&str> = event.resources().take(4).collect();
        let resources = if resources.is_empty() { "-".to_owned() } else { resources.join("\n") };
        let outcome = match event.error_code.as_deref() {
            None => "<span class=\"ok\">ok</span>".to_owned(),
            Some(code) => format!("<span class=\"err\">{}</span>", Escaped(code)),
        };
        let anchor = if number < MAX_WHOLE {
            format!("<a href=\"#e{0}\">{0}</a>", number + 1)
        } else {
            (number + 1).to_string()
        };
        writeln!(
            out,
            "<tr><td class=\"n\">{anchor}</td><td class=\"t\">{}</td><td class=\"t\">{}<small>{}</small></td><td class=\"w\">{}</td>\
             <td class=\"t\">{}</td><td class=\"w\">{}</td><td>{outcome}</td></tr>",
            Escaped(&clock(&event)),
            Escaped(&text(&event.event_name)),
            Escaped(&text(&event.event_source)),
            Escaped(event.principal()),
            Escaped(&text(&event.source_ip)),
            Escaped(&resources),
        )?;
    }
    out.push_str("</tbody>\n</table>\n");
    if let Some(more @ 1..) = found.len().checked_sub(MAX_ROWS) {
        writeln!(out, "<p>{} more are in <code>{}</code>.</p>", count(more as u64, "event"), pack::EVENTS)?;
    }
    out.push_str("</section>\n");
    Ok(())
}

/// Each event as it was recorded.
fn whole(out: &mut String, index: &[Indexed], found: &[Found]) -> fmt::Result {
    if found.is_empty() {
        return Ok(());
    }
    out.push_str("<section class=\"records\">\n<h2>Records</h2>\n");
    for (number, place) in by_time(found).into_iter().enumerate().take(MAX_WHOLE) {
        let Found { file, position, record } = &found[place];
        let number = number + 1;
        let event = Event::of(record);
        let name = event.event_name.as_deref().unwrap_or("event");
        writeln!(
            out,
            "<article id=\"e{number}\">\n<h3>{number}. {} <span>{}</span></h3>\n<p class=\"where\">Record {position} of \
             <code>{}</code>{}</p>\n<pre>{}</pre>\n</article>",
            Escaped(name),
            Escaped(&clock(&event)),
            Escaped(&file.to_string()),
            proof(index.get(place)),
            Escaped(&pretty(record)),
        )?;
    }
    if let Some(more @ 1..) = found.len().checked_sub(MAX_WHOLE) {
        writeln!(out, "<p>{} more are in <code>{}</code>.</p>", count(more as u64, "record"), pack::EVENTS)?;
    }
    out.push_str("</section>\n");
    Ok(())
}

fn proof(indexed: Option<&Indexed>) -> String {
    match indexed.and_then(|indexed| indexed.proof.as_deref()) {
        Some(path) => format!("<br>Proof <code>{}</code>", Escaped(path)),
        None => "<br>Without a proof of its own".to_owned(),
    }
}

/// The places of events in the order in which they happened.
fn by_time(found: &[Found]) -> Vec<usize> {
    let mut order: Vec<(Option<Timestamp>, usize)> =
        found.iter().enumerate().map(|(index, found)| (Event::of(&found.record).at(), index)).collect();
    order.sort();
    order.into_iter().map(|(_, index)| index).collect()
}

/// The record with one member a line. What the page shows of it need not have its exact bytes: numbers may lose digits.
fn pretty(record: &str) -> String {
    let value: Option<serde_json::Value> = serde_json::from_str(record).ok();
    let text = value.and_then(|value| serde_json::to_string_pretty(&value).ok());
    let text = text.unwrap_or_else(|| record.to_owned());
    match text.char_indices().nth(MAX_RECORD) {
        Some((cut, _)) => format!("{}\n… (the rest is in {})", &text[..cut], pack::EVENTS),
        None => text,
    }
}

fn clock(event: &Event<'_>) -> String {
    event.at().map_or_else(|| "-".to_owned(), |at| time(at).replace(" UTC", ""))
}

fn time(at: Timestamp) -> String {
    at.strftime("%Y-%m-%d %H:%M:%S UTC").to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_means_something_in_html_is_written_out() {
        let text = Escaped("<b a=\"'\">&amp;\u{202e}\u{7}\n").to_string();
        assert_eq!(text, "&lt;b a=&quot;&#39;&quot;&gt;&amp;amp;\u{fffd}\u{fffd}\n");
    }
}
