//! Puts and removes objects of a bucket as whoever has its credentials can: with any bytes, any metadata, under any name.

use std::io::Write as _;
use std::process::Stdio;

use anyhow::{Context, Result, ensure};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::json;
use sidetrail_archive::store::Store;

use crate::sample::{Object, Objects};
use crate::{SeaweedFs, tools};

/// Reads lines of JSON, and does what each says with a few threads.
const SCRIPT: &str = r#"
import base64, concurrent.futures, json, sys
import boto3, botocore.config
client = boto3.client("s3", config=botocore.config.Config(max_pool_connections=16))
def one(line):
    bucket, key, body, metadata = json.loads(line)
    if body is None:
        client.delete_object(Bucket=bucket, Key=key)
    else:
        client.put_object(Bucket=bucket, Key=key, Body=base64.b64decode(body), Metadata=metadata)
with concurrent.futures.ThreadPoolExecutor(16) as pool:
    for done in pool.map(one, sys.stdin):
        pass
"#;

/// Makes a bucket that holds `from` hold `to`.
///
/// # Errors
///
/// When the store refuses, or Python cannot be run.
pub fn change(store: &SeaweedFs, bucket: &str, from: &Objects, to: &Objects) -> Result<()> {
    let mut python = tools::python()?;
    store.configure(&mut python);
    python.args(["-c", SCRIPT]).stdin(Stdio::piped());
    let mut child = python.spawn().context("cannot start Python")?;
    {
        let mut input = child.stdin.take().context("no standard input")?;
        for key in from.keys().filter(|key| !to.contains_key(*key)) {
            writeln!(input, "{}", json!([bucket, key, null, null]))?;
        }
        for (key, object) in to.iter().filter(|(key, object)| from.get(*key) != Some(object)) {
            writeln!(input, "{}", json!([bucket, key, STANDARD.encode(&object.bytes), object.metadata]))?;
        }
    }
    let ended = child.wait()?;
    ensure!(ended.success(), "changing the bucket ended with {ended}");
    Ok(())
}

/// One object, without metadata.
#[must_use]
pub fn one(key: &str, bytes: &[u8]) -> Objects {
    [(key.to_owned(), Object { bytes: bytes.to_owned(), ..Object::default() })].into()
}

/// How many objects are put at the same time.
const PUTS: usize = 32;

/// Puts everything into an empty bucket; quickly, where there is no metadata to it.
///
/// # Errors
///
/// When the store refuses.
pub fn upload(store: &SeaweedFs, bucket: &str, objects: &Objects) -> Result<()> {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build()?;
    let target = Store::open(&format!("s3://{bucket}"), &|name| store.variable(name))?;
    runtime.block_on(async {
        let mut puts = tokio::task::JoinSet::new();
        for (key, object) in objects.iter().filter(|(_, object)| object.metadata.is_empty()) {
            if puts.len() == PUTS {
                puts.join_next().await.context("no put")???;
            }
            let (target, key, bytes) = (target.clone(), key.clone(), object.bytes.clone());
            puts.spawn(async move { target.put_create(&key, bytes.into()).await });
        }
        while let Some(put) = puts.join_next().await {
            put??;
        }
        anyhow::Ok(())
    })?;
    let rest = objects.iter().filter(|(_, object)| !object.metadata.is_empty());
    change(store, bucket, &Objects::new(), &rest.map(|(key, object)| (key.clone(), object.clone())).collect())
}
