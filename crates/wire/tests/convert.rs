//! A record survives the way through a `Call` on the wire.

#![expect(clippy::expect_used, reason = "a failed expectation is how a test fails")]

use proptest::prelude::*;
use prost::Message;
use serde_json::{Value, json};
use sidetrail_record::{Json, Record};
use sidetrail_wire::ingest::v1::{Call, Dropped, Event, Resource, UserIdentity, event::Payload};
use sidetrail_wire::{EventRef, PayloadRef};

#[track_caller]
fn check(value: &Value) {
    let record: Record = serde_json::from_value(value.clone())
        .or_else(|_| serde_json::from_str(&value.to_string()))
        .expect("any JSON object is a record");
    let bytes = Call::from(record).encode_to_vec();
    let call = Call::decode(bytes.as_slice()).expect("what was encoded decodes");
    check_borrowed(&call);
    let record = Record::try_from(call).expect("a call made from a record is valid");
    let written: Value = serde_json::to_value(&record).expect("a record serialises");
    assert_eq!(written, *value);
}

/// A record that borrows from the call is written as the one that owns what it says. Answers whether there is one.
fn check_borrowed(call: &Call) -> bool {
    check_bytes(&call.encode_to_vec())
}

fn check_bytes(bytes: &[u8]) -> bool {
    let Some(borrowed) = Call::read_record(bytes) else { return false };
    let mut text = b"before".to_vec();
    borrowed.write(&mut text);
    let call = Call::decode(bytes).expect("what can be borrowed is a call");
    let owned = Record::try_from(call).expect("what can be borrowed is valid");
    let expected = format!("before{}", serde_json::to_string(&owned).expect("a record serialises"));
    assert_eq!(String::from_utf8(text).expect("JSON is UTF-8"), expected);
    true
}

#[test]
fn examples_of_the_format() {
    for line in include_str!("../../record/testdata/examples.ndjson").lines() {
        check(&serde_json::from_str(line).expect("the test's own JSON"));
    }
}

#[test]
fn what_protobuf_cannot_say_travels_as_json() {
    check(&json!({"eventName": "", "userAgent": "", "resources": [], "userIdentity": {}, "tlsDetails": {}}));
    check(&json!({"eventName": null, "readOnly": null, "requestParameters": null, "eventID": "not a uuid"}));
    check(&json!({"eventID": "0B7C6A52-9F7E-4C0B-9D0E-2F6D0F1C9A11", "eventTime": "9999-12-30T22:00:00Z"}));
    check(
        &json!({"resources": [{}, {"ARNPrefix": "arn:aws:s3:::b/"}, {"ARN": 7}], "awsRegion": "eu-west-1"}),
    );
}

#[test]
fn what_call_has_no_field_for_is_not_borrowed() {
    let other = || Some("{}".into());
    assert!(check_borrowed(&Call::default()));
    assert!(!check_borrowed(&Call { other: other(), ..Call::default() }));
    let resource = Resource { other: other(), ..Resource::default() };
    assert!(!check_borrowed(&Call { resources: vec![resource], ..Call::default() }));
    let identity = UserIdentity { other: other(), ..UserIdentity::default() };
    assert!(!check_borrowed(&Call { user_identity: Some(identity), ..Call::default() }));
}

#[test]
fn a_call_that_is_no_record_names_the_field() {
    let field = |call: Call| {
        assert!(Call::read_record(&call.encode_to_vec()).is_none(), "borrowed: {call:?}");
        Record::try_from(call).expect_err("invalid").to_string()
    };
    let broken = || Some("{\"a\":".into());

    assert!(field(Call { event_id: "short".into(), ..Call::default() }).starts_with("eventID is 5 bytes"));
    assert!(
        field(Call { request_parameters: broken(), ..Call::default() }).starts_with("requestParameters ")
    );
    assert!(field(Call { tls_details: Some("7".into()), ..Call::default() }).starts_with("tlsDetails "));
    assert!(field(Call { other: Some("[]".into()), ..Call::default() }).starts_with("other "));
    let identity = UserIdentity { session_context: broken(), ..UserIdentity::default() };
    assert!(
        field(Call { user_identity: Some(identity), ..Call::default() })
            .starts_with("userIdentity.sessionContext ")
    );
    let resource = Resource { other: broken(), ..Resource::default() };
    assert!(field(Call { resources: vec![resource], ..Call::default() }).starts_with("resources "));
    let two_values = Some("{} {}".into());
    assert!(
        field(Call { response_elements: two_values, ..Call::default() }).starts_with("responseElements ")
    );
}

