"""The server's own calls, as a collector ships them."""

import gzip
import json
import pathlib
import time

from conftest import ACCOUNT, SITE, client, refused
from wire import Request, code


def records():
    root = pathlib.Path(SITE["records"])
    for file in sorted(root.glob("AWSLogs/**/CloudTrail/**/*.json.gz")):
        yield from json.loads(gzip.decompress(file.read_bytes()))["Records"]


def wait_for(wanted, deadline=30):
    end = time.monotonic() + deadline
    while True:
        found = [record for record in records() if wanted(record)]
        if found or time.monotonic() > end:
            return found
        time.sleep(0.2)


def test_calls_are_recorded(make):
    made = make("recorded", S3KeyPrefix="some/prefix")
    request = made["ResponseMetadata"]["RequestId"]
    found = wait_for(lambda record: record.get("requestID") == request)
    assert len(found) == 1
    record = found[0]
    assert record["eventName"] == "CreateTrail"
    assert record["eventSource"] == "cloudtrail.amazonaws.com"
    assert record["readOnly"] is False
    assert record["recipientAccountId"] == ACCOUNT
    identity = record["userIdentity"]
    assert identity["type"] == "IAMUser"
    assert identity["arn"] == f"arn:aws:iam::{ACCOUNT}:user/admin"
    assert identity["accessKeyId"] == SITE["keys"]["admin"]["id"]
    parameters = record["requestParameters"]
    assert parameters["name"] == "recorded"
    assert parameters["s3BucketName"] == SITE["bucket"]
    assert record["responseElements"]["trailARN"].endswith("trail/recorded")
    assert record["sourceIPAddress"] == "127.0.0.1"
    assert "errorCode" not in record


def test_refusals_are_recorded_and_secrets_are_not():
    auditor = client("auditor")
    refused(auditor.delete_trail, "AccessDeniedException", Name="recorded")
    wrong = Request("StopLogging", {"Name": "never-said"})
    wrong.key = dict(wrong.key, secret="another-secret-0123456789")
    code(wrong.signed())
    denied = wait_for(lambda record: record["eventName"] == "DeleteTrail" and record.get("errorCode") == "AccessDenied")
    assert denied and denied[0]["userIdentity"]["userName"] == "auditor"
    unsigned = wait_for(lambda record: record["eventName"] == "StopLogging" and record.get("errorCode") == "InvalidSignature")
    assert unsigned and unsigned[0]["userIdentity"]["type"] == "Unknown"
    text = json.dumps(list(records()))
    assert "never-said" not in text
    for secret in SITE["secrets"]:
        assert secret not in text
