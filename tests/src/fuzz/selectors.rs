//! Selectors are read as they are written, and a matcher says what it explains.

use std::sync::LazyLock;

use sidetrail_record::Record;
use sidetrail_selectors::{Event, Matcher, Peek, Scope, Selectors, category};

pub(super) const WORDS: &[&str] = &[
    "\"AdvancedEventSelectors\":[",
    "\"EventSelectors\":[",
    "\"FieldSelectors\":[",
    "\"Field\":",
    "\"Equals\":[",
    "\"NotEquals\":[",
    "\"StartsWith\":[",
    "\"NotStartsWith\":[",
    "\"EndsWith\":[",
    "\"NotEndsWith\":[",
    "\"Name\":",
    "\"ReadWriteType\":",
    "\"WriteOnly\"",
    "\"IncludeManagementEvents\":",
    "\"DataResources\":[",
    "\"Type\":",
    "\"Values\":[",
    "\"ExcludeManagementEventSources\":[",
    "\"eventCategory\"",
    "\"resources.type\"",
    "\"resources.ARN\"",
    "\"readOnly\"",
    "\"eventSource\"",
    "\"userIdentity.arn\"",
    "\"Data\"",
    "\"Management\"",
    "\"NetworkActivity\"",
    "\"AWS::S3::Object\"",
    "arn:aws:s3",
    "kms.amazonaws.com",
    "\"TrailARN\":",
];

const SEEDS: [&str; 6] = [
    r#"{"EventSelectors":[{"ReadWriteType":"All","IncludeManagementEvents":true,"DataResources":[{"Type":"AWS::S3::Object","Values":["arn:aws:s3"]}],"ExcludeManagementEventSources":["kms.amazonaws.com"]}]}"#,
    r#"{"TrailARN":"arn:aws:cloudtrail:eu-west-1:111122223333:trail/t","EventSelectors":[{"ReadWriteType":"WriteOnly","DataResources":[{"Type":"AWS::Lambda::Function","Values":["arn:aws:lambda"]},{"Type":"AWS::DynamoDB::Table","Values":["arn:aws:dynamodb"]}]}]}"#,
    r#"{"AdvancedEventSelectors":[{"Name":"management","FieldSelectors":[{"Field":"eventCategory","Equals":["Management"]},{"Field":"eventSource","NotEquals":["kms.amazonaws.com","rdsdata.amazonaws.com"]}]}]}"#,
    r#"{"AdvancedEventSelectors":[{"FieldSelectors":[{"Field":"eventCategory","Equals":["Data"]},{"Field":"resources.type","Equals":["AWS::S3::Object"]},{"Field":"resources.ARN","StartsWith":["arn:aws:s3:::demo"],"NotEndsWith":["/"]},{"Field":"readOnly","Equals":["false"]},{"Field":"eventName","StartsWith":["Put","Delete"]}]}]}"#,
    r#"{"AdvancedEventSelectors":[{"Name":"net","FieldSelectors":[{"Field":"eventCategory","Equals":["NetworkActivity"]},{"Field":"eventSource","Equals":["s3.amazonaws.com"]},{"Field":"errorCode","Equals":["VpceAccessDenied"]},{"Field":"vpcEndpointId","NotEquals":["vpce-1"]}]}]}"#,
    r#"{"AdvancedEventSelectors":[{"Name":"orders","FieldSelectors":[{"Field":"eventCategory","Equals":["Data"]},{"Field":"resources.type","Equals":["AWS::Orders::Order"]},{"Field":"userIdentity.arn","NotStartsWith":["arn:aws:sts::111122223333:assumed-role/"]}]}]}"#,
];

pub(super) fn seeds() -> Vec<Vec<u8>> {
    SEEDS.iter().map(|seed| seed.as_bytes().to_vec()).collect()
}

/// A few events of every kind.
static EVENTS: LazyLock<Vec<(Record, String)>> = LazyLock::new(|| {
    let parse = |text: String| (serde_json::from_str(&text).expect("a record"), text);
    super::real_records().into_iter().map(parse).collect()
});

pub(super) fn check(input: &[u8]) {
    let Ok(selectors) = serde_json::from_slice::<Selectors>(input) else { return };
    let text = serde_json::to_string(&selectors).expect("selectors can be written");
    assert_eq!(serde_json::from_str::<Selectors>(&text).expect("what was written can be read"), selectors);
    for scope in [Scope::Trail, Scope::EventDataStore] {
        let matcher = Matcher::new(&selectors, scope);
        assert_eq!(matcher.is_ok(), selectors.validate(scope).is_ok());
        let matcher = match matcher {
            Ok(matcher) => matcher,
            Err(error) => {
                assert!(!error.to_string().is_empty());
                continue;
            }
        };
        for (record, text) in EVENTS.iter() {
            let taken = matcher.matches(record);
            assert_eq!(selectors.explain(record).taken, taken, "{text}");
            let peek: Peek<'_> = serde_json::from_str(text).expect("a record");
            assert_eq!(matcher.matches(&peek), taken, "{text}");
        }
    }
}

/// A record and its text are the same event.
pub(super) fn assert_same_event(record: &Record, peek: &Peek<'_>) {
    assert_eq!(Seen::of(record), Seen::of(peek));
}

/// All that selectors see of an event.
#[derive(Debug, PartialEq)]
struct Seen<'a> {
    category: &'a str,
    flags: [Option<bool>; 2],
    texts: [Option<&'a str>; 7],
    resources: Vec<[Option<&'a str>; 2]>,
}

impl<'a> Seen<'a> {
    fn of<E: Event>(event: &'a E) -> Self {
        let texts = [
            event.event_source(),
            event.event_name(),
            event.event_type(),
            event.error_code(),
            event.vpc_endpoint_id(),
            event.user_identity_arn(),
            event.session_credential_from_console(),
        ];
        let resources = (0..).map_while(|index| event.resource(index));
        Self {
            category: category(event),
            flags: [event.management_event(), event.read_only()],
            texts,
            resources: resources.map(|resource| [resource.kind, resource.arn]).collect(),
        }
    }
}
