//! `sidetrail trails`: CloudTrail's operations, for people.

use std::path::PathBuf;

use anyhow::{Context, Result};
use clap::{Args, Subcommand};
use serde_json::{Value, json};
use sidetrail_api::Operation;

use super::{Asking, runtime};
use crate::exit::Exit;
use crate::print::{out, printable};

/// Bytes of a file with selectors.
const MAX_FILE: u64 = 4 << 20;

#[derive(Debug, Subcommand)]
pub(crate) enum Trails {
    /// List the trails that are seen in the region, and whether they record.
    List(List),
    /// Show a trail, its selectors and its status.
    Show(Named),
    /// Make a trail. It does not record before it is started.
    Create(Create),
    /// Have a trail record.
    Start(Named),
    /// Have a trail record no more.
    Stop(Named),
    /// Delete a trail. What it has stored stays.
    Delete(Named),
    /// Have a trail take other events.
    #[command(after_help = "\
Examples:
  sidetrail trails select refunds --file selectors.json
  aws cloudtrail get-event-selectors --trail-name other | sidetrail trails select refunds --file -")]
    Select(Select),
}

#[derive(Debug, Args)]
pub(crate) struct List {
    #[command(flatten)]
    asking: Asking,
}

#[derive(Debug, Args)]
pub(crate) struct Named {
    #[command(flatten)]
    asking: Asking,
    /// Its name or ARN.
    name: String,
}

#[derive(Debug, Args)]
pub(crate) struct Create {
    #[command(flatten)]
    asking: Asking,
    /// Its name.
    name: String,
    /// The bucket that it stores in.
    #[arg(long, value_name = "NAME")]
    bucket: String,
    /// What precedes `AWSLogs/` there.
    #[arg(long, value_name = "PREFIX")]
    prefix: Option<String>,
    /// The topic that is told of each log file and digest.
    #[arg(long, value_name = "NAME")]
    topic: Option<String>,
    /// Of all regions, and not only of this one.
    #[arg(long)]
    multi_region: bool,
    /// Without digests, which `sidetrail verify` and `aws cloudtrail validate-logs` check.
    #[arg(long)]
    no_digests: bool,
    /// Have it record at once.
    #[arg(long)]
    start: bool,
}

#[derive(Debug, Args)]
pub(crate) struct Select {
    #[command(flatten)]
    asking: Asking,
    /// Its name or ARN.
    name: String,
    /// What `aws cloudtrail get-event-selectors` prints, or its EventSelectors or AdvancedEventSelectors alone; - is
    /// standard input.
    #[arg(long, value_name = "FILE")]
    file: PathBuf,
}

pub(crate) fn trails(command: &Trails) -> Result<Exit> {
    match command {
        Trails::List(List { asking }) => list(asking)?,
        Trails::Show(Named { asking, name }) => show(asking, name)?,
        Trails::Create(arguments) => create(arguments)?,
        Trails::Start(named) => done(named, Operation::StartLogging, "records")?,
        Trails::Stop(named) => done(named, Operation::StopLogging, "records no more")?,
        Trails::Delete(named) => done(named, Operation::DeleteTrail, "is deleted")?,
        Trails::Select(arguments) => select(arguments)?,
    }
    Ok(Exit::Done)
}

fn text(value: &Value, member: &str) -> String {
    printable(value[member].as_str().unwrap_or("-")).into_owned()
}

fn list(asking: &Asking) -> Result<()> {
    let client = asking.client()?;
    runtime()?.block_on(async {
        let found: Value = client.call(Operation::DescribeTrails, &json!({})).await?;
        for trail in found["trailList"].as_array().into_iter().flatten() {
            let named = json!({ "Name": trail["TrailARN"] });
            let status: Value = client.call(Operation::GetTrailStatus, &named).await?;
            if asking.json() {
                let mut trail = trail.clone();
                trail["IsLogging"] = status["IsLogging"].clone();
                out(format_args!("{trail}\n"))?;
                continue;
            }
            let records = if status["IsLogging"] == true { "records" } else { "stopped" };
            let place = match trail["S3KeyPrefix"].as_str() {
                Some(prefix) => format!("{}/{}", text(trail, "S3BucketName"), printable(prefix)),
                None => text(trail, "S3BucketName"),
            };
            let (name, home) = (text(trail, "Name"), text(trail, "HomeRegion"));
            let regions = if trail["IsMultiRegionTrail"] == true { "all regions" } else { "one region" };
            out(format_args!("{records}  {name:<32}  {home:<14}  {regions:<11}  {place}\n"))?;
        }
        Ok(())
    })
}

