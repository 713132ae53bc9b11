import pytest
import wire
from conftest import ACCOUNT, MEMBER, OTHER_REGION, REGION, SITE, arn, client, refused
from wire import Request, code


def test_both_prefixes_are_understood(make):
    make()
    for prefix in (wire.LONG, wire.SHORT):
        status, headers, body = Request("ListTrails", prefix=prefix).signed().send()
        assert status == 200
        assert headers["content-type"] == "application/x-amz-json-1.1"
        assert headers["x-amzn-requestid"]
        assert [trail["Name"] for trail in body["Trails"]] == ["orders"]


def test_no_body_is_an_empty_one():
    status, _, body = Request("DescribeTrails", body=b"").signed().send()
    assert (status, body) == (200, {"trailList": []})


def test_requests_have_ids_of_their_own():
    ids = {Request("ListTrails").signed().send()[1]["x-amzn-requestid"] for _ in range(5)}
    assert len(ids) == 5


def test_a_presigned_request(make):
    make()
    status, _, body = Request("ListTrails").presigned().send()
    assert status == 200 and len(body["Trails"]) == 1
    kind, message = code(Request("ListTrails", age=61).presigned(expires=60))
    assert kind == "InvalidSignatureException" and message.startswith("Signature expired")
    kind, _ = code(Request("ListTrails").presigned(expires=604_801))
    assert kind == "IncompleteSignatureException"
    changed = Request("ListTrails").presigned()
    changed.body = b'{"a": 1}'
    assert code(changed)[0] == "InvalidSignatureException"


@pytest.mark.parametrize("age", [301, -301, 86_400])
def test_clocks_are_close(age):
    kind, message = code(Request("ListTrails", age=age).signed())
    assert kind == "InvalidSignatureException"
    assert ("expired" if age > 0 else "not yet current") in message


@pytest.mark.parametrize("age", [240, -240])
def test_and_may_differ(age):
    assert Request("ListTrails", age=age).signed().send()[0] == 200


def test_what_is_not_signed_right_is_refused(make):
    make()
    delete = {"Name": "orders"}
    unsigned = Request("DeleteTrail", delete)
    assert code(unsigned)[0] == "MissingAuthenticationTokenException"
    wrong = Request("DeleteTrail", delete)
    wrong.key = dict(wrong.key, secret="another-secret-0123456789")
    kind, message = code(wrong.signed())
    assert kind == "InvalidSignatureException" and "another-secret" not in message
    nobody = Request("DeleteTrail", delete)
    nobody.key = dict(nobody.key, id="NOBODYNOBODYNOBODY")
    kind, message = code(nobody.signed())
    assert kind == "UnrecognizedClientException" and "security token included in the request is invalid" in message
    changed = Request("ListTrails", delete).signed()
    changed.headers["x-amz-target"] = wire.LONG + "DeleteTrail"
    assert code(changed)[0] == "InvalidSignatureException"
    body = Request("DeleteTrail", {"Name": "another"}).signed()
    body.body = b'{"Name":"orders"}'
    assert code(body)[0] == "InvalidSignatureException"
    other = Request("DeleteTrail", delete, service="s3").signed()
    assert "correct service: 'cloudtrail'" in code(other)[1]
    nowhere = Request("DeleteTrail", delete, region="mars-north-1").signed()
    assert "valid region" in code(nowhere)[1]
    for value in ("Bearer abc", "AWS4-HMAC-SHA256 Credential=x", "AWS4-HMAC-SHA256"):
        broken = Request("DeleteTrail", delete).signed()
        broken.headers["authorization"] = value
        assert code(broken)[0] == "IncompleteSignatureException"
    assert len(client().list_trails()["Trails"]) == 1


def test_session_tokens(make):
    make()
    assert len(client("temporary").list_trails()["Trails"]) == 1
    for token in ("another-token-0123456789", None):
        request = Request("ListTrails", key="temporary")
        if token is None:
            del request.headers["x-amz-security-token"]
        else:
            request.headers["x-amz-security-token"] = token
        assert code(request.signed())[0] == "UnrecognizedClientException"
    uninvited = Request("ListTrails")
    uninvited.headers["x-amz-security-token"] = "a-token-0123456789"
    assert code(uninvited.signed())[0] == "UnrecognizedClientException"
    refused(client("expired").list_trails, "ExpiredTokenException")


