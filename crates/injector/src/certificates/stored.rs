//! Authority and certificate as they lie in the Secret, and what is to become of them next. Reads no clock.

use std::collections::BTreeMap;

use jiff::{SignedDuration, Timestamp};
use k8s_openapi::ByteString;
use k8s_openapi::api::core::v1::Secret;

use super::authority::{Authority, CertificateError, Issued, times};
use crate::config::Validity;

/// Members of the Secret. The first three are those of a Secret of the type `kubernetes.io/tls`.
const TLS_CERTIFICATE: &str = "tls.crt";
const TLS_KEY: &str = "tls.key";
const BUNDLE: &str = "ca.crt";
const AUTHORITY: &str = "authority.crt";
const AUTHORITY_KEY: &str = "authority.key";
const NEXT: &str = "next.crt";
const NEXT_KEY: &str = "next.key";
const PREVIOUS: &str = "previous.crt";
const NAMES: &str = "names";
const SINCE: &str = "since";

/// The Secret does not hold what it should.
#[derive(Debug, thiserror::Error)]
#[error("the Secret has no usable {0}")]
pub struct InvalidSecret(&'static str);

/// An authority's certificate that is still, or already, believed, and since when it is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Marked<T> {
    /// What.
    pub what: T,
    /// Since when.
    pub since: Timestamp,
}

/// What lies in the Secret.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Stored {
    /// The authority that vouches.
    pub authority: Authority,
    /// The one to come.
    pub next: Option<Marked<Authority>>,
    /// The certificate of the one before.
    pub previous: Option<Marked<String>>,
    /// What the webhooks show.
    pub serving: Issued,
    /// The names that this is for.
    pub names: Vec<String>,
}

/// What was changed, for logs and metrics.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Change {
    /// The next authority is there, and to be believed.
    AuthorityMade,
    /// It vouches from now on.
    AuthorityTakenOver,
    /// The one before is no longer believed.
    AuthorityForgotten,
    /// The webhooks have another certificate.
    CertificateIssued,
}

impl Change {
    /// As a label of metrics.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::AuthorityMade => "authority_made",
            Self::AuthorityTakenOver => "authority_taken_over",
            Self::AuthorityForgotten => "authority_forgotten",
            Self::CertificateIssued => "certificate_issued",
        }
    }
}

impl Stored {
    /// The first of all.
    ///
    /// # Errors
    /// If a certificate cannot be made.
    pub fn new(names: &[String], now: Timestamp, validity: &Validity) -> Result<Self, CertificateError> {
        let authority = Authority::new(now, validity.authority)?;
        let serving = authority.issue(names, now, validity.serving)?;
        Ok(Self { authority, next: None, previous: None, serving, names: names.to_vec() })
    }

    /// What the API server is to believe, as PEM: the authority that vouches first.
    #[must_use]
    pub fn bundle(&self) -> String {
        let next = self.next.as_ref().map(|next| next.what.0.certificate.as_str());
        let previous = self.previous.as_ref().map(|previous| previous.what.as_str());
        [Some(self.authority.0.certificate.as_str()), next, previous].into_iter().flatten().collect()
    }

    /// What is to become of it at `now`; `None` if it stays. `believed` is since when every webhook configuration is known
    /// to have the [bundle](Self::bundle): nothing goes on before the overlap has passed from there.
    ///
    /// # Errors
    /// If a certificate cannot be made or read.
    pub fn step(
        &self,
        names: &[String],
        now: Timestamp,
        believed: Option<Timestamp>,
        validity: &Validity,
    ) -> Result<Option<(Self, Change)>, CertificateError> {
        let passed = |since: Timestamp| {
            believed.is_some_and(|believed| now.duration_since(since.max(believed)) >= validity.overlap)
        };
        let mut after = self.clone();
        if let Some(next) = &self.next {
            if passed(next.since) {
                after.previous = Some(Marked { what: self.authority.0.certificate.clone(), since: now });
                after.authority = next.what.clone();
                after.next = None;
                after.serving = after.authority.issue(names, now, validity.serving)?;
                after.names = names.to_vec();
                return Ok(Some((after, Change::AuthorityTakenOver)));
            }
        } else if let Some(previous) = &self.previous {
            if passed(previous.since) {
                after.previous = None;
                return Ok(Some((after, Change::AuthorityForgotten)));
            }
        } else if is_due(&self.authority.0.certificate, now)? {
            let next = Authority::new(now, validity.authority)?;
            after.next = Some(Marked { what: next, since: now });
            return Ok(Some((after, Change::AuthorityMade)));
        }
        // Under the authority that there is: it is believed already.
        if self.names != names || is_due(&self.serving.certificate, now)? {
            after.serving = self.authority.issue(names, now, validity.serving)?;
            after.names = names.to_vec();
            // Near its authority's end there is nothing to be gained.
            let gained = times(&after.serving.certificate)?.1 > times(&self.serving.certificate)?.1;
            if gained || self.names != names {
                return Ok(Some((after, Change::CertificateIssued)));
            }
        }
        Ok(None)
    }

