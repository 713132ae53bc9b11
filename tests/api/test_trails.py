import pytest
from conftest import ACCOUNT, OTHER_REGION, REGION, SITE, arn, client, refused


def test_a_trail_from_beginning_to_end(trails, make):
    made = make(S3KeyPrefix="a/b", EnableLogFileValidation=True, TagsList=[{"Key": "team", "Value": "audit"}])
    assert made["Name"] == "orders"
    assert made["S3BucketName"] == SITE["bucket"]
    assert made["S3KeyPrefix"] == "a/b"
    assert made["TrailARN"] == arn("orders")
    assert made["LogFileValidationEnabled"] is True
    assert made["IncludeGlobalServiceEvents"] is True
    assert made["IsMultiRegionTrail"] is False
    assert made["IsOrganizationTrail"] is False
    assert made["RecursiveLogging"] is True
    assert "HomeRegion" not in made and "KmsKeyId" not in made and "SnsTopicARN" not in made

    trail = trails.get_trail(Name="orders")["Trail"]
    assert trail["HomeRegion"] == REGION
    assert trail["HasCustomEventSelectors"] is False
    assert trail["HasInsightSelectors"] is False
    assert trails.get_trail(Name=made["TrailARN"])["Trail"] == trail
    assert trails.describe_trails()["trailList"] == [trail]
    assert trails.describe_trails(trailNameList=["orders", "nobody"])["trailList"] == [trail]
    assert trails.describe_trails(trailNameList=[made["TrailARN"]])["trailList"] == [trail]
    listed = trails.list_trails()["Trails"]
    assert listed == [{"TrailARN": made["TrailARN"], "Name": "orders", "HomeRegion": REGION}]

    trails.delete_trail(Name="orders")
    assert trails.describe_trails()["trailList"] == []
    refused(trails.get_trail, "TrailNotFoundException", f"Unknown trail: orders for the user: {ACCOUNT}", Name="orders")
    refused(trails.delete_trail, "TrailNotFoundException", Name=made["TrailARN"])


def test_a_prefix_is_left_out_rather_than_null(trails, make):
    make()
    assert "S3KeyPrefix" not in trails.describe_trails()["trailList"][0]


def test_what_is_absent_stays_in_an_update(trails, make):
    make(S3KeyPrefix="a", EnableLogFileValidation=True, RecursiveLogging=False)
    updated = trails.update_trail(Name="orders", IsMultiRegionTrail=True, KmsKeyId="alias/audit")
    assert updated["S3KeyPrefix"] == "a"
    assert updated["LogFileValidationEnabled"] is True
    assert updated["RecursiveLogging"] is False
    assert updated["IsMultiRegionTrail"] is True
    assert updated["KmsKeyId"] == f"arn:aws:kms:{REGION}:{ACCOUNT}:alias/audit"
    updated = trails.update_trail(Name=arn("orders"), S3KeyPrefix="", KmsKeyId="", EnableLogFileValidation=False)
    assert "S3KeyPrefix" not in updated and "KmsKeyId" not in updated
    assert updated["LogFileValidationEnabled"] is False
    trail = trails.get_trail(Name="orders")["Trail"]
    assert {name: trail[name] for name in updated if name in trail} == {
        name: value for name, value in updated.items() if name != "ResponseMetadata"
    }
    refused(trails.update_trail, "TrailNotFoundException", Name="another")


@pytest.mark.parametrize(
    ("name", "says"),
    [
        ("ab", "Trail name too short. Minimum allowed length: 3 characters. Specified name length: 2 characters."),
        ("x" * 129, "Trail name too long. Maximum allowed length: 128 characters. Specified name length: 129"),
        ("-abc", "Trail name must starts with a letter or number."),
        ("abc-", "Trail name must ends with a letter or number."),
        ("a..b", "adjacent"),
        ("a b c", "can only contain"),
        ("192.168.0.1", "IP address"),
        ("x'; DROP TABLE trails; --x", "can only contain"),
    ],
)
def test_names_have_rules(trails, name, says):
    for call in (trails.create_trail, trails.get_trail, trails.start_logging):
        more = {"S3BucketName": SITE["bucket"]} if call == trails.create_trail else {}
        refused(call, "InvalidTrailNameException", says, Name=name, **more)
    assert trails.list_trails()["Trails"] == []


