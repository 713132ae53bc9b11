//! Digests signed by keys that are elsewhere: on a token of SoftHSM, and in a KMS that checks who asks.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use sidetrail_archive::sign::{Fingerprint, KeyBundle};
use sidetrail_tests::collector::{ACCOUNT, Settings};
use sidetrail_tests::kms::Kms;
use sidetrail_tests::proxy::{Aim, Fate};
use sidetrail_tests::softhsm::SoftHsm;
use sidetrail_tests::tools::Ran;
use sidetrail_tests::{Collector, Proxy, START, archive, tools, wait_for};

/// A period of a minute, and what a loaded machine needs.
const DIGEST: Duration = Duration::from_secs(180);

/// The series that counts signatures that were not to be had.
const UNSIGNED: &str = "sidetrail_digest_failures_total{trail=\"default\",kind=\"signer\"}";

#[test]
fn a_token_announces_and_revokes_keys() -> Result<()> {
    let directory = tempfile::tempdir()?;
    let at = |name: &str| directory.path().join(name);
    fs::create_dir(at("bucket"))?;
    let (hsm, file) = token(directory.path(), "")?;
    let bucket = at("bucket").display().to_string();
    let keys = |arguments: &[&str]| keys(&hsm, arguments);

    let fingerprint = public(&hsm, &file)?;
    let uri = hsm.uri("sidetrail", "digests");
    ensure!(public(&hsm, &uri)? == fingerprint);
    let rotate = ["rotate", &bucket, "--account", ACCOUNT, "--new", &uri, "--without-old-key"];
    ensure!(keys(&rotate)?.success()?.starts_with(&fingerprint.to_string()));
    let other = "0".repeat(64);
    keys(&["revoke", &bucket, &other, "--account", ACCOUNT, "--key", &uri])?.success()?;
    // What was announced is believed by its signature.
    ensure!(public(&hsm, &bucket)? == fingerprint);

    let wrong = uri.replace("pin-source=file:", "pin-source=") + ".wrong";
    fs::write(hsm.pin().with_extension("wrong"), "0000")?;
    for (key, expected) in [
        (hsm.uri("another", "digests"), "there is no such token"),
        (hsm.uri("sidetrail", "another"), "the token has no such RSA key that signs"),
        (uri.replace("pin-source", "pin-sauce"), "\"pin-sauce\" is not known"),
        (uri.split("&pin").next().unwrap_or_default().to_owned(), "the token wants a PIN"),
        (wrong, "the token refused the PIN"),
        (uri.replace("libsofthsm2", "libnothing"), "libnothing.so"),
    ] {
        let ran = keys(&["show", &key])?;
        ensure!(ran.status.code() == Some(2) && ran.stderr.contains(expected), "{key}: {ran:?}");
    }
    Ok(())
}

/// A token that only makes raw signatures is told what to put in.
#[test]
fn a_token_that_cannot_hash_signs() -> Result<()> {
    let directory = tempfile::tempdir()?;
    fs::create_dir(directory.path().join("bucket"))?;
    let (hsm, _) = token(directory.path(), "slots.mechanisms = -CKM_SHA256_RSA_PKCS\n")?;
    let bucket = directory.path().join("bucket").display().to_string();
    let uri = hsm.uri("sidetrail", "digests");
    keys(&hsm, &["rotate", &bucket, "--account", ACCOUNT, "--new", &uri, "--without-old-key"])?.success()?;
    ensure!(public(&hsm, &bucket)? == public(&hsm, &uri)?);
    Ok(())
}

/// The collector takes events without its key, and digests come when the module does.
#[test]
fn a_token_may_come_later() -> Result<()> {
    let directory = tempfile::tempdir()?;
    let (hsm, _) = token(directory.path(), "")?;
    let (there, later) = {
        let uri = hsm.uri("sidetrail", "digests");
        let module = uri.split("module-path=").nth(1).and_then(|rest| rest.split('&').next());
        let later = directory.path().join("later.so");
        let module = module.context("a module")?.to_owned();
        (module.clone(), (later.clone(), uri.replace(&module, &later.display().to_string())))
    };
    let mut collector = collector(directory.path(), &later.1)?;
    let (name, value) = hsm.variable();
    collector.set_variable(name, &value.display().to_string());
    collector.start()?;
    wait_for("a failure", START, || Ok((collector.metric(UNSIGNED)? > 0.0).then_some(())))?;
    let ready = collector.probe("/readyz")?;
    ensure!(ready.status == 200, "{ready:?}");
    let said = collector.log()?;
    ensure!(said.contains("cannot write digests now") && said.contains("later.so"), "{said}");
    symlink(there, later.0)?;
    let fingerprint = public(&hsm, &hsm.uri("sidetrail", "digests"))?;
    signed(&collector, 1, fingerprint)?;
    ensure!(!collector.log()?.contains("pin-source"), "the log shows more of the key than its name");
    collector.stop()
}

