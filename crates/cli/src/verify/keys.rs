//! `--keys`: PEM with keys of both kinds, or what `aws cloudtrail list-public-keys` prints.

use std::path::Path;

use anyhow::{Context, Result, bail, ensure};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use jiff::Timestamp;
use serde::Deserialize;
use serde_json::Value;
use sidetrail_archive::sign::{Fingerprint, KeyBundle, PublicKey, RsaPublicKey};
use sidetrail_archive::verify::DigestTrust;

use super::read_pem;

/// What was given; where no file was, neither.
#[derive(Debug, Default)]
pub(super) struct Given {
    pub(super) manifests: Option<Vec<PublicKey>>,
    pub(super) digests: Option<Vec<DigestTrust>>,
}

pub(super) fn read<P: AsRef<Path>>(paths: impl IntoIterator<Item = P>) -> Result<Given> {
    let mut given = Given::default();
    for path in paths {
        let path = path.as_ref();
        add(path, &mut given).with_context(|| format!("could not take the keys in {}", path.display()))?;
    }
    Ok(given)
}

fn add(path: &Path, given: &mut Given) -> Result<()> {
    let text = read_pem(path)?;
    if text.trim_start().starts_with('{') && text.contains("PublicKeyList") {
        let digests = listed(&text)?;
        given.digests.get_or_insert_default().extend(digests);
        return Ok(());
    }
    let KeyBundle { manifest_keys, digest_keys } = KeyBundle::from_pem(&text)?;
    if !manifest_keys.is_empty() {
        given.manifests.get_or_insert_default().extend(manifest_keys);
    }
    if !digest_keys.is_empty() {
        let trust = |key| DigestTrust { key, validity: None };
        given.digests.get_or_insert_default().extend(digest_keys.into_iter().map(trust));
    }
    Ok(())
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct List {
    public_key_list: Vec<Listed>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Listed {
    value: String,
    fingerprint: Option<String>,
    validity_start_time: Option<Value>,
    validity_end_time: Option<Value>,
}

/// The keys of a `ListPublicKeys` answer.
fn listed(text: &str) -> Result<Vec<DigestTrust>> {
    let List { public_key_list } = serde_json::from_str(text).context("not the JSON of ListPublicKeys")?;
    ensure!(!public_key_list.is_empty(), "PublicKeyList is empty");
    public_key_list.into_iter().map(trust).collect()
}

fn trust(listed: Listed) -> Result<DigestTrust> {
    let der = STANDARD.decode(&listed.value).context("Value is not base64")?;
    let key = RsaPublicKey::from_pkcs1(&der).or_else(|_| RsaPublicKey::from_spki(&der))?;
    if let Some(stated) = listed.fingerprint {
        // A fingerprint is a name: it has to be that of this key, or digests would be checked with another.
        let stated: Fingerprint = stated.parse().context("Fingerprint")?;
        let found = key.fingerprint();
        ensure!(stated == found, "Fingerprint is {stated}, and that of Value is {found}");
    }
    let validity = match (listed.validity_start_time, listed.validity_end_time) {
        (Some(start), Some(end)) => {
            Some((time(&start).context("ValidityStartTime")?, time(&end).context("ValidityEndTime")?))
        }
        _ => None,
    };
    Ok(DigestTrust { key, validity })
}

/// Seconds of the epoch, as on the wire, or text, as the CLI prints it.
fn time(value: &Value) -> Result<Timestamp> {
    match value {
        Value::Number(number) => {
            let seconds = number.as_f64().context("not a time")?;
            Ok(Timestamp::from_millisecond((seconds * 1000.0) as i64)?)
        }
        Value::String(text) => Ok(text.parse()?),
        _ => bail!("not a time"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The key of the golden digests.
    const LIST: &str = r#"{"PublicKeyList":[{"Value":"MIIBCgKCAQEAgyQvpGO8MY5Uv+8Q7U5oN+31K/i7wViWkDrJI5fQZL2wb54YLt7dV1quNgyczumN3v4Kl2PFdNelm+dF1+rkRT4CjyW9alpqWwujW9owb/NVBgeEPwmwERKGEyBzXAfI5jXQ2T6fTLFgHMEdx7AKjuqYqLEorDCr259YhAanZEx8mCmN63RL2D5UfZfQamDK4+JtFcbCZA09b36wF/nCCyCADh6G1Vmb/Ie0tzHWl8qQIDfUhr5ys1Cg4B4n3DHZ8mqF5thv4bdc9wt+cbv89T8vHqyFBsq1dyeOCOLKQGk+hPI3MIavj6ofekIdEOr34GmlPd6bGRyvCINsQa2iuwIDAQAB","ValidityStartTime":"2026-01-01T00:00:00+01:00","ValidityEndTime":1772323200.0,"Fingerprint":"daad0a7d27c8d0c6e8f2527ff1868eea"}]}"#;

    #[test]
    fn what_the_aws_cli_prints_is_taken() {
        let keys = listed(LIST).unwrap();
        assert_eq!(keys[0].key.fingerprint().to_string(), "daad0a7d27c8d0c6e8f2527ff1868eea");
        let (start, end) = keys[0].validity.unwrap();
        assert_eq!(start.to_string(), "2025-12-31T23:00:00Z");
        assert_eq!(end.to_string(), "2026-03-01T00:00:00Z");
    }

    #[test]
    fn a_fingerprint_of_another_key_is_refused() {
        let other = LIST.replace("daad0a7d", "daad0a7e");
        let error = listed(&other).unwrap_err().to_string();
        assert!(error.contains("that of Value is daad0a7d"), "{error}");
        for text in ["{}", r#"{"PublicKeyList":[]}"#, r#"{"PublicKeyList":[{"Value":"AA=="}]}"#] {
            assert!(listed(text).is_err(), "{text}");
        }
    }
}
