//! The server, as its clients reach it: an endpoint, access keys in the environment as AWS's own tools have them, and
//! signed requests.

use std::time::Duration;

use anyhow::{Context, Result, bail};
use clap::Args;
use http::header::{CONTENT_TYPE, HOST};
use http::{HeaderMap, HeaderValue, Uri};
use jiff::Timestamp;
use serde::Serialize;
use serde::de::DeserializeOwned;
use sidetrail_api::Operation;
use sidetrail_api::sigv4::{self, Credentials, Secret};

/// The service that requests are signed for.
const SERVICE: &str = "cloudtrail";
/// How long a request may take: the server itself may wait for log files that it has to read.
const TIMEOUT: Duration = Duration::from_secs(60);
/// How long a connection may take to be made.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
/// The most bytes of an answer: a thousand of the largest records.
const MAX_ANSWER: usize = 300 << 20;
/// How often a request is tried again, if the server says that it cannot at the moment.
const RETRIES: u32 = 3;

/// Where the server is, and as whom it is asked.
#[derive(Debug, Args)]
pub(crate) struct Endpoint {
    /// The server's address.
    #[arg(long, value_name = "URL", env = "AWS_ENDPOINT_URL_CLOUDTRAIL")]
    endpoint_url: Option<String>,
    /// Region that the request is signed for.
    #[arg(long, value_name = "NAME", env = "AWS_REGION")]
    region: Option<String>,
}

/// A client of one server.
#[derive(Debug)]
pub(crate) struct Client {
    http: reqwest::Client,
    base: String,
    host: HeaderValue,
    region: String,
    credentials: Credentials,
}

/// The server refused; what it says is its own text.
#[derive(Debug, thiserror::Error)]
#[error("the server refuses: {code}: {message}")]
pub(crate) struct Refused {
    code: String,
    message: String,
}

impl Endpoint {
    /// A client for it. `env` looks up a variable.
    pub(crate) fn client(&self, env: &dyn Fn(&str) -> Option<String>) -> Result<Client> {
        let set = |name: &str| env(name).filter(|value| !value.is_empty());
        let base = self.endpoint_url.clone().or_else(|| set("AWS_ENDPOINT_URL"));
        let Some(base) = base else {
            bail!("which server? Say --endpoint-url, or set AWS_ENDPOINT_URL_CLOUDTRAIL");
        };
        let uri: Uri = base.parse().with_context(|| format!("{base:?} is not a URL"))?;
        let plain = uri.path() == "/" && uri.query().is_none();
        let Some(authority) =
            uri.authority().filter(|_| plain && matches!(uri.scheme_str(), Some("http" | "https")))
        else {
            bail!("{base:?} is not the address of a server: write http://host:port");
        };
        if authority.as_str().contains('@') {
            bail!("the address of a server must not hold credentials");
        }
        let Some(region) = self.region.clone().or_else(|| set("AWS_DEFAULT_REGION")) else {
            bail!("which region? Say --region, or set AWS_REGION");
        };
        let (Some(access_key), Some(secret)) = (set("AWS_ACCESS_KEY_ID"), set("AWS_SECRET_ACCESS_KEY"))
        else {
            bail!("as whom? Set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY");
        };
        let credentials =
            Credentials { access_key, secret: Secret::new(secret), session_token: set("AWS_SESSION_TOKEN") };
        let http = reqwest::Client::builder().timeout(TIMEOUT).connect_timeout(CONNECT_TIMEOUT).build()?;
        let host = HeaderValue::from_str(authority.as_str())?;
        Ok(Client { http, base: base.trim_end_matches('/').to_owned(), host, region, credentials })
    }
}

impl Client {
    /// Posts a document to a path, and reads the one that comes back.
    pub(crate) async fn post<T: DeserializeOwned>(&self, path: &str, input: &impl Serialize) -> Result<T> {
        self.ask(path, None, input).await
    }

    /// Asks for an operation of CloudTrail's.
    pub(crate) async fn call<T: DeserializeOwned>(
        &self,
        operation: Operation,
        input: &impl Serialize,
    ) -> Result<T> {
        self.ask("/", operation.target(), input).await
    }

