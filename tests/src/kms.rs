//! A KMS: moto's, which makes real signatures, and checks those of requests and what a policy allows.

use std::net::SocketAddr;
use std::path::Path;
use std::process::Command;

use anyhow::Result;

use crate::tools::{self, tool_of};
use crate::{Process, REGION, START, free_address};

/// Makes a user who may sign and no more, and a key with an alias; says their names.
const SETUP: &str = r#"
import json, sys, boto3
endpoint, region = sys.argv[1:]
def client(service):
    return boto3.client(service, endpoint_url=endpoint, region_name=region,
                        aws_access_key_id="setup", aws_secret_access_key="setup")
iam, kms = client("iam"), client("kms")
iam.create_user(UserName="digests")
allowed = {"Effect": "Allow", "Action": ["kms:Sign", "kms:GetPublicKey"], "Resource": "*"}
policy = json.dumps({"Version": "2012-10-17", "Statement": [allowed]})
iam.put_user_policy(UserName="digests", PolicyName="sign", PolicyDocument=policy)
access = iam.create_access_key(UserName="digests")["AccessKey"]
key = kms.create_key(KeySpec="RSA_2048", KeyUsage="SIGN_VERIFY")["KeyMetadata"]
kms.create_alias(AliasName="alias/digests", TargetKeyId=key["KeyId"])
print(json.dumps([access["AccessKeyId"], access["SecretAccessKey"], key["Arn"]]))
"#;

/// The requests of [`SETUP`], which nobody has to sign.
const UNCHECKED: &str = "5";

/// A KMS with one key, `alias/digests`. It forgets everything when it is dropped.
#[derive(Debug)]
pub struct Kms {
    address: SocketAddr,
    access: (String, String),
    arn: String,
    _process: Process,
}

impl Kms {
    /// Starts one, with its log in `directory`.
    ///
    /// # Errors
    ///
    /// When it is not installed or does not come up.
    pub fn start(directory: &Path) -> Result<Self> {
        let address = free_address()?;
        let mut server = Command::new(tool_of("moto", "python")?);
        let (ip, port) = (address.ip().to_string(), address.port().to_string());
        server.args(["-m", "moto.server", "-H", &ip, "-p", &port]);
        server.env("INITIAL_NO_AUTH_ACTION_COUNT", UNCHECKED);
        let mut process = Process::spawn(server, &directory.join("kms.log"))?;
        process.wait_http(address, "/moto-api/", START)?;
        let mut setup = Command::new(tool_of("moto", "python")?);
        setup.args(["-c", SETUP, &format!("http://{address}"), REGION]);
        let said = tools::run(setup)?.success()?;
        let (id, secret, arn): (String, String, String) = serde_json::from_str(&said)?;
        Ok(Self { address, access: (id, secret), arn, _process: process })
    }

    /// Where it is.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// The ARN of its key.
    pub fn arn(&self) -> &str {
        &self.arn
    }

    /// What a program needs to sign with its key, by way of `endpoint` where it is not the KMS itself.
    pub fn variables(&self, endpoint: Option<String>) -> [(&'static str, String); 4] {
        let (id, secret) = self.access.clone();
        [
            ("AWS_ENDPOINT_URL_KMS", endpoint.unwrap_or_else(|| format!("http://{}", self.address))),
            ("AWS_ACCESS_KEY_ID", id),
            ("AWS_SECRET_ACCESS_KEY", secret),
            ("AWS_REGION", REGION.to_owned()),
        ]
    }
}
