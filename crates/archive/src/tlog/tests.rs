//! Trees, tiles and proofs against the definitions of RFC 6962, and a witness at its work.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::io;
use std::time::Instant;

use proptest::prelude::*;

use super::checkpoint::Checkpoint;
use super::merkle::*;
use super::note::{Algorithm, Name, Note, VerifierKey};
use super::proof::{Consistency, Inclusion};
use super::prove::{Prover, check_root};
use super::range::Range;
use super::tile::{Tile, Tiles};
use super::tree::Tree;
use super::witness::{Memory, Refusal};
use crate::hash::Sha256;
use crate::sign::{Ed25519Signer, Signer};

/// Tiles in memory. Of each only its widest form is kept; narrower ones are cut from it.
#[derive(Default)]
struct InMemory {
    tiles: BTreeMap<(u8, u64), Vec<Sha256>>,
    read: RefCell<u32>,
}

impl InMemory {
    fn store(&mut self, tile: Tile, hashes: &[Sha256]) {
        assert_eq!(hashes.len(), tile.width());
        let before = self.tiles.insert((tile.level(), tile.index()), hashes.to_vec());
        assert!(before.is_none_or(|before| hashes.starts_with(&before)), "{tile} changed");
    }

    /// A tree of so many leaves: 0, 1, 2, … as text.
    fn grow(tree: &mut Tree, tiles: &mut Self, size: u64) {
        for leaf in tree.size()..size {
            tree.push(leaf.to_string().as_bytes(), &mut |tile, hashes| tiles.store(tile, hashes));
        }
        tree.partial().for_each(|(tile, hashes)| tiles.store(tile, hashes));
    }
}

impl Tiles for InMemory {
    fn tile(&self, tile: Tile) -> io::Result<Vec<Sha256>> {
        *self.read.borrow_mut() += 1;
        let hashes = self.tiles.get(&(tile.level(), tile.index())).ok_or(io::ErrorKind::NotFound)?;
        Ok(hashes.get(..tile.width()).ok_or(io::ErrorKind::NotFound)?.to_vec())
    }
}

fn built(size: u64) -> (Tree, InMemory) {
    let (mut tree, mut tiles) = (Tree::new(), InMemory::default());
    InMemory::grow(&mut tree, &mut tiles, size);
    (tree, tiles)
}

/// The definition, word for word: MTH of RFC 6962, section 2.1.
fn defined(leaves: &[Sha256]) -> Sha256 {
    match leaves {
        [] => empty_root(),
        [leaf] => *leaf,
        _ => {
            let (left, right) = leaves.split_at(leaves.len().next_power_of_two() / 2);
            node_hash(&defined(left), &defined(right))
        }
    }
}

/// PATH, section 2.1.1.
fn path(index: usize, leaves: &[Sha256]) -> Vec<Sha256> {
    if leaves.len() == 1 {
        return Vec::new();
    }
    let (left, right) = leaves.split_at(leaves.len().next_power_of_two() / 2);
    let (mut path, other) = match index.checked_sub(left.len()) {
        None => (path(index, left), right),
        Some(index) => (path(index, right), left),
    };
    path.push(defined(other));
    path
}

/// SUBPROOF, section 2.1.2.
fn subproof(old: usize, leaves: &[Sha256], known: bool) -> Vec<Sha256> {
    if old == leaves.len() {
        return if known { Vec::new() } else { vec![defined(leaves)] };
    }
    let (left, right) = leaves.split_at(leaves.len().next_power_of_two() / 2);
    let (mut proof, other) = if old <= left.len() {
        (subproof(old, left, known), right)
    } else {
        (subproof(old - left.len(), right, false), left)
    };
    proof.push(defined(other));
    proof
}

fn leaves(size: u64) -> Vec<Sha256> {
    (0..size).map(|leaf| leaf_hash(leaf.to_string().as_bytes())).collect()
}