    /// Reads a Secret.
    ///
    /// # Errors
    /// If it does not hold what it should.
    pub fn from_secret(secret: &Secret) -> Result<Self, InvalidSecret> {
        let empty = BTreeMap::new();
        let data = secret.data.as_ref().unwrap_or(&empty);
        let text = |member: &str| {
            let bytes = &data.get(member)?.0;
            std::str::from_utf8(bytes).ok().filter(|text| !text.is_empty()).map(str::to_owned)
        };
        let need = |member: &'static str| text(member).ok_or(InvalidSecret(member));
        let issued = |certificate, key| Ok(Issued { certificate: need(certificate)?, key: need(key)? });
        let since = || {
            let since = text(SINCE).and_then(|text| text.parse::<Timestamp>().ok());
            since.ok_or(InvalidSecret(SINCE))
        };
        let next = match text(NEXT) {
            Some(_) => Some(Marked { what: Authority(issued(NEXT, NEXT_KEY)?), since: since()? }),
            None => None,
        };
        let previous = match text(PREVIOUS) {
            Some(previous) => Some(Marked { what: previous, since: since()? }),
            None => None,
        };
        let stored = Self {
            authority: Authority(issued(AUTHORITY, AUTHORITY_KEY)?),
            next,
            previous,
            serving: issued(TLS_CERTIFICATE, TLS_KEY)?,
            names: text(NAMES).unwrap_or_default().lines().map(str::to_owned).collect(),
        };
        for (certificate, member) in
            [(&stored.authority.0.certificate, AUTHORITY), (&stored.serving.certificate, TLS_CERTIFICATE)]
        {
            times(certificate).map_err(|_| InvalidSecret(member))?;
        }
        Ok(stored)
    }

    /// Writes it into a Secret, whose name and version stay.
    pub fn write(&self, secret: &mut Secret) {
        let mut data = BTreeMap::new();
        let mut put = |member: &str, text: &str| {
            data.insert(member.to_owned(), ByteString(text.as_bytes().to_vec()));
        };
        put(TLS_CERTIFICATE, &self.serving.certificate);
        put(TLS_KEY, &self.serving.key);
        put(BUNDLE, &self.bundle());
        put(AUTHORITY, &self.authority.0.certificate);
        put(AUTHORITY_KEY, &self.authority.0.key);
        put(NAMES, &self.names.join("\n"));
        // There is never both: one follows the other.
        if let Some(Marked { what: Authority(next), since }) = &self.next {
            put(NEXT, &next.certificate);
            put(NEXT_KEY, &next.key);
            put(SINCE, &since.to_string());
        }
        if let Some(Marked { what, since }) = &self.previous {
            put(PREVIOUS, what);
            put(SINCE, &since.to_string());
        }
        secret.data = Some(data);
        secret.type_.get_or_insert_with(|| "kubernetes.io/tls".to_owned());
    }
}

