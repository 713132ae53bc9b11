//! `sidetrail keys`: pairs that belong together, bundles that `verify` takes.

use std::fs;
use std::os::unix::fs::PermissionsExt;

use sidetrail_archive::sign::{Ed25519Signer, PublicKey, Signer};

use crate::run::sidetrail;
use crate::write::archive;

#[test]
fn a_pair_is_made_once_and_belongs_together() {
    let directory = tempfile::tempdir().unwrap();
    let private = directory.path().join("key.pem");
    let public = directory.path().join("key.pub.pem");
    let arguments = ["keys", "generate", "--out", private.to_str().unwrap()];
    let text = sidetrail(arguments).with(0).stdout;

    let signer = Ed25519Signer::from_pem(&fs::read_to_string(&private).unwrap()).unwrap();
    let keys = PublicKey::from_pem_bundle(&fs::read_to_string(&public).unwrap()).unwrap();
    assert_eq!(keys, [signer.public_key().clone()]);
    let expected =
        format!("key     {}\nprivate {}\npublic  {}\n", signer.key_id(), private.display(), public.display());
    assert_eq!(text, expected);
    assert_eq!(fs::metadata(&private).unwrap().permissions().mode() & 0o777, 0o600);

    let before = fs::read(&private).unwrap();
    let error = sidetrail(arguments).with(2).stderr;
    assert!(error.contains(private.to_str().unwrap()), "{error}");
    assert_eq!(fs::read(&private).unwrap(), before);

    // A public key in the way leaves no private one behind.
    let other = directory.path().join("other.pem");
    let other_arguments =
        ["keys", "generate", "--out", other.to_str().unwrap(), "--public", public.to_str().unwrap()];
    sidetrail(other_arguments).with(2);
    assert!(!other.exists());

    let shown = sidetrail(["keys", "show", private.to_str().unwrap(), "--pem"]).with(0).stdout;
    assert_eq!(shown, signer.public_key().to_pem());
    let shown = sidetrail(["keys", "show", public.to_str().unwrap()]).with(0).stdout;
    assert_eq!(shown, format!("{} {} (public key)\n", signer.key_id(), public.display()));
}

#[test]
fn published_keys_are_shown_and_make_a_bundle_that_verify_takes() {
    let archive = archive();
    let root = archive.root().to_str().unwrap();
    let text = sidetrail(["keys", "show", root]).with(0).stdout;
    assert_eq!(text, format!("{} {} self-signed\n", archive.signer.key_id(), archive.key));

    let bundle = archive.path("bundle.pem");
    fs::write(&bundle, sidetrail(["keys", "show", root, "--pem"]).with(0).stdout).unwrap();
    sidetrail(["verify", root, "--keys", bundle.to_str().unwrap()]).with(0);
}

#[test]
fn what_is_no_key_is_named() {
    let archive = archive();
    let root = archive.root().to_str().unwrap();
    let moved = archive.key.replace("111122223333", "444455556666");
    archive.put(&moved, &fs::read(archive.path(&archive.key)).unwrap());
    let ended = sidetrail(["keys", "show", root]).with(1);
    assert!(ended.stderr.contains(&format!("{moved}: it belongs at {}", archive.key)), "{ended:?}");
    assert_eq!(ended.stdout.lines().count(), 1);

    archive.flip(&archive.key);
    let ended = sidetrail(["keys", "show", root]).with(1);
    assert!(ended.stderr.contains(&format!("sidetrail: {}: ", archive.key)), "{ended:?}");

    let empty = tempfile::tempdir().unwrap();
    let error = sidetrail(["keys", "show", empty.path().to_str().unwrap()]).with(2).stderr;
    assert!(error.contains("no key is published in "), "{error}");
    sidetrail(["keys", "show", "/no/such/file"]).with(2);
    let error = sidetrail(["keys", "show", "/dev/null"]).with(2).stderr;
    assert!(error.contains("/dev/null holds neither"), "{error}");
}
