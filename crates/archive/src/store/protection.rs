//! What keeps objects from being deleted and read: Object Lock and encryption. Locks are set after an object was stored,
//! by requests of their own, so that a bucket that cannot lock still takes the evidence.

use std::fmt;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use http::{HeaderMap, HeaderValue, Method, StatusCode};
use jiff::Timestamp;
use serde::Deserialize;

use super::signed::Signed;
use super::{Store, StoreError, generic};
use crate::hash::Sha256;
use crate::time;

/// Who may shorten a retention.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mode {
    /// Those who have a permission for it.
    Governance,
    /// Nobody.
    Compliance,
}

impl fmt::Display for Mode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Governance => "GOVERNANCE",
            Self::Compliance => "COMPLIANCE",
        })
    }
}

/// A lock on one object.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Lock {
    /// Who may shorten it.
    pub mode: Mode,
    /// Until when the object cannot be deleted, in whole seconds. A lock may be set again to a later time.
    pub until: Timestamp,
    /// Whether it cannot be deleted after that either, until somebody takes the hold off.
    pub legal_hold: bool,
}

/// A lifecycle rule of a bucket that deletes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Expiry {
    /// What the rule is called.
    pub id: String,
    /// The keys that it is about.
    pub prefix: String,
    /// After how many days.
    pub days: u64,
}

/// What a bucket says of itself. `None` is what could not be found out.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Bucket {
    /// Whether it keeps versions, without which nothing can be locked.
    pub versioning: Option<bool>,
    /// Whether it can lock.
    pub object_lock: Option<bool>,
    /// The rules by which it deletes.
    pub expiries: Option<Vec<Expiry>>,
}

/// How one object is protected.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Protected {
    /// The mode of its lock, as the store calls it.
    pub mode: Option<String>,
    /// Until when.
    pub until: Option<String>,
    /// How it is encrypted, as the store calls it: `AES256`, `aws:kms`.
    pub encryption: Option<String>,
}

impl Store {
    /// Whether this is a store that has locks and encryption at all.
    #[must_use]
    pub fn has_protection(&self) -> bool {
        self.signed.is_some()
    }

    /// Locks an object that is there. Locking it again is no error, unless that would shorten it.
    ///
    /// # Errors
    /// If the bucket has no Object Lock, or refuses.
    pub async fn lock(&self, key: &str, lock: Lock) -> Result<(), StoreError> {
        let failed = |cause| self.error("lock", key, cause);
        let signed = self.signed().map_err(failed)?;
        let Lock { mode, until, legal_hold } = lock;
        let retention = format!(
            "<Retention xmlns=\"{NAMESPACE}\"><Mode>{mode}</Mode><RetainUntilDate>{}</RetainUntilDate></Retention>",
            time::format(until),
        );
        put(signed, key, "retention", retention).await.map_err(failed)?;
        if legal_hold {
            let hold = format!("<LegalHold xmlns=\"{NAMESPACE}\"><Status>ON</Status></LegalHold>");
            put(signed, key, "legal-hold", hold).await.map_err(failed)?;
        }
        Ok(())
    }

    /// Asks the bucket what it does to protect and to delete objects.
    ///
    /// # Errors
    /// If the store does not answer. What the caller may not ask is `None` in the answer.
    pub async fn inspect(&self) -> Result<Bucket, StoreError> {
        let failed = |cause| self.error("inspect", "the bucket", cause);
        let signed = self.signed().map_err(failed)?;
        let versioning = ask(signed, "versioning", "").await.map_err(failed)?;
        let object_lock =
            ask(signed, "object-lock", "ObjectLockConfigurationNotFoundError").await.map_err(failed)?;
        let lifecycle = ask(signed, "lifecycle", "NoSuchLifecycleConfiguration").await.map_err(failed)?;
        let says = |answer: Option<String>, word: &str| answer.map(|answer| answer.contains(word));
        Ok(Bucket {
            versioning: says(versioning, "<Status>Enabled</Status>"),
            object_lock: says(object_lock, "<ObjectLockEnabled>Enabled</ObjectLockEnabled>"),
            expiries: lifecycle.and_then(|answer| expiries(&answer)),
        })
    }

    /// Asks how an object is protected.
    ///
    /// # Errors
    /// If there is none, or the store does not answer.
    pub async fn protected(&self, key: &str) -> Result<Protected, StoreError> {
        let failed = |cause| self.error("inspect", key, cause);
        let signed = self.signed().map_err(failed)?;
        let answer = signed.send(Method::HEAD, key, "", HeaderMap::new(), Bytes::new()).await;
        let headers = answer.and_then(|answer| answer.success(key)).map_err(failed)?.headers;
        let text = |name: &str| headers.get(name)?.to_str().ok().map(str::to_owned);
        Ok(Protected {
            mode: text("x-amz-object-lock-mode"),
            until: text("x-amz-object-lock-retain-until-date"),
            encryption: text("x-amz-server-side-encryption"),
        })
    }