/// Whether two thirds of a certificate's time are over.
fn is_due(certificate: &str, now: Timestamp) -> Result<bool, CertificateError> {
    let (start, end) = times(certificate)?;
    let whole: SignedDuration = end.duration_since(start);
    Ok(now.duration_since(start) >= whole / 3 * 2)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names() -> Vec<String> {
        vec!["sidetrail-injector.sidetrail.svc".to_owned()]
    }

    fn start() -> Timestamp {
        "2026-11-28T00:00:00Z".parse().unwrap()
    }

    #[test]
    fn a_secret_is_read_as_it_was_written() {
        let validity = Validity::default();
        let mut stored = Stored::new(&names(), start(), &validity).unwrap();
        let mut secret = Secret::default();
        stored.write(&mut secret);
        assert_eq!(Stored::from_secret(&secret).unwrap(), stored);
        stored.next =
            Some(Marked { what: Authority::new(start(), validity.authority).unwrap(), since: start() });
        stored.write(&mut secret);
        assert_eq!(Stored::from_secret(&secret).unwrap(), stored);
        secret.data.as_mut().unwrap().remove(SINCE);
        assert_eq!(Stored::from_secret(&secret).unwrap_err().to_string(), "the Secret has no usable since");
        assert!(Stored::from_secret(&Secret::default()).is_err());
    }

    /// Three years, looked at every hour: at each moment the certificate that is shown is good, of an authority that has
    /// been believed for the overlap, and of one that is believed for another one.
    #[test]
    fn what_is_shown_is_always_believed() {
        let validity = Validity { authority: SignedDuration::from_hours(24 * 90), ..Validity::default() };
        let mut now = start();
        let mut stored = Stored::new(&names(), now, &validity).unwrap();
        let mut changes = Vec::new();
        let (mut bundle, mut since) = (stored.bundle(), now);
        let hour = SignedDuration::from_hours(1);
        for _ in 0..3 * 365 * 24 {
            if let Some((after, change)) = stored.step(&names(), now, Some(since), &validity).unwrap() {
                // What the API server believed until now has the authority of what is shown from now on.
                assert!(bundle.contains(&after.authority.0.certificate), "{change:?}");
                assert!(
                    after.bundle().contains(&stored.authority.0.certificate)
                        || change == Change::AuthorityForgotten
                );
                changes.push(change);
                stored = after;
                (bundle, since) = (stored.bundle(), now);
            }
            let (from, to) = times(&stored.serving.certificate).unwrap();
            assert!(from <= now && now < to, "{from} {now} {to}");
            now += hour;
        }
        let count = |what| changes.iter().filter(|change| **change == what).count();
        assert_eq!(count(Change::AuthorityMade), 18, "every sixty days");
        assert_eq!(count(Change::AuthorityMade), count(Change::AuthorityTakenOver));
        assert_eq!(count(Change::AuthorityMade), count(Change::AuthorityForgotten));
        assert!(count(Change::CertificateIssued) > 30);
    }

    #[test]
    fn nothing_goes_on_while_nobody_has_heard_of_it() {
        let validity = Validity::default();
        let mut stored = Stored::new(&names(), start(), &validity).unwrap();
        let due = start() + SignedDuration::from_hours(24 * 300);
        stored = stored.step(&names(), due, Some(due), &validity).unwrap().unwrap().0;
        assert!(stored.next.is_some());
        // What is not known to be believed is not shown, however long it takes; the rest is renewed meanwhile.
        let later = due + SignedDuration::from_hours(24);
        let (stored, change) = stored.step(&names(), later, None, &validity).unwrap().unwrap();
        assert_eq!(change, Change::CertificateIssued);
        assert_eq!(stored.step(&names(), later, None, &validity).unwrap(), None);
        let soon = Some(later - SignedDuration::from_secs(1));
        assert_eq!(stored.step(&names(), later, soon, &validity).unwrap(), None);
        let (_, change) = stored.step(&names(), later, Some(due), &validity).unwrap().unwrap();
        assert_eq!(change, Change::AuthorityTakenOver);
    }

    #[test]
    fn another_name_needs_another_certificate() {
        let validity = Validity::default();
        let stored = Stored::new(&names(), start(), &validity).unwrap();
        assert_eq!(stored.step(&names(), start(), Some(start()), &validity).unwrap(), None);
        let other = vec!["other.sidetrail.svc".to_owned()];
        let (after, change) = stored.step(&other, start(), None, &validity).unwrap().unwrap();
        assert_eq!((change, after.names), (Change::CertificateIssued, other));
    }
}
