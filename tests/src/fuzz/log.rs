//! A log file is read within its limit, and what was read of it can be written and read again.

use std::ops::ControlFlow;

use flate2::{Compression, GzBuilder};
use sidetrail_archive::log::{LogWriter, ReadError, content_digest, read_records};

pub(super) const WORDS: &[&str] =
    &["{\"Records\":[", "]}", "\x1f\u{8b}\x08", "},{", "\"Records\"", "\\\"]}", "\n", "[[[[[[[["];

/// Of content. More than an input has, less than one of a few bytes can inflate to.
const LIMIT: u64 = 64 << 10;

pub(super) fn seeds() -> Vec<Vec<u8>> {
    let records = super::real_records();
    let plain = |records: &[String]| format!("{{\"Records\":[{}]}}", records.join(",")).into_bytes();
    let ours = |records: &[String]| {
        let mut writer = LogWriter::new().expect("a compressor");
        records.iter().for_each(|record| writer.push(record.as_bytes()).expect("room"));
        writer.finish().expect("a log file").bytes
    };
    // As others write it: with a name, a comment, a time.
    let mut foreign =
        GzBuilder::new().filename("a.json").comment("b").extra("c").mtime(7).read(
            &b"{\"Records\": [ {\"eventID\": \"a\"}, {\"eventID\": \"b\"} ]}\n"[..],
            Compression::best(),
        );
    let mut named = Vec::new();
    std::io::Read::read_to_end(&mut foreign, &mut named).expect("memory");
    let zeros = ours(&[format!("{{\"a\":\"{}\"}}", "0".repeat(100 << 10))]);
    let stored = include_bytes!(
        "../../../crates/archive/testdata/v1/audit/AWSLogs/111122223333/CloudTrail/us-east-1/2026/01/15/111122223333_CloudTrail_us-east-1_20260115T1105Z_MPTA9uLRkyobswok.json.gz"
    );
    let few = &records[..records.len().min(2)];
    vec![plain(&[]), plain(few), ours(&[]), ours(few), named, zeros, stored.to_vec()]
}

pub(super) fn check(input: &[u8]) {
    let digest = content_digest(input, LIMIT);
    if let Ok((_, size)) = &digest {
        assert!(*size <= LIMIT);
    }
    let (mut records, mut shown) = (Vec::new(), 0);
    let outcome = read_records(input, LIMIT, |record| {
        assert!(record.starts_with('{') && record.ends_with('}'));
        shown += record.len() as u64;
        records.push(record.to_owned());
        ControlFlow::<()>::Continue(())
    });
    assert!(shown <= LIMIT, "{shown} bytes were shown");
    let Ok(outcome) = outcome else { return };
    assert_eq!(outcome, ControlFlow::Continue(records.len() as u64));
    if input.starts_with(&[0x1f, 0x8b]) {
        assert!(digest.is_ok(), "read as a log file, but {digest:?}");
    }

    let mut writer = LogWriter::new().expect("a compressor");
    records.iter().for_each(|record| writer.push(record.as_bytes()).expect("it is smaller than a log file"));
    let file = writer.finish().expect("a log file");
    assert_eq!(
        content_digest(&file.bytes, file.content_size).expect("our own file"),
        (file.content_sha256, file.content_size)
    );
    let mut again = Vec::new();
    let count = read_records(&file.bytes[..], file.content_size, |record| {
        again.push(record.to_owned());
        ControlFlow::<()>::Continue(())
    });
    assert_eq!(count.expect("our own file"), ControlFlow::Continue(file.records));
    assert_eq!(again, records);
    let cut = read_records(&file.bytes[..], file.content_size - 1, |_| ControlFlow::<()>::Continue(()));
    assert!(matches!(cut, Err(ReadError::TooLarge(_))), "{cut:?}");
}
