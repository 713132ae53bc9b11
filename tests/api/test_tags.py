from conftest import ACCOUNT, OTHER_REGION, REGION, arn, client, refused


def tags(cloudtrail, name="orders"):
    listed = cloudtrail.list_tags(ResourceIdList=[arn(name)])["ResourceTagList"]
    assert len(listed) == 1
    assert listed[0]["ResourceId"] == arn(name)
    return {tag["Key"]: tag.get("Value") for tag in listed[0]["TagsList"]}


def test_tags_come_and_go(trails, make):
    make(TagsList=[{"Key": "team", "Value": "audit"}])
    assert tags(trails) == {"team": "audit"}
    trails.add_tags(ResourceId=arn("orders"), TagsList=[{"Key": "team", "Value": "other"}, {"Key": "alone"}])
    assert tags(trails) == {"team": "other", "alone": None}
    trails.remove_tags(ResourceId=arn("orders"), TagsList=[{"Key": "team"}, {"Key": "never-there"}])
    assert tags(trails) == {"alone": None}


def test_tags_have_rules(trails, make):
    make()
    for code, says, listed in [
        ("InvalidTagParameterException", "reserved", [{"Key": "aws:a", "Value": "b"}]),
        ("InvalidTagParameterException", "comes twice", [{"Key": "a", "Value": "b"}, {"Key": "a", "Value": "c"}]),
        ("InvalidTagParameterException", "a;b", [{"Key": "a;b", "Value": "c"}]),
        ("InvalidTagParameterException", "value of tag a", [{"Key": "a", "Value": "x" * 257}]),
        ("TagsLimitExceededException", "limit is 50", [{"Key": f"k{n}", "Value": "v"} for n in range(51)]),
        ("ValidationException", "less than or equal to 200", [{"Key": f"k{n}", "Value": "v"} for n in range(201)]),
    ]:
        refused(trails.add_tags, code, says, ResourceId=arn("orders"), TagsList=listed)
    assert tags(trails) == {}
    for code, resource in [
        ("CloudTrailARNInvalidException", "orders"),
        ("CloudTrailARNInvalidException", arn("orders", account="999999999999")),
        ("ResourceNotFoundException", arn("another")),
        ("EventDataStoreNotFoundException", f"arn:aws:cloudtrail:{REGION}:{ACCOUNT}:eventdatastore/0123"),
        ("ChannelNotFoundException", f"arn:aws:cloudtrail:{REGION}:{ACCOUNT}:channel/0123"),
    ]:
        refused(trails.add_tags, code, ResourceId=resource, TagsList=[{"Key": "a"}])
        refused(trails.remove_tags, code, ResourceId=resource, TagsList=[{"Key": "a"}])
        refused(trails.list_tags, code, ResourceIdList=[resource])
    refused(client(region=OTHER_REGION).add_tags, "ResourceNotFoundException", ResourceId=arn("orders"), TagsList=[{"Key": "a"}])
    refused(trails.list_tags, "ValidationException", "less than or equal to 20", ResourceIdList=[arn("orders")] * 21)
