//! Digests against a real S3 server and the real AWS CLI, which is not ours and decides.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::thread;

use anyhow::{Context, Result, ensure};
use sidetrail_archive::digest::PublishedDigestKey;
use sidetrail_archive::key::DigestKeyObjectKey;
use sidetrail_archive::store::Store;
use sidetrail_tests::evidence::{self, Made, Plan};
use sidetrail_tests::{ACCESS_KEY, REGION, SECRET_KEY, SeaweedFs, tools};

/// Finds everything that has a digest valid, in two regions, with an empty period, a late file and a new key; and names what
/// was changed.
#[test]
fn the_aws_cli_validates_digests_and_finds_tampering() -> Result<()> {
    let store = SeaweedFs::shared()?;
    let bucket = store.bucket("digests")?;
    let archive = open(store, &format!("s3://{bucket}/audit"))?;
    let plan = Plan::default();
    let made = runtime()?.block_on(evidence::make(&archive, &plan))?;
    ensure!(made.bucket == bucket && made.digest_keys.len() == 2);
    let endpoint = Answerer::start(&archive, &made)?;

    for region in &plan.regions {
        let text = validate(store, &made, endpoint, region)?.success()?;
        // 25 periods with two files of two collectors each.
        let files = (plan.periods - 1) * plan.collectors * plan.files;
        for line in
            [format!("{0}/{0} digest files valid", plan.periods), format!("{files}/{files} log files valid")]
        {
            ensure!(text.contains(&line), "{region}: no {line:?} in {text}");
        }
        ensure!(
            text.contains(&format!("s3://{bucket}/audit/AWSLogs/123456789012/CloudTrail-Digest/{region}/"))
        );
    }

    let region = &plan.regions[0];
    let batch = made.batches.iter().find(|batch| batch.period == 7).context("a batch of period 7")?;
    let log = batch.log.as_ref().context("a log file")?.to_string();
    replace(store, &bucket, &log, b"not what it was")?;
    let digest = made.digests.iter().find(|digest| digest.region.as_str() == region).context("a digest")?;
    delete(store, &bucket, &digest.to_string())?;
    let ran = validate(store, &made, endpoint, region)?;
    ensure!(ran.status.code() == Some(1), "{ran:?}");
    let invalid = |what: &str, key: &str, why: &str| format!("{what}\ts3://{bucket}/{key}\tINVALID: {why}");
    ensure!(ran.stderr.contains(&invalid("Log file", &log, "invalid format")), "{ran:?}");
    ensure!(ran.stderr.contains(&invalid("Digest file", &digest.to_string(), "not found")), "{ran:?}");
    Ok(())
}

fn runtime() -> Result<tokio::runtime::Runtime> {
    Ok(tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build()?)
}

/// Opens a location of the S3 server.
fn open(store: &SeaweedFs, location: &str) -> Result<Store> {
    let (endpoint, secret) = (store.endpoint(), SECRET_KEY.to_owned());
    let variable = |name: &str| match name {
        "AWS_ENDPOINT_URL_S3" => Some(endpoint.clone()),
        "AWS_ACCESS_KEY_ID" => Some(ACCESS_KEY.to_owned()),
        "AWS_SECRET_ACCESS_KEY" => Some(secret.clone()),
        "AWS_REGION" => Some(REGION.to_owned()),
        _ => None,
    };
    Ok(Store::open(location, &variable)?)
}

fn validate(store: &SeaweedFs, made: &Made, endpoint: SocketAddr, region: &str) -> Result<tools::Ran> {
    let (arn, endpoint) = (made.trail_arn(), format!("http://{endpoint}"));
    let mut command = store.aws([
        "cloudtrail",
        "validate-logs",
        "--verbose",
        "--trail-arn",
        &arn,
        "--start-time",
        "2026-01-14T00:00:00Z",
        "--end-time",
        "2026-01-20T00:00:00Z",
        "--region",
        region,
        "--endpoint-url",
        &endpoint,
    ])?;
    command.env("AWS_ENDPOINT_URL_S3", store.endpoint());
    tools::run(command)
}

