//! What selectors take of which events.

use serde_json::{Value, json};
use sidetrail_record::Record;
use sidetrail_selectors::{Matcher, Peek, Scope, Selectors};

/// Asks the matcher with a record and with its text, and the explanation: all three agree.
#[track_caller]
pub(crate) fn takes(selectors: &Value, event: &Value) -> bool {
    let selectors: Selectors = serde_json::from_value(selectors.clone()).unwrap();
    let matcher =
        Matcher::new(&selectors, Scope::EventDataStore).or_else(|_| Matcher::new(&selectors, Scope::Trail));
    let matcher = matcher.unwrap();
    let text = event.to_string();
    let record: Record = serde_json::from_str(&text).unwrap();
    let peek: Peek<'_> = serde_json::from_str(&text).unwrap();
    let taken = matcher.matches(&record);
    assert_eq!(matcher.matches(&peek), taken, "the text of {event}");
    assert_eq!(selectors.explain(&record).taken, taken, "{:?} of {event}", selectors.explain(&record));
    taken
}

#[track_caller]
fn table(selectors: &Value, rows: &[(Value, bool)]) {
    for (event, taken) in rows {
        assert_eq!(takes(selectors, event), *taken, "{selectors} and {event}");
    }
}

fn object(arn: &str) -> Value {
    data("AWS::S3::Object", arn)
}

fn data(kind: &str, arn: &str) -> Value {
    json!({"eventCategory": "Data", "readOnly": false, "resources": [{"type": kind, "ARN": arn}]})
}

fn basic(selector: &Value) -> Value {
    json!({ "EventSelectors": [selector] })
}

fn advanced(conditions: &Value) -> Value {
    json!({ "AdvancedEventSelectors": [{ "FieldSelectors": conditions }] })
}

#[test]
fn the_default_takes_management_events() {
    table(
        &basic(&json!({})),
        &[
            (json!({"eventCategory": "Management"}), true),
            (json!({"eventCategory": "Data"}), false),
            (json!({"eventCategory": "NetworkActivity"}), false),
            (json!({"eventCategory": "Insight"}), false),
            (json!({"eventCategory": "management"}), false),
        ],
    );
}

/// Records from before there were categories.
#[test]
fn an_event_without_category_is_put_into_one() {
    table(
        &basic(&json!({})),
        &[
            (json!({}), true),
            (json!({"eventCategory": null}), true),
            (json!({"managementEvent": true}), true),
            (json!({"managementEvent": false}), false),
            (json!({"managementEvent": "false"}), true),
            (json!({"eventType": "AwsApiCall"}), true),
            (json!({"eventType": "AwsCloudTrailInsight"}), false),
            (json!({"eventType": "AwsVpceEvent"}), false),
            (json!({"eventType": "AwsVpceEvents", "eventCategory": "Management"}), true),
        ],
    );
    let network = advanced(&json!([{"Field": "eventCategory", "Equals": ["NetworkActivity"]},
        {"Field": "eventSource", "Equals": ["kms.amazonaws.com"]}]));
    table(
        &network,
        &[
            (json!({"eventType": "AwsVpceEvent", "eventSource": "kms.amazonaws.com"}), true),
            (json!({"eventType": "AwsVpceEvents", "eventSource": "kms.amazonaws.com"}), true),
            (json!({"eventType": "AwsApiCall", "eventSource": "kms.amazonaws.com"}), false),
        ],
    );
}

#[test]
fn reads_and_writes() {
    let of = |read_only: Value| json!({"eventCategory": "Management", "readOnly": read_only});
    for (kind, read, write, unsaid) in
        [("All", true, true, true), ("ReadOnly", true, false, false), ("WriteOnly", false, true, true)]
    {
        table(
            &basic(&json!({"ReadWriteType": kind})),
            &[
                (of(json!(true)), read),
                (of(json!(false)), write),
                (of(json!(null)), unsaid),
                (of(json!("true")), unsaid),
                (json!({}), unsaid),
            ],
        );
    }
    // It holds for the data part too.
    let reads = basic(&json!({"ReadWriteType": "ReadOnly", "IncludeManagementEvents": false,
        "DataResources": [{"Type": "AWS::S3::Object", "Values": ["arn:aws:s3"]}]}));
    let mut event = object("arn:aws:s3:::b/k");
    assert!(!takes(&reads, &event));
    event["readOnly"] = json!(true);
    assert!(takes(&reads, &event));
}

