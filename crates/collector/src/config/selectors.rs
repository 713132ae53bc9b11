//! Which events a trail takes, in CloudTrail's own words.

use std::fs::File;
use std::io::Read;
use std::path::{Path, PathBuf};

use schemars::JsonSchema;
use serde::Deserialize;
use sidetrail_selectors::{AdvancedEventSelector, EventSelector, InvalidSelectors, Scope, Selectors};

use super::{Config, ConfigError, lint, wrong};

/// A file of selectors. All values of the longest kind are within it.
const MAX_FILE: u64 = 4 << 20;

/// Which events a trail takes: exactly one of the three. In basic and advanced selectors the members are CloudTrail's,
/// with its names, rules and limits.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct SelectorsConfig {
    /// Basic event selectors, e.g. `[{ ReadWriteType: WriteOnly }]`.
    pub event_selectors: Option<Vec<EventSelector>>,
    /// Advanced event selectors: `[{ Name: …, FieldSelectors: [{ Field: eventCategory, Equals: [Data] }, …] }]`.
    pub advanced_event_selectors: Option<Vec<AdvancedEventSelector>>,
    /// A JSON file with either kind, as `aws cloudtrail get-event-selectors` prints it. At most 4 MiB.
    pub file: Option<PathBuf>,
}

impl SelectorsConfig {
    /// Reads the file if there is one, and checks every rule of CloudTrail's. `at` is where this is.
    fn read(&self, at: &str) -> Result<Selectors, ConfigError> {
        let (basic, advanced) = (self.event_selectors.clone(), self.advanced_event_selectors.clone());
        let given = [basic.is_some(), advanced.is_some(), self.file.is_some()];
        if given.into_iter().filter(|given| *given).count() != 1 {
            let problem = "needs exactly one of event_selectors, advanced_event_selectors and file";
            return wrong(at, problem.to_owned());
        }
        let (at, selectors) = match &self.file {
            Some(path) => {
                let at = format!("{at}.file {}", path.display());
                let selectors = from_file(path);
                (at.clone(), selectors.or_else(|problem| wrong(&at, problem))?)
            }
            None => (at.to_owned(), Selectors::of(basic, advanced).or_else(|error| refuse(at, &error))?),
        };
        selectors.validate(Scope::Trail).or_else(|error| refuse(&at, &error))?;
        Ok(selectors)
    }
}

impl Config {
    /// The selectors of each trail, checked; `None` where it takes everything. Reads the files that hold some.
    ///
    /// # Errors
    /// If a file cannot be read, a rule of CloudTrail's is broken, or a trail would record what the collector does.
    pub fn selectors(&self) -> Result<Vec<Option<Selectors>>, ConfigError> {
        let mut all = Vec::with_capacity(self.trails.len());
        for (index, trail) in self.trails.iter().enumerate() {
            let at = format!("trails[{index}].selectors");
            let selectors = trail.selectors.as_ref().map(|selectors| selectors.read(&at)).transpose()?;
            let own = selectors.as_ref().and_then(|selectors| lint::own_traffic(self, selectors));
            if let Some((place, problem)) = own {
                return wrong(&format!("{at}{place}"), problem);
            }
            all.push(selectors);
        }
        Ok(all)
    }
}

fn from_file(path: &Path) -> Result<Selectors, String> {
    let mut text = Vec::new();
    let file = File::open(path).map_err(|error| format!("cannot be read: {error}"))?;
    let read = file.take(MAX_FILE + 1).read_to_end(&mut text);
    match read {
        Err(error) => Err(format!("cannot be read: {error}")),
        Ok(size) if size as u64 > MAX_FILE => Err(format!("is larger than {MAX_FILE} bytes")),
        Ok(_) => serde_json::from_slice(&text).map_err(|error| format!("is not valid: {error}")),
    }
}

