//! An API server, as far as the injector calls one: objects with versions, lists, watches, JSON patches, and a conflict where
//! two write the same.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};

use axum::Router;
use axum::body::{Body, Bytes};
use axum::extract::State;
use axum::response::{IntoResponse, Response};
use futures_util::{StreamExt, stream};
use http::{Method, StatusCode, Uri};
use serde_json::{Value, json};
use sidetrail_injector::kube::Client;
use tokio::sync::broadcast;

/// A server on loopback.
#[derive(Clone, Debug)]
pub(crate) struct Api(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    address: SocketAddr,
    /// By path of the object.
    objects: Mutex<(u64, BTreeMap<String, Value>)>,
    changes: broadcast::Sender<(String, Value)>,
    /// What was refused, and how often each call was made: `GET /api/v1/pods`.
    calls: Mutex<BTreeMap<String, usize>>,
}

impl Api {
    pub(crate) async fn start() -> Self {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let (objects, calls) = (Mutex::default(), Mutex::default());
        let api = Self(Arc::new(Inner { address, objects, changes: broadcast::channel(1024).0, calls }));
        let router = Router::new().fallback(serve).with_state(api.clone());
        tokio::spawn(async move { axum::serve(listener, router).await });
        api
    }

    pub(crate) fn client(&self) -> Client {
        Client::new(&format!("http://{}", self.0.address), b"", None).unwrap()
    }

    /// Puts an object there, as somebody else would.
    pub(crate) fn put(&self, path: &str, object: Value) {
        let kind = if self.get(path).is_some() { "MODIFIED" } else { "ADDED" };
        self.store(path, object, kind);
    }

    pub(crate) fn delete(&self, path: &str) {
        let object = self.0.objects.lock().unwrap().1.remove(path).unwrap();
        self.store_change(path, &object, "DELETED");
    }

    pub(crate) fn get(&self, path: &str) -> Option<Value> {
        self.0.objects.lock().unwrap().1.get(path).cloned()
    }

    /// All objects of a collection.
    pub(crate) fn list(&self, collection: &str) -> Vec<Value> {
        let prefix = format!("{collection}/");
        let objects = self.0.objects.lock().unwrap();
        objects
            .1
            .iter()
            .filter(|(path, _)| is_in(path, &prefix, collection))
            .map(|(_, object)| object.clone())
            .collect()
    }

    pub(crate) fn calls(&self, call: &str) -> usize {
        self.0.calls.lock().unwrap().get(call).copied().unwrap_or_default()
    }

    /// Ends all watches with 410, as a server does that has forgotten what was.
    pub(crate) fn forget(&self) {
        let gone = json!({ "kind": "Status", "code": 410, "message": "too old resource version" });
        drop(self.0.changes.send((String::new(), json!({ "type": "ERROR", "object": gone }))));
    }

    fn store(&self, path: &str, mut object: Value, kind: &str) -> Value {
        let mut objects = self.0.objects.lock().unwrap();
        objects.0 += 1;
        object["metadata"]["resourceVersion"] = objects.0.to_string().into();
        objects.1.insert(path.to_owned(), object.clone());
        drop(objects);
        self.store_change(path, &object, kind);
        object
    }

    fn store_change(&self, path: &str, object: &Value, kind: &str) {
        drop(self.0.changes.send((path.to_owned(), json!({ "type": kind, "object": object }))));
    }
}

/// Of a collection, or of the same in any namespace: `/api/v1/pods` has what is in `/api/v1/namespaces/a/pods`.
fn is_in(path: &str, prefix: &str, collection: &str) -> bool {
    if let Some(name) = path.strip_prefix(prefix) {
        return !name.contains('/');
    }
    let Some((group, plural)) = collection.rsplit_once('/') else { return false };
    let rest = path.strip_prefix(&format!("{group}/namespaces/"));
    rest.is_some_and(|rest| matches!(rest.split('/').collect::<Vec<_>>()[..], [_, kind, _] if kind == plural))
}

