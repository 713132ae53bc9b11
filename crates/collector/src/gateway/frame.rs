//! A forwarded frame: checked, since it will be here for good, and made one of this collector's spool.

use std::borrow::Cow;
use std::sync::Arc;

use bytes::Bytes;
use jiff::Timestamp;
use prost::Message;
use serde_json::value::RawValue;
use sidetrail_archive::key::Id;
use sidetrail_record::EventTime;
use sidetrail_spool::{Entry, MAX_META};
use sidetrail_wire::gateway::v1::Frame;
use sidetrail_wire::spool::v1::{BodyEncoding, FrameMeta};

use crate::intake::event_time;
use crate::ledger::{Range, is_note, source_id};
use crate::selection::{self, Choosers, MAX_ENCODED, MAX_RECORDS, Tally};

/// Text of a frame's records. A collector makes frames of 1 MiB and one record at most.
const MAX_TEXT: usize = 2 << 20;
/// Meta and body of a frame: what does not compress becomes a little larger.
pub(super) const MAX_FRAME: usize = MAX_TEXT + MAX_META + (64 << 10);
/// Names of service and instance, bytes.
const MAX_NAME: usize = 256;
/// Reasons for drops in one frame. A collector gives eight at most.
const MAX_DROPS: usize = 16;
/// Sequence numbers end here. Nobody gets there by counting.
const MAX_SEQUENCE: u64 = 1 << 62;

// Whatever comes, the frame goes into the spool with what the trails here take of it: names and reasons, and numbers.
const _: () = assert!(MAX_ENCODED + (MAX_DROPS + 2) * (MAX_NAME + 32) + 256 <= MAX_META);

/// A frame that cannot be one of ours.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error("frame.{field} {reason}")]
pub(super) struct Unfit {
    field: &'static str,
    reason: String,
}

/// A frame that was checked.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Accepted {
    pub(super) source: Id,
    meta: FrameMeta,
    /// Events of the range that no trail of the forwarder takes.
    filtered: u64,
    body: Bytes,
}

/// Checks a frame that `forwarder` sent to the collector `own` at `unix_ms`.
pub(super) fn accept(frame: Frame, forwarder: Id, own: Id, unix_ms: i64) -> Result<Accepted, Unfit> {
    let size = frame.meta.len() + frame.body.len();
    if size > MAX_FRAME {
        return unfit("body", format!("and meta are {size} bytes, the limit is {MAX_FRAME}"));
    }
    if frame.meta.len() > MAX_META {
        return unfit("meta", format!("is {} bytes, the limit is {MAX_META}", frame.meta.len()));
    }
    let meta = FrameMeta::decode(frame.meta).or_else(|error| unfit("meta", format!("is none: {error}")))?;
    let Some(source) = source_id(&meta.source) else {
        return unfit("source", format!("is {} bytes, not 16", meta.source.len()));
    };
    if source == own {
        return unfit("source", "is the gateway's own".to_owned());
    }
    let collector = match meta.collector.len() {
        0 => Bytes::copy_from_slice(&forwarder.0),
        16 => meta.collector.clone(),
        len => return unfit("collector", format!("is {len} bytes, not 16")),
    };
    for (field, name) in [("service", &meta.service), ("instance", &meta.instance)] {
        if name.len() > MAX_NAME {
            return unfit(field, format!("is {} bytes, the limit is {MAX_NAME}", name.len()));
        }
    }
    let (first, last) = (meta.first_sequence, meta.last_sequence);
    if first == 0 || last < first && !is_note(&meta) || last.max(meta.assigned) > MAX_SEQUENCE {
        return unfit("first_sequence", format!("to last_sequence is {first} to {last}, which is no range"));
    }
    let filtered = selection::unwanted(&meta);
    let fates = [u64::from(meta.records), filtered, meta.dropped, meta.intents];
    if fates.into_iter().try_fold(0_u64, u64::checked_add) != Some(last + 1 - first) {
        return unfit("records", format!("and what became of the others are not {first} to {last}"));
    }
    let reasons = meta.drops.iter().try_fold(0_u64, |all, drop| all.checked_add(drop.count));
    if meta.drops.len() > MAX_DROPS || reasons.is_none_or(|reasons| reasons > meta.dropped) {
        return unfit(
            "drops",
            format!("has {} reasons for {} drops, the limit is {MAX_DROPS}", meta.drops.len(), meta.dropped),
        );
    }
    if let Some(drop) = meta.drops.iter().find(|drop| drop.reason.len() > MAX_NAME) {
        return unfit(
            "drops",
            format!("has a reason of {} bytes, the limit is {MAX_NAME}", drop.reason.len()),
        );
    }
    let (oldest, newest) = (meta.oldest_event_time, meta.newest_event_time);
    let is_time = |seconds| Timestamp::from_second(seconds).is_ok();
    if meta.records > 0 && !(oldest <= newest && is_time(oldest) && is_time(newest)) {
        return unfit("oldest_event_time", format!("to newest_event_time is {oldest} to {newest}"));
    }
    let accepted = Accepted {
        source,
        filtered,
        // Nothing else: the intents of the frame are the forwarder's to settle, and so is what its trails select.
        meta: FrameMeta {
            source: meta.source,
            first_sequence: first,
            last_sequence: last,
            records: meta.records,
            dropped: meta.dropped,
            intents: meta.intents,
            body_size: meta.body_size,
            encoding: meta.encoding,
            oldest_event_time: meta.oldest_event_time,
            newest_event_time: meta.newest_event_time,
            // A batch is as old as its first frame is here, or everything that was held up would be a file of its own.
            received_unix_ms: unix_ms,
            service: meta.service,
            instance: meta.instance,
            collector,
            drops: meta.drops,
            assigned: meta.assigned,
            ended: meta.ended,
            ..FrameMeta::default()
        },
        body: frame.body,
    };
    let text = accepted.text()?;
    let records = split(&text)?.len();
    if records > MAX_RECORDS {
        return unfit("records", format!("is {records}, the limit is {MAX_RECORDS}"));
    }
    if records != accepted.meta.records as usize {
        return unfit("body", format!("holds {records} records, {} are stated", accepted.meta.records));
    }
    Ok(accepted)
}

