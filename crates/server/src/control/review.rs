//! Who shows a ServiceAccount's token: asked of Kubernetes' API server, by a `TokenReview`.
//!
//! What it does not say is not believed: no answer lets nobody in. Only tokens that are bound to a pod count, so that there
//! is a pod to show, and they end with it.

use std::fmt;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use base64::Engine as _;
use quick_cache::sync::Cache;
use reqwest::header::{AUTHORIZATION, HeaderValue};
use reqwest::{Certificate, Client, redirect};
use serde::Deserialize;
use serde_json::json;
use sidetrail_api::shape::Workload;
use sidetrail_archive::hash::Sha256;
use tokio::sync::Semaphore;

use crate::config::{ConfigError, Kubernetes, wrong};

const PATH: &str = "/apis/authentication.k8s.io/v1/tokenreviews";
/// What a ServiceAccount is called, before its namespace and name.
const USER: &str = "system:serviceaccount:";
const POD_NAME: &str = "authentication.kubernetes.io/pod-name";
const POD_UID: &str = "authentication.kubernetes.io/pod-uid";
const NODE_NAME: &str = "authentication.kubernetes.io/node-name";
/// Bytes of a token.
pub(super) const MAX_TOKEN: usize = 8 << 10;
/// Questions at a time; who comes beyond that waits for its turn, as long as a question may take.
const MAX_ASKED: usize = 16;
/// How long a question may take.
const ASK: Duration = Duration::from_secs(5);
/// Bytes of an answer.
const MAX_ANSWER: usize = 256 << 10;
/// Answers that are remembered.
const MAX_REMEMBERED: usize = 4096;
/// How long: a pod that is gone, or a token that is made good, is seen after that.
const BELIEVED: Duration = Duration::from_secs(60);
const REFUSED: Duration = Duration::from_secs(10);
/// How long the server's own credentials are used before they are read again.
const OWN: Duration = Duration::from_secs(60);
/// The same failure is logged once in this time: peers decide how many there are.
const QUIET: Duration = Duration::from_secs(10);

/// Asks the API server.
pub(super) struct Reviewer {
    config: Kubernetes,
    url: String,
    own: Mutex<Option<Own>>,
    remembered: Cache<Sha256, (Instant, Answer)>,
    places: Semaphore,
    said: Mutex<Option<(Instant, String)>>,
}

/// The server's own credentials.
#[derive(Clone)]
struct Own {
    read: Instant,
    authorities: Arc<[u8]>,
    token: HeaderValue,
    client: Client,
}

type Answer = Result<Arc<Workload>, Unbelieved>;

/// Why a token lets nobody in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Unbelieved {
    /// Its time is over.
    Expired,
    /// It is for somebody else, by the API server's word.
    Audience(String),
    /// The API server does not say for whom it is.
    NoAudience(String),
    /// It is not known, or not any more.
    Unknown,
    /// It is no ServiceAccount's.
    NoServiceAccount,
    /// It is no pod's.
    NoPod,
}

