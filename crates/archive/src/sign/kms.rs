//! Keys of AWS KMS, or of what speaks like it: JSON 1.1 over HTTP with Signature Version 4.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use http::header::CONTENT_TYPE;
use http::{HeaderMap, HeaderName, HeaderValue, Method};
use serde::Deserialize;
use serde_json::json;
use tokio::runtime::{Builder, Runtime};

use super::RsaPublicKey;
use super::reference::{ElsewhereError, Variables};
use super::remote::{Device, Remote};
use crate::hash::Sha256;
use crate::store::service::{Answer, Service};

/// What digests are signed with.
const ALGORITHM: &str = "RSASSA_PKCS1_V1_5_SHA_256";
/// The largest message that KMS hashes itself.
const MAX_RAW: usize = 4096;
/// How often a request is tried, where it may help.
const TRIES: u32 = 3;
/// Before the second try, doubled with each further one.
const BACKOFF: std::time::Duration = std::time::Duration::from_millis(200);
/// How long one try may take.
const TRY_WITHIN: std::time::Duration = std::time::Duration::from_secs(10);
/// The most characters of an error that are shown.
const MAX_SHOWN: usize = 300;

/// `awskms:///KEY` or `awskms://HOST/KEY`: a key by its id, ARN, alias (`alias/…`) or the ARN of that.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct KeyName {
    host: Option<String>,
    key: String,
}

impl KeyName {
    pub(super) fn parse(text: &str) -> Result<Self, String> {
        let rest = text.strip_prefix("awskms://").ok_or("it does not begin with awskms://")?;
        let (host, key) = rest.split_once('/').ok_or("a key follows as in awskms:///alias/NAME")?;
        let plain = |text: &str, more: &str| {
            text.bytes().all(|byte| byte.is_ascii_alphanumeric() || more.as_bytes().contains(&byte))
        };
        if !plain(host, ".-:") {
            return Err("its host is not HOST or HOST:PORT".to_owned());
        }
        if key.is_empty() || !plain(key, ":/_-") {
            return Err("its key is no id, ARN or alias".to_owned());
        }
        Ok(Self { host: (!host.is_empty()).then(|| host.to_owned()), key: key.to_owned() })
    }

    /// Where an ARN says that the key is.
    fn region(&self) -> Option<&str> {
        let mut parts = self.key.strip_prefix("arn:")?.split(':');
        (parts.nth(1)? == "kms").then(|| parts.next())?.filter(|region| !region.is_empty())
    }
}

/// Opens a key: asks for its public half.
pub(super) fn open(name: &KeyName, env: Variables<'_>) -> Result<Remote, ElsewhereError> {
    let set = |name: &str| env(name).filter(|value| !value.is_empty());
    // As in AWS's own tools, the variable of the service wins over the one of all services.
    let endpoint = match &name.host {
        Some(host) => Some(format!("https://{host}")),
        None => set("AWS_ENDPOINT_URL_KMS").or_else(|| set("AWS_ENDPOINT_URL")),
    };
    let service = Service::new("kms", name.region(), endpoint, env).map_err(ElsewhereError::lasting)?;
    let key = name.key.clone();
    Remote::open(move || {
        let runtime = Builder::new_current_thread().enable_all().build().map_err(ElsewhereError::passing)?;
        let mut kms = Kms { service, runtime, key };
        let public = kms.public_key()?;
        Ok((kms, public))
    })
}