def test_settings_have_rules(trails, make):
    for code, says, settings in [
        ("S3BucketDoesNotExistException", "S3 bucket nobody-has-this does not exist!", {"S3BucketName": "nobody-has-this"}),
        ("InvalidS3BucketNameException", "Bucket name Not_A_Bucket", {"S3BucketName": "Not_A_Bucket"}),
        ("InvalidS3PrefixException", "200 characters", {"S3KeyPrefix": "p" * 201}),
        ("InvalidS3PrefixException", "not valid", {"S3KeyPrefix": "../up"}),
        ("InvalidParameterCombinationException", "global service", {"IsMultiRegionTrail": True, "IncludeGlobalServiceEvents": False}),
        ("InvalidKmsKeyIdException", "not valid", {"KmsKeyId": "no key at all"}),
        ("InvalidSnsTopicNameException", "256", {"SnsTopicName": "t" * 257}),
        ("InvalidSnsTopicNameException", "neither a name nor an ARN", {"SnsTopicName": "no topic"}),
        ("InsufficientSnsTopicPolicyException", "SNS Topic does not exist", {"SnsTopicName": "topic"}),
        ("InvalidParameterCombinationException", "both", {"CloudWatchLogsLogGroupArn": "arn:aws:logs:a:1:log-group:x:*"}),
        ("UnsupportedOperationException", "CloudWatch", {"CloudWatchLogsLogGroupArn": "a", "CloudWatchLogsRoleArn": "b"}),
        ("InvalidTagParameterException", "reserved", {"TagsList": [{"Key": "aws:x", "Value": "y"}]}),
        ("TagsLimitExceededException", "limit is 50", {"TagsList": [{"Key": f"k{n}", "Value": "v"} for n in range(51)]}),
    ]:
        settings = {"Name": "orders", "S3BucketName": SITE["bucket"], **settings}
        refused(trails.create_trail, code, says, **settings)
    assert trails.list_trails()["Trails"] == []
    make()
    refused(trails.create_trail, "TrailAlreadyExistsException", "already exists for customer", Name="orders", S3BucketName=SITE["bucket"])
    refused(trails.update_trail, "S3BucketDoesNotExistException", Name="orders", S3BucketName="nobody-has-this")
    refused(trails.update_trail, "InvalidParameterCombinationException", Name="orders", IsMultiRegionTrail=True, IncludeGlobalServiceEvents=False)
    assert trails.get_trail(Name="orders")["Trail"]["S3BucketName"] == SITE["bucket"]


def test_five_trails_in_a_region(trails, make):
    other = client(region=OTHER_REGION)
    for number in range(4):
        make(f"trail-{number}")
    make("everywhere", other, IsMultiRegionTrail=True)
    refused(trails.create_trail, "MaximumNumberOfTrailsExceededException", f"already has 5 trails in {REGION}", Name="six", S3BucketName=SITE["bucket"])
    # In the other region there is one, and room for it to be seen here is not.
    make("there", other)
    refused(other.update_trail, "MaximumNumberOfTrailsExceededException", Name="there", IsMultiRegionTrail=True)
    trails.delete_trail(Name="trail-0")
    other.update_trail(Name="there", IsMultiRegionTrail=True)
    assert len(trails.describe_trails()["trailList"]) == 5


def test_trails_of_other_regions_are_shadows(trails, make):
    other = client(region=OTHER_REGION)
    make("everywhere", IsMultiRegionTrail=True)
    make("here")
    shown = other.describe_trails()["trailList"]
    assert [(trail["Name"], trail["HomeRegion"]) for trail in shown] == [("everywhere", REGION)]
    assert other.describe_trails(includeShadowTrails=False)["trailList"] == []
    # A name is one of this region; the ARN finds it from everywhere.
    assert other.describe_trails(trailNameList=["everywhere"])["trailList"] == []
    assert len(other.describe_trails(trailNameList=[arn("everywhere")])["trailList"]) == 1
    assert other.get_trail(Name=arn("here"))["Trail"]["HomeRegion"] == REGION
    assert {trail["Name"] for trail in other.list_trails()["Trails"]} == {"everywhere", "here"}
    says = f"was created in {REGION}"
    for call in (other.delete_trail, other.start_logging, other.stop_logging, other.update_trail):
        refused(call, "InvalidHomeRegionException", says, Name=arn("everywhere"))
    refused(other.start_logging, "InvalidHomeRegionException", says, Name="everywhere")
    refused(other.put_event_selectors, "InvalidHomeRegionException", TrailName=arn("everywhere"), EventSelectors=[{}])
    refused(other.put_insight_selectors, "InvalidHomeRegionException", TrailName=arn("everywhere"), InsightSelectors=[])
    refused(other.create_trail, "TrailAlreadyExistsException", Name="everywhere", S3BucketName=SITE["bucket"])
    refused(other.start_logging, "TrailNotFoundException", Name="here")


