"""Event history: the server's own calls, once a collector has shipped them into a trail's bucket."""

import datetime
import json
import time

import pytest
from conftest import ACCOUNT, REGION, SITE, client, refused


def by(key, value):
    return {"LookupAttributes": [{"AttributeKey": key, "AttributeValue": value}]}


@pytest.fixture
def found(trails, make):
    """The event of making a trail whose bucket the history then reads."""
    make("delivered", S3BucketName=SITE["delivered_bucket"])
    end = time.monotonic() + 60
    while True:
        try:
            events = trails.lookup_events(**by("EventName", "CreateTrail"))["Events"]
        except trails.exceptions.ClientError as error:
            assert error.response["Error"]["Code"] == "ServiceUnavailableException"
            events = []
        if events:
            return events[0]
        assert time.monotonic() < end
        time.sleep(0.5)


def test_events_are_found_by_each_attribute(trails, found):
    record = json.loads(found["CloudTrailEvent"])
    assert found["EventId"] == record["eventID"]
    assert found["EventName"] == record["eventName"] == "CreateTrail"
    assert found["EventSource"] == record["eventSource"]
    assert found["ReadOnly"] == "false"
    assert found["EventTime"].tzinfo is not None
    assert record["recipientAccountId"] == ACCOUNT and record["awsRegion"] == REGION
    for key, value in [
        ("EventId", found["EventId"]),
        ("EventName", "CreateTrail"),
        ("EventSource", found["EventSource"]),
        ("ReadOnly", "false"),
        ("Username", found["Username"]),
        ("AccessKeyId", found["AccessKeyId"]),
    ]:
        ids = [event["EventId"] for page in trails.get_paginator("lookup_events").paginate(**by(key, value)) for event in page["Events"]]
        assert found["EventId"] in ids
        assert len(ids) == len(set(ids))
    assert trails.lookup_events(**by("EventName", "createtrail"))["Events"] == []
    assert client("stranger").lookup_events(**by("EventId", found["EventId"]))["Events"] == []


def test_pages_of_events_are_newest_first(trails, found):
    until = datetime.datetime.now(datetime.timezone.utc)
    pages = trails.get_paginator("lookup_events").paginate(EndTime=until, PaginationConfig={"PageSize": 2, "MaxItems": 6})
    times = [event["EventTime"] for page in pages for event in page["Events"]]
    assert len(times) >= 3
    assert times == sorted(times, reverse=True)
    first = trails.lookup_events(MaxResults=1, EndTime=until)
    assert len(first["Events"]) == 1
    more = {"MaxResults": 1, "NextToken": first["NextToken"]}
    assert trails.lookup_events(EndTime=until, **more)["Events"] != first["Events"]
    refused(trails.lookup_events, "InvalidNextTokenException", **more, **by("EventName", "CreateTrail"))
    refused(client("stranger").lookup_events, "InvalidNextTokenException", EndTime=until, **more)


def test_lookups_have_rules(trails):
    both = by("EventName", "a")["LookupAttributes"] + by("EventId", "b")["LookupAttributes"]
    now = time.time()
    for code, arguments in [
        ("InvalidLookupAttributesException", {"LookupAttributes": both}),
        ("InvalidLookupAttributesException", by("Nothing", "a")),
        ("InvalidLookupAttributesException", by("EventName", "x" * 2001)),
        ("InvalidTimeRangeException", {"StartTime": now, "EndTime": now - 10}),
        ("InvalidMaxResultsException", {"MaxResults": 51}),
        ("InvalidNextTokenException", {"NextToken": "AAAA"}),
        ("InvalidEventCategoryException", {"EventCategory": "everything"}),
    ]:
        refused(trails.lookup_events, code, **arguments)
