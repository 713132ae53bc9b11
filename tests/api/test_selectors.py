from conftest import arn, refused

DEFAULT = {
    "ReadWriteType": "All",
    "IncludeManagementEvents": True,
    "DataResources": [],
    "ExcludeManagementEventSources": [],
}


def advanced(*values, field="eventName", operator="Equals"):
    fields = [
        {"Field": "resources.type", "Equals": ["AWS::Orders::Order"]},
        {"Field": "eventCategory", "Equals": ["Data"]},
    ]
    if values:
        fields.append({"Field": field, operator: list(values)})
    return [{"Name": "refunds", "FieldSelectors": fields}]


def test_a_new_trail_has_the_default(trails, make):
    make()
    shown = trails.get_event_selectors(TrailName="orders")
    assert shown["TrailARN"] == arn("orders")
    assert shown["EventSelectors"] == [DEFAULT]
    assert "AdvancedEventSelectors" not in shown


def test_each_kind_replaces_the_other(trails, make):
    make()
    put = trails.put_event_selectors(TrailName="orders", AdvancedEventSelectors=advanced("RefundOrder"))
    assert put["TrailARN"] == arn("orders")
    assert put["AdvancedEventSelectors"] == advanced("RefundOrder")
    assert "EventSelectors" not in put
    shown = trails.get_event_selectors(TrailName=arn("orders"))
    # Put echoes, get sorts.
    assert [field["Field"] for field in shown["AdvancedEventSelectors"][0]["FieldSelectors"]] == ["eventCategory", "eventName", "resources.type"]
    assert "EventSelectors" not in shown
    assert trails.get_trail(Name="orders")["Trail"]["HasCustomEventSelectors"] is True
    basic = {
        "ReadWriteType": "WriteOnly",
        "IncludeManagementEvents": True,
        "DataResources": [{"Type": "AWS::S3::Object", "Values": ["arn:aws:s3:::bucket/", "arn:aws:s3"]}],
        "ExcludeManagementEventSources": ["kms.amazonaws.com"],
    }
    put = trails.put_event_selectors(TrailName="orders", EventSelectors=[basic])
    assert put["EventSelectors"] == [basic]
    shown = trails.get_event_selectors(TrailName="orders")
    assert shown["EventSelectors"] == [basic]
    assert "AdvancedEventSelectors" not in shown
    put = trails.put_event_selectors(TrailName="orders", EventSelectors=[{}])
    assert put["EventSelectors"] == [DEFAULT]
    assert trails.get_trail(Name="orders")["Trail"]["HasCustomEventSelectors"] is False


def test_selectors_have_rules(trails, make):
    make()
    before = trails.get_event_selectors(TrailName="orders")["EventSelectors"]
    s3 = lambda *values: [{"DataResources": [{"Type": "AWS::S3::Object", "Values": list(values)}]}]
    many = [f"arn:aws:s3:::bucket-{number}/" for number in range(251)]
    for says, selectors in [
        ("Value arn:aws:s3:::* for DataResources.Values is invalid.", {"EventSelectors": s3("arn:aws:s3:::*")}),
        ("allowed are 0 to 250", {"EventSelectors": s3(*many)}),
        ("allowed are 1 to 5", {"EventSelectors": [{}] * 6}),
        ("ReadWriteType", {"EventSelectors": [{"ReadWriteType": "Sometimes"}]}),
        ("ExcludeManagementEventSources", {"EventSelectors": [{"ExcludeManagementEventSources": ["s3.amazonaws.com"]}]}),
        ("needs DataResources", {"EventSelectors": [{"IncludeManagementEvents": False}]}),
        ("allowed are 1 to 500", {"AdvancedEventSelectors": advanced(*(f"Event{n}" for n in range(501)))}),
        ("characters", {"AdvancedEventSelectors": advanced("x" * 2049)}),
        ("both in Equals and in NotEquals", {"AdvancedEventSelectors": [{"FieldSelectors": [
            {"Field": "eventCategory", "Equals": ["Data"]},
            {"Field": "resources.type", "Equals": ["AWS::Orders::Order"]},
            {"Field": "eventName", "Equals": ["A"], "NotEquals": ["A"]},
        ]}]}),
        ("eventCategory", {"AdvancedEventSelectors": [{"FieldSelectors": [{"Field": "readOnly", "Equals": ["true"]}]}]}),
        ("", {"AdvancedEventSelectors": [{"FieldSelectors": [{"Field": "eventCategory", "Equals": ["Insight"]}]}]}),
        ("either", {}),
        ("either", {"EventSelectors": [{}], "AdvancedEventSelectors": advanced()}),
    ]:
        refused(trails.put_event_selectors, "InvalidEventSelectorsException", says, TrailName="orders", **selectors)
    assert trails.get_event_selectors(TrailName="orders")["EventSelectors"] == before
    refused(trails.put_event_selectors, "TrailNotFoundException", TrailName="another", EventSelectors=[{}])
    refused(trails.get_event_selectors, "TrailNotFoundException", TrailName="another")


def test_five_hundred_values_fit(trails, make):
    make()
    # The category and the type are values too.
    values = [f"Event{number}" for number in range(498)]
    put = trails.put_event_selectors(TrailName="orders", AdvancedEventSelectors=advanced(*values))
    assert put["AdvancedEventSelectors"][0]["FieldSelectors"][2]["Equals"] == values
    refused(trails.put_event_selectors, "InvalidEventSelectorsException", "501", TrailName="orders", AdvancedEventSelectors=advanced(*values, "One"))


def test_insights(trails, make):
    make()
    says = "Trail orders does not have Insights enabled. Edit the trail settings to enable Insights, and then try the operation again."
    refused(trails.get_insight_selectors, "InsightNotEnabledException", says, TrailName="orders")
    wanted = [{"InsightType": "ApiCallRateInsight"}, {"InsightType": "ApiErrorRateInsight", "EventCategories": ["Management"]}]
    put = trails.put_insight_selectors(TrailName="orders", InsightSelectors=wanted)
    assert put["TrailARN"] == arn("orders")
    assert put["InsightSelectors"] == wanted
    assert trails.get_insight_selectors(TrailName=arn("orders"))["InsightSelectors"] == wanted
    assert trails.get_trail(Name="orders")["Trail"]["HasInsightSelectors"] is True
    trails.put_insight_selectors(TrailName="orders", InsightSelectors=[])
    refused(trails.get_insight_selectors, "InsightNotEnabledException", TrailName="orders")
    for says, selectors in [
        ("ApiNothingInsight", [{"InsightType": "ApiNothingInsight"}]),
        ("comes twice", [{"InsightType": "ApiCallRateInsight"}] * 2),
        ("Everything", [{"InsightType": "ApiCallRateInsight", "EventCategories": ["Everything"]}]),
    ]:
        refused(trails.put_insight_selectors, "InvalidInsightSelectorsException", says, TrailName="orders", InsightSelectors=selectors)
    trails.put_event_selectors(TrailName="orders", EventSelectors=[{"ReadWriteType": "ReadOnly"}])
    refused(trails.put_insight_selectors, "InvalidInsightSelectorsException", "write management events", TrailName="orders", InsightSelectors=[{"InsightType": "ApiCallRateInsight"}])
    refused(trails.put_insight_selectors, "InvalidParameterCombinationException", InsightSelectors=[])
    refused(trails.put_insight_selectors, "UnsupportedOperationException", InsightSelectors=[], EventDataStore="abc", InsightsDestination="abc")
    refused(trails.get_insight_selectors, "InvalidParameterCombinationException", TrailName="orders", EventDataStore="abc")