impl Accepted {
    pub(super) fn range(&self) -> Range {
        (self.meta.first_sequence, self.meta.last_sequence)
    }

    pub(super) fn events(&self) -> u64 {
        self.meta.last_sequence + 1 - self.meta.first_sequence
    }

    /// Parts the frame, of which only the ranges in `missing` are new. Where some of its numbers have no record, nobody
    /// knows which, so it is taken whole.
    pub(super) fn part(mut self, missing: &[Range]) -> Result<Vec<Self>, Unfit> {
        if u64::from(self.meta.records) != self.events() {
            self.meta.overlaps = true;
            return Ok(vec![self]);
        }
        let text = self.text()?;
        let records = split(&text)?;
        let index =
            |sequence: u64| usize::try_from(sequence - self.meta.first_sequence).unwrap_or(usize::MAX);
        let part = |(first, last): &Range| {
            let records = records.get(index(*first)..=index(*last)).unwrap_or_default();
            let body = records.iter().map(|record| record.get()).collect::<Vec<_>>().join(",");
            let meta = FrameMeta {
                first_sequence: *first,
                last_sequence: *last,
                records: u32::try_from(records.len()).unwrap_or(u32::MAX),
                body_size: u32::try_from(body.len()).unwrap_or(u32::MAX),
                encoding: BodyEncoding::Joined.into(),
                ..self.meta.clone()
            };
            Self { source: self.source, meta, filtered: 0, body: body.into() }
        };
        Ok(missing.iter().map(part).collect())
    }

    /// The frame for the spool, with what the trails here take of it.
    pub(super) fn entry(&self, choosers: &Arc<Choosers>) -> Result<Entry, Unfit> {
        let mut tally = Tally::new(choosers);
        tally.filtered(self.filtered);
        if !choosers.take_everything() {
            for record in split(&self.text()?)? {
                let record = record.get();
                let time = event_time(record).ok().flatten().map(EventTime::unix_seconds);
                let seconds = time.unwrap_or(self.meta.received_unix_ms.div_euclid(1000));
                tally.record(choosers.choose_text(record), record.len(), seconds);
            }
        }
        let meta = FrameMeta { selection: tally.finish(), ..self.meta.clone() };
        Ok(Entry { meta: meta.encode_to_vec(), body: self.body.to_vec() })
    }

