//! What the demo prints: for people, in colour on a terminal.

use std::cell::Cell;
use std::fs;
use std::io::IsTerminal;
use std::path::Path;

use anyhow::Result;
use serde_json::Value;

/// Prints.
#[derive(Debug)]
pub(super) struct Show {
    colour: bool,
    steps: Cell<u32>,
}

const BOLD: &str = "1";
const DIM: &str = "2";
const RED: &str = "31";
const GREEN: &str = "32";
const YELLOW: &str = "33";
const CYAN: &str = "36";

impl Show {
    pub(super) fn new() -> Self {
        let colour = std::io::stdout().is_terminal() && std::env::var_os("NO_COLOR").is_none();
        Self { colour, steps: Cell::new(0) }
    }

    pub(super) fn title(&self, text: &str) {
        println!("\n{}", self.paint(BOLD, text));
    }

    pub(super) fn step(&self, text: &str) {
        self.steps.set(self.steps.get() + 1);
        println!("\n{} {}", self.paint(CYAN, &format!("{}.", self.steps.get())), self.paint(BOLD, text));
    }

    pub(super) fn fact(&self, name: &str, value: &str) {
        println!("   {} {value}", self.paint(DIM, &format!("{name:<10}")));
    }

    pub(super) fn command(&self, text: &str) {
        println!("   {} {text}", self.paint(DIM, "$"));
    }

    pub(super) fn done(&self, text: &str) {
        println!("\n{} {text}", self.paint(GREEN, "✓"));
    }

    /// A request and how it went; no status where the caller hung up.
    pub(super) fn request(&self, method: &str, path: &str, caller: &str, status: Option<u16>) {
        let (text, colour) = match status {
            Some(status @ 500..) => (status.to_string(), RED),
            Some(status @ 400..) => (status.to_string(), YELLOW),
            Some(status) => (status.to_string(), GREEN),
            None => ("gone".to_owned(), YELLOW),
        };
        println!(
            "   {} {method:<6} {path:<46} {}",
            self.paint(colour, &format!("{text:<4}")),
            self.paint(DIM, caller)
        );
    }

    /// A record in one line.
    pub(super) fn record(&self, record: &Value) {
        let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
        let identity = &record["userIdentity"];
        let who = [&identity["userName"], &identity["principalId"]].into_iter().find_map(Value::as_str);
        let error = text(&record["errorCode"]);
        println!(
            "   {} {:<22} {:<14} {}",
            self.paint(DIM, &text(&record["eventTime"])),
            text(&record["eventName"]),
            who.unwrap_or("?"),
            self.paint(YELLOW, &error)
        );
    }

    pub(super) fn file(&self, bucket: &Path, file: &Path) -> Result<()> {
        let name = file.strip_prefix(bucket).unwrap_or(file).display().to_string();
        let kind = match name.split('/').nth(2) {
            Some("CloudTrail") => "log file",
            Some("Sidetrail-Manifest") => "manifest",
            Some("Sidetrail-Key") => "public key",
            _ => "file",
        };
        let size = fs::metadata(file)?.len();
        println!(
            "   {} {name} {}",
            self.paint(CYAN, &format!("{kind:<10}")),
            self.paint(DIM, &format!("{size} B"))
        );
        Ok(())
    }

    /// One record in full: the one that shows most.
    pub(super) fn example(&self, records: &[Value]) {
        let order = |record: &&Value| record["eventName"] == "CreateOrder" && record["errorCode"].is_null();
        if let Some(record) = records.iter().find(order) {
            println!("\n   {}", self.paint(DIM, "one of them in full:"));
            for line in format!("{record:#}").lines() {
                println!("   {line}");
            }
        }
    }

    fn paint(&self, code: &str, text: &str) -> String {
        if self.colour { format!("\x1b[{code}m{text}\x1b[0m") } else { text.to_owned() }
    }
}
