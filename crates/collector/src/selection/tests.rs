//! What is decided at intake is what a trail reads back, and nothing is stored where there is nothing to say.

use std::sync::Arc;

use proptest::prelude::*;
use prost::Message;
use serde_json::json;
use sidetrail_wire::spool::v1::FrameMeta;

use super::*;

fn trail(name: &str) -> Trail {
    name.parse().unwrap()
}

/// Trails that take reads, writes and everything.
fn choosers() -> Arc<Choosers> {
    let only =
        |kind: &str| serde_json::from_value(json!({"EventSelectors": [{"ReadWriteType": kind}]})).unwrap();
    Arc::new(Choosers::new([
        (trail("reads"), Some(only("ReadOnly"))),
        (trail("writes"), Some(only("WriteOnly"))),
        (trail("all"), None),
    ]))
}

/// A frame's meta for records that are taken so.
fn meta(choosers: &Arc<Choosers>, records: &[(Taken, usize)]) -> FrameMeta {
    let mut tally = Tally::new(choosers);
    let (mut count, mut size) = (0, 0);
    for (index, (taken, length)) in records.iter().enumerate() {
        if taken.by_none() {
            tally.filtered(1);
            continue;
        }
        tally.record(*taken, *length, i64::try_from(index).unwrap());
        size += length + usize::from(count > 0);
        count += 1;
    }
    FrameMeta {
        records: count,
        body_size: u32::try_from(size).unwrap(),
        newest_event_time: 99,
        selection: tally.finish(),
        ..FrameMeta::default()
    }
}

#[test]
fn nothing_is_stored_where_every_trail_takes_everything() {
    let everything = Arc::new(Choosers::new([(trail("one"), None), (trail("two"), None)]));
    assert!(everything.take_everything());
    assert_eq!(everything.choose_text("{}"), Taken::BY_ALL);
    assert_eq!(meta(&everything, &[(Taken::BY_ALL, 2)]).selection, None);
    // With selectors too, as long as they take all of a frame.
    assert_eq!(meta(&choosers(), &[(Taken(0b111), 2), (Taken(0b111), 5)]).selection, None);
    let some = meta(&choosers(), &[(Taken(0b101), 2), (Taken(0b101), 5)]).selection.unwrap();
    assert_eq!(some.trails.len(), 1);
    assert!(some.lengths.is_empty() && some.trails[0].taken.is_empty(), "all or nothing needs no lengths");
}

#[test]
fn a_record_and_its_text_are_chosen_alike() {
    let choosers = choosers();
    for (text, taken) in [
        (r#"{"readOnly":true}"#, 0b101),
        (r#"{"readOnly":false}"#, 0b110),
        (r#"{"eventCategory":"Data"}"#, 0b100),
    ] {
        let record: sidetrail_record::Record = serde_json::from_str(text).unwrap();
        assert_eq!(choosers.choose(&record), Taken(taken), "{text}");
        assert_eq!(choosers.choose_text(text), Taken(taken), "{text}");
    }
    assert_eq!(choosers.choose_text("[]"), Taken::BY_ALL, "what is no record is lost in no trail");
}

#[test]
fn a_trail_that_is_not_named_takes_all_there_is() {
    let meta = meta(&choosers(), &[(Taken(0b001), 10), (Taken(0), 7), (Taken(0b010), 20)]);
    let cut = Cut::of(&meta, "added-later").unwrap();
    assert_eq!((cut.recorded, cut.filtered, cut.times), (2, 1, Some((0, 99))));
    assert_eq!(cut.runs, [(0..31, 2)]);
    let cut = Cut::of(&meta, "writes").unwrap();
    assert_eq!((cut.recorded, cut.filtered, cut.times), (1, 2, Some((2, 2))));
    assert_eq!(cut.runs, [(11..31, 1)]);
    let cut = Cut::of(&meta, "all").unwrap();
    assert_eq!((cut.recorded, cut.filtered, cut.times, cut.runs), (0, 3, None, vec![]));
}

#[test]
fn a_meta_that_contradicts_itself_is_refused() {
    let good = meta(&choosers(), &[(Taken(0b001), 10), (Taken(0b010), 20)]);
    Cut::of(&good, "reads").unwrap();
    let broken = |change: fn(&mut FrameMeta)| {
        let mut meta = good.clone();
        change(&mut meta);
        Cut::of(&meta, "reads").unwrap_err()
    };
    assert!(broken(|meta| meta.body_size += 1).contains("31 bytes"));
    assert!(broken(|meta| meta.selection.as_mut().unwrap().lengths.truncate(1)).contains("1 lengths"));
    assert!(
        broken(|meta| meta.selection.as_mut().unwrap().trails[0].taken = vec![5].into())
            .contains("more than")
    );
}

/// The most that there can be: every length and every bit, trails with names of full length.
#[test]
fn the_largest_selection_keeps_its_bound() {
    let none: Selectors = serde_json::from_value(json!({"EventSelectors": [{}]})).unwrap();
    let names =
        (0..MAX_TRAILS).map(|index| (trail(&format!("{index}{}", "x".repeat(127))), Some(none.clone())));
    let choosers = Arc::new(Choosers::new(names));
    let mut tally = Tally::new(&choosers);
    for index in 0..MAX_RECORDS {
        assert!(!tally.is_full());
        // The first is not taken by anybody, the others by all: so every trail is named, and takes a part.
        tally.record(Taken(if index == 0 { 0 } else { u8::MAX }), 256 << 10, i64::MAX);
    }
    assert!(tally.is_full());
    let size = tally.finish().unwrap().encoded_len();
    assert!((MAX_ENCODED / 2..=MAX_ENCODED).contains(&size), "{size} of {MAX_ENCODED}");
}

proptest! {
    #[test]
    fn what_was_decided_is_read_back(records in prop::collection::vec((0_u8..8, 1_usize..300), 0..200)) {
        let records: Vec<_> = records.into_iter().map(|(taken, length)| (Taken(taken), length)).collect();
        let choosers = choosers();
        let meta = meta(&choosers, &records);
        // The body by record: letters say which it is.
        let held: Vec<_> = records.iter().enumerate().filter(|(_, (taken, _))| !taken.by_none()).collect();
        let text = |index: usize, length: usize| char::from(b'A' + u8::try_from(index % 26).unwrap()).to_string().repeat(length);
        let body = held.iter().map(|(index, (_, length))| text(*index, *length)).collect::<Vec<_>>().join(",");
        prop_assert_eq!(body.len(), meta.body_size as usize);
        for (bit, name) in ["reads", "writes", "all"].into_iter().enumerate() {
            let cut = Cut::of(&meta, name).unwrap();
            let wanted: Vec<_> = held.iter().filter(|(_, (taken, _))| taken.by(bit)).collect();
            let expected = wanted.iter().map(|(index, (_, length))| text(*index, *length)).collect::<Vec<_>>().join(",");
            let found = cut.runs.iter().map(|(range, _)| &body[range.clone()]).collect::<Vec<_>>().join(",");
            prop_assert_eq!(found, expected);
            prop_assert_eq!(cut.recorded, wanted.len() as u64);
            prop_assert_eq!(cut.recorded + cut.filtered, records.len() as u64);
            let times = wanted.iter().map(|(index, _)| i64::try_from(*index).unwrap());
            if wanted.len() < held.len() {
                prop_assert_eq!(cut.times, times.clone().min().zip(times.max()));
            }
        }
    }
}
