//! API keys in a header. Records tell keys apart by an id that does not tell the key.

use std::{fmt, sync::Arc};

use hmac::{Hmac, Mac};
use http::{HeaderName, request::Parts};
use sha2::Sha256;
use sidetrail_record::UserIdentity;

use super::{Answer, Identity, asserted};

/// A key for hashing that is shorter can be guessed.
pub(crate) const MIN_HASHING_KEY: usize = 16;

/// Keys are shorter; hashing takes time.
const MAX_KEY: usize = 1024;

/// How ids begin, as AWS's begin with `AKIA`.
const PREFIX: &str = "SK";

/// Characters after that: 90 bits of the hash. In all as many as AWS's have.
const ID_CHARS: usize = 18;

/// Says whose key it is that has this id.
type Resolver = Arc<dyn Fn(&str) -> Option<Identity> + Send + Sync>;

/// API keys in a header, for [`Builder::api_keys`](crate::Builder::api_keys).
///
/// The record has an id in the place of the key, in `accessKeyId`: `SK` and 18 characters of the key's HMAC-SHA256. The
/// same key has the same id wherever the hashing key is the same; without the hashing key, nobody can try keys on it.
///
/// **The layer does not know which keys are valid.** Without a [resolver](Self::resolver), any key is recorded, as the
/// key that was shown; whether the service took it is in `errorCode`.
///
/// ```
/// use sidetrail::{ApiKeys, Identity};
///
/// let keys = ApiKeys::header("x-api-key", std::env::var("AUDIT_HASHING_KEY").unwrap_or_default())
///     .resolver(|id| (id == "SKEXAMPLEEXAMPLEEXAM").then(|| Identity::user("17", "importer")));
/// ```
#[derive(Clone)]
#[must_use]
pub struct ApiKeys {
    header: String,
    /// Keyed and ready to go.
    hash: Hmac<Sha256>,
    weak: bool,
    resolver: Option<Resolver>,
}

impl ApiKeys {
    /// Keys in the header of this name. The hashing key has 16 bytes or more, is the same on all instances, and is as
    /// much of a secret as the keys.
    pub fn header(name: impl Into<String>, hashing_key: impl AsRef<[u8]>) -> Self {
        let hashing_key = hashing_key.as_ref();
        Self {
            header: name.into(),
            hash: keyed(hashing_key),
            weak: hashing_key.len() < MIN_HASHING_KEY,
            resolver: None,
        }
    }

    /// Says whose key it is, by its id. A key that it does not know is nobody's. It is called for each request, before
    /// the service: it must not block.
    pub fn resolver(mut self, resolve: impl Fn(&str) -> Option<Identity> + Send + Sync + 'static) -> Self {
        self.resolver = Some(Arc::new(resolve));
        self
    }

    /// The id of a key, to store beside it where it is issued.
    #[must_use]
    pub fn id(&self, key: impl AsRef<[u8]>) -> String {
        const ALPHABET: &[u8; 32] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZ234567";
        let hash = self.hash.clone().chain_update(key).finalize().into_bytes();
        let mut id = String::with_capacity(PREFIX.len() + ID_CHARS);
        id.push_str(PREFIX);
        for index in 0..ID_CHARS {
            // Five bits of the hash, from the left.
            let (byte, shift) = (index * 5 / 8, index * 5 % 8);
            let pair = u16::from_be_bytes([hash[byte], hash[byte + 1]]);
            id.push(char::from(ALPHABET[usize::from(pair >> (11 - shift) & 31)]));
        }
        id
    }

    /// What is wrong with the settings: name, value and reason. The hashing key is not told.
    pub(crate) fn problem(&self) -> Option<(&'static str, String, &'static str)> {
        if self.weak {
            return Some(("api_keys", "the hashing key".to_owned(), "shorter than 16 bytes"));
        }
        let invalid = HeaderName::try_from(self.header.as_str()).is_err();
        invalid.then(|| ("api_keys", self.header.clone(), "not the name of a header"))
    }

