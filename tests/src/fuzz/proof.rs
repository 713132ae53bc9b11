//! A proof is read back as it is written, and none shows what is not so, whoever made it: the log's signature is put right.

use std::sync::LazyLock;

use sidetrail_archive::hash::Sha256;
use sidetrail_archive::sign::{Ed25519Signer, Signer};
use sidetrail_archive::tlog::checkpoint::Checkpoint;
use sidetrail_archive::tlog::merkle::{Head, leaf_hash, node_hash};
use sidetrail_archive::tlog::note::{Algorithm, Name, Note, VerifierKey};
use sidetrail_archive::tlog::proof::{Consistency, Inclusion};
use sidetrail_archive::tlog::witness::Memory;

pub(super) const WORDS: &[&str] = &[
    "c2sp.org/tlog-proof@v1\n",
    "extra ",
    "index ",
    "old ",
    "\n\n",
    "\u{2014} ",
    "9223372036854775807",
    "18446744073709551615",
    "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=\n",
];

const RECORDS: [&[u8]; 7] = [b"{}", b"{\"a\":1}", b"", b"3", b"4", b"5", b"6"];

/// A log of seven records: its key, and some of its checkpoints.
struct Log {
    leaves: Vec<Sha256>,
    keys: Vec<VerifierKey>,
    checkpoints: Vec<Note>,
}

static LOG: LazyLock<Log> = LazyLock::new(|| {
    let signer = Ed25519Signer::from_pem(include_str!("../../../crates/archive/testdata/v1.pem"));
    let signer = signer.expect("the key of the golden files");
    let name = Name::new("log").expect("a name");
    let leaves: Vec<_> = RECORDS.into_iter().map(leaf_hash).collect();
    let keys = vec![VerifierKey::new(name.clone(), Algorithm::Ed25519, signer.public_key().clone())];
    let sign = |size| Checkpoint::sign(&name, head(&leaves[..size]), &signer).expect("a key in memory");
    let checkpoints = [0, 3, 4, leaves.len()].map(sign).into();
    Log { leaves, keys, checkpoints }
});

fn head(leaves: &[Sha256]) -> Head {
    if leaves.is_empty() { Head::empty() } else { Head { size: leaves.len() as u64, root: root(leaves) } }
}

/// MTH of RFC 6962, section 2.1.
fn root(leaves: &[Sha256]) -> Sha256 {
    match leaves {
        [leaf] => *leaf,
        _ => {
            let (left, right) = halves(leaves);
            node_hash(&root(left), &root(right))
        }
    }
}

fn halves(leaves: &[Sha256]) -> (&[Sha256], &[Sha256]) {
    leaves.split_at(leaves.len().next_power_of_two() / 2)
}

/// PATH, section 2.1.1.
fn path(index: usize, leaves: &[Sha256]) -> Vec<Sha256> {
    if leaves.len() == 1 {
        return Vec::new();
    }
    let (left, right) = halves(leaves);
    let (mut path, other) = match index.checked_sub(left.len()) {
        None => (path(index, left), right),
        Some(index) => (path(index, right), left),
    };
    path.push(root(other));
    path
}

/// SUBPROOF, section 2.1.2.
fn subproof(old: usize, leaves: &[Sha256], known: bool) -> Vec<Sha256> {
    if old == leaves.len() {
        return if known { Vec::new() } else { vec![root(leaves)] };
    }
    let (left, right) = halves(leaves);
    let (mut proof, other) = match old.checked_sub(left.len()) {
        None | Some(0) => (subproof(old, left, known), right),
        Some(old) => (subproof(old, right, false), left),
    };
    proof.push(root(other));
    proof
}

pub(super) fn seeds() -> Vec<Vec<u8>> {
    let Log { leaves, checkpoints, .. } = &*LOG;
    let checkpoint = checkpoints.last().expect("the largest");
    let mut seeds = Vec::new();
    for (index, record) in RECORDS.into_iter().enumerate() {
        let (hashes, checkpoint) = (path(index, leaves), checkpoint.clone());
        let inclusion = Inclusion { record: Some(record.to_vec()), index: index as u64, hashes, checkpoint };
        seeds.push(inclusion.to_string().into_bytes());
    }
    for old in 1..=leaves.len() {
        let hashes = subproof(old, leaves, true);
        let consistency = Consistency { old: old as u64, hashes, checkpoint: checkpoint.clone() };
        seeds.push(consistency.to_string().into_bytes());
    }
    let mut memory = Memory::default();
    memory.keep(checkpoint.clone()).expect("a checkpoint");
    seeds.push(memory.to_json().expect("what can be kept").into_bytes());
    seeds
}

pub(super) fn check(input: &[u8]) {
    let log = &*LOG;
    if let Ok(proof) = Inclusion::parse(input) {
        assert_eq!(Inclusion::parse(proof.to_string().as_bytes()), Ok(proof.clone()));
        for checkpoint in &log.checkpoints {
            let proof = Inclusion { checkpoint: checkpoint.clone(), ..proof.clone() };
            if let Ok((record, checkpoint)) = proof.verify(None, &log.keys) {
                assert!(proof.index < checkpoint.head.size);
                assert_eq!(record, RECORDS[proof.index as usize], "it is another record");
            }
        }
    }
    if let Ok(proof) = Consistency::parse(input) {
        assert_eq!(Consistency::parse(proof.to_string().as_bytes()), Ok(proof.clone()));
        let proof = &proof;
        let others = log.checkpoints.iter().flat_map(|checkpoint| {
            (0..=log.leaves.len()).map(move |old| Consistency {
                old: old as u64,
                checkpoint: checkpoint.clone(),
                ..proof.clone()
            })
        });
        for proof in others {
            let old = head(&log.leaves[..proof.old as usize]);
            let proved = proof.verify(old, &log.keys).map(|checkpoint| checkpoint.head.size);
            assert!(proved.is_err() || proved.is_ok_and(|size| size >= old.size), "a log never shrinks");
            if old.size > 0 {
                let forked = Head { root: Sha256::of(b"another history"), ..old };
                assert!(proof.verify(forked, &log.keys).is_err(), "another history");
            }
        }
    }
    if let Ok(memory) = Memory::from_json(input) {
        let again = memory.to_json().expect("what was read can be kept");
        assert_eq!(Memory::from_json(again.as_bytes()).expect("our own bytes"), memory);
    }
    if let Ok(note) = Note::parse(input) {
        assert_eq!(Note::parse(note.to_string().as_bytes()), Ok(note));
    }
}
