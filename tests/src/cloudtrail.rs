//! As much of CloudTrail's API as `aws cloudtrail validate-logs` asks for: where the trail's bucket is, and its keys.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::process::Command;

use anyhow::{Context, Result};
use jiff::Timestamp;
use serde_json::{Value, json};
use sidetrail_archive::sign::RsaPublicKey;

use crate::SeaweedFs;
use crate::tools::{self, Ran};

/// The most bytes of a request's body.
const MAX_BODY: usize = 64 << 10;

/// An endpoint on this machine. It answers until the process ends.
#[derive(Clone, Copy, Debug)]
pub struct CloudTrail(SocketAddr);

impl CloudTrail {
    /// Serves one trail of one bucket, with these keys and their times.
    ///
    /// # Errors
    ///
    /// When there is no free port.
    pub fn start(arn: &str, bucket: &str, keys: &[(RsaPublicKey, (Timestamp, Timestamp))]) -> Result<Self> {
        use base64::Engine as _;
        let base64 = base64::engine::general_purpose::STANDARD;
        let name = arn.rsplit('/').next().context("no trail in the ARN")?;
        let region = arn.split(':').nth(3).context("no region in the ARN")?;
        let trail = json!({
            "Name": name, "TrailARN": arn, "S3BucketName": bucket, "HomeRegion": region,
            "IsMultiRegionTrail": true, "IsOrganizationTrail": false, "LogFileValidationEnabled": true,
        });
        let key = |(key, (start, end)): &(RsaPublicKey, (Timestamp, Timestamp))| {
            json!({
                "Value": base64.encode(key.as_pkcs1()), "Fingerprint": key.fingerprint().to_string(),
                "ValidityStartTime": start.as_second(), "ValidityEndTime": end.as_second(),
            })
        };
        let keys: Vec<_> = keys.iter().map(key).collect();
        let listener = TcpListener::bind("127.0.0.1:0")?;
        let address = listener.local_addr()?;
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                // Who goes away in the middle asks again.
                let _ = answer(&stream, &trail, &keys);
            }
        });
        Ok(Self(address))
    }

    /// `aws cloudtrail validate-logs`, the real one.
    ///
    /// # Errors
    ///
    /// When it cannot be run.
    pub fn validate(
        &self,
        store: &SeaweedFs,
        arn: &str,
        region: &str,
        range: (Timestamp, Timestamp),
    ) -> Result<Ran> {
        tools::run(self.validate_logs(store, arn, region, range)?)
    }

    /// The same, yet to be run.
    ///
    /// # Errors
    ///
    /// When the tools are not installed.
    pub fn validate_logs(
        &self,
        store: &SeaweedFs,
        arn: &str,
        region: &str,
        (start, end): (Timestamp, Timestamp),
    ) -> Result<Command> {
        store.aws([
            "cloudtrail",
            "validate-logs",
            "--trail-arn",
            arn,
            "--region",
            region,
            "--start-time",
            &start.to_string(),
            "--end-time",
            &end.to_string(),
            "--endpoint-url",
            &format!("http://{}", self.0),
        ])
    }
}

fn answer(mut stream: &TcpStream, trail: &Value, keys: &[Value]) -> Result<()> {
    let mut reader = BufReader::new(stream);
    let (mut length, mut target) = (0, String::new());
    loop {
        let mut line = String::new();
        if reader.read_line(&mut line)? == 0 || line.trim().is_empty() {
            break;
        }
        let Some((name, value)) = line.split_once(':') else { continue };
        match name.to_ascii_lowercase().as_str() {
            "content-length" => length = value.trim().parse::<usize>()?.min(MAX_BODY),
            "x-amz-target" => value.trim().clone_into(&mut target),
            _ => {}
        }
    }
    reader.take(length as u64).read_to_end(&mut Vec::new())?;
    let (status, body) = match target.rsplit('.').next() {
        Some("DescribeTrails") => ("200 OK", json!({"trailList": [trail]})),
        Some("ListPublicKeys") => ("200 OK", json!({"PublicKeyList": keys})),
        _ => ("400 Bad Request", json!({"__type": "UnsupportedOperationException", "message": target})),
    };
    let body = body.to_string();
    write!(
        stream,
        "HTTP/1.1 {status}\r\ncontent-type: application/x-amz-json-1.1\r\ncontent-length: {}\r\nconnection: close\r\n\r\n{body}",
        body.len()
    )?;
    Ok(())
}
