"""LookupEvents by boto3 and the AWS CLI: attributes, order, pages while events arrive, and what is refused."""

import datetime
import json
import os
import subprocess
import sys
import time

import boto3
from botocore.exceptions import ClientError

total, account, started, go = sys.argv[1:]
total = int(total)
client = boto3.client("cloudtrail", endpoint_url=os.environ["AWS_ENDPOINT_URL_CLOUDTRAIL"])
managed = total // 3 * 2


def look(**arguments):
    pages = client.get_paginator("lookup_events").paginate(**arguments)
    return [event for page in pages for event in page["Events"]]


def by(key, value):
    return look(LookupAttributes=[{"AttributeKey": key, "AttributeValue": value}])


def refused(code, **arguments):
    try:
        client.lookup_events(**arguments)
    except ClientError as error:
        assert error.response["Error"]["Code"] == code, (arguments, error)
        assert error.response["Error"]["Message"], error
        if code != "ValidationException":
            assert isinstance(error, getattr(client.exceptions, code)), error
        return
    raise AssertionError(f"{arguments} is not refused")


# Management events only, newest first, each with the record as it is.
events = look()
assert len(events) == managed, len(events)
times = [event["EventTime"] for event in events]
assert times == sorted(times, reverse=True)
for event in events:
    record = json.loads(event["CloudTrailEvent"])
    assert record["eventID"] == event["EventId"] and record["eventName"] == event["EventName"]
    assert record["eventCategory"] == "Management" and record["recipientAccountId"] == account
    assert event["ReadOnly"] == str(record["readOnly"]).lower()
    assert event["Username"] == record["userIdentity"]["userName"]
    assert event["AccessKeyId"] == record["userIdentity"]["accessKeyId"]
    at = datetime.datetime.fromisoformat(record["eventTime"].replace("Z", "+00:00"))
    assert event["EventTime"] == at
    arn = record["resources"][0]["ARN"]
    names = [resource["ResourceName"] for resource in event["Resources"]]
    assert names == [arn, arn.split("/")[1]], names

# By each attribute.
one = events[17]
for key, value, count in [
    ("EventId", one["EventId"], 1),
    ("EventName", "RefundOrder", total // 3),
    ("EventName", "Refundorder", 0),
    ("EventName", "ReadLine", 0),
    ("ReadOnly", "true", total // 3),
    ("ReadOnly", "false", total // 3),
    ("Username", "user-4", managed // 5),
    ("ResourceType", "AWS::Orders::Order", managed),
    ("ResourceName", one["Resources"][0]["ResourceName"], 1),
    ("ResourceName", one["Resources"][1]["ResourceName"], 1),
    ("EventSource", "orders.example.com", managed),
    ("AccessKeyId", "AKIAEXAMPLE2", managed // 5),
]:
    assert len(by(key, value)) == count, (key, value, len(by(key, value)))
assert look(EventCategory="insight") == []

# Both ends of a time range are included.
at = one["EventTime"]
assert all(event["EventTime"] == at for event in look(StartTime=at, EndTime=at)) and look(StartTime=at, EndTime=at)
assert len(look(StartTime=at)) + len(look(EndTime=at - datetime.timedelta(seconds=1))) == managed

# Pages go on while events arrive, and hold what was there before.
first = client.lookup_events(MaxResults=30)
assert len(first["Events"]) == 30 and first["NextToken"]
open(started, "w").close()
deadline = time.monotonic() + 200
while not os.path.exists(go):
    assert time.monotonic() < deadline, "no events arrive"
    time.sleep(0.05)
pages, token = [first["Events"]], first["NextToken"]
while token:
    page = client.lookup_events(MaxResults=30, NextToken=token)
    pages.append(page["Events"])
    token = page.get("NextToken")
assert [event["EventId"] for page in pages for event in page] == [event["EventId"] for event in events]
assert len(look()) == managed + 40

# What is refused, and by which name.
attribute = {"AttributeKey": "EventName", "AttributeValue": "GetOrder"}
now = datetime.datetime(2026, 1, 15, tzinfo=datetime.timezone.utc)
refused("InvalidLookupAttributesException", LookupAttributes=[attribute, attribute])
refused("InvalidLookupAttributesException", LookupAttributes=[{**attribute, "AttributeKey": "Nothing"}])
refused("InvalidLookupAttributesException", LookupAttributes=[{**attribute, "AttributeValue": "x" * 2001}])
refused("InvalidTimeRangeException", StartTime=now, EndTime=now - datetime.timedelta(seconds=1))
refused("InvalidMaxResultsException", MaxResults=51)
refused("InvalidEventCategoryException", EventCategory="data")
refused("InvalidNextTokenException", NextToken=first["NextToken"], LookupAttributes=[attribute])
refused("InvalidNextTokenException", NextToken=first["NextToken"], EndTime=now)
refused("InvalidNextTokenException", NextToken="made up")
elsewhere = boto3.client(
    "cloudtrail", region_name="eu-west-1", endpoint_url=os.environ["AWS_ENDPOINT_URL_CLOUDTRAIL"]
)
assert elsewhere.lookup_events()["Events"] == []
try:
    elsewhere.lookup_events(NextToken=first["NextToken"])
    raise AssertionError("a token is good in another region")
except elsewhere.exceptions.InvalidNextTokenException:
    pass

# The AWS CLI pages by itself.
aws = os.path.join(os.path.dirname(sys.executable), "aws")
command = [aws, "cloudtrail", "lookup-events", "--endpoint-url", os.environ["AWS_ENDPOINT_URL_CLOUDTRAIL"]]
command += ["--lookup-attributes", "AttributeKey=EventName,AttributeValue=GetOrder", "--output", "json"]
said = json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout)
assert len(said["Events"]) == total // 3 + 20, len(said["Events"])