    /// The records' text.
    fn text(&self) -> Result<Cow<'_, [u8]>, Unfit> {
        let size = self.meta.body_size as usize;
        if size > MAX_TEXT {
            return unfit("body_size", format!("is {size}, the limit is {MAX_TEXT}"));
        }
        let text: Cow<'_, [u8]> = match self.meta.encoding() {
            BodyEncoding::Joined => (&self.body[..]).into(),
            BodyEncoding::JoinedZstd => zstd::bulk::decompress(&self.body, size)
                .or_else(|error| unfit("body", format!("cannot be decompressed: {error}")))?
                .into(),
            BodyEncoding::Unspecified => {
                return unfit("encoding", format!("{} is not known", self.meta.encoding));
            }
        };
        if text.len() != size {
            return unfit("body_size", format!("is {size}, the body has {} bytes", text.len()));
        }
        Ok(text)
    }
}

/// The records of a joined text: JSON objects with one comma between two, and nothing else.
fn split(text: &[u8]) -> Result<Vec<&RawValue>, Unfit> {
    let mut records = Vec::new();
    let mut rest = text;
    while !rest.is_empty() {
        let mut values = serde_json::Deserializer::from_slice(rest).into_iter::<&RawValue>();
        let record = match values.next() {
            Some(Ok(record)) if rest[0] == b'{' => record,
            _ => return unfit("body", format!("has no JSON object after {} records", records.len())),
        };
        rest = &rest[values.byte_offset()..];
        records.push(record);
        match rest {
            [] => {}
            [b',', more @ ..] if !more.is_empty() => rest = more,
            _ => return unfit("body", format!("has something else after {} records", records.len())),
        }
    }
    Ok(records)
}

fn unfit<T>(field: &'static str, reason: String) -> Result<T, Unfit> {
    Err(Unfit { field, reason })
}

#[cfg(test)]
mod tests {
    use sidetrail_archive::key::Trail;
    use sidetrail_wire::spool::v1::{Drop, Selection, TrailSelection};

    use super::*;
    use crate::selection::Cut;

    const FORWARDER: Id = Id([7; 16]);
    const OWN: Id = Id([9; 16]);
    const NOW_MS: i64 = 1_768_473_677_000;

    fn meta(first: u64, records: &str) -> FrameMeta {
        let count = split(records.as_bytes()).unwrap().len() as u32;
        FrameMeta {
            source: vec![1; 16].into(),
            first_sequence: first,
            last_sequence: first + u64::from(count) - 1,
            records: count,
            body_size: records.len() as u32,
            encoding: BodyEncoding::Joined.into(),
            oldest_event_time: 5,
            newest_event_time: 6,
            received_unix_ms: 3,
            service: "orders".to_owned(),
            instance: "a".to_owned(),
            ..FrameMeta::default()
        }
    }

    fn take(meta: &FrameMeta, body: &[u8]) -> Result<Accepted, String> {
        let frame = Frame { meta: meta.encode_to_vec().into(), body: Bytes::copy_from_slice(body) };
        accept(frame, FORWARDER, OWN, NOW_MS).map_err(|unfit| unfit.to_string())
    }

    const THREE: &str = r#"{"a":"},{"},{"b":[{}]},{"c":"\""}"#;

    #[test]
    fn a_frame_stays_as_it_is_but_for_whose_it_is() {
        let accepted = take(&meta(5, THREE), THREE.as_bytes()).unwrap();
        let entry = accepted.entry(&Arc::default()).unwrap();
        let kept = FrameMeta::decode(entry.meta.as_slice()).unwrap();
        let expected =
            FrameMeta { collector: vec![7; 16].into(), received_unix_ms: NOW_MS, ..meta(5, THREE) };
        assert_eq!((kept, entry.body.as_slice()), (expected, THREE.as_bytes()));
        assert_eq!((accepted.source, accepted.range(), accepted.events()), (Id([1; 16]), (5, 7), 3));

        let first = FrameMeta { collector: vec![6; 16].into(), ..meta(5, THREE) };
        assert_eq!(take(&first, THREE.as_bytes()).unwrap().meta.collector, [6; 16][..], "who took it counts");

        let compressed = zstd::bulk::compress(THREE.as_bytes(), 1).unwrap();
        let meta = FrameMeta { encoding: BodyEncoding::JoinedZstd.into(), ..meta(5, THREE) };
        assert_eq!(
            take(&meta, &compressed).unwrap().entry(&Arc::default()).unwrap().body,
            compressed,
            "not to be compressed again"
        );
    }

