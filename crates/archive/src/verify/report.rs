//! What a verification says.

use std::fmt;

use serde::{Serialize, Serializer};

use super::cursor::Head;
use super::sources::Coverage;
use crate::hash::Sha256;
use crate::key::Id;
use crate::sign::{Fingerprint, KeyId};

/// At most this many findings are kept; the rest is counted.
pub const MAX_FINDINGS: usize = 100_000;

/// Where the keys came from that signatures were checked with.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub enum Trust {
    /// From the caller: who changes the bucket cannot change them.
    Given,
    /// From the bucket itself: they show that nothing changed by accident, or by someone who could not write keys too.
    Published,
}

/// The answer in one word. The numbers are the exit codes of `sidetrail verify`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub enum Outcome {
    /// Everything was checked and nothing is wrong.
    Valid = 0,
    /// Something is definitely wrong, whether or not everything could be checked.
    Invalid = 1,
    /// Nothing found wrong, but not everything could be checked, or there was nothing to check.
    CouldNotCheck = 2,
    /// Everything was checked and is genuine, and the manifests themselves say that something is lost or did not come.
    ValidWithLosses = 3,
}

impl Outcome {
    /// The exit code of `sidetrail verify`.
    #[must_use]
    pub fn exit_code(self) -> u8 {
        self as u8
    }
}

/// What is wrong.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(tag = "kind", rename_all = "camelCase")]
#[non_exhaustive]
pub enum Kind {
    /// The object is not what was signed.
    Modified,
    /// The object is stated or needed, and is not there.
    Missing,
    /// The object is a copy of one that belongs elsewhere.
    Moved {
        /// Where it belongs.
        from: String,
    },
    /// Nobody signed the digest: its signature is not stored with it.
    Unsigned,
    /// Two signed statements of the same object differ.
    Contradicted {
        /// The one that the finding's object differs from.
        by: String,
    },
    /// A log file that no manifest states.
    Uncommitted {
        /// The manifest that is missing, or does not state it.
        manifest: String,
    },
    /// Signed by a key that is not among those to believe.
    KeyUnknown,
    /// Signed by a key that was not in force for the time.
    KeyNotInForce,
    /// Signed by a key after it was revoked.
    KeyRevoked,
    /// Whoever signed it, it breaks the format.
    Malformed,
    /// A digest does not follow the one before it, or two cover the same time.
    DigestChainBroken {
        /// The digest that it should follow.
        previous: String,
    },
    /// A digest that names none before it, although there are older ones: CloudTrail writes such after logging or
    /// validation was off for a while. What was delivered meanwhile is in no digest.
    DigestChainRestarted {
        /// The newest of the older ones.
        previous: String,
    },
    /// No digest lists the object, although the period that it was delivered in is over.
    Undigested,
    /// A digest of a later period than that of its delivery lists the object.
    Late {
        /// The digest.
        digest: String,
    },
    /// A digest says that the object was not as it should be when the digest was made.
    Reported {
        /// The digest.
        digest: String,
    },
    /// A key that is published and that no digest certifies yet signed it: whose it is cannot be said before one does.
    NotYetCertified,
    /// The object is not, or not long enough, kept from being deleted.
    Unprotected {
        /// Until when it is, as the store says it; null where there is no lock.
        until: Option<String>,
    },
    /// What an earlier run has seen and found valid is gone, or is another: somebody has set the bucket back.
    RolledBack,
    /// Manifests of a chain are missing, or one does not name the one before it.
    ChainBroken {
        /// The collector whose chain it is.
        collector: Id,
        /// The trail.
        trail: String,
        /// The first index that is missing, or whose hash does not match.
        from: u64,
        /// The last one, inclusive.
        to: u64,
    },
    /// Two manifests at one place of a chain: two writers, or one set back.
    Forked {
        /// The other one.
        other: String,
    },
    /// Events of a source that no manifest accounts for.
    Gap {
        /// The source.
        source: Id,
        /// The first sequence number.
        from: u64,
        /// The last one, inclusive.
        to: u64,
    },
    /// Events of a source that more than one manifest accounts for.
    Overlap {
        /// The source.
        source: Id,
        /// The first sequence number.
        from: u64,
        /// The last one, inclusive.
        to: u64,
    },
    /// Events of a source that no manifest accounts for, where a part of the collector's spool was lost.
    Lost {
        /// The source.
        source: Id,
        /// The first sequence number.
        from: u64,
        /// The last one, inclusive.
        to: u64,
    },
    /// A part of the collector's spool was lost.
    SpoolLoss {
        /// Its first position.
        from: String,
        /// Where reading went on.
        to: String,
    },
    /// A frame of the collector's spool could not be understood and was set aside: there are no records of it.
    Quarantined {
        /// The object that has its bytes.
        frame: String,
    },
    /// Events that a source says it had numbered, and that never came.
    NotArrived {
        /// The source.
        source: Id,
        /// The first sequence number.
        from: u64,
        /// The last one, inclusive.
        to: u64,
    },
    /// A log file that was found in the way of another one. A manifest names its hash; its records do not count.
    Superseded {
        /// The manifest that names it.
        manifest: String,
    },
    /// The store failed: this says nothing about the object.
    CouldNotCheck,
}

