//! `pkcs11:` URIs (RFC 7512), as much of them as names one key on one token.

use std::path::PathBuf;

use percent_encoding::percent_decode_str;
use zeroize::Zeroizing;

/// Names a private key, the module that knows its token, and what the token wants to be told.
#[derive(Clone)]
pub(in crate::sign) struct Uri {
    pub(super) module: PathBuf,
    pub(super) pin: Option<Pin>,
    pub(super) token: Token,
    /// `CKA_LABEL`.
    pub(super) object: Option<String>,
    /// `CKA_ID`.
    pub(super) id: Option<Vec<u8>>,
}

/// What is said of the token. What is left out may be anything.
#[derive(Clone, Default, PartialEq, Eq, Debug)]
pub(super) struct Token {
    pub(super) label: Option<String>,
    pub(super) manufacturer: Option<String>,
    pub(super) model: Option<String>,
    pub(super) serial: Option<String>,
    pub(super) slot: Option<u64>,
}

/// Where the PIN is.
#[derive(Clone)]
pub(super) enum Pin {
    /// In the URI.
    Value(Zeroizing<String>),
    /// In the first line of a file.
    File(PathBuf),
}

impl Uri {
    pub(in crate::sign) fn parse(text: &str) -> Result<Self, String> {
        let rest = text.strip_prefix("pkcs11:").ok_or("it does not begin with pkcs11:")?;
        let (path, query) = rest.split_once('?').unwrap_or((rest, ""));
        let (mut token, mut object, mut id) = (Token::default(), None, None);
        for (name, value) in attributes(path, ';')? {
            match name {
                "token" => once(name, &mut token.label, string(name, value)?)?,
                "manufacturer" => once(name, &mut token.manufacturer, string(name, value)?)?,
                "model" => once(name, &mut token.model, string(name, value)?)?,
                "serial" => once(name, &mut token.serial, string(name, value)?)?,
                "slot-id" => {
                    let slot = value.parse().map_err(|_| "slot-id is no number".to_owned())?;
                    once(name, &mut token.slot, slot)?;
                }
                "object" => once(name, &mut object, string(name, value)?)?,
                "id" => once(name, &mut id, percent_decode_str(value).collect())?,
                "type" if value == "private" => {}
                "type" => return Err("its type is not private".to_owned()),
                _ => return Err(format!("{} is not known", shown(name))),
            }
        }
        let (mut module, mut pin) = (None, None);
        for (name, value) in attributes(query, '&')? {
            match name {
                "module-path" => once(name, &mut module, PathBuf::from(string(name, value)?))?,
                "pin-value" => once("pin", &mut pin, Pin::Value(Zeroizing::new(string(name, value)?)))?,
                "pin-source" => once("pin", &mut pin, Pin::File(file(&string(name, value)?)?))?,
                _ => return Err(format!("{} is not known", shown(name))),
            }
        }
        if object.is_none() && id.is_none() {
            return Err("it names no key: object or id is needed".to_owned());
        }
        let module = module.ok_or("it names no module: ?module-path=/path/of/the/library.so is needed")?;
        if !module.is_absolute() {
            return Err("module-path is not absolute".to_owned());
        }
        Ok(Self { module, pin, token, object, id })
    }
}

fn attributes(text: &str, separator: char) -> Result<Vec<(&str, &str)>, String> {
    let parts = text.split(separator).filter(|part| !part.is_empty());
    parts.map(|part| part.split_once('=').ok_or_else(|| format!("{} has no value", shown(part)))).collect()
}

fn once<T>(name: &str, place: &mut Option<T>, value: T) -> Result<(), String> {
    match place.replace(value) {
        None => Ok(()),
        Some(_) => Err(format!("{name} is there twice")),
    }
}

fn string(name: &str, value: &str) -> Result<String, String> {
    let decoded = percent_decode_str(value).decode_utf8();
    decoded.map(String::from).map_err(|_| format!("{name} is not UTF-8"))
}

/// A `file:` URI or a path. The `|command` of some programs is not taken.
fn file(source: &str) -> Result<PathBuf, String> {
    let path = match source.strip_prefix("file:") {
        Some(path) => path.strip_prefix("//").unwrap_or(path),
        None => source,
    };
    if path.starts_with('/') {
        Ok(path.into())
    } else {
        Err("pin-source is not the path of a file".to_owned())
    }
}

/// A name may be a PIN that was not encoded.
fn shown(name: &str) -> String {
    let known = name.len() <= 20 && name.bytes().all(|byte| byte.is_ascii_lowercase() || byte == b'-');
    if known { format!("{name:?}") } else { "a member of it".to_owned() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_is_named_as_rfc_7512_has_it() {
        let text = "pkcs11:token=The%20Software%20PKCS%2311%20Softtoken;manufacturer=Snake%20Oil,%20Inc.;model=1.0;\
                    serial=4;slot-id=7;object=my-key;type=private;id=%69%95%3E%FF\
                    ?module-path=/usr/lib/m.so&pin-source=file:/etc/token%5Fpin";
        let uri = Uri::parse(text).unwrap();
        assert_eq!(
            uri.token,
            Token {
                label: Some("The Software PKCS#11 Softtoken".to_owned()),
                manufacturer: Some("Snake Oil, Inc.".to_owned()),
                model: Some("1.0".to_owned()),
                serial: Some("4".to_owned()),
                slot: Some(7),
            }
        );
        assert_eq!(
            (uri.object.as_deref(), uri.id.as_deref()),
            (Some("my-key"), Some(&b"\x69\x95\x3e\xff"[..]))
        );
        assert_eq!(uri.module, PathBuf::from("/usr/lib/m.so"));
        assert!(matches!(uri.pin, Some(Pin::File(path)) if path.as_os_str() == "/etc/token_pin"));
        let uri = Uri::parse("pkcs11:id=%01?pin-value=1%2634&module-path=/m.so").unwrap();
        assert!(matches!(uri.pin, Some(Pin::Value(pin)) if *pin == "1&34"));
    }

    #[test]
    fn what_cannot_work_is_named() {
        for (text, expected) in [
            ("pkcs11:token=a?module-path=/m.so", "it names no key"),
            ("pkcs11:object=a", "it names no module"),
            ("pkcs11:object=a?module-path=m.so", "not absolute"),
            ("pkcs11:object=a;object=b?module-path=/m.so", "object is there twice"),
            ("pkcs11:object=a;type=public?module-path=/m.so", "its type is not private"),
            ("pkcs11:object=a;objekt=b?module-path=/m.so", "\"objekt\" is not known"),
            ("pkcs11:object=a?module-path=/m.so&pin-value=1&pin-source=/p", "pin is there twice"),
            ("pkcs11:object=a?module-path=/m.so&pin-source=|date", "pin-source is not"),
            ("pkcs11:object=a?module-path=/m.so&pin-value=1&Se3cret", "a member of it has no value"),
            ("pkcs11:object=a;slot-id=x?module-path=/m.so", "slot-id is no number"),
            ("pkcs11:object=%ff?module-path=/m.so", "object is not UTF-8"),
        ] {
            let said = Uri::parse(text).map(drop).unwrap_err();
            assert!(said.contains(expected), "{text}: {said}");
        }
    }
}