def test_arns_have_rules(trails, make):
    make()
    for text in ("arn:aws:cloudtrail:x", "arn:aws:s3:::bucket", arn("orders").replace("trail/", "channel/"), "arn:", arn("a/b")):
        for call in (trails.get_trail, trails.get_trail_status, trails.delete_trail):
            refused(call, "CloudTrailARNInvalidException", Name=text)
    says = f"AccountID in ARN is wrong, you can only access resources with AccountID {ACCOUNT}."
    refused(trails.get_trail, "CloudTrailARNInvalidException", says, Name=arn("orders", account="999999999999"))
    assert len(trails.list_trails()["Trails"]) == 1


def test_logging_is_turned_on_and_off_once(trails, make):
    make()
    status = trails.get_trail_status(Name="orders")
    assert status["IsLogging"] is False
    assert "StartLoggingTime" not in status and "LatestDeliveryTime" not in status
    assert status["TimeLoggingStarted"] == "" and status["LatestDeliveryAttemptTime"] == ""
    trails.start_logging(Name="orders")
    first = trails.get_trail_status(Name="orders")
    assert first["IsLogging"] is True
    trails.start_logging(Name=arn("orders"))
    again = trails.get_trail_status(Name=arn("orders"))
    assert again["StartLoggingTime"] == first["StartLoggingTime"]
    assert "StopLoggingTime" not in again
    trails.stop_logging(Name="orders")
    stopped = trails.get_trail_status(Name="orders")
    assert stopped["IsLogging"] is False
    assert stopped["StopLoggingTime"] >= stopped["StartLoggingTime"]
    assert stopped["TimeLoggingStopped"].endswith("Z")
    refused(trails.get_trail_status, "TrailNotFoundException", Name="another")


def test_status_says_what_was_delivered(trails, make, site):
    """A collector of the harness ships its own calls' records into this bucket, as the trail `delivered`."""
    make("delivered", S3BucketName=site["delivered_bucket"])
    status = trails.get_trail_status(Name="delivered")
    assert status["LatestDeliveryTime"].timestamp() > 1_700_000_000
    assert status["LatestDeliveryAttemptTime"].endswith("Z")
    assert "LatestDeliveryError" not in status
    make("nothing-yet", S3BucketName=site["delivered_bucket"])
    assert "LatestDeliveryTime" not in trails.get_trail_status(Name="nothing-yet")


def test_a_bucket_that_is_gone_is_said(trails, make, s3):
    s3.create_bucket(Bucket="soon-gone")
    make(S3BucketName="soon-gone")
    assert "LatestDeliveryError" not in trails.get_trail_status(Name="orders")
    for listed in s3.list_objects_v2(Bucket="soon-gone")["Contents"]:
        s3.delete_object(Bucket="soon-gone", Key=listed["Key"])
    s3.delete_bucket(Bucket="soon-gone")
    status = trails.get_trail_status(Name="orders")
    assert status["LatestDeliveryError"] == "NoSuchBucket"
    assert status["LatestDigestDeliveryError"] == "NoSuchBucket"


@pytest.fixture
def s3(site):
    import boto3

    keys = site["s3"]
    return boto3.client("s3", endpoint_url=keys["endpoint"], region_name=REGION, aws_access_key_id=keys["id"], aws_secret_access_key=keys["secret"])


def test_pages(trails, make):
    make()
    pages = list(trails.get_paginator("list_trails").paginate())
    assert [len(page["Trails"]) for page in pages] == [1]
    assert "NextToken" not in pages[0]
    refused(trails.list_trails, "InvalidNextTokenException", NextToken="AAAA")
    refused(trails.list_tags, "InvalidTokenException", ResourceIdList=[arn("orders")], NextToken="AAAA")
    refused(trails.list_public_keys, "InvalidTokenException", NextToken="AAAA")
    tags = trails.get_paginator("list_tags").paginate(ResourceIdList=[arn("orders")])
    assert [page["ResourceTagList"] for page in tags] == [[{"ResourceId": arn("orders"), "TagsList": []}]]
    keys = list(trails.get_paginator("list_public_keys").paginate())
    assert len(keys) == 1
