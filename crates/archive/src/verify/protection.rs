//! Whether every object is kept from being deleted for as long as somebody asks.

use std::fmt::Display;
use std::sync::{Mutex, PoisonError};

use jiff::{SignedDuration, Timestamp};

use super::object::unreadable;
use super::report::{Findings, Kind};
use super::{Checker, LockWanted, each};
use crate::causes::chain;
use crate::source::Retention;

/// A key's lock is put off from time to time, by an hour when a collector does it: so much less is enough.
const KEYS_MAY_LAG: SignedDuration = SignedDuration::from_hours(2);

/// Asks for the retention of everything that was listed.
pub(super) fn check(checker: &Checker<'_>, findings: &mut Findings) {
    let Some(wanted) = checker.options.object_lock else { return };
    let inventory = checker.inventory;
    let mut objects: Vec<(String, Option<Timestamp>)> = Vec::new();
    let now = checker.options.now.and_then(|now| now.checked_sub(KEYS_MAY_LAG).ok());
    objects.extend(inventory.keys.iter().map(|key| (key.to_string(), now)));
    objects.extend(inventory.digest_keys.iter().map(|key| (key.to_string(), now)));
    objects.extend(inventory.digests.iter().map(|key| (key.to_string(), Some(key.end.start()))));
    let (fixed, items) = (objects.len(), inventory.items.len());
    let found = Mutex::new(Findings::default());
    let ask = |object: &dyn Display, at| {
        if let Err((kind, detail)) = look(checker, &object.to_string(), wanted, at) {
            found.lock().unwrap_or_else(PoisonError::into_inner).push(object, kind, detail);
        }
    };
    each(fixed + items, checker.options.reads.get(), &|index| match objects.get(index) {
        Some((key, at)) => ask(key, *at),
        None => {
            let item = &inventory.items[index - fixed];
            let (manifest, at) = (inventory.manifest_key(item), Some(item.minute.start()));
            if item.manifest {
                ask(&manifest, at);
            }
            if item.log {
                ask(&manifest.log(), at);
            }
        }
    });
    findings.append(found.into_inner().unwrap_or_else(PoisonError::into_inner));
}

fn look(
    checker: &Checker<'_>,
    key: &str,
    wanted: LockWanted,
    at: Option<Timestamp>,
) -> Result<(), (Kind, String)> {
    let retention = match checker.bucket.retention(key) {
        Ok(Some(retention)) => retention,
        Ok(None) => {
            let detail = "the store has no locks: anybody who may write there may delete it";
            return Err((Kind::Unprotected { until: None }, detail.to_owned()));
        }
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Err(unreadable(&error)),
        Err(error) => return Err((Kind::CouldNotCheck, chain(&error))),
    };
    let Retention { mode, until } = retention;
    let unprotected = |detail: String| {
        let until = until.map(|until| until.to_string());
        Err((Kind::Unprotected { until }, detail))
    };
    match mode.as_deref() {
        Some("COMPLIANCE") => {}
        Some("GOVERNANCE") if !wanted.compliance => {}
        Some(mode) => return unprotected(format!("its lock is of mode {mode}")),
        None => return unprotected("it has no lock".to_owned()),
    }
    let days = SignedDuration::from_hours(24 * i64::from(wanted.days));
    let Some(needed) = at.and_then(|at| at.checked_add(days).ok()) else { return Ok(()) };
    match until {
        // The stated time is that of the plan, in whole seconds of the same minute at least.
        Some(until) if until >= needed => Ok(()),
        Some(until) => {
            unprotected(format!("its lock ends at {until}, before the {} days are over", wanted.days))
        }
        None => unprotected("its lock has no end that can be read".to_owned()),
    }
}
