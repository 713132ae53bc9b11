//! What is in the bucket when all is over, against what was acked.

use std::collections::HashMap;

use anyhow::Result;
use sidetrail_archive::verify::{Outcome, Report};
use sidetrail_tests::sender::{Sender, event_id};
use sidetrail_tests::{Collector, archive};

/// Examples that a complaint names.
const EXAMPLES: usize = 5;

/// Acked and stored, compared.
#[derive(Debug, Default)]
pub(super) struct Reckoning {
    pub(super) acked: u64,
    pub(super) records: u64,
    pub(super) sources: u64,
    pub(super) log_files: u64,
    /// Acked and not there.
    pub(super) lost: u64,
    /// There more than once, acked or not.
    pub(super) duplicated: u64,
    /// The verifier finds nothing wrong: no gap, no fork, nothing uncommitted.
    pub(super) verified: bool,
    /// What the trail did is what was accepted, and what it says it stored is what is there.
    pub(super) adds_up: bool,
    /// What is wrong, in words.
    pub(super) complaint: String,
}

impl Reckoning {
    /// Reads the bucket. `shipped` is what the collector says it stored, over all of its runs.
    pub(super) fn of<'a>(
        collector: &Collector,
        senders: impl Iterator<Item = &'a Sender>,
        shipped: Option<f64>,
    ) -> Result<Self> {
        let mut this = Self::default();
        let mut complaints = Vec::new();
        let ids = archive::event_ids(collector)?;
        this.records = ids.values().sum();
        let twice: Vec<_> = ids.iter().filter(|(_, count)| **count > 1).collect();
        this.duplicated = twice.iter().map(|(_, count)| *count - 1).sum();
        if let Some(first) = twice.first() {
            complaints
                .push(format!("{} records are there more than once, for example {first:?}", twice.len()));
        }
        for sender in senders {
            this.sources += 1;
            this.acked += sender.acked();
            let lost = lost(sender, &ids);
            this.lost += lost.len() as u64;
            if !lost.is_empty() {
                let examples = &lost[..lost.len().min(EXAMPLES)];
                let (source, acked) = (sender.source(), sender.acked());
                complaints
                    .push(format!("of {acked} acked {} are lost of {source:?}: {examples:?}", lost.len()));
            }
        }
        let report = archive::verify(collector)?;
        this.log_files = report.log_files;
        this.verified = report.outcome() == Outcome::Valid;
        if !this.verified {
            complaints.push(findings(&report));
        }
        let log = collector.log()?;
        let stored = shipped.is_none_or(|shipped| (shipped - this.records as f64).abs() < 0.5);
        this.adds_up = stored && !log.contains("does not add up") && log.contains("\"drained\":true");
        if !this.adds_up {
            complaints.push(format!("accounting: shipped {shipped:?}, {} records are there", this.records));
        }
        this.complaint = complaints.join("; ");
        Ok(this)
    }

    pub(super) fn is_good(&self) -> bool {
        self.lost == 0 && self.duplicated == 0 && self.verified && self.adds_up
    }
}

fn lost(sender: &Sender, ids: &HashMap<String, u64>) -> Vec<u64> {
    let is_lost = |sequence: &u64| !ids.contains_key(&event_id(sender.source(), *sequence));
    (1..=sender.acked()).filter(is_lost).collect()
}

fn findings(report: &Report) -> String {
    let examples: Vec<_> = report.findings.iter().take(EXAMPLES).map(ToString::to_string).collect();
    format!("{} findings and {} unchecked: {}", report.wrong, report.unchecked, examples.join(", "))
}
