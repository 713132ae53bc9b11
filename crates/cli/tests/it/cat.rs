//! `sidetrail cat`: byte for byte, in order, past damage.

use std::fs;
use std::io::Read;
use std::process::Stdio;

use crate::run::{command, ended, sidetrail};
use crate::write::{archive, gzip};

fn lines(records: &[String]) -> String {
    records.iter().map(|record| format!("{record}\n")).collect()
}

#[test]
fn records_come_out_byte_for_byte_in_the_order_of_keys() {
    let archive = archive();
    let root = archive.root().to_str().unwrap();
    let ended = sidetrail(["cat", root]).with(0);
    assert_eq!(ended.stdout, lines(&archive.records));
    assert_eq!(ended.stderr, "");

    // A directory in the middle of the archive, a file, a URL, standard input.
    let day = archive.path("AWSLogs/111122223333/CloudTrail/us-east-1/2026");
    assert_eq!(sidetrail(["cat", day.to_str().unwrap()]).with(0).stdout, lines(&archive.records));
    let file = archive.path(&archive.logs[1]);
    let two = lines(&archive.records[2..4]);
    assert_eq!(sidetrail(["cat", file.to_str().unwrap()]).with(0).stdout, two);
    assert_eq!(sidetrail(["cat", &format!("file://{}", file.display())]).with(0).stdout, two);
    let stored = fs::read(file).unwrap();
    assert_eq!(ended_with_input(&["cat", "-"], &stored), two);
}

fn ended_with_input(arguments: &[&str], input: &[u8]) -> String {
    ended(command().args(arguments), input).with(0).stdout
}

#[test]
fn a_record_over_several_lines_becomes_one() {
    let content =
        b"{ \"Records\": [\n {\"a\": 1.10, \"b\" : \"x  y\"}, {\n  \"c\":\r\n [1E+2, \"\\n\"]\n} ] }";
    for stored in [content.to_vec(), gzip(content)] {
        assert_eq!(
            ended_with_input(&["cat", "-"], &stored),
            "{\"a\": 1.10, \"b\" : \"x  y\"}\n{\"c\":[1E+2,\"\\n\"]}\n"
        );
    }
}

#[test]
fn a_damaged_file_is_named_and_the_rest_is_printed() {
    let archive = archive();
    let stored = fs::read(archive.path(&archive.logs[1])).unwrap();
    archive.put(&archive.logs[1], &stored[..stored.len() - 9]);
    let root = archive.root().to_str().unwrap();
    let ended = sidetrail(["cat", root]).with(1);
    assert!(ended.stdout.ends_with(&lines(&archive.records[4..])), "{ended:?}");
    assert!(ended.stderr.contains(&archive.logs[1]), "{ended:?}");
    assert_eq!(ended.stderr.lines().count(), 1, "{ended:?}");

    // What is wrong wins over what could not be read, and both leave the rest alone.
    let ended = sidetrail(["cat", "/no/such/file", root, "/dev/null"]).with(1);
    assert!(ended.stderr.contains("/no/such/file: No such file"), "{ended:?}");
    assert!(ended.stderr.contains("/dev/null: not a log file"), "{ended:?}");
}

#[test]
fn nothing_to_read_is_not_success() {
    let empty = tempfile::tempdir().unwrap();
    let error = sidetrail(["cat", empty.path().to_str().unwrap()]).with(2).stderr;
    assert!(error.contains("there is no CloudTrail log file"), "{error}");
    sidetrail(["cat", "/no/such/file"]).with(2);
}

#[test]
fn a_range_is_one_of_event_times() {
    let archive = archive();
    let root = archive.root().to_str().unwrap();
    let of = |options: &[&str]| sidetrail(["cat", root].iter().chain(options)).with(0).stdout;
    assert_eq!(of(&["--from", "2026-01-15T12:00:00+01:00"]), lines(&archive.records[2..]));
    assert_eq!(of(&["--to", "2026-01-15T11:59:59Z"]), lines(&archive.records[..4]));
    assert_eq!(of(&["--from", "2026-01-15", "--to", "2026-01-15"]), lines(&archive.records));
    assert_eq!(of(&["--from", "-2h"]), "");

    let input = br#"{"Records":[{"eventTime":"yesterday"},{"eventTime":"2026-01-15T10:00:00Z"}]}"#;
    let ended = ended(command().args(["cat", "-", "--from", "2026-01-15"]), input).with(0);
    assert_eq!(ended.stdout, "{\"eventTime\":\"2026-01-15T10:00:00Z\"}\n");
    assert_eq!(ended.stderr, "sidetrail: left out 1 record without a readable eventTime\n");
}

#[test]
fn a_reader_that_has_seen_enough_is_no_error() {
    let archive = archive();
    let records = vec![archive.records[0].as_str(); 20_000].join(",");
    let big = "111122223333_CloudTrail_us-east-1_20260115T1000Z_x.json";
    archive.put(big, format!("{{\"Records\":[{records}]}}").as_bytes());
    let mut child = command()
        .args(["cat", archive.root().to_str().unwrap()])
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut stdout = child.stdout.take().unwrap();
    stdout.read_exact(&mut [0; 100]).unwrap();
    drop(stdout);
    let output = child.wait_with_output().unwrap();
    assert_eq!((output.status.code(), &*output.stderr), (Some(0), &b""[..]));
}
