//! `sidetrail keys`: makes key pairs, shows what keys a bucket publishes, announces and revokes keys.

mod digest;

use std::fmt::Write as _;
use std::fs;
use std::io::{self, Read};
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, anyhow, bail};
use sidetrail_archive::digest::PublishedDigestKey;
use sidetrail_archive::dsse::MAX_ENVELOPE;
use sidetrail_archive::key::{DigestKeyObjectKey, KeyObjectKey};
use sidetrail_archive::manifest::PublishedKey;
use sidetrail_archive::sign::{
    DigestSigner, Ed25519Signer, KeyBundle, KeyError, KeyReference, PublicKey, RsaPublicKey, RsaSigner,
    Signer,
};
use sidetrail_archive::source::Bucket;

pub(crate) use self::digest::{revoke, rotate};
use crate::arguments::{Generate, Show};
use crate::exit::Exit;
use crate::location::{Location, local_path};
use crate::output::{PUBLIC_MODE, create};
use crate::print::{self, complain, named};
use crate::verify::read_pem;

/// Only the owner may read a private key.
const PRIVATE_MODE: u32 = 0o600;

pub(crate) fn generate(arguments: &Generate) -> Result<Exit> {
    let default = if arguments.digest { "digest-key.pem" } else { "signing-key.pem" };
    let private = &arguments.out.clone().unwrap_or_else(|| default.into());
    if arguments.digest {
        return digest::generate(arguments, private);
    }
    let public = arguments.public.clone().unwrap_or_else(|| beside(private));
    let signer = Ed25519Signer::generate().context("could not make a key")?;
    let text = signer.to_pem();
    create(private, PRIVATE_MODE, text.as_bytes())?;
    if let Err(error) = create(&public, PUBLIC_MODE, signer.public_key().to_pem().as_bytes()) {
        // It was made a moment ago and nobody has it: better none than half a pair.
        let _ = fs::remove_file(private);
        return Err(error);
    }
    print::out(format_args!(
        "key     {}\nprivate {}\npublic  {}\n",
        signer.key_id(),
        private.display(),
        public.display()
    ))?;
    Ok(Exit::Done)
}

/// `key.pem` becomes `key.pub.pem`.
fn beside(private: &Path) -> PathBuf {
    private.with_extension("pub.pem")
}

pub(crate) fn show(arguments: &Show) -> Result<Exit> {
    let shown = match local_path(&arguments.location).map(Path::new) {
        _ if KeyReference::from(&*arguments.location).file().is_none() => {
            let key = KeyReference::from(&*arguments.location);
            let mut shown = Shown::new();
            let signer = digest::open_signer(&key, None)?;
            shown.take_digest(signer.public_key().clone(), &format!("{key} (private key of digests)"));
            shown
        }
        Some(path) if !path.is_dir() => from_file(path)?,
        _ => from_bucket(&arguments.location)?,
    };
    let text = if arguments.pem { shown.pem() } else { shown.lines };
    print::out(format_args!("{text}"))?;
    Ok(shown.exit)
}

/// Keys that are what they should be, and what is to be said of all.
#[derive(Debug)]
struct Shown {
    keys: KeyBundle,
    lines: String,
    exit: Exit,
}

impl Shown {
    fn new() -> Self {
        Self { keys: KeyBundle::default(), lines: String::new(), exit: Exit::Done }
    }

    /// Every key once.
    fn pem(&self) -> String {
        let KeyBundle { manifest_keys, digest_keys } = &self.keys;
        manifest_keys
            .iter()
            .map(PublicKey::to_pem)
            .chain(digest_keys.iter().map(RsaPublicKey::to_pem))
            .collect()
    }

    fn take(&mut self, key: PublicKey, remark: &str) {
        // Writing to a string does not fail.
        let _ = writeln!(self.lines, "{} {remark}", key.id());
        if !self.keys.manifest_keys.contains(&key) {
            self.keys.manifest_keys.push(key);
        }
    }

    fn take_digest(&mut self, key: RsaPublicKey, remark: &str) {
        let _ = writeln!(self.lines, "{} {remark}", key.fingerprint());
        if !self.keys.digest_keys.contains(&key) {
            self.keys.digest_keys.push(key);
        }
    }