    async fn ask<T: DeserializeOwned>(
        &self,
        path: &str,
        target: Option<String>,
        input: &impl Serialize,
    ) -> Result<T> {
        let target = target.map(|target| HeaderValue::from_str(&target)).transpose()?;
        let body = serde_json::to_vec(input)?;
        let mut pause = Duration::from_millis(200);
        for _ in 0..RETRIES {
            match self.send(path, target.as_ref(), &body).await? {
                Answer::Done(answer) => return self.read(&answer),
                Answer::Later => {
                    tokio::time::sleep(pause).await;
                    pause *= 4;
                }
            }
        }
        match self.send(path, target.as_ref(), &body).await? {
            Answer::Done(answer) => self.read(&answer),
            Answer::Later => bail!("the server at {} cannot answer at the moment", self.base),
        }
    }

    fn read<T: DeserializeOwned>(&self, answer: &[u8]) -> Result<T> {
        serde_json::from_slice(answer).with_context(|| format!("{} answered with something else", self.base))
    }

    async fn send(&self, path: &str, target: Option<&HeaderValue>, body: &[u8]) -> Result<Answer> {
        let mut headers = HeaderMap::new();
        headers.insert(HOST, self.host.clone());
        match target {
            Some(target) => {
                headers.insert(CONTENT_TYPE, HeaderValue::from_static(sidetrail_api::CONTENT_TYPE));
                headers.insert(sidetrail_api::TARGET_HEADER, target.clone());
            }
            None => {
                headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
            }
        }
        let request = sigv4::Request { method: "POST", path, query: "", headers: &headers, body };
        let signed = sigv4::sign(&request, &self.credentials, &self.region, SERVICE, Timestamp::now())
            .context("the access key or session token is not one")?;
        let url = format!("{}{path}", self.base);
        let sent = self.http.post(&url).headers(signed).body(body.to_vec()).send().await;
        let mut response = sent.with_context(|| format!("cannot reach the server at {}", self.base))?;
        let status = response.status();
        let mut answer = Vec::new();
        while let Some(chunk) = response.chunk().await.context("the answer was cut off")? {
            if answer.len() + chunk.len() > MAX_ANSWER {
                bail!("the answer has more than {MAX_ANSWER} bytes");
            }
            answer.extend_from_slice(&chunk);
        }
        if status.is_success() {
            return Ok(Answer::Done(answer));
        }
        let refused = refused(&answer)
            .unwrap_or_else(|| Refused { code: status.to_string(), message: "without a reason".to_owned() });
        if status.as_u16() == 503 || refused.code == "ThrottlingException" {
            return Ok(Answer::Later);
        }
        Err(refused.into())
    }
}

enum Answer {
    Done(Vec<u8>),
    Later,
}

fn refused(answer: &[u8]) -> Option<Refused> {
    let answer: serde_json::Value = serde_json::from_slice(answer).ok()?;
    let text = |name: &str| answer.get(name)?.as_str().map(str::to_owned);
    Some(Refused { code: text("__type")?, message: text("message").unwrap_or_default() })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn client(url: Option<&str>, env: &[(&str, &str)]) -> Result<Client, String> {
        let endpoint = Endpoint { endpoint_url: url.map(str::to_owned), region: None };
        let env = |name: &str| env.iter().find(|(it, _)| *it == name).map(|(_, value)| (*value).to_owned());
        endpoint.client(&env).map_err(|error| error.to_string())
    }

    #[test]
    fn what_is_missing_is_named() {
        let all = [
            ("AWS_ACCESS_KEY_ID", "AKIDEXAMPLE"),
            ("AWS_SECRET_ACCESS_KEY", "s"),
            ("AWS_DEFAULT_REGION", "r-1"),
        ];
        assert!(client(Some("http://127.0.0.1:8420/"), &all).is_ok());
        for (url, env, named) in [
            (None, &all[..], "--endpoint-url"),
            (Some("127.0.0.1:8420"), &all, "not the address"),
            (Some("http://a/b"), &all, "not the address"),
            (Some("ftp://a"), &all, "not the address"),
            (Some("http://u:p@a"), &all, "credentials"),
            (Some("http://a"), &all[..2], "AWS_REGION"),
            (Some("http://a"), &all[1..], "AWS_ACCESS_KEY_ID"),
        ] {
            let error = client(url, env).unwrap_err();
            assert!(error.contains(named), "{error}");
        }
        let shown = format!("{:?}", client(Some("http://a"), &all).unwrap());
        assert!(!shown.contains("\"s\""), "{shown}");
    }

    #[test]
    fn a_refusal_is_in_the_servers_words() {
        let refused = refused(br#"{"__type":"ValidationException","message":"limit is 0"}"#).unwrap();
        assert_eq!(refused.to_string(), "the server refuses: ValidationException: limit is 0");
        assert!(super::refused(b"<html>").is_none());
    }
}
