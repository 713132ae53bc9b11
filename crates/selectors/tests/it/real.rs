//! Real records through selectors: a record and its text are the same event, and kinds of events are told apart.

use std::fs;
use std::io::Read;
use std::path::Path;

use flate2::bufread::GzDecoder;
use serde_json::{Value, json};

use sidetrail_record::Record;
use sidetrail_selectors::category;

use crate::matching::takes;

/// More than all records of the shared directory.
const MAX_RECORDS: u64 = 64 << 20;

/// Those of the shared directory of real CloudTrail, where it is there, and the examples of the repository.
fn records() -> Vec<Value> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    let mut texts = vec![fs::read_to_string(root.join("tests/data/examples.ndjson")).unwrap()];
    let shared = fs::read_dir(root.join("../../shared/data/cloudtrail-records"));
    for entry in shared.into_iter().flatten() {
        let path = entry.unwrap().path();
        if path.extension().is_some_and(|extension| extension == "gz") {
            let mut text = String::new();
            let stored = fs::read(path).unwrap();
            GzDecoder::new(&stored[..]).take(MAX_RECORDS).read_to_string(&mut text).unwrap();
            texts.push(text);
        }
    }
    texts.iter().flat_map(|text| text.lines()).map(|line| serde_json::from_str(line).unwrap()).collect()
}

#[test]
fn categories_part_the_records() {
    let records = records();
    let mut counts = [0; 2];
    for record in &records {
        let management = takes(&json!({"EventSelectors": [{}]}), record);
        let advanced = json!({"AdvancedEventSelectors": [{"FieldSelectors": [
            {"Field": "eventCategory", "Equals": ["Management"]}]}]});
        assert_eq!(takes(&advanced, record), management, "the default is all management events: {record}");
        let reads = takes(&json!({"EventSelectors": [{"ReadWriteType": "ReadOnly"}]}), record);
        let writes = takes(&json!({"EventSelectors": [{"ReadWriteType": "WriteOnly"}]}), record);
        assert_eq!([reads, writes].iter().filter(|it| **it).count(), usize::from(management), "{record}");
        counts[usize::from(management)] += 1;
        let category = category(&serde_json::from_value::<Record>(record.clone()).unwrap()).to_owned();
        for resource in record["resources"].as_array().into_iter().flatten() {
            let (Some(kind), Some(arn)) = (resource["type"].as_str(), resource["ARN"].as_str()) else {
                continue;
            };
            let selectors = json!({"AdvancedEventSelectors": [{"FieldSelectors": [
                {"Field": "eventCategory", "Equals": ["Data"]},
                {"Field": "resources.type", "Equals": [kind]},
                {"Field": "resources.ARN", "Equals": [arn]}]}]});
            assert_eq!(takes(&selectors, record), category == "Data", "{record}");
        }
    }
    println!("{} data or network events, {} management events", counts[0], counts[1]);
    assert!(counts[1] > 0, "{counts:?}");
}
