//! What is accepted, and how what is not is refused.

use serde_json::{Value, json};
use sidetrail_selectors::{InvalidSelectors, Scope, Selectors};

fn check(selectors: &Value, scope: Scope) -> Result<(), InvalidSelectors> {
    let selectors: Selectors = serde_json::from_value(selectors.clone()).unwrap();
    selectors.validate(scope)
}

fn basic(selector: &Value) -> Value {
    json!({ "EventSelectors": [selector] })
}

fn advanced(conditions: &Value) -> Value {
    json!({ "AdvancedEventSelectors": [{ "FieldSelectors": conditions }] })
}

#[track_caller]
fn accepted(selectors: &Value, scope: Scope) {
    if let Err(error) = check(selectors, scope) {
        panic!("{selectors} is refused: {} {error}", error.at());
    }
}

/// `expected` is the place and the text.
#[track_caller]
fn refused(selectors: &Value, scope: Scope, expected: (&str, &str)) {
    let error = check(selectors, scope).expect_err(&selectors.to_string());
    assert_eq!((error.at(), error.to_string().as_str()), expected, "{selectors}");
}

#[test]
fn what_get_event_selectors_prints_is_read_and_written() {
    let printed = json!({
        "TrailARN": "arn:aws:cloudtrail:us-east-1:111122223333:trail/t",
        "EventSelectors": [{"ReadWriteType": "All", "IncludeManagementEvents": true, "DataResources": [],
            "ExcludeManagementEventSources": []}],
    });
    let selectors: Selectors = serde_json::from_value(printed.clone()).unwrap();
    assert_eq!(selectors, Selectors::of_a_new_trail());
    assert!(!selectors.are_custom());
    assert_eq!(serde_json::to_value(&selectors).unwrap()["EventSelectors"], printed["EventSelectors"]);

    let printed = json!({"AdvancedEventSelectors": [{"Name": "n", "FieldSelectors": [
        {"Field": "eventCategory", "Equals": ["Data"]},
        {"Field": "resources.type", "Equals": ["AWS::S3::Object"]},
        {"Field": "resources.ARN", "NotStartsWith": ["arn:aws:s3:::b/"]}]}]});
    let selectors: Selectors = serde_json::from_value(printed.clone()).unwrap();
    assert!(selectors.are_custom());
    assert_eq!(serde_json::to_value(&selectors).unwrap(), printed);
}

#[test]
fn defaults_are_cloudtrails() {
    let selectors: Selectors =
        serde_json::from_value(json!({"EventSelectors": [{"DataResources": null}]})).unwrap();
    assert_eq!(selectors, Selectors::of_a_new_trail());
}