struct Kms {
    service: Service,
    runtime: Runtime,
    /// The ARN, once it is known: an alias may mean another key tomorrow.
    key: String,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct PublicKey {
    key_id: Option<String>,
    public_key: String,
    key_usage: Option<String>,
    #[serde(default)]
    signing_algorithms: Vec<String>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Signed {
    signature: String,
}

/// How KMS says what is wrong.
#[derive(Deserialize)]
struct Failed {
    #[serde(rename = "__type", default)]
    code: String,
    #[serde(alias = "Message", default)]
    message: String,
}

impl Kms {
    fn public_key(&mut self) -> Result<RsaPublicKey, ElsewhereError> {
        let answer: PublicKey = self.call("GetPublicKey", &json!({ "KeyId": self.key }))?;
        if answer.key_usage.is_some_and(|usage| usage != "SIGN_VERIFY") {
            return Err(ElsewhereError::lasting("it is not a key for signatures"));
        }
        if !answer.signing_algorithms.iter().any(|algorithm| algorithm == ALGORITHM) {
            return Err(ElsewhereError::lasting(format!("it does not sign with {ALGORITHM}")));
        }
        let public = base64(&answer.public_key)?;
        let public = RsaPublicKey::from_spki(&public).map_err(ElsewhereError::lasting)?;
        self.key = answer.key_id.filter(|id| id.starts_with("arn:")).unwrap_or_else(|| self.key.clone());
        Ok(public)
    }

    fn call<T: for<'de> Deserialize<'de>>(
        &self,
        operation: &str,
        input: &serde_json::Value,
    ) -> Result<T, ElsewhereError> {
        let (target, body) = (format!("TrentService.{operation}"), Bytes::from(input.to_string()));
        let target = HeaderValue::from_str(&target).map_err(ElsewhereError::lasting)?;
        let headers = HeaderMap::from_iter([
            (CONTENT_TYPE, HeaderValue::from_static("application/x-amz-json-1.1")),
            (HeaderName::from_static("x-amz-target"), target),
        ]);
        self.runtime.block_on(async {
            let mut wait = BACKOFF;
            for _ in 1..TRIES {
                match self.once(operation, headers.clone(), body.clone()).await {
                    Err(error) if error.may_pass() => {}
                    done => return done,
                }
                tokio::time::sleep(wait).await;
                wait *= 2;
            }
            self.once(operation, headers, body).await
        })
    }

    async fn once<T: for<'de> Deserialize<'de>>(
        &self,
        operation: &str,
        headers: HeaderMap,
        body: Bytes,
    ) -> Result<T, ElsewhereError> {
        let sent = tokio::time::timeout(TRY_WITHIN, self.service.send(Method::POST, "/", headers, body));
        let answer = match sent.await {
            Ok(answer) => answer.map_err(|error| ElsewhereError::passing(format!("{operation}: {error}")))?,
            Err(_) => {
                let seconds = TRY_WITHIN.as_secs();
                return Err(ElsewhereError::passing(format!("{operation}: no answer within {seconds} s")));
            }
        };
        if answer.status.is_success() {
            let read = serde_json::from_slice(&answer.body);
            return read.map_err(|error| {
                ElsewhereError::passing(format!("{operation}: not an answer of KMS: {error}"))
            });
        }
        Err(failure(operation, &answer))
    }
}

impl Device for Kms {
    fn sign(&mut self, message: &[u8]) -> Result<Vec<u8>, ElsewhereError> {
        let digest = Sha256::of(message);
        let (kind, bytes) = match message.len() {
            ..=MAX_RAW => ("RAW", message),
            _ => ("DIGEST", digest.as_bytes().as_slice()),
        };
        let input = json!({
            "KeyId": self.key, "Message": STANDARD.encode(bytes), "MessageType": kind, "SigningAlgorithm": ALGORITHM,
        });
        let answer: Signed = self.call("Sign", &input)?;
        base64(&answer.signature)
    }
}

fn base64(text: &str) -> Result<Vec<u8>, ElsewhereError> {
    STANDARD.decode(text).map_err(|_| ElsewhereError::passing("it answered with what is not base64"))
}

/// What an answer says that is no success.
fn failure(operation: &str, answer: &Answer) -> ElsewhereError {
    let Failed { code, message } = serde_json::from_slice(&answer.body).unwrap_or_else(|_| Failed {
        code: String::new(),
        message: String::from_utf8_lossy(&answer.body).into_owned(),
    });
    let code = code.rsplit('#').next().unwrap_or_default();
    let said: String = format!("{code} {message}").trim().chars().take(MAX_SHOWN).collect();
    let text = format!("{operation}: {} {said}", answer.status.as_u16());
    // These take somebody to change something; of everything else another try may tell more.
    let lasting = matches!(
        code,
        "NotFoundException"
            | "InvalidKeyUsageException"
            | "UnsupportedOperationException"
            | "ValidationException"
            | "InvalidArnException"
    );
    if lasting { ElsewhereError::lasting(text) } else { ElsewhereError::passing(text) }
}

#[cfg(test)]
mod tests {
    use std::io::{BufRead as _, BufReader, Read as _, Write as _};
    use std::net::TcpListener;
    use std::sync::mpsc::{Receiver, sync_channel};

    use serde_json::Value;

    use super::super::{DigestSigner as _, RsaSigner};
    use super::*;
    use crate::causes::chain;

    const ARN: &str = "arn:aws:kms:eu-west-2:111122223333:key/0000";

    /// Answers one request after the other with these, and tells what was asked: the operation and its input. Its URL.
    fn answer(answers: Vec<(u16, Value)>) -> (String, Receiver<(String, Value)>) {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let (tell, asked) = sync_channel(answers.len());
        std::thread::spawn(move || {
            for (status, body) in answers {
                let mut reader = BufReader::new(listener.accept().unwrap().0);
                let (mut target, mut signed, mut length) = (String::new(), false, 0);
                for line in reader.by_ref().lines().map(Result::unwrap).take_while(|line| !line.is_empty()) {
                    let (name, value) = line.split_once(": ").unwrap_or_default();
                    match name {
                        "x-amz-target" => value.clone_into(&mut target),
                        "content-length" => length = value.parse().unwrap(),
                        "authorization" => {
                            signed = value.contains("/eu-west-2/kms/aws4_request, SignedHeaders=");
                        }
                        _ => {}
                    }
                }
                assert!(signed, "the region is the ARN's");
                let mut input = Vec::new();
                reader.by_ref().take(length).read_to_end(&mut input).unwrap();
                tell.send((target, serde_json::from_slice(&input).unwrap())).unwrap();
                let body = body.to_string();
                let head = format!(
                    "HTTP/1.1 {status} A\r\ncontent-length: {}\r\nconnection: close\r\n\r\n",
                    body.len()
                );
                reader.get_mut().write_all((head + &body).as_bytes()).unwrap();
            }
        });
        (url, asked)
    }

    fn opened(url: &str) -> Result<Remote, ElsewhereError> {
        let variable = |name: &str| match name {
            "AWS_ENDPOINT_URL_KMS" => Some(url.to_owned()),
            "AWS_ACCESS_KEY_ID" | "AWS_SECRET_ACCESS_KEY" => Some("a".to_owned()),
            "AWS_REGION" => Some("us-west-1".to_owned()),
            _ => None,
        };
        open(&KeyName::parse(&format!("awskms:///{ARN}")).unwrap(), &variable)
    }

    fn key() -> RsaSigner {
        RsaSigner::from_pem(include_str!("../../testdata/digest/key-a.pem")).unwrap()
    }

    fn public() -> Value {
        json!({
            "KeyId": ARN, "PublicKey": STANDARD.encode(key().public_key().to_spki()), "KeyUsage": "SIGN_VERIFY",
            "SigningAlgorithms": ["RSASSA_PKCS1_V1_5_SHA_256"],
        })
    }

    #[test]
    fn a_long_message_is_hashed_here_and_a_throttled_request_is_made_again() {
        let (short, long) = (b"short".to_vec(), vec![b'x'; MAX_RAW + 1]);
        let signed = |message: &[u8]| json!({ "KeyId": ARN, "Signature": STANDARD.encode(key().sign(message).unwrap().as_bytes()) });
        let throttled = || (400, json!({ "__type": "ThrottlingException", "message": "Rate exceeded" }));
        let (url, asked) =
            answer(vec![(200, public()), throttled(), (200, signed(&short)), (200, signed(&long))]);
        let signer = opened(&url).unwrap();
        assert_eq!(signer.public_key(), key().public_key());
        assert_eq!(signer.sign(&short).unwrap(), key().sign(&short).unwrap());
        assert_eq!(signer.sign(&long).unwrap(), key().sign(&long).unwrap());
        let asked: Vec<_> = asked.iter().collect();
        let of = |kind: &str, bytes: &[u8]| {
            let input = json!({
                "KeyId": ARN, "Message": STANDARD.encode(bytes), "MessageType": kind,
                "SigningAlgorithm": "RSASSA_PKCS1_V1_5_SHA_256",
            });
            ("TrentService.Sign".to_owned(), input)
        };
        assert_eq!(asked[0], ("TrentService.GetPublicKey".to_owned(), json!({ "KeyId": ARN })));
        assert_eq!(
            asked[1..],
            [of("RAW", &short), of("RAW", &short), of("DIGEST", Sha256::of(&long).as_bytes())]
        );
    }

    #[test]
    fn what_another_try_does_not_mend_is_said_at_once() {
        let gone =
            json!({ "__type": "com.amazonaws.kms#NotFoundException", "message": "Alias is not found." });
        let (url, asked) = answer(vec![(400, gone)]);
        assert_eq!(
            chain(&opened(&url).unwrap_err()),
            "GetPublicKey: 400 NotFoundException Alias is not found."
        );
        assert_eq!(asked.iter().count(), 1);
        let mut encrypts = public();
        encrypts["KeyUsage"] = "ENCRYPT_DECRYPT".into();
        let (url, _asked) = answer(vec![(200, encrypts)]);
        assert_eq!(chain(&opened(&url).unwrap_err()), "it is not a key for signatures");
    }

    #[test]
    fn keys_are_named_as_others_name_them() {
        for (text, host, key) in [
            ("awskms:///alias/digests", None, "alias/digests"),
            (
                "awskms:///arn:aws:kms:eu-west-2:111122223333:alias/a",
                None,
                "arn:aws:kms:eu-west-2:111122223333:alias/a",
            ),
            ("awskms://kms.example.com:8443/1234abcd", Some("kms.example.com:8443"), "1234abcd"),
        ] {
            let name = KeyName { host: host.map(str::to_owned), key: key.to_owned() };
            assert_eq!(KeyName::parse(text), Ok(name));
        }
        for text in [
            "awskms:alias/a",
            "awskms://",
            "awskms:///",
            "awskms://user@host/a",
            "awskms:///a b",
            "awskms:///a?b",
        ] {
            assert!(KeyName::parse(text).is_err(), "{text}");
        }
    }
}
