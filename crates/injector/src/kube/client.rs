//! The connection to the API server, and single calls.

use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use bytes::Bytes;
use http::header::{ACCEPT, AUTHORIZATION, CONTENT_TYPE, HeaderValue, USER_AGENT};
use http::{Method, Request, Response, StatusCode, Uri};
use http_body_util::{BodyExt, Full, Limited};
use hyper::body::Incoming;
use hyper_rustls::{HttpsConnector, HttpsConnectorBuilder};
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Status;
use serde::Serialize;
use serde::de::DeserializeOwned;
use tokio_rustls::rustls::crypto::ring;
use tokio_rustls::rustls::pki_types::CertificateDer;
use tokio_rustls::rustls::pki_types::pem::{self, PemObject};
use tokio_rustls::rustls::{self, ClientConfig, RootCertStore};

/// Where Kubernetes puts what a pod needs to talk to it.
const ACCOUNT: &str = "/var/run/secrets/kubernetes.io/serviceaccount";
/// Bytes of an answer: a page of pods has far less.
const MAX_BODY: usize = 64 << 20;
/// How long a call may take.
const CALL: Duration = Duration::from_secs(10);
/// How long a token that was read is used: the kubelet renews them long before they end.
const TOKEN_FOR: Duration = Duration::from_secs(60);

