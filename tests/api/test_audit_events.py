"""PutAuditEvents by boto3: events of others, which end in the same log files."""

import base64
import hashlib
import json
import uuid

from conftest import ACCOUNT, MEMBER, OTHER_REGION, REGION, client, refused
from test_recording import wait_for

CHANNEL = f"arn:aws:cloudtrail:{REGION}:{ACCOUNT}:channel/hr"


def document(**members):
    return {
        "version": "1",
        "userIdentity": {"type": "Person", "principalId": "casey", "details": {"userName": "casey"}},
        "eventSource": "hr.example.com",
        "eventName": "OpenFile",
        "eventTime": "2026-01-15T10:41:17Z",
        "UID": str(uuid.uuid4()),
        "recipientAccountId": ACCOUNT,
        "sourceIPAddress": "10.0.0.9",
        "requestParameters": {"file": 17},
        **members,
    }


def event(name, checksum=None, **members):
    data = json.dumps(document(**members), separators=(", ", ": "))
    one = {"id": name, "eventData": data}
    if checksum:
        one["eventDataChecksum"] = base64.b64encode(hashlib.sha256(checksum(data).encode()).digest()).decode()
    return one


def writer(key="writer", region=REGION):
    return client(key, region, service="cloudtrail-data")


def test_events_are_recorded_and_stay_as_they_are():
    events = [event("a-1", checksum=str), event("a-2", errorCode="AccessDenied")]
    answer = writer().put_audit_events(channelArn=CHANNEL, externalId="some-id", auditEvents=events)
    assert answer["failed"] == []
    assert [one["id"] for one in answer["successful"]] == ["a-1", "a-2"]
    ids = [one["eventID"] for one in answer["successful"]]
    assert len(set(ids)) == 2
    found = wait_for(lambda record: record["eventID"] == ids[0])
    assert len(found) == 1
    record = found[0]
    assert record["eventData"] == json.loads(events[0]["eventData"])
    assert record["eventCategory"] == "ActivityAuditLog" and record["eventType"] == "ActivityLog"
    assert record["metadata"]["channelARN"] == CHANNEL
    assert record["eventName"] == "OpenFile" and record["userIdentity"]["userName"] == "casey"
    assert record["recipientAccountId"] == ACCOUNT and record["awsRegion"] == REGION
    failed = wait_for(lambda record: record["eventID"] == ids[1])
    assert failed[0]["errorCode"] == "AccessDenied"
    again = writer().put_audit_events(channelArn="hr", auditEvents=[events[0]])
    assert again["successful"] == [{"id": "a-1", "eventID": ids[0]}]


def test_what_is_wrong_with_one_event_is_said_of_that_one():
    events = [
        event("good"),
        event("checksum", checksum=lambda data: data + " "),
        {"id": "text", "eventData": "not JSON"},
        event("missing", eventName=""),
        event("long", UID="x" * 1025),
        event("elsewhere", recipientAccountId=MEMBER),
        event("when", eventTime="yesterday"),
        {"id": "twice", "eventData": '{"version": "1", "version": "2"}'},
    ]
    answer = writer().put_audit_events(channelArn=CHANNEL, auditEvents=events)
    assert [one["id"] for one in answer["successful"]] == ["good"]
    assert {one["id"]: one["errorCode"] for one in answer["failed"]} == {
        "checksum": "InvalidChecksum",
        "text": "InvalidData",
        "missing": "FieldNotFound",
        "long": "FieldTooLong",
        "elsewhere": "InvalidRecipient",
        "when": "InvalidData",
        "twice": "InvalidData",
    }
    assert all(one["errorMessage"] for one in answer["failed"])


def test_calls_are_refused():
    one = [event("a")]
    put = writer().put_audit_events
    refused(put, "DuplicatedAuditEventId", channelArn=CHANNEL, auditEvents=one * 2)
    refused(put, "InvalidChannelARN", channelArn=f"arn:aws:cloudtrail:{REGION}:{ACCOUNT}:trail/hr", auditEvents=one)
    other = f"arn:aws:cloudtrail:{REGION}:{MEMBER}:channel/hr"
    refused(put, "ChannelInsufficientPermission", channelArn=other, auditEvents=one)
    refused(put, "ValidationException", channelArn=CHANNEL, auditEvents=[event(f"a-{n}") for n in range(101)])
    refused(writer("auditor").put_audit_events, "AccessDeniedException", channelArn=CHANNEL, auditEvents=one)
    elsewhere = writer(region=OTHER_REGION)
    refused(elsewhere.put_audit_events, "ChannelNotFound", channelArn="hr", auditEvents=one)


def test_who_may_write_may_nothing_else():
    refused(client("writer").lookup_events, "AccessDeniedException")
