//! `sidetrail send`: every record once, whatever becomes of connections.

use std::fs;

use serde_json::Value;

use crate::collector::{Collector, Loss, MAX_BATCH_EVENTS};
use crate::run::{Ended, command, ended};
use crate::write::{archive, gzip};

fn send(collector: &Collector, arguments: &[&str], input: &[u8]) -> Ended {
    ended(command().arg("send").args(arguments).args(["--collector", &collector.address()]), input)
}

fn records(count: usize) -> Vec<String> {
    (1..=count).map(|number| format!(r#"{{"eventID":"{number}","n":1.10}}"#)).collect()
}

#[test]
fn every_kind_of_file_is_sent_as_it_is() {
    let archive = archive();
    let collector = Collector::start([]);
    let path = |name: &str| archive.path(name).to_str().unwrap().to_owned();
    archive.put("lines", b"{\"eventID\": \"x y\",\t\"n\": 1.10}\n\n{\"eventID\":\"2\"}");
    archive.put("lines.gz", &gzip(b"{\"eventID\":\"3\"}\n"));
    archive.put("plain.txt", b"{\"Records\": [ {\"eventID\": \"4\"},\n{} ]}");
    let files = [&archive.logs[0], "lines", "lines.gz", "plain.txt"].map(path);
    let files: Vec<_> = files.iter().map(String::as_str).chain(["-"]).collect();
    let text = send(&collector, &files, b"{\"eventID\":\"5\"}\n").with(0).stdout;
    assert!(text.starts_with("sent 8 records from 5 files, all acked, 0 refused, in "), "{text}");

    let kept = collector.kept.lock().unwrap();
    let mut expected = archive.records[..2].to_vec();
    expected.extend(
        [r#"{"eventID":"x y","n":1.10}"#, r#"{"eventID":"2"}"#, r#"{"eventID":"3"}"#].map(str::to_owned),
    );
    expected.extend([r#"{"eventID":"4"}"#, "{}", r#"{"eventID":"5"}"#].map(str::to_owned));
    assert_eq!(kept.records, expected);
    assert_eq!(kept.goodbyes, [8]);
    let hello = &kept.hellos[0];
    assert_eq!((&*hello.service, &*hello.instance, hello.source.len()), ("sidetrail-send", "unknown", 16));
}

#[test]
fn lost_connections_leave_no_gap_and_no_duplicate() {
    let collector = Collector::start([
        Loss::After(25),
        Loss::Before(1),
        Loss::Before(7),
        Loss::After(1),
        Loss::After(100),
    ]);
    let records = records(500);
    send(&collector, &["-", "--service", "import"], records.join("\n").as_bytes()).with(0);
    let kept = collector.kept.lock().unwrap();
    assert_eq!(kept.records, records);
    assert_eq!(kept.goodbyes, [500]);
    assert_eq!(kept.hellos.len(), 6);
    assert!(
        kept.hellos.iter().all(|hello| hello.source == kept.hellos[0].source && hello.service == "import")
    );
    assert_eq!(kept.largest_batch, MAX_BATCH_EVENTS);
}

#[test]
fn what_cannot_be_recorded_is_named_and_the_rest_is_sent() {
    let collector = Collector::start([Loss::After(2)]);
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("events");
    let large = format!("{{\"eventID\":\"big\",\"requestParameters\":\"{}\"}}", "x".repeat(262_144));
    let lines = ["{\"eventID\":\"1\"}", "nonsense", "{\"refuse\":1}", &large, "[]", "{\"eventID\":\"2\"}"];
    fs::write(&file, lines.join("\n")).unwrap();
    let cut = directory.path().join("cut.json.gz");
    fs::write(&cut, &gzip(b"{\"Records\":[]}")[..20]).unwrap();
    let (file, cut) = (file.to_str().unwrap(), cut.to_str().unwrap());
    let ended = send(&collector, &[file, cut, "--json"], b"").with(1);
    for complaint in [
        format!("sidetrail: {file}:2: record is not a JSON object"),
        format!(
            "sidetrail: {file}:4: record is 262184 bytes, the limit is 262144; the most is requestParameters,"
        ),
        format!("sidetrail: {file}:5: record is not a JSON object"),
        format!("sidetrail: {cut}: "),
    ] {
        assert!(ended.stderr.contains(&complaint), "{complaint}\nnot in\n{}", ended.stderr);
    }
    let summary: Value = serde_json::from_str(&ended.stdout).unwrap();
    assert_eq!(summary["files"], 2);
    assert_eq!(summary["failedFiles"], 1);
    assert_eq!(summary["gaveUp"], false);
    assert_eq!(collector.kept.lock().unwrap().records, [r#"{"eventID":"1"}"#, r#"{"eventID":"2"}"#]);
}

#[test]
fn refusals_are_named_by_file_and_place() {
    let collector = Collector::start([]);
    let input = b"{\"Records\":[{\"eventID\":\"1\"},{\"refuse\":1},{}]}";
    let ended = send(&collector, &["-"], input).with(1);
    assert_eq!(ended.stderr, "sidetrail: standard input: record 2: record is refused\n");
    assert!(ended.stdout.starts_with("sent 2 records from 1 file, all acked, 1 refused"), "{ended:?}");
}

#[test]
fn a_file_that_does_not_open_is_named() {
    let collector = Collector::start([]);
    let ended = send(&collector, &["/no/such/file", "-"], b"{}").with(2);
    assert!(ended.stderr.contains("/no/such/file: No such file"), "{ended:?}");
    assert_eq!(collector.kept.lock().unwrap().records, ["{}"]);
}

#[test]
fn a_collector_that_is_not_there_is_given_up() {
    let nowhere = "unix:/no/such/socket";
    let arguments = ["send", "-", "--collector", nowhere, "--timeout", "300ms", "--json"];
    let ended = ended(command().args(arguments), b"{}\n").with(2);
    assert!(ended.stderr.contains("unix:/no/such/socket made no progress; 0 records acked"), "{ended:?}");
    assert!(ended.stderr.contains("No such file"), "{ended:?}");
    let summary: Value = serde_json::from_str(&ended.stdout).unwrap();
    assert_eq!((&summary["gaveUp"], &summary["acked"]), (&Value::Bool(true), &Value::from(0)));
}

#[test]
fn a_collector_that_refuses_is_not_asked_again() {
    let collector = Collector::start([Loss::Always(tonic::Code::FailedPrecondition)]);
    let ended = send(&collector, &["-"], b"{}\n").with(2);
    assert!(ended.stderr.contains("refused; 0 records acked, 0 read and not acked: not today"), "{ended:?}");
    assert_eq!(collector.kept.lock().unwrap().hellos.len(), 1);
}

#[test]
fn a_collector_that_keeps_failing_is_given_up_with_what_was_acked() {
    let collector = Collector::start([Loss::Before(21), Loss::Always(tonic::Code::ResourceExhausted)]);
    let ended = send(&collector, &["-", "--timeout", "500ms"], records(30).join("\n").as_bytes()).with(2);
    assert!(ended.stderr.contains("records acked, "), "{ended:?}");
    assert!(ended.stderr.contains("not today"), "{ended:?}");
    assert_eq!(collector.kept.lock().unwrap().records.len(), 20);
}
