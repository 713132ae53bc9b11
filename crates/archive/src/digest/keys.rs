//! Keys of digests in the bucket, and keys that are to be believed no more.
//!
//! A published key is a DSSE envelope signed by the key that it carries, and by the key before it where it replaces one:
//! so a change of keys is the old key's word too. It is created once; what it says of the time of its validity is for ever.
//! A revocation is an envelope of its own, signed by a key of digests.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::dsse::{InvalidEnvelope, MAX_ENVELOPE, pae};
use crate::key::{DigestKeyObjectKey, Home, RevocationKey};
use crate::sign::{DigestSigner, Fingerprint, KeyId, RsaPublicKey, RsaSignature, SignError};
use crate::time;

/// The type of a published key's payload.
pub const DIGEST_KEY_PAYLOAD_TYPE: &str = "application/vnd.sidetrail.digest-key.v1+json";

/// The type of a revocation's payload.
pub const REVOCATION_PAYLOAD_TYPE: &str = "application/vnd.sidetrail.revocation.v1+json";

/// The most characters of a revocation's reason.
pub const MAX_REASON: usize = 256;

/// An envelope that RSA keys signed, in the same exact form as [`crate::dsse::Envelope`]: one signature, or two.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RsaEnvelope {
    /// What the payload is, a media type.
    pub payload_type: String,
    /// What is signed.
    pub payload: Vec<u8>,
    /// Who claims to have signed it, and the signatures.
    pub signatures: Vec<(KeyId, RsaSignature)>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Wire {
    payload_type: String,
    payload: String,
    signatures: Vec<WireSignature>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct WireSignature {
    keyid: String,
    sig: String,
}

impl RsaEnvelope {
    /// Signs `payload` with each of `signers` and renders the bytes to store. The signers may block.
    ///
    /// # Errors
    /// If a signer fails.
    pub fn seal(
        payload_type: &str,
        payload: &[u8],
        signers: &[&dyn DigestSigner],
    ) -> Result<Vec<u8>, SignError> {
        let message = pae(payload_type, payload);
        let signatures = signers
            .iter()
            .map(|signer| Ok((signer.public_key().id(), signer.sign(&message)?)))
            .collect::<Result<_, SignError>>()?;
        let envelope =
            Self { payload_type: payload_type.to_owned(), payload: payload.to_owned(), signatures };
        Ok(envelope.render())
    }

    /// Reads stored bytes.
    ///
    /// # Errors
    /// If they are not exactly the bytes a writer would have stored.
    pub fn read(bytes: &[u8]) -> Result<Self, InvalidEnvelope> {
        if bytes.len() > MAX_ENVELOPE {
            return Err(InvalidEnvelope::TooLarge);
        }
        let Wire { payload_type, payload, signatures } = serde_json::from_slice(bytes)?;
        if !matches!(signatures.len(), 1..=2) {
            return Err(InvalidEnvelope::Field("signatures"));
        }
        let signature = |WireSignature { keyid, sig }: WireSignature| {
            let key_id = keyid.parse().map_err(|_| InvalidEnvelope::Field("keyid"))?;
            let bytes = STANDARD.decode(sig).ok();
            let signature = bytes.and_then(|bytes| RsaSignature::new(bytes).ok());
            Ok((key_id, signature.ok_or(InvalidEnvelope::Field("sig"))?))
        };
        let envelope = Self {
            payload_type,
            payload: STANDARD.decode(payload).map_err(|_| InvalidEnvelope::Field("payload"))?,
            signatures: signatures.into_iter().map(signature).collect::<Result<_, InvalidEnvelope>>()?,
        };
        if envelope.render() == bytes { Ok(envelope) } else { Err(InvalidEnvelope::NotCanonical) }
    }

    /// Whether one of the signatures is `key`'s.
    #[must_use]
    pub fn is_signed_by(&self, key: &RsaPublicKey) -> bool {
        let (id, message) = (key.id(), pae(&self.payload_type, &self.payload));
        self.signatures.iter().any(|(signer, signature)| *signer == id && key.verify(&message, signature))
    }

    fn render(&self) -> Vec<u8> {
        let payload_type = serde_json::Value::from(self.payload_type.as_str());
        let payload = STANDARD.encode(&self.payload);
        let signature = |(key_id, signature): &(KeyId, RsaSignature)| {
            format!(r#"{{"keyid":"{key_id}","sig":"{}"}}"#, STANDARD.encode(signature.as_bytes()))
        };
        let signatures = self.signatures.iter().map(signature).collect::<Vec<_>>().join(",");
        format!(r#"{{"payloadType":{payload_type},"payload":"{payload}","signatures":[{signatures}]}}"#)
            .into_bytes()
    }
}

/// A key or a revocation is not to be believed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum KeyObjectError {
    /// It is not an envelope.
    #[error(transparent)]
    Envelope(#[from] InvalidEnvelope),
    /// It is an envelope of something else.
    #[error("the payload type is not that of a {0}")]
    PayloadType(&'static str),
    /// None of the keys at hand signed it.
    #[error("not signed by a key that is to be believed")]
    Signature,
    /// Signed, but not the JSON that the type demands.
    #[error("the payload is not of its type")]
    Payload(#[from] serde_json::Error),
    /// What it states contradicts itself.
    #[error("{0}")]
    Rule(&'static str),
    /// A signer failed.
    #[error(transparent)]
    Sign(#[from] SignError),
}

/// A key that digests are signed with, as an object in the bucket.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PublishedDigestKey {
    /// This object's own key.
    pub object: DigestKeyObjectKey,
    /// The key.
    pub public_key: RsaPublicKey,
    /// It signs digests that end after this,
    pub validity_start: Timestamp,
    /// and not after this.
    pub validity_end: Timestamp,
    /// The key that it replaces, which signed this object too.
    pub predecessor: Option<Fingerprint>,
}

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct KeyPayload {
    object: DigestKeyObjectKey,
    /// Base64 of PKCS#1 DER.
    public_key: String,
    #[serde(with = "time")]
    validity_start_time: Timestamp,
    #[serde(with = "time")]
    validity_end_time: Timestamp,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    predecessor: Option<Fingerprint>,
}

impl PublishedDigestKey {
    /// The object that publishes the key of `signer` in `home`, valid for digests that end after `validity.0` and up to
    /// `validity.1`: its key, and the bytes to store there. Where the key replaces one, `predecessor` signs too. The
    /// signers may block.
    ///
    /// # Errors
    /// If a reader would refuse it, or a signer fails.
    pub fn seal(
        home: Home,
        signer: &dyn DigestSigner,
        validity: (Timestamp, Timestamp),
        predecessor: Option<&dyn DigestSigner>,
    ) -> Result<(DigestKeyObjectKey, Vec<u8>), KeyObjectError> {
        let fingerprint = signer.public_key().fingerprint();
        let object = DigestKeyObjectKey { home, fingerprint };
        let payload = KeyPayload {
            object: object.clone(),
            public_key: STANDARD.encode(signer.public_key().as_pkcs1()),
            validity_start_time: validity.0,
            validity_end_time: validity.1,
            predecessor: predecessor.map(|signer| signer.public_key().fingerprint()),
        };
        payload.check(signer.public_key())?;
        let signers: Vec<_> = [Some(signer), predecessor].into_iter().flatten().collect();
        let bytes = RsaEnvelope::seal(DIGEST_KEY_PAYLOAD_TYPE, &serde_json::to_vec(&payload)?, &signers)?;
        Ok((object, bytes))
    }

    /// Reads stored bytes, which the key that they carry must have signed. That does not make it one to trust, and that
    /// they lie at their own key is left to the caller. Whether the predecessor signed as well says
    /// [`RsaEnvelope::is_signed_by`] of the envelope that comes along.
    ///
    /// # Errors
    /// If the bytes are not a key signed by itself.
    pub fn open(bytes: &[u8]) -> Result<(Self, RsaEnvelope), KeyObjectError> {
        let envelope = RsaEnvelope::read(bytes)?;
        if envelope.payload_type != DIGEST_KEY_PAYLOAD_TYPE {
            return Err(KeyObjectError::PayloadType("digest key"));
        }
        let payload: KeyPayload = serde_json::from_slice(&envelope.payload)?;
        let public_key = STANDARD
            .decode(&payload.public_key)
            .ok()
            .and_then(|der| RsaPublicKey::from_pkcs1(&der).ok())
            .ok_or(KeyObjectError::Rule("publicKey is not the base64 of an RSA key in PKCS#1"))?;
        payload.check(&public_key)?;
        if !envelope.is_signed_by(&public_key) {
            return Err(KeyObjectError::Signature);
        }
        let signatures = if payload.predecessor.is_some() { 2 } else { 1 };
        if envelope.signatures.len() != signatures {
            return Err(KeyObjectError::Rule("there are not as many signatures as keys that it names"));
        }
        let KeyPayload { object, validity_start_time, validity_end_time, predecessor, .. } = payload;
        let published = Self {
            object,
            public_key,
            validity_start: validity_start_time,
            validity_end: validity_end_time,
            predecessor,
        };
        Ok((published, envelope))
    }

    /// Whether the key was in force for a digest that ends at `end`.
    #[must_use]
    pub fn is_valid_for(&self, end: Timestamp) -> bool {
        self.validity_start < end && end <= self.validity_end
    }
}

impl KeyPayload {
    fn check(&self, key: &RsaPublicKey) -> Result<(), KeyObjectError> {
        let broken = if self.object.fingerprint != key.fingerprint() {
            "object is not the place of this key"
        } else if self.validity_start_time >= self.validity_end_time {
            "validityStartTime is not before validityEndTime"
        } else if self.predecessor == Some(key.fingerprint()) {
            "a key does not replace itself"
        } else {
            return Ok(());
        };
        Err(KeyObjectError::Rule(broken))
    }
}

/// The statement that a key is not to be believed from some time on.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Revocation {
    /// This object's own key, which names the key that is revoked.
    pub object: RevocationKey,
    /// What the key signed from this time on is not to be believed: manifests by their `createdAt`, digests by their end.
    #[serde(with = "time")]
    pub revoked_at: Timestamp,
    /// Why; for people.
    pub reason: String,
}

impl Revocation {
    /// Signs it and renders the bytes to store at its key. The signer may block.
    ///
    /// # Errors
    /// If a reader would refuse it, or the signer fails.
    pub fn seal(&self, signer: &dyn DigestSigner) -> Result<Vec<u8>, KeyObjectError> {
        self.check()?;
        Ok(RsaEnvelope::seal(REVOCATION_PAYLOAD_TYPE, &serde_json::to_vec(self)?, &[signer])?)
    }

    /// Reads stored bytes and believes them only if one of `keys` signed them; says which. That they lie at their own key
    /// is left to the caller.
    ///
    /// # Errors
    /// If the bytes are not a revocation signed by one of the keys.
    pub fn open(bytes: &[u8], keys: &[RsaPublicKey]) -> Result<(Self, Fingerprint), KeyObjectError> {
        let envelope = RsaEnvelope::read(bytes)?;
        if envelope.payload_type != REVOCATION_PAYLOAD_TYPE || envelope.signatures.len() != 1 {
            return Err(KeyObjectError::PayloadType("revocation"));
        }
        let signer = keys.iter().find(|key| envelope.is_signed_by(key)).ok_or(KeyObjectError::Signature)?;
        let revocation: Self = serde_json::from_slice(&envelope.payload)?;
        revocation.check()?;
        Ok((revocation, signer.fingerprint()))
    }

    fn check(&self) -> Result<(), KeyObjectError> {
        if self.reason.chars().count() > MAX_REASON {
            return Err(KeyObjectError::Rule("reason is longer than 256 characters"));
        }
        Ok(())
    }
}