fn replace(store: &SeaweedFs, bucket: &str, key: &str, bytes: &[u8]) -> Result<()> {
    let file = tempfile::NamedTempFile::new()?;
    std::fs::write(file.path(), bytes)?;
    let body = file.path().display().to_string();
    let put = ["s3api", "put-object", "--bucket", bucket, "--key", key, "--body", &body];
    tools::run(store.aws(put)?)?.success().map(drop)
}

fn delete(store: &SeaweedFs, bucket: &str, key: &str) -> Result<()> {
    tools::run(store.aws(["s3api", "delete-object", "--bucket", bucket, "--key", key])?)?.success().map(drop)
}

/// Answers `DescribeTrails` and `ListPublicKeys`, which is all that the CLI asks of CloudTrail itself. The keys are those
/// that are published in the bucket.
struct Answerer;

impl Answerer {
    /// Answers until the process ends.
    fn start(store: &Store, made: &Made) -> Result<SocketAddr> {
        let mut keys = Vec::new();
        for key in &made.digest_keys {
            let object = DigestKeyObjectKey { home: made.home.clone(), fingerprint: key.fingerprint() };
            let bytes = runtime()?.block_on(store.get(&object.to_string(), 1 << 20))?;
            let (published, _) = PublishedDigestKey::open(&bytes)?;
            keys.push(serde_json::json!({
                "Value": base64(published.public_key.as_pkcs1()),
                "ValidityStartTime": published.validity_start.as_second(),
                "ValidityEndTime": published.validity_end.as_second(),
                "Fingerprint": published.public_key.fingerprint().to_string(),
            }));
        }
        let keys = serde_json::json!({ "PublicKeyList": keys }).to_string();
        let prefix = store.prefix().context("the location has a prefix")?;
        let trails = serde_json::json!({ "trailList": [{
            "Name": made.trail.as_str(),
            "TrailARN": made.trail_arn(),
            "S3BucketName": made.bucket,
            "S3KeyPrefix": prefix.as_str(),
            "HomeRegion": made.home_region.as_str(),
            "IsMultiRegionTrail": true,
            "LogFileValidationEnabled": true,
        }] })
        .to_string();
        let listener = TcpListener::bind("127.0.0.1:0")?;
        let address = listener.local_addr()?;
        thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let _ = answer(stream, &trails, &keys);
            }
        });
        Ok(address)
    }
}

fn answer(stream: TcpStream, trails: &str, keys: &str) -> Result<()> {
    let mut reader = BufReader::new(stream);
    let (mut target, mut length) = (String::new(), 0);
    for line in reader.by_ref().lines() {
        let line = line?;
        match line.split_once(": ") {
            Some((name, value)) if name.eq_ignore_ascii_case("x-amz-target") => value.clone_into(&mut target),
            Some((name, value)) if name.eq_ignore_ascii_case("content-length") => length = value.parse()?,
            _ if line.is_empty() => break,
            _ => {}
        }
    }
    reader.by_ref().take(length).read_to_end(&mut Vec::new())?;
    let body = if target.ends_with(".ListPublicKeys") { keys } else { trails };
    let stream = reader.get_mut();
    write!(
        stream,
        "HTTP/1.1 200 OK\r\ncontent-type: application/x-amz-json-1.1\r\ncontent-length: {}\r\nconnection: close\r\n\r\n{body}",
        body.len()
    )?;
    Ok(())
}

fn base64(bytes: &[u8]) -> String {
    const DIGITS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut text = String::new();
    for group in bytes.chunks(3) {
        let number = group.iter().fold(0, |number: u32, byte| number << 8 | u32::from(*byte))
            << (8 * (3 - group.len()));
        for digit in 0..4 {
            let value = number >> (18 - 6 * digit) & 63;
            text.push(if digit > group.len() { '=' } else { char::from(DIGITS[value as usize]) });
        }
    }
    text
}
