//! Keys that digests are signed with.

use serde::{Deserialize, Serialize};

use super::Epoch;

/// Of `ListPublicKeys`.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct ListPublicKeysInput {
    /// Of keys that were in force then, or later.
    pub start_time: Option<Epoch>,
    /// Of keys that were in force then, or earlier.
    pub end_time: Option<Epoch>,
    /// Reserved.
    pub next_token: Option<String>,
}

/// Of `ListPublicKeys`.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct ListPublicKeysOutput {
    /// All in one page: the CLI asks once.
    pub public_key_list: Vec<PublicKey>,
    /// Reserved.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub next_token: Option<String>,
}

/// A public key.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct PublicKey {
    /// Base64 of PKCS#1 DER.
    pub value: String,
    /// From when on it is in force.
    pub validity_start_time: Epoch,
    /// Until when it is in force.
    pub validity_end_time: Epoch,
    /// Hexadecimal MD5 of the DER.
    pub fingerprint: String,
}