impl Kind {
    /// The name, as in JSON but with spaces: `chain broken`.
    #[must_use]
    pub fn name(&self) -> &'static str {
        match self {
            Self::Modified => "modified",
            Self::Missing => "missing",
            Self::Unsigned => "unsigned",
            Self::Contradicted { .. } => "contradicted",
            Self::KeyNotInForce => "key not in force",
            Self::KeyRevoked => "key revoked",
            Self::DigestChainBroken { .. } => "digest chain broken",
            Self::DigestChainRestarted { .. } => "digest chain restarted",
            Self::Undigested => "undigested",
            Self::Late { .. } => "late",
            Self::Reported { .. } => "reported",
            Self::NotYetCertified => "not yet certified",
            Self::Unprotected { .. } => "unprotected",
            Self::RolledBack => "rolled back",
            Self::Moved { .. } => "moved",
            Self::Uncommitted { .. } => "uncommitted",
            Self::KeyUnknown => "key unknown",
            Self::Malformed => "malformed",
            Self::ChainBroken { .. } => "chain broken",
            Self::Forked { .. } => "forked",
            Self::Gap { .. } => "gap",
            Self::Overlap { .. } => "overlap",
            Self::Lost { .. } => "lost",
            Self::SpoolLoss { .. } => "spool loss",
            Self::Quarantined { .. } => "quarantined",
            Self::NotArrived { .. } => "not arrived",
            Self::Superseded { .. } => "superseded",
            Self::CouldNotCheck => "could not check",
        }
    }

    /// Whether a valid manifest or digest itself says so: something is missing, and nobody hides it.
    #[must_use]
    pub fn has_receipt(&self) -> bool {
        self.severity() == Severity::Loss
    }

    /// What it means for the outcome.
    #[must_use]
    pub fn severity(&self) -> Severity {
        match self {
            Self::CouldNotCheck | Self::NotYetCertified => Severity::Unchecked,
            Self::Lost { .. }
            | Self::SpoolLoss { .. }
            | Self::Quarantined { .. }
            | Self::NotArrived { .. }
            | Self::Superseded { .. }
            | Self::DigestChainRestarted { .. } => Severity::Loss,
            Self::Late { .. } | Self::Reported { .. } => Severity::Note,
            _ => Severity::Wrong,
        }
    }
}

/// What a finding means for the outcome.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "camelCase")]
pub enum Severity {
    /// Something is not as it was signed, or not as it has to be.
    Wrong,
    /// Something could not be checked.
    Unchecked,
    /// The evidence itself says that something is lost.
    Loss,
    /// Nothing is wrong; a reader may want to know.
    Note,
}

/// Something that is wrong, could not be checked, or is of note. As JSON it is `{object, severity, kind, …, detail}`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Finding {
    /// The object; for what is missing between manifests the one after it. Empty if it is about the bucket.
    pub object: String,
    /// What is wrong.
    pub kind: Kind,
    /// The same for a reader, with what was expected.
    pub detail: String,
}

impl Serialize for Finding {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        #[derive(Serialize)]
        struct Text<'a> {
            object: &'a str,
            severity: Severity,
            #[serde(flatten)]
            kind: &'a Kind,
            detail: &'a str,
        }
        let Self { object, kind, detail } = self;
        Text { object, severity: kind.severity(), kind, detail }.serialize(serializer)
    }
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { object, kind, detail } = self;
        write!(f, "{}: ", kind.name())?;
        if !object.is_empty() {
            write!(f, "{object}: ")?;
        }
        f.write_str(detail)
    }
}

/// The result of a verification. Counts are of objects in the time range, whether valid or not.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Report {
    pub(super) outcome: Outcome,
    /// What signatures were checked with.
    pub trust: Trust,
    /// Log files in the bucket.
    pub log_files: u64,
    /// Manifests.
    pub manifests: u64,
    /// Digests.
    pub digests: u64,
    /// Published keys of both kinds; they have no time and are always all checked.
    pub keys: u64,
    /// Objects whose key is of no form that is known here. They are not looked at.
    pub other: u64,
    /// The counts below are over what was found valid.
    #[serde(flatten)]
    pub totals: Totals,
    /// How many findings say that something is wrong.
    pub wrong: u64,
    /// How many say that something could not be checked.
    pub unchecked: u64,
    /// How many say what the manifests themselves say is lost or did not come.
    pub losses: u64,
    /// How many are of note, and no more.
    pub notes: u64,
    /// The findings by object, at most [`MAX_FINDINGS`] of those counted.
    pub findings: Vec<Finding>,
    /// The keys of manifests that were believed.
    pub trusted_keys: Vec<KeyId>,
    /// The keys of digests that were believed.
    pub trusted_digest_keys: Vec<Fingerprint>,
    /// Which events of each source are accounted for, by trail, service, instance and id.
    pub sources: Vec<Coverage>,
    /// How far each chain has come.
    pub heads: Vec<Head>,
}

