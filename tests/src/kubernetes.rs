//! As much of Kubernetes' API server as answers a `TokenReview`, in the shapes of a real one: it gives tokens to pods, and
//! says of them what an API server says.

use std::collections::HashMap;
use std::fs;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use anyhow::{Context, Result};
use base64::Engine as _;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use bytes::Bytes;
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper::{Request, Response};
use hyper_util::rt::TokioIo;
use jiff::Timestamp;
use serde_json::{Value, json};
use sidetrail_wire::listen::{Terms, Tls};
use tokio::net::TcpListener;
use tokio::runtime::Runtime;

use crate::Authority;

/// Where it is asked.
const PATH: &str = "/apis/authentication.k8s.io/v1/tokenreviews";
/// What the server that asks shows.
const OWN: &str = "eyJhbGciOiJSUzI1NiJ9.eyJzdWIiOiJzeXN0ZW06c2VydmljZWFjY291bnQ6c2lkZXRyYWlsOnNpZGV0cmFpbC1zZXJ2ZXIifQ.b3du";

/// What it does with questions.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Mood {
    /// It answers.
    #[default]
    Well,
    /// Who asks lacks the permission.
    Forbidding,
    /// It closes connections without an answer.
    Away,
}

/// A pod, or who has a token without one.
#[derive(Clone, Debug)]
pub struct Pod {
    /// Its namespace.
    pub namespace: &'static str,
    /// Its ServiceAccount.
    pub service_account: &'static str,
    /// Its name and uid; `None` of a token that is no pod's.
    pub pod: Option<(&'static str, &'static str)>,
}

#[derive(Debug, Default)]
struct State {
    mood: Mood,
    /// What tokens say, by the tokens that were given.
    given: HashMap<String, Value>,
    /// Tokens that it was asked about.
    asked: Vec<String>,
}

/// An API server. It ends when it is dropped.
#[derive(Debug)]
pub struct ApiServer {
    address: SocketAddr,
    ca: PathBuf,
    own: PathBuf,
    state: Arc<Mutex<State>>,
    _runtime: Runtime,
}

impl ApiServer {
    /// Starts one on loopback, over TLS with a certificate of `authority`.
    ///
    /// # Errors
    ///
    /// When it cannot listen, or its files cannot be written.
    pub fn start(directory: &Path, authority: &Authority) -> Result<Self> {
        let identity = authority.issue("api-server", &["127.0.0.1"])?;
        let terms =
            Terms { certificate: identity.certificate, key: identity.key, clients: None, http1: true };
        let tls = Tls::load(&terms, Timestamp::now().as_second())?;
        let own = directory.join("own.token");
        fs::write(&own, OWN)?;
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build()?;
        let listener = runtime.block_on(TcpListener::bind("127.0.0.1:0"))?;
        let (address, state) = (listener.local_addr()?, Arc::<Mutex<State>>::default());
        let served = Arc::clone(&state);
        runtime.spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let (acceptor, state) = (tls.acceptor.clone(), Arc::clone(&served));
                tokio::spawn(async move {
                    let Ok(stream) = acceptor.accept(stream).await else { return };
                    let service = service_fn(|request| answer(request, Arc::clone(&state)));
                    let http = hyper::server::conn::http1::Builder::new();
                    // Whoever asks sees for itself that a connection ended.
                    let _ = http.serve_connection(TokioIo::new(stream), service).await;
                });
            }
        });
        Ok(Self { address, ca: authority.ca(), own, state, _runtime: runtime })
    }

    /// The members of a server's `control.kubernetes` that lead here.
    #[must_use]
    pub fn members(&self) -> String {
        let (ca, own) = (self.ca.display(), self.own.display());
        format!("server: 'https://{}', ca: {ca}, token: {own}", self.address)
    }

    /// A token for `audience` that is over in `seconds`, or was before.
    ///
    /// # Errors
    ///
    /// When the claims cannot be written.
    pub fn give(&self, pod: &Pod, audience: &str, seconds: i64) -> Result<String> {
        let now = Timestamp::now().as_second();
        let Pod { namespace, service_account, pod } = pod;
        let mut state = self.state();
        let mut bound = json!({ "namespace": namespace,
            "serviceaccount": { "name": service_account, "uid": "a9e4c2d0-5d0c-4f0e-8f3d-5a3a6d1c7f10" } });
        if let Some((name, uid)) = pod {
            bound["pod"] = json!({ "name": name, "uid": uid });
            bound["node"] = json!({ "name": "node-1", "uid": "5b7f0f7e-8f0a-4a55-9b0e-2f1d5a3c9e11" });
        }
        let claims = json!({
            "aud": [audience], "exp": now + seconds, "iat": now, "nbf": now,
            "iss": "https://kubernetes.default.svc.cluster.local",
            "jti": format!("0c3bb1a9-3a6c-4a0f-9d16-{:012}", state.given.len()),
            "kubernetes.io": bound,
            "sub": format!("system:serviceaccount:{namespace}:{service_account}"),
        });
        let part = |text: &str| BASE64_URL_SAFE_NO_PAD.encode(text);
        let token = format!(
            "{}.{}.{}",
            part(r#"{"alg":"RS256","kid":"tests"}"#),
            part(&serde_json::to_string(&claims)?),
            part("a signature")
        );
        state.given.insert(token.clone(), claims);
        Ok(token)
    }

    /// How it treats questions from now on.
    pub fn set_mood(&self, mood: Mood) {
        self.state().mood = mood;
    }

    /// How often it was asked about a token.
    #[must_use]
    pub fn asked(&self, token: &str) -> usize {
        self.state().asked.iter().filter(|it| *it == token).count()
    }

    fn state(&self) -> MutexGuard<'_, State> {
        lock(&self.state)
    }
}

