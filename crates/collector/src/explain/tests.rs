use std::io::Write;

use serde_json::{Value, json};

use super::*;

const CONFIG: &str = "
account: '111122223333'
region: eu-west-1
listen: { socket: /run/sidetrail/collector.sock }
spool: { directory: /var/lib/sidetrail }
trails:
  - { name: everything, destination: /a }
  - name: writes
    destination: /b
    selectors: { event_selectors: [{ ReadWriteType: WriteOnly }] }
  - name: refunds
    destination: /c
    selectors:
      advanced_event_selectors:
        - Name: refunds
          FieldSelectors:
            - { Field: eventCategory, Equals: [Data] }
            - { Field: resources.type, Equals: ['AWS::Orders::Order'] }
            - { Field: eventName, StartsWith: [Refund] }
";

const REFUND: &str = r#"{"eventID":"1","eventName":"RefundOrder","eventCategory":"Data",
    "resources":[{"type":"AWS::Orders::Order"}]}"#;
const GET: &str = r#"{"eventID":"2","eventName":"Get\u001b[31mOrder","readOnly":true}"#;

fn run(content: &[u8], config: &str, form: Form) -> Result<(Explained, String), ExplainError> {
    let mut file = tempfile::NamedTempFile::new().unwrap();
    file.write_all(content).unwrap();
    let mut out = Vec::new();
    let config: Config = serde_norway::from_str(config).unwrap();
    let explained = explain(&config, file.path(), form, &mut out)?;
    Ok((explained, String::from_utf8(out).unwrap()))
}

fn gzip(text: &str) -> Vec<u8> {
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    encoder.write_all(text.as_bytes()).unwrap();
    encoder.finish().unwrap()
}

#[test]
fn every_form_of_file_is_read() {
    let log = format!(r#"{{ "Records": [{REFUND}, {GET}] }}"#);
    for (content, events) in [
        (REFUND.as_bytes().to_vec(), 1),
        (gzip(GET), 1),
        (format!("{REFUND}\n{GET}\n").into_bytes(), 2),
        (log.clone().into_bytes(), 2),
        (gzip(&log), 2),
        (format!("{log}{GET}").into_bytes(), 3),
    ] {
        let (explained, _) = run(&content, CONFIG, Form::Json).unwrap();
        assert_eq!(explained, Explained { events, untaken: 0 });
    }
}

#[test]
fn what_is_no_event_is_an_error() {
    for (content, expected) in [
        (&b""[..], "it holds no event"),
        (b"[]", "value 1 is not a JSON object"),
        (b"{} 7", "value 2 is not a JSON object"),
        (b"nonsense", "it is not JSON"),
        (br#"{"Records":[7]}"#, "it is not a log file"),
        (b"\x1f\x8b\x08nonsense", "invalid compressed data"),
    ] {
        let error = run(content, CONFIG, Form::Text).unwrap_err();
        assert!(crate::chain(&error).contains(expected), "{} does not say {expected}", crate::chain(&error));
    }
    // A bomb.
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    io::copy(&mut io::Read::take(io::repeat(b' '), sidetrail_archive::log::MAX_CONTENT + 1), &mut encoder)
        .unwrap();
    let error = run(&encoder.finish().unwrap(), CONFIG, Form::Text).unwrap_err();
    assert!(crate::chain(&error).contains("more than 50000000 bytes"), "{error:?}");
}

#[test]
fn json_says_per_trail_selector_and_condition() {
    let (_, out) = run(REFUND.as_bytes(), CONFIG, Form::Json).unwrap();
    let said: Value = serde_json::from_str(&out).unwrap();
    assert_eq!((&said["event"], &said["eventID"], &said["taken"]), (&json!(1), &json!("1"), &json!(true)));
    let taken: Vec<_> =
        said["trails"].as_array().unwrap().iter().map(|it| (&it["trail"], &it["taken"])).collect();
    assert_eq!(
        taken,
        [
            (&json!("everything"), &json!(true)),
            (&json!("writes"), &json!(false)),
            (&json!("refunds"), &json!(true))
        ]
    );
    assert_eq!(said["trails"][0].get("selectors"), None);
    assert_eq!(
        said["trails"][2]["selectors"][0]["conditions"][2],
        json!({"field": "eventName", "matched": true, "found": ["RefundOrder"], "reason": "StartsWith \"Refund\" holds"})
    );
}

#[test]
fn text_is_for_people_and_harmless() {
    let config = CONFIG.replace("  - { name: everything, destination: /a }\n", "");
    let (explained, out) = run(GET.as_bytes(), &config, Form::Text).unwrap();
    assert_eq!(explained, Explained { events: 1, untaken: 1 });
    assert_eq!(
        out,
        "event 1: Get\\u{1b}[31mOrder of (none), Management, eventID 2\n\
        \x20 no trail takes it\n\
        \x20 trail writes does not take it\n\
        \x20   selector 1 does not match\n\
        \x20     - ReadWriteType true: WriteOnly does not take a read\n\
        \x20     + IncludeManagementEvents Management: management events are included\n\
        \x20 trail refunds does not take it\n\
        \x20   selector 1 refunds does not match\n\
        \x20     - eventCategory Management: none of the values holds\n\
        \x20     - resources.type (none): the event has none, and it must have one of the values\n\
        \x20     - eventName Get\\u{1b}[31mOrder: none of the values holds\n"
    );
}
