//! Hashes, proofs, notes and cosignatures against vectors of others.
#![expect(clippy::unwrap_used, reason = "tests panic")]

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde::Deserialize;
use sidetrail_archive::hash::Sha256;
use sidetrail_archive::sign::{Ed25519Signer, Signer};
use sidetrail_archive::tlog::checkpoint::Checkpoint;
use sidetrail_archive::tlog::cosignature;
use sidetrail_archive::tlog::merkle::{
    Head, empty_root, leaf_hash, node_hash, verify_consistency, verify_inclusion,
};
use sidetrail_archive::tlog::note::{self, Algorithm, KeyError, Name, Note, NoteError, VerifierKey};
use sidetrail_archive::tlog::proof::Inclusion;
use sidetrail_archive::tlog::tile::encode;
use sidetrail_archive::tlog::tree::Tree;

fn hash(text: &str) -> Sha256 {
    <[u8; 32]>::try_from(STANDARD.decode(text).unwrap()).unwrap().into()
}

/// Hashes of the vectors may have any length; ours cannot.
fn hashes(texts: &Option<Vec<String>>) -> Option<Vec<Sha256>> {
    let hash = |text: &String| Some(<[u8; 32]>::try_from(STANDARD.decode(text).ok()?).ok()?.into());
    texts.iter().flatten().map(hash).collect()
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct InclusionCase {
    leaf_idx: u64,
    tree_size: u64,
    root: Option<String>,
    leaf_hash: Option<String>,
    proof: Option<Vec<String>>,
    desc: String,
    want_err: bool,
}

#[test]
fn inclusion_vectors() {
    let mut good = 0;
    for line in include_str!("data/inclusion.jsonl").lines() {
        let case: InclusionCase = serde_json::from_str(line).unwrap();
        let root = hashes(&case.root.map(|root| vec![root]));
        let leaf = hashes(&case.leaf_hash.map(|leaf| vec![leaf]));
        let valid = match (root.as_deref(), leaf.as_deref(), hashes(&case.proof)) {
            (Some([root]), Some([leaf]), Some(proof)) => {
                verify_inclusion(case.leaf_idx, case.tree_size, leaf, &proof, root).is_ok()
            }
            _ => false,
        };
        assert_eq!(valid, !case.want_err, "{}", case.desc);
        good += u32::from(valid);
    }
    assert_eq!(good, 6);
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct ConsistencyCase {
    size1: u64,
    size2: u64,
    root1: Option<String>,
    root2: Option<String>,
    proof: Option<Vec<String>>,
    desc: String,
    want_err: bool,
}

/// Roots that are of no consequence are short texts in the vectors.
fn padded(text: &Option<String>) -> Sha256 {
    let mut bytes = STANDARD.decode(text.as_deref().unwrap_or_default()).unwrap();
    bytes.resize(32, 0);
    <[u8; 32]>::try_from(bytes).unwrap().into()
}

#[test]
fn consistency_vectors() {
    let mut good = 0;
    for line in include_str!("data/consistency.jsonl").lines() {
        let case: ConsistencyCase = serde_json::from_str(line).unwrap();
        let valid = match hashes(&case.proof) {
            Some(proof) => {
                let old = Head { size: case.size1, root: padded(&case.root1) };
                let new = Head { size: case.size2, root: padded(&case.root2) };
                verify_consistency(old, new, &proof).is_ok()
            }
            None => false,
        };
        // Those who made the vectors have nothing extend an empty tree. c2sp.org/tlog-witness has everything extend it.
        let from_nothing =
            case.size1 == 0 && case.size2 > 0 && case.proof.is_none_or(|proof| proof.is_empty());
        let empty = padded(&case.root1) == empty_root();
        assert_eq!(valid, !case.want_err || from_nothing && empty, "{}", case.desc);
        good += u32::from(valid);
    }
    assert_eq!(good, 7);
}

/// The tree of eight leaves that every implementation of RFC 6962 is tested with.
#[test]
fn roots_of_the_reference_tree() {
    let leaves: [&[u8]; 8] = [
        b"",
        b"\x00",
        b"\x10",
        b"\x20\x21",
        b"\x30\x31",
        b"\x40\x41\x42\x43",
        b"\x50\x51\x52\x53\x54\x55\x56\x57",
        b"\x60\x61\x62\x63\x64\x65\x66\x67\x68\x69\x6a\x6b\x6c\x6d\x6e\x6f",
    ];
    let roots = [
        "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855",
        "6e340b9cffb37a989ca544e6bb780a2c78901d3fb33738768511a30617afa01d",
        "fac54203e7cc696cf0dfcb42c92a1d9dbaf70ad9e621f4bd8d98662f00e3c125",
        "aeb6bcfe274b70a14fb067a5e5578264db0fa9b51af5e0ba159158f329e06e77",
        "d37ee418976dd95753c1c73862b9398fa2a2cf9b4ff0fdfe8b30cd95209614b7",
        "4e3bbb1f7b478dcfe71fb631631519a3bca12c9aefca1612bfce4c13a86264d4",
        "76e67dadbcdf1e10e1b74ddc608abd2f98dfb16fbce75277b5232a127f2087ef",
        "ddb89be403809e325750d3d263cd78929c2942b7942a34b77e122c9594a74c8c",
        "5dc9da79a70659a9ad559cb701ded9a2ab9d823aad2f4960cfe370eff4604328",
    ];
    let mut tree = Tree::new();
    assert_eq!(tree.root().to_string(), roots[0]);
    for (leaf, root) in leaves.iter().zip(&roots[1..]) {
        tree.push(leaf, &mut |_, _| {});
        assert_eq!(tree.root().to_string(), *root);
    }
    assert_eq!(empty_root().to_string(), roots[0]);
    assert_eq!(node_hash(&leaf_hash(leaves[0]), &leaf_hash(leaves[1])).to_string(), roots[2]);
}

/// A log that another implementation wrote: we come to its roots, tiles and signatures, byte for byte.
#[test]
fn a_log_of_another_implementation() {
    const KEY: &str = "example.com/log/testdata+33d7b496+AeHTu4Q3hEIMHNqc6fASMsq3rKNx280NI+oO5xCFkkSx";
    const SEED: &str = "7KZj9JkBfSNlwnx6dnkVjUPP7BMwvbJZKQr70NIXd6A=";
    let entries = [
        "one", "two", "three", "four", "five", "six", "seven", "eit", "nain", "ten", "ileven", "twelf",
        "threeten", "fourten", "fivten",
    ];
    let key: VerifierKey = KEY.parse().unwrap();
    assert_eq!(key.to_string(), KEY);
    let mut tree = Tree::new();
    let checkpoints = include_str!("data/checkpoints.txt").split("===\n").filter(|text| !text.is_empty());
    for (size, text) in checkpoints.enumerate() {
        let note = Note::parse(text.as_bytes()).unwrap();
        assert_eq!(note.to_string(), text);
        let checkpoint = Checkpoint::open(&note, std::slice::from_ref(&key)).unwrap();
        assert_eq!(checkpoint.head, tree.head());
        assert_eq!(checkpoint.head.size, size as u64);
        assert_eq!(Checkpoint::sign(key.name(), tree.head(), &signer(SEED)).unwrap(), note);
        if let Some(entry) = entries.get(size) {
            tree.push(entry.as_bytes(), &mut |_, _| {});
        }
    }
    let [(tile, hashes)] = tree.partial().collect::<Vec<_>>()[..] else { panic!("one tile") };
    assert_eq!(tile.to_string(), "tile/0/000.p/15");
    assert_eq!(STANDARD.encode(encode(hashes)), include_str!("data/tile.txt").trim_end());
}

#[test]
fn the_example_of_the_note_specification() {
    let key: VerifierKey =
        "example.com/foo+530d903a+AekyeRrm56hApGFkyQR4ZCbV54Id2LKaANYcrnKv3U2k".parse().unwrap();
    let text = "This is an example message.\n\n\u{2014} example.com/foo \
        Uw2QOkn8srV1yJGh2VYRlL1Tnagv1YEq6TfXppzi2ONncAlTgK7Ztg1ERYNZXsYjOBH3mFXmRKuwHjG1Yu72IneyaQM=\n";
    let note = Note::parse(text.as_bytes()).unwrap();
    assert_eq!(note.to_string(), text);
    assert_eq!(note.verify(std::slice::from_ref(&key)), Ok(vec![&key]));
    let changed = Note::parse(text.replace("an example", "no example").as_bytes()).unwrap();
    assert_eq!(
        changed.verify(std::slice::from_ref(&key)),
        Err(NoteError::Signature(Name::new("example.com/foo").unwrap()))
    );
    // The same note, signed by someone else too, whom nobody here knows.
    let more = format!("{text}\u{2014} example.com/bar AAAAAAA=\n");
    assert_eq!(Note::parse(more.as_bytes()).unwrap().verify(&[key]).map(|keys| keys.len()), Ok(1));
}

/// The key pair, text and signature that the Go implementation of notes is documented with.
#[test]
fn the_example_of_the_go_implementation() {
    const KEY: &str = "PeterNeumann+c74f20a3+ARpc2QcUPDhMQegwxbzhKqiBfsVkmqq/LDE4izWy10TW";
    const SEED: &str = "gQoUAtUUbI2E8kQzMPVAgOv5juF9nHT2JS/F1ccoMXM=";
    const NOTE: &str = "If you think cryptography is the answer to your problem,\n\
        then you don't know what your problem is.\n\n\u{2014} PeterNeumann \
        x08go/ZJkuBS9UG/SffcvIAQxVBtiFupLLr8pAcElZInNIuGUgYN1FFYC2pZSNXgKvqfqdngotpRZb6KE6RyyBwJnAM=\n";
    let signer = signer(SEED);
    let name = Name::new("PeterNeumann").unwrap();
    let key = VerifierKey::new(name.clone(), Algorithm::Ed25519, signer.public_key().clone());
    assert_eq!(key.to_string(), KEY);
    let note = Note::parse(NOTE.as_bytes()).unwrap();
    assert_eq!(note.verify(&[key]).map(|keys| keys.len()), Ok(1));
    assert_eq!(note::sign(&note.text, &name, &signer).unwrap(), note.signatures[0]);
}

/// From the 32 bytes of a seed, in base64.
fn signer(seed: &str) -> Ed25519Signer {
    let head = [0x30, 0x2e, 2, 1, 0, 0x30, 5, 6, 3, 0x2b, 0x65, 0x70, 4, 0x22, 4, 0x20];
    Ed25519Signer::from_pkcs8(&[&head[..], &STANDARD.decode(seed).unwrap()].concat()).unwrap()
}

/// The checkpoint of a log that is in use, whose origin is not the name of its key: for notes that is all right.
#[test]
fn a_checkpoint_of_the_go_checksum_database() {
    let key: VerifierKey =
        "sum.golang.org+033de0ae+Ac4zctda0e5eza+HJyk9SxEdh+s3Ux18htTTAD8OuAn8".parse().unwrap();
    let text = "go.sum database tree\n35225469\nvt5T6GaLCXvyHFl9VUvvItR43XZxfLgftEcTyO3eJCQ=\n\n\
        \u{2014} sum.golang.org Az3grpukl5AXaVfYkLiDGORx/DN2nlcS5kZHR5uYOBV2KA2HgXpD+gu9HHONebHLAyaKbbTM75QTtPydhKCExixSfwQ=\n";
    let note = Note::parse(text.as_bytes()).unwrap();
    assert_eq!(note.verify(std::slice::from_ref(&key)).map(|keys| keys.len()), Ok(1));
    let checkpoint: Checkpoint = note.text.parse().unwrap();
    assert_eq!(checkpoint.to_string(), note.text);
    assert_eq!(checkpoint.head.size, 35_225_469);
    // It speaks for no log of its own name, so here nobody is asked to believe it.
    assert!(Checkpoint::open(&note, &[key]).is_err());
}

/// The signatures of the specifications' examples are of keys that these do not give; their form is what can be read.
#[test]
fn the_examples_of_checkpoint_and_cosignature() {
    let text = "example.com/behind-the-sofa\n20852163\nCsUYapGGPo4dkMgIAUqom/Xajj7h2fB2MPA3j2jxq2I=\n\n\
        \u{2014} example.com/behind-the-sofa Az3grlgtzPICa5OS8npVmf1Myq/5IZniMp+ZJurmRDeOoRDe4URYN7u5/Zhcyv2q1gGzGku9nTo+zyWE+xeMcTOAYQ8=\n\
        \u{2014} witness.example.com/w1 jWbPPwAAAABkGFDLEZMHwSRaJNiIDoe9DYn/zXcrtPHeolMI5OWXEhZCB9dlrDJsX3b2oyin1nPZqhf5nNo0xUe+mbIUBkBIfZ+qnA==\n";
    let note = Note::parse(text.as_bytes()).unwrap();
    assert_eq!(note.to_string(), text);
    let checkpoint: Checkpoint = note.text.parse().unwrap();
    assert_eq!(checkpoint.head.root, hash("CsUYapGGPo4dkMgIAUqom/Xajj7h2fB2MPA3j2jxq2I="));
    let [log, witness] = &note.signatures[..] else { panic!("two signatures") };
    assert_eq!((log.bytes.len(), witness.bytes.len()), (64, 8 + 64));
    // 1679315147, as the specification says.
    assert_eq!(witness.bytes[..8], 1_679_315_147_u64.to_be_bytes());
}

#[test]
fn a_cosignature_is_of_its_text_time_and_key() {
    let (witness, other) = (signer(&STANDARD.encode([7; 32])), signer(&STANDARD.encode([8; 32])));
    let name = Name::new("witness.example.com/w1").unwrap();
    let text = "example.com/log\n0\n47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU=\n";
    let cosignature = cosignature::cosign(text, &name, &witness, 1_679_315_147).unwrap();
    // The message is the one of the specification.
    let message = format!("cosignature/v1\ntime 1679315147\n{text}");
    assert_eq!(cosignature.bytes[8..], witness.sign(message.as_bytes()).unwrap().as_bytes()[..]);

    let seen =
        |key: &Ed25519Signer, text: &str, bytes: &[u8]| cosignature::verify(key.public_key(), text, bytes);
    assert_eq!(seen(&witness, text, &cosignature.bytes), Some(1_679_315_147));
    assert_eq!(seen(&other, text, &cosignature.bytes), None);
    assert_eq!(seen(&witness, &text.replace("\n0\n", "\n1\n"), &cosignature.bytes), None);
    let mut later = cosignature.bytes.clone();
    later[7] += 1;
    assert_eq!(seen(&witness, text, &later), None);

    let key = VerifierKey::new(name, Algorithm::Cosignature, witness.public_key().clone());
    assert_eq!(key.to_string().parse(), Ok(key.clone()));
    let note = Note { text: text.to_owned(), signatures: vec![cosignature] };
    assert_eq!(note.verify(std::slice::from_ref(&key)), Ok(vec![&key]));
    assert!(note.signature_of(&key).is_some());
    // The same key for another purpose has another id, so it is none of the signers.
    let log = VerifierKey::new(key.name().clone(), Algorithm::Ed25519, witness.public_key().clone());
    assert_eq!(note.verify(&[log]), Err(NoteError::Unsigned));
}

#[test]
fn what_is_no_note_or_key_is_refused() {
    let line = "\u{2014} a AAAAAAA=\n";
    assert!(Note::parse(format!("text\n\n{line}").as_bytes()).is_ok());
    for (text, what) in [
        (String::new(), "empty"),
        ("text\n\n".to_owned(), "no signatures"),
        (format!("text\n{line}"), "no blank line"),
        (format!("text\n\n{}", line.trim_end()), "no line feed"),
        (format!("text\n\n- a AAAAAAA=\n{line}"), "a hyphen"),
        (format!("text\n\n\u{2014} a b AAAAAAA=\n{line}"), "a blank in the name"),
        (format!("text\n\n\u{2014} a+b AAAAAAA=\n{line}"), "a plus in the name"),
        ("text\n\n\u{2014} a AAAAAA==\n".to_owned(), "nothing but an id"),
        ("text\n\n\u{2014} a AAAAAAA\n".to_owned(), "no padding"),
        (format!("te\txt\n\n{line}"), "a control character"),
        (format!("text\r\n\n{line}"), "a carriage return"),
        (format!("text\n\n{}", line.repeat(101)), "too many"),
        ("x".repeat(200_000), "too large"),
    ] {
        assert!(Note::parse(text.as_bytes()).is_err(), "{what}");
    }
    assert!(Note::parse(b"\xff\n\n\xe2\x80\x94 a AAAAAAA=\n").is_err());

    let good = "example.com/foo+530d903a+AekyeRrm56hApGFkyQR4ZCbV54Id2LKaANYcrnKv3U2k";
    assert!(good.parse::<VerifierKey>().is_ok());
    for (from, to) in [
        ("foo", "bar"),
        ("530d903a", "530D903A"),
        ("530d903a", "530d903b"),
        ("AekyeRrm", "BekyeRrm"),
        ("U2k", "U2k="),
        ("AekyeRrm56hA", "Aeky"),
        ("/", " "),
        ("+", "-"),
    ] {
        assert!(good.replacen(from, to, 1).parse::<VerifierKey>().is_err(), "{to}");
    }
    assert_eq!(Name::new("x".repeat(1025)), Err(KeyError::Name));
}

#[test]
fn what_is_no_checkpoint_is_refused() {
    let good = "a\n5\ngy5gl3aksFyiCO95a/1vLXz88A3dRq+0l9Sxte8ZqZQ=\n";
    assert!(good.parse::<Checkpoint>().is_ok());
    for (from, to) in [
        ("a\n", "\n"),
        ("\n5", "\n05"),
        ("\n5", "\n-5"),
        ("\n5", "\n9223372036854775808"),
        ("gy5", "y5"),
        ("ZqZQ=", "ZqZR="),
        ("ZqZQ=\n", "ZqZQ="),
        ("ZqZQ=\n", "ZqZQ=\n\n"),
    ] {
        assert!(good.replacen(from, to, 1).parse::<Checkpoint>().is_err(), "{to:?}");
    }
    let extended = format!("{good}more\n");
    assert_eq!(extended.parse::<Checkpoint>().unwrap().to_string(), extended);
}

/// The example of the proof's specification has its signatures cut, so this is one of the log above, by hand.
#[test]
fn a_proof_file_is_read_as_the_specification_says() {
    let checkpoints: Vec<&str> = include_str!("data/checkpoints.txt").split("===\n").collect();
    let leaf = |text: &str| STANDARD.encode(leaf_hash(text.as_bytes()).as_bytes());
    let text = format!("c2sp.org/tlog-proof@v1\nextra dHdv\nindex 1\n{}\n\n{}", leaf("one"), checkpoints[2]);
    let proof = Inclusion::parse(text.as_bytes()).unwrap();
    assert_eq!(proof.to_string(), text);
    let key: VerifierKey =
        "example.com/log/testdata+33d7b496+AeHTu4Q3hEIMHNqc6fASMsq3rKNx280NI+oO5xCFkkSx".parse().unwrap();
    let keys = [key];
    let (record, checkpoint) = proof.verify(None, &keys).unwrap();
    assert_eq!((record, checkpoint.head.size), (&b"two"[..], 2));
    assert!(proof.verify(Some(b"one"), &keys).is_err());
    assert!(proof.verify(None, &[]).is_err());
    for (from, to) in [
        ("index 1", "index 0"),
        ("index 1", "index 01"),
        ("index 1", "index 2"),
        ("@v1", "@v2"),
        ("extra dHdv", "extra dHdw"),
        ("extra dHdv", "extra"),
        ("testdata\n2", "testdata\n3"),
    ] {
        let changed = text.replacen(from, to, 1);
        let verified = Inclusion::parse(changed.as_bytes()).and_then(|it| it.verify(None, &keys).map(|_| ()));
        assert!(verified.is_err(), "{to}");
    }
    // Without the record in it, it has to be given.
    let short = Inclusion::parse(text.replacen("extra dHdv\n", "", 1).as_bytes()).unwrap();
    assert!(short.verify(None, &keys).is_err() && short.verify(Some(b"two"), &keys).is_ok());
}
