//! What the rest of the suite takes for granted about the S3 server it runs against.

use std::fs;
use std::path::Path;

use anyhow::{Result, ensure};
use serde_json::Value;
use sidetrail_tests::{SeaweedFs, tools};

const KEY: &str = "AWSLogs/111122223333/a.json.gz";

/// Create-only is how two writers of one name are told apart; a store that merely accepts the header loses records.
#[test]
fn seaweedfs_honours_conditional_create() -> Result<()> {
    let mut store = SeaweedFs::start()?;
    let bucket = store.bucket("create-only")?;
    let files = tempfile::tempdir()?;
    let (first, second) = (files.path().join("first"), files.path().join("second"));
    fs::write(&first, "first")?;
    fs::write(&second, "second")?;

    create(&store, &bucket, &first)?.success()?;
    refused(&create(&store, &bucket, &second)?)?;
    holds_first(&store, &bucket, files.path())?;

    store.restart()?;
    holds_first(&store, &bucket, files.path())?;
    refused(&create(&store, &bucket, &second)?)?;

    store.kill()?;
    ensure!(!create(&store, &bucket, &second)?.status.success(), "a killed store answered");
    store.resume()?;
    holds_first(&store, &bucket, files.path())?;
    refused(&create(&store, &bucket, &second)?)
}

#[test]
fn seaweedfs_refuses_wrong_credentials() -> Result<()> {
    let store = SeaweedFs::shared()?;
    let bucket = store.bucket("refused")?;
    let mut list = store.aws(["s3api", "list-objects-v2", "--bucket", &bucket])?;
    tools::run(store.aws(["s3api", "list-objects-v2", "--bucket", &bucket])?)?.success()?;
    let listed = tools::run({
        list.env("AWS_SECRET_ACCESS_KEY", "another");
        list
    })?;
    ensure!(listed.stderr.contains("SignatureDoesNotMatch"), "a wrong secret was not refused: {listed:?}");
    Ok(())
}

fn create(store: &SeaweedFs, bucket: &str, file: &Path) -> Result<tools::Ran> {
    let mut put = store.aws([
        "s3api",
        "put-object",
        "--if-none-match",
        "*",
        "--metadata",
        "backfill-generated=true",
    ])?;
    put.args(["--bucket", bucket, "--key", KEY, "--body"]).arg(file);
    // The caller asks about a store that is down as well: no retries, which would take longer than the answer.
    put.env("AWS_MAX_ATTEMPTS", "1");
    tools::run(put)
}

fn refused(put: &tools::Ran) -> Result<()> {
    ensure!(put.stderr.contains("PreconditionFailed"), "a second create was not refused: {put:?}");
    Ok(())
}

fn holds_first(store: &SeaweedFs, bucket: &str, directory: &Path) -> Result<()> {
    let body = directory.join("body");
    let mut get = store.aws(["s3api", "get-object", "--bucket", bucket, "--key", KEY])?;
    get.arg(&body);
    let answer: Value = serde_json::from_str(&tools::run(get)?.success()?)?;
    ensure!(answer["Metadata"] == serde_json::json!({"backfill-generated": "true"}), "metadata: {answer}");
    ensure!(fs::read_to_string(&body)? == "first", "the object was overwritten");
    Ok(())
}
