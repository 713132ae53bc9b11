//! PEM (RFC 7468): base64 between two lines.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;

use super::KeyError;

/// The largest PEM text that is read, in bytes: about five thousand public keys.
pub const MAX_PEM: usize = 1 << 20;

pub(super) const PUBLIC: &str = "PUBLIC KEY";
pub(super) const PRIVATE: &str = "PRIVATE KEY";
#[cfg(feature = "encrypted-keys")]
pub(super) const ENCRYPTED: &str = "ENCRYPTED PRIVATE KEY";

/// One block: base64 in lines of 64.
pub(super) fn block(label: &str, der: &[u8]) -> String {
    let body = STANDARD.encode(der);
    let mut text = format!("-----BEGIN {label}-----\n");
    for line in body.as_bytes().chunks(64) {
        text.extend(line.iter().map(|byte| char::from(*byte)));
        text.push('\n');
    }
    text + &format!("-----END {label}-----\n")
}

/// The bodies of all blocks of `text`, of which there is at least one and all have `label`.
pub(super) fn blocks(text: &str, label: &'static str) -> Result<Vec<Vec<u8>>, KeyError> {
    labelled(text, label, &[label]).map(|found| found.into_iter().map(|(_, body)| body).collect())
}

/// All blocks of `text`, of which there is at least one and each has one of `labels`; errors name `what`.
pub(super) fn labelled(
    text: &str,
    what: &'static str,
    labels: &[&'static str],
) -> Result<Vec<(&'static str, Vec<u8>)>, KeyError> {
    if text.len() > MAX_PEM {
        return Err(KeyError::TooLarge);
    }
    let mut found = Vec::new();
    let mut lines = text.lines().map(str::trim);
    while let Some(line) = lines.next() {
        let Some(begun) = line.strip_prefix("-----BEGIN ").and_then(|rest| rest.strip_suffix("-----")) else {
            continue;
        };
        let label = labels.iter().find(|label| **label == begun).ok_or(KeyError::Unexpected(what))?;
        let end = format!("-----END {label}-----");
        let mut body = String::new();
        loop {
            let line = lines.next().ok_or(KeyError::Pem)?;
            if line == end {
                break;
            }
            body.push_str(line);
        }
        found.push((*label, STANDARD.decode(body).map_err(|_| KeyError::Pem)?));
    }
    if found.is_empty() { Err(KeyError::Absent(what)) } else { Ok(found) }
}