    #[test]
    fn intents_are_settled_where_they_were_announced() {
        let settled = FrameMeta {
            last_sequence: 8,
            intents: 1,
            completed: vec![2],
            completed_late: vec![1],
            opened: vec![Default::default()],
            incomplete: Some(Default::default()),
            ..meta(5, THREE)
        };
        let meta = take(&settled, THREE.as_bytes()).unwrap().meta;
        assert_eq!(meta.intents, 1);
        let nothing = (meta.completed.len(), meta.completed_late.len(), meta.opened.len(), meta.incomplete);
        assert_eq!(nothing, (0, 0, 0, None));
    }

    #[test]
    fn what_is_no_frame_is_refused_by_its_field() {
        let good = meta(5, THREE);
        let drops = |count: u64, reason: &str, times: usize| FrameMeta {
            last_sequence: 9,
            dropped: 2,
            drops: vec![Drop { count, reason: reason.to_owned() }; times],
            ..good.clone()
        };
        let cases: [(FrameMeta, &str, &str); 20] = [
            (drops(3, "overflow", 1), THREE, "frame.drops has 1 reasons for 2 drops"),
            (drops(u64::MAX, "overflow", 2), THREE, "frame.drops has 2 reasons for 2 drops"),
            (drops(0, "overflow", 17), THREE, "frame.drops has 17 reasons"),
            (drops(1, &"x".repeat(257), 1), THREE, "frame.drops has a reason of 257 bytes"),
            (FrameMeta { oldest_event_time: 7, ..good.clone() }, THREE, "frame.oldest_event_time"),
            (FrameMeta { newest_event_time: i64::MAX, ..good.clone() }, THREE, "frame.oldest_event_time"),
            (FrameMeta { source: vec![1; 15].into(), ..good.clone() }, THREE, "frame.source is 15 bytes"),
            (
                FrameMeta { source: vec![9; 16].into(), ..good.clone() },
                THREE,
                "frame.source is the gateway's own",
            ),
            (FrameMeta { collector: vec![9; 3].into(), ..good.clone() }, THREE, "frame.collector is 3 bytes"),
            (FrameMeta { service: "x".repeat(257), ..good.clone() }, THREE, "frame.service is 257 bytes"),
            (FrameMeta { first_sequence: 0, ..good.clone() }, THREE, "frame.first_sequence"),
            (FrameMeta { first_sequence: 8, ..good.clone() }, THREE, "frame.first_sequence"),
            (FrameMeta { last_sequence: u64::MAX, ..good.clone() }, THREE, "frame.first_sequence"),
            (FrameMeta { dropped: 1, ..good.clone() }, THREE, "frame.records"),
            (FrameMeta { dropped: u64::MAX, ..good.clone() }, THREE, "frame.records"),
            (FrameMeta { encoding: 0, ..good.clone() }, THREE, "frame.encoding 0 is not known"),
            (FrameMeta { encoding: 2, ..good.clone() }, THREE, "frame.body cannot be decompressed"),
            (FrameMeta { body_size: 1, ..good.clone() }, THREE, "frame.body_size is 1"),
            (FrameMeta { body_size: u32::MAX, ..good.clone() }, THREE, "frame.body_size is 4294967295"),
            (FrameMeta { records: 2, last_sequence: 6, ..good.clone() }, THREE, "frame.body holds 3 records"),
        ];
        for (meta, body, expected) in cases {
            let error = take(&meta, body.as_bytes()).unwrap_err();
            assert!(error.starts_with(expected), "{error}, not {expected}");
        }
        for body in [
            r#"{"a":1},"#,
            r#",{"a":1}"#,
            r#"{"a":1};{}"#,
            r#"{"a":1}]"#,
            "[1]",
            r#" {"a":1}"#,
            "{\"a\":\"\u{1}\"}",
        ] {
            let meta = FrameMeta { body_size: body.len() as u32, ..meta(5, "{}") };
            assert!(take(&meta, body.as_bytes()).unwrap_err().starts_with("frame.body has"), "{body}");
        }
        let invalid = b"{\"a\":\"\xff\"}";
        let meta = FrameMeta { body_size: invalid.len() as u32, ..meta(5, "{}") };
        assert!(take(&meta, invalid).is_err(), "not UTF-8");
    }

