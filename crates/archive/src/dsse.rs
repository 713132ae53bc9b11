//! The envelope around everything that is signed: DSSE, in one exact form.
//!
//! ```text
//! {"payloadType":"…","payload":"<base64>","signatures":[{"keyid":"…","sig":"<base64>"}]}
//! ```
//!
//! DSSE (<https://github.com/secure-systems-lab/dsse>, version 1) signs a *pre-authentication encoding* of type and
//! payload, so in-toto and sigstore tools check these objects too. DSSE leaves white space, field order, and the
//! base64 alphabet open; here they are fixed: compact, this order, standard base64 with padding, exactly one signature,
//! no newline at the end. A reader refuses anything else, so there is no byte that can change unseen.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde::Deserialize;

use crate::sign::{KeyId, PublicKey, SignError, Signature, Signer};

/// The largest envelope that is written or read, in bytes: room for some 15,000 sources in one manifest.
pub const MAX_ENVELOPE: usize = 8 << 20;

/// An envelope as it was read: well-formed, its signature not yet believed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Envelope {
    /// What the payload is, a media type.
    pub payload_type: String,
    /// What is signed.
    pub payload: Vec<u8>,
    /// The key it claims to be signed by.
    pub key_id: KeyId,
    /// The signature over [`pae`].
    pub signature: Signature,
}

/// An envelope could not be made.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum SealError {
    /// It would be larger than [`MAX_ENVELOPE`].
    #[error("an envelope of {0} bytes is larger than {MAX_ENVELOPE}")]
    TooLarge(usize),
    /// The signer failed.
    #[error(transparent)]
    Sign(#[from] SignError),
}

/// The bytes are not an envelope in the one form that is accepted.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum InvalidEnvelope {
    /// More than [`MAX_ENVELOPE`] bytes.
    #[error("an envelope is larger than {MAX_ENVELOPE} bytes")]
    TooLarge,
    /// Not JSON of this shape.
    #[error("not a DSSE envelope")]
    Json(#[from] serde_json::Error),
    /// A field does not hold what it should.
    #[error("{0} of the envelope is not well-formed")]
    Field(&'static str),
    /// Other bytes than a writer would have stored for the same content.
    #[error("the envelope is not in canonical form")]
    NotCanonical,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Wire {
    payload_type: String,
    payload: String,
    signatures: [WireSignature; 1],
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct WireSignature {
    keyid: String,
    sig: String,
}

impl Envelope {
    /// Signs `payload` and renders the bytes to store.
    ///
    /// # Errors
    /// If the result would be too large, or the signer fails.
    pub fn seal(payload_type: &str, payload: &[u8], signer: &dyn Signer) -> Result<Vec<u8>, SealError> {
        let bytes = Self {
            payload_type: payload_type.to_owned(),
            payload: payload.to_owned(),
            key_id: signer.key_id(),
            signature: signer.sign(&pae(payload_type, payload))?,
        }
        .render();
        if bytes.len() > MAX_ENVELOPE { Err(SealError::TooLarge(bytes.len())) } else { Ok(bytes) }
    }

    /// Reads stored bytes.
    ///
    /// # Errors
    /// If they are not exactly the bytes a writer would have stored.
    pub fn read(bytes: &[u8]) -> Result<Self, InvalidEnvelope> {
        if bytes.len() > MAX_ENVELOPE {
            return Err(InvalidEnvelope::TooLarge);
        }
        let Wire { payload_type, payload, signatures: [WireSignature { keyid, sig }] } =
            serde_json::from_slice(bytes)?;
        let envelope = Self {
            payload_type,
            payload: STANDARD.decode(payload).map_err(|_| InvalidEnvelope::Field("payload"))?,
            key_id: keyid.parse().map_err(|_| InvalidEnvelope::Field("keyid"))?,
            signature: STANDARD
                .decode(sig)
                .ok()
                .and_then(|sig| <[u8; 64]>::try_from(sig).ok())
                .ok_or(InvalidEnvelope::Field("sig"))?
                .into(),
        };
        if envelope.render() == bytes { Ok(envelope) } else { Err(InvalidEnvelope::NotCanonical) }
    }

    /// Whether `key` is the key it claims, and signed it.
    #[must_use]
    pub fn is_signed_by(&self, key: &PublicKey) -> bool {
        key.id() == self.key_id && key.verify(&pae(&self.payload_type, &self.payload), &self.signature)
    }

    fn render(&self) -> Vec<u8> {
        // By hand: these exact bytes are the format. Only the type may need escapes.
        let payload_type = serde_json::Value::from(self.payload_type.as_str());
        let (payload, sig) = (STANDARD.encode(&self.payload), STANDARD.encode(self.signature.as_bytes()));
        let key_id = self.key_id;
        format!(
            r#"{{"payloadType":{payload_type},"payload":"{payload}","signatures":[{{"keyid":"{key_id}","sig":"{sig}"}}]}}"#
        )
        .into_bytes()
    }
}

/// DSSE's pre-authentication encoding: `DSSEv1 SP len SP type SP len SP payload`, lengths in bytes and decimal.
#[must_use]
pub fn pae(payload_type: &str, payload: &[u8]) -> Vec<u8> {
    let mut bytes = format!("DSSEv1 {} {payload_type} {} ", payload_type.len(), payload.len()).into_bytes();
    bytes.extend_from_slice(payload);
    bytes
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sign::Ed25519Signer;

    /// From the protocol's own description.
    #[test]
    fn pae_is_that_of_the_specification() {
        assert_eq!(
            pae("http://example.com/HelloWorld", b"hello world"),
            b"DSSEv1 29 http://example.com/HelloWorld 11 hello world"
        );
    }

    #[test]
    fn reads_back_what_it_seals_and_believes_only_the_key() {
        let (signer, other) = (Ed25519Signer::generate().unwrap(), Ed25519Signer::generate().unwrap());
        let bytes = Envelope::seal("a/b \"c\"", b"payload", &signer).unwrap();
        let envelope = Envelope::read(&bytes).unwrap();
        assert_eq!((envelope.payload_type.as_str(), &envelope.payload[..]), ("a/b \"c\"", &b"payload"[..]));
        assert!(envelope.is_signed_by(signer.public_key()));
        assert!(!envelope.is_signed_by(other.public_key()));
    }

    #[test]
    fn refuses_every_other_spelling() {
        let signer = Ed25519Signer::generate().unwrap();
        let text = String::from_utf8(Envelope::seal("a/b", b"payload!", &signer).unwrap()).unwrap();
        assert!(text.contains(r#""payload":"cGF5bG9hZCE=""#));
        for (from, to) in [
            ("\"payload\":", "\"payload\": "),
            ("a/b", "a\\/b"),
            ("cGF5bG9hZCE=", "cGF5bG9hZCE"),
            ("cGF5bG9hZCE=", "cGF5bG9hZCF="),
            ("}]}", "}]}\n"),
            ("}]}", "}],\"more\":1}"),
            ("}]}", "},{\"keyid\":\"\",\"sig\":\"\"}]}"),
            ("\"keyid\":\"", "\"keyid\":\"0"),
        ] {
            let changed = text.replacen(from, to, 1);
            assert_ne!(changed, text);
            assert!(Envelope::read(changed.as_bytes()).is_err(), "{changed}");
        }
        assert!(matches!(Envelope::read(&vec![b' '; MAX_ENVELOPE + 1]), Err(InvalidEnvelope::TooLarge)));
    }
}
