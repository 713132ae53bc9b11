//! Keys on PKCS#11 tokens: HSMs, smart cards, SoftHSM. The module, a library, is loaded into the process by `cryptoki`.
//!
//! Each signature has a session of its own, so that a token may come and go. Keys that want the PIN for each signature
//! (`CKA_ALWAYS_AUTHENTICATE`) are not supported.

mod module;
mod uri;

use std::fs::File;
use std::io::Read as _;

use cryptoki::context::Pkcs11;
use cryptoki::error::{Error, RvError};
use cryptoki::mechanism::{Mechanism, MechanismType};
use cryptoki::object::{Attribute, AttributeType, KeyType, ObjectClass, ObjectHandle};
use cryptoki::session::{Session, UserType};
use cryptoki::slot::{Slot, TokenInfo};
use cryptoki::types::AuthPin;
use zeroize::Zeroizing;

pub(super) use self::uri::Uri;
use self::uri::{Pin, Token};
use super::RsaPublicKey;
use super::reference::ElsewhereError;
use super::remote::{Device, Remote};
use crate::hash::Sha256;

/// The most bytes of a file with a PIN.
const MAX_PIN_FILE: u64 = 4096;

/// What PKCS#1 v1.5 puts before a SHA-256: the `DigestInfo` of RFC 8017, section 9.2, note 1.
const SHA256_INFO: [u8; 19] = [
    0x30, 0x31, 0x30, 0x0d, 0x06, 0x09, 0x60, 0x86, 0x48, 0x01, 0x65, 0x03, 0x04, 0x02, 0x01, 0x05, 0x00,
    0x04, 0x20,
];

/// Opens a key: looks for it, and reads its public half.
pub(super) fn open(uri: Uri) -> Result<Remote, ElsewhereError> {
    Remote::open(move || {
        let device = Key { module: module::load(&uri.module)?, uri };
        let (session, _, key) = device.session()?;
        let public = public_key(&session, key)?;
        Ok((device, public))
    })
}

struct Key {
    module: Pkcs11,
    uri: Uri,
}

impl Key {
    /// A session on the token, logged in, and the key.
    fn session(&self) -> Result<(Session, Slot, ObjectHandle), ElsewhereError> {
        let (slot, token) = find_token(&self.module, &self.uri.token)?;
        let session = self.module.open_ro_session(slot).map_err(failed)?;
        self.log_in(&session, &token)?;
        let key = find_key(&session, &self.uri)?;
        Ok((session, slot, key))
    }

    fn log_in(&self, session: &Session, token: &TokenInfo) -> Result<(), ElsewhereError> {
        let Some(pin) = &self.uri.pin else {
            // A token without a PIN, or with a keypad of its own.
            if !token.login_required() {
                return Ok(());
            }
            if !token.protected_authentication_path() {
                return Err(ElsewhereError::lasting("the token wants a PIN: pin-source is needed"));
            }
            return logged_in(session.login(UserType::User, None)).map_err(failed);
        };
        let pin = match pin {
            Pin::Value(pin) => pin.clone(),
            Pin::File(path) => {
                let told =
                    |error| ElsewhereError::passing(format!("cannot read {}: {error}", path.display()));
                let mut text = Zeroizing::new(String::new());
                let file = File::open(path).map_err(told)?;
                file.take(MAX_PIN_FILE).read_to_string(&mut text).map_err(told)?;
                Zeroizing::new(text.lines().next().unwrap_or_default().to_owned())
            }
        };
        let name = format!("{} {}", token.manufacturer_id(), token.serial_number());
        if module::was_refused(&name, &pin) {
            return Err(ElsewhereError::lasting(REFUSED));
        }
        let secret = AuthPin::new(pin.as_str().into());
        logged_in(session.login(UserType::User, Some(&secret))).map_err(|error| match error {
            Error::Pkcs11(RvError::PinIncorrect | RvError::PinInvalid | RvError::PinLenRange, _) => {
                module::refuse(&name, &pin);
                ElsewhereError::lasting(REFUSED)
            }
            Error::Pkcs11(RvError::PinLocked | RvError::PinExpired, _) => ElsewhereError::lasting(error),
            error => failed(error),
        })
    }
}