#[test]
fn unknown_members_and_kinds_are_refused() {
    for (text, expected) in [
        (r#"{"EventSelectors":[{"ReadWriteTyp":"All"}]}"#, "ReadWriteTyp"),
        (r#"{"EventSelectors":[{"ReadWriteType":"Both"}]}"#, "Both"),
        (r#"{"EventSelectors":[{"DataResources":[{"Type":"AWS::S3::Object","Value":[]}]}]}"#, "Value"),
        (r#"{"AdvancedEventSelectors":[{"FieldSelectors":[{"Field":"a","Contains":["b"]}]}]}"#, "Contains"),
        (r#"{"AdvancedEventSelectors":[{"fieldSelectors":[]}]}"#, "fieldSelectors"),
        (r#"{"EventSelectors":[],"AdvancedEventSelectors":[]}"#, "give either"),
        (r#"{"TrailARN":"x"}"#, "give either"),
        (r#"{"Selectors":[]}"#, "Selectors"),
    ] {
        let error = serde_json::from_str::<Selectors>(text).unwrap_err().to_string();
        assert!(error.contains(expected), "{text}: {error}");
    }
}

#[test]
fn basic_selectors_keep_their_rules() {
    use Scope::Trail;
    let resource =
        |kind: &str, value: &str| basic(&json!({"DataResources": [{"Type": kind, "Values": [value]}]}));
    for (kind, value) in [
        ("AWS::S3::Object", "arn:aws:s3"),
        ("AWS::S3::Object", "arn:aws:s3:::"),
        ("AWS::S3::Object", "arn:aws:s3:::bucket"),
        ("AWS::S3::Object", "arn:aws:s3:::bucket/"),
        ("AWS::S3::Object", "arn:aws-cn:s3:::bucket/a*b"),
        ("AWS::Lambda::Function", "arn:aws:lambda"),
        ("AWS::Lambda::Function", "arn:aws:lambda:eu-west-1:111122223333:function:f"),
        ("AWS::DynamoDB::Table", "arn:aws:dynamodb"),
        ("AWS::DynamoDB::Table", "arn:aws:dynamodb:eu-west-1:111122223333:table/t"),
        ("AWS::Orders::Order", "arn:aws:orders"),
        ("AWS::Orders::Order", "arn:aws:orders:eu-west-1:111122223333:order/1"),
        ("Acme::Orders::Order-Line", "arn:acme:orders:::order/"),
    ] {
        accepted(&resource(kind, value), Trail);
    }
    for (kind, value) in [
        ("AWS::S3::Object", "arn:aws:s3:::*"),
        ("AWS::S3::Object", "arn:aws:s3:::buck*/"),
        ("AWS::S3::Object", "arn:aws:s3:::/key"),
        ("AWS::S3::Object", "arn:aws:s3:eu-west-1::bucket/"),
        ("AWS::S3::Object", "arn:aws:lambda"),
        ("AWS::S3::Object", "arn:acme:s3"),
        ("AWS::S3::Object", "bucket/"),
        ("AWS::Lambda::Function", "arn:aws:lambda:eu-west-1"),
        ("AWS::Lambda::Function", "arn:aws:lambda:eu-west-1:111122223333:*"),
        ("AWS::DynamoDB::Table", "arn:aws:dynamodb:::"),
        ("AWS::Orders::Order", "arn:aws:orders:*"),
        ("AWS::Orders::Order", "orders"),
        ("AWS::Orders::Order", "arn::orders"),
    ] {
        let text = format!("Value {value} for DataResources.Values is invalid.");
        refused(&resource(kind, value), Trail, ("EventSelectors[0].DataResources[0].Values[0]", &text));
    }
    for kind in ["AWS::S3", "S3", "AWS::S3::", "AWS::S3::Ob ject", "AWS::S3::Object::Version", ""] {
        let text = format!("Value {kind} for DataResources.Type is invalid.");
        refused(&resource(kind, "arn:aws:s3"), Trail, ("EventSelectors[0].DataResources[0].Type", &text));
    }
    refused(
        &basic(&json!({"DataResources": [{"Type": "AWS::S3::Object", "Values": []}]})),
        Trail,
        (
            "EventSelectors[0].DataResources[0].Values",
            "DataResources.Values has 0 entries, allowed are 1 to 250",
        ),
    );
    refused(
        &basic(&json!({"IncludeManagementEvents": false})),
        Trail,
        ("EventSelectors[0]", "a selector without management events needs DataResources"),
    );
    let everything = json!([{"Type": "AWS::S3::Object", "Values": ["arn:aws:s3"]}]);
    accepted(&basic(&json!({"IncludeManagementEvents": false, "DataResources": everything})), Trail);

    let excluding = |source: &str| basic(&json!({"ExcludeManagementEventSources": [source]}));
    for source in ["kms.amazonaws.com", "rdsdata.amazonaws.com", "orders.example.com", "notamazonaws.com"] {
        accepted(&excluding(source), Trail);
    }
    for source in ["s3.amazonaws.com", "amazonaws.com", ""] {
        let text = format!("Value {source} for ExcludeManagementEventSources is invalid.");
        refused(&excluding(source), Trail, ("EventSelectors[0].ExcludeManagementEventSources[0]", &text));
    }
    refused(
        &basic(&json!({"IncludeManagementEvents": false, "DataResources": everything,
            "ExcludeManagementEventSources": ["kms.amazonaws.com"]})),
        Trail,
        ("EventSelectors[0]", "ExcludeManagementEventSources needs IncludeManagementEvents to be true"),
    );
    refused(
        &basic(&json!({})),
        Scope::EventDataStore,
        ("EventSelectors", "an event data store has AdvancedEventSelectors only"),
    );
}

#[test]
fn basic_selectors_keep_their_limits() {
    let selectors = |count: usize| json!({"EventSelectors": vec![json!({}); count]});
    accepted(&selectors(5), Scope::Trail);
    for count in [0, 6] {
        let text = format!("EventSelectors has {count} entries, allowed are 1 to 5");
        refused(&selectors(count), Scope::Trail, ("EventSelectors", &text));
    }
    // Over all selectors, and "all" forms do not count.
    let values = |count: usize| {
        let mut values: Vec<_> = (0..count).map(|index| format!("arn:aws:s3:::b{index}/")).collect();
        values.extend(["arn:aws:s3", "arn:aws:s3:::"].map(str::to_owned));
        json!({"DataResources": [{"Type": "AWS::S3::Object", "Values": values}]})
    };
    accepted(&json!({"EventSelectors": [values(125), values(125)]}), Scope::Trail);
    refused(
        &json!({"EventSelectors": [values(125), values(126)]}),
        Scope::Trail,
        ("EventSelectors", "DataResources.Values has 251 entries over all selectors, allowed are 0 to 250"),
    );
}

/// The table of the user guide. `None` where a field cannot be used in a trail, `Some` of what it can hold.
#[test]
fn fields_go_with_categories() {
    const FIELDS: [&str; 10] = [
        "readOnly",
        "eventSource",
        "eventName",
        "eventType",
        "resources.type",
        "resources.ARN",
        "userIdentity.arn",
        "sessionCredentialFromConsole",
        "errorCode",
        "vpcEndpointId",
    ];
    // T: trail and store, S: store only, -: nowhere; R: required, with Equals and one value.
    for (category, table) in [
        ("Management", "TTSS--SS--"),
        ("Data", "TTTTRTTT--"),
        ("NetworkActivity", "-RT---T-TT"),
        ("Insight", "----------"),
        ("ConfigurationItem", "----------"),
        ("Evidence", "----------"),
        ("ActivityAuditLog", "----------"),
    ] {
        let in_trail = matches!(category, "Management" | "Data" | "NetworkActivity");
        for (field, allowed) in FIELDS.into_iter().zip(table.chars()) {
            let value = match field {
                "readOnly" | "sessionCredentialFromConsole" => "true",
                "errorCode" => "VpceAccessDenied",
                "resources.type" => "AWS::S3::Object",
                _ => "orders.example.com",
            };
            let required = match category {
                "Data" => Some(("resources.type", "AWS::S3::Object")),
                "NetworkActivity" => Some(("eventSource", "orders.example.com")),
                _ => None,
            };
            let mut conditions = vec![json!({"Field": "eventCategory", "Equals": [category]})];
            conditions.extend(
                required
                    .filter(|(name, _)| *name != field)
                    .map(|(name, it)| json!({"Field": name, "Equals": [it]})),
            );
            conditions.push(json!({"Field": field, "Equals": [value]}));
            let selectors = advanced(&json!(conditions));
            let name = format!("{category} {field}");
            assert_eq!(check(&selectors, Scope::Trail).is_ok(), in_trail && "TR".contains(allowed), "{name}");
            assert_eq!(check(&selectors, Scope::EventDataStore).is_ok(), "TSR".contains(allowed), "{name}");
            if allowed == 'R' {
                conditions.pop();
                let error = check(&advanced(&json!(conditions)), Scope::Trail).unwrap_err().to_string();
                assert!(error.contains(&format!("category {category} needs field {field}")), "{error}");
            }
        }
    }
}

#[test]
fn operators_go_with_fields() {
    let management = |condition: Value| {
        advanced(&json!([{"Field": "eventCategory", "Equals": ["Management"]}, condition]))
    };
    let data = |condition: Value| {
        advanced(&json!([{"Field": "eventCategory", "Equals": ["Data"]},
            {"Field": "resources.type", "Equals": ["AWS::S3::Object"]}, condition]))
    };
    for selectors in [
        management(json!({"Field": "readOnly", "Equals": ["true", "false"]})),
        management(
            json!({"Field": "eventSource", "NotEquals": ["kms.amazonaws.com", "rdsdata.amazonaws.com"]}),
        ),
        management(json!({"Field": "eventSource", "NotEquals": ["orders.example.com"]})),
        management(
            json!({"Field": "eventSource", "Equals": ["orders.example.com"], "EndsWith": [".example.org"]}),
        ),
        data(
            json!({"Field": "eventName", "StartsWith": ["Get"], "NotEndsWith": ["Acl"], "NotEquals": ["GetX"]}),
        ),
        data(json!({"Field": "eventSource", "StartsWith": ["s3"]})),
        data(json!({"Field": "resources.ARN", "NotStartsWith": ["arn:aws:s3:::b/"], "EndsWith": [".json"]})),
        data(json!({"Field": "sessionCredentialFromConsole", "NotEquals": ["true"]})),
    ] {
        accepted(&selectors, Scope::Trail);
    }
    for (selectors, at, text) in [
        (
            management(json!({"Field": "readOnly", "NotEquals": ["true"]})),
            "AdvancedEventSelectors[0].FieldSelectors[1]",
            "operator NotEquals cannot be used with field readOnly of category Management",
        ),
        (
            management(json!({"Field": "readOnly", "Equals": ["True"]})),
            "AdvancedEventSelectors[0].FieldSelectors[1].Equals[0]",
            "Value True for readOnly is invalid.",
        ),
        (
            management(json!({"Field": "eventSource", "Equals": ["s3.amazonaws.com"]})),
            "AdvancedEventSelectors[0].FieldSelectors[1].Equals[0]",
            "Value s3.amazonaws.com for eventSource is invalid.",
        ),
        (
            management(json!({"Field": "eventSource", "NotEquals": ["x.example.com", "s3.amazonaws.com"]})),
            "AdvancedEventSelectors[0].FieldSelectors[1].NotEquals[1]",
            "Value s3.amazonaws.com for eventSource is invalid.",
        ),
        (
            management(json!({"Field": "eventName", "Equals": ["RefundOrder"]})),
            "AdvancedEventSelectors[0].FieldSelectors[1]",
            "field eventName cannot be used with category Management in a trail",
        ),
        (
            management(json!({"Field": "errorCode", "Equals": ["VpceAccessDenied"]})),
            "AdvancedEventSelectors[0].FieldSelectors[1]",
            "field errorCode cannot be used with category Management",
        ),
        (
            data(json!({"Field": "sessionCredentialFromConsole", "StartsWith": ["t"]})),
            "AdvancedEventSelectors[0].FieldSelectors[2]",
            "operator StartsWith cannot be used with field sessionCredentialFromConsole of category Data",
        ),
        (
            data(json!({"Field": "resources.ARN", "Equals": []})),
            "AdvancedEventSelectors[0].FieldSelectors[2].Equals",
            "Equals has 0 values, allowed are 1 to 500",
        ),
        (
            data(json!({"Field": "resources.ARN"})),
            "AdvancedEventSelectors[0].FieldSelectors[2]",
            "FieldSelectors has 0 operators, allowed are 1 to 6",
        ),
        (
            data(json!({"Field": "resources.type", "StartsWith": ["AWS"]})),
            "AdvancedEventSelectors[0].FieldSelectors[2]",
            "field resources.type comes twice in one selector",
        ),
        (
            data(json!({"Field": "eventname", "Equals": ["x"]})),
            "AdvancedEventSelectors[0].FieldSelectors[2].Field",
            "Value eventname for FieldSelectors.Field is invalid.",
        ),
        (
            data(json!({"Field": "eventName", "EndsWith": ["a", "b"], "NotEndsWith": ["b"]})),
            "AdvancedEventSelectors[0].FieldSelectors[2]",
            "value b is both in EndsWith and in NotEndsWith of field eventName",
        ),
        (
            advanced(&json!([{"Field": "eventCategory", "Equals": ["Data"]},
                {"Field": "resources.type", "Equals": ["AWS::S3::Object", "AWS::SNS::Topic"]}])),
            "AdvancedEventSelectors[0].FieldSelectors[1]",
            "a selector of category Data needs field resources.type with operator Equals and exactly one value",
        ),
        (
            advanced(&json!([{"Field": "eventCategory", "Equals": ["Data", "Management"]}])),
            "AdvancedEventSelectors[0]",
            "a selector of category any needs field eventCategory with operator Equals and exactly one value",
        ),
        (
            advanced(&json!([{"Field": "readOnly", "Equals": ["true"]}])),
            "AdvancedEventSelectors[0]",
            "a selector of category any needs field eventCategory with operator Equals and exactly one value",
        ),
        (
            advanced(&json!([{"Field": "eventCategory", "Equals": ["Insight"]}])),
            "AdvancedEventSelectors[0].FieldSelectors[0].Equals[0]",
            "Value Insight for eventCategory is invalid.",
        ),
    ] {
        refused(&selectors, Scope::Trail, (at, text));
    }
}

#[test]
fn advanced_selectors_keep_their_limits() {
    let data = |values: usize, length: usize| {
        let values: Vec<_> = (0..values).map(|index| format!("{index:0length$}")).collect();
        json!({"FieldSelectors": [{"Field": "eventCategory", "Equals": ["Data"]},
            {"Field": "resources.type", "Equals": ["AWS::S3::Object"]}, {"Field": "eventName", "Equals": values}]})
    };
    let all = |selectors: Value| json!({ "AdvancedEventSelectors": selectors });
    accepted(&all(json!([data(498, 3)])), Scope::Trail);
    accepted(&all(json!([data(248, 3), data(248, 3)])), Scope::Trail);
    refused(
        &all(json!([data(248, 3), data(249, 3)])),
        Scope::Trail,
        (
            "AdvancedEventSelectors",
            "AdvancedEventSelectors has 501 values over all selectors, allowed are 1 to 500",
        ),
    );
    accepted(&all(json!([data(1, 2048)])), Scope::Trail);
    refused(
        &all(json!([data(1, 2049)])),
        Scope::Trail,
        (
            "AdvancedEventSelectors[0].FieldSelectors[2].Equals[0]",
            "Equals has 2049 characters, allowed are 1 to 2048",
        ),
    );
    let named = |length: usize| {
        all(
            json!([{"Name": "é".repeat(length), "FieldSelectors": [{"Field": "eventCategory", "Equals": ["Management"]}]}]),
        )
    };
    accepted(&named(0), Scope::Trail);
    accepted(&named(1000), Scope::Trail);
    refused(
        &named(1001),
        Scope::Trail,
        ("AdvancedEventSelectors[0].Name", "Name has 1001 characters, allowed are 0 to 1000"),
    );
    refused(
        &all(json!([{"FieldSelectors": []}])),
        Scope::Trail,
        (
            "AdvancedEventSelectors",
            "AdvancedEventSelectors has 0 values over all selectors, allowed are 1 to 500",
        ),
    );
    refused(
        &all(json!([])),
        Scope::Trail,
        ("AdvancedEventSelectors", "AdvancedEventSelectors has 0 entries, allowed are 1 to 500"),
    );
    let six = vec![data(1, 3); 6];
    accepted(&all(json!(six)), Scope::Trail);
    refused(
        &all(json!(six)),
        Scope::EventDataStore,
        ("AdvancedEventSelectors", "AdvancedEventSelectors has 6 entries, allowed are 1 to 5"),
    );
}

#[test]
fn a_value_that_is_quoted_is_cut() {
    let long = "x".repeat(5000);
    let error =
        check(&basic(&json!({"DataResources": [{"Type": long, "Values": ["arn:aws:s3"]}]})), Scope::Trail)
            .unwrap_err();
    assert!(error.to_string().len() < 300, "{error}");
    assert_eq!(error.reason(), Some("a type has the form AWS::Service::Kind"));
}
