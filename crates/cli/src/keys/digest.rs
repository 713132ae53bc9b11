//! Keys of digests: made, announced, and taken back.

use std::io::Read as _;
use std::ops::ControlFlow;
use std::path::Path;
use std::sync::Arc;

use anyhow::{Context, Result, bail, ensure};
use jiff::{SignedDuration, Timestamp};
use sidetrail_archive::digest::{Opened, PublishedDigestKey, Revocation};
use sidetrail_archive::key::{Account, DigestKey, Home, RevocationKey};
use sidetrail_archive::sign::{DigestSigner, KeyReference, RsaSigner, generate_rsa_pem};
use sidetrail_archive::source::Bucket;
use sidetrail_archive::store::{MAX_STORED_DIGEST, Put};

use super::{PRIVATE_MODE, PUBLIC_MODE, beside, create};
use crate::arguments::{Generate, Revoke, Rotate};
use crate::exit::Exit;
use crate::location::Location;
use crate::print;

/// The most bytes of a passphrase file.
const MAX_PASSPHRASE: u64 = 4096;

/// Makes an RSA key pair.
pub(super) fn generate(arguments: &Generate, private: &Path) -> Result<Exit> {
    let passphrase = arguments.passphrase_file.as_deref().map(passphrase).transpose()?;
    let text = generate_rsa_pem(arguments.bits, passphrase.as_deref().map(str::as_bytes))
        .context("could not make a key of that size: 2048, 3072 and 4096 bits are possible")?;
    let signer = RsaSigner::from_pem_with(&text, passphrase.as_deref().map(str::as_bytes))?;
    let public = arguments.public.clone().unwrap_or_else(|| beside(private));
    create(private, PRIVATE_MODE, text.as_bytes())?;
    if let Err(error) = create(&public, PUBLIC_MODE, signer.public_key().to_pem().as_bytes()) {
        // It was made a moment ago and nobody has it: better none than half a pair.
        let _ = std::fs::remove_file(private);
        return Err(error);
    }
    print::out(format_args!(
        "fingerprint {}\nprivate     {}\npublic      {}\n",
        signer.public_key().fingerprint(),
        private.display(),
        public.display()
    ))?;
    Ok(Exit::Done)
}

/// Announces a new key by the old one, or by itself.
pub(crate) fn rotate(arguments: &Rotate) -> Result<Exit> {
    let passphrase = arguments.passphrase_file.as_deref().map(passphrase).transpose()?;
    let new = open_signer(&arguments.new, passphrase.as_deref())?;
    let old = arguments.old.as_ref().map(|old| open_signer(old, passphrase.as_deref())).transpose()?;
    ensure!(old.is_some() || arguments.without_old_key, "--old is needed, or --without-old-key");
    let location = Location::open(&arguments.location)?;
    let home = Home::new(location.prefix().cloned(), Account::new(arguments.account.clone())?);
    let start = match arguments.valid_from {
        Some(start) => start,
        None => newest_end(&*location.bucket(), &home)?.unwrap_or_else(Timestamp::now),
    };
    let start = Timestamp::from_second(start.as_second())?;
    let end = start.saturating_add(SignedDuration::from_hours(24 * i64::from(arguments.valid_days)))?;
    let predecessor = old.as_deref();
    let (object, bytes) = PublishedDigestKey::seal(home, &*new, (start, end), predecessor)?;
    match location.run(location.store().put_create(&object.to_string(), bytes.into()))? {
        Put::Created => {}
        Put::AlreadyExists => bail!("the key is published already, at {object}"),
    }
    let by = old
        .map_or_else(|| "by itself only".to_owned(), |old| format!("by {}", old.public_key().fingerprint()));
    print::out(format_args!(
        "{} announced {by}\nvalid for digests that end after {start} and until {end}\n{object}\n",
        object.fingerprint
    ))?;
    Ok(Exit::Done)
}

/// Takes a key back.
pub(crate) fn revoke(arguments: &Revoke) -> Result<Exit> {
    let passphrase = arguments.passphrase_file.as_deref().map(passphrase).transpose()?;
    let signer = open_signer(&arguments.key, passphrase.as_deref())?;
    let location = Location::open(&arguments.location)?;
    let home = Home::new(location.prefix().cloned(), Account::new(arguments.account.clone())?);
    let key =
        arguments.revoked.parse().context("KEY is a key id (64 hexadecimal digits) or a fingerprint (32)")?;
    let at = arguments.at.unwrap_or_else(Timestamp::now);
    let revocation = Revocation {
        object: RevocationKey { home, key },
        revoked_at: Timestamp::from_second(at.as_second())?,
        reason: arguments.reason.clone(),
    };
    let object = revocation.object.to_string();
    match location.run(location.store().put_create(&object, revocation.seal(&*signer)?.into()))? {
        Put::Created => {}
        Put::AlreadyExists => bail!("the key is revoked already, by {object}"),
    }
    print::out(format_args!("{key} revoked from {} on\n{object}\n", revocation.revoked_at))?;
    Ok(Exit::Done)
}

/// The end of the newest digest below `home`, of any trail.
fn newest_end(bucket: &dyn Bucket, home: &Home) -> Result<Option<Timestamp>> {
    let mut newest: Option<DigestKey> = None;
    bucket.list(&format!("{home}CloudTrail-Digest/"), &mut |entry| {
        if let Ok(key) = entry.key.parse::<DigestKey>()
            && newest.as_ref().is_none_or(|newest| newest.end < key.end)
        {
            newest = Some(key);
        }
        ControlFlow::Continue(())
    })?;
    let Some(key) = newest else { return Ok(None) };
    // A name says little: what is no digest must not decide from when on a key is valid.
    let mut bytes = Vec::new();
    bucket.open(&key.to_string())?.take(MAX_STORED_DIGEST as u64).read_to_end(&mut bytes)?;
    Opened::read(&bytes)
        .with_context(|| format!("{key} is no digest: say with --valid-from from when on"))?;
    Ok(Some(key.end.start()))
}

/// A private key, wherever it is.
pub(super) fn open_signer(key: &KeyReference, passphrase: Option<&str>) -> Result<Arc<dyn DigestSigner>> {
    Ok(key.open(passphrase, &|name| std::env::var(name).ok())?)
}

/// The first line of a file.
fn passphrase(path: &Path) -> Result<String> {
    let name = path.display();
    let size = std::fs::metadata(path).with_context(|| format!("could not read {name}"))?.len();
    ensure!(size <= MAX_PASSPHRASE, "{name} is larger than {MAX_PASSPHRASE} bytes");
    let text = std::fs::read_to_string(path).with_context(|| format!("could not read {name}"))?;
    Ok(text.lines().next().unwrap_or_default().to_owned())
}