const REFUSED: &str = "the token refused the PIN, which is not tried again";

/// Another signer of this process may have logged in: that is for all sessions with the token.
fn logged_in(result: Result<(), Error>) -> Result<(), Error> {
    match result {
        Err(Error::Pkcs11(RvError::UserAlreadyLoggedIn, _)) => Ok(()),
        result => result,
    }
}

impl Device for Key {
    fn sign(&mut self, message: &[u8]) -> Result<Vec<u8>, ElsewhereError> {
        let (session, slot, key) = self.session()?;
        let mechanisms = self.module.get_mechanism_list(slot).map_err(failed)?;
        let signed = if mechanisms.contains(&MechanismType::SHA256_RSA_PKCS) {
            session.sign(&Mechanism::Sha256RsaPkcs, key, message)
        } else {
            let info = [&SHA256_INFO[..], Sha256::of(message).as_bytes()].concat();
            session.sign(&Mechanism::RsaPkcs, key, &info)
        };
        signed.map_err(failed)
    }
}

/// Tokens come and go, and what is wrong with one shows in many ways: another try may do.
fn failed(error: Error) -> ElsewhereError {
    ElsewhereError::passing(error)
}

/// The one token that is as it should be.
fn find_token(module: &Pkcs11, wanted: &Token) -> Result<(Slot, TokenInfo), ElsewhereError> {
    let is = |wanted: &Option<String>, found: &str| wanted.as_ref().is_none_or(|wanted| wanted == found);
    let mut found = Vec::new();
    for slot in module.get_slots_with_token().map_err(failed)? {
        // One that was taken out in this moment, or is broken, is none.
        let Ok(token) = module.get_token_info(slot) else { continue };
        if token.token_initialized()
            && wanted.slot.is_none_or(|wanted| wanted == slot.id())
            && is(&wanted.label, token.label())
            && is(&wanted.manufacturer, token.manufacturer_id())
            && is(&wanted.model, token.model())
            && is(&wanted.serial, token.serial_number())
        {
            found.push((slot, token));
        }
    }
    match found.len() {
        0 => Err(ElsewhereError::passing("there is no such token")),
        1 => found.pop().ok_or_else(|| ElsewhereError::passing("there is no such token")),
        many => Err(ElsewhereError::lasting(format!(
            "{many} tokens are so: say more about the one that is meant"
        ))),
    }
}

fn find_key(session: &Session, uri: &Uri) -> Result<ObjectHandle, ElsewhereError> {
    let mut template = vec![
        Attribute::Class(ObjectClass::PRIVATE_KEY),
        Attribute::KeyType(KeyType::RSA),
        Attribute::Sign(true),
    ];
    template.extend(uri.object.as_ref().map(|label| Attribute::Label(label.clone().into_bytes())));
    template.extend(uri.id.as_ref().map(|id| Attribute::Id(id.clone())));
    match session.find_objects(&template).map_err(failed)?.as_slice() {
        [key] => Ok(*key),
        [] => Err(ElsewhereError::lasting("the token has no such RSA key that signs")),
        many => Err(ElsewhereError::lasting(format!("the token has {} such keys: say more", many.len()))),
    }
}

/// Modulus and exponent are members of the private key, too.
fn public_key(session: &Session, key: ObjectHandle) -> Result<RsaPublicKey, ElsewhereError> {
    let wanted = [AttributeType::Modulus, AttributeType::PublicExponent];
    let (mut modulus, mut exponent) = (Vec::new(), Vec::new());
    for attribute in session.get_attributes(key, &wanted).map_err(failed)? {
        match attribute {
            Attribute::Modulus(bytes) => modulus = bytes,
            Attribute::PublicExponent(bytes) => exponent = bytes,
            _ => {}
        }
    }
    RsaPublicKey::from_numbers(&modulus, &exponent).map_err(ElsewhereError::lasting)
}
