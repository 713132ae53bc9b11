//! What must be in each bucket when all is over.

use std::collections::BTreeMap;
use std::io::Read;

use flate2::bufread::GzDecoder;
use serde::Deserialize;
use serde_json::Value;
use sidetrail_archive::key::{Id, LogKey};
use sidetrail_archive::verify::{self, Options, Outcome};
use sidetrail_wire::ingest::v1::event::Payload;

use super::source::Source;
use super::store::{Objects, Store};
use super::world::{COLLECTOR, Running, World};

/// Counts that the runner adds up.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Checked {
    pub(super) acked: u64,
    pub(super) records: u64,
}

/// A log file's content.
#[derive(Deserialize)]
struct File {
    #[serde(rename = "Records")]
    records: Vec<Value>,
}

/// Records by source and number: whatever is there, as often as it is.
type Found = BTreeMap<(Id, u64), Vec<Value>>;

pub(super) fn check(world: &World, running: &Running) -> Checked {
    let totals = running.ledger.totals();
    let mut checked = Checked::default();
    for (store, shipper) in world.stores.iter().zip(&running.trails) {
        store.state().catch_up();
        let progress = shipper.progress();
        let counts = progress.counts();
        assert!(progress.adds_up(totals.accepted), "{counts:?} of {}", totals.accepted);
        assert_eq!(counts.dropped, totals.dropped);
        assert_eq!(counts.intents, totals.intents);

        let objects = Objects(store.state().objects.clone());
        let options = Options { threads: std::num::NonZeroUsize::MIN, ..Options::default() };
        let report = verify::run(&objects, &options, &());
        let nothing = totals.accepted == 0 && report.manifests == 0;
        assert!(nothing || report.outcome() == Outcome::Valid, "{report:?}");
        assert_eq!(report.other, 0);
        assert_eq!(report.totals.records, counts.shipped);
        assert_eq!(report.totals.dropped, counts.dropped);
        assert_eq!(report.totals.intents, counts.intents);

        let mut found = records(store);
        for source in &world.sources {
            let last = running.ledger.last_sequence(source.id);
            assert!(source.acked <= last, "acked {}, in the log {last}", source.acked);
            once(source, last, &mut found);
        }
        let own = running.ledger.last_sequence(COLLECTOR);
        for sequence in 1..=own {
            assert!(is_once(found.remove(&(COLLECTOR, sequence))), "record {sequence} of the collector");
        }
        assert_eq!(own, totals.incomplete);
        assert!(found.is_empty(), "nobody sent {:?}", found.keys().collect::<Vec<_>>());
        checked.records += counts.shipped;
    }
    checked.acked = world.sources.iter().map(|source| source.acked).sum();
    checked
}

fn is_once(found: Option<Vec<Value>>) -> bool {
    found.is_some_and(|records| records.len() == 1)
}

/// Every event of a source up to `last` made the one record that it should, or none if it should make none.
fn once(source: &Source, last: u64, found: &mut Found) {
    let id = source.id;
    let ended: Vec<u64> =
        found.iter().filter_map(|((by, _), records)| incomplete(*by, id, records)).collect();
    let mut completed = Vec::new();
    for event in source.events.iter().filter(|event| event.sequence <= last) {
        let sequence = event.sequence;
        match &event.payload {
            Some(Payload::Record(text)) if text.starts_with(b"{") => {
                assert!(is_once(found.remove(&(id, sequence))), "record {sequence} of {id}");
            }
            Some(Payload::Call(_)) => {
                let records = found.remove(&(id, sequence));
                let late = records.iter().flatten().any(|record| record.get("addendum").is_some());
                assert!(is_once(records), "call {sequence} of {id}");
                if event.completes > 0 {
                    completed.push(event.completes);
                    assert_eq!(late, ended.contains(&event.completes), "the addendum of {sequence} of {id}");
                }
            }
            _ => assert!(!found.contains_key(&(id, sequence)), "{sequence} of {id} makes no record"),
        }
    }
    let intents = source.events.iter().filter(|event| matches!(event.payload, Some(Payload::Intent(_))));
    for intent in intents.map(|event| event.sequence) {
        let count = ended.iter().filter(|ended| **ended == intent).count();
        assert!(count <= 1, "intent {intent} of {id} is recorded {count} times");
        let due = intent <= last && !completed.contains(&intent) && !source.refused.contains(&intent);
        assert!(!due || count == 1, "nothing came of intent {intent} of {id}");
    }
}

/// Which intent of `source` the collector says nothing came of, if that is what the records of `by` are.
fn incomplete(by: Id, source: Id, records: &[Value]) -> Option<u64> {
    let intent = &records.first()?["additionalEventData"]["sidetrail"]["intent"];
    (by == COLLECTOR && intent["source"] == source.to_string()).then(|| intent["sequence"].as_u64())?
}

fn records(store: &Store) -> Found {
    let mut found = Found::new();
    let state = store.state();
    for (_, bytes) in state.objects.iter().filter(|(key, _)| key.parse::<LogKey>().is_ok()) {
        let mut content = Vec::new();
        GzDecoder::new(&bytes[..]).read_to_end(&mut content).unwrap();
        let File { records } = serde_json::from_slice(&content).unwrap();
        for record in records {
            let mark = &record["additionalEventData"]["sidetrail"];
            let of = if mark.is_object() { mark } else { &record["of"] };
            let source = of["source"].as_str().unwrap().parse().unwrap();
            let sequence = of["sequence"].as_u64().unwrap();
            found.entry((source, sequence)).or_default().push(record);
        }
    }
    found
}