    /// Looks at requests. Call it when there is no [problem](Self::problem).
    pub(crate) fn look(self) -> impl Fn(&Parts) -> Answer + Send + Sync + 'static {
        let header = HeaderName::try_from(self.header.as_str()).ok();
        move |parts| {
            let key = header.as_ref().map_or(Ok(None), |header| asserted::only(&parts.headers, header));
            match key {
                Err(code) => Answer::Refused(code),
                Ok(Some(key)) if key.len() > MAX_KEY => Answer::Refused("OversizedKey"),
                Ok(Some(key)) if !key.is_empty() => self.owner(self.id(key)),
                Ok(_) => Answer::Nobody,
            }
        }
    }

    fn owner(&self, id: String) -> Answer {
        let Some(resolver) = &self.resolver else {
            return Identity::from(UserIdentity {
                kind: Some("IAMUser".to_owned()),
                principal_id: Some(id.clone()),
                access_key_id: Some(id),
                ..UserIdentity::default()
            })
            .into();
        };
        resolver(&id).map_or(Answer::Refused("UnknownKey"), |identity| {
            if identity.0.access_key_id.is_some() {
                return identity.into();
            }
            let mut identity = UserIdentity::from(identity);
            identity.access_key_id = Some(id);
            Identity::from(identity).into()
        })
    }
}

/// Shows neither key nor state of the hash.
impl fmt::Debug for ApiKeys {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("ApiKeys").field("header", &self.header).finish_non_exhaustive()
    }
}

/// HMAC takes keys of any length, so there is always one.
fn keyed(hashing_key: &[u8]) -> Hmac<Sha256> {
    Hmac::new_from_slice(hashing_key).unwrap_or_else(|_| Hmac::new(&Default::default()))
}

#[cfg(test)]
mod tests {
    use http::Request;

    use super::*;
    use crate::identity::chain::Caller;

    const HASHING_KEY: &[u8] = b"0123456789abcdef";

    fn ask(keys: &ApiKeys, values: &[&str]) -> Result<Option<UserIdentity>, &'static str> {
        let mut request = Request::builder();
        for value in values {
            request = request.header("x-api-key", *value);
        }
        let (parts, ()) = request.body(()).unwrap().into_parts();
        match keys.clone().look()(&parts) {
            Answer::Found(Caller::Identity(identity)) => Ok(Some(identity.into())),
            Answer::Found(Caller::Claims(_)) => panic!("claims"),
            Answer::Nobody => Ok(None),
            Answer::Refused(code) => Err(code),
        }
    }

    #[test]
    fn ids_are_steady_distinct_and_look_like_access_keys() {
        let keys = ApiKeys::header("x-api-key", HASHING_KEY);
        let id = keys.id("key-1");
        // HMAC-SHA256 of "key-1", in base32.
        assert_eq!(id, "SKJMHJBWHRZBAWJKT3SU");
        assert_eq!(id.len(), 20);
        assert_ne!(id, keys.id("key-2"));
        assert_ne!(id, ApiKeys::header("x-api-key", b"another hashing key").id("key-1"));
    }

    #[test]
    fn a_key_is_known_by_its_id() {
        let keys = ApiKeys::header("X-Api-Key", HASHING_KEY);
        let found = ask(&keys, &["key-1"]).unwrap().unwrap();
        assert_eq!(found.kind.as_deref(), Some("IAMUser"));
        assert_eq!(found.access_key_id, Some(keys.id("key-1")));
        assert_eq!(ask(&keys, &[]), Ok(None));
        assert_eq!(ask(&keys, &[""]), Ok(None));
        assert_eq!(ask(&keys, &["a", "b"]), Err("AmbiguousHeader"));
        assert_eq!(ask(&keys, &[&"a".repeat(MAX_KEY + 1)]), Err("OversizedKey"));
    }

    #[test]
    fn a_resolver_knows_whose_key_it_is() {
        let keys = ApiKeys::header("x-api-key", HASHING_KEY);
        let known = keys.id("key-1");
        let keys = keys.resolver(move |id| (id == known).then(|| Identity::user("17", "importer")));
        let found = ask(&keys, &["key-1"]).unwrap().unwrap();
        assert_eq!(found.user_name.as_deref(), Some("importer"));
        assert_eq!(found.access_key_id, Some(keys.id("key-1")));
        assert_eq!(ask(&keys, &["key-2"]), Err("UnknownKey"));
    }

    #[test]
    fn settings_are_checked_and_the_hashing_key_is_not_shown() {
        assert!(ApiKeys::header("x-api-key", HASHING_KEY).problem().is_none());
        let (.., reason) = ApiKeys::header("x-api-key", "hunter2").problem().unwrap();
        assert_eq!(reason, "shorter than 16 bytes");
        let (_, value, _) = ApiKeys::header("x api key", HASHING_KEY).problem().unwrap();
        assert_eq!(value, "x api key");
        let shown = format!("{:?}", ApiKeys::header("x-api-key", HASHING_KEY));
        assert!(!shown.contains("0123456789abcdef"), "{shown}");
    }
}
