import pathlib
import re

import boto3
import pytest
from conftest import SITE, client
from wire import Request, code

MODEL = boto3.client("cloudtrail", region_name="us-east-1").meta.service_model
TABLE = pathlib.Path(SITE["table"]).read_text()
ROWS = dict(re.findall(r"^\| `(\w+)` \| (yes|no) \|", TABLE, re.MULTILINE))


def test_the_table_has_all_operations_of_the_model():
    assert len(MODEL.operation_names) == 60
    assert {name for name in ROWS if name not in ("PutAuditEvents", "DescribeOrganization")} == set(MODEL.operation_names)


@pytest.mark.parametrize("operation", sorted(MODEL.operation_names))
def test_an_operation_answers_as_the_table_says(operation):
    status, headers, body = Request(operation).signed().send()
    assert headers["x-amzn-requestid"]
    unsupported = body.get("__type") == "UnsupportedOperationException"
    assert unsupported == (ROWS[operation] == "no")
    if unsupported:
        assert status == 400
        assert f"Sidetrail does not do {operation}: " in body["message"]


def test_what_is_not_done_is_an_exception_of_the_model():
    cloudtrail = client()
    with pytest.raises(cloudtrail.exceptions.UnsupportedOperationException):
        cloudtrail.list_event_data_stores()


def test_codes_are_those_of_the_model():
    """What no model lists are the common errors, and those only."""
    known = {shape.name for shape in MODEL.error_shapes}
    assert {"TrailNotFoundException", "UnsupportedOperationException", "ThrottlingException"} <= known
    assert code(Request("GetTrail", {"Name": "nobody"}).signed())[0] in known
