use super::*;

fn terms(record: &str) -> Vec<(Field, String)> {
    let mut terms = Vec::new();
    Event::read(record).terms(&mut |term| {
        let bytes = term.to_bytes();
        let field = [
            Field::EventName,
            Field::Username,
            Field::Failed,
            Field::Word,
            Field::ReadOnly,
            Field::AddressName,
        ];
        if let Some(field) = field.into_iter().find(|field| *field as u8 == bytes[0]) {
            terms.push((field, String::from_utf8(bytes[1..].to_vec()).unwrap()));
        }
    });
    terms
}

#[test]
fn a_call_is_found_by_what_it_says() {
    let record = r#"{"eventTime":"2026-01-15T10:41:17Z","eventName":"GetOrder","readOnly":true,"errorCode":"NotFound",
        "userIdentity":{"type":"AssumedRole","principalId":"AROA:deploy-7"},"sourceIPAddress":"AWS Internal",
        "requestParameters":{"id":"A-17"},"responseElements":null,
        "additionalEventData":{"sidetrail":{"source":"x","sequence":12}}}"#;
    assert_eq!(
        terms(record),
        [
            (Field::EventName, "GetOrder".to_owned()),
            (Field::ReadOnly, "true".to_owned()),
            (Field::Username, "deploy-7".to_owned()),
            (Field::Failed, String::new()),
            (Field::AddressName, "AWS Internal".to_owned()),
            (Field::Word, "a-17".to_owned()),
        ]
    );
    let event = Event::read(record);
    assert_eq!(event.key(Seconds(0)), Key::new(Seconds::parse("2026-01-15T10:41:17Z").unwrap(), 12, record));
    assert_eq!(event.class(), Class::Management);
}

#[test]
fn callers_have_the_names_of_lookup_events() {
    for (identity, name) in [
        (r#"{"type":"Root","userName":"alias"}"#, Some("root")),
        (r#"{"type":"IAMUser","userName":"casey"}"#, Some("casey")),
        (r#"{"type":"AssumedRole","principalId":"AROA:s:1","userName":"x"}"#, Some("s:1")),
        (r#"{"type":"FederatedUser","principalId":"123456789012:bob"}"#, Some("bob")),
        (r#"{"type":"AWSService","invokedBy":"ec2.amazonaws.com"}"#, Some("ec2.amazonaws.com")),
        (r#"{"type":"WebIdentityUser","principalId":"https://id:app:u1"}"#, Some("https://id:app:u1")),
        (r#"{"type":"WebIdentityUser","userName":"u1","principalId":"a:b"}"#, Some("u1")),
        (r#"{"type":"AWSAccount","principalId":"AIDA"}"#, None),
        (r#"{"type":"Unknown","userName":""}"#, None),
        (r#"{"type":5}"#, None),
        ("null", None),
    ] {
        let record = format!(r#"{{"userIdentity":{identity}}}"#);
        assert_eq!(Event::read(&record).username(), name, "{identity}");
    }
}

#[test]
fn categories_part_history() {
    for (record, class) in [
        (r#"{"eventCategory":"Management"}"#, Class::Management),
        (r#"{"eventCategory":"Data","managementEvent":true}"#, Class::Other),
        (r#"{"eventCategory":"NetworkActivity"}"#, Class::Other),
        (r#"{"eventCategory":"Insight"}"#, Class::Insight),
        (r#"{"eventType":"AwsCloudTrailInsight"}"#, Class::Insight),
        (r#"{"managementEvent":false}"#, Class::Other),
        ("{}", Class::Management),
    ] {
        assert_eq!(Event::read(record).class(), class, "{record}");
    }
}

#[test]
fn insights_are_found_by_what_they_are_about() {
    let record =
        r#"{"eventCategory":"Insight","insightDetails":{"eventSource":"ssm.amazonaws.com","eventName":"X"}}"#;
    let event = Event::read(record);
    assert_eq!((event.name.as_deref(), event.source.as_deref()), (Some("X"), Some("ssm.amazonaws.com")));
}

#[test]
fn what_is_odd_is_left_out_and_the_rest_is_found() {
    let record = r#"{"eventName":"A","eventName":["B"],"eventTime":"redacted","resources":{"x":1},"readOnly":"true","userIdentity":7,"eventSource":"s"}"#;
    let event = Event::read(record);
    assert_eq!((event.name.as_deref(), event.time, event.read_only), (None, None, None));
    assert_eq!(event.source.as_deref(), Some("s"));
    assert_eq!(event.key(Seconds(7)).at(), Seconds(7));
    assert_eq!(Event::read(r#"{"eventName":"A","eventSource":"#).name.as_deref(), Some("A"));
}
