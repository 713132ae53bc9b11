//! Following all objects of a kind: a list, page by page, then what changes, for ever.

use std::time::Duration;

use bytes::BytesMut;
use http::{Method, StatusCode};
use http_body_util::BodyExt;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{ListMeta, ObjectMeta};
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::Value;

use super::{ApiError, Client};

/// Objects in a page of a list.
const PAGE: usize = 500;
/// Bytes of one change: an object has at most 1.5 MB in etcd, and some of its bytes take six in JSON.
const MAX_LINE: usize = 16 << 20;
/// The server ends a watch after that, so that one which died unnoticed is not waited for.
const WATCH_SECONDS: u64 = 240;
/// How long nothing may come of a watch: longer than it lasts.
const SILENCE: Duration = Duration::from_secs(WATCH_SECONDS + 30);
/// Pauses after failures: doubled up to the last.
const PAUSES: [u64; 6] = [1, 2, 4, 8, 16, 30];

/// What is to be known of the objects.
#[derive(Debug)]
pub enum Change<T> {
    /// What was known is to be forgotten: all that there is comes after this.
    Restart,
    /// This one is there, or is now like that.
    Set(T),
    /// It is gone.
    Gone(T),
    /// All that there is has come.
    Complete,
}

#[derive(Deserialize)]
struct Page<T> {
    #[serde(default)]
    metadata: ListMeta,
    #[serde(default = "Vec::new")]
    items: Vec<T>,
}

#[derive(Deserialize)]
struct Event {
    #[serde(rename = "type")]
    kind: String,
    object: Value,
}

#[derive(Deserialize)]
struct Versioned {
    metadata: ObjectMeta,
}

/// Follows the objects of a collection, e.g. `/api/v1/pods`, until the future is dropped. `on` must not take long.
pub async fn watch<T: DeserializeOwned>(client: Client, path: &str, mut on: impl FnMut(Change<T>)) {
    let mut failures = 0;
    loop {
        match follow(&client, path, &mut on, &mut failures).await {
            // It is too old to go on from: begin anew, at once.
            Err(error) if error.is(StatusCode::GONE) => tracing::debug!(path, "watch begins anew"),
            Err(error) => {
                tracing::warn!(path, %error, "watch failed");
                let pause = PAUSES[failures.min(PAUSES.len() - 1)];
                failures += 1;
                tokio::time::sleep(Duration::from_secs(pause)).await;
            }
            Ok(never) => match never {},
        }
    }
}

async fn follow<T: DeserializeOwned>(
    client: &Client,
    path: &str,
    on: &mut impl FnMut(Change<T>),
    failures: &mut usize,
) -> Result<std::convert::Infallible, ApiError> {
    let mut version = list(client, path, on).await?;
    *failures = 0;
    loop {
        let query = format!(
            "{path}?watch=true&allowWatchBookmarks=true&timeoutSeconds={WATCH_SECONDS}&resourceVersion={version}"
        );
        let response = tokio::time::timeout(SILENCE, client.send(Method::GET, &query, None));
        let mut body = response.await.map_err(|_| ApiError::Timeout)??.into_body();
        let mut buffer = BytesMut::new();
        let mut ended = false;
        while !ended {
            let frame = tokio::time::timeout(SILENCE, body.frame()).await.map_err(|_| ApiError::Timeout)?;
            match frame {
                None => ended = true,
                // A watch may break off at any time; what was seen of it counts.
                Some(Err(error)) => {
                    tracing::debug!(path, %error, "watch broke off");
                    tokio::time::sleep(Duration::from_secs(1)).await;
                    ended = true;
                }
                Some(Ok(frame)) => {
                    let Ok(data) = frame.into_data() else { continue };
                    buffer.extend_from_slice(&data);
                    while let Some(end) = buffer.iter().position(|byte| *byte == b'\n') {
                        let line = buffer.split_to(end + 1);
                        take(&line, on, &mut version)?;
                    }
                    if buffer.len() > MAX_LINE {
                        return Err(ApiError::Transport("a change of the watch is too large".into()));
                    }
                }
            }
        }
    }
}

async fn list<T: DeserializeOwned>(
    client: &Client,
    path: &str,
    on: &mut impl FnMut(Change<T>),
) -> Result<String, ApiError> {
    let mut query = format!("{path}?limit={PAGE}");
    let mut restarted = false;
    loop {
        let page: Page<T> = client.get(&query).await?;
        if !std::mem::replace(&mut restarted, true) {
            on(Change::Restart);
        }
        page.items.into_iter().for_each(|item| on(Change::Set(item)));
        match page.metadata.continue_.filter(|token| !token.is_empty()) {
            // It is base64 for URLs.
            Some(token) => query = format!("{path}?limit={PAGE}&continue={token}"),
            None => {
                on(Change::Complete);
                return Ok(page.metadata.resource_version.unwrap_or_default());
            }
        }
    }
}

fn take<T: DeserializeOwned>(
    line: &[u8],
    on: &mut impl FnMut(Change<T>),
    version: &mut String,
) -> Result<(), ApiError> {
    let Event { kind, object } = serde_json::from_slice(line).map_err(ApiError::Form)?;
    if kind == "ERROR" {
        let code = object["code"].as_u64().and_then(|code| u16::try_from(code).ok());
        let code = code.and_then(|code| StatusCode::from_u16(code).ok()).unwrap_or(StatusCode::GONE);
        let message = object["message"].as_str().unwrap_or_default().to_owned();
        return Err(ApiError::Refused { code, message });
    }
    let seen = Versioned::deserialize(&object).map_err(ApiError::Form)?;
    if let Some(seen) = seen.metadata.resource_version {
        *version = seen;
    }
    let object = || serde_json::from_value(object).map_err(ApiError::Form);
    match kind.as_str() {
        "ADDED" | "MODIFIED" => on(Change::Set(object()?)),
        "DELETED" => on(Change::Gone(object()?)),
        // BOOKMARK, and what may come to be.
        _ => {}
    }
    Ok(())
}
