//! What selecting costs, in nanoseconds per event: `cargo run --release -p sidetrail-selectors --example measure`.
//!
//! Three selectors are asked of each event: a basic one, an advanced one that ends at the category, and one with 400
//! values. The reading of a record's text is measured too, beside that of a whole record.

use std::error::Error;
use std::hint::black_box;
use std::time::Instant;

use serde_json::json;
use sidetrail_record::Record;
use sidetrail_selectors::{Matcher, Peek, Scope, Selectors};

const ROUNDS: u32 = 100_000;

fn main() -> Result<(), Box<dyn Error>> {
    let lines: Vec<&str> = include_str!("../../record/testdata/examples.ndjson").lines().collect();
    let records: Vec<Record> =
        lines.iter().map(|line| serde_json::from_str(line)).collect::<Result<_, _>>()?;
    let prefixes: Vec<_> = (0..400).map(|index| format!("arn:aws:s3:::bucket-{index}/")).collect();
    let data = json!([{"Field": "eventCategory", "Equals": ["Data"]},
        {"Field": "resources.type", "Equals": ["AWS::S3::Object"]}]);
    let management = json!([{"Field": "eventCategory", "Equals": ["Management"]},
        {"Field": "eventSource", "NotEquals": prefixes}]);
    for (name, selectors) in [
        ("basic", json!({"EventSelectors": [{"ReadWriteType": "WriteOnly"}]})),
        ("category", json!({"AdvancedEventSelectors": [{ "FieldSelectors": data }]})),
        ("400 values", json!({"AdvancedEventSelectors": [{ "FieldSelectors": management }]})),
    ] {
        let selectors: Selectors = serde_json::from_value(selectors)?;
        let matcher = Matcher::new(&selectors, Scope::Trail)?;
        measure(name, records.len(), || records.iter().filter(|it| matcher.matches(*it)).count());
    }
    let bytes = lines.iter().map(|line| line.len()).sum::<usize>() / lines.len();
    println!("texts of {bytes} bytes:");
    measure("peek", lines.len(), || {
        lines.iter().filter(|it| serde_json::from_str::<Peek<'_>>(it).is_ok()).count()
    });
    measure("record", lines.len(), || {
        lines.iter().filter(|it| serde_json::from_str::<Record>(it).is_ok()).count()
    });
    Ok(())
}

fn measure(name: &str, events: usize, mut round: impl FnMut() -> usize) {
    let start = Instant::now();
    for _ in 0..ROUNDS {
        black_box(round());
    }
    let nanos = start.elapsed().as_nanos() as f64 / f64::from(ROUNDS) / events as f64;
    println!("{name}: {nanos:.0} ns");
}
