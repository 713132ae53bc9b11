//! Cosignatures (c2sp.org/tlog-cosignature, version 1): a witness says when it saw that a checkpoint extends all that it saw
//! before.

use crate::sign::{self, PublicKey, SignError, Signer};

use super::note::{Algorithm, Name, Signature, VerifierKey};

/// Bytes of the time, and of the signature after it.
const TIME: usize = 8;

/// A witness's cosignature over the text of a checkpoint, at `time` in seconds since 1970.
///
/// # Errors
/// If the signer fails.
pub fn cosign(text: &str, name: &Name, signer: &dyn Signer, time: u64) -> Result<Signature, SignError> {
    let key = VerifierKey::new(name.clone(), Algorithm::Cosignature, signer.public_key().clone());
    let signature = signer.sign(message(text, time).as_bytes())?;
    let bytes = [&time.to_be_bytes()[..], signature.as_bytes()].concat();
    Ok(Signature { name: name.clone(), id: key.id(), bytes })
}

/// When `key` cosigned the text, if these bytes of a signature are its.
#[must_use]
pub fn verify(key: &PublicKey, text: &str, bytes: &[u8]) -> Option<u64> {
    let (time, signature) = bytes.split_first_chunk::<TIME>()?;
    let time = u64::from_be_bytes(*time);
    let signature = sign::Signature::from(<[u8; 64]>::try_from(signature).ok()?);
    // What follows from a negative time elsewhere is not ours to find out.
    (i64::try_from(time).is_ok() && key.verify(message(text, time).as_bytes(), &signature)).then_some(time)
}

/// The first line keeps it apart from everything else that is signed.
fn message(text: &str, time: u64) -> String {
    format!("cosignature/v1\ntime {time}\n{text}")
}