#[test]
fn sources_are_excluded_from_management_events_only() {
    let selectors =
        basic(&json!({"ExcludeManagementEventSources": ["kms.amazonaws.com", "orders.example.com"],
        "DataResources": [{"Type": "AWS::Orders::Order", "Values": ["arn:aws:orders"]}]}));
    let of = |source: &str| json!({"eventCategory": "Management", "eventSource": source});
    let mut data = data("AWS::Orders::Order", "arn:aws:orders:::order/1");
    data["eventSource"] = json!("orders.example.com");
    table(
        &selectors,
        &[
            (of("kms.amazonaws.com"), false),
            (of("orders.example.com"), false),
            (of("kms.amazonaws.com.example.com"), true),
            (of("KMS.amazonaws.com"), true),
            (json!({"eventCategory": "Management"}), true),
            (data, true),
        ],
    );
}

#[test]
fn data_resources_by_type() {
    let of = |kind: &str, value: &str| {
        basic(
            &json!({"IncludeManagementEvents": false, "DataResources": [{"Type": kind, "Values": [value]}]}),
        )
    };
    let function = "arn:aws:lambda:eu-west-1:111122223333:function:f";
    let table_arn = "arn:aws:dynamodb:eu-west-1:111122223333:table/t";
    for (kind, value, arn, taken) in [
        ("AWS::S3::Object", "arn:aws:s3", "arn:aws:s3:::b/k", true),
        ("AWS::S3::Object", "arn:aws:s3:::", "arn:aws-cn:s3:::b/k", true),
        ("AWS::S3::Object", "arn:aws:s3:::b/", "arn:aws:s3:::b/k", true),
        ("AWS::S3::Object", "arn:aws:s3:::b/k", "arn:aws:s3:::b/key", true),
        ("AWS::S3::Object", "arn:aws:s3:::b/key", "arn:aws:s3:::b/k", false),
        ("AWS::S3::Object", "arn:aws:s3:::b", "arn:aws:s3:::b/k", false),
        ("AWS::S3::Object", "arn:aws:s3:::b/", "arn:aws:s3:::b2/k", false),
        ("AWS::S3::Object", "arn:aws:s3:::b/K", "arn:aws:s3:::b/k", false),
        ("AWS::S3::Object", "arn:aws:s3:::b/a*", "arn:aws:s3:::b/abc", false),
        ("AWS::Lambda::Function", "arn:aws:lambda", function, true),
        ("AWS::Lambda::Function", function, function, true),
        ("AWS::Lambda::Function", function, "arn:aws:lambda:eu-west-1:111122223333:function:f2", false),
        ("AWS::DynamoDB::Table", table_arn, table_arn, true),
        (
            "AWS::DynamoDB::Table",
            table_arn,
            "arn:aws:dynamodb:eu-west-1:111122223333:table/t/stream/1",
            false,
        ),
        ("AWS::DynamoDB::Table", "arn:aws:dynamodb", table_arn, true),
        ("AWS::Orders::Order", "arn:aws:orders", "arn:aws:orders:r:a:order/1", true),
        ("AWS::Orders::Order", "arn:aws:orders", "arn:aws:orders2:r:a:order/1", false),
        ("AWS::Orders::Order", "arn:aws:orders:r:a:order/1", "arn:aws:orders:r:a:order/17", true),
        ("AWS::Orders::Order", "arn:aws:orders:r:a:order/17", "arn:aws:orders:r:a:order/1", false),
    ] {
        assert_eq!(takes(&of(kind, value), &data(kind, arn)), taken, "{value} and {arn}");
        assert!(!takes(&of(kind, value), &data("AWS::Other::Thing", arn)), "another type");
        let mut management = data(kind, arn);
        management["eventCategory"] = json!("Management");
        assert!(!takes(&of(kind, value), &management), "no data event");
    }
}