/// The API server cannot be reached from here at all.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ClientError {
    /// This is no pod of a cluster.
    #[error("{0} is not set: is this a pod?")]
    Environment(&'static str),
    /// A file of the ServiceAccount.
    #[error("cannot read {path}")]
    Read {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
    /// The authority's certificate.
    #[error("the authority of the API server cannot be used")]
    Authority(#[from] pem::Error),
    /// TLS.
    #[error("TLS cannot be set up")]
    Tls(#[from] rustls::Error),
    /// The address.
    #[error("{0:?} is no address of an API server")]
    Address(String),
}

/// A call failed.
#[derive(Debug)]
#[non_exhaustive]
pub enum ApiError {
    /// No answer.
    Transport(Box<dyn std::error::Error + Send + Sync>),
    /// Not in time.
    Timeout,
    /// Another answer than success.
    Refused {
        /// The status.
        code: StatusCode,
        /// What the server said.
        message: String,
    },
    /// Not of the form.
    Form(serde_json::Error),
}

impl fmt::Display for ApiError {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Transport(error) => write!(formatter, "it cannot be reached: {error}"),
            Self::Timeout => formatter.write_str("it did not answer in time"),
            Self::Refused { code, message } => {
                write!(formatter, "it says {}: {message}", code.as_u16())
            }
            Self::Form(error) => write!(formatter, "its answer is not understood: {error}"),
        }
    }
}

impl std::error::Error for ApiError {}

impl ApiError {
    /// Whether the server answered with this status.
    #[must_use]
    pub fn is(&self, status: StatusCode) -> bool {
        matches!(self, Self::Refused { code, .. } if *code == status)
    }

    fn transport(error: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> Self {
        Self::Transport(error.into())
    }
}

/// A connection to the API server. Clones share it.
#[derive(Clone)]
pub struct Client(Arc<Inner>);

struct Inner {
    base: String,
    http: hyper_util::client::legacy::Client<HttpsConnector<HttpConnector>, Full<Bytes>>,
    token: Option<PathBuf>,
    read: Mutex<Option<(Instant, HeaderValue)>>,
}

impl fmt::Debug for Client {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("Client").field("base", &self.0.base).finish_non_exhaustive()
    }
}

impl Client {
    /// As a pod of the cluster, by its ServiceAccount.
    ///
    /// # Errors
    /// If this is no pod, or what Kubernetes put into it cannot be used.
    pub fn in_cluster() -> Result<Self, ClientError> {
        let variable = |name| std::env::var(name).map_err(|_| ClientError::Environment(name));
        let (host, port) = (variable("KUBERNETES_SERVICE_HOST")?, variable("KUBERNETES_SERVICE_PORT")?);
        let host = if host.contains(':') { format!("[{host}]") } else { host };
        let authority = Path::new(ACCOUNT).join("ca.crt");
        let authority = std::fs::read(&authority)
            .map_err(|source| ClientError::Read { path: authority.clone(), source })?;
        Self::new(&format!("https://{host}:{port}"), &authority, Some(Path::new(ACCOUNT).join("token")))
    }

    /// At an address, believed by the authorities in PEM, with the token in a file.
    ///
    /// # Errors
    /// If one of them cannot be used.
    pub fn new(base: &str, authorities: &[u8], token: Option<PathBuf>) -> Result<Self, ClientError> {
        let base = base.trim_end_matches('/').to_owned();
        if base.parse::<Uri>().is_err() {
            return Err(ClientError::Address(base));
        }
        let mut roots = RootCertStore::empty();
        for authority in CertificateDer::pem_slice_iter(authorities) {
            roots.add(authority?)?;
        }
        let tls = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
            .with_safe_default_protocol_versions()?
            .with_root_certificates(roots)
            .with_no_client_auth();
        // Plain HTTP is for `kubectl proxy` on this machine, and tests.
        let https = HttpsConnectorBuilder::new().with_tls_config(tls).https_or_http().enable_http1().build();
        let http = hyper_util::client::legacy::Client::builder(TokioExecutor::new())
            .pool_idle_timeout(Duration::from_secs(30))
            .build(https);
        Ok(Self(Arc::new(Inner { base, http, token, read: Mutex::new(None) })))
    }

    /// Reads an object, or a page of a list.
    ///
    /// # Errors
    /// If the call fails.
    pub async fn get<T: DeserializeOwned>(&self, path: &str) -> Result<T, ApiError> {
        self.call(Method::GET, path, None).await
    }

    /// Makes an object.
    ///
    /// # Errors
    /// If the call fails; with 409 if it is there.
    pub async fn create<T: Serialize + DeserializeOwned>(
        &self,
        path: &str,
        object: &T,
    ) -> Result<T, ApiError> {
        self.post(path, object).await
    }

    /// Sends an object, and reads another one.
    ///
    /// # Errors
    /// If the call fails.
    pub async fn post<T: DeserializeOwned>(
        &self,
        path: &str,
        object: &impl Serialize,
    ) -> Result<T, ApiError> {
        self.call(Method::POST, path, Some(("application/json", body(object)?))).await
    }

    /// Replaces an object, if it is still of the version that it has.
    ///
    /// # Errors
    /// If the call fails; with 409 if another was faster.
    pub async fn replace<T: Serialize + DeserializeOwned>(
        &self,
        path: &str,
        object: &T,
    ) -> Result<T, ApiError> {
        self.call(Method::PUT, path, Some(("application/json", body(object)?))).await
    }

    /// Changes an object by a JSON Patch.
    ///
    /// # Errors
    /// If the call fails.
    pub async fn json_patch<T: DeserializeOwned>(
        &self,
        path: &str,
        patch: &impl Serialize,
    ) -> Result<T, ApiError> {
        self.call(Method::PATCH, path, Some(("application/json-patch+json", body(patch)?))).await
    }

    async fn call<T: DeserializeOwned>(
        &self,
        method: Method,
        path: &str,
        body: Option<(&'static str, Bytes)>,
    ) -> Result<T, ApiError> {
        let answered = async {
            let response = self.send(method, path, body).await?;
            let collected = Limited::new(response.into_body(), MAX_BODY).collect().await;
            Ok(collected.map_err(ApiError::transport)?.to_bytes())
        };
        let bytes = tokio::time::timeout(CALL, answered).await.map_err(|_| ApiError::Timeout)??;
        serde_json::from_slice(&bytes).map_err(ApiError::Form)
    }

    /// Sends a request, and answers with what succeeds; its body is not read yet.
    pub(super) async fn send(
        &self,
        method: Method,
        path: &str,
        body: Option<(&'static str, Bytes)>,
    ) -> Result<Response<Incoming>, ApiError> {
        let mut request = Request::builder()
            .method(method)
            .uri(format!("{}{path}", self.0.base))
            .header(ACCEPT, "application/json")
            .header(USER_AGENT, concat!("sidetrail-injector/", env!("CARGO_PKG_VERSION")));
        if let Some(token) = self.token() {
            request = request.header(AUTHORIZATION, token);
        }
        let (content_type, body) = body.unzip();
        if let Some(content_type) = content_type {
            request = request.header(CONTENT_TYPE, content_type);
        }
        let request = request.body(Full::new(body.unwrap_or_default())).map_err(ApiError::transport)?;
        let response = self.0.http.request(request).await.map_err(ApiError::transport)?;
        let code = response.status();
        if code.is_success() {
            return Ok(response);
        }
        let said = Limited::new(response.into_body(), 64 << 10).collect().await;
        let said = said.map(http_body_util::Collected::to_bytes).unwrap_or_default();
        let status: Result<Status, _> = serde_json::from_slice(&said);
        let message = status.ok().and_then(|status| status.message).unwrap_or_default();
        Err(ApiError::Refused { code, message })
    }

    /// The header that says who asks. A token that cannot be read is none: the server's answer says what that means.
    fn token(&self) -> Option<HeaderValue> {
        let path = self.0.token.as_ref()?;
        let mut read = self.0.read.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        if let Some((at, token)) = &*read
            && at.elapsed() < TOKEN_FOR
        {
            return Some(token.clone());
        }
        let text = std::fs::read_to_string(path)
            .inspect_err(|error| tracing::error!(%error, path = %path.display(), "cannot read the token"))
            .ok()?;
        let mut token = HeaderValue::from_str(&format!("Bearer {}", text.trim())).ok()?;
        token.set_sensitive(true);
        *read = Some((Instant::now(), token.clone()));
        Some(token)
    }
}

fn body(object: &impl Serialize) -> Result<Bytes, ApiError> {
    serde_json::to_vec(object).map(Bytes::from).map_err(ApiError::Form)
}