#[test]
fn every_proof_in_every_small_tree_is_the_defined_one() {
    let all = leaves(70);
    let (mut tree, mut tiles) = (Tree::new(), InMemory::default());
    for size in 0..=70_u64 {
        InMemory::grow(&mut tree, &mut tiles, size);
        let leaves = &all[..size as usize];
        let head = tree.head();
        assert_eq!(head.root, defined(leaves), "{size}");
        let prover = Prover::new(&tiles, size);
        for index in 0..size {
            let proof = prover.inclusion(index).unwrap();
            assert_eq!(proof, path(index as usize, leaves), "{index} of {size}");
            assert_eq!(verify_inclusion(index, size, &leaves[index as usize], &proof, &head.root), Ok(()));
            // Nothing else verifies with it.
            let other = (index + 1) % size;
            assert!(
                size == 1
                    || verify_inclusion(other, size, &leaves[index as usize], &proof, &head.root).is_err()
            );
        }
        for old in 1..=size {
            let proof = prover.consistency(old).unwrap();
            assert_eq!(proof, subproof(old as usize, leaves, true), "{old} to {size}");
            let old = Head { size: old, root: defined(&leaves[..old as usize]) };
            assert_eq!(prover.root(old.size).unwrap(), old.root);
            assert_eq!(verify_consistency(old, head, &proof), Ok(()));
            let forked = Head { root: Sha256::of(b"other"), ..old };
            assert!(verify_consistency(forked, head, &proof).is_err());
            if old.size < size {
                assert!(
                    verify_consistency(old, Head { root: Sha256::of(b"other"), ..head }, &proof).is_err()
                );
            }
        }
        assert!(prover.inclusion(size).is_err() && prover.consistency(size + 1).is_err());
    }
    assert_eq!(verify_consistency(Head::empty(), tree.head(), &[]), Ok(()));
}

#[test]
fn trees_go_on_from_their_tiles() {
    for size in [0, 1, 255, 256, 257, 511, 65_535, 65_536, 65_537, 70_000] {
        let (tree, mut tiles) = built(size);
        check_root(&tiles, tree.head()).unwrap();
        let mut loaded = Tree::load(tree.head(), &tiles).unwrap();
        assert_eq!(loaded, tree, "{size}");
        InMemory::grow(&mut loaded, &mut tiles, size + 300);
        assert_eq!(loaded.head(), built(size + 300).0.head(), "{size}");

        let other = Head { root: Sha256::of(b"other"), size };
        assert!(Tree::load(other, &tiles).is_err() && check_root(&tiles, other).is_err());
    }
}

#[test]
fn a_changed_or_missing_tile_proves_nothing() {
    let (tree, mut tiles) = built(1000);
    let (head, leaf) = (tree.head(), leaf_hash(b"300"));
    let proof = Prover::new(&tiles, 1000).inclusion(300).unwrap();
    assert_eq!(verify_inclusion(300, 1000, &leaf, &proof, &head.root), Ok(()));
    tiles.tiles.get_mut(&(0, 1)).unwrap()[0] = Sha256::of(b"other");
    let proof = Prover::new(&tiles, 1000).inclusion(300).unwrap();
    assert_eq!(verify_inclusion(300, 1000, &leaf, &proof, &head.root), Err(ProofError::Root));
    tiles.tiles.remove(&(0, 1));
    let error = Prover::new(&tiles, 1000).inclusion(300).unwrap_err();
    assert_eq!(error.kind(), io::ErrorKind::NotFound);
}

