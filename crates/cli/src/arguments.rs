//! The command line.

use std::num::NonZeroUsize;
use std::path::PathBuf;
use std::time::Duration;

use clap::error::ErrorKind;
use clap::{Args, CommandFactory, Parser, Subcommand};
use jiff::Timestamp;

use sidetrail_archive::sign::KeyReference;
use sidetrail_archive::verify::LockWanted;
use sidetrail_wire::connect::{Address, ClientTls, DEFAULT_COLLECTOR};

use crate::lookup::{Lookup, Tail};
use crate::{checkpoint, pages, prove, report, server, time, witness};

/// The most objects that are read at the same time.
const MAX_JOBS: usize = 256;
/// The most days of `--object-lock`; S3's own limit.
const MAX_LOCK_DAYS: u32 = 36_500;
/// The most bytes of `--service` and `--instance`; the protocol's limit.
const MAX_NAME: usize = 256;

/// CloudTrail for your own services: verify and read an archive, send records to a collector, make and show keys.
///
/// Buckets are named by a path, file:///path or s3://bucket/prefix. For S3 the standard variables apply:
/// AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY, AWS_SESSION_TOKEN, AWS_REGION, AWS_ENDPOINT_URL, …
#[derive(Debug, Parser)]
#[command(
    name = "sidetrail",
    version,
    after_help = "\
Exit codes:
  0   done, and nothing is wrong
  1   done, and something is wrong: a finding, a damaged file, a refused record
  2   could not be done, or not wholly: no such directory, wrong credentials, no collector
  3   verify only: genuine, and the manifests themselves say what is lost
  64  the command line makes no sense

Examples:
  sidetrail verify s3://audit/prod --keys keys.pem
  sidetrail cat ./bucket --from -2h | jq .eventName
  sidetrail send events.ndjson"
)]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Check that everything signed is there and unchanged, and nothing was left out.
    #[command(after_help = "\
Prints one line for each finding (KIND object what), then what was checked, which keys were believed, which events of
each source are accounted for, and at last VALID, INVALID, COULD NOT CHECK or VALID WITH LOSSES.

What no archive can show: that its newest log files were removed together with their manifests, where no digest has come
to them yet, or digests are off. Compare with what the collector reports, or verify with --cursor from time to time: it
remembers how far each chain had come.

Of two copies with the same keys, the one in a directory is verified without any network.

Exit codes: 0 valid; 1 tampered with or incomplete; 2 could not check, or nothing to check; 3 genuine, but the manifests
themselves say that something is lost or never came; 64 usage.

Examples:
  sidetrail verify ./bucket
  sidetrail verify s3://audit/prod --keys keys.pem --from -7d --to -1m
  sidetrail verify s3://audit/prod --keys keys.pem --cursor audit.cursor --junit report.xml
  sidetrail verify s3://audit/prod --keys keys.pem --json | jq .outcome
  aws cloudtrail list-public-keys --start-time 2026-01-01 > keys.json && sidetrail verify s3://my-trail --keys keys.json")]
    Verify(Verify),
    /// Print the records of log files, one JSON object a line.
    #[command(after_help = "\
Each record is printed byte for byte as it stands in its file; only if it spans lines, the white space between its tokens
goes. Of a directory or bucket every CloudTrail log file is read, in the order of the keys; digests, manifests and keys
are passed over. Files may be gzip or plain, and from AWS.

With --from or --to only records whose eventTime lies in the range are printed. Files delivered well before --from are not
even read.

Exit codes: 0 all read; 1 a file is damaged, which is named while the rest is printed; 2 a file could not be read, or
there is none; 64 usage.

Examples:
  sidetrail cat ./bucket | jq -r .eventName | sort | uniq -c
  sidetrail cat s3://audit/prod --from 2026-01-15T09:00:00+01:00 --to 2026-01-15
  sidetrail cat 111122223333_CloudTrail_us-east-1_20260115T1100Z_a1B2c3D4e5F6g7H8.json.gz")]
    Cat(Cat),
    /// Send records to a collector: log files, or one JSON record a line.
    #[command(after_help = "\
