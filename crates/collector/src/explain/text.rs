//! An explanation for people.

use std::io::{self, Write};

use super::OfEvent;

pub(super) fn write(event: &OfEvent<'_>, out: &mut dyn Write) -> io::Result<()> {
    let OfEvent { event: index, event_id, event_source, event_name, event_category, taken, trails } = event;
    let of = |text: &Option<&str>| text.map_or_else(|| "(none)".to_owned(), plain);
    writeln!(
        out,
        "event {index}: {} of {}, {}, eventID {}",
        of(event_name),
        of(event_source),
        plain(event_category),
        of(event_id)
    )?;
    if !taken {
        writeln!(out, "  no trail takes it")?;
    }
    for trail in trails {
        let verb = if trail.taken { "takes it" } else { "does not take it" };
        let Some(selectors) = &trail.selectors else {
            writeln!(out, "  trail {} {verb}: it has no selectors and takes everything", trail.trail)?;
            continue;
        };
        writeln!(out, "  trail {} {verb}", trail.trail)?;
        for (index, selector) in selectors.iter().enumerate() {
            let name = selector.name.as_deref().map(|name| format!(" {}", plain(name))).unwrap_or_default();
            let verb = if selector.matched { "matches" } else { "does not match" };
            writeln!(out, "    selector {}{name} {verb}", index + 1)?;
            for condition in &selector.conditions {
                let mark = if condition.matched { '+' } else { '-' };
                let found = match &condition.found[..] {
                    [] => "(none)".to_owned(),
                    found => plain(&found.join(", ")),
                };
                writeln!(out, "      {mark} {} {found}: {}", condition.field, plain(&condition.reason))?;
            }
        }
    }
    Ok(())
}

/// What is in an event must not do anything to a terminal.
fn plain(text: &str) -> String {
    text.chars()
        .flat_map(|char| if char.is_control() { char.escape_default().collect() } else { vec![char] })
        .collect()
}