proptest! {
    // A tree of some ten thousand leaves takes a moment to build.
    #![proptest_config(ProptestConfig::with_cases(16))]

    #[test]
    fn proofs_in_larger_trees_verify(size in 2_u64..140_000, one in any::<u64>(), other in any::<u64>()) {
        let (mut tree, mut tiles) = (Tree::new(), InMemory::default());
        let old = 1 + other % size;
        let mut at_old = None;
        for leaf in 0..size {
            // Hashing is not what is looked at.
            let mut hash = [0; 32];
            hash[..8].copy_from_slice(&leaf.to_be_bytes());
            tree.push_hash(hash.into(), &mut |tile, hashes| tiles.store(tile, hashes));
            if tree.size() == old {
                at_old = Some(tree.head());
            }
        }
        tree.partial().for_each(|(tile, hashes)| tiles.store(tile, hashes));
        let (prover, index) = (Prover::new(&tiles, size), one % size);
        let mut leaf = [0; 32];
        leaf[..8].copy_from_slice(&index.to_be_bytes());
        let proof = prover.inclusion(index).unwrap();
        prop_assert_eq!(verify_inclusion(index, size, &leaf.into(), &proof, &tree.root()), Ok(()));
        let consistency = prover.consistency(old).unwrap();
        prop_assert_eq!(verify_consistency(at_old.unwrap(), tree.head(), &consistency), Ok(()));
        prop_assert_eq!(prover.range(old).unwrap().head(), at_old);
    }
}

proptest! {
    #[test]
    fn ranges_join_to_the_tree(cuts in proptest::collection::vec(0_u64..400, 0..6), size in 0_u64..400) {
        let mut cuts: Vec<u64> = cuts.into_iter().filter(|cut| *cut <= size).chain([0, size]).collect();
        cuts.sort_unstable();
        let mut whole = Range::new(0);
        for cut in cuts.windows(2) {
            let mut part = Range::new(cut[0]);
            (cut[0]..cut[1]).for_each(|leaf| part.push(leaf.to_string().as_bytes()));
            prop_assert_eq!(part.size(), cut[1] - cut[0]);
            prop_assert!(part.head().is_none() || cut[0] == 0);
            whole.join(&part).unwrap();
        }
        prop_assert_eq!(whole.head(), Some(Head { size, root: defined(&leaves(size)) }));
        prop_assert!(whole.join(&Range::new(size + 1)).is_err());
    }

    /// Whatever is in a file, reading it does not panic, and what is read is written as it was.
    #[test]
    fn any_file_is_refused_or_read_back(text in "(c2sp.org/tlog-proof@v1\n|old 5\n|extra AA==\n|index 1\n|a\n5\n|\n|\u{2014} a AAAAAAA=\n|[ -~]{0,9}){0,9}") {
        if let Ok(proof) = Inclusion::parse(text.as_bytes()) {
            prop_assert_eq!(proof.to_string(), text.clone());
        }
        if let Ok(proof) = Consistency::parse(text.as_bytes()) {
            prop_assert_eq!(proof.to_string(), text);
        }
    }
}

/// A tree of ten million leaves, of which most are the same, so that most tiles are hashed once.
fn ten_million(wanted: &[u64], record: impl Fn(u64) -> String) -> (u64, InMemory) {
    const SIZE: u64 = 10_000_000;
    const WIDTH: u64 = 256;
    let (mut tiles, filler) = (InMemory::default(), leaf_hash(b"filler"));
    let (mut upper, mut uppers) = (Tree::new(), InMemory::default());
    let root = perfect_root(&[filler; WIDTH as usize]).unwrap();
    for index in 0..SIZE.div_ceil(WIDTH) {
        let mut hashes = vec![filler; WIDTH.min(SIZE - index * WIDTH) as usize];
        let own: Vec<_> = wanted.iter().filter(|leaf| **leaf / WIDTH == index).collect();
        for leaf in &own {
            hashes[(**leaf % WIDTH) as usize] = leaf_hash(record(**leaf).as_bytes());
        }
        if hashes.len() == WIDTH as usize {
            let root = if own.is_empty() { root } else { perfect_root(&hashes).unwrap() };
            upper.push_hash(root, &mut |tile, hashes| uppers.store(tile, hashes));
        }
        tiles.tiles.insert((0, index), hashes);
    }
    upper.partial().for_each(|(tile, hashes)| uppers.store(tile, hashes));
    tiles.tiles.extend(uppers.tiles.into_iter().map(|((level, index), hashes)| ((level + 1, index), hashes)));
    (SIZE, tiles)
}