#[test]
fn one_of_several_resources_is_enough() {
    let bucket = json!({"type": "AWS::S3::Bucket", "ARN": "arn:aws:s3:::b"});
    let with = |resources: Value| json!({"eventCategory": "Data", "resources": resources});
    let object = |arn: &str| json!({"type": "AWS::S3::Object", "ARN": arn});
    let rows = [
        (with(json!([bucket, object("arn:aws:s3:::b/k")])), true),
        (with(json!([object("arn:aws:s3:::c/k"), object("arn:aws:s3:::b/k")])), true),
        (with(json!([bucket, object("arn:aws:s3:::c/k")])), false),
        // Type and ARN must be of the same resource.
        (
            with(json!([{"type": "AWS::S3::Bucket", "ARN": "arn:aws:s3:::b/"}, object("arn:aws:s3:::c/k")])),
            false,
        ),
        // What S3 writes for a list.
        (with(json!([bucket, {"type": "AWS::S3::Object", "ARNPrefix": "arn:aws:s3:::b/"}])), true),
        (
            with(
                json!([{"type": "AWS::S3::Object", "ARN": "arn:aws:s3:::c/", "ARNPrefix": "arn:aws:s3:::b/"}]),
            ),
            false,
        ),
        (with(json!([{"type": "AWS::S3::Object"}])), false),
        (with(json!([{"ARN": "arn:aws:s3:::b/k"}])), false),
        (with(json!([])), false),
        (with(json!(null)), false),
        // Of another type than CloudTrail's: as good as absent.
        (with(json!([object("arn:aws:s3:::b/k"), 7])), false),
        (json!({"eventCategory": "Data"}), false),
    ];
    table(
        &basic(&json!({"DataResources": [{"Type": "AWS::S3::Object", "Values": ["arn:aws:s3:::b/"]}]})),
        &rows,
    );
    table(
        &advanced(&json!([{"Field": "eventCategory", "Equals": ["Data"]},
            {"Field": "resources.type", "Equals": ["AWS::S3::Object"]},
            {"Field": "resources.ARN", "StartsWith": ["arn:aws:s3:::b/"]}])),
        &rows,
    );
    table(
        &advanced(&json!([{"Field": "eventCategory", "Equals": ["Data"]},
            {"Field": "resources.type", "Equals": ["AWS::S3::Object"]},
            {"Field": "resources.ARN", "NotStartsWith": ["arn:aws:s3:::b/"]}])),
        &[
            (with(json!([bucket, object("arn:aws:s3:::b/k")])), false),
            (with(json!([object("arn:aws:s3:::c/k"), object("arn:aws:s3:::b/k")])), true),
            (with(json!([{"type": "AWS::S3::Object"}])), true),
            (with(json!([bucket])), false),
            (with(json!([])), false),
        ],
    );
}

#[test]
fn operators_of_one_field() {
    let of = |condition: Value| {
        let mut condition = condition;
        condition["Field"] = json!("eventName");
        advanced(&json!([{"Field": "eventCategory", "Equals": ["Management"]}, condition]))
    };
    let names = ["GetObject", "GetObjectAcl", "PutObject", "getobject", "Get"];
    for (condition, taken) in [
        (json!({"Equals": ["GetObject", "PutObject"]}), [true, false, true, false, false]),
        (json!({"StartsWith": ["Get", "Put"]}), [true, true, true, false, true]),
        (json!({"EndsWith": ["Object", "Acl"]}), [true, true, true, false, false]),
        (json!({"NotEquals": ["GetObject"]}), [false, true, true, true, true]),
        (json!({"NotStartsWith": ["Get", "get"]}), [false, false, true, false, false]),
        (json!({"NotEndsWith": ["Object"]}), [false, true, false, true, true]),
        // Any of the wanted, over all three operators.
        (
            json!({"Equals": ["Get"], "StartsWith": ["Put"], "EndsWith": ["Acl"]}),
            [false, true, true, false, true],
        ),
        // And none of the unwanted.
        (
            json!({"StartsWith": ["Get"], "NotEndsWith": ["Acl"], "NotEquals": ["Get"]}),
            [true, false, false, false, false],
        ),
    ] {
        for (name, taken) in names.into_iter().zip(taken) {
            let event = json!({"eventCategory": "Management", "eventName": name});
            assert_eq!(takes(&of(condition.clone()), &event), taken, "{condition} and {name}");
        }
        let wants =
            ["Equals", "StartsWith", "EndsWith"].iter().any(|operator| condition.get(operator).is_some());
        for event in
            [json!({"eventCategory": "Management"}), json!({"eventCategory": "Management", "eventName": 7})]
        {
            assert_eq!(takes(&of(condition.clone()), &event), !wants, "{condition} and an absent field");
        }
    }
}

/// Each field is looked up where it belongs.
#[test]
fn every_field() {
    let category = |name: &str| json!({"Field": "eventCategory", "Equals": [name]});
    let object = json!({"Field": "resources.type", "Equals": ["AWS::S3::Object"]});
    let source = json!({"Field": "eventSource", "Equals": ["s3.amazonaws.com"]});
    let base = json!({
        "eventCategory": "Data", "readOnly": true, "eventSource": "s3.amazonaws.com", "eventName": "GetObject",
        "eventType": "AwsApiCall", "userIdentity": {"arn": "arn:aws:iam::1:user/a"}, "errorCode": "VpceAccessDenied",
        "vpcEndpointId": "vpce-1", "sessionCredentialFromConsole": "true",
        "resources": [{"type": "AWS::S3::Object", "ARN": "arn:aws:s3:::b/k"}],
    });
    for (category_name, needed, field, value, change) in [
        ("Data", &object, "readOnly", "true", json!({"readOnly": false})),
        ("Data", &object, "eventSource", "s3.amazonaws.com", json!({"eventSource": "x"})),
        ("Data", &object, "eventName", "GetObject", json!({"eventName": "x"})),
        ("Data", &object, "eventType", "AwsApiCall", json!({"eventType": "x"})),
        (
            "Data",
            &object,
            "resources.ARN",
            "arn:aws:s3:::b/k",
            json!({"resources": [{"type": "AWS::S3::Object"}]}),
        ),
        ("Data", &object, "userIdentity.arn", "arn:aws:iam::1:user/a", json!({"userIdentity": {"arn": "x"}})),
        (
            "Data",
            &object,
            "sessionCredentialFromConsole",
            "true",
            json!({"sessionCredentialFromConsole": null}),
        ),
        ("NetworkActivity", &source, "errorCode", "VpceAccessDenied", json!({"errorCode": "x"})),
        ("NetworkActivity", &source, "vpcEndpointId", "vpce-1", json!({"vpcEndpointId": "x"})),
        ("NetworkActivity", &source, "eventName", "GetObject", json!({"eventName": "x"})),
        (
            "NetworkActivity",
            &source,
            "userIdentity.arn",
            "arn:aws:iam::1:user/a",
            json!({"userIdentity": "x"}),
        ),
    ] {
        let selectors =
            advanced(&json!([category(category_name), needed, {"Field": field, "Equals": [value]}]));
        let mut event = base.clone();
        event["eventCategory"] = json!(category_name);
        assert!(takes(&selectors, &event), "{selectors} and {event}");
        for (name, value) in change.as_object().unwrap() {
            event[name] = value.clone();
        }
        assert!(!takes(&selectors, &event), "{selectors} and {event}");
    }
}