fn lock(state: &Mutex<State>) -> MutexGuard<'_, State> {
    state.lock().unwrap_or_else(PoisonError::into_inner)
}

async fn answer(
    request: Request<Incoming>,
    state: Arc<Mutex<State>>,
) -> Result<Response<Full<Bytes>>, std::io::Error> {
    let mood = lock(&state).mood;
    if mood == Mood::Away {
        return Err(std::io::Error::other("away"));
    }
    let shown = request.headers().get("authorization").and_then(|it| it.to_str().ok().map(str::to_owned));
    let is_question = request.method() == "POST" && request.uri().path() == PATH;
    let body = request.into_body().collect().await.map_err(std::io::Error::other)?.to_bytes();
    let failure = |code: u16, reason: &str, message: &str| {
        (
            code,
            json!({ "kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Failure",
            "message": message, "reason": reason, "code": code }),
        )
    };
    let (code, answer) = match serde_json::from_slice::<Value>(&body) {
        _ if shown.as_deref() != Some(&format!("Bearer {OWN}")) => {
            failure(401, "Unauthorized", "Unauthorized")
        }
        _ if mood == Mood::Forbidding => failure(
            403,
            "Forbidden",
            "tokenreviews.authentication.k8s.io is forbidden: User \
             \"system:serviceaccount:sidetrail:sidetrail-server\" cannot create resource \"tokenreviews\" in API group \
             \"authentication.k8s.io\" at the cluster scope",
        ),
        Ok(mut review) if is_question && review["kind"] == "TokenReview" => {
            review["status"] = status(&review["spec"], &state);
            review["metadata"] = json!({ "managedFields": [] });
            (201, review)
        }
        _ => failure(404, "NotFound", "the server could not find the requested resource"),
    };
    let response = Response::builder().status(code).header("content-type", "application/json");
    response.body(Full::from(answer.to_string())).map_err(std::io::Error::other)
}

fn status(spec: &Value, state: &Mutex<State>) -> Value {
    let token = spec["token"].as_str().unwrap_or_default();
    let mut state = lock(state);
    state.asked.push(token.to_owned());
    let refused = |error: String| json!({ "user": {}, "error": error });
    let Some(claims) = state.given.get(token) else {
        return refused("invalid bearer token".to_owned());
    };
    if claims["exp"].as_i64() <= Some(Timestamp::now().as_second()) {
        return refused("[invalid bearer token, service account token has expired]".to_owned());
    }
    if claims["aud"] != spec["audiences"] {
        return refused(format!(
            "[invalid bearer token, token audiences {} is invalid for the target audiences {}]",
            claims["aud"], spec["audiences"]
        ));
    }
    let bound = &claims["kubernetes.io"];
    let namespace = bound["namespace"].as_str().unwrap_or_default();
    let jti = format!("JTI={}", claims["jti"].as_str().unwrap_or_default());
    let mut extra = json!({ "authentication.kubernetes.io/credential-id": [jti] });
    for (kind, member) in [("pod", "name"), ("pod", "uid"), ("node", "name"), ("node", "uid")] {
        if !bound[kind].is_null() {
            extra[format!("authentication.kubernetes.io/{kind}-{member}")] = json!([bound[kind][member]]);
        }
    }
    json!({
        "authenticated": true,
        "user": {
            "username": claims["sub"], "uid": bound["serviceaccount"]["uid"], "extra": extra,
            "groups": ["system:serviceaccounts", format!("system:serviceaccounts:{namespace}"), "system:authenticated"],
        },
        "audiences": spec["audiences"],
    })
}

/// Puts a token where a collector reads it, as the kubelet does: another file in its place.
///
/// # Errors
///
/// When it cannot be written.
pub fn put(path: &Path, token: &str) -> Result<()> {
    let next = path.with_extension("next");
    fs::write(&next, token).and_then(|()| fs::rename(&next, path)).context("cannot put a token")
}
