import json

from conftest import REGION, SITE, arn


def test_a_trail_by_the_cli(aws):
    made = aws("create-trail", "--name", "orders", "--s3-bucket-name", SITE["bucket"], "--is-multi-region-trail", "--enable-log-file-validation")
    assert made.returncode == 0, made.stderr
    assert json.loads(made.stdout)["TrailARN"] == arn("orders")
    selectors = json.dumps([{"ReadWriteType": "WriteOnly", "IncludeManagementEvents": True, "DataResources": []}])
    assert aws("put-event-selectors", "--trail-name", "orders", "--event-selectors", selectors).returncode == 0
    assert aws("start-logging", "--name", "orders").returncode == 0
    status = json.loads(aws("get-trail-status", "--name", "orders").stdout)
    assert status["IsLogging"] is True
    described = json.loads(aws("describe-trails").stdout)["trailList"]
    assert described[0]["HasCustomEventSelectors"] is True
    assert json.loads(aws("list-trails").stdout)["Trails"][0]["HomeRegion"] == REGION
    assert aws("add-tags", "--resource-id", arn("orders"), "--tags-list", "Key=team,Value=audit").returncode == 0
    tags = json.loads(aws("list-tags", "--resource-id-list", arn("orders")).stdout)
    assert tags["ResourceTagList"][0]["TagsList"] == [{"Key": "team", "Value": "audit"}]
    assert json.loads(aws("list-public-keys").stdout)["PublicKeyList"] == []
    assert aws("stop-logging", "--name", "orders").returncode == 0
    assert aws("delete-trail", "--name", "orders").returncode == 0


def test_the_cli_tells_what_is_wrong(aws):
    got = aws("get-trail", "--name", "nobody")
    assert got.returncode != 0
    assert "(TrailNotFoundException) when calling the GetTrail operation: Unknown trail: nobody for the user" in got.stderr
    stores = aws("list-event-data-stores")
    assert "UnsupportedOperationException" in stores.stderr and "no event data stores" in stores.stderr
    organization = aws("describe-organization", service="organizations")
    assert json.loads(organization.stdout)["Organization"]["Id"] == SITE["organization"]