def test_roles(make):
    make()
    name = {"Name": "orders"}
    for key, may in [("manager", {"read", "change"}), ("auditor", {"read"}), ("writer", set())]:
        cloudtrail = client(key)
        for right, call in [("read", cloudtrail.get_trail), ("read", cloudtrail.get_trail_status), ("change", cloudtrail.start_logging), ("change", cloudtrail.stop_logging)]:
            if right in may:
                assert call(**name)["ResponseMetadata"]["HTTPStatusCode"] == 200
            else:
                says = f"User: arn:aws:iam::{ACCOUNT}:user/{key} is not authorized to perform: cloudtrail:"
                refused(call, "AccessDeniedException", says, **name)
    refused(client("manager").create_event_data_store, "AccessDeniedException", Name="store")
    refused(client("auditor").delete_trail, "AccessDeniedException", **name)
    refused(client("writer").lookup_events, "AccessDeniedException")
    assert client().get_trail_status(**name)["IsLogging"] is False


def test_accounts_are_apart(make):
    make()
    stranger = client("stranger")
    assert stranger.list_trails()["Trails"] == []
    assert stranger.describe_trails()["trailList"] == []
    refused(stranger.get_trail, "TrailNotFoundException", Name="orders")
    refused(stranger.get_trail, "CloudTrailARNInvalidException", "AccountID in ARN is wrong", Name=arn("orders"))
    refused(stranger.delete_trail, "CloudTrailARNInvalidException", Name=arn("orders"))
    refused(stranger.list_tags, "CloudTrailARNInvalidException", ResourceIdList=[arn("orders")])


def test_organizations(make):
    cloudtrail, member, stranger = client(), client("member"), client("stranger")
    made = make("all", IsOrganizationTrail=True, IsMultiRegionTrail=True)
    make("own")
    assert made["IsOrganizationTrail"] is True
    shown = member.describe_trails()["trailList"]
    assert [trail["TrailARN"] for trail in shown] == [arn("all")]
    assert shown[0]["IsOrganizationTrail"] is True
    assert member.describe_trails(includeShadowTrails=False)["trailList"] == []
    assert member.get_trail(Name="all")["Trail"]["TrailARN"] == arn("all")
    assert member.get_trail_status(Name=arn("all"))["IsLogging"] is False
    assert stranger.describe_trails()["trailList"] == []
    for call in (member.delete_trail, member.stop_logging, member.update_trail):
        refused(call, "NotOrganizationMasterAccountException", Name=arn("all"))
    refused(member.create_trail, "NotOrganizationMasterAccountException", Name="mine", S3BucketName=SITE["bucket"], IsOrganizationTrail=True)
    refused(stranger.create_trail, "OrganizationsNotInUseException", Name="mine", S3BucketName=SITE["bucket"], IsOrganizationTrail=True)
    for account in ("admin", "member"):
        organization = client(account, service="organizations").describe_organization()["Organization"]
        assert organization["Id"] == SITE["organization"]
        assert organization["MasterAccountId"] == ACCOUNT
    refused(client("stranger", service="organizations").describe_organization, "AWSOrganizationsNotInUseException")
    cloudtrail.update_trail(Name="all", IsOrganizationTrail=False)
    assert member.describe_trails()["trailList"] == []


def test_how_often_one_may_ask(site):
    endpoint = site["throttled_endpoint"]
    slow = client(endpoint=endpoint)
    make = {"Name": "orders", "S3BucketName": SITE["bucket"]}
    slow.create_trail(**make)
    message = refused(slow.create_trail, "ThrottlingException", "Rate exceeded", **make)
    assert message == "Rate exceeded"
    # Not another operation, not another region, not another account.
    assert slow.get_trail(Name="orders")["Trail"]["Name"] == "orders"
    refused(client(endpoint=endpoint, region=OTHER_REGION).create_trail, "S3BucketDoesNotExistException", Name="x-y", S3BucketName="nobody-has-this")
    refused(client("stranger", endpoint=endpoint).create_trail, "S3BucketDoesNotExistException", Name="x-y", S3BucketName="nobody-has-this")
    for _ in range(9):
        slow.get_trail(Name="orders")
    with pytest.raises(slow.exceptions.ClientError) as caught:
        for _ in range(20):
            slow.get_trail(Name="orders")
    assert caught.value.response["Error"]["Code"] == "ThrottlingException"
    assert caught.value.response["ResponseMetadata"]["HTTPStatusCode"] == 400
    assert MEMBER != ACCOUNT and REGION != OTHER_REGION
