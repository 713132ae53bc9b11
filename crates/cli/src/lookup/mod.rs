//! `sidetrail lookup` and `sidetrail tail`: event history, as the server has it.

mod arguments;
mod show;

use std::collections::{HashSet, VecDeque};
use std::io::{self, IsTerminal};

use anyhow::{Context, Result};
use jiff::{SignedDuration, Timestamp};
use sidetrail_api::shape::{QUERY_EVENTS_PATH, QueriedEvent, QueryEventsInput, QueryEventsOutput};
use tokio::runtime::{Builder, Runtime};

use self::arguments::MAX_PAGE;
pub(crate) use self::arguments::{Lookup, Tail};
use crate::client::Client;
use crate::exit::Exit;
use crate::print::{complain, out};

/// How late an event may arrive for `tail` to show it.
const LATE: SignedDuration = SignedDuration::from_mins(10);
/// Events that `tail` remembers to have shown.
const REMEMBERED: usize = 65_536;
/// Pages that one look of `tail` reads.
const MAX_PAGES: usize = 50;

pub(crate) fn lookup(arguments: &Lookup) -> Result<Exit> {
    let client = arguments.endpoint.client(&|name| std::env::var(name).ok())?;
    let json = arguments.json || !io::stdout().is_terminal();
    let mut left = if arguments.limit == 0 { u64::MAX } else { arguments.limit };
    let mut input = QueryEventsInput { from: arguments.from, to: arguments.to, ..arguments.filter.input() };
    runtime()?.block_on(async {
        let mut exit = Exit::Done;
        loop {
            // Not above MAX_PAGE.
            input.limit = Some(u32::try_from(left).unwrap_or(u32::MAX).min(MAX_PAGE));
            let page = ask(&client, &input).await?;
            for event in &page.events {
                out(format_args!("{}\n", show::line(event, json)?))?;
            }
            if let Some(before) = page.missing_before {
                complain(format_args!(
                    "the server is still reading: of what happened before {before} some may be missing"
                ));
                exit = Exit::CouldNot;
            }
            left = left.saturating_sub(page.events.len() as u64);
            match page.next {
                Some(next) if left > 0 => input.next = Some(next),
                _ => return Ok(exit),
            }
        }
    })
}

pub(crate) fn tail(arguments: &Tail) -> Result<Exit> {
    let client = arguments.endpoint.client(&|name| std::env::var(name).ok())?;
    let json = arguments.json || !io::stdout().is_terminal();
    let filter = arguments.filter.input();
    runtime()?.block_on(async {
        let mut shown = Shown::default();
        let began = Timestamp::now();
        if arguments.lines > 0 {
            let input = QueryEventsInput { limit: Some(arguments.lines), ..filter.clone() };
            let page = ask(&client, &input).await?;
            print(page.events.iter().rev(), json)?;
            page.events.iter().for_each(|event| {
                shown.is_new(&event.key);
            });
        }
        if !arguments.follow {
            return Ok(Exit::Done);
        }
        // What was there before is not new, however old what is asked for may be.
        for event in since(&client, &filter, began.saturating_sub(LATE).unwrap_or(began)).await? {
            shown.is_new(&event.key);
        }
        loop {
            let interrupted = tokio::time::timeout(arguments.interval, tokio::signal::ctrl_c()).await;
            if interrupted.is_ok() {
                return Ok(Exit::Done);
            }
            let from = Timestamp::now().saturating_sub(LATE).unwrap_or(began);
            match since(&client, &filter, from).await {
                Ok(events) => {
                    let new: Vec<_> = events.iter().filter(|event| shown.is_new(&event.key)).collect();
                    print(new.into_iter().rev(), json)?;
                }
                // A server that is away for a while comes back.
                Err(error) => complain(format_args!("{}", crate::print::chain(&*error))),
            }
        }
    })
}

/// Everything from a time on, newest first, as far as a bounded number of pages goes.
async fn since(client: &Client, filter: &QueryEventsInput, from: Timestamp) -> Result<Vec<QueriedEvent>> {
    let mut input = QueryEventsInput { from: Some(from), limit: Some(MAX_PAGE), ..filter.clone() };
    let mut events = Vec::new();
    for _ in 0..MAX_PAGES {
        let page = ask(client, &input).await?;
        events.extend(page.events);
        match page.next {
            Some(next) => input.next = Some(next),
            None => break,
        }
    }
    Ok(events)
}

async fn ask(client: &Client, input: &QueryEventsInput) -> Result<QueryEventsOutput> {
    client.post(QUERY_EVENTS_PATH, input).await
}

fn print<'a>(events: impl Iterator<Item = &'a QueriedEvent>, json: bool) -> Result<()> {
    for event in events {
        out(format_args!("{}\n", show::line(event, json)?))?;
    }
    Ok(())
}

fn runtime() -> Result<Runtime> {
    Builder::new_current_thread().enable_all().build().context("could not start")
}

/// The events that were shown last.
#[derive(Debug, Default)]
struct Shown {
    keys: HashSet<String>,
    order: VecDeque<String>,
}

impl Shown {
    /// Whether an event was not shown yet; it is from now on.
    fn is_new(&mut self, key: &str) -> bool {
        if !self.keys.insert(key.to_owned()) {
            return false;
        }
        self.order.push_back(key.to_owned());
        if self.order.len() > REMEMBERED
            && let Some(oldest) = self.order.pop_front()
        {
            self.keys.remove(&oldest);
        }
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_event_is_shown_once_and_memory_is_bounded() {
        let mut shown = Shown::default();
        assert!(shown.is_new("a") && !shown.is_new("a"));
        for at in 0..REMEMBERED {
            assert!(shown.is_new(&at.to_string()));
        }
        assert_eq!((shown.keys.len(), shown.order.len()), (REMEMBERED, REMEMBERED));
        assert!(shown.is_new("a"));
    }
}