    #[test]
    fn a_note_and_drops_stay_as_they_are() {
        let note = FrameMeta { records: 0, last_sequence: 4, assigned: 9, ended: true, ..meta(5, "") };
        let note = FrameMeta { body_size: 0, ..note };
        let accepted = take(&note, b"").unwrap();
        assert_eq!((accepted.range(), accepted.events()), ((5, 4), 0));
        let kept = FrameMeta::decode(accepted.entry(&Arc::default()).unwrap().meta.as_slice()).unwrap();
        assert_eq!((kept.assigned, kept.ended, is_note(&kept)), (9, true, true));
        let silent = FrameMeta { assigned: 0, ended: false, ..note };
        assert!(take(&silent, b"").unwrap_err().starts_with("frame.first_sequence"), "it says nothing");

        let drops = vec![Drop { count: 2, reason: "overflow".to_owned() }];
        let dropped =
            FrameMeta { last_sequence: 9, dropped: 2, drops: drops.clone(), assigned: 11, ..meta(5, THREE) };
        let meta = take(&dropped, THREE.as_bytes()).unwrap().meta;
        assert_eq!((meta.dropped, meta.drops, meta.assigned), (2, drops, 11));
    }

    #[test]
    fn what_the_trails_here_take_is_decided_here() {
        let only = |kind: &str| {
            serde_json::from_value(serde_json::json!({"EventSelectors": [{"ReadWriteType": kind}]})).unwrap()
        };
        let choosers = Arc::new(Choosers::new([
            (Trail::new("reads").unwrap(), Some(only("ReadOnly"))),
            (Trail::new("writes").unwrap(), Some(only("WriteOnly"))),
        ]));
        let record = |name: &str, category: &str, read: bool| {
            format!(r#"{{"eventName":"{name}","eventCategory":"{category}","readOnly":{read}}}"#)
        };
        let records = [
            record("a", "Management", false),
            record("b", "Management", true),
            record("c", "Management", false),
            record("d", "Data", false),
        ]
        .join(",");
        // Of the forwarder's own trails, whose names are nobody's here, none takes two more.
        let theirs = Selection {
            filtered: 2,
            trails: vec![TrailSelection { trail: "writes".to_owned(), ..TrailSelection::default() }],
            ..Selection::default()
        };
        let sent = FrameMeta { last_sequence: 10, selection: Some(theirs), ..meta(5, &records) };
        let entry = take(&sent, records.as_bytes()).unwrap().entry(&choosers).unwrap();
        let kept = FrameMeta::decode(entry.meta.as_slice()).unwrap();
        assert_eq!(entry.body, records.as_bytes());
        for (trail, recorded, text) in [("reads", 1, "b"), ("writes", 2, "ac")] {
            let cut = Cut::of(&kept, trail).unwrap();
            assert_eq!((cut.recorded, cut.filtered), (recorded, 6 - recorded), "{trail}");
            let taken: String = cut.runs.iter().map(|(run, _)| &records[run.clone()]).collect();
            let names: String = taken.split("eventName\":\"").skip(1).map(|it| &it[..1]).collect();
            assert_eq!(names, text);
        }
        // A trail that takes everything has all but what nobody could forward.
        let cut = Cut::of(&kept, "late").unwrap();
        assert_eq!((cut.recorded, cut.filtered), (4, 2));
    }

    #[test]
    fn of_an_overlap_only_the_new_is_kept() {
        let records = (1..=9).map(|at| format!(r#"{{"n":{at}}}"#)).collect::<Vec<_>>().join(",");
        let accepted = take(&meta(11, &records), records.as_bytes()).unwrap();
        let parts = accepted.part(&[(11, 12), (15, 15), (19, 19)]).unwrap();
        let bodies: Vec<_> = parts.iter().map(|part| std::str::from_utf8(&part.body).unwrap()).collect();
        assert_eq!(bodies, [r#"{"n":1},{"n":2}"#, r#"{"n":5}"#, r#"{"n":9}"#]);
        for part in parts {
            let Entry { meta, body } = part.entry(&Arc::default()).unwrap();
            assert!(accept(Frame { meta: meta.into(), body: body.into() }, FORWARDER, OWN, 0).is_ok());
        }

        let mixed = FrameMeta { last_sequence: 20, dropped: 1, ..meta(11, &records) };
        let parts = take(&mixed, records.as_bytes()).unwrap().part(&[(11, 12)]).unwrap();
        assert_eq!(parts.len(), 1);
        assert!(parts[0].meta.overlaps && parts[0].range() == (11, 20), "taken whole, and said so");
    }
}