/// A KMS that is away, then throttles: digests come later, and none is missing.
#[test]
fn a_kms_may_be_away_and_no_digest_is_lost() -> Result<()> {
    let directory = tempfile::tempdir()?;
    let kms = Kms::start(directory.path())?;
    let proxy = Proxy::start(kms.address())?;
    let mut collector = collector(directory.path(), "awskms:///alias/digests")?;
    let variables = kms.variables(Some(proxy.endpoint()));
    for (name, value) in &variables {
        collector.set_variable(name, value);
    }
    proxy.strike(Fate::Cut, Aim::default(), 1);
    collector.start()?;
    wait_for("a failure", START, || Ok((collector.metric(UNSIGNED)? > 0.0).then_some(())))?;
    proxy.clear();
    let said = cli(&["keys", "show", "--pem", "awskms:///alias/digests"], &variables)?.success()?;
    let key = KeyBundle::from_pem(&said)?.digest_keys.pop().context("a key")?;
    signed(&collector, 1, key.fingerprint())?;

    proxy.strike(Fate::Status(429), Aim::default(), 1);
    let before = collector.metric(UNSIGNED)?;
    wait_for("a failure", DIGEST, || Ok((collector.metric(UNSIGNED)? > before).then_some(())))?;
    proxy.clear();
    signed(&collector, 3, key.fingerprint())?;
    collector.stop()?;

    // Neither a wrong secret nor an endpoint that is nothing ends in a key.
    let mut wrong = variables.clone();
    wrong[2].1 = "not-the-secret".to_owned();
    let ran = cli(&["keys", "show", kms_uri(&kms).as_str()], &wrong)?;
    ensure!(ran.status.code() == Some(2) && ran.stderr.contains("SignatureDoesNotMatch"), "{ran:?}");
    let ran = cli(&["keys", "show", "awskms:///alias/another"], &variables)?;
    ensure!(ran.status.code() == Some(2) && ran.stderr.contains("NotFoundException"), "{ran:?}");
    Ok(())
}

fn kms_uri(kms: &Kms) -> String {
    format!("awskms:///{}", kms.arn())
}

/// A token with a key, and the file that the key came from.
fn token(directory: &Path, more: &str) -> Result<(SoftHsm, String)> {
    let hsm = SoftHsm::new(directory, more)?;
    let key = directory.join("digest-key.pem");
    let file = key.display().to_string();
    keys(&hsm, &["generate", "--digest", "-o", &file])?.success()?;
    hsm.token("sidetrail")?;
    hsm.import("sidetrail", &key, "digests", "a1")?;
    Ok((hsm, file))
}

fn collector(directory: &Path, key: &str) -> Result<Collector> {
    let mut collector = Collector::new(directory, Settings::default())?;
    collector.set_more(format!("digest: {{ key: '{key}', cadence: 1m, settle: 0s }}\n"));
    Ok(collector)
}

fn keys(hsm: &SoftHsm, arguments: &[&str]) -> Result<Ran> {
    let (name, value) = hsm.variable();
    let words: Vec<_> = ["keys"].iter().chain(arguments).copied().collect();
    cli(&words, &[(name, value.display().to_string())])
}

fn cli(arguments: &[&str], variables: &[(&str, String)]) -> Result<Ran> {
    let mut command = Command::new(tools::binary("sidetrail")?);
    command.args(arguments).envs(variables.iter().map(|(name, value)| (name, value)));
    tools::run(command)
}

/// The key that is in a file, a bucket, or elsewhere.
fn public(hsm: &SoftHsm, place: &str) -> Result<Fingerprint> {
    let said = keys(hsm, &["show", place])?.success()?;
    said.split(' ').next().context("a fingerprint")?.parse().with_context(|| said.clone())
}

/// Waits for so many digests, and looks at all that there are.
fn signed(collector: &Collector, wanted: usize, fingerprint: Fingerprint) -> Result<()> {
    let digests = wait_for("digests", DIGEST, || {
        let found = archive::digests(collector)?;
        Ok((found.len() >= wanted).then_some(found))
    })?;
    ensure!(digests.iter().all(|digest| digest.fingerprint == fingerprint), "{digests:?}");
    let ends: Vec<_> = digests.iter().map(|digest| digest.end).collect();
    ensure!(
        ends.windows(2).all(|ends| ends[1].duration_since(ends[0]) == jiff::SignedDuration::from_mins(1))
    );
    let report = archive::verify(collector)?;
    ensure!(report.wrong == 0 && report.unchecked == 0, "{:?}", report.findings);
    Ok(())
}