/// Whose a token is cannot be found out.
#[derive(Debug, thiserror::Error)]
pub(super) enum ReviewError {
    #[error("cannot use this server's own credentials")]
    Own(#[from] ConfigError),
    #[error("the API server cannot be reached")]
    Transport(#[from] reqwest::Error),
    #[error("the API server did not answer in {} s", ASK.as_secs())]
    Time,
    #[error("the API server says {code}: {message}")]
    Status { code: u16, message: String },
    #[error("the API server's answer is larger than {MAX_ANSWER} bytes")]
    Size,
    #[error("the API server's answer is no TokenReview")]
    Form(#[from] serde_json::Error),
}

impl fmt::Display for Unbelieved {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Expired => f.write_str("the ServiceAccount token has expired"),
            Self::Audience(wanted) => write!(f, "the ServiceAccount token is not for the audience {wanted}"),
            Self::NoAudience(wanted) => {
                write!(
                    f,
                    "Kubernetes does not say that the ServiceAccount token is for the audience {wanted}"
                )
            }
            Self::Unknown => f.write_str("Kubernetes does not believe the ServiceAccount token"),
            Self::NoServiceAccount => f.write_str("the token is not a ServiceAccount's"),
            Self::NoPod => {
                f.write_str("the ServiceAccount token is not bound to a pod: use a projected volume's")
            }
        }
    }
}

/// What is read of a `TokenReview`.
#[derive(Debug, Deserialize)]
struct Review {
    kind: String,
    #[serde(default)]
    status: ReviewStatus,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct ReviewStatus {
    authenticated: bool,
    user: User,
    audiences: Vec<String>,
    error: String,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct User {
    username: String,
    extra: std::collections::BTreeMap<String, Vec<String>>,
}

/// What the API server says where it refuses.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Refusal {
    message: String,
}

impl Reviewer {
    /// Reads the credentials once, so that what is wrong with them is said at the start.
    pub(super) fn new(
        config: &Kubernetes,
        env: &dyn Fn(&str) -> Option<String>,
    ) -> Result<Self, ConfigError> {
        let server = match &config.server {
            Some(server) => server.trim_end_matches('/').to_owned(),
            None => match (env("KUBERNETES_SERVICE_HOST"), env("KUBERNETES_SERVICE_PORT")) {
                (Some(host), Some(port)) if host.contains(':') => format!("https://[{host}]:{port}"),
                (Some(host), Some(port)) => format!("https://{host}:{port}"),
                _ => {
                    return wrong(
                        "control.kubernetes.server",
                        "is not given, and KUBERNETES_SERVICE_HOST and _PORT are not set: is this a pod?",
                    );
                }
            },
        };
        let reviewer = Self {
            config: config.clone(),
            url: format!("{server}{PATH}"),
            own: Mutex::default(),
            remembered: Cache::new(MAX_REMEMBERED),
            places: Semaphore::new(MAX_ASKED),
            said: Mutex::default(),
        };
        reviewer.own()?;
        Ok(reviewer)
    }

    /// The pod that a token is bound to.
    pub(super) async fn review(&self, token: &str) -> Result<Answer, ReviewError> {
        let key = Sha256::of(token.as_bytes());
        if let Some((at, answer)) = self.remembered.get(&key) {
            let good_for = if answer.is_ok() { BELIEVED } else { REFUSED };
            if at.elapsed() < good_for {
                return Ok(answer);
            }
            self.remembered.remove(&key);
        }
        // Those that come with the same token ask once.
        let asked = self.remembered.get_or_insert_async(&key, async {
            let answer =
                tokio::time::timeout(ASK, self.ask(token)).await.map_err(|_| ReviewError::Time)??;
            Ok((Instant::now(), answer))
        });
        asked.await.map(|(_, answer)| answer).inspect_err(|error| self.say(error))
    }

    fn say(&self, error: &ReviewError) {
        let error = crate::chain(error);
        let mut said = self.said.lock().unwrap_or_else(PoisonError::into_inner);
        if said.as_ref().is_none_or(|(at, last)| at.elapsed() >= QUIET || *last != error) {
            tracing::warn!(url = self.url, error, "collectors of pods cannot join");
            *said = Some((Instant::now(), error));
        }
    }

    async fn ask(&self, token: &str) -> Result<Answer, ReviewError> {
        // It is never closed.
        let _place = self.places.acquire().await;
        let own = self.own()?;
        let question = json!({
            "apiVersion": "authentication.k8s.io/v1",
            "kind": "TokenReview",
            "spec": { "token": token, "audiences": [self.config.audience] },
        });
        let request = own.client.post(&self.url).header(AUTHORIZATION, own.token.clone());
        let request = request.header("content-type", "application/json").header("accept", "application/json");
        let mut response =
            request.body(question.to_string()).send().await.map_err(reqwest::Error::without_url)?;
        let code = response.status();
        let mut body = Vec::new();
        while let Some(chunk) = response.chunk().await? {
            if body.len() + chunk.len() > MAX_ANSWER {
                return Err(ReviewError::Size);
            }
            body.extend_from_slice(&chunk);
        }
        if !code.is_success() {
            let Refusal { mut message } = serde_json::from_slice(&body).unwrap_or_default();
            message.truncate(message.floor_char_boundary(512));
            return Err(ReviewError::Status { code: code.as_u16(), message });
        }
        let review: Review = serde_json::from_slice(&body)?;
        if review.kind != "TokenReview" {
            return Err(ReviewError::Form(serde::de::Error::custom(format!(
                "its kind is {:?}",
                review.kind
            ))));
        }
        Ok(self.judge(review.status))
    }

