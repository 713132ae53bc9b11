//! A transparency log over the records of a trail: one record proved to be in it, one state proved to extend another.
//!
//! For each region and trail there is one Merkle tree. Its leaves are the exact bytes of the records, in the order in
//! which digests list their log files; its hashes are those of RFC 6962. The formats are C2SP's, so that other people's
//! tools and witnesses work on them: *tiles* of hashes ([`tile`], c2sp.org/tlog-tiles), *checkpoints* that state size and
//! root ([`checkpoint`], c2sp.org/tlog-checkpoint) in *signed notes* ([`note`], c2sp.org/signed-note), *cosignatures* of
//! witnesses ([`cosignature`], c2sp.org/tlog-cosignature), files with a proof in them ([`proof`], c2sp.org/tlog-proof) and
//! what witnesses are asked ([`witness`], c2sp.org/tlog-witness). The entries themselves are not stored a second time:
//! they are the log files.
//!
//! ```text
//! records ─▶ tree::Tree ─▶ tiles, root ─▶ checkpoint::Checkpoint ─ note::sign ─▶ checkpoint
//!
//! tiles ─▶ prove::Prover ─▶ proof ─▶ merkle::verify_inclusion, verify_consistency
//! ```
//!
//! [`growth`] is what a digest adds, [`publish`] (feature `store`) writes a log
//! and [`commit`] (too) has digests commit to it, [`stored`] reads one,
//! [`locate`] finds the leaf of a record, [`audit`] checks a whole log.
//!
//! Nothing here is believed because it lies in the bucket: tiles that were changed make proofs that do not verify, and a
//! checkpoint is what a key signed, whose name is its log's.

pub mod audit;
pub mod checkpoint;
#[cfg(feature = "store")]
pub mod commit;
pub mod cosignature;
pub mod growth;
pub mod locate;
pub mod merkle;
pub mod note;
pub mod proof;
pub mod prove;
#[cfg(feature = "store")]
pub mod publish;
pub mod range;
pub mod stored;
pub mod tile;
pub mod tree;
pub mod witness;

#[cfg(test)]
mod tests;