    fn signed(&self) -> object_store::Result<&Signed> {
        self.signed.as_ref().ok_or_else(|| object_store::Error::NotSupported {
            source: "only S3 has locks and encryption".into(),
        })
    }
}

const NAMESPACE: &str = "http://s3.amazonaws.com/doc/2006-03-01/";

/// S3 wants a checksum of what locks an object.
async fn put(signed: &Signed, key: &str, query: &str, xml: String) -> object_store::Result<()> {
    let checksum = STANDARD.encode(Sha256::of(xml.as_bytes()).as_bytes());
    let mut headers = HeaderMap::new();
    headers.insert("content-type", HeaderValue::from_static("application/xml"));
    headers.insert("x-amz-sdk-checksum-algorithm", HeaderValue::from_static("SHA256"));
    headers.insert("x-amz-checksum-sha256", HeaderValue::from_str(&checksum).map_err(generic)?);
    signed.send(Method::PUT, key, query, headers, xml.into()).await?.success(key).map(|_| ())
}

/// A configuration of the bucket; empty where there is none, which the service says by `none`. `None` where the caller
/// may not ask, or the service does not know the question.
async fn ask(signed: &Signed, query: &str, none: &str) -> object_store::Result<Option<String>> {
    let answer = signed.send(Method::GET, "", query, HeaderMap::new(), Bytes::new()).await?;
    if !none.is_empty() && answer.says(none) {
        return Ok(Some(String::new()));
    }
    match answer.status {
        StatusCode::FORBIDDEN | StatusCode::METHOD_NOT_ALLOWED | StatusCode::NOT_IMPLEMENTED => Ok(None),
        _ => {
            let body = answer.success(query)?.body;
            Ok(Some(String::from_utf8_lossy(&body).into_owned()))
        }
    }
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Lifecycle {
    #[serde(default, rename = "Rule")]
    rules: Vec<Rule>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Rule {
    #[serde(default, rename = "ID")]
    id: String,
    status: String,
    prefix: Option<String>,
    filter: Option<Filter>,
    expiration: Option<Days>,
    noncurrent_version_expiration: Option<Days>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Filter {
    prefix: Option<String>,
    and: Option<Box<Filter>>,
}

#[derive(Deserialize)]
struct Days {
    #[serde(rename = "Days", alias = "NoncurrentDays")]
    days: Option<u64>,
}

/// The rules of a lifecycle configuration that delete after a number of days. `None` if it cannot be understood.
fn expiries(xml: &str) -> Option<Vec<Expiry>> {
    if xml.is_empty() {
        return Some(Vec::new());
    }
    let Lifecycle { rules } = quick_xml::de::from_str(xml).ok()?;
    let rules = rules.into_iter().filter(|rule| rule.status == "Enabled");
    let expiries = rules.filter_map(|rule| {
        let days = [&rule.expiration, &rule.noncurrent_version_expiration];
        let days = days.into_iter().filter_map(|days| days.as_ref()?.days).min()?;
        let filter = rule.filter.map(|filter| match filter.and {
            Some(and) => and.prefix.unwrap_or_default(),
            None => filter.prefix.unwrap_or_default(),
        });
        Some(Expiry { id: rule.id, prefix: rule.prefix.or(filter).unwrap_or_default(), days })
    });
    Some(expiries.collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rules_that_delete_are_understood() {
        let xml = r#"<?xml version="1.0" encoding="UTF-8"?>
<LifecycleConfiguration xmlns="http://s3.amazonaws.com/doc/2006-03-01/">
  <Rule><ID>all</ID><Status>Enabled</Status><Filter/><Expiration><Days>30</Days></Expiration></Rule>
  <Rule><ID>off</ID><Status>Disabled</Status><Prefix>a/</Prefix><Expiration><Days>1</Days></Expiration></Rule>
  <Rule><ID>old</ID><Status>Enabled</Status><Filter><And><Prefix>b/</Prefix><Tag><Key>k</Key><Value>v</Value></Tag></And></Filter>
    <NoncurrentVersionExpiration><NoncurrentDays>7</NoncurrentDays></NoncurrentVersionExpiration></Rule>
  <Rule><ID>cold</ID><Status>Enabled</Status><Filter><Prefix>c/</Prefix></Filter>
    <Transition><Days>30</Days><StorageClass>GLACIER</StorageClass></Transition></Rule>
</LifecycleConfiguration>"#;
        let expiry =
            |id: &str, prefix: &str, days| Expiry { id: id.to_owned(), prefix: prefix.to_owned(), days };
        assert_eq!(expiries(xml), Some(vec![expiry("all", "", 30), expiry("old", "b/", 7)]));
        assert_eq!(expiries(""), Some(Vec::new()));
        assert_eq!(expiries("no XML"), None);
    }
}