FILE is a CloudTrail log file ({\"Records\":[…]}) or NDJSON, each plain or gzip; - is standard input. Its content tells
which, not its name. Records are recorded as they are: an eventID is kept, none is added. A record over CloudTrail's
256 KiB, or what is no JSON object, is reported and passed over.

Every record is sent until the collector has it on disk, over as many connections as it takes, and recorded once. Running
the command again records everything again.

Exit codes: 0 everything is on disk; 1 something was refused or damaged, the rest is on disk; 2 gave up on the collector,
or a file could not be opened; 64 usage.

Examples:
  sidetrail send events.ndjson
  sidetrail send old-archive/*.json.gz --service aws.amazonaws.com
  my-cron-job | sidetrail send - --collector http://127.0.0.1:4319")]
    Send(Box<Send>),
    /// Look up events in the server's history, newest first.
    #[command(after_help = "\
Everything that is given must hold. One event a line: time, state, name, source, who, from where, what, error. Elsewhere
than on a terminal, or with --json, each line is a JSON object with the record byte for byte. The state is live (a
collector told of it), sealed (in a log file that is what its signed manifest says) or verified (covered by a digest that
was checked).

The server is asked with AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY and AWS_SESSION_TOKEN of the environment.

Exit codes: 0 done; 2 could not, or the server is still reading and some may be missing; 64 usage.

Examples:
  sidetrail lookup --event-name 'Delete*' --from -2h
  sidetrail lookup --address 10.0.0.0/8 --failed -n 0 | jq .record.eventName
  sidetrail lookup --resource arn:aws:orders:eu-central-1:123456789012:order/17 --text 'left door'")]
    Lookup(Box<Lookup>),
    /// Print the newest events of the server's history, and with -f what arrives.
    #[command(after_help = "\
Oldest first. With -f an event is printed when it arrives, up to ten minutes after it happened.

Exit codes: 0 done; 2 could not; 64 usage.

Examples:
  sidetrail tail -f
  sidetrail tail -f --failed --event-source orders.example.com")]
    Tail(Box<Tail>),
    /// See, make and change the server's trails.
    #[command(subcommand)]
    Trails(server::Trails),
    /// List the collectors that keep in touch with the server, and who went silent.
    #[command(after_help = "\
One collector a line: how it stands (connected, ended, or silent: gone without a goodbye), region, host, version, events in
the last minute, how full its spool is, and for each trail how far its oldest event is behind. Below it what is wrong, and
the sources that went without a goodbye. Elsewhere than on a terminal, or with --json, a line is a JSON object.

Exit codes: 0 done, and nothing is wrong; 1 a collector or a source is silent, or a trail fails; 2 could not; 64 usage.

Examples:
  sidetrail collectors --all-regions
  sidetrail collectors | jq -r 'select(.standing == \"silent\").host'")]
    Collectors(server::Collectors),
    /// Say as whom the server is asked.
    Whoami(server::Whoami),
    /// Make and show the keys that manifests are signed with.
    #[command(subcommand)]
    Keys(Keys),
    /// Write a file that proves that one record is in the log.
    #[command(after_help = "\
Looks for the record, and writes a proof (c2sp.org/tlog-proof) with its exact bytes in it: some 1.5 KiB and the record. Who
has it and the log's key needs nothing else to check it. A record is in the log from the next digest on.

Exit codes: 0 written; 1 the record is not what the log has; 2 there is no such record, or no digest has it yet; 64 usage.

Examples:
  sidetrail prove s3://audit/prod 01994b6e-8f3a-7c52-9d3e-2f6a1b7c8d90 --from -2d
  sidetrail prove ./bucket EVENT_ID --checkpoint witness.json -o -")]
    Prove(Box<prove::Prove>),
    /// Check such a file, without the log and without a network.
    #[command(after_help = "\
Exit codes: 0 the record is in the log; 1 that is not proved; 2 could not check; 64 usage.

Examples:
  sidetrail verify-proof EVENT_ID.tlog-proof --keys log-keys.txt
  sidetrail verify-proof EVENT_ID.tlog-proof --key VKEY --witness VKEY --json | jq .record")]
    VerifyProof(Box<prove::VerifyProof>),
    /// Show the checkpoints of logs, prove and check that one extends another.
    #[command(subcommand)]
    Checkpoint(checkpoint::Checkpoints),
    /// Remember the last checkpoint of each log, and cosign the next one if it extends that.
    #[command(after_help = "\
Run it where who can write to the bucket cannot write, as often as you like. A log that was rolled back to an earlier state,
that is gone, or that was rewritten is refused; what was seen stays. Give the file to `sidetrail verify --witness`, and the
cosigned checkpoint to `sidetrail prove --checkpoint`.

Exit codes: 0 cosigned; 1 refused; 2 could not check; 64 usage.

Examples:
  sidetrail checkpoint show s3://audit/prod --vkey > log-keys.txt
  sidetrail witness s3://audit/prod --keys log-keys.txt --state witness.json \\
    --signing-key witness.pem --name witness.example.com/w1")]
    Witness(Box<witness::Witness>),
    /// Make reports that prove what they say.
    #[command(subcommand)]
    Report(report::Reports),
    /// Print what has a shell complete this command line.
    #[command(after_help = "\
Exit codes: 0 done; 2 could not; 64 usage.

Examples:
  sidetrail completions bash > /etc/bash_completion.d/sidetrail
  sidetrail completions zsh > \"${fpath[1]}/_sidetrail\"
  sidetrail completions fish > ~/.config/fish/completions/sidetrail.fish")]
    Completions(pages::Completions),
    /// Print the manual page of a command, or write those of all.
    #[command(after_help = "\
Exit codes: 0 done; 2 could not, or there is no such command; 64 usage.

Examples:
  sidetrail man verify | man -l -
  sidetrail man --out /usr/local/share/man/man1")]
    Man(pages::Manual),
    /// Print the version.
    Version,
}

#[derive(Debug, Args)]
pub(crate) struct Verify {
    /// A directory, file:///path or s3://bucket/prefix.
    pub(crate) bucket: String,
    /// Believe only these public keys: PEM, any number, of manifests and of digests, or JSON as `aws cloudtrail
    /// list-public-keys` prints it. May be said again. Without it those published in the bucket are believed, which whoever
    /// can write there can change.
    #[arg(long, value_name = "FILE")]
    pub(crate) keys: Vec<PathBuf>,
    /// Check what was delivered from this time on: 2026-01-15T12:00:00+01:00, 2026-01-15, -2h.
    #[arg(long, value_name = "T", allow_hyphen_values = true, value_parser = time::from)]
    pub(crate) from: Option<Timestamp>,
    /// Check what was delivered up to this time; a date includes its day. No digest of a later period is missed, so for a
    /// copy, or a trail that has ended, say when that was.
    #[arg(long, value_name = "T", allow_hyphen_values = true, value_parser = time::to)]
    pub(crate) to: Option<Timestamp>,
    /// Remember in FILE what was verified: a run that was interrupted goes on there, log files whose listing has not changed
    /// are not read again, and a chain that has become shorter is found.
    #[arg(long, value_name = "FILE")]
    pub(crate) cursor: Option<PathBuf>,
    /// Every object must be kept from being deleted: governance:DAYS or compliance:DAYS from its own time on. S3 only.
    #[arg(long, value_name = "MODE:DAYS", value_parser = object_lock)]
    pub(crate) object_lock: Option<LockWanted>,
    /// Every log that `sidetrail witness` remembers in FILE (or whose checkpoint it is) must be there, and extend what was
    /// seen: a bucket that was rolled back to an earlier state is found out.
    #[arg(long, value_name = "FILE", conflicts_with = "to")]
    pub(crate) witness: Option<PathBuf>,
    /// Compare the records with the leaves of their log, too: each log file is read once more.
    #[arg(long)]
    pub(crate) records: bool,
    /// How long after its period, and another, a digest may come.
    #[arg(long, value_name = "TIME", default_value = "15m", value_parser = duration)]
    pub(crate) settle: Duration,
    /// The name of the bucket that this one is a copy of: digests say in which they lie.
    #[arg(long, value_name = "NAME")]
    pub(crate) copy_of: Option<String>,
    /// The most objects to read at the same time. By default one for each core, for S3 up to 128, as many as its latency
    /// takes.
    #[arg(long, value_name = "N", value_parser = jobs)]
    pub(crate) jobs: Option<NonZeroUsize>,
    /// Print the report as one JSON object.
    #[arg(long)]
    pub(crate) json: bool,
    /// Write the findings to FILE as JUnit has them, for what collects test results.
    #[arg(long, value_name = "FILE")]
    pub(crate) junit: Option<PathBuf>,
}

#[derive(Debug, Args)]
pub(crate) struct Cat {
    /// Log files, directories, s3://bucket/prefix or s3://bucket/key; - is standard input.
    #[arg(required = true, value_name = "WHAT")]
    pub(crate) locations: Vec<String>,
    /// Records from this time on: 2026-01-15T12:00:00+01:00, 2026-01-15, -2h.
    #[arg(long, value_name = "T", allow_hyphen_values = true, value_parser = time::from)]
    pub(crate) from: Option<Timestamp>,
    /// Records up to this time; a date includes its day.
    #[arg(long, value_name = "T", allow_hyphen_values = true, value_parser = time::to)]
    pub(crate) to: Option<Timestamp>,
}

#[derive(Debug, Args)]
pub(crate) struct Send {
    /// Log files or NDJSON, plain or gzip; - is standard input.
    #[arg(required = true, value_name = "FILE")]
    pub(crate) files: Vec<PathBuf>,
    /// Where the collector listens: unix:/path, http://host:port or https://host:port.
    #[arg(long, value_name = "ADDR", env = "SIDETRAIL_COLLECTOR", default_value = DEFAULT_COLLECTOR)]
    #[arg(value_parser = Address::parse)]
    pub(crate) collector: Address,
    #[command(flatten)]
    pub(crate) tls: Tls,
    /// What the records are from, as the manifests name it.
    #[arg(long, value_name = "NAME", default_value = "sidetrail-send", value_parser = name)]
    pub(crate) service: String,
    /// Which instance of it.
    #[arg(long, value_name = "NAME", env = "HOSTNAME", default_value = "unknown", value_parser = name)]
    pub(crate) instance: String,
    /// Give up after so long without progress: 30s, 5m.
    #[arg(long, value_name = "TIME", default_value = "30s", value_parser = duration)]
    pub(crate) timeout: Duration,
    /// Print the summary as one JSON object.
    #[arg(long)]
    pub(crate) json: bool,
}

/// What an https collector is believed by, and what we prove ourselves with: PEM files.
#[derive(Debug, Args)]
pub(crate) struct Tls {
    /// Certificates of the authorities that may vouch for an https collector.
    #[arg(long, value_name = "FILE", env = "SIDETRAIL_COLLECTOR_CA")]
    ca: Option<PathBuf>,
    /// Client certificate for an https collector.
    #[arg(long, value_name = "FILE", env = "SIDETRAIL_COLLECTOR_CERTIFICATE")]
    certificate: Option<PathBuf>,
    /// Private key of that certificate.
    #[arg(long, value_name = "FILE", env = "SIDETRAIL_COLLECTOR_KEY")]
    key: Option<PathBuf>,
    /// SPIFFE id that the collector must have, where its certificate is not for the host of the address.
    #[arg(long, value_name = "ID", env = "SIDETRAIL_COLLECTOR_ID")]
    collector_id: Option<String>,
}

impl Tls {
    fn files(&self) -> Option<ClientTls> {
        let Self { ca, certificate, key, collector_id } = self;
        let (ca, certificate, key) = (ca.clone()?, certificate.clone()?, key.clone()?);
        Some(ClientTls { ca, certificate, key, id: collector_id.clone() })
    }
}

#[derive(Debug, Subcommand)]
pub(crate) enum Keys {
    /// Make a key pair, Ed25519 for a collector or RSA for digests.
    #[command(after_help = "\
Writes the private key (PEM, PKCS#8, mode 0600) and the public key (PEM) to new files; existing ones are never
overwritten. The collector signs with the first, `sidetrail verify --keys` believes the second. Keep the public key away
from the bucket: who can change both can forge. With --digest it is an RSA key, for `digest.key` of the collector.

Exit codes: 0 made; 2 could not; 64 usage.

Examples:
  sidetrail keys generate
  sidetrail keys generate --out /etc/sidetrail/signing-key.pem --public keys.pem
  sidetrail keys generate --digest -o /etc/sidetrail/digest-key.pem")]
    Generate(Generate),
    /// Show the keys of a bucket or a PEM file.
    #[command(after_help = "\
Prints one line for each key: its id, or for keys of digests the fingerprint, and where it is published. A published key must be signed by itself and lie at its
own place, which is checked. That makes it no key to trust: compare its id with one you know.

Exit codes: 0 all keys are sound; 1 one is not; 2 there is none, or it could not be read; 64 usage.

Examples:
  sidetrail keys show s3://audit/prod
  sidetrail keys show s3://audit/prod --pem > keys.pem
  sidetrail keys show signing-key.pem")]
    #[command(visible_alias = "list")]
    Show(Show),
    /// Announce a new key of digests: published, and signed by the old one.
    #[command(after_help = "\
Stores the public key in the bucket, signed by itself and by the key that it replaces, so that those who trust the old one
know the way to the new one. It is valid for digests that end after the newest there is, unless --valid-from says so. Then
have collectors sign with it (`digest.key`). A collector that has both files (`digest.previous_key`) does all of it itself.
The old key stays listed: what it signed stays valid. Without the old key nothing leads from one to the other, and digests
of the new key begin a chain of their own.

Exit codes: 0 announced; 2 could not; 64 usage.

Examples:
  sidetrail keys rotate s3://audit/prod --account 123456789012 --old digest-key.pem --new digest-key-2.pem")]
    Rotate(Rotate),
    /// Take back a key, of a collector or of digests.
    #[command(after_help = "\
Stores the statement that what the key signs from a time on is not to be believed, signed by a key of digests. It cannot
be taken back.

Exit codes: 0 revoked; 2 could not; 64 usage.

Examples:
  sidetrail keys revoke s3://audit/prod a1e9… --account 123456789012 --key digest-key.pem --reason stolen")]
    Revoke(Revoke),
}

#[derive(Debug, Args)]
pub(crate) struct Rotate {
    /// A directory or s3://bucket/prefix.
    pub(crate) location: String,
    /// The account whose digests it signs.
    #[arg(long)]
    pub(crate) account: String,
    /// The new private key: a PEM file, or as `digest.key` of a collector has it, awskms:///KEY or pkcs11:…
    #[arg(long, value_name = "KEY")]
    pub(crate) new: KeyReference,
    /// The private key that it replaces.
    #[arg(long, value_name = "KEY")]
    pub(crate) old: Option<KeyReference>,
    /// The old key is lost, or there is none.
    #[arg(long, conflicts_with = "old")]
    pub(crate) without_old_key: bool,
    /// It signs digests that end after this.
    #[arg(long, value_name = "TIME", allow_hyphen_values = true, value_parser = time::from)]
    pub(crate) valid_from: Option<Timestamp>,
    /// For how many days.
    #[arg(long, value_name = "DAYS", default_value_t = 3650, value_parser = clap::value_parser!(u32).range(1..=36_500))]
    pub(crate) valid_days: u32,
    /// File with the passphrase of the key files, in its first line.
    #[arg(long, value_name = "FILE")]
    pub(crate) passphrase_file: Option<PathBuf>,
}

#[derive(Debug, Args)]
pub(crate) struct Revoke {
    /// A directory or s3://bucket/prefix.
    pub(crate) location: String,
    /// The key: its id, or its fingerprint if it is a key of digests.
    #[arg(value_name = "KEY")]
    pub(crate) revoked: String,
    /// The account whose evidence it signed.
    #[arg(long)]
    pub(crate) account: String,
    /// The private key of digests that signs the revocation: a PEM file, awskms:///KEY or pkcs11:…
    #[arg(long, value_name = "KEY")]
    pub(crate) key: KeyReference,
    /// From when on it is not to be believed. By default from now.
    #[arg(long, value_name = "TIME", allow_hyphen_values = true, value_parser = time::from)]
    pub(crate) at: Option<Timestamp>,
    /// Why, for people.
    #[arg(long, default_value = "")]
    pub(crate) reason: String,
    /// File with the passphrase of the key file, in its first line.
    #[arg(long, value_name = "FILE")]
    pub(crate) passphrase_file: Option<PathBuf>,
}

#[derive(Debug, Args)]
pub(crate) struct Generate {
    /// Where to write the private key. By default signing-key.pem or digest-key.pem.
    #[arg(long, short, value_name = "FILE")]
    pub(crate) out: Option<PathBuf>,
    /// Make an RSA key, for digests.
    #[arg(long)]
    pub(crate) digest: bool,
    /// Size of an RSA key: 2048, 3072 or 4096.
    #[arg(long, requires = "digest", default_value_t = 2048)]
    pub(crate) bits: usize,
    /// File with a passphrase in its first line: the RSA key is encrypted with it.
    #[arg(long, requires = "digest", value_name = "FILE")]
    pub(crate) passphrase_file: Option<PathBuf>,
    /// Where to write the public key. By default beside the private one, with .pub.pem in place of .pem.
    #[arg(long, value_name = "FILE")]
    pub(crate) public: Option<PathBuf>,
}

#[derive(Debug, Args)]
pub(crate) struct Show {
    /// A directory, s3://bucket/prefix, a PEM file of public keys or of one private key, or a key of digests that is
    /// elsewhere, awskms:///KEY or pkcs11:…
    pub(crate) location: String,
    /// Print the public keys as PEM: what --keys takes.
    #[arg(long)]
    pub(crate) pem: bool,
}

pub(crate) fn parse() -> Result<Command, clap::Error> {
    let Arguments { command } = Arguments::try_parse()?;
    check(command)
}

/// The command line's definition.
pub(crate) fn definition() -> clap::Command {
    Arguments::command()
}

/// What takes more than one argument to see.
fn check(mut command: Command) -> Result<Command, clap::Error> {
    if let Command::Send(send) = &mut command {
        let reachable = send.collector.clone().with_tls(send.tls.files());
        send.collector = reachable.map_err(|error| {
            Arguments::command()
                .error(ErrorKind::MissingRequiredArgument, format!("{error}: --ca, --certificate and --key"))
        })?;
    }
    let range = match &command {
        Command::Verify(Verify { from, to, .. }) | Command::Cat(Cat { from, to, .. }) => {
            time::Range { from: *from, to: *to }
        }
        Command::Lookup(lookup) => time::Range { from: lookup.from, to: lookup.to },
        _ => time::Range::default(),
    };
    if range.is_empty() {
        return Err(Arguments::command().error(ErrorKind::ValueValidation, "--from is after --to"));
    }
    Ok(command)
}

pub(crate) fn jobs(text: &str) -> Result<NonZeroUsize, String> {
    match text.parse() {
        Ok(jobs) if jobs <= NonZeroUsize::new(MAX_JOBS).unwrap_or(NonZeroUsize::MAX) => Ok(jobs),
        _ => Err(format!("must be 1 to {MAX_JOBS}")),
    }
}

fn object_lock(text: &str) -> Result<LockWanted, String> {
    let form = || "must be governance:DAYS or compliance:DAYS".to_owned();
    let (mode, days) = text.split_once(':').ok_or_else(form)?;
    let compliance = match mode.to_ascii_lowercase().as_str() {
        "compliance" => true,
        "governance" => false,
        _ => return Err(form()),
    };
    let days = days.parse().ok().filter(|days| (1..=MAX_LOCK_DAYS).contains(days)).ok_or_else(form)?;
    Ok(LockWanted { compliance, days })
}

fn name(text: &str) -> Result<String, String> {
    if text.len() > MAX_NAME {
        return Err(format!("is {} bytes, the limit is {MAX_NAME}", text.len()));
    }
    Ok(text.to_owned())
}

pub(crate) fn duration(text: &str) -> Result<Duration, String> {
    let form = || "must be a span of time such as 30s or 5m".to_owned();
    let span: jiff::SignedDuration = text.parse().map_err(|_| form())?;
    Duration::try_from(span).ok().filter(|span| !span.is_zero()).ok_or_else(form)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(line: &str) -> Result<Command, ErrorKind> {
        Arguments::try_parse_from(line.split_whitespace())
            .and_then(|arguments| check(arguments.command))
            .map_err(|error| error.kind())
    }

    #[test]
    fn the_definition_is_sound() {
        Arguments::command().debug_assert();
    }

    #[test]
    fn relative_times_may_follow_as_a_word() {
        let Ok(Command::Verify(verify)) = parsed("sidetrail verify dir --from -2h --to -1m --jobs 3") else {
            panic!("not taken");
        };
        assert!(verify.from < verify.to);
        assert_eq!(verify.jobs.map(NonZeroUsize::get), Some(3));
    }

    #[test]
    fn what_makes_no_sense_is_refused() {
        for line in [
            "sidetrail",
            "sidetrail verify",
            "sidetrail cat",
            "sidetrail send",
            "sidetrail keys",
            "sidetrail verify a b",
            "sidetrail verify a --jobs 0",
            "sidetrail verify a --jobs 257",
            "sidetrail verify a --from soon",
            "sidetrail verify a --object-lock compliance",
            "sidetrail verify a --object-lock strict:3",
            "sidetrail verify a --object-lock governance:0",
            "sidetrail cat a --from -1h --to -2h",
            "sidetrail send a --collector somewhere",
            "sidetrail send a --collector https://a:1",
            "sidetrail send a --collector https://a:1 --ca a --key b",
            "sidetrail send a --timeout 0s",
            "sidetrail send a --timeout -1s",
            "sidetrail lookup --from -1h --to -2h",
            "sidetrail lookup --read-only=maybe",
            "sidetrail tail -n 1001",
            "sidetrail frobnicate",
        ] {
            assert!(parsed(line).is_err(), "{line}");
        }
        assert!(parsed(&format!("sidetrail send a --service {}", "x".repeat(257))).is_err());
    }

    #[test]
    fn durations_are_read() {
        assert_eq!(duration("1m 30s"), Ok(Duration::from_secs(90)));
        assert_eq!(duration("250ms"), Ok(Duration::from_millis(250)));
    }
}
