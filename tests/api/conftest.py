"""The server under test, as the program that runs this suite started it: `tests/api/main.rs`."""

import json
import os
import pathlib
import subprocess
import sys

import boto3
import pytest
from botocore.config import Config

sys.dont_write_bytecode = True
SITE = json.loads(pathlib.Path(os.environ["SIDETRAIL_API_SITE"]).read_text())
REGION, OTHER_REGION = SITE["regions"]
ACCOUNT, MEMBER = SITE["account"], SITE["member_account"]
# Each run of an assertion counts, as in a loop over operations.
PASSED = 0


def pytest_assertion_pass(item, lineno, orig, expl):
    global PASSED
    PASSED += 1


def pytest_terminal_summary(terminalreporter):
    terminalreporter.write_line(f"{PASSED} assertions held")


def client(key="admin", region=REGION, service="cloudtrail", endpoint=None, **config):
    secrets = SITE["keys"][key]
    return boto3.client(
        service,
        region_name=region,
        endpoint_url=endpoint or SITE["endpoint"],
        aws_access_key_id=secrets["id"],
        aws_secret_access_key=secrets["secret"],
        aws_session_token=secrets.get("token"),
        config=Config(retries={"total_max_attempts": 1}, parameter_validation=config.pop("validate", True), **config),
    )


def arn(name, region=REGION, account=ACCOUNT):
    return f"arn:aws:cloudtrail:{region}:{account}:trail/{name}"


@pytest.fixture
def trails():
    return client()


@pytest.fixture
def site():
    return SITE


@pytest.fixture(autouse=True)
def no_trails_are_left():
    """Each test begins without trails: an account has room for five."""
    yield
    for region in (REGION, OTHER_REGION):
        for key in ("admin", "member"):
            cloudtrail = client(key, region)
            for trail in cloudtrail.describe_trails(includeShadowTrails=False)["trailList"]:
                cloudtrail.delete_trail(Name=trail["TrailARN"])


@pytest.fixture
def make(trails):
    """Makes a trail."""

    def make(name="orders", cloudtrail=trails, **settings):
        return cloudtrail.create_trail(Name=name, S3BucketName=settings.pop("S3BucketName", SITE["bucket"]), **settings)

    return make


@pytest.fixture
def aws():
    """The AWS CLI, as somebody's shell would run it."""

    def run(*arguments, key="admin", region=REGION, service="cloudtrail"):
        secrets = SITE["keys"][key]
        environment = {
            "PATH": os.environ["PATH"],
            "AWS_ACCESS_KEY_ID": secrets["id"],
            "AWS_SECRET_ACCESS_KEY": secrets["secret"],
            "AWS_DEFAULT_REGION": region,
            "AWS_EC2_METADATA_DISABLED": "true",
            "AWS_CONFIG_FILE": "/dev/null",
            "AWS_SHARED_CREDENTIALS_FILE": "/dev/null",
            "AWS_MAX_ATTEMPTS": "1",
            "AWS_PAGER": "",
        }
        command = [str(pathlib.Path(sys.executable).parent / "aws"), service, "--endpoint-url", SITE["endpoint"]]
        return subprocess.run(command + list(arguments), env=environment, capture_output=True, text=True, timeout=120)

    return run


def refused(call, code, says=None, **arguments):
    """That a call is refused with an exception of the model, or one that no model lists, and says so."""
    cloudtrail = call.__self__
    with pytest.raises(cloudtrail.exceptions.ClientError) as caught:
        call(**arguments)
    error = caught.value.response["Error"]
    assert error["Code"] == code
    modelled = getattr(cloudtrail.exceptions, code, None) if code in modelled_codes(cloudtrail) else None
    assert modelled is None or isinstance(caught.value, modelled)
    metadata = caught.value.response["ResponseMetadata"]
    assert metadata["HTTPStatusCode"] == (503 if code == "ServiceUnavailableException" else 400)
    assert metadata["RequestId"]
    if says is not None:
        assert says in error["Message"]
    return error["Message"]


def modelled_codes(cloudtrail):
    return {shape.name for shape in cloudtrail.meta.service_model.error_shapes}