    fn judge(&self, status: ReviewStatus) -> Answer {
        let audience = &self.config.audience;
        if !status.authenticated {
            let error = status.error;
            tracing::info!(error, "a ServiceAccount token is refused");
            return Err(match () {
                () if error.contains("expired") => Unbelieved::Expired,
                () if error.contains("audience") => Unbelieved::Audience(audience.clone()),
                () => Unbelieved::Unknown,
            });
        }
        // An authenticator that knows no audiences leaves this empty: then it may be a token for the API server.
        if !status.audiences.iter().any(|it| it == audience) {
            return Err(Unbelieved::NoAudience(audience.clone()));
        }
        let User { username, mut extra } = status.user;
        let account = username.strip_prefix(USER).and_then(|account| account.split_once(':'));
        let Some((namespace, service_account)) = account else { return Err(Unbelieved::NoServiceAccount) };
        let mut only = |name: &str| extra.remove(name).filter(|it| it.len() == 1).and_then(|mut it| it.pop());
        match (only(POD_NAME), only(POD_UID)) {
            (Some(pod), Some(uid)) => Ok(Arc::new(Workload {
                namespace: namespace.to_owned(),
                service_account: service_account.to_owned(),
                pod,
                uid,
                node: only(NODE_NAME),
            })),
            _ => Err(Unbelieved::NoPod),
        }
    }

    /// The credentials, not older than a minute: the kubelet renews them.
    fn own(&self) -> Result<Own, ConfigError> {
        let mut own = self.own.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(own) = own.as_ref().filter(|own| own.read.elapsed() < OWN) {
            return Ok(own.clone());
        }
        let authorities = read(&self.config.ca)?;
        let token = read(&self.config.token)?;
        let client = match own.as_ref().filter(|own| *own.authorities == *authorities) {
            Some(own) => own.client.clone(),
            None => client(&authorities).map_err(|problem| ConfigError::Value {
                field: "control.kubernetes.ca".to_owned(),
                problem: format!("{} cannot be used: {}", self.config.ca.display(), crate::chain(&problem)),
            })?,
        };
        let mut header = vec![];
        header.extend_from_slice(b"Bearer ");
        header.extend_from_slice(token.trim_ascii());
        let Ok(mut token) = HeaderValue::from_bytes(&header) else {
            return wrong("control.kubernetes.token", format!("{} is no token", self.config.token.display()));
        };
        token.set_sensitive(true);
        let fresh = Own { read: Instant::now(), authorities: authorities.into(), token, client };
        *own = Some(fresh.clone());
        Ok(fresh)
    }
}

impl fmt::Debug for Reviewer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Reviewer").field("url", &self.url).finish_non_exhaustive()
    }
}

fn read(path: &PathBuf) -> Result<Vec<u8>, ConfigError> {
    std::fs::read(path).map_err(|source| ConfigError::Read { path: path.clone(), source })
}

/// Believes these authorities and no others, and goes nowhere else than asked to.
fn client(authorities: &[u8]) -> Result<Client, reqwest::Error> {
    let mut client = Client::builder()
        .tls_built_in_root_certs(false)
        .https_only(true)
        .http1_only()
        .no_proxy()
        .redirect(redirect::Policy::none())
        .timeout(ASK)
        .user_agent(concat!("sidetrail-server/", env!("CARGO_PKG_VERSION")));
    for authority in Certificate::from_pem_bundle(authorities)? {
        client = client.add_root_certificate(authority);
    }
    client.build()
}

/// When a token is over, seconds since the Unix epoch, by its own word: to be believed of one that was reviewed.
pub(super) fn expiry(token: &str) -> Option<i64> {
    #[derive(Deserialize)]
    struct Claims {
        exp: i64,
    }
    let claims = token.split('.').nth(1)?;
    let claims = base64::prelude::BASE64_URL_SAFE_NO_PAD.decode(claims).ok()?;
    serde_json::from_slice::<Claims>(&claims).ok().map(|claims| claims.exp)
}

/// Whether a text has the form of a ServiceAccount's token: a JSON Web Token.
pub(super) fn is_one(text: &str) -> bool {
    let of_part = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_');
    let part = |part: &str| !part.is_empty() && part.bytes().all(of_part);
    text.len() <= MAX_TOKEN && text.split('.').count() == 3 && text.split('.').all(part)
}

#[cfg(test)]
mod tests;