/// Every member that can be borrowed.
fn full() -> Call {
    let text = || Some("é\"t".to_owned());
    let json = || Some(r#"{"a":[1.10]}"#.into());
    Call {
        event_id: vec![7; 16].into(),
        time_unix_nano: Some(-1),
        event_source: "s".to_owned(),
        event_name: "n".to_owned(),
        event_type: "t".to_owned(),
        event_category: "c".to_owned(),
        read_only: Some(true),
        management_event: Some(false),
        user_identity: Some(UserIdentity {
            r#type: text(),
            principal_id: text(),
            arn: text(),
            account_id: text(),
            access_key_id: text(),
            user_name: text(),
            invoked_by: text(),
            identity_provider: text(),
            session_context: Some(
                r#"{"sourceIdentity":"x","attributes":{"mfaAuthenticated":"true"}}"#.into(),
            ),
            other: None,
        }),
        source_ip_address: "10.0.0.1".to_owned(),
        user_agent: text(),
        error_code: text(),
        error_message: text(),
        request_id: text(),
        request_parameters: json(),
        response_elements: json(),
        additional_event_data: json(),
        resources: vec![
            Resource { arn: text(), account_id: text(), r#type: text(), other: None },
            Resource::default(),
        ],
        shared_event_id: text(),
        vpc_endpoint_id: text(),
        tls_details: Some(r#"{"cipherSuite":"s","tlsVersion":"v"}"#.into()),
        other: None,
    }
}

#[test]
fn every_member_is_borrowed() {
    assert!(check_borrowed(&full()));
}

#[test]
fn what_is_in_parts_is_put_together() {
    let parts = [full().encode_to_vec(), Call { event_source: "later".to_owned(), ..full() }.encode_to_vec()]
        .concat();
    assert!(!check_bytes(&parts), "two user identities are one");
    let part = Call { event_source: "later".to_owned(), user_agent: Some(String::new()), ..Call::default() };
    assert!(check_bytes(&[full().encode_to_vec(), part.encode_to_vec()].concat()));

    let event = |payload| Event { sequence: 3, completes: 2, payload: Some(payload) }.encode_to_vec();
    let (first, second) = (event(Payload::Call(full())), event(Payload::Call(part)));
    let parts = [first, second].concat();
    let whole = Event::decode(&*parts).expect("an event").into();
    assert_eq!(EventRef::read(&parts).expect("an event"), whole);
}

#[test]
fn events_are_read_as_they_were_written() {
    for payload in [
        Some(Payload::Call(full())),
        Some(Payload::Intent(full())),
        Some(Payload::Record("{}".into())),
        Some(Payload::Dropped(Dropped { count: 3, reason: "overflow".to_owned() })),
        None,
    ] {
        for (sequence, completes) in [(0, 0), (1, 0), (127, 1), (128, 127), (u64::MAX, u64::MAX)] {
            let event = Event { sequence, completes, payload: payload.clone() };
            let bytes = event.encode_to_vec();
            assert_eq!(EventRef::read(&bytes).expect("an event"), event.into());
        }
    }
}

proptest! {
    /// Whatever becomes of the bytes on their way: what is borrowed is what the generated code makes of it.
    #[test]
    fn damaged_calls_and_events(
        changes in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 0..4),
        cut in any::<prop::sample::Index>(),
        is_cut in any::<bool>(),
    ) {
        let call = full();
        let event = Event { sequence: 300, completes: 7, payload: Some(Payload::Call(call.clone())) };
        for mut bytes in [call.encode_to_vec(), event.encode_to_vec()] {
            for (place, byte) in &changes {
                let place = place.index(bytes.len());
                bytes[place] = *byte;
            }
            if is_cut {
                bytes.truncate(cut.index(bytes.len()));
            }
            check_bytes(&bytes);
            match (EventRef::read(&bytes), Event::decode(&*bytes)) {
                (Ok(EventRef { payload: Some(PayloadRef::Call(inner)), sequence, completes }), decoded) => {
                    // The call in it was not looked at.
                    if let Ok(whole) = decoded {
                        prop_assert_eq!((sequence, completes), (whole.sequence, whole.completes));
                        let Some(Payload::Call(expected)) = whole.payload else { panic!("another payload") };
                        prop_assert_eq!(Call::decode(&*inner).expect("a call"), expected);
                    } else {
                        prop_assert!(Call::decode(&*inner).is_err());
                    }
                }
                (Ok(EventRef { payload: Some(PayloadRef::Intent(inner)), .. }), Err(_)) => {
                    prop_assert!(Call::decode(&*inner).is_err());
                }
                (Ok(event), decoded) => prop_assert_eq!(event, decoded.expect("an event").into()),
                (Err(_), decoded) => prop_assert!(decoded.is_err()),
            }
        }
    }

    #[test]
    fn typed_members_and_others(
        texts in prop::collection::vec(prop::option::of(".{0,12}"), 8),
        flags in prop::collection::vec(prop::option::of(any::<bool>()), 2),
        seconds in -62_167_219_200_i64..=253_402_207_200,
        novelty in ".{0,12}",
    ) {
        let [source, name, kind, category, agent, code, request, principal] = &texts[..] else { unreachable!() };
        let mut record = Record {
            event_source: source.clone(),
            event_name: name.clone(),
            event_type: kind.clone(),
            event_category: category.clone(),
            user_agent: agent.clone(),
            error_code: code.clone(),
            request_id: request.clone(),
            read_only: flags[0],
            management_event: flags[1],
            event_time: sidetrail_record::EventTime::from_unix_seconds(seconds),
            user_identity: Some(sidetrail_record::UserIdentity {
                principal_id: principal.clone(),
                ..Default::default()
            }),
            ..Record::default()
        };
        let plain = Call {
            resources: vec![
                Resource { arn: agent.clone(), r#type: kind.clone(), ..Resource::default() },
                Resource::default(),
            ],
            request_parameters: Some(format!(" {{\"a\" :{} }}\n", Json::of(&novelty).expect("JSON").as_str()).into()),
            tls_details: Some(r#"{"x":1.10,"cipherSuite":"s","tlsVersion":"v"}"#.into()),
            ..Call::from(record.clone())
        };
        prop_assert!(check_borrowed(&plain) || plain.other.is_some());
        record.other.insert("novelty", Json::of(&novelty).expect("a string is JSON"));
        let back = Record::try_from(Call::from(record.clone())).expect("valid");
        prop_assert_eq!(back, record);
    }
}