/// Sums over valid manifests and log files.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Totals {
    /// Log files that are what manifest and digest state.
    pub valid_log_files: u64,
    /// Of these, how many were not read again, since an earlier run has.
    pub remembered_log_files: u64,
    /// Digests that are signed, in their place and follow the one before.
    pub valid_digests: u64,
    /// Log files that digests list.
    pub digested_log_files: u64,
    /// Records in them.
    pub records: u64,
    /// Their stored bytes.
    pub stored_bytes: u64,
    /// Their bytes of content.
    pub content_bytes: u64,
    /// Events that trails did not select, by the manifests.
    pub filtered: u64,
    /// Events that senders lost and said so. This is information, not a finding.
    pub dropped: u64,
    /// Intents, by the manifests: what came of them is among the records.
    pub intents: u64,
}

impl Totals {
    pub(super) fn add(&mut self, other: &Self) {
        self.valid_log_files += other.valid_log_files;
        self.remembered_log_files += other.remembered_log_files;
        self.valid_digests += other.valid_digests;
        self.digested_log_files += other.digested_log_files;
        self.records = self.records.saturating_add(other.records);
        self.stored_bytes = self.stored_bytes.saturating_add(other.stored_bytes);
        self.content_bytes = self.content_bytes.saturating_add(other.content_bytes);
        self.filtered = self.filtered.saturating_add(other.filtered);
        self.dropped = self.dropped.saturating_add(other.dropped);
        self.intents = self.intents.saturating_add(other.intents);
    }
}

impl Report {
    pub(super) fn new(trust: Trust, totals: Totals, findings: Findings) -> Self {
        let Findings { mut kept, wrong, unchecked, losses, notes } = findings;
        kept.sort_by(|one, other| one.object.cmp(&other.object));
        let outcome = match (wrong, unchecked, losses) {
            (0, 0, 0) => Outcome::Valid,
            (0, 0, _) => Outcome::ValidWithLosses,
            (0, ..) => Outcome::CouldNotCheck,
            _ => Outcome::Invalid,
        };
        Self {
            outcome,
            trust,
            log_files: 0,
            manifests: 0,
            digests: 0,
            keys: 0,
            other: 0,
            totals,
            wrong,
            unchecked,
            losses,
            notes,
            findings: kept,
            trusted_keys: Vec::new(),
            trusted_digest_keys: Vec::new(),
            sources: Vec::new(),
            heads: Vec::new(),
        }
    }

    /// The answer in one word.
    #[must_use]
    pub fn outcome(&self) -> Outcome {
        self.outcome
    }
}

/// Findings as they come.
#[derive(Debug, Default)]
pub(super) struct Findings {
    kept: Vec<Finding>,
    wrong: u64,
    unchecked: u64,
    losses: u64,
    notes: u64,
}

impl Findings {
    pub(super) fn push(&mut self, object: impl fmt::Display, kind: Kind, detail: impl Into<String>) {
        *match kind.severity() {
            Severity::Wrong => &mut self.wrong,
            Severity::Unchecked => &mut self.unchecked,
            Severity::Loss => &mut self.losses,
            Severity::Note => &mut self.notes,
        } += 1;
        if self.kept.len() < MAX_FINDINGS {
            self.kept.push(Finding { object: object.to_string(), kind, detail: detail.into() });
        }
    }

    /// Takes back what was said of a log file without a manifest, as it is `superseded`.
    pub(super) fn excuse(&mut self, object: &str, superseded: Kind, detail: String) {
        let uncommitted =
            |it: &&mut Finding| it.object == object && matches!(it.kind, Kind::Uncommitted { .. });
        if let Some(finding) = self.kept.iter_mut().find(uncommitted) {
            (finding.kind, finding.detail) = (superseded, detail);
            self.wrong -= 1;
            self.losses += 1;
        }
    }

    pub(super) fn append(&mut self, other: Self) {
        self.losses += other.losses;
        self.wrong += other.wrong;
        self.unchecked += other.unchecked;
        self.notes += other.notes;
        let room = MAX_FINDINGS.saturating_sub(self.kept.len());
        self.kept.extend(other.kept.into_iter().take(room));
    }
}

/// A short form of a hash for messages.
pub(super) fn short(hash: &Sha256) -> String {
    hash.to_string().chars().take(12).collect()
}