fn show(asking: &Asking, name: &str) -> Result<()> {
    let client = asking.client()?;
    runtime()?.block_on(async {
        let trail: Value = client.call(Operation::GetTrail, &json!({ "Name": name })).await?;
        let status: Value = client.call(Operation::GetTrailStatus, &json!({ "Name": name })).await?;
        let selectors: Value =
            client.call(Operation::GetEventSelectors, &json!({ "TrailName": name })).await?;
        let all = json!({ "Trail": trail["Trail"], "Status": status, "Selectors": selectors });
        // It is made for reading either way: the members are CloudTrail's.
        if asking.json() {
            out(format_args!("{all}\n"))?;
        } else {
            out(format_args!("{all:#}\n"))?;
        }
        Ok(())
    })
}

fn create(arguments: &Create) -> Result<()> {
    let Create { asking, name, bucket, prefix, topic, multi_region, no_digests, start } = arguments;
    let client = asking.client()?;
    let mut input = json!({
        "Name": name,
        "S3BucketName": bucket,
        "IsMultiRegionTrail": multi_region,
        "EnableLogFileValidation": !no_digests,
    });
    if let Some(prefix) = prefix {
        input["S3KeyPrefix"] = json!(prefix);
    }
    if let Some(topic) = topic {
        input["SnsTopicName"] = json!(topic);
    }
    runtime()?.block_on(async {
        let made: Value = client.call(Operation::CreateTrail, &input).await?;
        if *start {
            let _: Value = client.call(Operation::StartLogging, &json!({ "Name": made["TrailARN"] })).await?;
        }
        if asking.json() {
            out(format_args!("{made}\n"))?;
        } else {
            let state =
                if *start { "records" } else { "is made; have it record with `sidetrail trails start`" };
            out(format_args!("{} {state}\n", text(&made, "TrailARN")))?;
        }
        Ok(())
    })
}

fn done(Named { asking, name }: &Named, operation: Operation, said: &str) -> Result<()> {
    let client = asking.client()?;
    let answer: Value = runtime()?.block_on(client.call(operation, &json!({ "Name": name })))?;
    if asking.json() {
        out(format_args!("{answer}\n"))?;
    } else {
        out(format_args!("{} {said}\n", printable(name)))?;
    }
    Ok(())
}

fn select(Select { asking, name, file }: &Select) -> Result<()> {
    let input = selectors(name, &read(file)?)?;
    let client = asking.client()?;
    let answer: Value = runtime()?.block_on(client.call(Operation::PutEventSelectors, &input))?;
    if asking.json() {
        out(format_args!("{answer}\n"))?;
    } else {
        out(format_args!("{} takes what {} says\n", printable(name), file.display()))?;
    }
    Ok(())
}

fn read(file: &PathBuf) -> Result<Vec<u8>> {
    use std::io::Read as _;
    let from: Box<dyn std::io::Read> = if file.as_os_str() == "-" {
        Box::new(std::io::stdin())
    } else {
        Box::new(std::fs::File::open(file).with_context(|| format!("cannot open {}", file.display()))?)
    };
    let mut bytes = Vec::new();
    from.take(MAX_FILE + 1)
        .read_to_end(&mut bytes)
        .with_context(|| format!("cannot read {}", file.display()))?;
    anyhow::ensure!(bytes.len() as u64 <= MAX_FILE, "{} has more than {MAX_FILE} bytes", file.display());
    Ok(bytes)
}

/// What is put, of what a file says.
fn selectors(name: &str, text: &[u8]) -> Result<Value> {
    let told: Value = serde_json::from_slice(text).context("the selectors are no JSON")?;
    let (member, list) = match &told {
        Value::Object(members) => {
            let found = ["EventSelectors", "AdvancedEventSelectors"]
                .into_iter()
                .find_map(|member| Some((member, members.get(member)?.clone())));
            found.context("the file has neither EventSelectors nor AdvancedEventSelectors")?
        }
        Value::Array(list) => {
            let advanced = list.iter().any(|selector| selector.get("FieldSelectors").is_some());
            (if advanced { "AdvancedEventSelectors" } else { "EventSelectors" }, told.clone())
        }
        _ => anyhow::bail!("the file has no selectors"),
    };
    Ok(json!({ "TrailName": name, member: list }))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn selectors_come_whole_or_alone() {
        let printed = br#"{"TrailARN":"arn","AdvancedEventSelectors":[{"FieldSelectors":[]}]}"#;
        let expected = json!({ "TrailName": "a", "AdvancedEventSelectors": [{ "FieldSelectors": [] }] });
        assert_eq!(selectors("a", printed).unwrap(), expected);
        assert_eq!(selectors("a", br#"[{"FieldSelectors":[]}]"#).unwrap(), expected);
        let basic = selectors("a", br#"[{"ReadWriteType":"All"}]"#).unwrap();
        assert!(basic["EventSelectors"].is_array());
        for wrong in [&b"{}"[..], b"7", b"{"] {
            assert!(selectors("a", wrong).is_err());
        }
    }
}