    fn refuse(&mut self, object: &dyn std::fmt::Display, (exit, what): (Exit, String)) {
        self.exit = self.exit.and(exit);
        complain(format_args!("{object}: {what}"));
    }
}

fn from_file(path: &Path) -> Result<Shown> {
    let name = path.display();
    let text = read_pem(path).with_context(|| format!("could not read {name}"))?;
    let mut shown = Shown::new();
    match KeyBundle::from_pem(&text) {
        Ok(KeyBundle { manifest_keys, digest_keys }) => {
            manifest_keys.into_iter().for_each(|key| shown.take(key, &format!("{name} (public key)")));
            let digests = digest_keys.into_iter();
            digests.for_each(|key| shown.take_digest(key, &format!("{name} (public key of digests)")));
        }
        Err(KeyError::Unexpected(_) | KeyError::Absent(_)) => match RsaSigner::from_pem(&text) {
            Ok(signer) => {
                shown.take_digest(signer.public_key().clone(), &format!("{name} (private key of digests)"));
            }
            Err(_) => {
                let signer = Ed25519Signer::from_pem(&text)
                    .with_context(|| format!("{name} holds neither public keys nor one private key"))?;
                shown.take(signer.public_key().clone(), &format!("{name} (private key)"));
            }
        },
        Err(error) => return Err(error).with_context(|| format!("could not take the keys in {name}")),
    }
    Ok(shown)
}

fn from_bucket(text: &str) -> Result<Shown> {
    let location = Location::open(text)?;
    let bucket = location.bucket();
    let prefix = location.prefix().map_or_else(String::new, |prefix| format!("{prefix}/"));
    let (mut objects, mut digests) = (Vec::<KeyObjectKey>::new(), Vec::<DigestKeyObjectKey>::new());
    bucket
        .list(&prefix, &mut |entry| {
            objects.extend(entry.key.parse().ok());
            digests.extend(entry.key.parse().ok());
            ControlFlow::Continue(())
        })
        .map_err(|error| anyhow!(named(location.name(), &error)))?;
    if objects.is_empty() && digests.is_empty() {
        bail!("no key is published in {}", location.name());
    }
    let mut shown = Shown::new();
    for object in objects {
        match published(&*bucket, &object) {
            Ok(key) => shown.take(key, &format!("{object} self-signed")),
            Err(refused) => shown.refuse(&object, refused),
        }
    }
    for object in digests {
        match published_for_digests(&*bucket, &object) {
            Ok(key) => shown.take_digest(key, &format!("{object} self-signed, for digests")),
            Err(refused) => shown.refuse(&object, refused),
        }
    }
    Ok(shown)
}

fn published(bucket: &dyn Bucket, object: &KeyObjectKey) -> Result<PublicKey, (Exit, String)> {
    let bytes = read(bucket, &object.to_string()).map_err(|error| (Exit::CouldNot, print::chain(&error)))?;
    let published = PublishedKey::open(&bytes).map_err(|error| (Exit::Wrong, print::chain(&error)))?;
    if published.object == *object {
        Ok(published.public_key)
    } else {
        Err((Exit::Wrong, format!("it belongs at {}", published.object)))
    }
}

fn published_for_digests(
    bucket: &dyn Bucket,
    object: &DigestKeyObjectKey,
) -> Result<RsaPublicKey, (Exit, String)> {
    let bytes = read(bucket, &object.to_string()).map_err(|error| (Exit::CouldNot, print::chain(&error)))?;
    let (published, _) =
        PublishedDigestKey::open(&bytes).map_err(|error| (Exit::Wrong, print::chain(&error)))?;
    if published.object == *object {
        Ok(published.public_key)
    } else {
        Err((Exit::Wrong, format!("it belongs at {}", published.object)))
    }
}

/// One byte more than a key may have, so that it is refused.
fn read(bucket: &dyn Bucket, key: &str) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    bucket.open(key)?.take(MAX_ENVELOPE as u64 + 1).read_to_end(&mut bytes)?;
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_public_key_lies_beside_the_private_one() {
        assert_eq!(beside(Path::new("a/key.pem")), Path::new("a/key.pub.pem"));
        assert_eq!(beside(Path::new("key")), Path::new("key.pub.pem"));
    }
}
