//! The trails that a server wants filled: kept on disk, and merged with those of the file.

use std::io;
use std::path::{Path, PathBuf};

use prost::Message as _;
use sidetrail_archive::key::{OrgId, Trail as Name};
use sidetrail_selectors::Selectors;
use sidetrail_spool::{OsFs, durable};
use sidetrail_wire::control::v1::{Assignment, Trail};

use crate::config::{Config, ConfigError, Control, Encryption, EncryptionKind, SelectorsConfig, TrailConfig};

const FILE: &str = "assignment";
/// Bytes of an assignment: five trails with selectors of the longest kind.
pub(super) const MAX_ASSIGNMENT: usize = 8 << 20;

/// What a server said last cannot be kept or read. Without it trails would be forgotten, and what they have to ship.
#[derive(Debug, thiserror::Error)]
pub enum AssignmentError {
    /// The file cannot be read.
    #[error("cannot read {path}")]
    Read {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// It is no assignment.
    #[error(
        "{path} does not hold what a server said last; remove it to wait for the server, and give up what its trails have not shipped"
    )]
    Content {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        source: prost::DecodeError,
    },
    /// The file cannot be written.
    #[error("cannot keep what the server says")]
    Keep(#[source] sidetrail_spool::Error),
}

/// What was kept in a spool directory, if anything was.
pub(crate) fn kept(directory: &Path) -> Result<Option<Assignment>, AssignmentError> {
    let path = directory.join(FILE);
    let bytes = match std::fs::read(&path) {
        Ok(bytes) => bytes,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(source) => return Err(AssignmentError::Read { path, source }),
    };
    let assignment = Assignment::decode(bytes.as_slice());
    assignment.map(Some).map_err(|source| AssignmentError::Content { path, source })
}

/// Keeps it, in place of what was said before.
pub(crate) fn keep(directory: &Path, assignment: &Assignment) -> Result<(), AssignmentError> {
    let path = directory.join(FILE);
    durable::replace(&OsFs, &path, &assignment.encode_to_vec()).map_err(AssignmentError::Keep)
}

/// The configuration that comes of a file and what a server says. Where both have a trail of a name, the file's counts: it
/// was put there by somebody who knows this host.
pub(crate) fn merged(file: &Config, assignment: Option<&Assignment>) -> Result<Config, ConfigError> {
    let mut config = file.clone();
    let (Some(control), Some(assignment)) = (&file.control, assignment) else { return Ok(config) };
    if control.trails {
        for assigned in &assignment.trails {
            if !config.trails.iter().any(|trail| trail.name.as_str() == assigned.name) {
                config.trails.push(trail(control, assigned)?);
            }
        }
    }
    Ok(config)
}

fn trail(control: &Control, assigned: &Trail) -> Result<TrailConfig, ConfigError> {
    let wrong = |member: &str, problem: String| ConfigError::Value {
        field: format!("trail {} of the server: {member}", assigned.name),
        problem,
    };
    let name =
        Name::new(assigned.name.as_str()).map_err(|error| wrong("name", format!("is not one: {error}")))?;
    let organization = Some(&assigned.organization).filter(|id| !id.is_empty());
    let organization = organization.map(|id| OrgId::new(id.as_str())).transpose();
    let selectors: Selectors = serde_json::from_str(&assigned.selectors)
        .map_err(|error| wrong("selectors", format!("cannot be used: {error}")))?;
    let (event_selectors, advanced_event_selectors) = match selectors {
        Selectors::Basic(basic) => (Some(basic), None),
        Selectors::Advanced(advanced) => (None, Some(advanced)),
    };
    let is_s3 = assigned.destination.starts_with("s3://");
    let key = Some(&assigned.kms_key).filter(|key| is_s3 && !key.is_empty()).cloned();
    Ok(TrailConfig {
        name,
        destination: assigned.destination.clone(),
        organization: organization.map_err(|error| wrong("organization", format!("is not one: {error}")))?,
        rotate: control.rotate.clone(),
        key: None,
        selectors: Some(SelectorsConfig { event_selectors, advanced_event_selectors, file: None }),
        object_lock: control.object_lock.clone().filter(|_| is_s3),
        encryption: key.map(|key| Encryption {
            kind: EncryptionKind::SseKms,
            key: Some(key),
            bucket_key: false,
        }),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const YAML: &str = "
account: '111122223333'
region: eu-west-1
listen: { socket: /run/sidetrail/collector.sock }
spool: { directory: /var/lib/sidetrail }
control: { server: 'http://127.0.0.1:8422', rotate: { age: 1s } }
trails: [{ name: default, destination: /b }]
";

    fn assigned(name: &str) -> Trail {
        Trail {
            name: name.to_owned(),
            destination: "s3://audit/prod".to_owned(),
            organization: "o-exampleorgid".to_owned(),
            selectors: r#"{"EventSelectors":[{"ReadWriteType":"WriteOnly"}]}"#.to_owned(),
            kms_key: "arn:aws:kms:eu-west-1:111122223333:key/1".to_owned(),
        }
    }

    fn assignment(trails: Vec<Trail>) -> Assignment {
        Assignment { revision: "1".to_owned(), trails }
    }

    #[test]
    fn trails_of_the_server_come_beside_those_of_the_file() {
        let file: Config = serde_norway::from_str(YAML).unwrap();
        let given = assignment(vec![assigned("refunds"), assigned("default")]);
        let config = merged(&file, Some(&given)).unwrap();
        config.check().unwrap();
        assert_eq!(config.trails.len(), 2);
        assert_eq!(config.trails[0].destination, "/b", "the file's own");
        let trail = &config.trails[1];
        assert_eq!(trail.rotate.age.as_secs(), 1);
        assert_eq!(trail.organization.as_ref().map(ToString::to_string).as_deref(), Some("o-exampleorgid"));
        assert!(trail.selectors.is_some() && trail.encryption.is_some());

        let without = serde_norway::from_str(&YAML.replace("rotate", "trails: false, rotate")).unwrap();
        assert_eq!(merged(&without, Some(&given)).unwrap().trails.len(), 1, "only its state is told");
        let none = serde_norway::from_str::<Config>(&YAML.replace("{ name: default, destination: /b }", ""))
            .unwrap();
        none.check().unwrap();
    }

    #[test]
    fn what_cannot_be_used_names_the_trail() {
        let file: Config = serde_norway::from_str(YAML).unwrap();
        for (trail, expected) in [
            (Trail { name: "a b".to_owned(), ..assigned("x") }, "trail a b of the server: name is not one"),
            (Trail { selectors: "{}".to_owned(), ..assigned("abc") }, "trail abc of the server: selectors"),
            (Trail { organization: "x".to_owned(), ..assigned("abc") }, "organization is not one"),
        ] {
            let error = merged(&file, Some(&assignment(vec![trail]))).unwrap_err().to_string();
            assert!(error.contains(expected), "{error}");
        }
    }

    #[test]
    fn what_was_said_last_is_there_after_a_restart() {
        let directory = tempfile::tempdir().unwrap();
        assert_eq!(kept(directory.path()).unwrap(), None);
        let given = assignment(vec![assigned("refunds")]);
        keep(directory.path(), &given).unwrap();
        assert_eq!(kept(directory.path()).unwrap(), Some(given));
        std::fs::write(directory.path().join(FILE), b"\xff\xff").unwrap();
        let error = kept(directory.path()).unwrap_err().to_string();
        assert!(error.contains("does not hold what a server said last"), "{error}");
    }
}
