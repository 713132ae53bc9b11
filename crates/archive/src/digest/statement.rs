//! The member `sidetrail` of a digest: what stands behind its log files.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use jiff::Timestamp;
use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

use crate::hash::Sha256;
use crate::key::{Id, Trail};
use crate::sign::PublicKey;
use crate::time;
use crate::tlog::merkle;
use crate::tlog::note::{Name, VerifierKey};

/// What the digest commits to beside its log files. CloudTrail's readers pass it over; it is signed with the rest.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Statement {
    /// 1. A reader refuses what it does not know.
    pub version: u32,
    /// The chains of manifests that went on in this digest, by collector and index.
    pub chains: Vec<ChainRange>,
    /// The keys that signed these manifests, by name: the key of the digest certifies them.
    pub keys: Vec<CertifiedKey>,
    /// The tree over the records of all log files, up to and with those of this digest. This and what follows is absent
    /// where there is nothing to say.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tree: Option<Tree>,
    /// What was found not to be as it should when the digest was made.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub problems: Vec<Problem>,
    /// Where every chain stands that the writer knows of, by collector: in every 24th digest since the epoch and in the
    /// first of a trail, so that who starts in the middle need not read all that came before.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub heads: Option<Vec<Head>>,
}

impl Statement {
    /// The version that is written and read.
    pub const VERSION: u32 = 1;
}

/// Manifests of one chain that follow each other: those from `first` to `last` are covered by the digest.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ChainRange {
    /// The collector that writes the chain.
    pub collector: Id,
    /// The trail it writes it for.
    pub trail: Trail,
    /// The first manifest's index.
    pub first: u64,
    /// The last manifest's, inclusive.
    pub last: u64,
    /// What the first manifest says of the one before it: the SHA-256 of its stored bytes. Absent at index 0.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub previous: Option<Sha256>,
    /// The SHA-256 of the last manifest's stored bytes, which commits to all before it.
    pub sha256: Sha256,
    /// The events that these manifests account for: ranges that follow each other are one. By source and number.
    pub sources: Vec<SourceRange>,
}

/// Events of one source.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SourceRange {
    /// One run of one sender.
    pub source: Id,
    /// The first number.
    pub first: u64,
    /// The last, inclusive.
    pub last: u64,
}

/// A key that manifests are signed with: `{"id":"…","publicKey":"<base64 of SubjectPublicKeyInfo>"}`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CertifiedKey(pub PublicKey);

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct CertifiedKeyText {
    id: String,
    public_key: String,
}

impl Serialize for CertifiedKey {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let text =
            CertifiedKeyText { id: self.0.id().to_string(), public_key: STANDARD.encode(self.0.to_spki()) };
        text.serialize(serializer)
    }
}

impl<'de> Deserialize<'de> for CertifiedKey {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let CertifiedKeyText { id, public_key } = CertifiedKeyText::deserialize(deserializer)?;
        let key = STANDARD.decode(public_key).ok().and_then(|der| PublicKey::from_spki(&der).ok());
        key.filter(|key| key.id().to_string() == id)
            .map(Self)
            .ok_or_else(|| de::Error::custom("not an Ed25519 key and its name"))
    }
}

/// A Merkle tree (RFC 6962) over the exact bytes of records: of all log files that digests of this trail and region have
/// listed, in the order of digests, of `logFiles`, and of records in the file. Log files with a problem have no leaves.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Tree {
    /// The name of the log, as its checkpoints have it.
    pub origin: Name,
    /// How many records it has after this digest.
    pub size: u64,
    /// Its root hash then.
    pub root_hash: Sha256,
    /// The key that signs the checkpoint: that of the digest certifies it.
    pub key: VerifierKey,
    /// How many records of each of `logFiles` are leaves, in that order: so which leaf a record is follows from digests
    /// alone.
    pub leaves: Vec<u64>,
}

impl Tree {
    /// Size and root hash.
    #[must_use]
    pub fn head(&self) -> merkle::Head {
        merkle::Head { size: self.size, root: self.root_hash }
    }

    /// Which leaf the first record of the digest's log files is; none if there are fewer leaves than that.
    #[must_use]
    pub fn first_leaf(&self) -> Option<u64> {
        let own = self.leaves.iter().try_fold(0_u64, |sum, leaves| sum.checked_add(*leaves))?;
        self.size.checked_sub(own)
    }
}

/// Something that is not as it should be. The digest says so instead of keeping still or standing still.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Problem {
    /// The object.
    pub key: String,
    /// What is wrong with it.
    pub reason: String,
}

/// Where a chain stands.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Head {
    /// The collector that writes the chain.
    pub collector: Id,
    /// The index of the last manifest that a digest covers.
    pub last: u64,
    /// The SHA-256 of its stored bytes.
    pub sha256: Sha256,
    /// Its `createdAt`.
    #[serde(with = "time")]
    pub at: Timestamp,
    /// Indices below that no digest covers, because the manifests were not to be had: pairs of first and last.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub holes: Vec<(u64, u64)>,
}