#[test]
fn a_proof_among_ten_million_is_small_and_takes_few_tiles() {
    let record = |index: u64| format!(r#"{{"eventID":"{index}"}}"#);
    let wanted = [0, 1, 255, 256, 65_536, 7_654_321, 9_999_936, 9_999_999];
    let (size, tiles) = ten_million(&wanted, record);
    let prover = Prover::new(&tiles, size);
    let head = |size| Head { size, root: prover.root(size).unwrap() };
    let (new, seen) = (head(size), [1, 300, 65_536, 9_999_000].map(head));

    let (signer, keys) = log("audit/AWSLogs/111122223333/Sidetrail-Log/eu-central-1/default");
    let checkpoint = Checkpoint::sign(keys[0].name(), new, &signer).unwrap();
    let mut slowest = std::time::Duration::ZERO;
    for index in wanted {
        tiles.read.replace(0);
        let hashes = Prover::new(&tiles, size).inclusion(index).unwrap();
        assert!(*tiles.read.borrow() <= 6, "{} tiles", tiles.read.borrow());
        let file = Inclusion { record: None, index, hashes, checkpoint: checkpoint.clone() }.to_string();
        assert!(file.len() < 2048, "{} bytes", file.len());
        let began = Instant::now();
        let read = Inclusion::parse(file.as_bytes()).unwrap();
        assert!(read.verify(Some(record(index).as_bytes()), &keys).is_ok());
        slowest = slowest.max(began.elapsed());
        assert!(read.verify(Some(record(index + 1).as_bytes()), &keys).is_err());
        eprintln!("inclusion of {index} of {size}: {} hashes, {} bytes", read.hashes.len(), file.len());
    }
    for old in seen {
        tiles.read.replace(0);
        let hashes = Prover::new(&tiles, size).consistency(old.size).unwrap();
        assert!(*tiles.read.borrow() <= 8, "{} tiles", tiles.read.borrow());
        let file = Consistency { old: old.size, hashes, checkpoint: checkpoint.clone() }.to_string();
        assert!(file.len() < 2048, "{} bytes", file.len());
        let began = Instant::now();
        let read = Consistency::parse(file.as_bytes()).unwrap();
        assert_eq!(read.verify(old, &keys).unwrap().head, new);
        slowest = slowest.max(began.elapsed());
        eprintln!(
            "consistency of {} with {size}: {} hashes, {} bytes",
            old.size,
            read.hashes.len(),
            file.len()
        );
    }
    // Said, not asserted: how busy the machine is, is no property of the code.
    eprintln!("the slowest took {slowest:?} to read and verify");
}

/// A log's key, and what its checkpoints are believed by.
fn log(origin: &str) -> (Ed25519Signer, Vec<VerifierKey>) {
    let signer = Ed25519Signer::generate().unwrap();
    let key = signer.public_key().clone();
    (signer, vec![VerifierKey::new(Name::new(origin).unwrap(), Algorithm::Ed25519, key)])
}

#[test]
fn a_witness_cosigns_what_extends_and_nothing_else() {
    let (signer, keys) = log("log");
    let (witness, name) = (Ed25519Signer::generate().unwrap(), Name::new("witness").unwrap());
    let own = VerifierKey::new(name.clone(), Algorithm::Cosignature, witness.public_key().clone());
    let (mut tree, mut tiles) = (Tree::new(), InMemory::default());
    let request = |tree: &Tree, tiles: &InMemory, old: u64| Consistency {
        old,
        hashes: Prover::new(tiles, tree.size()).consistency(old).unwrap(),
        checkpoint: Checkpoint::sign(keys[0].name(), tree.head(), &signer).unwrap(),
    };
    let mut memory = Memory::default();

    InMemory::grow(&mut tree, &mut tiles, 300);
    let first = request(&tree, &tiles, 0);
    memory.cosign(&first, &keys, &name, &witness, 1000).unwrap();
    // A second time at the same size is fine, and replaces the cosignature.
    let again = memory.cosign(&request(&tree, &tiles, 300), &keys, &name, &witness, 1001).unwrap();
    let (note, head) = memory.last("log").unwrap();
    assert_eq!((head, note.signatures.len()), (tree.head(), 2));
    assert_eq!(note.signature_of(&own), Some(&again));
    assert!(Checkpoint::open(note, &keys).is_ok());
    assert_eq!(Memory::from_json(memory.to_json().unwrap().as_bytes()).unwrap(), memory);

    InMemory::grow(&mut tree, &mut tiles, 1000);
    // It remembers 300, so a proof from elsewhere on does not do.
    let refused = memory.cosign(&request(&tree, &tiles, 299), &keys, &name, &witness, 1002);
    assert!(matches!(refused, Err(Refusal::Conflict { old: 299, seen: 300 })));
    memory.cosign(&request(&tree, &tiles, 300), &keys, &name, &witness, 1002).unwrap();

    // Rolled back to what was there, signed by the log's own key.
    let before = memory.clone();
    let refused = memory.cosign(&first, &keys, &name, &witness, 1003);
    assert!(matches!(refused, Err(Refusal::RolledBack { seen: 1000, size: 300, .. })), "{refused:?}");
    // Another history of more leaves.
    let (mut other, mut others) = (Tree::new(), InMemory::default());
    other.push(b"other", &mut |_, _| {});
    others.tiles.insert((0, 0), vec![leaf_hash(b"other")]);
    for _ in 1..1200 {
        other.push(b"x", &mut |tile, hashes| others.store(tile, hashes));
    }
    other.partial().for_each(|(tile, hashes)| others.store(tile, hashes));
    let refused = memory.cosign(&request(&other, &others, 1000), &keys, &name, &witness, 1003);
    assert!(matches!(refused, Err(Refusal::Forked { seen: 1000, size: 1200, .. })), "{refused:?}");
    // A log that it does not know, and a signature that is not the log's.
    let (stranger, unknown) = log("stranger");
    let foreign = Checkpoint::sign(unknown[0].name(), tree.head(), &stranger).unwrap();
    let foreign = Consistency { old: 0, hashes: Vec::new(), checkpoint: foreign };
    assert!(matches!(memory.cosign(&foreign, &keys, &name, &witness, 1003), Err(Refusal::Checkpoint(_))));
    let forged = Checkpoint::sign(keys[0].name(), tree.head(), &stranger).unwrap();
    let forged = Consistency { old: 1000, hashes: Vec::new(), checkpoint: forged };
    assert!(matches!(memory.cosign(&forged, &keys, &name, &witness, 1003), Err(Refusal::Checkpoint(_))));
    assert_eq!(memory, before);
}

#[test]
fn what_a_witness_did_not_keep_is_refused() {
    assert!(Memory::from_json(br#"{"version":1,"checkpoints":{}}"#).is_ok());
    for text in [
        "",
        "{}",
        r#"{"version":2,"checkpoints":{}}"#,
        r#"{"version":1,"checkpoints":{"a":"b"}}"#,
        r#"{"version":1,"checkpoints":{},"more":1}"#,
    ] {
        assert!(Memory::from_json(text.as_bytes()).is_err(), "{text}");
    }
    // A checkpoint under the name of another log.
    let (signer, keys) = log("log");
    let note: Note = Checkpoint::sign(keys[0].name(), Head::empty(), &signer).unwrap();
    let text = serde_json::json!({"version": 1, "checkpoints": {"other": note.to_string()}}).to_string();
    assert!(Memory::from_json(text.as_bytes()).is_err());
}