#[test]
fn any_selector_is_enough() {
    let selectors = json!({"AdvancedEventSelectors": [
        {"FieldSelectors": [{"Field": "eventCategory", "Equals": ["Management"]}, {"Field": "readOnly", "Equals": ["false"]}]},
        {"FieldSelectors": [{"Field": "eventCategory", "Equals": ["Data"]}, {"Field": "resources.type", "Equals": ["A::B::C"]}]},
    ]});
    table(
        &selectors,
        &[
            (json!({"eventCategory": "Management", "readOnly": false}), true),
            (json!({"eventCategory": "Management", "readOnly": true}), false),
            (data("A::B::C", "x"), true),
            (data("A::B::D", "x"), false),
        ],
    );
}

#[test]
fn explanations_say_why() {
    let selectors: Selectors = serde_json::from_value(json!({"AdvancedEventSelectors": [{"Name": "reads", "FieldSelectors": [
        {"Field": "eventCategory", "Equals": ["Data"]},
        {"Field": "resources.type", "Equals": ["AWS::S3::Object"]},
        {"Field": "resources.ARN", "StartsWith": ["arn:aws:s3:::b/"], "NotStartsWith": ["arn:aws:s3:::b/logs/"]},
        {"Field": "eventName", "StartsWith": ["Get"]},
        {"Field": "userIdentity.arn", "NotEquals": ["arn:aws:iam::1:user/a"]}]}]}))
    .unwrap();
    let record: Record =
        serde_json::from_value(json!({"eventCategory": "Data", "eventName": "GetObject", "resources": [
        {"type": "AWS::S3::Bucket", "ARN": "arn:aws:s3:::b"},
        {"type": "AWS::S3::Object", "ARN": "arn:aws:s3:::b/logs/1"}]}))
        .unwrap();
    let explanation = selectors.explain(&record);
    assert!(!explanation.taken);
    assert_eq!(
        serde_json::to_value(&explanation).unwrap(),
        json!({"taken": false, "selectors": [{"name": "reads", "matched": false, "conditions": [
            {"field": "eventCategory", "matched": true, "found": ["Data"], "reason": "Equals \"Data\" holds"},
            {"field": "resources.type", "matched": true, "found": ["AWS::S3::Bucket", "AWS::S3::Object"],
                "reason": "Equals \"AWS::S3::Object\" holds"},
            {"field": "resources.ARN", "matched": false, "found": ["arn:aws:s3:::b", "arn:aws:s3:::b/logs/1"],
                "reason": "NotStartsWith \"arn:aws:s3:::b/logs/\" excludes it"},
            {"field": "eventName", "matched": true, "found": ["GetObject"], "reason": "StartsWith \"Get\" holds"},
            {"field": "userIdentity.arn", "matched": true, "found": [], "reason": "the event has none"},
        ]}]})
    );

    let selectors: Selectors = serde_json::from_value(basic(&json!({"ReadWriteType": "WriteOnly",
        "DataResources": [{"Type": "AWS::S3::Object", "Values": ["arn:aws:s3:::b/"]}]})))
    .unwrap();
    let explanation = selectors.explain(&record);
    assert!(explanation.taken);
    let reasons: Vec<_> = explanation.selectors[0]
        .conditions
        .iter()
        .map(|it| (it.field.as_str(), it.reason.as_str()))
        .collect();
    assert_eq!(
        reasons,
        [
            ("ReadWriteType", "WriteOnly takes a write"),
            ("DataResources", "arn:aws:s3:::b/ of type AWS::S3::Object selects it"),
        ]
    );
}