async fn serve(State(api): State<Api>, method: Method, uri: Uri, body: Bytes) -> Response {
    let path = uri.path();
    *api.0.calls.lock().unwrap().entry(format!("{method} {path}")).or_default() += 1;
    let query = uri.query().unwrap_or_default();
    let refuse = |code: StatusCode, message: &str| {
        let status = json!({ "kind": "Status", "apiVersion": "v1", "status": "Failure", "code": code.as_u16(), "message": message });
        (code, axum::Json(status)).into_response()
    };
    let sent = || serde_json::from_slice::<Value>(&body).unwrap();
    match method {
        Method::GET if path == "/version" => {
            axum::Json(json!({ "major": "1", "minor": "36", "gitVersion": "v1.36.2", "buildDate": "", "compiler": "gc", "gitCommit": "", "gitTreeState": "", "goVersion": "", "platform": "" })).into_response()
        }
        Method::GET if query.contains("watch=true") => follow(&api, path),
        Method::GET if ["pods", "namespaces", "events"].contains(&path.rsplit('/').next().unwrap()) => {
            let version = api.0.objects.lock().unwrap().0.to_string();
            let items = api.list(path);
            // In two pages where there is more than one.
            let half = items.len().div_ceil(2);
            let (items, next) = match query.contains("continue=") {
                true => (items[half..].to_vec(), None),
                false if items.len() > 1 => (items[..half].to_vec(), Some("second")),
                false => (items, None),
            };
            axum::Json(json!({ "kind": "List", "apiVersion": "v1", "metadata": { "resourceVersion": version, "continue": next }, "items": items })).into_response()
        }
        Method::GET => match api.get(path) {
            Some(object) => axum::Json(object).into_response(),
            None => refuse(StatusCode::NOT_FOUND, "not found"),
        },
        Method::POST => {
            let object = sent();
            let path = format!("{path}/{}", object["metadata"]["name"].as_str().unwrap());
            if api.get(&path).is_some() {
                return refuse(StatusCode::CONFLICT, "already exists");
            }
            axum::Json(api.store(&path, object, "ADDED")).into_response()
        }
        Method::PUT => {
            let object = sent();
            let Some(there) = api.get(path) else { return refuse(StatusCode::NOT_FOUND, "not found") };
            if there["metadata"]["resourceVersion"] != object["metadata"]["resourceVersion"] {
                return refuse(StatusCode::CONFLICT, "the object has been modified");
            }
            axum::Json(api.store(path, object, "MODIFIED")).into_response()
        }
        Method::PATCH => {
            let Some(mut object) = api.get(path) else { return refuse(StatusCode::NOT_FOUND, "not found") };
            let patch: json_patch::Patch = serde_json::from_slice(&body).unwrap();
            match json_patch::patch(&mut object, &patch) {
                Ok(()) => axum::Json(api.store(path, object, "MODIFIED")).into_response(),
                Err(error) => refuse(StatusCode::UNPROCESSABLE_ENTITY, &error.to_string()),
            }
        }
        _ => refuse(StatusCode::METHOD_NOT_ALLOWED, "no"),
    }
}

fn follow(api: &Api, collection: &str) -> Response {
    let collection = collection.to_owned();
    let changes = stream::unfold((api.0.changes.subscribe(), false), move |(mut receiver, over)| {
        let collection = collection.clone();
        async move {
            if over {
                return None;
            }
            loop {
                let (path, event) = receiver.recv().await.ok()?;
                let over = path.is_empty();
                if over || is_in(&path, &format!("{collection}/"), &collection) {
                    return Some((format!("{event}\n"), (receiver, over)));
                }
            }
        }
    });
    // One to begin with, so that the head is sent.
    let bookmark = json!({ "type": "BOOKMARK", "object": { "metadata": { "resourceVersion": "1" } } });
    let first = stream::once(async move { format!("{bookmark}\n") });
    Body::from_stream(first.chain(changes).map(Ok::<_, std::convert::Infallible>)).into_response()
}

/// A webhook configuration with `webhooks` hooks, none of which believes anything yet.
pub(crate) fn webhook_configuration(webhooks: &[(&str, &str)]) -> Value {
    let webhooks = webhooks.iter().map(|(name, path)| {
        json!({ "name": name, "clientConfig": { "service": { "name": "sidetrail-injector", "namespace": "sidetrail", "path": path } } })
    });
    json!({ "kind": "MutatingWebhookConfiguration", "apiVersion": "admissionregistration.k8s.io/v1",
        "metadata": { "name": "sidetrail-injector" }, "webhooks": webhooks.collect::<Vec<_>>() })
}

pub(crate) const MUTATING: &str =
    "/apis/admissionregistration.k8s.io/v1/mutatingwebhookconfigurations/sidetrail-injector";