/// CloudTrail's words, and the place and the reason that they leave out. YAML has its own spelling of the first member.
fn refuse<T>(at: &str, error: &InvalidSelectors) -> Result<T, ConfigError> {
    let place = match (error.at(), at.contains(".file ")) {
        ("", _) => String::new(),
        (place, true) => format!(": {place}"),
        (place, false) => {
            let place = place.replacen("AdvancedEventSelectors", "advanced_event_selectors", 1);
            format!(".{}", place.replacen("EventSelectors", "event_selectors", 1))
        }
    };
    let reason = error.reason().map(|reason| format!(" ({reason})")).unwrap_or_default();
    wrong(&format!("{at}{place}"), format!("cannot be used: {error}{reason}"))
}

#[cfg(test)]
mod tests {
    use super::super::tests::MINIMAL;
    use super::*;

    fn config(selectors: &str) -> Config {
        let trail = format!("destination: s3://audit/logs, selectors: {selectors} ");
        serde_norway::from_str(&MINIMAL.replace("destination: s3://audit/logs ", &trail)).unwrap()
    }

    #[test]
    fn both_kinds_are_read() {
        let all = config("{ event_selectors: [{ ReadWriteType: WriteOnly }] }").selectors().unwrap();
        assert!(matches!(&all[..], [Some(Selectors::Basic(basic))] if basic.len() == 1));
        let yaml = "{ advanced_event_selectors: [{ FieldSelectors: [{ Field: eventCategory, Equals: [Management] }, \
                    { Field: readOnly, Equals: ['true'] }] }] }";
        assert!(matches!(&config(yaml).selectors().unwrap()[..], [Some(Selectors::Advanced(_))]));
    }

    #[test]
    fn a_file_is_read_as_the_aws_cli_prints_it() {
        let file = tempfile::NamedTempFile::new().unwrap();
        let yaml = format!("{{ file: {} }}", file.path().display());
        std::fs::write(&file, r#"{"TrailARN": "arn", "EventSelectors": [{"ReadWriteType": "All"}]}"#)
            .unwrap();
        assert!(matches!(&config(&yaml).selectors().unwrap()[..], [Some(Selectors::Basic(_))]));
        for (text, expected) in [
            ("{", "is not valid: EOF"),
            (r#"{"EventSelectors": [{"Kind": 1}]}"#, "unknown field `Kind`"),
            (
                r#"{"EventSelectors": []}"#,
                ": EventSelectors cannot be used: EventSelectors has 0 entries, allowed are 1 to 5",
            ),
        ] {
            std::fs::write(&file, text).unwrap();
            let error = config(&yaml).check().unwrap_err().to_string();
            assert!(error.contains(expected), "{error}");
        }
        let error = config("{ file: /nowhere }").check().unwrap_err().to_string();
        assert!(error.contains("trails[0].selectors.file /nowhere cannot be read: No such file"), "{error}");
        std::fs::write(&file, vec![b' '; usize::try_from(MAX_FILE).unwrap() + 1]).unwrap();
        assert!(config(&yaml).check().unwrap_err().to_string().contains("is larger than 4194304 bytes"));
    }

    #[test]
    fn errors_name_place_and_reason() {
        for (yaml, expected) in [
            ("{}", "trails[0].selectors needs exactly one of event_selectors"),
            ("{ event_selectors: [], file: x }", "trails[0].selectors needs exactly one of"),
            (
                "{ event_selectors: [] }",
                "trails[0].selectors.event_selectors cannot be used: EventSelectors has 0 entries",
            ),
            (
                "{ event_selectors: [{ DataResources: [{ Type: 'AWS::S3::Object', Values: ['arn:aws:s3:::*'] }] }] }",
                "trails[0].selectors.event_selectors[0].DataResources[0].Values[0] cannot be used: \
                 Value arn:aws:s3:::* for DataResources.Values is invalid. (there are no wildcards",
            ),
            (
                "{ advanced_event_selectors: [{ FieldSelectors: [{ Field: readOnly, Equals: ['true'] }] }] }",
                "trails[0].selectors.advanced_event_selectors[0] cannot be used: a selector of category any needs",
            ),
        ] {
            let error = config(yaml).check().unwrap_err().to_string();
            assert!(error.contains(expected), "{error:?} does not say {expected:?}");
        }
    }
}
