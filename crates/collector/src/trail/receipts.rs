//! What a batch has to say beside its records, within bounds.

use std::collections::HashMap;

use sidetrail_archive::key::Id;
use sidetrail_archive::manifest::{Drop, Heard, Loss, Quarantined, Receipts};
use sidetrail_archive::receipt;
use sidetrail_spool::{Damage, Position, Reason};
use sidetrail_wire::spool::v1::FrameMeta;

use super::batch::MAX_RANGES;

/// Damaged parts and frames set aside that one manifest names, each.
const MAX_NAMED: usize = 256;
/// Reasons of drops in one manifest, over all sources.
const MAX_DROPS: usize = 2 * MAX_RANGES;
/// What a manifest may say in all, in bytes of JSON: as base64 it is an envelope that its readers take.
const MAX_STATED: usize = 5 << 20;
/// What a byte of a name takes at most: as an escape.
const ESCAPED: usize = 6;
/// A statement without its names, at most.
const STATEMENT: usize = 400;

/// The reason of events whose frame was set aside.
const QUARANTINED: &str = "quarantined";

/// The receipts of a batch in the making.
#[derive(Debug, Default)]
pub(super) struct Noted {
    receipts: Receipts,
    drops: HashMap<(Id, String), usize>,
    heard: HashMap<Id, usize>,
    /// Where the last loss ends.
    lost_to: Option<Position>,
    /// What the manifest says so far, in bytes of JSON, at most.
    stated: usize,
}

impl Noted {
    /// Notes what a frame says beside its range.
    pub(super) fn frame(&mut self, source: Id, meta: &FrameMeta) {
        for drop in &meta.drops {
            self.drop(source, receipt::reason(&drop.reason), drop.count);
        }
        if meta.assigned > 0 || meta.ended {
            self.state(&[&meta.service, &meta.instance]);
            self.hear(Heard {
                source,
                service: meta.service.clone(),
                instance: meta.instance.clone(),
                arrived: meta.last_sequence,
                assigned: meta.assigned.max(meta.last_sequence),
                ended: meta.ended,
            });
        }
    }

    /// Notes that the manifest says one thing more, with these names.
    pub(super) fn state(&mut self, names: &[&str]) {
        self.stated += STATEMENT + ESCAPED * names.iter().map(|name| name.len()).sum::<usize>();
    }

    /// Notes a part of the spool that cannot be read. Only one that may have held frames is a loss.
    pub(super) fn lost(&mut self, damage: &Damage) {
        if damage.reason == Reason::Snapshot {
            return;
        }
        let bytes = (damage.from.segment == damage.to.segment).then(|| damage.to.offset - damage.from.offset);
        match self.receipts.losses.last_mut() {
            Some(last) if self.lost_to == Some(damage.from) => {
                last.to = damage.to.to_string();
                last.bytes = last.bytes.zip(bytes).map(|(before, more)| before + more);
            }
            _ => self.receipts.losses.push(Loss {
                from: damage.from.to_string(),
                to: damage.to.to_string(),
                bytes,
                reason: damage.reason.to_string(),
            }),
        }
        self.lost_to = Some(damage.to);
    }

    /// Notes a frame that was set aside, and of whose `events` no record comes.
    pub(super) fn set_aside(&mut self, frame: Quarantined, events: Option<(Id, u64)>) {
        self.receipts.quarantined.push(frame);
        if let Some((source, count)) = events.filter(|(_, count)| *count > 0) {
            self.drop(source, QUARANTINED.to_owned(), count);
        }
    }

    pub(super) fn is_crowded(&self) -> bool {
        let Receipts { drops, heard, losses, quarantined } = &self.receipts;
        self.stated >= MAX_STATED
            || drops.len() >= MAX_DROPS
            || heard.len() >= MAX_RANGES
            || losses.len() >= MAX_NAMED
            || quarantined.len() >= MAX_NAMED
    }

    /// Whether something is missing, which the bucket should say soon.
    pub(super) fn is_alarming(&self) -> bool {
        !self.receipts.losses.is_empty() || !self.receipts.quarantined.is_empty()
    }

    pub(super) fn finish(self) -> Receipts {
        self.receipts
    }

    fn drop(&mut self, source: Id, reason: String, count: u64) {
        if !self.drops.contains_key(&(source, reason.clone())) {
            self.state(&[&reason]);
        }
        let drops = &mut self.receipts.drops;
        let at = *self.drops.entry((source, reason.clone())).or_insert(drops.len());
        match drops.get_mut(at) {
            Some(drop) => drop.count = drop.count.saturating_add(count),
            None => drops.push(Drop { source, reason, count }),
        }
    }

    /// The last word of a source counts; that it ended stays.
    fn hear(&mut self, heard: Heard) {
        let all = &mut self.receipts.heard;
        let at = *self.heard.entry(heard.source).or_insert(all.len());
        match all.get_mut(at) {
            Some(before) => {
                *before = Heard {
                    assigned: heard.assigned.max(before.assigned),
                    ended: heard.ended || before.ended,
                    ..heard
                }
            }
            None => all.push(heard),
        }
    }
}
