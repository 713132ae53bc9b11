import json
import pathlib
import time

from conftest import SITE, client, refused
from wire import LONG, Request, code


def test_a_body_that_is_too_large():
    for size in (1 << 20) + 1, 10_000_000:
        body = b'{"Name":"' + b"x" * size + b'"}'
        status, _, answer = Request("CreateTrail", body).signed().send()
        assert status == 413
        assert answer["__type"] == "RequestEntityTooLargeException"
        assert "1048576" in answer["message"]


def test_a_json_bomb():
    for body in (b"[" * 500_000, b'{"a":' * 100_000, b'{"Name":' + b"[" * 40 + b"]" * 40 + b"}"):
        kind, message = code(Request("CreateTrail", body).signed())
        assert kind == "SerializationException"
        assert len(message) < 1000


def test_members_come_once(make):
    make()
    body = b'{"Name":"another","Name":"orders"}'
    kind, message = code(Request("DeleteTrail", body).signed())
    assert kind == "SerializationException"
    assert "member Name comes twice" in message
    assert len(client().list_trails()["Trails"]) == 1


def test_what_is_no_json():
    for body in (b"{", b"nothing", b'{"Name": }', b"\xff\xfe", b'{"Name": "a"} {}', b'"text"', b"17", b'{"Name": "\xed\xa0\x80"}'):
        assert code(Request("GetTrail", body).signed())[0] == "SerializationException"


def test_what_is_of_another_type():
    for operation, body, member in [
        ("GetTrail", {"Name": 7}, "Name"),
        ("GetTrail", {"Name": ["orders"]}, "Name"),
        ("CreateTrail", {"Name": "orders", "IsMultiRegionTrail": "yes"}, "IsMultiRegionTrail"),
        ("DescribeTrails", {"trailNameList": "orders"}, "trailNameList"),
        ("ListPublicKeys", {"StartTime": "2026-01-01T00:00:00Z"}, "StartTime"),
    ]:
        kind, message = code(Request(operation, body).signed())
        assert kind == "SerializationException"
        assert message.startswith(member)


def test_what_is_missing():
    for operation, says in [
        ("GetTrail", "at 'name'"),
        ("CreateTrail", "at 'name'"),
        ("StartLogging", "at 'name'"),
        ("GetEventSelectors", "at 'trailName'"),
        ("AddTags", "at 'tagsList'"),
        ("ListTags", "at 'resourceIdList'"),
    ]:
        kind, message = code(Request(operation).signed())
        assert kind == "ValidationException"
        assert says in message and "Member must not be null" in message


def test_members_that_nobody_knows_are_passed_over(make):
    make()
    status, _, body = Request("GetTrail", {"Name": "orders", "Tomorrow": {"a": [1, None]}}).signed().send()
    assert status == 200 and body["Trail"]["Name"] == "orders"


def test_where_there_is_nothing():
    for prefix, operation in [(LONG, "Nothing"), ("Other.", "ListTrails"), ("", "ListTrails"), (LONG, "listTrails")]:
        assert code(Request(operation, prefix=prefix).signed())[0] == "UnknownOperationException"
    for method, path in [("GET", "/"), ("POST", "/other"), ("PUT", "/"), ("POST", "/CreateTrail")]:
        request = Request("ListTrails")
        request.method, request.path = method, path
        assert code(request.signed())[0] == "UnknownOperationException"
    request = Request("ListTrails")
    del request.headers["x-amz-target"]
    assert code(request.signed())[0] == "UnknownOperationException"


def test_times_and_tokens(trails):
    later = {"StartTime": time.time(), "EndTime": time.time() - 10}
    refused(trails.list_public_keys, "InvalidTimeRangeException", **later)
    assert trails.list_public_keys()["PublicKeyList"] == []


def test_sql_is_a_name_like_any_other(trails):
    for name in ("orders'; DROP TABLE trails; --", "1 OR 1=1", "${jndi:ldap://x}", "<script>", "a\nb\r\nc"):
        refused(trails.get_trail, "InvalidTrailNameException", Name=name)
        refused(trails.get_event_selectors, "InvalidTrailNameException", TrailName=name)


def test_nothing_secret_is_in_the_log():
    wrong = Request("ListTrails")
    wrong.key = dict(wrong.key, secret="a-wrong-secret-that-is-seen-nowhere")
    request = wrong.signed()
    code(request)
    sent = request.headers["authorization"].rsplit("=", 1)[1]
    client("temporary").list_trails()
    log = pathlib.Path(SITE["log"]).read_text()
    assert "ListTrails" in log
    for secret in SITE["secrets"] + ["a-wrong-secret-that-is-seen-nowhere", sent]:
        assert secret not in log


def test_a_line_of_the_log_is_json(trails):
    for name in ("a\nb", 'a"b', "a\u0000b", "x" * 5000):
        refused(trails.get_trail, "InvalidTrailNameException", Name=name)
    lines = pathlib.Path(SITE["log"]).read_text().splitlines()
    assert all(json.loads(line)["level"] for line in lines if line)
